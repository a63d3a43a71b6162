//! Waits before something is tried again: they double from one to the next.

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
}
