//! The leases of jobs that run under a connection, or are about to: when each must be extended, and who is to hear of it
//! when it is lost. Every worker keeps its leases here, whatever runs its jobs. Plain bookkeeping: no requests are sent.

use super::ClientError;
use crate::protocol::{LeaseFault, LeaseRef, Settle, Verdict};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// The longest time between two extends, also of longer leases.
const EXTEND_WAIT_MAX_MS: u64 = 3_600_000;
/// The shortest, so that a lease of no length causes no endless extends.
const EXTEND_WAIT_MIN_MS: u64 = 10;

/// Leases, each with what reaches its holder.
#[derive(Debug)]
pub(crate) struct Leases<H> {
    held: HashMap<LeaseRef, Held<H>>,
    /// No lease is to be extended before this time. It may be too early, never too late.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Held<H> {
    holder: H,
    /// The length to ask for; the queue's setting if not given.
    asked_ms: Option<u64>,
    length: Duration,
    /// A third of that.
    third: Duration,
    /// When it ends by this program's own clock, if nobody has heard of any other end; `None`: not in any time that matters.
    until: Option<Instant>,
    /// When to extend it; `None` once it is given up.
    extend_at: Option<Instant>,
}

impl<H> Default for Leases<H> {
    fn default() -> Leases<H> {
        Leases { held: HashMap::new(), next: None }
    }
}

impl<H> Leases<H> {
    /// Takes charge of a new lease.
    pub(crate) fn insert(&mut self, lease: LeaseRef, lease_ms: u64, asked_ms: Option<u64>, holder: H) {
        let third = Duration::from_millis((lease_ms / 3).clamp(EXTEND_WAIT_MIN_MS, EXTEND_WAIT_MAX_MS));
        let (now, length) = (Instant::now(), Duration::from_millis(lease_ms));
        let (extend_at, until) = (now + third, now.checked_add(length));
        self.next = Some(self.next.map_or(extend_at, |next| next.min(extend_at)));
        self.held.insert(lease, Held { holder, asked_ms, length, third, until, extend_at: Some(extend_at) });
    }

    /// The daemon has extended a lease, as it was asked to then.
    pub(crate) fn was_extended(&mut self, lease: LeaseRef, asked_at: Instant) {
        if let Some(held) = self.held.get_mut(&lease) {
            held.until = asked_at.checked_add(held.length);
        }
    }

    /// Of a daemon that is away: when the next lease ends for which nobody can ask, by this program's own clock. None does before
    /// `earliest`, and those that are given up do not.
    pub(crate) fn next_end(&self, earliest: Instant) -> Option<Instant> {
        self.ends(earliest).map(|(_, end)| end).min()
    }

    /// The leases that have ended so.
    pub(crate) fn ended(&self, earliest: Instant, now: Instant) -> Vec<LeaseRef> {
        self.ends(earliest).filter(|(_, end)| *end <= now).map(|(lease, _)| lease).collect()
    }

    fn ends(&self, earliest: Instant) -> impl Iterator<Item = (LeaseRef, Instant)> {
        let kept = self.held.iter().filter(|(_, held)| held.extend_at.is_some());
        kept.filter_map(move |(lease, held)| Some((*lease, held.until?.max(earliest))))
    }

    pub(crate) fn remove(&mut self, lease: LeaseRef) {
        self.held.remove(&lease);
        if self.held.is_empty() {
            self.next = None;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn holder(&self, lease: LeaseRef) -> Option<&H> {
        self.held.get(&lease).map(|held| &held.holder)
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = &H> {
        self.held.values().map(|held| &held.holder)
    }

    /// A lease is not to be extended any more.
    pub(crate) fn give_up(&mut self, lease: LeaseRef) {
        if let Some(held) = self.held.get_mut(&lease) {
            held.extend_at = None;
        }
    }

    /// The same for all of them.
    pub(crate) fn give_all_up(&mut self) {
        self.held.values_mut().for_each(|held| held.extend_at = None);
    }

    /// All leases.
    pub(crate) fn all(&self) -> impl Iterator<Item = LeaseRef> + '_ {
        self.held.keys().copied()
    }

    /// Those that are not given up.
    pub(crate) fn kept(&self) -> impl Iterator<Item = LeaseRef> + '_ {
        self.held.iter().filter(|(_, held)| held.extend_at.is_some()).map(|(lease, _)| *lease)
    }

    /// All leases that are not given up are to be extended at once.
    pub(crate) fn extend_now(&mut self) {
        let now = Instant::now();
        self.held.values_mut().for_each(|held| held.extend_at = held.extend_at.map(|_| now));
        self.next = self.held.values().filter_map(|held| held.extend_at).min();
    }

    /// When [`Leases::take_due`] is to be asked.
    pub(crate) fn next_extend(&self) -> Option<Instant> {
        self.next
    }

    /// The leases to extend now, by the length to ask for. Those that would be due soon go along, so that many
    /// jobs make few requests.
    pub(crate) fn take_due(&mut self, now: Instant) -> BTreeMap<Option<u64>, Vec<LeaseRef>> {
        let mut due = BTreeMap::<_, Vec<_>>::new();
        if self.next.is_none_or(|next| now < next) {
            return due;
        }
        for (lease, held) in &mut self.held {
            if held.extend_at.is_some_and(|at| at <= now + held.third / 2) {
                held.extend_at = Some(now + held.third);
                due.entry(held.asked_ms).or_default().push(*lease);
            }
        }
        self.next = self.held.values().filter_map(|held| held.extend_at).min();
        due
    }

    /// Takes the answer to an extend: the leases that are lost, of those that are not given up. If the request as a whole
    /// failed, the next one comes in good time.
    pub(crate) fn extended(
        &self,
        leases: &[LeaseRef],
        answer: Result<Vec<Result<u64, LeaseFault>>, ClientError>,
    ) -> Vec<(LeaseRef, LeaseFault)> {
        let results = match answer {
            Ok(results) => results,
            Err(error) => {
                if !error.is_disconnect() {
                    tracing::warn!("{} leases are not extended: {error}", leases.len());
                }
                return Vec::new();
            }
        };
        let is_kept = |lease: &LeaseRef| self.held.get(lease).is_some_and(|held| held.extend_at.is_some());
        let faults = leases.iter().zip(results).filter_map(|(lease, result)| Some((*lease, result.err()?)));
        faults.filter(|(lease, _)| is_kept(lease)).collect()
    }
}

/// The leases whose results these are; none where a job is given back, since nothing is lost with that.
pub(crate) fn results_of(items: &[Settle]) -> Vec<Option<LeaseRef>> {
    let gives_back = |item: &Settle| matches!(item.verdict, Verdict::Release { .. });
    items.iter().map(|item| (!gives_back(item)).then_some(item.lease)).collect()
}

/// Logs which results came too late.
pub(crate) fn report_lost(
    leases: &[Option<LeaseRef>],
    answer: Result<Vec<Result<(), LeaseFault>>, ClientError>,
) {
    match answer {
        Ok(results) => {
            let lost = leases.iter().zip(results).filter_map(|(lease, r)| Some(((*lease)?, r.err()?)));
            for (lease, fault) in lost {
                tracing::warn!(
                    "the result of job {}, attempt {}, came too late: {fault}",
                    lease.id,
                    lease.attempt
                );
            }
        }
        Err(error) if error.is_disconnect() => {}
        Err(error) => tracing::error!("the results of {} jobs are lost: {error}", leases.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_for_which_nobody_can_ask_end_by_their_own_time_and_not_before_the_daemons() {
        let lease = |id| LeaseRef { id, attempt: 1 };
        let mut leases = Leases::default();
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        for (id, lease_ms) in [(1, 10_000), (2, 60_000), (3, u64::MAX), (4, 10_000), (5, 10_000)] {
            leases.insert(lease(id), lease_ms, None, ());
        }
        leases.give_up(lease(4));
        // So long after it began the lease was extended.
        leases.was_extended(lease(5), begun + second * 9);
        let ended = |leases: &Leases<()>, within: u32, after: u32| {
            let mut ended = leases.ended(begun + second * within, begun + second * after);
            ended.sort_by_key(|lease| lease.id);
            ended.into_iter().map(|lease| lease.id).collect::<Vec<_>>()
        };
        assert_eq!(ended(&leases, 5, 9), [0; 0]);
        assert_eq!(ended(&leases, 5, 12), [1]);
        assert_eq!(ended(&leases, 30, 29), [0; 0]);
        assert_eq!(ended(&leases, 30, 30), [1, 5]);
        assert_eq!(ended(&leases, 30, 62), [1, 2, 5], "without end, or given up");
        assert_eq!(leases.next_end(begun + second * 30), Some(begun + second * 30));
        let own = leases.next_end(begun).unwrap();
        assert!(own >= begun + second * 10 && own < begun + second * 19);
    }
}
