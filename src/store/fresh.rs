//! Bodies that are in the log but not yet in the home. Ids are dense, so a body is found by its distance from the
//! first. Knows nothing of when they are stored.

use crate::core::{IdRange, JobId};
use bytes::Bytes;
use std::collections::VecDeque;

/// The bodies, by id.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    first: u64,
    bodies: VecDeque<Option<Bytes>>,
}

impl Fresh {
    /// Adds the body of a job with a greater id than any before.
    pub(crate) fn push(&mut self, id: JobId, body: Bytes) {
        if self.bodies.is_empty() {
            self.first = id.0;
        }
        let place = id.0.checked_sub(self.first).filter(|place| *place >= self.bodies.len() as u64);
        let place = place.expect("ids of new jobs rise");
        self.bodies.resize(place as usize, None);
        self.bodies.push_back(Some(body));
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Bytes> {
        let place = id.0.checked_sub(self.first)?;
        self.bodies.get(usize::try_from(place).ok()?)?.as_ref()
    }

    /// Forgets those of a range that are there.
    pub(crate) fn remove(&mut self, range: IdRange) {
        let end = self.first + self.bodies.len() as u64;
        let (from, to) = (range.first.0.max(self.first), range.end().0.min(end));
        for id in from..to {
            self.bodies[(id - self.first) as usize] = None;
        }
        while let Some(None) = self.bodies.front() {
            self.bodies.pop_front();
            self.first += 1;
        }
        // A burst must not hold its memory for ever.
        if self.bodies.is_empty() && self.bodies.capacity() > 1 << 16 {
            self.bodies = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_and_go_in_any_order() {
        let mut fresh = Fresh::default();
        for id in [5, 6, 9] {
            fresh.push(JobId(id), id.to_string().into());
        }
        let there = |fresh: &Fresh| (0..12).filter(|id| fresh.get(JobId(*id)).is_some()).collect::<Vec<_>>();
        assert_eq!(there(&fresh), [5, 6, 9]);
        fresh.remove(JobId(6).into());
        fresh.remove(IdRange::new(JobId(1), 2));
        assert_eq!(there(&fresh), [5, 9]);
        fresh.remove(IdRange::new(JobId(1), 5));
        assert_eq!((there(&fresh), fresh.bodies.len()), (vec![9], 1));
        fresh.remove(IdRange::new(JobId(1), 50));
        fresh.push(JobId(77), Bytes::new());
        assert_eq!((fresh.bodies.len(), fresh.get(JobId(77))), (1, Some(&Bytes::new())));
    }
}
