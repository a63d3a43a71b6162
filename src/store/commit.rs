//! A commit and its number. Knows events and bodies, not where they are kept.

use crate::core::{Event, IdRange, Time};
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

/// Where in a replicated log a home stands: from there on a node reads, and passes over what its home has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamMark {
    /// When the stream was made (nanoseconds since 1970): what tells it from another one of the same name.
    pub(crate) created: u64,
    /// The newest record before that place.
    pub(crate) seq: u64,
    /// The epoch that was under way there.
    pub(crate) epoch: u64,
    /// The newest commit there: never later than the home.
    pub(crate) number: CommitNo,
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
    /// The bodies that take the place of others, in the order of their events.
    pub replaced: Vec<Bytes>,
    /// The envelopes of those of them that have one, each with the jobs that have it, in the order of their ids.
    pub envelopes: Vec<(IdRange, Bytes)>,
    /// The checkpoints and results that jobs get, in the order of their events.
    pub attached: Vec<Bytes>,
}
