//! What is stored with a job besides its state: bytes that the core never sees, at most one blob of each kind.

use crate::core::{Beside, Job};
use std::fmt;
use std::ops::{Index, IndexMut};

/// A kind of blob. Each has a list in commits, and a tree in the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blob {
    /// What the producer sent. Every job has one.
    Body,
    /// What only people and workers read of a job: see [`Envelope`](super::Envelope). Few have one; the job's
    /// [`Spec`](crate::core::Spec) says whether it does.
    Envelope,
    /// How far its worker has come, for the next attempt. Few have one; the job says whether it does, and gets another one now
    /// and then.
    Checkpoint,
    /// What a job that is done has come to. Few have one; the job says whether it does.
    Result,
    /// What the signals say that have come for a job. Few have any; the job says whether it does.
    Signals,
}

impl From<Beside> for Blob {
    fn from(what: Beside) -> Blob {
        match what {
            Beside::Checkpoint => Blob::Checkpoint,
            Beside::Result => Blob::Result,
            Beside::Signals => Blob::Signals,
        }
    }
}

impl Blob {
    /// Every kind.
    pub(crate) const ALL: [Blob; 5] =
        [Blob::Body, Blob::Envelope, Blob::Checkpoint, Blob::Result, Blob::Signals];

    /// Those that come to a job while it lives, and go.
    pub(crate) const BESIDE: [Blob; 3] = [Blob::Checkpoint, Blob::Result, Blob::Signals];

    /// The name of its tree.
    pub(crate) fn tree(self) -> &'static str {
        match self {
            Blob::Body => "bodies",
            Blob::Envelope => "envelopes",
            Blob::Checkpoint => "checkpoints",
            Blob::Result => "results",
            Blob::Signals => "signals",
        }
    }

    /// Whether a job has one of this kind.
    pub(crate) fn is_of(self, job: &Job) -> bool {
        match self {
            Blob::Body => true,
            Blob::Envelope => job.spec.has_envelope,
            Blob::Checkpoint => job.has(Beside::Checkpoint),
            Blob::Result => job.has(Beside::Result),
            Blob::Signals => job.has(Beside::Signals),
        }
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blob::Body => "body",
            Blob::Envelope => "envelope",
            Blob::Checkpoint => "checkpoint",
            Blob::Result => "result",
            Blob::Signals => "record of signals",
        })
    }
}

/// One value for each kind of blob.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ByKind<T> {
    body: T,
    envelope: T,
    checkpoint: T,
    result: T,
    signals: T,
}

impl<T> ByKind<T> {
    /// Made for each kind.
    pub(crate) fn of(mut make: impl FnMut(Blob) -> T) -> ByKind<T> {
        ByKind {
            body: make(Blob::Body),
            envelope: make(Blob::Envelope),
            checkpoint: make(Blob::Checkpoint),
            result: make(Blob::Result),
            signals: make(Blob::Signals),
        }
    }

    /// The same for each kind, or the first error.
    pub(crate) fn try_of<E>(mut make: impl FnMut(Blob) -> Result<T, E>) -> Result<ByKind<T>, E> {
        Ok(ByKind {
            body: make(Blob::Body)?,
            envelope: make(Blob::Envelope)?,
            checkpoint: make(Blob::Checkpoint)?,
            result: make(Blob::Result)?,
            signals: make(Blob::Signals)?,
        })
    }

    /// Each with its kind.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Blob, &T)> {
        Blob::ALL.into_iter().map(|kind| (kind, &self[kind]))
    }
}

impl<T> Index<Blob> for ByKind<T> {
    type Output = T;

    fn index(&self, kind: Blob) -> &T {
        match kind {
            Blob::Body => &self.body,
            Blob::Envelope => &self.envelope,
            Blob::Checkpoint => &self.checkpoint,
            Blob::Result => &self.result,
            Blob::Signals => &self.signals,
        }
    }
}

impl<T> IndexMut<Blob> for ByKind<T> {
    fn index_mut(&mut self, kind: Blob) -> &mut T {
        match kind {
            Blob::Body => &mut self.body,
            Blob::Envelope => &mut self.envelope,
            Blob::Checkpoint => &mut self.checkpoint,
            Blob::Result => &mut self.result,
            Blob::Signals => &mut self.signals,
        }
    }
}
