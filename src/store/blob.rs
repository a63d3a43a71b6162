//! What is stored with a job besides its state: bytes that the core never sees, at most one blob of each kind.

use std::fmt;
use std::ops::{Index, IndexMut};

/// A kind of blob. Each has a list in commits, and a tree in the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blob {
    /// What the producer sent. Every job has one.
    Body,
    /// What only people and workers read of a job: see [`Envelope`](super::Envelope). Few have one; the job's
    /// [`Spec`](crate::core::Spec) says whether it does.
    Envelope,
}

impl Blob {
    /// Every kind.
    pub(crate) const ALL: [Blob; 2] = [Blob::Body, Blob::Envelope];

    /// The name of its tree.
    pub(crate) fn tree(self) -> &'static str {
        match self {
            Blob::Body => "bodies",
            Blob::Envelope => "envelopes",
        }
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Blob::Body => "body",
            Blob::Envelope => "envelope",
        })
    }
}

/// One value for each kind of blob.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ByKind<T> {
    body: T,
    envelope: T,
}

impl<T> ByKind<T> {
    /// Made for each kind.
    pub(crate) fn of(mut make: impl FnMut(Blob) -> T) -> ByKind<T> {
        ByKind { body: make(Blob::Body), envelope: make(Blob::Envelope) }
    }

    /// The same for each kind, or the first error.
    pub(crate) fn try_of<E>(mut make: impl FnMut(Blob) -> Result<T, E>) -> Result<ByKind<T>, E> {
        Ok(ByKind { body: make(Blob::Body)?, envelope: make(Blob::Envelope)? })
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
        }
    }
}

impl<T> IndexMut<Blob> for ByKind<T> {
    fn index_mut(&mut self, kind: Blob) -> &mut T {
        match kind {
            Blob::Body => &mut self.body,
            Blob::Envelope => &mut self.envelope,
        }
    }
}
