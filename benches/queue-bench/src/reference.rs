//! The floor: a queue that does nothing but answer. It speaks enough of the
//! beanstalk protocol for the load generator. Without a log it shows the
//! generator's own limit. With one it appends every put and delete of an
//! event-loop round to a pre-written file, calls fdatasync once, and only
//! then answers: group commit with no database, no index and no recovery.
//! With `overlap` a second thread syncs, while this one reads on, and a take
//! is answered without waiting.

use crate::net::{Epoll, Listener, Pipe};
use crate::target::{line_end, number};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex};

const LOG_SIZE: u64 = 256 << 20;

#[derive(Default)]
struct Queue {
    next: u64,
    ready: VecDeque<(u64, Box<[u8]>)>,
    leased: HashMap<u64, Box<[u8]>>,
    waiting: VecDeque<u64>,
    log: Vec<u8>,
    log_claims: bool,
}

impl Queue {
    fn claim(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((id, body)) = self.ready.pop_front() else { return false };
        let _ = write!(out, "RESERVED {id} {}\r\n", body.len());
        out.extend_from_slice(&body);
        out.extend_from_slice(b"\r\n");
        if self.log_claims {
            self.log.push(b'C');
            self.log.extend_from_slice(&id.to_le_bytes());
        }
        self.leased.insert(id, body);
        true
    }

    /// Bytes used by one command, zero if it is incomplete.
    fn command(&mut self, key: u64, input: &[u8], out: &mut Vec<u8>) -> usize {
        let Some(used) = line_end(input) else { return 0 };
        let line = &input[..used - 2];
        let last = line.rsplit(|b| *b == b' ').next().and_then(number).unwrap_or(0);
        match line[0] {
            b'p' => {
                if input.len() < used + last + 2 {
                    return 0;
                }
                let body = &input[used..used + last];
                self.next += 1;
                self.log.push(b'P');
                self.log.extend_from_slice(&self.next.to_le_bytes());
                self.log.extend_from_slice(&(last as u32).to_le_bytes());
                self.log.extend_from_slice(body);
                self.ready.push_back((self.next, body.into()));
                let _ = write!(out, "INSERTED {}\r\n", self.next);
                return used + last + 2;
            }
            b'r' => {
                if !self.claim(out) {
                    if last == 0 {
                        out.extend_from_slice(b"TIMED_OUT\r\n");
                    } else {
                        self.waiting.push_back(key);
                    }
                }
            }
            b'd' => {
                self.leased.remove(&(last as u64));
                self.log.push(b'D');
                self.log.extend_from_slice(&(last as u64).to_le_bytes());
                out.extend_from_slice(b"DELETED\r\n");
            }
            _ => out.extend_from_slice(b"USING default\r\n"),
        }
        used
    }
}

pub fn prewritten(path: &str, size: u64) -> io::Result<File> {
    let file = File::create(path)?;
    let zeros = vec![0u8; 1 << 20];
    for i in 0..size >> 20 {
        file.write_all_at(&zeros, i << 20)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// What is to be written next, and how far the log is on disk.
#[derive(Default)]
struct Journal {
    buffer: Vec<u8>,
    batch: u64,
    synced: u64,
}

struct Log {
    file: File,
    at: u64,
}

impl Log {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if self.at + data.len() as u64 > LOG_SIZE {
            self.at = 0;
        }
        self.file.write_all_at(data, self.at)?;
        self.at += data.len() as u64;
        self.file.sync_data()
    }
}

/// Write batches as they come, telling the event loop after each.
fn sync_thread(mut log: Log, journal: &(Mutex<Journal>, Condvar), mut bell: File) -> io::Result<()> {
    let mut data = Vec::new();
    loop {
        let mut j = journal.0.lock().unwrap();
        while j.buffer.is_empty() {
            j = journal.1.wait(j).unwrap();
        }
        std::mem::swap(&mut data, &mut j.buffer);
        let batch = j.batch;
        j.batch += 1;
        drop(j);
        log.write(&data)?;
        data.clear();
        journal.0.lock().unwrap().synced = batch + 1;
        bell.write_all(&1u64.to_ne_bytes())?;
    }
}

struct Conn {
    pipe: Pipe,
    /// Answers that wait for a batch to be on disk.
    held: VecDeque<(u64, Vec<u8>)>,
}

const LISTENER: u64 = 0;
const BELL: u64 = 1;

pub fn serve(addr: &str, log: Option<&str>, log_claims: bool, overlap: bool) -> io::Result<()> {
    let mut log = log.map(|path| prewritten(path, LOG_SIZE)).transpose()?.map(|file| Log { file, at: 0 });
    let listener = Listener::bind(addr)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.fd(), LISTENER)?;
    let journal = Arc::new((Mutex::new(Journal::default()), Condvar::new()));
    let mut bell = unsafe { File::from_raw_fd(libc::eventfd(0, 0)) };
    if overlap {
        epoll.add(bell.as_raw_fd(), BELL)?;
        let (log, journal, bell) = (log.take().expect("--log"), journal.clone(), bell.try_clone()?);
        std::thread::spawn(move || sync_thread(log, &journal, bell).expect("log"));
    }
    let mut queue = Queue { log_claims, ..Queue::default() };
    let mut conns: HashMap<u64, Conn> = HashMap::new();
    let mut holding: VecDeque<(u64, u64)> = VecDeque::new(); // batch, connection
    let (mut keys, mut dirty, mut round, mut next_key, mut synced) =
        (Vec::new(), Vec::new(), Vec::new(), 2, 0);
    loop {
        epoll.wait(&mut keys, -1)?;
        for &key in &keys {
            if key == LISTENER {
                let stream = listener.accept()?;
                stream.nonblocking()?;
                epoll.add(stream.fd(), next_key)?;
                conns.insert(next_key, Conn { pipe: Pipe::new(stream), held: VecDeque::new() });
                next_key += 1;
                continue;
            }
            if key == BELL {
                bell.read_exact(&mut [0; 8])?;
                synced = journal.0.lock().unwrap().synced;
                continue;
            }
            let Some(Conn { pipe, held }) = conns.get_mut(&key) else { continue };
            if !pipe.fill().unwrap_or(false) {
                epoll.remove(pipe.stream.fd())?;
                conns.remove(&key);
                queue.waiting.retain(|k| *k != key);
                continue;
            }
            let (mut out, before) = (Vec::new(), queue.log.len());
            loop {
                let n = queue.command(key, &pipe.input[pipe.used..], &mut out);
                if n == 0 {
                    break;
                }
                pipe.used += n;
            }
            if queue.log.len() > before || !held.is_empty() || !overlap {
                round.push((key, out));
            } else {
                pipe.output.extend_from_slice(&out);
                dirty.push(key);
            }
        }
        while !queue.ready.is_empty() {
            let Some(key) = queue.waiting.pop_front() else { break };
            let (Some(Conn { pipe, held }), before) = (conns.get_mut(&key), queue.log.len()) else {
                continue;
            };
            let mut out = Vec::new();
            queue.claim(&mut out);
            if queue.log.len() > before || !held.is_empty() || !overlap {
                round.push((key, out));
            } else {
                pipe.output.extend_from_slice(&out);
                dirty.push(key);
            }
        }
        let mut batch = 0;
        if overlap {
            let mut j = journal.0.lock().unwrap();
            batch = j.batch;
            if !queue.log.is_empty() {
                j.buffer.append(&mut queue.log);
                journal.1.notify_one();
            }
        } else if let (Some(log), false) = (&mut log, queue.log.is_empty()) {
            log.write(&queue.log)?;
        }
        queue.log.clear();
        for (key, out) in round.drain(..) {
            if let Some(c) = conns.get_mut(&key) {
                c.held.push_back((batch, out));
                holding.push_back((batch, key));
            }
        }
        if !overlap {
            synced = u64::MAX;
        }
        while holding.front().is_some_and(|h| h.0 < synced) {
            let Some((_, key)) = holding.pop_front() else { break };
            if let Some(Conn { pipe, held }) = conns.get_mut(&key) {
                if let Some((_, out)) = held.pop_front() {
                    pipe.output.extend_from_slice(&out);
                    dirty.push(key);
                }
            }
        }
        for key in dirty.drain(..) {
            if let Some(Conn { pipe, .. }) = conns.get_mut(&key) {
                let done = pipe.drain().unwrap_or(true);
                epoll.want_write(pipe.stream.fd(), key, !done)?;
            }
        }
    }
}
