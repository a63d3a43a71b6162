//! Writes log lines on a thread of its own, so that nobody who logs waits for the reader of the log. Lines that the
//! reader does not take in time are dropped and counted, and the count is written in their place. It knows bytes, not
//! what is in them.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// How many bytes of lines wait to be written.
const WAITING: usize = 1 << 20;
/// How long the last lines may take at the end of the process.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Takes lines; clones share the thread. It ends with the process.
#[derive(Clone, Debug)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    missing: Missing,
    queue: Mutex<Queue>,
    /// Rings when there is something to write.
    said: Condvar,
    /// Rings when all of it is written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many lines were dropped behind those.
    dropped: u64,
    is_writing: bool,
}

impl Queue {
    fn is_done(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0 && !self.is_writing
    }

    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

/// Makes the line that says how many are missing.
pub(super) type Missing = fn(u64) -> Vec<u8>;

impl LogWriter {
    /// Starts the thread, which hands each line to `write`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        mut write: impl FnMut(&[u8]) + Send + 'static,
        missing: Missing,
    ) -> io::Result<LogWriter> {
        let (queue, said, written) = Default::default();
        let shared = Arc::new(Shared { missing, queue, said, written });
        let log = LogWriter(shared.clone());
        let work = move || {
            loop {
                let line = shared.next();
                write(&line);
            }
        };
        std::thread::Builder::new().name("log".into()).spawn(work)?;
        Ok(log)
    }

    /// Takes a line, or counts it.
    fn say(&self, line: Vec<u8>) {
        let mut queue = self.0.lock();
        // After a gap there must be some room again, or else there would be many small ones.
        let most = if queue.dropped > 0 { WAITING / 2 } else { WAITING };
        if queue.bytes + line.len() > most {
            queue.dropped += 1;
            return;
        }
        if queue.dropped > 0 {
            let gap = (self.0.missing)(std::mem::take(&mut queue.dropped));
            queue.push(gap);
        }
        queue.push(line);
        self.0.said.notify_one();
    }

    /// Waits until all that was said is written, but not for long.
    pub(super) fn flush(&self) {
        let queue = self.0.lock();
        // What was not read by then is lost.
        let _ = self.0.written.wait_timeout_while(queue, FLUSH_TIME_MAX, |queue| !queue.is_done());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics while holding this lock")
    }

    /// The next line to write; waits for one.
    fn next(&self) -> Vec<u8> {
        let mut queue = self.lock();
        queue.is_writing = false;
        if queue.is_done() {
            self.written.notify_all();
        }
        queue = self
            .said
            .wait_while(queue, |queue| queue.is_done())
            .expect("nobody panics while holding this lock");
        queue.is_writing = true;
        match queue.lines.pop_front() {
            Some(line) => {
                queue.bytes -= line.len();
                line
            }
            None => (self.missing)(std::mem::take(&mut queue.dropped)),
        }
    }
}

/// Each write is a line.
impl io::Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.say(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&self) -> LogWriter {
        self.clone()
    }
}

/// Writes to a descriptor and waits for its reader, even if another process has made it non-blocking. What cannot
/// be written is gone: there is nobody to tell.
pub fn write_patiently(to: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::new(&to, PollFlags::OUT)];
                // Interrupted or not, the write says more.
                let _ = poll(&mut ready, None);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn missing(count: u64) -> Vec<u8> {
        format!("{count} are missing").into_bytes()
    }

    /// A full pipe at the other end held up the loop, and with it everybody.
    #[test]
    fn nobody_waits_for_a_reader_and_what_is_dropped_is_counted_in_its_place() {
        let (reader, writer) = io::pipe().unwrap();
        let log = LogWriter::start(move |line| write_patiently(&writer, line), missing).unwrap();
        let line = [b'x'; 1000];
        let lines = 3 * WAITING / line.len();
        for _ in 0..lines {
            log.say(line.to_vec());
        }
        let (told, read) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut all, mut part) = (Vec::new(), [0; 4096]);
            while let Ok(len @ 1..) = io::Read::read(&mut &reader, &mut part) {
                all.extend_from_slice(&part[..len]);
                if all.ends_with(b"are missing") {
                    return told.send(String::from_utf8(all).unwrap());
                }
            }
            Ok(())
        });
        let all = read.recv_timeout(Duration::from_secs(60)).expect("the gap is told");
        let (before, count) = all.rsplit_once('x').unwrap();
        let count: usize = count.strip_suffix(" are missing").unwrap().parse().unwrap();
        assert_eq!((before.len() + 1) / line.len() + count, lines, "each is there or counted");
        assert!(count > 0);
    }

    #[test]
    fn what_comes_after_a_gap_stands_behind_it_and_all_of_it_is_written_at_the_end() {
        let (go, may) = mpsc::channel::<()>();
        let (told, read) = mpsc::channel();
        let write = move |line: &[u8]| {
            may.recv().unwrap();
            told.send(line.to_vec()).unwrap();
        };
        let log = LogWriter::start(write, missing).unwrap();
        for line in
            [vec![b'a'; WAITING / 2], vec![b'b'; WAITING / 2], vec![b'c'; WAITING], vec![b'd'; WAITING]]
        {
            log.say(line);
        }
        log.flush();
        assert!(read.try_recv().is_err(), "it has waited long enough");
        // The first is with the writer, or will be; the second is written when the third may be.
        for first in [b'a', b'b'] {
            go.send(()).unwrap();
            assert_eq!(read.recv().unwrap()[0], first);
        }
        log.say(b"e".to_vec());
        (0..2).for_each(|_| go.send(()).unwrap());
        log.flush();
        let rest: Vec<_> = read.try_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(rest, ["2 are missing", "e"]);
    }
}
