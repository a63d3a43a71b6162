//! A job table with FOR UPDATE SKIP LOCKED, over prepared statements of the
//! v3 protocol. The control script creates the table (see `jobs.sql`).

use crate::target::*;
use std::collections::VecDeque;
use std::io;

const PUT: &str = "INSERT INTO jobs (payload) VALUES ($1)";
const PUT_NOTIFY: &str =
    "WITH i AS (INSERT INTO jobs (payload) VALUES ($1) RETURNING id) SELECT pg_notify('q', '') FROM i";
const TAKE: &str = "UPDATE jobs SET state = 1, leased_until = now() + interval '600 s' WHERE id = ANY(ARRAY(\
    SELECT id FROM jobs WHERE state = 0 ORDER BY id FOR UPDATE SKIP LOCKED LIMIT $1)) RETURNING id, payload";
const ACK: &str = "DELETE FROM jobs WHERE id = ANY($1)";

enum Want {
    Ready,
    Stored(usize),
    Take { max: usize, wait: bool },
    Acked(usize),
}

pub struct Postgres {
    notify: bool,
    want: VecDeque<Want>,
    jobs: Vec<Job>,
    syncs: usize,        // ReadyForQuery messages to skip while logging in
    idle: Option<usize>, // a waiting take, with its max
}

fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    if tag != 0 {
        out.push(tag);
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn text(out: &mut Vec<u8>, s: &str) {
    out.extend_from_slice(s.as_bytes());
    out.push(0);
}

fn execute(out: &mut Vec<u8>, statement: &str, argument: &[u8]) {
    message(out, b'B', |o| {
        text(o, "");
        text(o, statement);
        o.extend_from_slice(&[0, 0, 0, 1]);
        o.extend_from_slice(&(argument.len() as u32).to_be_bytes());
        o.extend_from_slice(argument);
        o.extend_from_slice(&[0, 0]);
    });
    message(out, b'E', |o| o.extend_from_slice(&[0; 5]));
}

fn sync(out: &mut Vec<u8>) {
    message(out, b'S', |_| ());
}

impl Postgres {
    pub fn new(notify: bool) -> Postgres {
        Postgres { notify, want: VecDeque::new(), jobs: Vec::new(), syncs: 0, idle: None }
    }
}

impl Target for Postgres {
    fn hello(&mut self, _first: bool, out: &mut Vec<u8>) {
        message(out, 0, |o| {
            o.extend_from_slice(&[0, 3, 0, 0]);
            for s in ["user", "postgres", "database", "postgres"] {
                text(o, s);
            }
            o.push(0);
        });
        let put = if self.notify { PUT_NOTIFY } else { PUT };
        for (name, sql, oid) in [("put", put, 25u32), ("take", TAKE, 20), ("ack", ACK, 1016)] {
            message(out, b'P', |o| {
                text(o, name);
                text(o, sql);
                o.extend_from_slice(&[0, 1]);
                o.extend_from_slice(&oid.to_be_bytes());
            });
        }
        sync(out);
        self.syncs = 1;
        if self.notify {
            message(out, b'Q', |o| text(o, "LISTEN q"));
            self.syncs = 2;
        }
        self.want.push_back(Want::Ready);
    }

    fn put(&mut self, payloads: &[Vec<u8>], out: &mut Vec<u8>) {
        for p in payloads {
            execute(out, "put", p);
        }
        sync(out);
        self.want.push_back(Want::Stored(payloads.len()));
    }

    fn take(&mut self, max: usize, wait_ms: u64, out: &mut Vec<u8>) {
        execute(out, "take", max.to_string().as_bytes());
        sync(out);
        self.want.push_back(Want::Take { max, wait: wait_ms > 0 && self.notify });
    }

    fn ack(&mut self, ids: &[Id], out: &mut Vec<u8>) {
        let list = ids.join(&b',');
        execute(out, "ack", &[b"{", &list[..], b"}"].concat());
        sync(out);
        self.want.push_back(Want::Acked(ids.len()));
    }

    fn recover(&mut self, out: &mut Vec<u8>) {
        message(out, b'Q', |o| text(o, "UPDATE jobs SET state = 0 WHERE state = 1"));
        self.want.push_back(Want::Ready);
    }

    fn poll(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Option<Event>)> {
        if input.len() < 5 {
            return Ok((0, None));
        }
        let used = 1 + u32::from_be_bytes(input[1..5].try_into().unwrap()) as usize;
        if input.len() < used {
            return Ok((0, None));
        }
        let body = &input[5..used];
        let event = match input[0] {
            b'E' => return bad(body),
            b'D' => {
                let mut at = 2;
                let mut column = || {
                    let len = u32::from_be_bytes(body[at..at + 4].try_into().unwrap()) as usize;
                    at += 4 + len;
                    body[at - len..at].to_vec()
                };
                if let Some(Want::Take { .. }) = self.want.front() {
                    self.jobs.push(Job { id: column(), payload: column() });
                }
                None
            }
            b'A' => {
                if let Some(max) = self.idle.take() {
                    self.take(max, 1, out);
                }
                None
            }
            b'Z' if self.syncs > 0 => {
                self.syncs -= 1;
                None
            }
            b'Z' => match self.want.pop_front() {
                None => return bad(b"unexpected ReadyForQuery"),
                Some(Want::Ready) => Some(Event::Ready),
                Some(Want::Stored(n)) => Some(Event::Stored(n)),
                Some(Want::Acked(n)) => Some(Event::Acked(n)),
                Some(Want::Take { .. }) if !self.jobs.is_empty() => {
                    Some(Event::Jobs(std::mem::take(&mut self.jobs)))
                }
                Some(Want::Take { max, wait: true }) => {
                    self.idle = Some(max);
                    None
                }
                Some(Want::Take { .. }) => Some(Event::Empty),
            },
            _ => None,
        };
        Ok((used, event))
    }
}
