//! Files that the log will need next: those that are free again, to be overwritten, and if there are not enough, one
//! that is created in advance. A thread creates them and deletes those that are not needed any more: both take longer
//! than a commit may wait. It sleeps while there is nothing to do.

use super::file::LogFile;
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// How many files are kept while the log is ahead of the checkpoints.
const KEPT: usize = 3;

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
    ready: VecDeque<LogFile>,
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
        Ok(Spares {
            requests: Some(requests),
            made,
            thread: Some(thread),
            ready: VecDeque::new(),
            awaited: false,
        })
    }

    /// The file that is ready, if one is.
    pub(super) fn take(&mut self) -> Option<LogFile> {
        self.receive();
        self.ready.pop_front()
    }

    /// Asks for a file, unless one is ready or under way.
    pub(super) fn prepare(&mut self, id: impl FnOnce() -> u64) {
        self.receive();
        if self.ready.is_empty() && !self.awaited {
            self.awaited = true;
            self.send(Request::Prepare { id: id() });
        }
    }

    /// Takes a file that is free again.
    pub(super) fn give(&mut self, file: LogFile) {
        self.receive();
        if self.ready.len() < KEPT { self.ready.push_back(file) } else { self.discard(file) }
    }

    /// Deletes all but one: the log is short again.
    pub(super) fn keep_one(&mut self) {
        self.receive();
        while self.ready.len() > 1 {
            self.ready.pop_back().into_iter().for_each(|file| self.discard(file));
        }
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
            match made {
                Some(file) if self.ready.is_empty() => self.ready.push_back(file),
                // Another has come free meanwhile.
                Some(file) => self.discard(file),
                None => {}
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
