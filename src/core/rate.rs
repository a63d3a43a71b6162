//! Rates: so many leases in so much time. They are kept by the generic cell rate algorithm (GCRA, ITU-T I.371), which
//! remembers one point in time for each rate and needs neither windows nor timers.

use super::time::Time;
use std::fmt;
use std::time::Duration;

const NANOS_PER_MILLI: u128 = 1_000_000;

/// A lease that is given at most so late costs nothing of the rate: clocks and timers have steps, and no claim comes at
/// the very moment.
const LATENESS: Duration = Duration::from_millis(10);

/// A rate. In any stretch of time of length `w` it allows at most `burst + (w + 10 ms) * count / per` leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
    burst: u32,
}

/// What of a rate was used: until when, in nanoseconds since 1970, the leases given so far would have lasted if they had
/// been given evenly (the "theoretical arrival time" of GCRA).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RateUsed(pub u64);

impl RateUsed {
    /// What counts as nothing at this time.
    pub(super) fn at(now: Time) -> RateUsed {
        RateUsed(u64::try_from(nanos(now)).unwrap_or(u64::MAX))
    }
}

impl Rate {
    /// The most leases at once, and in one period.
    pub const COUNT_MAX: u32 = 1_000_000;
    /// The longest period.
    pub const PER_MAX: Duration = Duration::from_secs(366 * 86_400);

    /// `count` leases in each `per`, of which `burst` may come at once; without a burst as many as come in 10 ms, and at
    /// least one. `None` if a number is 0 or greater than its maximum.
    pub fn new(count: u32, per: Duration, burst: Option<u32>) -> Option<Rate> {
        let usual = || {
            let burst = (u128::from(count) * LATENESS.as_nanos()).div_ceil(per.as_nanos());
            burst.clamp(1, u128::from(Rate::COUNT_MAX)) as u32 // within u32 by its bounds
        };
        let is_valid = |n: u32| (1..=Rate::COUNT_MAX).contains(&n);
        if per.is_zero() || per > Rate::PER_MAX || !is_valid(count) {
            return None;
        }
        let burst = burst.unwrap_or_else(usual);
        is_valid(burst).then_some(Rate { count, per, burst })
    }

    /// How many, in which time, and how many of them at once.
    pub fn parts(self) -> (u32, Duration, u32) {
        (self.count, self.per, self.burst)
    }

    /// Nanoseconds from one lease to the next; rounded up, so that there is never one too many.
    fn interval(self) -> u128 {
        self.per.as_nanos().div_ceil(u128::from(self.count))
    }

    /// How far ahead of the time what was used may be when another lease is given.
    fn tolerance(self) -> u128 {
        // Less than an interval: a burst is never one more.
        let lateness = LATENESS.as_nanos().min(self.interval() - 1);
        self.interval() * u128::from(self.burst - 1) + lateness
    }

    /// By how much what was used is ahead of the time. More than this rate can have used is another rate's, which was
    /// in force before: that does not count.
    fn ahead(self, used: RateUsed, now: Time) -> u128 {
        let ahead = u128::from(used.0).saturating_sub(nanos(now));
        if ahead <= self.tolerance() + self.interval() { ahead } else { 0 }
    }

    /// How many leases may be given now.
    pub fn allows(self, used: RateUsed, now: Time) -> u64 {
        let left = self.tolerance().checked_sub(self.ahead(used, now));
        left.map_or(0, |left| u64::try_from(left / self.interval() + 1).unwrap_or(u64::MAX))
    }

    /// How much may be used if another lease is to be given now; as far as no other rate has used it, that is what
    /// [`Rate::allows`] goes by.
    pub(super) fn horizon(self, now: Time) -> RateUsed {
        RateUsed(u64::try_from(nanos(now) + self.tolerance()).unwrap_or(u64::MAX))
    }

    /// What is used after so many leases are given now.
    pub fn use_up(self, used: RateUsed, now: Time, leases: u64) -> RateUsed {
        let until = nanos(now) + self.ahead(used, now) + self.interval() * u128::from(leases);
        RateUsed(u64::try_from(until).unwrap_or(u64::MAX))
    }

    /// From when on a lease may be given, as seen from now.
    pub fn next(self, used: RateUsed, now: Time) -> Time {
        let at = nanos(now) + self.ahead(used, now).saturating_sub(self.tolerance());
        let at = at.div_ceil(NANOS_PER_MILLI);
        Time(u64::try_from(at).unwrap_or(u64::MAX))
    }
}

fn nanos(time: Time) -> u128 {
    u128::from(time.0) * NANOS_PER_MILLI
}

/// As it is configured: `100/s`, `30/m burst 5`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rate { count, per, burst } = *self;
        match per.as_secs() {
            _ if per.subsec_nanos() != 0 => write!(f, "{count}/{}ms", per.as_millis())?,
            1 => write!(f, "{count}/s")?,
            60 => write!(f, "{count}/m")?,
            3_600 => write!(f, "{count}/h")?,
            86_400 => write!(f, "{count}/d")?,
            seconds => write!(f, "{count}/{seconds}s")?,
        }
        match Rate::new(count, per, None) == Some(*self) {
            true => Ok(()),
            false => write!(f, " burst {burst}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(count: u32, seconds: u64, burst: Option<u32>) -> Rate {
        Rate::new(count, Duration::from_secs(seconds), burst).unwrap()
    }

    #[test]
    fn it_gives_evenly_and_a_burst_at_once() {
        let (one, now) = (rate(10, 1, None), Time(5_000));
        assert_eq!((one.allows(RateUsed(0), now), one.next(RateUsed(0), now)), (1, now));
        let used = one.use_up(RateUsed(0), now, 1);
        assert_eq!((one.allows(used, now), one.next(used, now)), (0, Time(5_090)));
        assert_eq!((one.allows(used, Time(5_089)), one.allows(used, Time(5_090))), (0, 1));
        let burst = rate(30, 60, Some(5));
        let used = burst.use_up(RateUsed(0), now, 5);
        assert_eq!((burst.allows(RateUsed(0), now), burst.allows(used, now)), (5, 0));
        assert_eq!((burst.next(used, now), burst.allows(used, Time(9_000))), (Time(6_990), 2));
        assert_eq!(burst.allows(used, Time(60_000)), 5, "an idle time saves no more than a burst");
    }

    #[test]
    fn a_rate_that_is_faster_than_the_clock_gives_a_few_at_once() {
        assert_eq!(rate(5_000, 1, None).allows(RateUsed(0), Time(1)), 50);
        assert_eq!(rate(1_000_000, 1, None).allows(RateUsed(0), Time(1)), 10_000);
    }

    /// A slow one that was used up kept its queue from giving anything out under the fast one that came after it.
    #[test]
    fn what_another_rate_has_used_does_not_count() {
        let now = Time(5_000);
        let used = rate(1, 86_400, Some(1)).use_up(RateUsed(0), now, 1);
        let fast = rate(100, 1, Some(3));
        assert_eq!((fast.allows(used, now), fast.next(used, now)), (3, now));
        let used = fast.use_up(used, now, 3);
        assert_eq!((fast.allows(used, now), fast.next(used, now)), (0, Time(5_001)));
    }

    #[test]
    fn it_is_shown_as_it_is_written() {
        let shown = [rate(100, 1, None), rate(30, 60, Some(5)), rate(7, 86_400, Some(1)), rate(1, 5, None)];
        assert_eq!(shown.map(|rate| rate.to_string()), ["100/s", "30/m burst 5", "7/d", "1/5s"]);
        let odd = Rate::new(10, Duration::from_millis(1_500), None).unwrap();
        assert_eq!(odd.to_string(), "10/1500ms");
        assert_eq!(rate(2, 3_600, Some(3)).to_string(), "2/h burst 3");
    }

    #[test]
    fn nonsense_is_no_rate() {
        let second = Duration::from_secs(1);
        assert_eq!(Rate::new(0, second, None), None);
        assert_eq!(Rate::new(1, Duration::ZERO, None), None);
        assert_eq!(Rate::new(1, second, Some(0)), None);
        assert_eq!(Rate::new(Rate::COUNT_MAX + 1, second, None), None);
        assert_eq!(Rate::new(1, Rate::PER_MAX + second, None), None);
    }

    proptest! {
        /// Whoever always takes what is allowed gets in no stretch of time more than the formula says.
        #[test]
        fn no_stretch_of_time_has_too_many(
            (count, per, burst) in (1u32..500, 1u64..100, prop::option::of(1u32..20)),
            waits in prop::collection::vec(0u64..3_000, 1..60),
        ) {
            let rate = rate(count, per, burst);
            let (mut used, mut now, mut given) = (RateUsed(0), Time(10_000), Vec::new());
            for wait in waits {
                now = Time(now.0 + wait);
                let allowed = rate.allows(used, now);
                prop_assert_eq!(allowed == 0, rate.next(used, now) > now);
                if allowed > 0 {
                    used = rate.use_up(used, now, allowed);
                    given.push((now.0, allowed));
                }
                // The next one comes when it is said to, not sooner.
                let next = rate.next(used, now);
                prop_assert!(used > rate.horizon(now) && used <= rate.horizon(next));
                prop_assert!(next > now && rate.allows(used, next) > 0 && rate.allows(used, Time(next.0 - 1)) == 0);
            }
            for (at, (from, _)) in given.iter().enumerate() {
                let mut all = 0;
                for (to, leases) in &given[at..] {
                    all += leases;
                    let most = u128::from(rate.burst) + u128::from(to - from + 10) * u128::from(count) / u128::from(per * 1_000);
                    prop_assert!(u128::from(all) <= most, "{all} leases in {} ms at {rate}", to - from);
                }
            }
        }

        /// Whoever is never more than 10 ms late gets all that the rate allows, whatever the steps of the clock.
        #[test]
        fn over_a_long_time_it_is_no_less((count, per) in (1u32..3_000, 1u64..20), late in prop::collection::vec(0u64..10, 50..200)) {
            let rate = rate(count, per, None);
            let (mut used, mut now, mut given) = (RateUsed(0), Time(10_000), 0);
            for late in late {
                now = Time(rate.next(used, now).0.max(now.0) + late);
                let allowed = rate.allows(used, now);
                prop_assert!(allowed > 0);
                (used, given) = (rate.use_up(used, now, allowed), given + allowed);
            }
            let least = u128::from(now.0 - 10_000) * u128::from(count) / u128::from(per * 1_000);
            prop_assert!(u128::from(given) + 1 >= least, "{given} leases in {} ms at {rate}: {least}", now.0 - 10_000);
        }

        #[test]
        fn what_is_used_without_end_does_not_overflow(used in any::<u64>(), now in any::<u64>(), leases in any::<u64>()) {
            let rate = rate(1, 366 * 86_400, Some(1_000));
            let after = rate.use_up(RateUsed(used), Time(now), leases);
            prop_assert!(after.0 >= used.min(now.saturating_mul(1_000_000)));
            let _ = (rate.allows(after, Time(now)), rate.next(after, Time(now)));
        }
    }
}
