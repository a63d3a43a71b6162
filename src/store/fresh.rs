//! The bodies that are not at home yet: those of the newest jobs, as slices of what was read from the sockets. Ids
//! are consecutive, so this is a row of slots.

use crate::core::{IdRange, JobId};
use bytes::Bytes;
use std::collections::VecDeque;

/// Bodies by job.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    first: u64,
    slots: VecDeque<Option<Bytes>>,
    bytes: u64,
}

impl Fresh {
    /// Adds the body of the newest job.
    pub(super) fn push(&mut self, id: JobId, body: Bytes) {
        if self.slots.is_empty() {
            self.first = id.0;
        }
        // Ids that recovery passes over leave empty slots.
        while self.first + (self.slots.len() as u64) < id.0 {
            self.slots.push_back(None);
        }
        debug_assert_eq!(
            self.first + self.slots.len() as u64,
            id.0,
            "bodies come in the order of their jobs"
        );
        self.bytes += body.len() as u64;
        self.slots.push_back(Some(body));
    }

    /// The body, if it is here.
    pub(super) fn get(&self, id: JobId) -> Option<&Bytes> {
        self.slots.get(id.0.checked_sub(self.first)? as usize)?.as_ref()
    }

    /// Lets the bodies of these jobs go.
    pub(super) fn drop_range(&mut self, range: IdRange) {
        let held = IdRange { first: JobId(self.first), len: self.slots.len() as u64 };
        if held.len == 0 {
            return;
        }
        let Some(range) = range.overlap(held) else { return };
        for id in range.iter() {
            if let Some(body) = self.slots[(id.0 - self.first) as usize].take() {
                self.bytes -= body.len() as u64;
            }
        }
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.is_empty() {
            self.slots.shrink_to(1 << 16);
        }
    }

    /// How many bytes of bodies are held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_go_one_by_one_and_slots_with_them() {
        let mut fresh = Fresh::default();
        for n in 5..10 {
            fresh.push(JobId(n), Bytes::from(vec![n as u8; 10]));
        }
        fresh.drop_range(JobId(6).into());
        assert_eq!((fresh.get(JobId(6)), fresh.bytes()), (None, 40));
        fresh.drop_range(IdRange::new(JobId(1), 5));
        assert_eq!((fresh.slots.len(), fresh.first), (3, 7));
        fresh.drop_range(IdRange::new(JobId(1), 100));
        assert_eq!((fresh.slots.len(), fresh.bytes()), (0, 0));
        fresh.push(JobId(20), Bytes::from_static(b"x"));
        assert_eq!(fresh.get(JobId(20)).unwrap(), "x");
    }
}
