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
        let new: Vec<_> =
            ids.iter().filter_map(|id| Some((*id, self.new_blob(Blob::Envelope, *id)?))).collect();
        self.store.blobs(Blob::Envelope, ids).with(new)
    }

    /// A body that may be kept for long: one of this very turn is a slice of the request that it came with, and would
    /// keep all of that.
    fn own_body(&mut self, id: JobId) -> Result<Bytes, BlobError> {
        match self.new_blob(Blob::Body, id) {
            Some(body) => Ok(Bytes::copy_from_slice(&body)),
            None => self.find(Blob::Body, id),
        }
    }

    /// The envelope of a job that has one.
    pub(super) fn envelope(&mut self, id: JobId) -> Result<Envelope, BlobError> {
        let kind = Blob::Envelope;
        let bytes = self.find(kind, id)?;
        Envelope::decode(&bytes).map_err(|error| BlobError::Damaged { kind, id, detail: error.to_string() })
    }

    /// What is stored of a job: of this very turn, or from the store.
    pub(super) fn find(&mut self, kind: Blob, id: JobId) -> Result<Bytes, BlobError> {
        self.new_blob(kind, id).map_or_else(|| self.store.blob(kind, id), Ok)
    }

    /// What has come in this turn with a job.
    fn new_blob(&self, kind: Blob, id: JobId) -> Option<Bytes> {
        match kind {
            Blob::Body => {
                if let Some(body) = self.replaced.get(kind, id) {
                    return Some(body.clone());
                }
                let mut before = 0;
                for range in self.new_ids.ranges() {
                    if range.contains(id) {
                        return self.bodies.get((before + id.0 - range.first.0) as usize).cloned();
                    }
                    before += range.len;
                }
                None
            }
            Blob::Envelope => {
                let at = self.envelopes.partition_point(|(jobs, _)| jobs.end() <= id);
                let (jobs, envelope) = self.envelopes.get(at)?;
                (jobs.first <= id).then(|| envelope.clone())
            }
            Blob::Checkpoint | Blob::Result | Blob::Signals => self.attached.get(kind, id).cloned(),
        }
    }
}
