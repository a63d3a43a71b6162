//! What is submitted: the seed and the number of a submit say all of it, so nothing but numbers has to be remembered to
//! know every byte that must come back. Knows nothing of what became of it.

use bytes::Bytes;
use fastrand::Rng;
use musher::protocol::{JobOptions, Start, SubmitGroup};

/// The queues, and how the daemon is configured for them.
pub(crate) const QUEUES: [&str; 3] = ["first", "second", "kept"];
/// The one whose done jobs are kept.
pub(crate) const KEPT: &str = QUEUES[2];
/// After how many failures a job is dead.
pub(crate) const ATTEMPTS: u32 = 4;
/// The tag that carries the submit's number.
const TAG: &str = "submit";
/// A delay that no run reaches.
const LONG_DELAY_MS: u64 = 48 * 3_600_000;
/// One that most lives reach.
const SHORT_DELAY_MS: u64 = 200;

/// One submit: one or more groups, all or none of which are there.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    parts: Vec<Part>,
}

/// The jobs of one group.
#[derive(Clone, Debug)]
struct Part {
    queue: &'static str,
    priority: u32,
    start: Start,
    sizes: Vec<u32>,
}

/// What one job of a plan must look like.
pub(crate) struct Expected {
    pub(crate) queue: &'static str,
    pub(crate) priority: u32,
    /// Whether it never becomes ready.
    pub(crate) waits: bool,
    pub(crate) body: Bytes,
}

/// In a seed: each submit has one queue, as it must where there are shards.
const ONE_QUEUE: u64 = 1 << 63;

/// The seed of a world with shards, or without.
pub(crate) fn seed(number: u64, has_shards: bool) -> u64 {
    if has_shards { number | ONE_QUEUE } else { number & !ONE_QUEUE }
}

pub(crate) fn has_shards(seed: u64) -> bool {
    seed & ONE_QUEUE != 0
}

impl Plan {
    pub(crate) fn of(seed: u64, number: u64) -> Plan {
        let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (groups, most) = match rng.u8(..100) {
            0..50 => (1, 1),
            50..75 => (1, 20),
            75..97 => (rng.usize(2..=4), 6),
            // A record of the log that is larger than a file of it.
            _ => (2, 150),
        };
        let mut parts: Vec<_> = (0..groups).map(|_| Part::random(&mut rng, most)).collect();
        if has_shards(seed) {
            let queue = parts[0].queue;
            parts.iter_mut().for_each(|part| part.queue = queue);
        }
        Plan { number, parts }
    }

    pub(crate) fn jobs(&self) -> u64 {
        self.parts.iter().map(|part| part.sizes.len() as u64).sum()
    }

    pub(crate) fn groups(&self) -> Vec<SubmitGroup> {
        let mut at = 0;
        let group = |part: &Part| {
            let options = JobOptions {
                queue: part.queue.into(),
                priority: Some(part.priority),
                start: part.start,
                attempts: Some(ATTEMPTS),
                tags: vec![(TAG.into(), self.number.to_string())],
                ..JobOptions::default()
            };
            let body = |size: &u32| {
                at += 1;
                body(self.number, at - 1, *size)
            };
            SubmitGroup { options, bodies: part.sizes.iter().map(body).collect() }
        };
        self.parts.iter().map(group).collect()
    }

    /// Whether the job at a place is not due for days.
    pub(crate) fn waits(&self, place: u64) -> bool {
        self.part(place).is_some_and(|(part, _)| part.start == Start::After(LONG_DELAY_MS))
    }

    fn part(&self, place: u64) -> Option<(&Part, u32)> {
        let mut before = 0;
        for part in &self.parts {
            if let Some(size) = part.sizes.get((place - before) as usize) {
                return Some((part, *size));
            }
            before += part.sizes.len() as u64;
        }
        None
    }

    /// The job at a place of the submit.
    pub(crate) fn expected(&self, place: u64) -> Option<Expected> {
        let (part, size) = self.part(place)?;
        Some(Expected {
            queue: part.queue,
            priority: part.priority,
            waits: part.start == Start::After(LONG_DELAY_MS),
            body: body(self.number, place, size),
        })
    }
}

impl Part {
    fn random(rng: &mut Rng, most: usize) -> Part {
        let start = match rng.u8(..20) {
            0 => Start::After(LONG_DELAY_MS),
            1 | 2 => Start::After(SHORT_DELAY_MS),
            _ => Start::Now,
        };
        let size = |rng: &mut Rng| match rng.u8(..100) {
            0..8 => 0,
            8..55 => rng.u32(1..200),
            55..90 => rng.u32(200..4_000),
            90..97 => rng.u32(4_000..20_000),
            _ => rng.u32(20_000..=65_536),
        };
        let count = rng.usize(1..=most);
        Part {
            queue: QUEUES[rng.usize(..QUEUES.len())],
            priority: rng.u32(..3),
            start,
            sizes: (0..count).map(|_| size(rng)).collect(),
        }
    }
}

/// Bytes that no other job has.
fn body(number: u64, place: u64, size: u32) -> Bytes {
    let mut rng = Rng::with_seed(number << 20 ^ place);
    let mut bytes = vec![0; size as usize];
    rng.fill(&mut bytes);
    bytes.into()
}

/// The submit that a job's tags name.
pub(crate) fn submit_of(tags: &[(String, String)]) -> Option<u64> {
    tags.iter().find(|(name, _)| name == TAG)?.1.parse().ok()
}
