//! Musher's own protocol in version 2, as `docs/protocol.md` has it. Leases end with the connection, as a real worker's do.

use crate::target::*;
use std::collections::HashMap;
use std::io;

const HELLO: u8 = 0x01;
const SUBMIT: u8 = 0x10;
const CLAIM: u8 = 0x11;
const SETTLE: u8 = 0x12;
const UNWAIT: u8 = 0x15;

const WELCOME: u8 = 0x81;
const SUBMITTED: u8 = 0x90;
const RECEIVED: u8 = 0x98;
const JOBS: u8 = 0x91;
const SETTLED: u8 = 0x92;
const OK: u8 = 0x94;

/// A lease as it stands on the wire: id and attempt.
const LEASE: usize = 12;

/// Which keys jobs have, each its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    None,
    /// One of so many in all: those with the same run one after the other.
    Ordered(u64),
    /// A unique key that no other job has.
    Unique,
}

pub struct Musher {
    queue: &'static str,
    keys: Keys,
    /// The next one.
    key: u64,
    last: u32,
    /// How many jobs a request under way is about.
    sizes: HashMap<u32, usize>,
}

impl Musher {
    pub fn on(queue: &'static str) -> Musher {
        Musher { queue, keys: Keys::None, key: 0, last: 0, sizes: HashMap::new() }
    }

    /// The same with a key for each job, of so many in all; connection `n` begins with one of its own.
    pub fn with_keys(self, keys: u64, n: usize) -> Musher {
        Musher { keys: Keys::Ordered(keys), key: n as u64 * 7919, ..self }
    }

    /// The same with a unique key for each job; connection `n` has some of its own.
    pub fn with_unique_keys(self, n: usize) -> Musher {
        Musher { keys: Keys::Unique, key: n as u64 * 1_000_000_000, ..self }
    }

    /// A submit of jobs that are alike but for their keys.
    fn put_keyed(&mut self, payloads: &[Vec<u8>], out: &mut Vec<u8>) {
        let (queue, keys, first) = (self.queue.as_bytes(), self.keys, self.key);
        self.key += payloads.len() as u64;
        self.frame(SUBMIT, payloads.len(), out, |out| {
            out.push(0); // no options of the request
            out.extend_from_slice(&(payloads.len() as u32).to_le_bytes());
            for (n, payload) in (first..).zip(payloads) {
                text(out, queue);
                let (option, key) = match keys {
                    Keys::Ordered(keys) => (9, format!("{:08}", n % keys)),
                    Keys::Unique | Keys::None => (10, format!("{n:014}")),
                };
                out.extend_from_slice(&[1, 0, option | 0x80, key.len() as u8]); // priority 0, the key
                out.extend_from_slice(key.as_bytes());
                out.push(0);
                out.extend_from_slice(&1u32.to_le_bytes());
                out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                out.extend_from_slice(payload);
            }
        });
    }

    fn frame(&mut self, kind: u8, jobs: usize, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
        self.last += 1;
        self.sizes.insert(self.last, jobs);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(kind);
        out.extend_from_slice(&self.last.to_le_bytes());
        payload(out);
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text);
}

impl Target for Musher {
    fn hello(&mut self, _first: bool, out: &mut Vec<u8>) {
        self.frame(HELLO, 0, out, |out| {
            out.extend_from_slice(b"MUSH\x02\x00");
            text(out, b"queue-bench");
        });
    }

    fn put(&mut self, payloads: &[Vec<u8>], out: &mut Vec<u8>) {
        if self.keys != Keys::None {
            return self.put_keyed(payloads, out);
        }
        let queue = self.queue.as_bytes();
        self.frame(SUBMIT, payloads.len(), out, |out| {
            out.push(0); // no options of the request
            out.extend_from_slice(&1u32.to_le_bytes());
            text(out, queue);
            out.extend_from_slice(&[1, 0, 0]); // priority 0, no other options
            out.extend_from_slice(&(payloads.len() as u32).to_le_bytes());
            for payload in payloads {
                out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                out.extend_from_slice(payload);
            }
        });
    }

    fn take(&mut self, max: usize, wait_ms: u64, out: &mut Vec<u8>) {
        let queue = self.queue.as_bytes();
        self.frame(CLAIM, max, out, |out| {
            out.extend_from_slice(&1u16.to_le_bytes());
            text(out, queue);
            out.extend_from_slice(&(max as u32).to_le_bytes());
            out.extend_from_slice(&[2, 8]); // the wait
            out.extend_from_slice(&wait_ms.to_le_bytes());
            out.extend_from_slice(&[3, 1, 1, 0]); // bound to the connection
        });
    }

    fn ack(&mut self, ids: &[Id], out: &mut Vec<u8>) {
        self.frame(SETTLE, ids.len(), out, |out| {
            out.extend_from_slice(&(ids.len() as u32).to_le_bytes());
            for id in ids {
                out.extend_from_slice(id);
                out.push(0); // no options: complete
            }
        });
    }

    fn recover(&mut self, out: &mut Vec<u8>) {
        // Leases have ended with their connections; any answer will do.
        self.frame(UNWAIT, 0, out, |out| out.extend_from_slice(&0u32.to_le_bytes()));
    }

    fn poll(&mut self, input: &[u8], _out: &mut Vec<u8>) -> io::Result<(usize, Option<Event>)> {
        let Some(length) = input.first_chunk::<4>() else { return Ok((0, None)) };
        let used = 4 + u32::from_le_bytes(*length) as usize;
        if input.len() < used {
            return Ok((0, None));
        }
        let mut frame = Reader(&input[4..used]);
        let (kind, request) = (frame.u8()?, frame.u32()?);
        let jobs = self.sizes.remove(&request).unwrap_or_default();
        let event = match kind {
            WELCOME | OK => Event::Ready,
            SUBMITTED => Event::Stored(jobs),
            RECEIVED => {
                if frame.0[4..].chunks(9).any(|receipt| receipt[8] != 0) {
                    return bad(b"a job is not new");
                }
                Event::Stored(jobs)
            }
            JOBS => match frame.jobs()? {
                jobs if jobs.is_empty() => Event::Empty,
                jobs => Event::Jobs(jobs),
            },
            SETTLED => {
                if frame.0[4..].iter().any(|result| *result != 0) {
                    return bad(b"a settle was refused");
                }
                Event::Acked(jobs)
            }
            _ => return bad(frame.0),
        };
        Ok((used, Some(event)))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> io::Result<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n).ok_or(io::ErrorKind::InvalidData)?;
        self.0 = rest;
        Ok(front)
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    fn u16(&mut self) -> io::Result<usize> {
        Ok(usize::from(u16::from_le_bytes(*self.bytes(2)?.first_chunk().expect("two bytes"))))
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(*self.bytes(4)?.first_chunk().expect("four bytes")))
    }

    fn jobs(&mut self) -> io::Result<Vec<Job>> {
        (0..self.u32()?).map(|_| self.job()).collect()
    }

    fn job(&mut self) -> io::Result<Job> {
        let id = self.bytes(LEASE)?.to_vec();
        self.bytes(4 + 8 + 8)?; // attempts at most, length and end of the lease
        let queue = self.u16()?;
        self.bytes(queue + 4 + 4)?; // the name, the priority, the owner
        while self.u8()? != 0 {
            let option = match self.u8()? {
                255 => self.u32()? as usize,
                len => usize::from(len),
            };
            self.bytes(option)?;
        }
        let body = self.u32()? as usize;
        Ok(Job { id, payload: self.bytes(body)?.to_vec() })
    }
}
