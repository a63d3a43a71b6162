//! Clients: what they ask for, at random, and what they make of the answers. They know of jobs and leases only what the
//! oracle has heard, and ask for things that are over, that are somebody else's, and that never were.

use crate::beside;
use crate::bodies::body;
use crate::bounds::{BOUNDED, is_bounded, waits_for_room};
use crate::chains::Followed;
use crate::circuits::{Before, fused};
use crate::exits::{End, exited};
use crate::expiry::{self, with_expiry};
use crate::flows::Graph;
use crate::known::Sent;
use crate::limits::limited;
use crate::once::{Repeats, Wanted};
use crate::oracle::Oracle;
use crate::paces::paced;
use crate::places::Change;
use crate::queues::{named, queue};
use crate::schedules::nightly;
use crate::signals;
use crate::stage::Life;
use crate::turns::fair;
use crate::workers::{Named, Workers};
use fastrand::Rng;
use musher::core::{
    Attempt, Claim, ClaimOrder, Command, Edit, Expiry, Group, Groups, Holder, JobId, Key, LeaseId, Only,
    Priority, QueueName, Receipt, Rejection, ScheduleName, SignalName, Spec, SpecOptions, Start, StateKind,
    Then, Time, Verdict, Visibility,
};
use musher::engine::{Answer, Contents, Origin, Refusal};
use musher::store::Envelope;
use std::collections::BTreeMap;
use std::time::Duration;

/// The lease of a claim that asks for no other.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// Leases that are remembered, so that old ones are settled too.
const LEASES: usize = 48;

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It may wait for room until then.
    Submit {
        batch: usize,
        until: Time,
    },
    SubmitOnce {
        batch: usize,
        wanted: Wanted,
        /// If it completes a job, and was not done before.
        followed: Option<Followed>,
    },
    /// Jobs that wait for others.
    Flow(Graph),
    FlowClaim,
    FlowSettle(LeaseId),
    /// A job is completed with a submit.
    Follow {
        batch: usize,
        followed: Followed,
    },
    Claim {
        session: Option<u64>,
        sent: expiry::Sent,
        until: Time,
        asked: u64,
    },
    /// With its place in the history of the circuit, which of them come with a result,
    /// and which of them wait for which signal.
    Settle(usize, Vec<(LeaseId, End, bool)>, (Vec<usize>, BTreeMap<usize, SignalName>)),
    /// The same of a reset of the circuit.
    Reset(usize),
    /// Whether it must succeed, and until when it lasts then.
    Extend(Vec<(LeaseId, (bool, Option<Time>))>),
    Body(JobId),
    /// A checkpoint of a job: which one.
    Checkpoint(JobId, u64),
    Result(JobId),
    /// A signal for a job: which one.
    Signal(JobId, SignalName, u64),
    /// Another body for a job: which change that is.
    Replace(JobId, u64),
    Wait {
        until: Time,
    },
    /// A worker begins, or comes back: its session, and whether that has ended; what it says that it has; and how long it is
    /// waited for after a start.
    TakeUp {
        worker: (u64, bool),
        named: Vec<Named>,
        within: Duration,
    },
    /// Settings of a queue are set or unset: which request it is.
    Set {
        queue: QueueName,
        nth: u64,
    },
    /// A queue is paused or resumed: which request it is.
    Pause {
        queue: QueueName,
        nth: u64,
    },
    /// Queues are bound to a topic, or let go: which request it is.
    Topic(u64),
    /// Changes of place, one a job, if it is one of these.
    Edit(Vec<(JobId, u64)>),
    /// Cancels of these.
    Cancel(Vec<JobId>),
    /// A schedule was changed: the place of that in its history.
    Schedule {
        name: ScheduleName,
        place: usize,
    },
    Other,
}

impl Asked {
    /// A claim is sent now.
    pub(crate) fn claim(
        oracle: &Oracle,
        session: Option<u64>,
        lease: Duration,
        until: Time,
        now: Time,
    ) -> Asked {
        let sent = expiry::Sent { at: now, turned: oracle.last_turn(), lease };
        Asked::Claim { session, sent, until, asked: oracle.asked() }
    }
}

/// All clients of a daemon.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    sessions: Vec<u64>,
    next_session: u64,
    next_request: u32,
    asked: BTreeMap<Origin, Asked>,
    pub(crate) leases: Vec<LeaseId>,
    pub(crate) repeats: Repeats,
    pub(crate) workers: Workers,
}

impl Clients {
    /// The daemon is gone, and all connections with it.
    pub(crate) fn hang_up(&mut self, rng: &mut Rng) {
        self.workers.hang_up(rng);
        (self.sessions, self.next_session, self.asked) = (Vec::new(), 0, BTreeMap::new());
    }

    pub(crate) fn is_connected(&self, session: u64) -> bool {
        self.sessions.contains(&session)
    }

    /// A request of any connection; a new one if there are few.
    fn origin(&mut self, rng: &mut Rng) -> Origin {
        if self.sessions.is_empty() || (self.sessions.len() < 6 && rng.u32(..20) == 0) {
            return self.on_new_connection();
        }
        let session = self.sessions[rng.usize(..self.sessions.len())];
        self.next_request += 1;
        Origin { session, request: self.next_request }
    }

    /// The first request of a new connection.
    pub(crate) fn on_new_connection(&mut self) -> Origin {
        (self.next_session, self.next_request) = (self.next_session + 1, self.next_request + 1);
        self.sessions.push(self.next_session);
        Origin { session: self.next_session, request: self.next_request }
    }

    /// A request, and what its answer is needed for.
    pub(crate) fn ask(&mut self, rng: &mut Rng, asked: Asked) -> Origin {
        let origin = self.origin(rng);
        self.asked.insert(origin, asked);
        origin
    }

    /// The answer to a request is to be like this.
    pub(crate) fn expect(&mut self, origin: Origin, asked: Asked) {
        self.asked.insert(origin, asked);
    }

    pub(crate) fn submit(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let mut sent = Vec::new();
        let groups: Groups = (0..1 + rng.usize(..3))
            .map(|_| {
                let count = if rng.u32(..10) == 0 { 1 + rng.u64(..70) } else { 1 + rng.u64(..4) };
                let queue = queue(rng.usize(..));
                group(rng, &mut sent, queue, count, life.now)
            })
            .collect();
        self.submit_plain(rng, oracle, life, (groups, sent));
    }

    pub(crate) fn claim(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let origin = self.origin(rng);
        let session = (rng.u32(..3) > 0).then(|| self.workers.session(origin.session));
        let lease = rng.bool().then(|| Duration::from_millis(rng.u64(1..100_000)));
        let first = rng.usize(..4);
        let queues = match rng.u32(..9) {
            7.. => vec![fair()],
            6 => vec![paced(), queue(first)],
            5 => vec![nightly()],
            0 => BOUNDED
                .iter()
                .cycle()
                .skip(first)
                .take(1 + rng.usize(..3))
                .map(|(name, _)| named(name))
                .collect(),
            _ => (0..1 + rng.usize(..3)).map(|nth| queue(first + nth)).collect(),
        };
        let max = 1 + rng.u32(..5);
        // Of one queue both orders are the same; where the lease is said, so are both leases.
        let is_same = queues.len() == 1 && lease.is_some() && max.is_multiple_of(2);
        let claim = Claim {
            queues,
            max,
            lease: life.lease(lease),
            holder: session.map_or(Holder::Anyone, Holder::Session),
            worker: None,
            order: if is_same { ClaimOrder::ByPriority } else { ClaimOrder::AsNamed },
        };
        let until =
            if rng.bool() { life.now } else { life.now.plus(Duration::from_millis(rng.u64(..5_000))) };
        self.asked.insert(origin, Asked::claim(oracle, session, lease.unwrap_or(LEASE), until, life.now));
        let before = Before::of(life);
        life.engine.claim(origin, claim, until, life.now);
        oracle.circuits.claimed(&before, life);
        oracle.paces.claimed(life);
    }

    pub(crate) fn settle(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let (mut items, mut asked, mut results) = (Vec::new(), Vec::new(), Vec::new());
        for lease in self.some_leases(rng, oracle) {
            let verdict = match rng.u32(..12) {
                11 => signals::verdict(rng),
                9.. => exited(rng),
                0..4 => Verdict::Complete,
                8 => Verdict::Later { error: "not now".into(), wait: None },
                4 => Verdict::Release { delay: Duration::from_millis(rng.u64(..3) * 500) },
                nth => {
                    let then = [
                        Then::Backoff,
                        Then::Bury,
                        Then::RetryAfter(Duration::from_millis(rng.u64(..4_000))),
                    ];
                    Verdict::Fail {
                        error: "it did not work".into(),
                        exit: None,
                        then: then[nth as usize - 5],
                    }
                }
            };
            let end = End::of(&verdict);
            oracle.signals.waits(lease.id, &verdict);
            if verdict == Verdict::Complete && rng.u32(..3) == 0 {
                results.push((items.len(), oracle.stored.result(lease)));
            }
            asked.push((lease, end, oracle.settles(lease, end == End::Done, life.now)));
            items.push((lease, verdict));
        }
        let (before, origin) = (Before::of(life), self.origin(rng));
        let with_result = results.iter().map(|(nth, _)| *nth).collect();
        let waits = items.iter().enumerate().filter_map(|(nth, (_, verdict))| match verdict {
            Verdict::Await { signal, .. } => Some((nth, signal.clone())),
            _ => None,
        });
        let waits = waits.collect();
        life.engine.settle_with_results(origin, items.clone(), results, Visibility::ALL, life.now);
        let place = oracle.circuits.settled(&before, &items, life.now, &life.engine.core().state);
        self.asked.insert(origin, Asked::Settle(place, asked, (with_result, waits)));
    }

    pub(crate) fn extend(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let lease = rng.bool().then(|| Duration::from_millis(rng.u64(1..50_000)));
        let until = life.now.plus(lease.unwrap_or(LEASE));
        let items = self.some_leases(rng, oracle);
        let asked = items.iter().map(|lease| (*lease, oracle.extends(*lease, until, life.now))).collect();
        let origin = self.ask(rng, Asked::Extend(asked));
        life.engine.extend(origin, items, life.lease(lease), Visibility::ALL, life.now);
    }

    /// Leases as they were told, old and new, and now and then one that nobody has.
    pub(crate) fn some_leases(&mut self, rng: &mut Rng, oracle: &Oracle) -> Vec<LeaseId> {
        let mut some = Vec::new();
        for _ in 0..1 + rng.usize(..4) {
            match oracle.any(rng.u64(..)) {
                Some(id) if rng.u32(..30) == 0 => some.push(LeaseId { id, attempt: Attempt(rng.u32(..4)) }),
                _ if self.leases.is_empty() => {}
                _ => {
                    let at = rng.usize(..self.leases.len());
                    some.push(if rng.u32(..8) == 0 { self.leases[at] } else { self.leases.swap_remove(at) });
                }
            }
        }
        some
    }

    pub(crate) fn edit(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let mut ids: Vec<JobId> = (0..1 + rng.usize(..3)).filter_map(|_| oracle.any(rng.u64(..))).collect();
        let edit = match rng.u32(..8) {
            0 => Edit::Cancel,
            1 => Edit::Retry,
            2 => Edit::Kick,
            3 => Edit::Bury,
            4 => Edit::Delete,
            5 => Edit::Prioritize(Priority(rng.u32(..3))),
            _ => {
                // How many of that queue are leased is known by where its jobs were submitted.
                ids.retain(|id| oracle.submitted_to(*id).is_some_and(|queue| *queue != limited()));
                Edit::Move(if rng.u32(..3) == 0 { fair() } else { queue(rng.usize(..2)) })
            }
        };
        if edit == Edit::Cancel && !self.leases.is_empty() && rng.u32(..4) > 0 {
            // That somebody is at it would be rare by chance.
            ids = vec![self.leases[rng.usize(..self.leases.len())].id];
        }
        if matches!(edit, Edit::Retry | Edit::Kick) {
            // That new jobs in a bounded queue are no more than it takes is known while these are not run again.
            ids.retain(|id| oracle.submitted_to(*id).is_some_and(|queue| !is_bounded(queue)));
        }
        ids.iter().for_each(|id| {
            oracle.edits(&edit, *id);
            oracle.stored.edits(*id);
        });
        let change = match &edit {
            Edit::Move(to) => Some(Change::To(to.clone())),
            Edit::Prioritize(priority) => Some(Change::Priority(*priority)),
            _ => None,
        };
        let changes = change.into_iter().flat_map(|change| ids.iter().map(move |id| (*id, change.clone())));
        let changes = changes.map(|(id, change)| (id, oracle.places.sends(id, change))).collect();
        let asked = if edit == Edit::Cancel { Asked::Cancel(ids.clone()) } else { Asked::Edit(changes) };
        let origin = self.ask(rng, asked);
        // As it may have been seen before.
        let state = (rng.u32(..4) == 0).then(|| StateKind::ALL[rng.usize(..StateKind::ALL.len())]);
        life.engine.edit(origin, edit, ids, Only { state, queue: None }, Visibility::ALL, life.now);
    }

    /// Gives a job another body.
    pub(crate) fn replace_body(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let Some(id) = oracle.any(rng.u64(..)) else { return };
        oracle.stored.edits(id);
        let (nth, which) = oracle.bodies.replaces(id, oracle.place_of(id), None);
        let origin = self.ask(rng, Asked::Replace(id, nth));
        life.engine.replace_body(origin, id, body(which), Visibility::ALL, life.now);
    }

    pub(crate) fn change_queue(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let queue = queue(rng.usize(..));
        if rng.u32(..10) == 0 {
            let origin = self.origin(rng);
            life.engine.change_queue(origin, &Command::ResetCircuit { queue: fused() }, life.now);
            let place = oracle.circuits.reset(&life.engine.core().state);
            self.asked.insert(origin, Asked::Reset(place));
            return;
        }
        let command = match rng.u32(..16) {
            0 => {
                oracle.purges(&queue);
                Command::Purge { queue }
            }
            nth => return self.pause(rng, oracle, life, queue, nth < 6),
        };
        let origin = self.ask(rng, Asked::Other);
        life.engine.change_queue(origin, &command, life.now);
    }

    /// Reads a body, or waits for ends, or ends a wait.
    pub(crate) fn look(&mut self, rng: &mut Rng, oracle: &Oracle, life: &mut Life) {
        let Some(id) = oracle.any(rng.u64(..)) else { return };
        match rng.u32(..3) {
            0 => {
                let origin = self.ask(rng, Asked::Body(id));
                life.engine.body(origin, id);
            }
            1 => {
                let until = life.now.plus(Duration::from_millis(rng.u64(..20_000)));
                let origin = self.ask(rng, Asked::Wait { until });
                life.engine.wait(
                    origin,
                    vec![id, JobId(id.0.saturating_sub(1).max(1))],
                    |_, _| false,
                    until,
                    life.now,
                );
            }
            _ => {
                let waiting = self.asked.iter_mut().find_map(|(origin, asked)| match asked {
                    Asked::Claim { until, .. } | Asked::Wait { until } | Asked::Submit { until, .. } => {
                        Some((*origin, until))
                    }
                    _ => None,
                });
                if let Some((origin, until)) = waiting {
                    *until = life.now;
                    life.engine.unwait(origin);
                }
            }
        }
    }

    /// A connection is lost, with all that it has asked for.
    pub(crate) fn vanish(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        if self.sessions.is_empty() {
            return;
        }
        let session = self.sessions.swap_remove(rng.usize(..self.sessions.len()));
        self.asked.retain(|origin, _| origin.session != session);
        for session in [Some(session), self.workers.vanish(session)].into_iter().flatten() {
            oracle.lets_go(Some(session));
            while !life.engine.close_session(session, life.now) {}
            assert_eq!(life.engine.core().state.held_by(session).count(), 0, "what it held is free");
        }
    }

    /// An answer has come to a connection that is there.
    pub(crate) fn answered(&mut self, origin: Origin, answer: Answer, oracle: &mut Oracle, now: Time) {
        let Some(asked) = self.asked.remove(&origin) else { panic!("an answer to nothing: {answer:?}") };
        match (asked, answer) {
            (Asked::Replace(id, nth), answer) => {
                oracle.bodies.replaced(id, nth, matches!(answer, Answer::Ok));
            }
            (Asked::Checkpoint(id, nth), answer) => beside::stored(oracle, id, nth, &answer),
            (Asked::Signal(id, name, nth), answer) => signals::sent(oracle, id, (name, nth), &answer),
            (Asked::Result(id), answer) => oracle.stored.read(id, &answer),
            (Asked::Edit(changes), answer) => {
                let results = if let Answer::Edited(results) = answer { results } else { Vec::new() };
                let mut results = results.into_iter();
                for (id, nth) in changes {
                    oracle.places.told(id, nth, results.next().is_some_and(|result| result.is_ok()));
                }
            }
            (Asked::Cancel(ids), Answer::Edited(results)) => {
                let done = ids.into_iter().zip(results).filter(|(_, result)| result.is_ok());
                done.for_each(|(id, _)| oracle.cancelled(id));
            }
            (Asked::Reset(place), Answer::Ok) => oracle.circuits.told(place),
            (Asked::Schedule { name, place }, _) => oracle.schedules.told(&name, place),
            (Asked::Set { queue, nth }, answer) => {
                oracle.settings.told(&queue, nth, matches!(answer, Answer::Ok));
            }
            (Asked::Pause { queue, nth }, answer) => {
                oracle.pauses.told(&queue, nth, matches!(answer, Answer::Ok));
            }
            (Asked::Topic(nth), answer) => oracle.topics.told(nth, matches!(answer, Answer::Ok)),
            (Asked::Submit { batch, until }, Answer::Refused(refusal)) => {
                let is_full = matches!(refusal, Refusal::Core(Rejection::QueueFull { fits: true, .. }));
                assert!(!is_full || until <= now, "a submit may wait until {until}, and is refused at {now}");
                oracle.refused(batch);
            }
            (Asked::SubmitOnce { wanted, followed, .. }, Answer::Refused(refusal)) => {
                followed.iter().for_each(|followed| followed.refused(&refusal));
                wanted.answered(oracle, None);
            }
            (Asked::Follow { batch, followed }, answer) => followed.answered(oracle, batch, answer),
            (_, Answer::Refused(_)) | (Asked::Other, _) => {}
            (Asked::Flow(graph), Answer::Submitted(ids)) => oracle.flows.submitted(graph, ids),
            (Asked::FlowClaim, Answer::Jobs(jobs)) => {
                oracle.pauses.gave(&jobs, now);
                oracle.flows.claimed(&jobs);
            }
            (Asked::FlowSettle(lease), Answer::Settled(results)) => {
                oracle.flows.completed(lease, results[0].is_ok());
            }
            (Asked::Submit { batch, .. }, Answer::Submitted(ids)) => oracle.submitted(batch, ids),
            (Asked::SubmitOnce { batch, wanted, followed }, answer) => {
                let receipts = match answer {
                    Answer::Submitted(ids) => ids.iter().map(Receipt::New).collect(),
                    Answer::Received(receipts) => receipts,
                    answer => panic!("a submit was answered with {answer:?}"),
                };
                wanted.answered(oracle, Some(&receipts));
                oracle.done_once(batch, receipts, now);
                followed.into_iter().for_each(|followed| followed.done(oracle));
            }
            (Asked::Claim { session, sent, asked, .. }, Answer::Jobs(jobs)) => {
                oracle.pauses.gave(&jobs, now);
                for job in &jobs {
                    let grant = &job.grant;
                    let is_loose = oracle.stored.granted(job);
                    oracle.signals.granted(job, is_loose);
                    self.leases.push(LeaseId { id: grant.id, attempt: grant.attempt });
                    if grant.spec.queue == nightly() {
                        continue;
                    }
                    oracle.granted(job, (session, sent), now, asked);
                }
                let extra = self.leases.len().saturating_sub(LEASES);
                self.leases.drain(..extra);
            }
            (Asked::Settle(place, asked, (with_result, waits)), Answer::Settled(results)) => {
                oracle.circuits.told(place);
                assert_eq!(asked.len(), results.len(), "one result a settle");
                for (nth, ((lease, end, must), result)) in asked.into_iter().zip(results).enumerate() {
                    // The same lease may be ended by another request, without one.
                    if result.is_ok() && with_result.contains(&nth) {
                        oracle.stored.done(lease);
                    }
                    if let Some(signal) = waits.get(&nth) {
                        oracle.signals.waited(lease.id, signal, result.is_ok());
                    }
                    oracle.settled(lease, end, result.map_err(|error| error.to_string()), must);
                }
            }
            (Asked::Extend(asked), Answer::Extended(results)) => {
                assert_eq!(asked.len(), results.len(), "one result an extend");
                for ((lease, must), result) in asked.into_iter().zip(results) {
                    oracle.extended(lease, result.map_err(|error| error.to_string()), must);
                }
            }
            (Asked::TakeUp { worker, named, within }, Answer::TakenUp { within: told, leases }) => {
                assert_eq!(within, told, "for how long the daemon waits for workers");
                oracle.taken_up(worker, named, leases);
            }
            (Asked::Body(id), Answer::Body(body)) => oracle.body(id, &body),
            (Asked::Wait { .. }, Answer::Ended(ends)) => assert_eq!(ends.len(), 2, "one end a job"),
            (asked, answer) => panic!("{asked:?} was answered with {answer:?}"),
        }
    }

    /// After a turn with all on disk: everybody has an answer who does not wait.
    pub(crate) fn check(&self, now: Time) {
        for (origin, asked) in &self.asked {
            let (Asked::Claim { until, .. } | Asked::Wait { until } | Asked::Submit { until, .. }) = asked
            else {
                panic!("{origin:?} has no answer: {asked:?}")
            };
            assert!(*until > now, "{origin:?} still waits: {asked:?}");
        }
    }
}

/// A submit of these jobs is sent: its number, and what comes with it.
pub(crate) fn submitted(oracle: &mut Oracle, sent: Vec<Sent>) -> (usize, Contents) {
    let contents = contents_of(oracle.next_batch(), &sent);
    (oracle.submits(sent), contents)
}

/// What comes with the jobs of a submit.
pub(crate) fn contents_of(batch: usize, sent: &[Sent]) -> Contents {
    let mut contents = Contents::default();
    for (index, job) in sent.iter().enumerate() {
        let envelope = job.envelope.as_ref().map(Envelope::encode);
        contents.add(envelope, [body((batch, index, 0))]);
    }
    contents
}

/// A few jobs that are alike.
pub(crate) fn group(rng: &mut Rng, sent: &mut Vec<Sent>, queue: QueueName, count: u64, now: Time) -> Group {
    let priority = Priority(if rng.u32(..4) == 0 { 1 } else { 0 });
    let start = match rng.u32(..5) {
        0 => Start::After(Duration::from_millis(rng.u64(1..30_000))),
        _ => Start::Now,
    };
    let tag = (rng.bool()).then(|| ("nth".into(), rng.u32(..).to_string().into()));
    let envelope = tag.map(|tag| Envelope::new(vec![tag]).expect("it is short"));
    let key = (rng.bool()).then(|| Key::new([rng.u8(..4); 16]));
    let spec = SpecOptions {
        priority,
        has_envelope: envelope.is_some(),
        attempts: rng.bool().then(|| 1 + rng.u32(..4)),
        ..SpecOptions::plain(queue.clone())
    };
    let mut group = Group { start, ..Group::new(Spec::from(spec).with_key(key), count) };
    // When one arrives that waits for room is not known.
    let expiry = match waits_for_room(&queue) {
        true => Expiry::default(),
        false => with_expiry(rng, &mut group, now),
    };
    let at_once = start == Start::Now;
    let job = Sent { queue, key, unique: None, unique_in_work: false, priority, at_once, expiry, envelope };
    sent.extend(std::iter::repeat_n(job, count as usize));
    group
}
