//! A thread that makes files for the log in advance and deletes those that are not needed any more: both take
//! longer than a commit may wait. It sleeps while there is nothing to do.

use super::file::LogFile;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

enum Request {
    Prepare {
        id: u64,
    },
    Delete(PathBuf),
    /// One that is open. The last close of a deleted file gives its blocks back, which took 25 ms: not on the loop.
    Discard(LogFile),
}

/// The thread, and what it has made.
#[derive(Debug)]
pub(super) struct Spares {
    requests: Option<Sender<Request>>,
    made: Receiver<Option<LogFile>>,
    thread: Option<JoinHandle<()>>,
    ready: Option<LogFile>,
    awaited: bool,
}

impl Spares {
    pub(super) fn start(dir: PathBuf, salt: u64, capacity: u64) -> std::io::Result<Spares> {
        let (requests, inbox) = channel();
        let (outbox, made) = channel();
        let work = move || {
            for request in inbox {
                match request {
                    Request::Prepare { id } => {
                        // Without one the log goes on in a growing file, and asks again at its end.
                        let file = LogFile::create_full(&dir, id, salt, capacity).ok();
                        if outbox.send(file).is_err() {
                            return;
                        }
                    }
                    // A file that stays is found free at the next start.
                    Request::Delete(path) => drop(fs::remove_file(path)),
                    Request::Discard(file) => drop(fs::remove_file(&file.path)),
                }
            }
        };
        let thread = std::thread::Builder::new().name("musher-log".into()).spawn(work)?;
        Ok(Spares { requests: Some(requests), made, thread: Some(thread), ready: None, awaited: false })
    }

    /// The file that is ready, if one is.
    pub(super) fn take(&mut self) -> Option<LogFile> {
        self.receive();
        self.ready.take()
    }

    /// Asks for a file, unless one is ready or under way.
    pub(super) fn prepare(&mut self, id: impl FnOnce() -> u64) {
        self.receive();
        if self.ready.is_none() && !self.awaited {
            self.awaited = true;
            self.send(Request::Prepare { id: id() });
        }
    }

    /// Takes a file that is free again: keeps one, deletes the others.
    pub(super) fn give(&mut self, file: LogFile) {
        self.receive();
        if self.ready.is_none() { self.ready = Some(file) } else { self.discard(file) }
    }

    pub(super) fn delete(&self, path: PathBuf) {
        self.send(Request::Delete(path));
    }

    pub(super) fn discard(&self, file: LogFile) {
        self.send(Request::Discard(file));
    }

    /// Takes what was made meanwhile, so that one file too many goes.
    pub(super) fn receive(&mut self) {
        if !self.awaited {
            return;
        }
        if let Ok(made) = self.made.try_recv() {
            self.awaited = false;
            match (made, &self.ready) {
                (Some(file), Some(_)) => self.discard(file),
                (Some(file), None) => self.ready = Some(file),
                (None, _) => {}
            }
        }
    }

    fn send(&self, request: Request) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request); // the thread ends only with us
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic of it was reported when it happened
        }
    }
}
