//! A commit and its number. Knows events and bodies, not where they are kept.

use super::blob::Blob;
use crate::core::{Event, Time};
use bytes::Bytes;

/// The number of a commit, from 1. 0 is the state before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo(pub u64);

impl CommitNo {
    /// The number that follows.
    pub fn next(self) -> CommitNo {
        CommitNo(self.0 + 1)
    }
}

/// The events of many commands, made durable together: all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// When it was decided. Never earlier than the commit before it.
    pub time: Time,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The bodies of all jobs submitted in it, in the order of their ids (which are consecutive in a commit).
    pub bodies: Vec<Bytes>,
    /// The same of their envelopes, an empty one for a job that has none; or nothing, if no job has one.
    pub envelopes: Vec<Bytes>,
}

impl Commit {
    /// The blobs of a kind.
    pub(crate) fn blobs(&self, kind: Blob) -> &[Bytes] {
        match kind {
            Blob::Body => &self.bodies,
            Blob::Envelope => &self.envelopes,
        }
    }
}
