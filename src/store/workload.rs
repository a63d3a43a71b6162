//! Commits for tests: valid ones, of every kind, from a number, with the state that they lead to.

mod beside;
mod flow;
mod handling;
mod topics;

use super::{Blob, Commit, Envelope, Options, Store};
use crate::core::*;
use bytes::Bytes;
use std::sync::Arc;

/// A small store that keeps nothing back.
pub(crate) fn options() -> Options {
    Options {
        log_file_bytes: 64 << 10,
        cache_bytes: 4 << 20,
        disk_reserve_bytes: 0,
        ballast_bytes: 0,
        ..Options::default()
    }
}

/// What a daemon would have done so far.
#[derive(Clone, Default)]
pub(crate) struct Workload {
    pub(crate) state: State,
    /// The number of the newest commit.
    pub(crate) commits: u64,
    pub(crate) time: Time,
    /// How often the bodies of jobs were replaced.
    replaced: std::collections::BTreeMap<JobId, u64>,
    /// How often they got something beside them.
    attached: std::collections::BTreeMap<(JobId, u8), u64>,
}

impl Workload {
    /// `count` jobs arrive, alike.
    pub(crate) fn submit(&mut self, count: u64) -> Commit {
        let event = self.submitted(count, 0);
        self.commit(vec![event])
    }

    /// The same with envelopes.
    pub(crate) fn submit_with_envelopes(&mut self, count: u64) -> Commit {
        let event = self.submitted(count, 5);
        self.commit(vec![event])
    }

    /// A job gets another body.
    pub(crate) fn replace_body(&mut self, id: JobId) -> Commit {
        self.commit(vec![Event::BodyReplaced { job: id.into() }])
    }

    /// A few events, chosen by the number.
    pub(crate) fn random(&mut self, seed: u32) -> Commit {
        let mut draw = Draw(u64::from(seed) + 1);
        let (mut events, before) = (Vec::new(), self.state.clone());
        for _ in 0..1 + draw.below(4) {
            let event = self.event(&mut draw);
            events.extend(event.inspect(|event| self.state.apply(event)));
            // From numbers of their own, as above.
            for of in [Self::beside, Self::topic] {
                let event = of(self, &mut Draw(self.commits ^ 0x5eed));
                events.extend(event.inspect(|event| self.state.apply(event)));
            }
        }
        self.state = before;
        self.commit(events)
    }

    /// All that is known is forgotten.
    pub(crate) fn delete_all(&mut self) -> Commit {
        let jobs = self.known(|_| true).into_iter().collect();
        self.commit(vec![Event::Deleted { jobs }])
    }

    /// Neighbours are forgotten.
    pub(crate) fn delete_range(&mut self, jobs: IdRange) -> Commit {
        self.commit(vec![Event::Deleted { jobs: jobs.iter().collect() }])
    }

    /// One job is forgotten.
    pub(crate) fn delete(&mut self, id: JobId) -> Commit {
        self.commit(vec![Event::Deleted { jobs: Ids::from(id) }])
    }

    /// Each job's body, by its id.
    pub(crate) fn body(id: JobId) -> Bytes {
        let len = match id.0 {
            id if id % 97 == 0 => 70_000,
            id if id % 41 == 0 => 12_000,
            id => id % 50,
        };
        let seed = id.to_string().into_bytes();
        seed.into_iter().cycle().take(len as usize).collect::<Vec<u8>>().into()
    }

    /// The envelope of each job that has one, by its id.
    pub(crate) fn envelope(id: JobId) -> Bytes {
        // Some neighbours have the same.
        let tags = vec![("id".into(), (id.0 / 3).to_string().into())];
        Envelope::new(tags).expect("it is short").encode()
    }

    /// A job's body as it is now.
    pub(crate) fn body_of(&self, id: JobId) -> Bytes {
        let Some(times) = self.replaced.get(&id) else { return Self::body(id) };
        let text = format!("{id} for the {times}. time ").into_bytes();
        let len = if (id.0 + times).is_multiple_of(13) { 130_000 } else { 10 + id.0 % 40 };
        text.into_iter().cycle().take(len as usize).collect::<Vec<u8>>().into()
    }

    /// A job's blob of a kind, if it has one.
    pub(crate) fn blob(&self, kind: Blob, id: JobId, job: &Job) -> Option<Bytes> {
        match kind {
            Blob::Body => Some(self.body_of(id)),
            Blob::Envelope => job.spec.has_envelope.then(|| Self::envelope(id)),
            Blob::Checkpoint => job.has(Beside::Checkpoint).then(|| self.attached_to(id, Beside::Checkpoint)),
            Blob::Result => job.has(Beside::Result).then(|| self.attached_to(id, Beside::Result)),
            Blob::Signals => job.has(Beside::Signals).then(|| self.attached_to(id, Beside::Signals)),
        }
    }

    pub(crate) fn check_blobs(&self, store: &mut impl Store) {
        // Backwards, so that none is found only because its row was just read for a neighbour before it.
        for id in self.known(|_| true).into_iter().rev() {
            let job = self.state.job(id).expect("it is known");
            for kind in Blob::ALL {
                if let Some(wanted) = self.blob(kind, id, job) {
                    assert_eq!(store.blob(kind, id).unwrap(), wanted, "the {kind} of job {id}");
                }
            }
        }
        self.check_reads(store);
    }

    /// What is read on another thread is the same.
    fn check_reads(&self, store: &impl Store) {
        let mut wanted = std::collections::BTreeMap::new();
        for id in self.known(|_| true) {
            let job = self.state.job(id).expect("it is known");
            wanted.extend(self.blob(Blob::Envelope, id, job).map(|envelope| (id, envelope)));
        }
        let ids = wanted.keys().copied().collect();
        let mut found = store.blobs(Blob::Envelope, ids).read(|error| panic!("{error}"));
        found.retain(|id, _| wanted.contains_key(id));
        assert_eq!(found, wanted);
    }

    fn commit(&mut self, events: Vec<Event>) -> Commit {
        self.time = self.time.plus(std::time::Duration::from_millis(300));
        self.commits += 1;
        events.iter().for_each(|event| self.state.apply(event));
        let arrived = events.iter().filter(|event| matches!(event, Event::Submitted { .. }));
        let arrived = arrived.flat_map(|event| event.jobs()).flat_map(|range| range.iter());
        let arrived: Vec<JobId> = arrived.collect();
        let bodies = arrived.iter().copied().map(Self::body).collect();
        let submitted = events.iter().filter_map(|event| match event {
            Event::Submitted { jobs, spec, .. } => Some((*jobs, spec.has_envelope)),
            _ => None,
        });
        let with = submitted.filter(|(_, has)| *has).flat_map(|(jobs, _)| jobs.iter());
        let mut envelopes: Vec<(IdRange, Bytes)> = Vec::new();
        for id in with {
            let envelope = Self::envelope(id);
            match envelopes.last_mut() {
                Some((jobs, same)) if jobs.end() == id && *same == envelope => jobs.len += 1,
                _ => envelopes.push((id.into(), envelope)),
            }
        }
        let (mut replaced, mut attached) = (Vec::new(), Vec::new());
        for event in &events {
            if let Event::Attached { job, what } = event {
                *self.attached.entry((job.first, *what as u8)).or_default() += 1;
                attached.push(self.attached_to(job.first, *what));
            }
            if let Event::BodyReplaced { job } = event {
                *self.replaced.entry(job.first).or_default() += 1;
                replaced.push(self.body_of(job.first));
            }
        }
        Commit { time: self.time, events, bodies, replaced, envelopes, attached }
    }

    fn submitted(&self, count: u64, kind: u64) -> Event {
        let mut spec = Spec::plain(QueueName::new(&format!("queue-{}", kind % 3)).unwrap());
        spec.options_mut().has_envelope = kind.is_multiple_of(5) && kind > 0;
        spec.key = (kind % 11 == 3).then_some(Key::new([kind as u8; 16]));
        let first = self.state.next_id();
        spec.options_mut().group = (kind % 19 == 7).then_some(GroupNo(kind % 3));
        if kind % 13 == 4 {
            // No two jobs have the same one.
            spec.unique = Some(Key::new(u128::from(first.0).to_be_bytes()));
            spec.options_mut().unique_while = UniqueWhile::Kept(std::time::Duration::from_secs(kind));
        }
        let count = if spec.unique.is_some() { 1 } else { count };
        Event::Submitted {
            jobs: IdRange::new(first, count),
            spec: Arc::new(spec),
            at: self.time.whole_second(),
            due: (kind % 4 == 1).then_some(Time(1 << 40)),
            expiry: Expiry {
                begin_by: if kind % 7 == 2 { Time(1 << 41) } else { Time::NEVER },
                end_by: if kind % 17 == 9 { Time(1 << 43) } else { Time::NEVER },
            },
        }
    }

    /// An event that may happen now, if there are jobs for it.
    fn event(&self, draw: &mut Draw) -> Option<Event> {
        let at = self.time;
        let keep_until = [None, None, Some(Time(1 << 42)), Some(Time::NEVER)][draw.below(4) as usize];
        let end = Ending { at, keep_until };
        let leased = |state: &JobState| matches!(state, JobState::Leased(_));
        let scheduled = |state: &JobState| matches!(state, JobState::Scheduled { .. });
        let ready = |state: &JobState| matches!(state, JobState::Ready);
        let ended = |state: &JobState| state.kind().is_final();
        let due = (draw.below(2) == 0).then_some(Time(1 << 40));
        let queue = || QueueName::new("queue-1").unwrap();
        Some(match draw.below(22) {
            0..4 => self.submitted(1 + draw.below(40), draw.below(30)),
            4 | 5 => {
                let holder = if due.is_some() { Holder::Anyone } else { Holder::Session(draw.below(3)) };
                let worker = due.map(|_| Worker { uid: 1, pid: self.commits as u32 });
                Event::Claimed { jobs: self.some(draw, ready)?, holder, worker, at, until: Time(1 << 39) }
            }
            6 | 7 => Event::Completed { jobs: self.some(draw, leased)?, end },
            8 => Event::Failed {
                job: self.some(draw, leased)?.ranges()[0].first.into(),
                at,
                error: format!("error at {at}").into(),
                exit: due.map(|_| Exit::Signal(9)),
                next: due.map_or(AfterFailure::Dead(end), AfterFailure::Retry),
            },
            9 => Event::Released { jobs: self.some(draw, leased)?, due },
            10 => Event::Interrupted { jobs: self.some(draw, leased)? },
            11 => Event::Ripened { jobs: self.some(draw, scheduled)? },
            12 if self.commits.is_multiple_of(2) => Event::Cancelling { jobs: self.some(draw, leased)? },
            12 => Event::Cancelled { jobs: self.some(draw, |state| !ended(state))?, end },
            13 => Event::Revived { jobs: self.some(draw, ended)? },
            14 => Event::Deleted { jobs: self.some(draw, |_| true)? },
            15 | 16 => self.schedule(draw),
            17 => Event::Prioritized { jobs: self.some(draw, ready)?, priority: Priority(3) },
            19 if self.commits % 3 == 1 => self.keys_served(draw),
            19 => self.request_done(draw),
            20 if self.commits.is_multiple_of(2) => self.keys_forgotten(|_| true)?,
            20 => Event::Row(RowEvent::RequestsForgotten { page: self.state.done_requests().first_page()? }),
            18 if self.commits % 2 == 1 => self.flow(draw)?,
            18 => Event::Postponed { jobs: self.some(draw, ready)?, due: Time(1 << 40) },
            // From numbers of its own: what tests expect of the others stays.
            _ if due.is_some() && self.commits.is_multiple_of(3) => Event::Row(RowEvent::OverridesSet {
                queue: queue(),
                overrides: Self::overrides(&mut Draw(self.commits)),
            }),
            _ if due.is_some() => Event::Row(RowEvent::Paused { queue: queue() }),
            _ if self.commits.is_multiple_of(2) => {
                let jobs = self.some(draw, |state| !leased(state))?;
                Event::BodyReplaced { job: jobs.ranges()[0].first.into() }
            }
            // What is remembered of its keys goes before it.
            _ if self.state.queue(&queue()).is_none_or(|queue| queue.counts().all() == 0) => self
                .keys_forgotten(|of| *of == queue())
                .unwrap_or_else(|| Event::Row(RowEvent::QueueForgotten { queue: queue() })),
            _ => Event::Row(RowEvent::Resumed { queue: queue() }),
        })
    }

    /// Some keys of a queue that has jobs were served: old ones and new ones.
    fn keys_served(&self, draw: &mut Draw) -> Event {
        let at = self.time.0;
        let key = |n: u64| Key::new(u128::from(n + 1).to_be_bytes());
        let queue = QueueName::new(&format!("queue-{}", draw.below(3))).unwrap();
        let keys = (0..1 + draw.below(6)).map(|nth| ServedKey {
            key: key(draw.below(40)),
            used: RateUsed((at + nth) << 20),
            turn: Turn { newest: JobId(at), leases: nth },
        });
        let rate = Rate::new(30, std::time::Duration::from_secs(60), Some(5));
        Event::Row(RowEvent::KeysServed { queue, page: at >> 11, rate, keys: keys.collect() })
    }

    /// A page of keys of such a queue is forgotten.
    fn keys_forgotten(&self, wanted: impl Fn(&QueueName) -> bool) -> Option<Event> {
        let pages = self.state.rows().into_iter().filter_map(|row| match row {
            Row::Keys(row) => Some((row.queue, row.page)),
            _ => None,
        });
        let (queue, page) = pages.into_iter().find(|(queue, _)| wanted(queue))?;
        Some(Event::Row(RowEvent::KeysForgotten { queue, page }))
    }

    /// A submit that is remembered.
    fn request_done(&self, draw: &mut Draw) -> Event {
        let number = draw.below(1 << 40) + 1;
        let key = Key::new(u128::from(number).to_be_bytes());
        let answer = match draw.below(2) {
            0 => RequestAnswer::Submitted(IdRange::new(JobId(number), 3)),
            _ => RequestAnswer::Received([Receipt::New(JobId(number)), Receipt::Existing(JobId(1))].into()),
        };
        let request = RequestKey { key, content: key };
        let user = Some(number as u32 % 3).filter(|user| *user > 0);
        let done = DoneRequest { request, answer, until: Time(1 << 42), user }.into();
        Event::Row(RowEvent::RequestDone {
            page: self.state.done_requests().first_page().unwrap_or(self.time.0),
            done,
        })
    }

    /// Something that may happen to one of three schedules.
    fn schedule(&self, draw: &mut Draw) -> Event {
        let name = ScheduleName::new(&format!("queue-{}", draw.below(3))).unwrap();
        let (since, next) = (self.time, Time(1 << 40));
        let there = self.state.schedules().get(&name);
        let change = match draw.below(8) {
            0..3 => ScheduleChange::Set { plan: Arc::new(Self::plan(draw)), since, next },
            _ if there.is_none() => ScheduleChange::Set { plan: Arc::new(Self::plan(draw)), since, next },
            3 | 4 => {
                let run = Run { at: since, job: JobId(1 + draw.below(self.state.next_id().0)) };
                ScheduleChange::Fired { run, since, next, waits: false }
            }
            5 if there.is_some_and(|schedule| !schedule.paused) => {
                ScheduleChange::Passed { skipped: 2, since, next, waits: true }
            }
            5 => ScheduleChange::Resumed { since, next },
            6 => ScheduleChange::Paused,
            _ => ScheduleChange::Removed,
        };
        Event::Row(RowEvent::Schedule { name, change })
    }

    /// Some settings of a queue, each with any value.
    pub(crate) fn overrides(draw: &mut Draw) -> Overrides {
        let time = |draw: &mut Draw| std::time::Duration::from_millis(draw.below(1 << 40));
        let keep = |draw: &mut Draw| [Keep::No, Keep::For(time(draw)), Keep::Forever][draw.below(3) as usize];
        let count = |draw: &mut Draw| draw.below(1 << 32) as u32;
        let limit = |draw: &mut Draw| (draw.below(3) > 0).then_some(1 + draw.below(1 << 31) as u32);
        let rate = |draw: &mut Draw| {
            let (count, per) = (1 + draw.below(1 << 19) as u32, time(draw).min(Rate::PER_MAX));
            Rate::new(count, per, limit(draw))
        };
        let some = SettingKey::ALL.iter().filter(|_| draw.below(3) == 0).copied().collect::<Vec<_>>();
        let one = |key: SettingKey| {
            let setting = match key {
                SettingKey::Priority => Setting::Priority(Priority(count(draw))),
                SettingKey::Lease => Setting::Lease(time(draw)),
                SettingKey::Timeout => Setting::Timeout((draw.below(2) == 0).then(|| time(draw))),
                SettingKey::Attempts => Setting::Attempts(count(draw)),
                SettingKey::Retries => Setting::Retries(
                    [Retries::Alternate, Retries::Behind, Retries::Place][draw.below(3) as usize],
                ),
                SettingKey::Crashes => Setting::Crashes(count(draw)),
                SettingKey::LaterMax => Setting::LaterMax(count(draw)),
                SettingKey::KeepDone => Setting::KeepDone(keep(draw)),
                SettingKey::KeepDoneMax => Setting::KeepDoneMax(draw.below(1 << 50)),
                SettingKey::KeepDead => Setting::KeepDead(keep(draw)),
                SettingKey::Backlog => Setting::Backlog(draw.below(1 << 50)),
                SettingKey::BacklogBytes => Setting::BacklogBytes(draw.below(1 << 50)),
                SettingKey::Full => {
                    let all = [Full::Reject, Full::DropNew, Full::DropOld, Full::Wait(time(draw))];
                    Setting::Full(all[draw.below(4) as usize])
                }
                SettingKey::Concurrency => Setting::Concurrency(limit(draw)),
                SettingKey::Weight => Setting::Weight(limit(draw)),
                SettingKey::KeepDeadMax => Setting::KeepDeadMax(limit(draw)),
                SettingKey::PerKey => Setting::PerKey(limit(draw)),
                SettingKey::CircuitFailures => Setting::CircuitFailures(limit(draw)),
                SettingKey::CircuitProbe => Setting::CircuitProbe(time(draw)),
                SettingKey::Rate => Setting::Rate(rate(draw)),
                SettingKey::Fair => Setting::Fair(draw.below(2) == 0),
                SettingKey::PerKeyRate => Setting::PerKeyRate(rate(draw)),
            };
            Override { setting, by: count(draw), at: Time(draw.below(1 << 45)) }
        };
        some.into_iter().map(one).collect()
    }

    /// What one may submit, and when.
    pub(crate) fn plan(draw: &mut Draw) -> Plan {
        let second = std::time::Duration::from_secs(1);
        let mut spec = Spec::plain(QueueName::new("queue-1").unwrap());
        spec.options_mut().has_envelope = draw.below(2) == 0;
        Plan {
            rhythm: match draw.below(2) {
                0 => Rhythm::Cron { fields: "0 3 * * *".into(), zone: "Europe/Berlin".into() },
                _ => Rhythm::Every(second * 7),
            },
            catch_up: CatchUp::ALL[draw.below(3) as usize].1,
            overlap: Overlap::ALL[draw.below(4) as usize].1,
            jitter: second * draw.below(2) as u32,
            usual_priority: draw.below(2) == 0,
            ttl: (draw.below(2) == 0).then_some(second),
            deadline: (draw.below(3) == 0).then_some(second * 60),
            payload: Payload {
                body: vec![7; draw.below(3_000) as usize].into(),
                envelope: spec.has_envelope.then(|| (*Self::envelope(JobId(9))).into()),
            },
            configured: draw.below(2) == 0,
            spec: Arc::new(spec),
        }
    }

    /// Some jobs in one of these states, neighbours as a rule.
    fn some(&self, draw: &mut Draw, wanted: impl Fn(&JobState) -> bool) -> Option<Ids> {
        let known = self.known(wanted);
        let first = draw.below(known.len() as u64 + 1) as usize;
        let ids: Ids = known.into_iter().skip(first).take(1 + draw.below(30) as usize).collect();
        (!ids.is_empty()).then_some(ids)
    }

    fn known(&self, wanted: impl Fn(&JobState) -> bool) -> Vec<JobId> {
        let all = IdRange::new(JobId(1), self.state.next_id().0);
        let runs = self.state.iter(all).filter(|(_, job)| wanted(&job.state()));
        runs.flat_map(|(range, _)| range.iter().collect::<Vec<_>>()).collect()
    }
}

/// Asserts that two states are the same, whichever way they came to be.
pub(crate) fn assert_same(found: &State, wanted: &State) {
    assert_eq!((found.rows(), found.next_id()), (wanted.rows(), wanted.next_id()));
    for (found, wanted) in jobs(found).iter().zip(&jobs(wanted)) {
        assert_eq!(found, wanted);
    }
    assert_eq!(jobs(found).len(), jobs(wanted).len());
}

/// Whether they are.
pub(crate) fn same(found: &State, wanted: &State) -> bool {
    (found.rows(), found.next_id()) == (wanted.rows(), wanted.next_id()) && jobs(found) == jobs(wanted)
}

fn jobs(state: &State) -> Vec<(JobId, Job)> {
    let runs = state.runs(IdRange::new(JobId(1), state.next_id().0)).into_iter();
    runs.flat_map(|(range, job)| range.iter().map(move |id| (id, job.clone())).collect::<Vec<_>>()).collect()
}

/// Numbers that look random and are the same each time (splitmix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
