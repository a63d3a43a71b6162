//! Until when jobs are of use: what waits at its deadline expires, and what waits for its first attempt when its time to live
//! is over; nothing expires sooner, and no lease lasts longer than one lease of its queue after the deadline. Counted from what
//! was sent, and from when.

use crate::clients::LEASE;
use fastrand::Rng;
use musher::core::{Attempt, Expiry, Grant, Group, Job, JobId, StateKind, Time};
use std::time::Duration;

/// With any times, for jobs that are sent now. Returns which moments these are.
pub(crate) fn with_expiry(rng: &mut Rng, group: &mut Group, now: Time) -> Expiry {
    group.ttl = (rng.u32(..8) == 0).then(|| Duration::from_millis(rng.u64(1..60_000)));
    group.deadline = (rng.u32(..6) == 0).then(|| Duration::from_millis(rng.u64(1..90_000)));
    let moment = |time: Option<Duration>| time.map_or(Time::NEVER, |time| now.plus(time));
    Expiry { begin_by: moment(group.ttl), end_by: moment(group.deadline) }
}

/// How far a job has come, as far as somebody was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Whether an attempt has ended, in whatever way. What has begun does not expire by its time to live.
    pub(crate) begun: bool,
    /// Whether somebody has asked to run it again, which makes it of use for ever.
    pub(crate) revived: bool,
}

impl Progress {
    /// Whether such a job may have expired by then.
    pub(crate) fn may_expire(self, expiry: Expiry, now: Time) -> bool {
        expiry.end_by <= now || (expiry.begin_by <= now && (!self.begun || self.revived))
    }

    /// A job of which nothing is due any more at this time is like this.
    pub(crate) fn check(self, expiry: Expiry, id: JobId, job: &Job, now: Time) {
        if self.revived || !matches!(job.kind(), StateKind::Scheduled | StateKind::Ready) {
            return;
        }
        assert!(expiry.end_by > now, "job {id} waits at {now}, after its deadline: {expiry:?}");
        let has_not_begun = job.attempt() == Attempt(0);
        assert!(
            !has_not_begun || expiry.begin_by > now,
            "job {id} waits at {now} for its first attempt, and its time to live is over: {expiry:?}"
        );
    }

    /// An attempt was settled, as its holder was told.
    pub(crate) fn settled(&mut self) {
        self.begun = true;
    }

    /// It was given out, to a claim of which this is known.
    pub(crate) fn granted(self, expiry: Expiry, grant: &Grant, claim: Sent, given: Result<Time, Time>) {
        let is_forgotten = self.revived && grant.deadline == Time::NEVER;
        assert!(
            grant.deadline == expiry.end_by || is_forgotten,
            "job {} has another deadline: {expiry:?}",
            grant.id
        );
        let is_first = grant.attempt == Attempt(1);
        let since = given.unwrap_or(claim.at);
        assert!(grant.deadline > since, "job {} is given out after its deadline: {grant:?}", grant.id);
        if is_first && !self.revived {
            claim.check(given, expiry.begin_by, is_first);
        }
    }

    /// The latest end of a lease, as far as that is known.
    pub(crate) fn lease_until(self, expiry: Expiry, until: Time) -> Option<Time> {
        let is_known = !self.revived || expiry.end_by == Time::NEVER;
        is_known.then(|| until.min(expiry.end_by.plus(LEASE)))
    }
}

/// When a claim was sent, and what of it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    /// When the last turn before it was: all that was due then is done.
    pub(crate) turned: Time,
    /// How long a lease it has asked for.
    pub(crate) lease: Duration,
}

impl Sent {
    /// When a lease was given that lasts until then, and of which was heard now: `Err` with the latest moment if that is not
    /// known to be another one, since it ends by its job's deadline.
    pub(crate) fn given(self, until: Time, deadline: Time, now: Time) -> Result<Time, Time> {
        let latest = deadline.plus(LEASE);
        assert!(until <= latest, "a lease lasts until {until}, and the deadline is at {deadline}");
        assert!(until <= now.plus(self.lease), "a lease lasts until {until}, longer than was asked for");
        if until == latest {
            return Err(now);
        }
        let at = Time(until.0.saturating_sub(self.lease.as_millis() as u64));
        assert!(at >= self.at, "a lease lasts until {until}, shorter than was asked for");
        Ok(at)
    }

    /// A job was given out that was to expire then: by the turn that gave it out that would have been done before; or by
    /// the last one before the claim, if it has not come back since.
    pub(crate) fn check(self, given: Result<Time, Time>, expires: Time, is_first: bool) {
        let in_turn = given.ok().filter(|at| *at > self.at);
        if let Some(done) = in_turn.or(is_first.then_some(self.turned)) {
            assert!(expires > done, "it is given out after {done}, and was to expire at {expires}");
        }
    }
}
