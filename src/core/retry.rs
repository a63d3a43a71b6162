//! How long a job waits after a failed attempt. Pure arithmetic: the jitter comes in as a number.

use std::time::Duration;

/// The longest time between two attempts that anybody can ask for.
pub const BACKOFF_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// How the wait grows from attempt to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Growth {
    /// Always `base`.
    Fixed,
    /// `base`, 2 × `base`, 3 × `base`, …
    Linear,
    /// `base`, 2 × `base`, 4 × `base`, …
    Exponential,
}

/// The wait between attempts: it grows from `base` up to `max`, and is then moved by a random part of itself so
/// that jobs that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// How it grows.
    pub growth: Growth,
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait, before jitter.
    pub max: Duration,
    /// How far jitter may move the wait, up or down, in thousandths of it (0 to 1000).
    pub jitter_permille: u16,
}

impl Default for Backoff {
    /// Soon at first, for what passes in seconds; with the default number of attempts the last of them comes after more
    /// than a week, for what takes days to mend.
    fn default() -> Backoff {
        Backoff {
            growth: Growth::Exponential,
            base: Duration::from_secs(1),
            max: Duration::from_secs(24 * 3600),
            jitter_permille: 200,
        }
    }
}

impl Backoff {
    /// The wait after failure number `failed` (from 1), where `random` is any number.
    ///
    /// ```
    /// use musher::core::Backoff;
    /// let backoff = Backoff { jitter_permille: 0, ..Backoff::default() };
    /// let waits: Vec<u64> = (1..=4).map(|n| backoff.wait(n, 0).as_secs()).collect();
    /// assert_eq!(waits, [1, 2, 4, 8]);
    /// assert_eq!(backoff.wait(40, 0), backoff.max);
    /// ```
    pub fn wait(&self, failed: u32, random: u64) -> Duration {
        let nth = failed.max(1);
        let factor = match self.growth {
            Growth::Fixed => 1,
            Growth::Linear => nth,
            Growth::Exponential => 1u32.checked_shl(nth - 1).unwrap_or(u32::MAX),
        };
        let wait = self.base.saturating_mul(factor).min(self.max).min(BACKOFF_MAX);
        let millis = wait.as_millis() as u64; // at most a year: fits
        let reach = millis * u64::from(self.jitter_permille.min(1000)) / 1000;
        Duration::from_millis(millis - reach + random % (2 * reach + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::QueueSettings;
    use proptest::prelude::*;

    #[test]
    fn each_growth_grows_as_named() {
        let waits = |growth| {
            let max = Duration::from_secs(600);
            let backoff = Backoff { growth, max, jitter_permille: 0, ..Backoff::default() };
            (1..=12).map(|n| backoff.wait(n, 7).as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(waits(Growth::Fixed), [1; 12]);
        assert_eq!(waits(Growth::Linear), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(waits(Growth::Exponential), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }

    /// A mail server that was away for 20 seconds killed jobs: five attempts were over after 15.
    #[test]
    fn the_default_outlives_an_outage_of_days() {
        let QueueSettings { attempts, backoff, .. } = QueueSettings::default();
        let least = (1..attempts).map(|failed| backoff.wait(failed, 0)).sum::<Duration>(); // jitter at its lowest
        let days = least.as_secs() / (24 * 3600);
        assert!((6..30).contains(&days), "{days} days");
        let first: Duration = (1..=5).map(|failed| backoff.wait(failed, 0)).sum();
        assert!(first < Duration::from_secs(60), "what passes soon is noticed soon: {first:?}");
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_reach(failed: u32, random: u64, jitter in 0u16..=1000) {
            let plain = Backoff { jitter_permille: 0, ..Backoff::default() }.wait(failed, 0).as_millis() as i128;
            let moved = Backoff { jitter_permille: jitter, ..Backoff::default() }.wait(failed, random).as_millis() as i128;
            prop_assert!((moved - plain).abs() <= plain * i128::from(jitter) / 1000);
        }
    }
}
