//! A client of beanstalkd's protocol that sends what it is told and reads whole replies.

use crate::helper::DEADLINE;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub(super) struct Conn {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Conn {
    pub(super) fn new(socket: &Path) -> Conn {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Conn { stream, read: Vec::new() }
    }

    /// Sends lines as they are, with their ends.
    pub(super) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends one line and reads its reply.
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.reply()
    }

    /// Submits a body, with what is said of it; returns its id.
    pub(super) fn put(&mut self, how: &str, body: &str) -> u64 {
        self.send(format!("put {how} {}\r\n{body}\r\n", body.len()));
        let reply = self.reply();
        reply.strip_prefix("INSERTED ").and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{reply}"))
    }

    /// The next whole reply: its line, and behind a line's end the body that belongs to it.
    pub(super) fn reply(&mut self) -> String {
        self.try_reply().expect("the connection was closed")
    }

    /// The same; `None` at the end of what the daemon says.
    pub(super) fn try_reply(&mut self) -> Option<String> {
        loop {
            if let Some(reply) = self.whole() {
                return Some(reply);
            }
            let mut piece = [0; 1 << 16];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(len) => self.read.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => {
                    panic!("no reply came: {error}; so far {:?}", String::from_utf8_lossy(&self.read))
                }
            }
        }
    }

    /// Whether nothing comes for a while: for what is to wait.
    pub(super) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut piece = [0; 1 << 10];
        let read = self.stream.read(&mut piece);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        match read {
            Ok(len) => {
                self.read.extend_from_slice(&piece[..len]);
                false
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn whole(&mut self) -> Option<String> {
        let end = self.read.windows(2).position(|two| two == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let body = match (words[0], words.last().and_then(|len| len.parse::<usize>().ok())) {
            ("OK" | "RESERVED" | "FOUND", Some(len)) => Some(len),
            _ => None,
        };
        let Some(len) = body else {
            self.read.drain(..end + 2);
            return Some(line);
        };
        let whole = end + 2 + len + 2;
        if self.read.len() < whole {
            return None;
        }
        assert_eq!(&self.read[whole - 2..whole], b"\r\n", "a body ends so");
        let body = String::from_utf8_lossy(&self.read[end + 2..whole - 2]).into_owned();
        self.read.drain(..whole);
        Some(format!("{line}\n{body}"))
    }
}

/// The value of a key in a reply of YAML.
pub(super) fn value(reply: &str, key: &str) -> String {
    let line = reply.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key} in {reply}")).to_owned()
}
