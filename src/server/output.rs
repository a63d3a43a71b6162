//! What jobs print: one file per job below `output/` of the data directory, written and read by a thread of its own, so
//! that the loop never waits for it. Output is kept for people; it is not synced, and no job depends on it.
//!
//! A file is a sequence of pieces: attempt (u32), stream (u8: 1 standard output, 2 standard error), length (u32), all
//! little-endian, and as many bytes. A file that was cut off by a crash ends at its last whole piece.

use crate::core::{IdRange, JobId};
use crate::telemetry::events;
use bytes::{Buf, BufMut, Bytes};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

const PIECE_HEADER: usize = 9;
const STDERR: u8 = 2;
/// The longest piece of a file: a read holds at least one.
const PIECE_MAX: usize = 64 << 10;
/// How many orders may wait for the thread; beyond that the caller waits.
const ORDERS_MAX: usize = 1024;
/// How much of a file one read gives.
const READ_BYTES: usize = 256 << 10;
/// What former attempts have printed stays in the file of a new one if it takes at most this part of the limit.
const FORMER_SHARE: u64 = 4;
/// How much more than the limit is taken from workers that count in another way.
const BEYOND: u64 = 64 << 10;
/// How much of the end of standard error `show` has, at most.
const STDERR_TAIL_BYTES: usize = 4 << 10;
const STDERR_TAIL_LINES: usize = 20;
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
        self.size += PIECE_HEADER as u64 + len;
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
        let mut piece = Vec::with_capacity(PIECE_HEADER + len);
        piece.put_u32_le(attempt);
        piece.put_u8(stream);
        piece.put_u32_le(len as u32);
        piece.extend_from_slice(&data);
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

/// Hands out the whole pieces at the front of `data`; returns how many bytes they are.
pub(super) fn pieces(mut data: Bytes, mut each: impl FnMut(u32, u8, Bytes)) -> u64 {
    let before = data.len();
    while data.len() >= PIECE_HEADER {
        let len = u32::from_le_bytes([data[5], data[6], data[7], data[8]]) as usize;
        if data.len() < PIECE_HEADER + len {
            break;
        }
        let (attempt, stream) = (data.get_u32_le(), data.get_u8());
        data.advance(size_of::<u32>());
        each(attempt, stream, data.split_to(len));
    }
    (before - data.len()) as u64
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
                    Some(at) => without_what_is_there(&path, piece, at),
                    None => piece,
                };
                let done = append(&path, &piece, fresh);
                // Most do not wait for it.
                let _ = written.send(());
                done
            }
            Order::Read { id, offset, reply } => {
                // The caller may be gone.
                let _ = reply.send(read(&path_of(folder, id), offset));
                Ok(())
            }
            Order::StderrTail { id, attempt, reply } => {
                let _ = reply.send(stderr_tail(&path_of(folder, id), attempt));
                Ok(())
            }
            Order::Forget(id) => forget(&path_of(folder, id)),
        };
        if let Err(error) = done {
            tracing::warn!(%error, folder = %folder.display(), "the output of a job could not be kept");
        }
    }
}

/// What of a piece is not in the file yet, if so many bytes of its stream and attempt come before it.
fn without_what_is_there(path: &Path, mut piece: Vec<u8>, at: u64) -> Vec<u8> {
    let (mut offset, mut there, mut wanted) = (0, 0, (0, 0));
    pieces(Bytes::copy_from_slice(&piece), |attempt, stream, _| wanted = (attempt, stream));
    loop {
        let whole = pieces(read(path, offset).into(), |attempt, stream, data| {
            if (attempt, stream) == wanted {
                there += data.len() as u64;
            }
        });
        if whole == 0 {
            break;
        }
        offset += whole;
    }
    let len = piece.len() - PIECE_HEADER;
    let skip = there.saturating_sub(at).min(len as u64) as usize;
    piece.drain(PIECE_HEADER..PIECE_HEADER + skip);
    piece[PIECE_HEADER - size_of::<u32>()..PIECE_HEADER]
        .copy_from_slice(&((len - skip) as u32).to_le_bytes());
    piece
}

fn append(path: &Path, piece: &[u8], fresh: bool) -> io::Result<()> {
    let open = || File::options().append(true).create(true).mode(0o600).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(subfolder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(subfolder)?;
            }
            open()?
        }
        file => file?,
    };
    if fresh {
        file.set_len(0)?;
    }
    file.write_all(piece)
}

fn read(path: &Path, offset: u64) -> Vec<u8> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut data = vec![0; READ_BYTES];
    let mut len = 0;
    while len < data.len() {
        match file.read_at(&mut data[len..], offset + len as u64) {
            Ok(n @ 1..) => len += n,
            _ => break,
        }
    }
    data.truncate(len);
    data
}

/// The end of what an attempt has printed on standard error.
fn stderr_tail(path: &Path, attempt: u32) -> Option<String> {
    let (mut offset, mut end) = (0, Vec::new());
    loop {
        let whole = pieces(read(path, offset).into(), |of, stream, data| {
            if (of, stream) == (attempt, STDERR) {
                end.extend_from_slice(&data[data.len().saturating_sub(STDERR_TAIL_BYTES)..]);
                end.drain(..end.len().saturating_sub(STDERR_TAIL_BYTES));
            }
        });
        if whole == 0 {
            break;
        }
        offset += whole;
    }
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let lines = &lines[lines.len().saturating_sub(STDERR_TAIL_LINES)..];
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn forget(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    if let Some(subfolder) = path.parent() {
        // Fails as long as other files are in it.
        let _ = fs::remove_dir(subfolder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_is_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let piece = |attempt: u32, stream: u8, text: &str| {
            let mut piece = Vec::new();
            piece.put_u32_le(attempt);
            piece.put_u8(stream);
            piece.put_u32_le(text.len() as u32);
            piece.extend_from_slice(text.as_bytes());
            piece
        };
        let said = |of: (u32, u8)| {
            let mut said = Vec::new();
            pieces(read(&path, 0).into(), |attempt, stream, data| {
                if (attempt, stream) == of {
                    said.extend_from_slice(&data);
                }
            });
            String::from_utf8(said).unwrap()
        };
        append(&path, &piece(1, 1, "former"), false).unwrap();
        for (stream, text, at) in
            [(1, "one", 0), (2, "err", 0), (1, "one", 0), (1, "e two", 2), (1, "three", 7), (1, "three", 7)]
        {
            let piece = without_what_is_there(&path, piece(2, stream, text), at);
            append(&path, &piece, false).unwrap();
        }
        assert_eq!(
            (said((1, 1)), said((2, 1)), said((2, 2))),
            ("former".into(), "one twothree".into(), "err".into())
        );
    }

    #[test]
    fn a_file_cut_in_the_middle_ends_at_its_last_whole_piece() {
        let mut file = Vec::new();
        for text in ["one", "two"] {
            file.put_u32_le(1);
            file.put_u8(2);
            file.put_u32_le(text.len() as u32);
            file.extend_from_slice(text.as_bytes());
        }
        for (len, expected) in
            [(0, vec![]), (11, vec![]), (12, vec!["one"]), (23, vec!["one"]), (24, vec!["one", "two"])]
        {
            let mut seen = Vec::new();
            let whole = pieces(Bytes::copy_from_slice(&file[..len]), |_, _, data| seen.push(data));
            assert_eq!(seen, expected);
            assert_eq!(whole as usize, expected.len() * 12);
        }
    }
}
