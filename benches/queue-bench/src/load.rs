//! The workloads. One thread drives every connection of a run through epoll,
//! so that on a small machine the server keeps the other cores.

use crate::net::{Client, Epoll, Pipe};
use crate::target::{Event, Id, Target};
use std::collections::VecDeque;
use std::io;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[derive(Clone)]
pub struct Plan {
    pub addr: String,
    pub protocol: String,
    pub jobs: usize,
    pub secs: f64,
    pub size: usize,
    pub producers: usize,
    pub consumers: usize,
    /// Jobs in flight per producer.
    pub window: usize,
    /// Jobs per request, both for putting and for taking.
    pub batch: usize,
    /// How many jobs may be stored and not yet finished before producers wait.
    pub ahead: usize,
}

#[derive(Default)]
pub struct Outcome {
    pub stored: usize,
    pub acked: usize,
    /// What the rate is of: finished jobs where there are consumers, stored ones otherwise.
    pub done: usize,
    pub secs: f64,
    pub put_ns: Vec<u64>,
    /// What is known of each job by its number: the bits below.
    pub fate: Vec<u8>,
    /// The longest time in which nothing was answered.
    pub pause: Duration,
    pub broken: bool,
}

pub const STORED: u8 = 1;
pub const ACK_SENT: u8 = 2;
pub const ACKED: u8 = 4;
pub const SEEN_AFTER: u8 = 8;

struct Worker {
    pipe: Pipe,
    target: Box<dyn Target>,
    producer: bool,
    in_flight: usize,
    sent: VecDeque<(Instant, usize, usize)>, // when, first job number, how many
    held: Vec<usize>,
    retry: Option<Instant>,
    blocked: bool,
}

pub fn payload(number: usize, size: usize) -> Vec<u8> {
    let mut p = format!("{number:016x}").into_bytes();
    p.resize(size.max(16), b'.');
    p
}

fn number_of(payload: &[u8]) -> usize {
    payload
        .get(..16)
        .and_then(|p| usize::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok())
        .unwrap_or(usize::MAX)
}

struct Run<'a> {
    plan: &'a Plan,
    issued: usize,
    deadline: Instant,
    last_answer: Instant,
    out: Outcome,
}

impl Run<'_> {
    fn issuing(&self) -> bool {
        self.plan.producers > 0 && self.issued < self.plan.jobs && Instant::now() < self.deadline
    }

    fn held_back(&self) -> bool {
        self.issued - self.out.acked.min(self.issued) >= self.plan.ahead
    }

    fn top_up(&mut self, w: &mut Worker) {
        while w.in_flight < self.plan.window && !self.held_back() && self.issuing() {
            let n = self.plan.batch.min(self.plan.jobs - self.issued);
            let jobs: Vec<_> = (self.issued..self.issued + n).map(|i| payload(i, self.plan.size)).collect();
            w.target.put(&jobs, &mut w.pipe.output);
            w.sent.push_back((Instant::now(), self.issued, n));
            w.in_flight += n;
            self.issued += n;
            self.out.fate.resize(self.issued, 0);
        }
    }

    fn take(&mut self, w: &mut Worker) {
        w.target.take(self.plan.batch, 1000, &mut w.pipe.output);
    }

    fn event(&mut self, w: &mut Worker, event: Event) {
        let now = Instant::now();
        self.out.pause = self.out.pause.max(now - self.last_answer);
        self.last_answer = now;
        match event {
            Event::Stored(n) => {
                let (at, first, _) = w.sent.pop_front().expect("a put was sent");
                self.out.put_ns.push((now - at).as_nanos() as u64);
                self.out.fate[first..first + n].iter_mut().for_each(|f| *f |= STORED);
                self.out.stored += n;
                w.in_flight -= n;
                // Refill a wide window in halves, so that requests travel together.
                if w.in_flight <= self.plan.window / 2 {
                    self.top_up(w);
                }
            }
            Event::Jobs(jobs) => {
                w.held = jobs.iter().map(|j| number_of(&j.payload)).collect();
                self.mark(&w.held, ACK_SENT);
                let ids: Vec<Id> = jobs.into_iter().map(|j| j.id).collect();
                w.target.ack(&ids, &mut w.pipe.output);
            }
            Event::Acked(n) => {
                self.out.acked += n;
                self.mark(&w.held, ACKED);
                self.take(w);
            }
            Event::Empty => w.retry = Some(Instant::now() + Duration::from_millis(2)),
            Event::Ready => {}
        }
    }

    fn mark(&mut self, held: &[usize], bit: u8) {
        for &n in held {
            if let Some(f) = self.out.fate.get_mut(n) {
                *f |= bit;
            }
        }
    }

    fn read(&mut self, w: &mut Worker) -> io::Result<()> {
        let open = w.pipe.fill()?;
        loop {
            let (n, event) = w.target.poll(&w.pipe.input[w.pipe.used..], &mut w.pipe.output)?;
            w.pipe.used += n;
            match event {
                Some(e) => self.event(w, e),
                None if n == 0 => break,
                None => {}
            }
        }
        if open { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn finished(&self, start: Instant) -> bool {
        let drained = self.out.stored == self.issued && !self.issuing();
        let late = Instant::now() > self.deadline + Duration::from_secs_f64(self.plan.secs);
        match (self.plan.producers, self.plan.consumers) {
            (_, 0) => drained || late,
            (0, _) => self.out.acked >= self.plan.jobs || start.elapsed().as_secs_f64() > self.plan.secs,
            _ => (drained && self.out.acked >= self.out.stored) || late,
        }
    }
}

/// Producers and consumers at once, bounded by a count and by a time. With no
/// producers the consumers work on what is already queued.
pub fn run(plan: &Plan, probe: &mut dyn FnMut()) -> io::Result<Outcome> {
    run_watched(plan, probe, &mut |_, _| ())
}

/// The same, and `watch` sees it go on: what there is so far, and how long it has run.
pub fn run_watched(
    plan: &Plan,
    probe: &mut dyn FnMut(),
    watch: &mut dyn FnMut(&mut Outcome, Duration),
) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    let mut workers = Vec::new();
    for i in 0..plan.producers + plan.consumers {
        let (pipe, target) = Client::open(&plan.addr, &plan.protocol, i, i == 0)?.into_parts();
        pipe.stream.nonblocking()?;
        epoll.add(pipe.stream.fd(), i as u64)?;
        let producer = i < plan.producers;
        workers.push(Worker {
            pipe,
            target,
            producer,
            in_flight: 0,
            sent: VecDeque::new(),
            held: Vec::new(),
            retry: None,
            blocked: false,
        });
    }
    probe();
    let start = Instant::now();
    let mut run = Run {
        plan,
        issued: 0,
        deadline: start + Duration::from_secs_f64(plan.secs),
        last_answer: start,
        out: Outcome::default(),
    };
    let mut keys: Vec<u64> = (0..workers.len() as u64).collect();
    for w in &mut workers {
        if w.producer { run.top_up(w) } else { run.take(w) }
    }
    while !run.finished(start) {
        let mut wait = 100;
        for (w, k) in workers.iter_mut().zip(0..) {
            if w.retry.is_some_and(|t| t <= Instant::now()) {
                w.retry = None;
                run.take(w);
                keys.push(k);
            } else if w.retry.is_some() {
                wait = 1;
            } else if w.producer && w.in_flight == 0 && plan.ahead < usize::MAX && !run.held_back() {
                run.top_up(w);
                keys.push(k);
            }
        }
        for &k in &keys {
            let w = &mut workers[k as usize];
            let done = match w.pipe.drain() {
                Ok(done) => done,
                Err(_) => {
                    run.out.broken = true;
                    break;
                }
            };
            if done == w.blocked {
                epoll.want_write(w.pipe.stream.fd(), k, !done)?;
                w.blocked = !done;
            }
        }
        epoll.wait(&mut keys, wait)?;
        for &k in &keys {
            match run.read(&mut workers[k as usize]) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(e),
                Err(_) => run.out.broken = true,
            }
        }
        if run.out.broken {
            break;
        }
        watch(&mut run.out, start.elapsed());
    }
    run.out.secs = start.elapsed().as_secs_f64();
    run.out.done = if plan.consumers > 0 { run.out.acked } else { run.out.stored };
    probe();
    Ok(run.out)
}

/// A consumer waits; one job is put; how long until the consumer has it.
pub fn wake(plan: &Plan) -> io::Result<Vec<u64>> {
    let mut producer = Client::open(&plan.addr, &plan.protocol, 0, true)?;
    let mut consumer = Client::open(&plan.addr, &plan.protocol, 1, false)?;
    while let Event::Jobs(jobs) = consumer.call(|t, out| t.take(100, 0, out))? {
        let ids: Vec<Id> = jobs.into_iter().map(|j| j.id).collect();
        consumer.call(|t, out| t.ack(&ids, out))?;
    }
    let (waiting, is_waiting) = mpsc::channel();
    let (got, has_got) = mpsc::channel();
    let jobs = plan.jobs;
    let thread = std::thread::spawn(move || -> io::Result<()> {
        for _ in 0..jobs {
            let _ = waiting.send(());
            let taken = loop {
                match consumer.call(|t, out| t.take(1, 10_000, out))? {
                    Event::Jobs(jobs) => break jobs,
                    _ => continue,
                }
            };
            let _ = got.send(Instant::now());
            consumer.call(|t, out| t.ack(&[taken[0].id.clone()], out))?;
        }
        Ok(())
    });
    let mut ns = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(plan.secs);
    for i in 0..jobs {
        if is_waiting.recv_timeout(Duration::from_secs(5)).is_err() || Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_micros(1500)); // let the take arrive and block
        let jobs = [payload(i, plan.size)];
        let start = Instant::now();
        producer.call(|t, out| t.put(&jobs, out))?;
        match has_got.recv_timeout(Duration::from_secs(5)) {
            Ok(at) => ns.push(at.saturating_duration_since(start).as_nanos() as u64),
            Err(_) => break,
        }
    }
    if ns.len() == jobs {
        let _ = thread.join();
    }
    Ok(ns)
}

/// Wait until the server answers and has (or has not) work; returns seconds.
pub fn until_serving(plan: &Plan, since: Instant, limit: Duration) -> io::Result<(f64, Client)> {
    loop {
        let attempt = Client::open(&plan.addr, &plan.protocol, 0, true).and_then(|mut c| {
            c.call(|t, out| t.take(1, 0, out))?;
            Ok(c)
        });
        match attempt {
            Ok(c) => return Ok((since.elapsed().as_secs_f64(), c)),
            Err(e) if since.elapsed() > limit => return Err(e),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Kill the server in the middle of a run, start it again, take everything
/// that is left and compare with what had been acknowledged.
pub fn crash(plan: &Plan, ctl: &dyn Fn(&str) -> Command, after: Duration) -> io::Result<String> {
    let mut kill = ctl("kill");
    let killer = std::thread::spawn(move || {
        std::thread::sleep(after);
        kill.status()
    });
    let mut out = run(plan, &mut || ())?;
    killer.join().expect("killer thread")?;
    ctl("start").status()?;
    let (_, client) = until_serving(plan, Instant::now(), Duration::from_secs(60))?;
    drop(client);
    let mut client = Client::open(&plan.addr, &plan.protocol, 0, true)?;
    client.call(|t, o| t.recover(o))?;
    let (mut empty, mut twice) = (0, 0);
    while empty < 5 {
        match client.call(|t, o| t.take(100, 0, o))? {
            Event::Jobs(jobs) => {
                empty = 0;
                for j in &jobs {
                    match out.fate.get_mut(number_of(&j.payload)) {
                        Some(f) if *f & SEEN_AFTER != 0 => twice += 1,
                        Some(f) => *f |= SEEN_AFTER,
                        None => {}
                    }
                }
                let ids: Vec<Id> = jobs.into_iter().map(|j| j.id).collect();
                client.call(|t, o| t.ack(&ids, o))?;
            }
            _ => {
                empty += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    let count = |mask: u8, value: u8| out.fate.iter().filter(|f| **f & mask == value).count();
    Ok(format!(
        "killed={} stored={} finished={} left={} LOST={} finished_but_back={} twice={}",
        out.broken,
        out.stored,
        out.acked,
        count(SEEN_AFTER, SEEN_AFTER),
        count(STORED | ACK_SENT | SEEN_AFTER, STORED),
        count(ACKED | SEEN_AFTER, ACKED | SEEN_AFTER),
        twice
    ))
}
