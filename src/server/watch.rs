//! Reports when something happens to a file: it is deleted, replaced, moved, or its mode changes. It watches the file
//! itself and not its directory, so a busy `/tmp` wakes nobody. Its users find out what has happened.

use crate::watched::Watched;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use std::io;
use std::path::Path;
use tokio::io::Interest;

/// One file under watch.
#[derive(Debug)]
pub(super) struct Watch(Watched);

impl Watch {
    /// # Errors
    /// It is not there, or the user has too many watches.
    pub(super) fn of(path: &Path) -> io::Result<Watch> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // The last name is gone: its number of links changes. The file itself lasts for as long as it is open.
        let flags =
            WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::DONT_FOLLOW;
        add_watch(&inotify, path, flags)?;
        Ok(Watch(Watched::new(inotify, Interest::READABLE)?))
    }

    /// Returns when something has happened since the last time.
    pub(super) async fn happens(&self) {
        let mut events = [0; 4096];
        loop {
            let Ok(mut ready) = self.0.readable().await else { return std::future::pending().await };
            match ready.try_io(|inotify| Ok(rustix::io::read(inotify, &mut events)?)) {
                Ok(Ok(_)) => return,
                // There was nothing after all.
                Err(_) => {}
                Ok(Err(_)) => return std::future::pending().await,
            }
        }
    }
}
