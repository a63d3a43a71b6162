//! How often values were how large, in buckets that grow with the value: small ones each have their own, larger ones share
//! with those that differ by less than a quarter. It knows no unit.

/// How many buckets of each doubling.
const PARTS_BITS: u32 = 2;
const PARTS: u64 = 1 << PARTS_BITS;
/// Values from two to the power of this on share the last bucket.
const BITS_MAX: u32 = 28;
const BUCKETS: usize = ((BITS_MAX - PARTS_BITS + 1) * PARTS as u32) as usize;

/// Counts of values by their size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; BUCKETS], sum: 0 }
    }
}

impl Histogram {
    /// The same value so many times more.
    #[inline]
    pub fn add(&mut self, value: u64, times: u64) {
        self.buckets[place(value)] += times;
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// All that another has counted.
    pub fn add_all(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, more)| *own += more);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many values are smaller than two to the power of `bits`.
    pub fn below(&self, bits: u32) -> u64 {
        let end = if bits >= BITS_MAX { BUCKETS } else { place(1 << bits) };
        self.buckets[..end].iter().sum()
    }

    /// A value that about this part of all, of a thousand, do not exceed; `None` if there are none. It is wrong by an eighth at
    /// most, and beyond 2^28 (three days, of milliseconds) not told apart.
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        let count = self.count();
        let mut left = (count * permille).div_ceil(1_000).max(1);
        let at = self.buckets.iter().position(|here| {
            let is_here = *here >= left;
            left = left.saturating_sub(*here);
            is_here
        })?;
        (count > 0).then(|| (least(at) + least(at + 1) - 1) / 2)
    }
}

/// The bucket of a value.
#[inline]
fn place(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let bits = value.ilog2();
    if bits >= BITS_MAX {
        return BUCKETS - 1;
    }
    let part = (value >> (bits - PARTS_BITS)) & (PARTS - 1);
    (u64::from(bits - PARTS_BITS + 1) * PARTS + part) as usize
}

/// The least value of a bucket, or of what comes after the last.
fn least(place: usize) -> u64 {
    let place = place as u64;
    if place < PARTS {
        return place;
    }
    (PARTS + place % PARTS) << (place / PARTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_value_has_a_bucket_between_its_bounds() {
        assert_eq!((0..BUCKETS).map(least).map(place).collect::<Vec<_>>(), (0..BUCKETS).collect::<Vec<_>>());
        for place_no in 1..BUCKETS {
            assert_eq!(place(least(place_no) - 1), place_no - 1);
        }
        assert_eq!((place(u64::MAX), least(BUCKETS)), (BUCKETS - 1, 1 << BITS_MAX));
    }

    #[test]
    fn what_is_below_a_power_of_two_is_counted_exactly() {
        let mut histogram = Histogram::default();
        for value in [0, 1, 1, 7, 8, 1_000, 1 << 40] {
            histogram.add(value, 1);
        }
        histogram.add(3, 10);
        let below: Vec<u64> = [0, 1, 2, 3, 4, 10, 27, 60].map(|bits| histogram.below(bits)).to_vec();
        assert_eq!(below, [1, 3, 13, 14, 15, 16, 16, 17]);
        assert_eq!((histogram.count(), histogram.sum()), (17, 1 + 1 + 7 + 8 + 1_000 + (1 << 40) + 30));
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(500), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_nearly_the_value_that_is_there(
            mut values in prop::collection::vec(0u64..1 << BITS_MAX, 1..200),
            permille in 1u64..=1_000,
        ) {
            let (mut one, mut other) = (Histogram::default(), Histogram::default());
            for (nth, value) in values.iter().enumerate() {
                if nth % 2 == 0 { one.add(*value, 1) } else { other.add(*value, 1) }
            }
            one.add_all(&other);
            values.sort_unstable();
            let rank = (values.len() as u64 * permille).div_ceil(1_000).max(1);
            let (exact, found) = (values[rank as usize - 1], one.quantile(permille).unwrap());
            prop_assert!(found.abs_diff(exact) <= exact / 8 + 1, "{found} for {exact}");
            prop_assert_eq!(one.sum(), values.iter().sum::<u64>());
        }
    }
}
