//! Submits that come when they are due, whatever the server does: an open loop. The latency of each runs from when it
//! was due, so that a server which stands still is not spared the submits that its standing still held up (coordinated
//! omission). Arrivals are random (exponential gaps) from a fixed seed, so that every target gets the same ones.

use crate::load::{Outcome, Plan, payload};
use crate::net::{Client, Epoll, Pipe};
use crate::target::{Event, Target};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

struct Connection {
    pipe: Pipe,
    target: Box<dyn Target>,
    /// When each submit that is under way was due.
    due: VecDeque<Instant>,
    blocked: bool,
}

/// Gaps between arrivals.
struct Arrivals {
    state: u64,
    mean: f64,
}

impl Arrivals {
    fn gap(&mut self) -> Duration {
        // xorshift64: good enough to spread arrivals
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let uniform = ((self.state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        Duration::from_secs_f64(-uniform.ln() * self.mean)
    }
}

/// Submits at `rate` a second over `plan.producers` connections for `plan.secs`; what is not answered as long after
/// the end counts as having taken until then.
pub fn offered(plan: &Plan, rate: f64, probe: &mut dyn FnMut()) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    crate::net::precise_timers();
    let mut connections = Vec::new();
    for i in 0..plan.producers {
        let (pipe, target) = Client::open(&plan.addr, &plan.protocol, i, i == 0)?.into_parts();
        pipe.stream.nonblocking()?;
        epoll.add(pipe.stream.fd(), i as u64)?;
        connections.push(Connection { pipe, target, due: VecDeque::new(), blocked: false });
    }
    probe();
    let mut out = Outcome::default();
    let mut arrivals = Arrivals { state: 0x9E37_79B9_7F4A_7C15, mean: 1.0 / rate };
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(plan.secs);
    let late = end + Duration::from_secs_f64(plan.secs);
    let (mut next, mut issued, mut keys) = (start + arrivals.gap(), 0, Vec::new());
    loop {
        let now = Instant::now();
        while next <= now && next < end {
            let c = &mut connections[issued % plan.producers];
            c.target.put(&[payload(issued, plan.size)], &mut c.pipe.output);
            c.due.push_back(next);
            issued += 1;
            next += arrivals.gap();
        }
        for (c, key) in connections.iter_mut().zip(0..) {
            if !c.pipe.output.is_empty() {
                let done = c.pipe.drain()?;
                if done == c.blocked {
                    epoll.want_write(c.pipe.stream.fd(), key, !done)?;
                    c.blocked = !done;
                }
            }
        }
        if (next >= end && out.stored == issued) || now >= late {
            break;
        }
        let until = if next < end { next } else { late };
        epoll.wait_until(&mut keys, until.saturating_duration_since(Instant::now()))?;
        for &key in &keys {
            answers(&mut connections[key as usize], &mut out)?;
        }
    }
    let now = Instant::now();
    for due in connections.iter().flat_map(|c| &c.due) {
        out.put_ns.push((now - *due).as_nanos() as u64);
    }
    out.secs = start.elapsed().as_secs_f64().max(plan.secs);
    out.done = out.stored;
    probe();
    Ok(out)
}

fn answers(c: &mut Connection, out: &mut Outcome) -> io::Result<()> {
    if !c.pipe.fill()? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let now = Instant::now();
    loop {
        let (used, event) = c.target.poll(&c.pipe.input[c.pipe.used..], &mut c.pipe.output)?;
        c.pipe.used += used;
        match event {
            Some(Event::Stored(jobs)) => {
                let due = c.due.pop_front().expect("a submit was sent");
                out.put_ns.push((now - due).as_nanos() as u64);
                out.stored += jobs;
            }
            Some(_) => {}
            None if used == 0 => return Ok(()),
            None => {}
        }
    }
}
