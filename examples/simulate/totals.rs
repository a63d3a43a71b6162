//! Bounds over all queues, beside those that queues have of their own: what waits before and after a submit says whether they
//! are kept, and that nothing is refused or dropped for which there is room. Schedules rest meanwhile: when one of them finds
//! room between two turns, nobody sees.

use crate::bounds::{BOUNDED, Limits, Waiting, drops_old, load, waiting};
use crate::clients::{Asked, Clients, group, submitted};
use crate::known::Sent;
use crate::oracle::Oracle;
use crate::queues::{named, queue};
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{Groups, JobId, QueueName};
use std::collections::BTreeSet;

/// None as a rule, for jobs or bytes or both now and then; more than any job has.
fn any_totals(rng: &mut Rng) -> Limits {
    let mut any = |least: u64, most: u64| if rng.bool() { 0 } else { rng.u64(least..most) };
    Limits { jobs: any(30, 120), bytes: any(4_000, 12_000) }
}

/// What waited before a submit.
pub(crate) struct Before {
    all: Vec<Waiting>,
    next: JobId,
    refuses: bool,
}

impl Before {
    pub(crate) fn of(life: &Life) -> Before {
        let state = &life.engine.core().state;
        Before { all: waiting(state, None), next: state.next_id(), refuses: life.refuses() }
    }

    /// Whether there is room for so many more jobs and bytes.
    pub(crate) fn has_room(&self, life: &Life, more: (u64, u64)) -> bool {
        let (jobs, bytes) = load(&self.all);
        let bytes = if life.totals.bytes == 0 { 0 } else { bytes + more.1 };
        life.totals.over((jobs + more.0, bytes)) == (0, 0)
    }

    /// No bound is exceeded by what is new; of bytes only where all are counted.
    pub(crate) fn check(&self, life: &Life, with_bytes: bool) {
        let ((jobs, bytes), after) = (load(&self.all), load(&waiting(&life.engine.core().state, None)));
        let over = life.totals.over(after);
        assert!(over.0 == 0 || after.0 <= jobs, "{after:?} jobs and bytes wait: {:?}", life.totals);
        let grows = with_bytes && over.1 > 0 && after.1 > bytes;
        assert!(!grows, "{after:?} jobs and bytes wait: {:?}", life.totals);
    }

    /// A submit to queues that have no bounds was decided: it is taken as a whole, or refused for want of room.
    pub(crate) fn check_plain(&self, life: &Life, more: (u64, u64)) {
        self.check_taken(life, more, !self.refuses && self.has_room(life, more));
    }

    /// The same where it is known whether it is taken.
    pub(crate) fn check_taken(&self, life: &Life, more: (u64, u64), takes: bool) {
        let (found, next) = (waiting(&life.engine.core().state, None), life.engine.core().state.next_id());
        let new = if takes { more.0 } else { 0 };
        let what = || format!("{:?} had {:?} and were sent {more:?}", life.totals, load(&self.all));
        assert_eq!(next.0 - self.next.0, new, "{}", what());
        assert_eq!(found.len() as u64, self.all.len() as u64 + new, "{}", what());
    }
}

/// The jobs and bytes that a submit brings.
pub(crate) fn brings(sent: &[Sent], batch: usize) -> (u64, u64) {
    let bytes = (0..sent.len()).map(|index| crate::bodies::body((batch, index, 0)).len() as u64).sum();
    (sent.len() as u64, bytes)
}

impl Clients {
    /// Submits jobs to queues without bounds of their own, and looks at once whether they are taken.
    pub(crate) fn submit_plain(
        &mut self,
        rng: &mut Rng,
        oracle: &mut Oracle,
        life: &mut Life,
        (groups, sent): (Groups, Vec<Sent>),
    ) {
        let more = brings(&sent, oracle.next_batch());
        let (batch, contents) = submitted(oracle, sent);
        let (origin, before) = (self.ask(rng, Asked::Submit { batch, until: life.now }), Before::of(life));
        life.submit(origin, groups, contents);
        before.check_plain(life, more);
    }

    /// Other bounds hold from now on.
    pub(crate) fn set_totals(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        self.pause_schedules(rng, oracle, life);
        life.totals = any_totals(rng);
        life.engine.configure(life.settings(), life.bounds);
    }

    /// Submits jobs to several queues, with bounds of their own or without.
    pub(crate) fn submit_mixed(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let (mut sent, mut groups) = (Vec::new(), Groups::new());
        for _ in 0..2 + rng.usize(..2) {
            // But for those in which submits wait.
            let name = match rng.usize(..BOUNDED.len()) {
                nth if nth + 1 < BOUNDED.len() => named(BOUNDED[nth].0),
                _ => queue(rng.usize(..)),
            };
            let count = 1 + rng.u64(..4);
            groups.push(group(rng, &mut sent, name, count, life.now));
        }
        let names: BTreeSet<QueueName> = sent.iter().map(|sent| sent.queue.clone()).collect();
        let more = brings(&sent, oracle.next_batch());
        let (batch, contents) = submitted(oracle, sent.clone());
        let of = |name: &QueueName, life: &Life| load(&waiting(&life.engine.core().state, Some(name)));
        let own: Vec<_> = names.iter().map(|name| (oracle.own_limits(name), of(name, life))).collect();
        let fits = names.iter().zip(&own).all(|(name, (limits, (jobs, bytes)))| {
            let indexes = || (0..sent.len()).filter(|index| sent[*index].queue == *name);
            let new = indexes().map(|index| crate::bodies::body((batch, index, 0)).len() as u64).sum::<u64>();
            limits.over((jobs + indexes().count() as u64, bytes + new)) == (0, 0)
        });
        let (origin, before) = (self.ask(rng, Asked::Submit { batch, until: life.now }), Before::of(life));
        life.submit(origin, groups, contents);
        let found = waiting(&life.engine.core().state, None);
        let taken = life.engine.core().state.next_id().0 - before.next.0;
        if taken == 0 {
            assert_eq!(found, before.all, "a submit was refused, and something has changed");
            assert!(
                before.refuses || !fits || !before.has_room(life, more),
                "there is room, and it is refused"
            );
            return;
        }
        assert!(!before.refuses && taken == more.0, "{taken} of the {} jobs of a submit have ids", more.0);
        before.check(life, true);
        for (name, (limits, had)) in names.iter().zip(own) {
            let (has, over) = (of(name, life), limits.over(of(name, life)));
            let grows = (over.0 > 0 && has.0 > had.0) || (over.1 > 0 && has.1 > had.1);
            assert!(!grows, "{name} with {limits:?} had {had:?}, and has {has:?}");
        }
        let gone: Vec<&Waiting> = before.all.iter().filter(|job| !found.contains(job)).collect();
        let may_go = gone.iter().all(|job| names.contains(&job.queue) && drops_old(&job.queue));
        assert!(may_go, "{gone:?} are dropped for jobs of {names:?}");
        let dropped = before.all.len() as u64 + more.0 - found.len() as u64;
        let is_full = !fits || !before.has_room(life, more);
        assert!(dropped == 0 || is_full, "{dropped} jobs are dropped, and there is room");
    }
}
