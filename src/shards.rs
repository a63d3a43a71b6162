//! In which shard of a cluster something is: queues, schedules, topics and groups by their names, jobs by their ids. It knows neither what a
//! shard is made of nor where it runs.
//!
//! All that can be done in one step is done in one *namespace*: what stands in a name before its first `/`, or all of it. A namespace
//! is in one shard: the CRC-32C of its name, mixed, says in which.

/// The bits of an id behind those of its shard: an id is exact as a number of JSON (53 bits), and 64 shards have 2^47 ids each.
const ID_BITS: u32 = 47;

/// 2^32 divided by the golden ratio, as for hashes by multiplication (Knuth, The Art of Computer Programming, 6.4).
const SPREAD: u32 = 2_654_435_769;

/// The shards of a cluster: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shards {
    count: usize,
}

/// What stands in a name before its first `/`.
pub(crate) fn namespace(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// The least id of a shard's jobs.
pub(crate) fn first_id(shard: usize) -> u64 {
    ((shard as u64) << ID_BITS).max(1)
}

impl Shards {
    /// So many; `count` is at least 1.
    pub(crate) fn new(count: usize) -> Shards {
        debug_assert!(count > 0);
        Shards { count }
    }

    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// The one of a name.
    pub(crate) fn of_name(self, name: &str) -> usize {
        // Names that are alike have sums that are alike: this spreads them over all numbers of 32 bits, and those over the shards.
        let mixed = crc32c::crc32c(namespace(name).as_bytes()).wrapping_mul(SPREAD);
        ((u64::from(mixed) * self.count as u64) >> 32) as usize // less than the count
    }

    /// The one of a job; `None` if no job of these shards has such an id.
    pub(crate) fn of_job(self, id: u64) -> Option<usize> {
        usize::try_from(id >> ID_BITS).ok().filter(|shard| *shard < self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_where_its_namespace_is() {
        let shards = Shards::new(8);
        assert_eq!(shards.of_name("mails/eu"), shards.of_name("mails"));
        assert_eq!(shards.of_name("mails/eu/x"), shards.of_name("mails/us"));
        // Others reckon it, too: these must never change.
        let places = ["mails", "commands", "webhooks", "q"].map(|name| shards.of_name(name));
        assert_eq!(places, [7, 5, 2, 6]);
        for alike in ["n", "customer-", "", "queue.number."] {
            let mut jobs = [0; 8];
            (0..800).for_each(|n| jobs[shards.of_name(&format!("{alike}{n}"))] += 1);
            assert!(jobs.iter().all(|count| (50..200).contains(count)), "{alike}: {jobs:?}");
        }
    }

    #[test]
    fn an_id_says_in_which_shard_its_job_is() {
        let shards = Shards::new(64);
        assert_eq!((first_id(0), shards.of_job(1)), (1, Some(0)));
        for shard in 0..64 {
            assert_eq!(shards.of_job(first_id(shard)), Some(shard));
            assert_eq!(shards.of_job(first_id(shard) + (1 << ID_BITS) - 2), Some(shard));
        }
        assert!(first_id(63) + (1 << ID_BITS) <= 1 << 53, "exact in JSON");
        assert_eq!((Shards::new(2).of_job(first_id(2)), shards.of_job(u64::MAX)), (None, None));
    }
}
