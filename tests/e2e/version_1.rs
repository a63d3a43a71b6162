//! Clients that speak version 1 of the protocol, byte for byte: sessions that were recorded when there was no other
//! version (`tests/fixtures/protocol-1`) get from the daemon what they got then. What reads the answers here knows
//! nothing of the program's own decoders.

use crate::helper::{DEADLINE, Home, block_on};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

const CONFIG: &str = "[queues.commands]\nworkers = 0\n[queues.q]\nkeep = { done = '1h', dead = '1h' }\n\
                      backoff = { kind = 'fixed', base = '1h' }\n";

/// What differs from one run to the next, and what is not of the protocol.
const VOLATILE: [&str; 24] = [
    "at",
    "clock_ahead_ms",
    "command",
    "commit",
    "connections",
    "data",
    "due_at",
    "ended_at",
    "error",
    "expires_at",
    "held",
    "kept_until",
    "leased_at",
    "leased_until",
    "memory",
    "owner",
    "pid",
    "reasons",
    "runs_until",
    "since",
    "started_at",
    "submitted_at",
    "uptime_ms",
    "version",
];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/protocol-1").join(name)
}

/// A payload as version 1 has it.
struct Old<'a>(&'a [u8]);

impl Old<'_> {
    fn number(&mut self, len: usize) -> u64 {
        let (number, rest) = self.0.split_at(len);
        self.0 = rest;
        number.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    fn text(&mut self, len: usize) -> String {
        let len = self.number(len) as usize;
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn lease(&mut self) -> String {
        format!("{}/{}", self.number(8), self.number(4))
    }

    fn result(&mut self, end: bool) -> String {
        match self.number(1) {
            0 if end => {
                self.number(8);
                "until …".into()
            }
            0 => "taken".into(),
            1 => format!("no job {}", self.number(8)),
            2 => format!("lost {}, now {} in state {}", self.lease(), self.number(4), self.number(1)),
            code => panic!("result {code}"),
        }
    }

    fn job(&mut self) -> String {
        let (lease, attempts, timeout, _) = (self.lease(), self.number(4), self.number(8), self.number(8));
        let until = self.number(8);
        assert!(until > 1_700_000_000_000, "{until}");
        let (queue, priority, owner) = (self.text(2), self.number(4), self.number(4));
        assert_eq!(owner, u64::from(rustix::process::geteuid().as_raw()));
        let tags: Vec<_> = (0..self.number(2)).map(|_| (self.text(2), self.text(2))).collect();
        let body = self.text(4);
        format!("{lease} of {attempts}, {timeout} ms, {queue} {priority} {tags:?} {body:?}")
    }

    /// Everything, as a line. What may be in several pieces is not said.
    fn line(mut self, kind: u8, request: u32) -> Option<String> {
        let mut line = format!("{request} ");
        let mut add = |what: String| line.push_str(&what);
        match kind {
            0x81 => {
                add(format!("welcome {}", self.number(2)));
                add(format!(", at most {} {} {}", self.number(4), self.number(4), self.number(4)));
                self.text(2);
            }
            0x90 => add(format!("submitted {} + {}", self.number(8), self.number(8))),
            0x91 => {
                add("jobs".into());
                (0..self.number(4)).for_each(|_| add(format!("; {}", self.job())));
            }
            0x92 | 0x93 => {
                add(if kind == 0x92 { "settled" } else { "extended" }.into());
                (0..self.number(4)).for_each(|_| add(format!("; {}", self.result(kind == 0x93))));
            }
            0x94 => add("ok".into()),
            0x95 => add(format!("body {:?}", std::mem::take(&mut self.0))),
            0x96 => {
                add(format!("output of {} on {}", self.number(4), self.number(1)));
                add(format!(" {:?}", String::from_utf8_lossy(std::mem::take(&mut self.0))));
            }
            0x97 => return None,
            0xa0 => {
                let mut json = serde_json::from_slice(std::mem::take(&mut self.0)).unwrap();
                hide(&mut json);
                add(format!("json {json}"));
            }
            0xc0 => add(format!("revoked {} for {}", self.lease(), self.number(1))),
            0xc1 => add(format!("stopping in {}", self.number(8))),
            0xc2 => add("reconfigured".into()),
            0xf0 => {
                add(format!("error {}", self.number(2)));
                assert!(!self.text(2).is_empty());
            }
            kind => panic!("kind {kind:#04x}"),
        }
        assert!(self.0.is_empty(), "{line}: {} bytes follow", self.0.len());
        Some(line)
    }
}

fn hide(json: &mut Value) {
    match json {
        Value::Object(keys) => keys.iter_mut().for_each(|(key, value)| {
            if VOLATILE.contains(&key.as_str()) {
                *value = "…".into();
            } else {
                hide(value);
            }
        }),
        Value::Array(all) => all.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Whether an answer says all that was said then. Clients of version 1 pass over keys that they do not know.
fn says(said: &Value, then: &Value) -> bool {
    match (said, then) {
        (Value::Object(said), Value::Object(then)) => {
            then.iter().all(|(key, then)| said.get(key).is_some_and(|said| says(said, then)))
        }
        (Value::Array(said), Value::Array(then)) => {
            said.len() == then.len() && said.iter().zip(then).all(|(said, then)| says(said, then))
        }
        (said, then) => said == then,
    }
}

fn next_line(stream: &mut UnixStream) -> String {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut frame).unwrap();
        let request = u32::from_le_bytes(*frame[1..].first_chunk().unwrap());
        if let Some(line) = Old(&frame[5..]).line(frame[0], request) {
            return line;
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Says what a session says: `>` is a frame of the client's, and the `<` behind it are what it was answered.
fn replay(name: &str) {
    block_on(async {
        let home = Home::new(CONFIG);
        let daemon = home.serve().await;
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let session = fs::read_to_string(fixture(name)).unwrap();
        let (mut before, mut answers) = ("", 0);
        for line in session.lines() {
            if let Some(frame) = line.strip_prefix("> ") {
                stream.write_all(&bytes(frame)).unwrap();
            } else if let Some(then) = line.strip_prefix("< ") {
                let said = next_line(&mut stream);
                let parse = |line: &str| {
                    let (head, json) = line.split_once(" json ")?;
                    Some((head.to_owned(), serde_json::from_str::<Value>(json).unwrap()))
                };
                let same = match (parse(&said), parse(then)) {
                    (Some((head, said)), Some((as_then, then))) => head == as_then && says(&said, &then),
                    _ => said == then,
                };
                assert!(same, "{before}\nsaid {said}\nthen {then}");
                answers += 1;
            } else {
                before = line;
            }
        }
        assert!(answers > 10, "{answers}");
        drop(stream);
        daemon.stop().await;
    });
}

#[test]
fn its_jobs_are_submitted_claimed_and_settled() {
    replay("jobs.txt");
}

#[test]
fn its_questions_are_answered() {
    replay("questions.txt");
}

#[test]
fn its_mistakes_are_refused_and_it_goes_on() {
    replay("mistakes.txt");
}
