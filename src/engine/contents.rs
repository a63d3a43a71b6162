//! What comes with new jobs and no decision depends on: bodies and envelopes, which are stored beside them.

use crate::core::{JobId, Receipt};
use crate::store::Blob;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::ops::Range;

/// Of the jobs of one submit, in their order.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// One body a job. Most submits have one.
    pub(super) bodies: SmallVec<[Bytes; 1]>,
    /// The envelopes of those that have one (their specs say so), and which: by their place, in order.
    pub(super) envelopes: Vec<(Range<usize>, Bytes)>,
}

impl Contents {
    /// For so many jobs.
    pub fn with_capacity(jobs: usize) -> Contents {
        Contents { bodies: SmallVec::with_capacity(jobs), envelopes: Vec::new() }
    }

    /// About how many bytes it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let envelopes = self.envelopes.iter().map(|(_, envelope)| envelope);
        self.bodies.iter().chain(envelopes).map(|blob| blob.len() + size_of::<Bytes>()).sum()
    }

    /// The same with memory of its own: it may be part of what a connection has read.
    pub(super) fn detached(&self) -> Contents {
        let own =
            |(places, envelope): &(Range<usize>, Bytes)| (places.clone(), Bytes::copy_from_slice(envelope));
        Contents {
            bodies: self.bodies.iter().map(|body| Bytes::copy_from_slice(body)).collect(),
            envelopes: self.envelopes.iter().map(own).collect(),
        }
    }

    /// Of jobs with the same envelope, if any.
    pub fn of(envelope: Option<Bytes>, bodies: impl IntoIterator<Item = Bytes>) -> Contents {
        let mut contents = Contents::default();
        contents.add(envelope, bodies);
        contents
    }

    /// Adds jobs with the same envelope, if any.
    pub fn add(&mut self, envelope: Option<Bytes>, bodies: impl IntoIterator<Item = Bytes>) {
        let before = self.bodies.len();
        self.bodies.extend(bodies);
        if let Some(envelope) = envelope
            && before < self.bodies.len()
        {
            self.envelopes.push((before..self.bodies.len(), envelope));
        }
    }

    /// How many jobs.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Those at some places, which have the same envelope, if any.
    pub fn part(&self, places: Range<usize>) -> (Option<Bytes>, Vec<Bytes>) {
        let envelope = self.envelopes.iter().find(|(with, _)| with.contains(&places.start));
        (envelope.map(|(_, envelope)| envelope.clone()), self.bodies[places].to_vec())
    }

    /// Leaves those jobs out that are not new.
    pub(super) fn retain_new(&mut self, receipts: &[Receipt]) {
        let is_new = |receipt: &Receipt| matches!(receipt, Receipt::New(_));
        let mut place = 0;
        self.bodies.retain(|_| {
            place += 1;
            is_new(&receipts[place - 1])
        });
        // The place that each would have among the new ones: how many of those come before it.
        let mut before = 0;
        let mut moved = Vec::with_capacity(receipts.len() + 1);
        for receipt in receipts {
            moved.push(before);
            before += usize::from(is_new(receipt));
        }
        moved.push(before);
        self.envelopes.retain_mut(|(places, _)| {
            *places = moved[places.start]..moved[places.end];
            places.start < places.end
        });
    }
}

/// What jobs that are there already get in a turn, in the order of its events: bodies in the place of others, or what is
/// attached to them.
#[derive(Debug, Default)]
pub(super) struct LateBlobs {
    blobs: Vec<Bytes>,
    /// Where the newest one of each job is.
    newest: HashMap<(Blob, JobId), usize>,
}

impl LateBlobs {
    /// Adds one.
    pub(super) fn push(&mut self, kind: Blob, id: JobId, blob: Bytes) {
        self.newest.insert((kind, id), self.blobs.len());
        self.blobs.push(blob);
    }

    /// The newest one of a job, if it has one.
    pub(super) fn get(&self, kind: Blob, id: JobId) -> Option<&Bytes> {
        if self.blobs.is_empty() { None } else { self.blobs.get(*self.newest.get(&(kind, id))?) }
    }

    /// All of them, for the commit.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.newest.clear();
        std::mem::take(&mut self.blobs)
    }
}

impl<T: Into<SmallVec<[Bytes; 1]>>> From<T> for Contents {
    fn from(bodies: T) -> Contents {
        Contents { bodies: bodies.into(), envelopes: Vec::new() }
    }
}
