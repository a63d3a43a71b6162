//! Reads what is stored of jobs: what has come with those that are new in this turn, or what the store has.

use super::{Answer, Engine, Origin, Refusal};
use crate::core::JobId;
use crate::store::{Blob, BlobError, BlobReads, Envelope, Store};
use bytes::Bytes;

impl<S: Store> Engine<S> {
    /// Reads a job's body.
    pub fn body(&mut self, origin: Origin, id: JobId) {
        let answer = match self.core.state.contains(id) {
            true => self.own_body(id).map_or_else(|error| Answer::Refused(error.into()), Answer::Body),
            false => Answer::Refused(Refusal::NotFound(id)),
        };
        self.answer(origin, answer);
    }

    /// The body of a known job, for a look at it that nothing depends on; `None` if it cannot be read just now.
    pub fn peek_body(&mut self, id: JobId) -> Option<Bytes> {
        self.find(Blob::Body, id).ok()
    }

    /// The envelope of a known job that has one, in the same way.
    pub fn peek_envelope(&mut self, id: JobId) -> Option<Envelope> {
        self.envelope(id).ok()
    }

    /// Those of many jobs, to be read on another thread.
    pub fn envelopes(&self, ids: Vec<JobId>) -> BlobReads {
        let first = self.core.state.next_id().0 - self.bodies.len() as u64;
        let new = ids.iter().filter_map(|id| {
            let nth = id.0.checked_sub(first)?;
            Some((*id, self.envelopes.get(nth as usize)?.clone()))
        });
        let new: Vec<_> = new.collect();
        self.store.blobs(Blob::Envelope, ids).with(new)
    }

    /// A body that may be kept for long: one of this very turn is a slice of the request that it came with, and would
    /// keep all of that.
    fn own_body(&mut self, id: JobId) -> Result<Bytes, BlobError> {
        let is_new = id.0 + self.bodies.len() as u64 >= self.core.state.next_id().0;
        self.find(Blob::Body, id).map(|body| if is_new { Bytes::copy_from_slice(&body) } else { body })
    }

    /// The envelope of a job that has one.
    pub(super) fn envelope(&mut self, id: JobId) -> Result<Envelope, BlobError> {
        let kind = Blob::Envelope;
        let bytes = self.find(kind, id)?;
        Envelope::decode(&bytes).map_err(|error| BlobError::Damaged { kind, id, detail: error.to_string() })
    }

    /// What is stored of a job: of this very turn, or from the store.
    pub(super) fn find(&mut self, kind: Blob, id: JobId) -> Result<Bytes, BlobError> {
        let first = self.core.state.next_id().0 - self.bodies.len() as u64;
        let new = match kind {
            Blob::Body => &self.bodies,
            Blob::Envelope => &self.envelopes,
        };
        match id.0.checked_sub(first) {
            Some(nth) => new.get(nth as usize).cloned().ok_or(BlobError::Missing { kind, id }),
            None => self.store.blob(kind, id),
        }
    }
}
