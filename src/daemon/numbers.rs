//! The past that `musher stats` shows, kept over a restart: a file in the data directory that is written now and then, and at the end.
//! Nothing else depends on it. It is not synced, and if it is lost or damaged, the past begins with the start.

use crate::clock::Clock;
use crate::core::Time;
use crate::engine::Engine;
use crate::server::Hub;
use crate::store::Store;
use crate::tally::Saved;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often it is written: a daemon that is killed loses so much of its past.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// Where the past is kept.
#[derive(Clone, Debug)]
pub(super) struct NumbersFile {
    path: PathBuf,
    /// Whether it has been written for the last time: what is still being written beside that must not come after it.
    is_done: Arc<Mutex<bool>>,
}

impl NumbersFile {
    pub(super) fn in_directory(data: &Path) -> NumbersFile {
        NumbersFile { path: data.join("numbers"), is_done: Arc::default() }
    }

    /// Brings the past back, if there is one.
    pub(super) fn restore<S: Store>(&self, engine: &mut Engine<S>) {
        match fs::read(&self.path) {
            Ok(bytes) => match Saved::decode(&bytes) {
                Ok(past) => engine.restore_past(past),
                Err(error) => tracing::warn!("{}: {error}: the past begins anew", self.path.display()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("{}: {error}: the past begins anew", self.path.display()),
        }
    }

    /// Writes it now and then, beside the loop.
    pub(super) async fn keep<S: Store + 'static>(self, hub: Rc<Hub<S>>, clock: Clock) {
        loop {
            tokio::time::sleep(EVERY).await;
            let past = hub.engine.borrow_mut().save_past(clock.now());
            let file = self.clone();
            // It is dropped there.
            let _ = hub.reading.run::<_, ()>(move || file.write(&past, false)).await;
        }
    }

    /// Writes all of it: this life ends.
    pub(super) fn write_last<S: Store>(&self, engine: &mut Engine<S>, now: Time) {
        self.write(&engine.save_whole_past(now), true);
    }

    fn write(&self, past: &Saved, is_last: bool) {
        // Nobody panics while it is locked.
        let mut is_done = self.is_done.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_done, is_last) {
            *is_done = true;
            return;
        }
        if let Err(error) = self.try_to_write(&past.encode()) {
            // It is no loss, and where the disk is full others say so.
            tracing::debug!("{} was not written: {error}", self.path.display());
        }
    }

    fn try_to_write(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        io::Write::write_all(&mut file, bytes).inspect_err(|_| drop(fs::remove_file(&new)))?;
        fs::rename(new, &self.path)
    }
}
