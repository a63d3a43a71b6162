//! What jobs print: one file per job below `output/` of the data directory, written and read by a thread of its own, so
//! that the loop never waits for it. Output is kept for people; it is not synced, and no job depends on it.
//! What a file is like only `file` knows.

mod file;

pub(super) use file::pieces;

use crate::core::{IdRange, JobId};
use crate::telemetry::events;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// The longest piece of a file: a read holds at least one.
const PIECE_MAX: usize = 64 << 10;
/// How many orders may wait for the thread; beyond that the caller waits.
const ORDERS_MAX: usize = 1024;
/// What former attempts have printed stays in the file of a new one if it takes at most this part of the limit.
const FORMER_SHARE: u64 = 4;
/// How much more than the limit is taken from workers that count in another way.
const BEYOND: u64 = 64 << 10;
/// How many files share a folder.
const FOLDER_FILES: u64 = 1_000;

enum Order {
    /// Whoever has handed it over may wait until it is written.
    Append {
        id: JobId,
        piece: Vec<u8>,
        fresh: bool,
        again_at: Option<u64>,
        written: oneshot::Sender<()>,
    },
    Read {
        id: JobId,
        offset: u64,
        reply: oneshot::Sender<Vec<u8>>,
    },
    StderrTail {
        id: JobId,
        attempt: u32,
        reply: oneshot::Sender<Option<String>>,
    },
    Forget(JobId),
}

/// A piece of what an attempt has printed.
#[derive(Debug)]
pub(crate) struct Piece {
    /// 1 for standard output, 2 for standard error.
    pub(crate) stream: u8,
    pub(crate) data: Bytes,
    /// How many bytes of the stream come before it, if it may be there already.
    pub(crate) again_at: Option<u64>,
}

/// The loop's side: hands pieces to the thread, and knows which jobs have printed something.
pub struct OutputStore {
    orders: mpsc::Sender<Order>,
    /// Job → its file.
    files: RefCell<HashMap<JobId, Kept>>,
}

/// A file of output, as the loop knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kept {
    size: u64,
    /// The newest attempt that is in it; 0 if that is not known, since the file is from before the start.
    attempt: u32,
    /// How often it was begun anew.
    generation: u32,
}

impl Kept {
    /// Whether a piece of an attempt is kept, and whether the file begins anew with it. A new attempt needs the room
    /// that former ones have taken.
    fn takes(&mut self, attempt: u32, len: u64, max: u64) -> Option<bool> {
        let former = max / FORMER_SHARE;
        // The worker holds to the limit; this holds others to it.
        let over = self.size + len > max + former + BEYOND;
        let is_newer = attempt > self.attempt && if self.attempt > 0 { self.size > former } else { over };
        let fresh = is_newer && attempt > 1 && self.size > 0;
        if over && !fresh || len > max + BEYOND {
            return None;
        }
        self.attempt = self.attempt.max(attempt);
        if fresh {
            self.size = 0;
            self.generation += 1;
        }
        self.size += file::PIECE_HEADER as u64 + len;
        Some(fresh)
    }
}

/// The thread's side; ends when the loop's side is gone.
pub struct OutputThread(std::thread::JoinHandle<()>);

impl OutputThread {
    /// Waits until all that was handed over is written.
    pub fn join(self) {
        // A panic there has been printed, and costs nothing but output.
        let _ = self.0.join();
    }
}

impl OutputStore {
    /// Starts the thread over `folder`. Files of jobs that `is_known` does not know are removed.
    ///
    /// # Errors
    /// The folder cannot be made or read, or there is no thread. What is in it cannot stop a start.
    pub fn open(folder: &Path, is_known: impl Fn(JobId) -> bool) -> io::Result<(OutputStore, OutputThread)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(named(folder))?;
        let files = found_in(folder, is_known).map_err(named(folder))?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let folder = folder.to_path_buf();
        let thread = std::thread::Builder::new().name("output".into()).spawn(move || work(&folder, inbox))?;
        Ok((OutputStore { orders, files: RefCell::new(files) }, OutputThread(thread)))
    }

    /// Whether the job has printed something that is kept.
    pub fn has(&self, id: JobId) -> bool {
        self.files.borrow().contains_key(&id)
    }

    /// Keeps what an attempt has printed, in pieces that a read can hold. What is returned waits until it is written, or
    /// cannot be.
    pub(super) async fn keep(
        &self,
        of: (JobId, u32),
        Piece { stream, data, again_at }: Piece,
        max: u64,
    ) -> impl Future<Output = ()> + use<> {
        let mut last = None;
        for at in (0..data.len()).step_by(PIECE_MAX) {
            let data = data.slice(at..data.len().min(at + PIECE_MAX));
            let again_at = again_at.map(|before| before.saturating_add(at as u64));
            last = self.append(of, Piece { stream, data, again_at }, max).await.or(last);
        }
        async {
            if let Some(last) = last {
                // The thread ends only after the loop, or it has panicked and said so.
                let _ = last.await;
            }
        }
    }

    /// Keeps a piece, up to about `max` bytes of one job. What earlier attempts printed gives way to a new one.
    async fn append(
        &self,
        (id, attempt): (JobId, u32),
        piece: Piece,
        max: u64,
    ) -> Option<oneshot::Receiver<()>> {
        let Piece { stream, data, again_at } = piece;
        let len = data.len();
        let fresh = self.files.borrow_mut().entry(id).or_default().takes(attempt, len as u64, max)?;
        let piece = file::encode(attempt, stream, &data);
        // A file that begins anew has nothing of it.
        let again_at = again_at.filter(|_| !fresh);
        let (written, is_written) = oneshot::channel();
        // The thread ends only after this side.
        let _ = self.orders.send(Order::Append { id, piece, fresh, again_at, written }).await;
        Some(is_written)
    }

    /// Removes what forgotten jobs printed; `in_use` says for which somebody still reads.
    pub(super) fn forget(&self, range: IdRange, in_use: impl Fn(JobId) -> bool) {
        if self.files.borrow().is_empty() {
            return;
        }
        let few = range.len < self.files.borrow().len() as u64;
        let ids: Vec<JobId> = if few {
            range.iter().filter(|id| self.has(*id)).collect()
        } else {
            self.files.borrow().keys().copied().filter(|id| range.overlap((*id).into()).is_some()).collect()
        };
        for id in ids.into_iter().filter(|id| !in_use(*id)) {
            self.remove(id);
        }
    }

    pub(super) fn remove(&self, id: JobId) {
        if self.files.borrow_mut().remove(&id).is_some() {
            let orders = self.orders.clone();
            match orders.try_send(Order::Forget(id)) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(order)) => {
                    tokio::task::spawn_local(async move { orders.send(order).await });
                }
            }
        }
    }

    /// How often its file was begun anew.
    pub(super) fn generation(&self, id: JobId) -> u32 {
        self.files.borrow().get(&id).map_or(0, |kept| kept.generation)
    }

    /// The last lines of an attempt's standard error.
    pub(super) async fn stderr_tail(&self, id: JobId, attempt: u32) -> Option<String> {
        let (reply, answer) = oneshot::channel();
        // The thread ends only after this side.
        let _ = self.orders.send(Order::StderrTail { id, attempt, reply }).await;
        answer.await.ok().flatten()
    }

    pub(super) async fn read(&self, id: JobId, offset: u64) -> Vec<u8> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Read { id, offset, reply }).await;
        answer.await.unwrap_or_default()
    }
}

/// Says which file it is about.
fn named(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The files of known jobs and their lengths. Those of other jobs are removed; what is not a job's is left alone and
/// named, as is what cannot be read: nobody's job depends on it.
fn found_in(folder: &Path, is_known: impl Fn(JobId) -> bool) -> io::Result<HashMap<JobId, Kept>> {
    let (mut kept, mut unexpected) = (HashMap::new(), Unexpected::default());
    for subfolder in fs::read_dir(folder)? {
        let subfolder = subfolder?.path();
        let files = match fs::read_dir(&subfolder) {
            Ok(files) => files,
            Err(error) => {
                unexpected.found(&subfolder, &error.to_string());
                continue;
            }
        };
        for file in files.flatten() {
            let path = file.path();
            let id = file.file_name().to_str().and_then(|name| name.parse().ok()).map(JobId);
            let done = match (id.filter(|id| path_of(folder, *id) == path), file.metadata()) {
                (Some(id), Ok(found)) if found.is_file() && is_known(id) => {
                    kept.insert(id, Kept { size: found.len(), ..Kept::default() });
                    Ok(())
                }
                (Some(_), Ok(found)) if found.is_file() => fs::remove_file(&path),
                (_, Err(error)) => Err(error),
                _ => Err(io::Error::other("not the output of a job")),
            };
            if let Err(error) = done {
                unexpected.found(&path, &error.to_string());
            }
        }
    }
    unexpected.sum_up(folder);
    Ok(kept)
}

/// Things in the output directory that are not a job's output.
#[derive(Default)]
struct Unexpected(u64);

impl Unexpected {
    /// How many are named.
    const NAMED: u64 = 10;

    fn found(&mut self, path: &Path, why: &str) {
        self.0 += 1;
        if self.0 <= Unexpected::NAMED {
            events::unexpected_output(path, why);
        }
    }

    fn sum_up(&self, folder: &Path) {
        if self.0 > Unexpected::NAMED {
            events::unexpected_outputs(folder, self.0 - Unexpected::NAMED);
        }
    }
}

fn path_of(folder: &Path, id: JobId) -> PathBuf {
    folder.join((id.0 / FOLDER_FILES).to_string()).join(id.to_string())
}

fn work(folder: &Path, mut inbox: mpsc::Receiver<Order>) {
    while let Some(order) = inbox.blocking_recv() {
        let done = match order {
            Order::Append { id, piece, fresh, again_at, written } => {
                let path = path_of(folder, id);
                let piece = match again_at {
                    Some(at) => file::without_what_is_there(&path, piece, at),
                    None => piece,
                };
                let done = file::append(&path, &piece, fresh);
                // Most do not wait for it.
                let _ = written.send(());
                done
            }
            Order::Read { id, offset, reply } => {
                // The caller may be gone.
                let _ = reply.send(file::read(&path_of(folder, id), offset));
                Ok(())
            }
            Order::StderrTail { id, attempt, reply } => {
                let _ = reply.send(file::stderr_tail(&path_of(folder, id), attempt));
                Ok(())
            }
            Order::Forget(id) => file::forget(&path_of(folder, id)),
        };
        if let Err(error) = done {
            tracing::warn!(%error, folder = %folder.display(), "the output of a job could not be kept");
        }
    }
}
