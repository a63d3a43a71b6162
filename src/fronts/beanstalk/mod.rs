//! beanstalkd's protocol (`docs/beanstalkd.md`): lines into requests to the server, its results into lines. Tubes are queues, a job that is
//! reserved is leased, one that is delayed is scheduled, one that is buried is dead. It decides nothing.
//!
//! A connection's requests are answered in their order. Those that need not wait are handled as they come and share a commit; behind one
//! that waits (`reserve`, or a `put` for room) nothing is taken.
//!
//! The arrows: this file → `commands` → `answer`, `stats` → `tubes` → `line` → `tags`; this file → `reading` → `line`; `words` is plain.

mod answer;
mod commands;
mod line;
mod reading;
mod stats;
mod tags;
mod tubes;
mod words;

pub(crate) use tubes::Tubes;

use crate::clock::Clock;
use crate::core::{Priority, QueueName, Spec, SpecOptions, Time, UniqueWhile};
use crate::engine::{Answer, Origin};
use crate::server::handling::{self, Nothing};
use crate::server::requests::RequestContext;
use crate::server::submit;
use crate::server::{Close, Connection, Encoder, FREE, Fault, Front, Hub, Limits, Notice, Outbox, Part};
use crate::store::Store;
use answer::Holder;
use bytes::BytesMut;
use line::Command;
use reading::{Reading, Request};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tags::Keys;
use tubes::add;

/// One connection that speaks it.
pub(crate) struct Beanstalk {
    tubes: Rc<Tubes>,
    reading: Cell<Reading>,
    body_max: Cell<usize>,
    own: RefCell<Own>,
    /// The number of the next request.
    next: Cell<u32>,
    /// How many requests have no answer yet.
    unanswered: Cell<usize>,
    /// The one that waits, if one does: nothing is taken until it is answered.
    waiting: Cell<Option<u32>>,
    /// Whether the next request is to close the connection, once all before it are answered.
    quits: Cell<bool>,
    /// Whether the other side has said all.
    has_ended: Cell<bool>,
    /// Whether the request that waits is never answered.
    is_silent: Cell<bool>,
    is_producer: Cell<bool>,
    is_worker: Cell<bool>,
    /// Which job had the unique key of a put, by the number of that request, until it is answered.
    holders: RefCell<HashMap<u32, Holder>>,
}

/// What a connection uses and watches.
struct Own {
    used: QueueName,
    watched: Vec<QueueName>,
    /// The newest job's options: the next one's are likely to be the same.
    spec: Option<Arc<Spec>>,
    /// The same of the newest one that had keys.
    keyed: Option<Arc<SpecOptions>>,
}

impl Own {
    /// The options of a job for the tube in use, shared with those of the last one if they are the same. Its time to run, in seconds, is
    /// what one attempt may take, and how long a lease of a client of this protocol lasts.
    fn spec(&mut self, owner: u32, priority: Priority, ttr: u32) -> Arc<Spec> {
        let timeout = Some(Duration::from_secs(ttr.into()));
        let is_same = |spec: &&Arc<Spec>| {
            (spec.priority, spec.timeout, spec.owner) == (priority, timeout, owner) && spec.queue == self.used
        };
        if let Some(spec) = self.spec.as_ref().filter(is_same) {
            return spec.clone();
        }
        let options = SpecOptions { priority, timeout, owner, ..SpecOptions::plain(self.used.clone()) };
        self.spec.insert(options.into()).clone()
    }

    /// The same with keys, whose texts its envelope has.
    fn keyed_spec(&mut self, spec: &Spec, keys: &Keys) -> Spec {
        let unique_while = match keys.unique {
            Some((_, seconds @ 1..)) => UniqueWhile::Kept(Duration::from_secs(seconds.into())),
            _ => UniqueWhile::Unfinished,
        };
        let options = SpecOptions { unique_while, has_envelope: true, ..(*spec.options).clone() };
        let options = match self.keyed.take().filter(|known| **known == options) {
            Some(known) => known,
            None => options.into(),
        };
        self.keyed = Some(options.clone());
        let key = |key: &Option<(String, u32)>| key.as_ref().map(|(text, _)| submit::key(text));
        Spec { options, key: key(&keys.concurrency), unique: key(&keys.unique) }
    }
}

/// What was asked for, as far as the answer depends on it: in the lowest bits of the number of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Put,
    Reserve,
    /// The same, which does not wait.
    ReserveNow,
    /// The same, and if there is no job, a lease of the connection ends soon.
    ReserveSoon,
    ReserveJob,
    /// Several jobs.
    Batch,
    /// The same, which does not wait.
    BatchNow,
    /// The same as the one before that, and if there is none, a lease of the connection ends soon.
    BatchSoon,
    /// What was prepared.
    Other,
}

impl Asked {
    const ALL: [Asked; 9] = [
        Asked::Put,
        Asked::Reserve,
        Asked::ReserveNow,
        Asked::ReserveSoon,
        Asked::ReserveJob,
        Asked::Batch,
        Asked::BatchNow,
        Asked::BatchSoon,
        Asked::Other,
    ];
    const BITS: u32 = 4;

    /// What a request with this number has asked for.
    fn of(request: u32) -> Asked {
        let at = (request & ((1 << Asked::BITS) - 1)) as usize;
        Asked::ALL.get(at).copied().unwrap_or(Asked::Other)
    }
}

impl Beanstalk {
    /// A connection that has just come. It uses and watches one tube.
    pub(crate) fn new(tubes: Rc<Tubes>) -> Beanstalk {
        let used = Tubes::default_name();
        add(&tubes.connections, 1);
        add(&tubes.connections_so_far, 1);
        tubes.note(&used, |tube| {
            tube.using += 1;
            tube.watching += 1;
        });
        Beanstalk {
            tubes,
            reading: Cell::default(),
            body_max: Cell::default(),
            own: RefCell::new(Own { watched: vec![used.clone()], used, spec: None, keyed: None }),
            next: Cell::default(),
            unanswered: Cell::default(),
            waiting: Cell::default(),
            quits: Cell::default(),
            has_ended: Cell::default(),
            is_silent: Cell::default(),
            is_producer: Cell::default(),
            is_worker: Cell::default(),
            holders: RefCell::default(),
        }
    }

    /// The number of a request that asks for this.
    fn number(&self, asked: Asked) -> u32 {
        self.next.set(self.next.get().wrapping_add(1));
        self.unanswered.set(self.unanswered.get() + 1);
        self.next.get() << Asked::BITS | asked as u32
    }

    /// A request waits, or none does any more.
    fn wait_for(&self, request: Option<u32>) {
        let change = i64::from(request.is_some()) - i64::from(self.waiting.get().is_some());
        add(&self.tubes.waiting, change);
        self.waiting.set(request);
    }

    fn first_time(&self, flag: &Cell<bool>, number: &Cell<u64>) {
        if !flag.replace(true) {
            add(number, 1);
        }
    }
}

impl Drop for Beanstalk {
    fn drop(&mut self) {
        let Own { used, watched, .. } = &*self.own.borrow();
        self.wait_for(None);
        add(&self.tubes.connections, -1);
        for (flag, number) in
            [(&self.is_producer, &self.tubes.producers), (&self.is_worker, &self.tubes.workers)]
        {
            add(number, -i64::from(flag.get()));
        }
        self.tubes.let_go(used, |tube| &mut tube.using);
        watched.iter().for_each(|name| self.tubes.let_go(name, |tube| &mut tube.watching));
    }
}

impl Encoder for Beanstalk {
    fn answer(&self, request: u32, answer: Answer, _: &Clock, out: &mut Outbox) {
        if matches!(&answer, Answer::Jobs(jobs) if !jobs.is_empty()) {
            self.first_time(&self.is_worker, &self.tubes.workers);
        }
        let asked = Asked::of(request);
        let holder = (asked == Asked::Put).then(|| self.holders.borrow_mut().remove(&request)).flatten();
        if !answer::answer(asked, holder, answer, out) {
            // It goes on waiting until the connection ends.
            return self.is_silent.set(true);
        }
        self.unanswered.set(self.unanswered.get().saturating_sub(1));
        if self.waiting.get() == Some(request) {
            self.wait_for(None);
        }
    }

    fn part(&self, _: u32, _: Part, _: &mut Outbox) {
        debug_assert!(false, "it asks for nothing that comes in parts");
    }

    fn fault(&self, _: Option<u32>, fault: &Fault, out: &mut Vec<u8>) {
        out.extend_from_slice(answer::of_fault(fault).as_bytes());
    }

    /// There are no notices: a lease that is gone is told by the answer to what is done with it.
    fn notice(&self, _: Notice, _: &mut Vec<u8>) {}
}

impl Front for Beanstalk {
    type Request = Request;

    const IS_BLAMELESS: bool = true;

    fn is_ready(&self) -> bool {
        // At the end one by one, up to an answer that nobody takes any more.
        let one_by_one = self.quits.get() || self.has_ended.get();
        self.waiting.get().is_none() && !(one_by_one && self.unanswered.get() > 0)
    }

    fn is_about_to_answer(&self) -> bool {
        self.unanswered.get() > 0 && !self.is_silent.get()
    }

    /// What waits is answered at once, and what comes behind it waits for nothing.
    fn has_said_all<S: Store + 'static>(hub: &Rc<Hub<S>>, connection: &Rc<Connection<Beanstalk>>) {
        connection.front.has_ended.set(true);
        if let Some(request) = connection.front.waiting.get() {
            handling::wait_no_more(hub, connection.id, request);
        }
    }

    fn request_len(&self, buffer: &[u8]) -> Option<usize> {
        reading::len(self.reading.get(), buffer, self.body_max.get())
    }

    fn take(&self, limits: &Limits, buffer: &mut BytesMut, _: &mut Outbox) -> Result<Option<Request>, Close> {
        self.body_max.set(limits.body);
        let mut reading = self.reading.get();
        let request = reading::take(&mut reading, buffer, limits.body);
        self.reading.set(reading);
        match request {
            Some(Request::Do(Command::Quit, _)) if self.unanswered.get() > 0 => {
                self.quits.set(true);
                Ok(None)
            }
            Some(Request::Do(Command::Quit, _)) => Err(Close),
            request => Ok(request),
        }
    }

    fn is_long(request: &Request) -> bool {
        match request {
            Request::Do(command, body) => {
                let is_of_many =
                    matches!(command, Command::ReserveBatch(..) | Command::DeleteBatch(_) | Command::Kick(_));
                body.len() > FREE || is_of_many || matches!(command, Command::Stats | Command::ListTubes)
            }
            Request::Say(_) | Request::NoJob(_) => false,
        }
    }

    async fn handle<S: Store + 'static>(
        hub: &Rc<Hub<S>>,
        connection: &Rc<Connection<Beanstalk>>,
        request: Request,
        _: &mut BytesMut,
        now: Time,
    ) {
        let front = &connection.front;
        let (command, body) = match request {
            Request::Do(command, body) => {
                front.tubes.count(command.name());
                (command, body)
            }
            Request::Say(text) | Request::NoJob(text) => {
                if let Request::NoJob(_) = request {
                    front.tubes.count("put");
                    // Whoever has sent a body is one, whatever follows it.
                    if text == words::EXPECTED_CRLF {
                        front.first_time(&front.is_producer, &front.tubes.producers);
                    }
                }
                let origin = Origin { session: connection.id, request: front.number(Asked::Other) };
                return hub.engine.borrow_mut().answer(origin, Answer::Ready(text.into()));
            }
        };
        let (mut asked, mut until) = (Asked::Other, now);
        // What it means if there is no job, and whether the claim waits.
        let mut claim = |wait: Option<u32>| {
            let watched = &front.own.borrow().watched;
            let wait = if front.has_ended.get() { Some(0) } else { wait };
            let (end, nothing) = handling::reserve_until(hub, connection.id, watched, wait, now);
            until = end;
            (nothing, wait != Some(0))
        };
        match &command {
            Command::Put(_) => asked = Asked::Put,
            Command::ReserveJob(_) => asked = Asked::ReserveJob,
            Command::Reserve(wait) => {
                let (nothing, waits) = claim(*wait);
                asked = match (nothing, waits) {
                    (Nothing::LeaseEndsSoon, _) => Asked::ReserveSoon,
                    (Nothing::Over, false) => Asked::ReserveNow,
                    (Nothing::Over, true) => Asked::Reserve,
                };
            }
            Command::ReserveBatch(_, wait) => {
                let (nothing, waits) = claim(Some(*wait));
                asked = match (nothing, waits) {
                    // It is not called back.
                    (_, false) => Asked::BatchNow,
                    (Nothing::LeaseEndsSoon, true) => Asked::BatchSoon,
                    (Nothing::Over, true) => Asked::Batch,
                };
            }
            _ => {}
        }
        let (name, origin) =
            (command.name(), Origin { session: connection.id, request: front.number(asked) });
        let context = RequestContext { peer: &connection.peer, origin, now };
        match commands::handle(hub, front, context, (command, body), until).await {
            Ok(Some(answer)) => hub.engine.borrow_mut().answer(origin, Answer::Ready(answer)),
            // The engine answers.
            Ok(None) => {
                if hub.engine.borrow().has_waiting(connection.id) {
                    front.wait_for(Some(origin.request));
                }
            }
            Err(fault) => {
                commands::tell(front, context, name, &fault);
                hub.engine.borrow_mut().answer(origin, connection.refusal(origin.request, &fault));
            }
        }
        hub.engine.borrow_mut().serve_at_once(now);
    }
}
