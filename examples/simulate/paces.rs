//! A queue with a rate for each key: in no stretch of time more leases of a key than the rate allows, as far as clients were
//! told of them, whatever dies in between; and no job waits for a claim, or the other way round, longer than the rate of its
//! key says. For that each key has a bucket: a lease puts one into it, it runs out at the rate, and it holds no more than a burst.

use crate::clients::{Asked, Clients, group};
use crate::oracle::Oracle;
use crate::queues::named;
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{
    Attempt, Claim, ClaimOrder, Groups, Holder, IdRange, JobId, Key, QueueName, QueueSettings, Rate, State,
    StateKind, Time,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// So many leases of a key in so many milliseconds, and so many of them at once.
const COUNT: u32 = 3;
const PER: u64 = 30_000;
const BURST: u32 = 2;

/// How many leases of a key are remembered.
const REMEMBERED: usize = 20;

/// More jobs than this are not ready there: most wait for their key.
const READY_MAX: u64 = 20;

/// The queue.
pub(crate) fn paced() -> QueueName {
    named("paced")
}

/// With its rate, and no other limit: who does not go is held back by that.
pub(crate) fn with_pace(settings: QueueSettings) -> QueueSettings {
    QueueSettings { per_key_rate: Rate::new(COUNT, Duration::from_millis(PER), Some(BURST)), ..settings }
}

/// What a key may have used of its rate.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Time,
}

impl Bucket {
    fn at(self, now: Time) -> f64 {
        let out = now.since(self.at).as_millis() as f64 * f64::from(COUNT) / PER as f64;
        (self.level - out).max(0.0)
    }
}

/// The leases of the queue.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    /// When those of each key were given that somebody was told of.
    told: BTreeMap<Key, VecDeque<Time>>,
    /// What was used at most: also by leases that a crash may have taken back.
    used: BTreeMap<Key, Bucket>,
    /// The newest attempt of each job there.
    attempts: BTreeMap<JobId, (Attempt, Option<Key>)>,
    claimed: u64,
}

impl Paces {
    /// A daemon has found this.
    pub(crate) fn found(&mut self, state: &State) {
        self.claimed = claimed(state);
        self.attempts = jobs(state).map(|(id, job)| (id, (job.attempt(), job.spec.key))).collect();
    }

    /// Jobs may have been given out.
    pub(crate) fn claimed(&mut self, life: &Life) {
        let state = &life.engine.core().state;
        let before = std::mem::replace(&mut self.claimed, claimed(state));
        let (mut attempts, mut all) = (BTreeMap::new(), self.claimed - before);
        if all == 0 {
            return;
        }
        for (id, job) in jobs(state) {
            let before = self.attempts.get(&id).map_or(0, |(attempt, _)| attempt.0);
            let more = job.attempt().0.saturating_sub(before);
            all = all.saturating_sub(u64::from(more));
            self.uses(job.spec.key, more, life.now);
            attempts.insert(id, (job.attempt(), job.spec.key));
        }
        // One whose deadline has passed is gone.
        let before = std::mem::take(&mut self.attempts);
        for (_, (_, key)) in before.into_iter().filter(|(id, _)| !attempts.contains_key(id)) {
            self.uses(key, u32::from(all > 0), life.now);
        }
        self.attempts = attempts;
    }

    fn uses(&mut self, key: Option<Key>, leases: u32, now: Time) {
        if let (Some(key), 1..) = (key, leases) {
            let bucket = self.used.entry(key).or_insert(Bucket { level: 0.0, at: now });
            let at = now.max(bucket.at);
            *bucket = Bucket { level: bucket.at(at) + f64::from(leases), at };
        }
    }

    /// Somebody was told of a lease; when that was given may not be known.
    pub(crate) fn told(&mut self, at: Result<Time, Time>, key: Option<Key>) {
        let (Ok(at), Some(key)) = (at, key) else { return };
        let told = self.told.entry(key).or_default();
        told.push_back(at);
        while told.len() > REMEMBERED {
            told.pop_front();
        }
        for (before, from) in told.iter().rev().enumerate() {
            let most = u64::from(BURST) + (at.since(*from).as_millis() as u64 + 10) * u64::from(COUNT) / PER;
            assert!(
                (before as u64) < most,
                "{} leases of {key:?} from {from} to {at}: the rate allows {most}",
                before + 1
            );
        }
    }

    /// A claim waits, or was given nothing: no job may go.
    fn check_held_back(&self, life: &Life) {
        for (id, job) in jobs(&life.engine.core().state).filter(|(_, job)| job.kind() == StateKind::Ready) {
            let bucket = job.spec.key.and_then(|key| self.used.get(&key));
            let level = bucket.map_or(0.0, |bucket| bucket.at(life.now));
            let may_go = job.spec.key.is_none() || level <= f64::from(BURST - 1);
            assert!(!may_go, "job {id} waits at {}, and its key has used {level:.3} only", life.now);
        }
    }

    /// Nothing is to be done just now.
    pub(crate) fn check_still(&self, life: &Life) {
        if life.engine.waiting_claims(Some(&paced())) > 0 && !life.engine.core().draining {
            self.check_held_back(life);
        }
    }
}

fn claimed(state: &State) -> u64 {
    state.queue(&paced()).map_or(0, |queue| queue.totals().claimed)
}

fn jobs(state: &State) -> impl Iterator<Item = (JobId, &musher::core::Job)> {
    let all = state.iter(IdRange::new(JobId(1), state.next_id().0));
    let own = all.filter(|(_, job)| job.spec.queue == paced());
    own.flat_map(|(range, job)| range.iter().map(move |id| (id, job)))
}

impl Clients {
    /// Submits jobs of a key, or of none, or claims some.
    pub(crate) fn play_paces(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let queue = life.engine.core().state.queue(&paced());
        let ready = queue.map_or(0, |queue| queue.counts().of(StateKind::Ready));
        if ready < READY_MAX && rng.u32(..3) == 0 {
            let (mut sent, count) = (Vec::new(), 1 + rng.u64(..3));
            let mut jobs = group(rng, &mut sent, paced(), count, life.now);
            // A few that come again and again, and many that come once.
            let key = match rng.u32(..8) {
                0 => None,
                1..6 => Some(1 + rng.u16(..4)),
                _ => Some(rng.u16(100..)),
            };
            let key = key.map(|key| Key::new((u128::from(key) << 80 | 7).to_be_bytes()));
            Arc::make_mut(&mut jobs.spec).key = key;
            sent.iter_mut().for_each(|sent| sent.key = key);
            return self.submit_plain(rng, oracle, life, (Groups::from_iter([jobs]), sent));
        }
        let lease = Duration::from_secs(5);
        let claim = Claim {
            queues: vec![paced()],
            max: 1 + rng.u32(..4),
            lease: Some(lease),
            holder: Holder::Anyone,
            worker: None,
            order: ClaimOrder::AsNamed,
        };
        let asked = Asked::claim(oracle, None, lease, life.now, life.now);
        let (origin, before) = (self.ask(rng, asked), claimed(&life.engine.core().state));
        life.engine.claim(origin, claim, life.now, life.now);
        oracle.paces.claimed(life);
        let core = life.engine.core();
        if claimed(&core.state) == before && !core.draining {
            oracle.paces.check_held_back(life);
        }
    }
}
