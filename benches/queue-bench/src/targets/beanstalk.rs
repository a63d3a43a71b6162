//! The text protocol of beanstalkd, which the reference speaks too.

use crate::target::*;
use std::collections::VecDeque;
use std::io::{self, Write};

#[derive(Default)]
pub struct Beanstalk {
    expect: VecDeque<(usize, usize)>, // (replies left, batch size)
    jobs: Vec<Job>,
}

impl Target for Beanstalk {
    fn hello(&mut self, _first: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"use default\r\n");
    }

    fn put(&mut self, payloads: &[Vec<u8>], out: &mut Vec<u8>) {
        for p in payloads {
            let _ = write!(out, "put 0 0 600 {}\r\n", p.len());
            out.extend_from_slice(p);
            out.extend_from_slice(b"\r\n");
        }
        self.expect.push_back((payloads.len(), payloads.len()));
    }

    fn take(&mut self, max: usize, wait_ms: u64, out: &mut Vec<u8>) {
        let _ = write!(out, "reserve-with-timeout {}\r\n", wait_ms.div_ceil(1000));
        for _ in 1..max {
            out.extend_from_slice(b"reserve-with-timeout 0\r\n");
        }
        self.expect.push_back((max, max));
    }

    fn ack(&mut self, ids: &[Id], out: &mut Vec<u8>) {
        for id in ids {
            out.extend_from_slice(b"delete ");
            out.extend_from_slice(id);
            out.extend_from_slice(b"\r\n");
        }
        self.expect.push_back((ids.len(), ids.len()));
    }

    fn recover(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"use default\r\n"); // a restart releases every lease
    }

    fn poll(&mut self, input: &[u8], _out: &mut Vec<u8>) -> io::Result<(usize, Option<Event>)> {
        let Some(mut used) = line_end(input) else { return Ok((0, None)) };
        let line = &input[..used - 2];
        let mut words = line.split(|b| *b == b' ');
        let word = words.next().unwrap_or_default();
        let mut took = false;
        match word {
            b"USING" => return Ok((used, Some(Event::Ready))),
            b"RESERVED" => {
                let id = words.next().unwrap_or_default().to_vec();
                let Some(len) = words.next().and_then(number) else {
                    return bad(line);
                };
                if input.len() < used + len + 2 {
                    return Ok((0, None));
                }
                self.jobs.push(Job { id, payload: input[used..used + len].to_vec() });
                used += len + 2;
                took = true;
            }
            b"TIMED_OUT" | b"DEADLINE_SOON" => took = true,
            b"INSERTED" | b"DELETED" => {}
            _ => return bad(line),
        }
        let Some((left, size)) = self.expect.front_mut() else {
            return bad(line);
        };
        *left -= 1;
        if *left > 0 {
            return Ok((used, None));
        }
        let size = *size;
        self.expect.pop_front();
        let event = match word {
            b"INSERTED" => Event::Stored(size),
            b"DELETED" => Event::Acked(size),
            _ if took && self.jobs.is_empty() => Event::Empty,
            _ => Event::Jobs(std::mem::take(&mut self.jobs)),
        };
        Ok((used, Some(event)))
    }
}
