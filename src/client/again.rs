//! Waits before something is tried again: they double from one to the next.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// How often it was in vain, one time after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Again(u32);

impl Again {
    /// How long to wait now.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.0.min(10)).min(LONGEST);
        self.0 = self.0.saturating_add(1);
        wait
    }
}

/// Between half of this wait and all of it, so that those who wait for the same do not all come at the same time.
pub(crate) fn uneven(wait: Duration) -> Duration {
    // Each has keys of its own, and an empty hash is a number of theirs.
    let random = RandomState::new().build_hasher().finish();
    let half = wait / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut again = Again::default();
        let waits: Vec<u128> = (0..8).map(|_| again.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(Again(u32::MAX).wait(), LONGEST);
    }

    #[test]
    fn an_uneven_wait_is_no_longer_and_no_less_than_half() {
        let waits: Vec<Duration> = (0..100).map(|_| uneven(LONGEST)).collect();
        assert!(waits.iter().all(|wait| (LONGEST / 2..=LONGEST).contains(wait)), "{waits:?}");
        let (least, most) = (waits.iter().min(), waits.iter().max());
        assert!(least.zip(most).is_some_and(|(least, most)| *most - *least > LONGEST / 8), "{waits:?}");
    }
}
