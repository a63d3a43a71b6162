//! Which of several queues that one claim names is next, by their weights. Nothing is stored for it: the turn is how many
//! leases these queues have given out, and each turn falls on a queue as if by chance, but evenly spread.

/// Two to the power of 64, divided by the golden ratio: its multiples are spread over their range more evenly than others, whatever
/// the step from one turn to the next.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The place of the queue whose turn it is among these with their weights; `None` if there is none with one.
pub(super) fn pick(turn: u64, weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
    let all: u128 = weights.clone().map(u128::from).sum();
    let at = (u128::from(turn.wrapping_mul(GOLDEN)) * all) >> 64;
    let mut end = 0;
    weights.into_iter().position(|weight| {
        end += u128::from(weight);
        at < end
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each gets its share in any stretch of turns, up to a few; also one who is asked only at every second or third turn.
        #[test]
        fn shares_are_those_of_the_weights(
            weights in prop::collection::vec(1u32..20, 1..6),
            (first, step, turns) in (any::<u64>(), 1u64..6, 1u64..3_000),
        ) {
            let mut counts = vec![0u64; weights.len()];
            for nth in 0..turns {
                let turn = first.wrapping_add(nth * step);
                counts[pick(turn, weights.iter().copied()).unwrap()] += 1;
            }
            let all: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let share = turns as f64 * f64::from(*weight) / f64::from(all);
                let few = 6.0 + 3.0 * step as f64 + (turns as f64).ln();
                prop_assert!((*count as f64 - share).abs() <= few, "{count} turns of {turns}, not {share}");
            }
        }
    }

    #[test]
    fn without_weights_there_is_none() {
        assert_eq!(pick(7, [].into_iter()), None);
        assert_eq!(pick(7, [0, 0].into_iter()), None);
        assert_eq!(pick(7, [0, 3, 0].into_iter()), Some(1));
    }
}
