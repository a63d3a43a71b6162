//! JetStream: a file-backed work-queue stream with one durable pull consumer.
//! Finishing a job waits for the server's answer to the acknowledgement.

use crate::target::*;
use std::collections::VecDeque;
use std::io::{self, Write};

/// Behind it comes on how many servers it is.
const STREAM: &str =
    r#"{"name":"Q","subjects":["jobs"],"retention":"workqueue","storage":"file","num_replicas":"#;
const CONSUMER: &str = r#"{"stream_name":"Q","config":{"durable_name":"c","ack_policy":"explicit","ack_wait":600000000000,"max_ack_pending":-1,"max_waiting":4096}}"#;

pub struct Nats {
    inbox: String,
    replicas: usize,
    calls: VecDeque<(&'static str, String)>, // API calls, made one at a time
    stored: VecDeque<(usize, usize)>,
    acked: VecDeque<(usize, usize)>,
    taking: usize,
    jobs: Vec<Job>,
}

fn publish(out: &mut Vec<u8>, subject: &[u8], reply: &str, body: &[u8]) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(subject);
    let _ = write!(out, " {reply} {}\r\n", body.len());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

impl Nats {
    pub fn new(n: usize, replicas: usize) -> Nats {
        let inbox = format!("_INBOX.{}x{n}", std::process::id());
        Nats {
            inbox,
            replicas,
            calls: VecDeque::new(),
            stored: VecDeque::new(),
            acked: VecDeque::new(),
            taking: 0,
            jobs: Vec::new(),
        }
    }

    fn next_call(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((call, body)) = self.calls.pop_front() else { return false };
        publish(out, format!("$JS.API.{call}").as_bytes(), &format!("{}.s", self.inbox), body.as_bytes());
        true
    }
}

fn countdown(queue: &mut VecDeque<(usize, usize)>) -> Option<usize> {
    let (left, n) = queue.front_mut()?;
    *left -= 1;
    let done = (*left == 0).then_some(*n);
    if done.is_some() {
        queue.pop_front();
    }
    done
}

impl Target for Nats {
    fn hello(&mut self, first: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"raw\",\"version\":\"1\"}\r\n",
        );
        let _ = write!(out, "SUB {}.* 1\r\n", self.inbox);
        if first {
            let stream = format!("{STREAM}{}}}", self.replicas);
            self.calls
                .extend([("STREAM.CREATE.Q", stream), ("CONSUMER.DURABLE.CREATE.Q.c", CONSUMER.to_owned())]);
        } else {
            self.calls.push_back(("STREAM.INFO.Q", String::new()));
        }
        self.next_call(out);
    }

    fn put(&mut self, payloads: &[Vec<u8>], out: &mut Vec<u8>) {
        let reply = format!("{}.p", self.inbox);
        for p in payloads {
            publish(out, b"jobs", &reply, p);
        }
        self.stored.push_back((payloads.len(), payloads.len()));
    }

    fn take(&mut self, max: usize, wait_ms: u64, out: &mut Vec<u8>) {
        let wait = if wait_ms == 0 {
            "\"no_wait\":true".into()
        } else {
            format!("\"expires\":{}", wait_ms * 1_000_000)
        };
        let body = format!("{{\"batch\":{max},{wait}}}");
        publish(out, b"$JS.API.CONSUMER.MSG.NEXT.Q.c", &format!("{}.t", self.inbox), body.as_bytes());
        self.taking = max;
    }

    fn ack(&mut self, ids: &[Id], out: &mut Vec<u8>) {
        let reply = format!("{}.a", self.inbox);
        for id in ids {
            publish(out, id, &reply, b"+ACK");
        }
        self.acked.push_back((ids.len(), ids.len()));
    }

    fn recover(&mut self, out: &mut Vec<u8>) {
        self.calls.extend([
            ("CONSUMER.DELETE.Q.c", String::new()),
            ("CONSUMER.DURABLE.CREATE.Q.c", CONSUMER.to_owned()),
        ]);
        self.next_call(out);
    }

    fn poll(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<(usize, Option<Event>)> {
        let Some(start) = line_end(input) else { return Ok((0, None)) };
        let line = &input[..start - 2];
        if line == b"PING" {
            out.extend_from_slice(b"PONG\r\n");
        }
        if line.starts_with(b"-ERR") {
            return bad(line);
        }
        let headers = line.starts_with(b"HMSG ");
        if !headers && !line.starts_with(b"MSG ") {
            return Ok((start, None));
        }
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let Some(len) = words.last().and_then(|w| number(w)) else {
            return bad(line);
        };
        if input.len() < start + len + 2 {
            return Ok((0, None));
        }
        let used = start + len + 2;
        let body = &input[start..start + len];
        let subject = words[1];
        let event = if subject == b"jobs" {
            self.jobs.push(Job { id: words[3].to_vec(), payload: body.to_vec() });
            (self.jobs.len() == self.taking).then(|| Event::Jobs(std::mem::take(&mut self.jobs)))
        } else {
            if body.windows(7).any(|w| w == b"\"error\"") {
                return bad(body);
            }
            match subject.last() {
                Some(b's') => (!self.next_call(out)).then_some(Event::Ready),
                Some(b'p') if headers => return bad(body),
                Some(b'p') => countdown(&mut self.stored).map(Event::Stored),
                Some(b'a') => countdown(&mut self.acked).map(Event::Acked),
                _ if self.jobs.is_empty() => Some(Event::Empty), // a status ends the request
                _ => Some(Event::Jobs(std::mem::take(&mut self.jobs))),
            }
        };
        Ok((used, event))
    }
}
