//! Which jobs belong to traces: their tags say it, and are looked at where they are at hand, if anybody wants to know.

use super::Engine;
use crate::core::{Grant, IdRange};
use crate::spans::{Span, Spans};
use crate::store::{Envelope, Store};
use crate::traceparent::{self, Traceparent};

impl<S: Store> Engine<S> {
    /// From now on what happens to jobs that belong to traces is kept for [`Engine::take_spans`]. `seed`: a random number.
    pub fn record_spans(&mut self, seed: u64) {
        self.traces = Some(Box::new(Spans::new(seed)));
    }

    /// What has happened since the last call.
    pub fn take_spans(&mut self) -> Vec<Span> {
        self.traces.as_mut().map(|spans| spans.take()).unwrap_or_default()
    }

    /// What has become of spans that were taken.
    pub fn note_spans(&mut self, sent: u64, lost: u64) {
        if let Some(spans) = &mut self.traces {
            spans.note(sent, lost);
        }
    }

    /// How many spans were sent, and how many lost.
    pub fn spans_sent_and_lost(&self) -> (u64, u64) {
        self.traces.as_ref().map(|spans| spans.sent_and_lost()).unwrap_or_default()
    }

    /// A job is handed out.
    pub(super) fn trace_claim(&mut self, grant: &Grant, envelope: Option<&Envelope>) {
        if let (Some(spans), Some(envelope)) = (&mut self.traces, envelope) {
            spans.belongs_to(grant.id, &grant.spec.queue, place(envelope));
        }
    }

    /// New jobs have this envelope.
    pub(super) fn trace_submit(&mut self, jobs: IdRange, envelope: &[u8]) {
        let Some(spans) = &mut self.traces else { return };
        // It was encoded by this daemon; if not, a claim says so.
        let envelope = Envelope::decode(envelope).ok();
        if let Some(place) = envelope.as_ref().and_then(place)
            && let Some(job) = self.core.state.job(jobs.first)
        {
            spans.submitted(jobs, &job.spec.queue, place, self.now);
        }
    }

    /// A turn has made a commit, which took so many microseconds.
    pub(super) fn trace_commit(&mut self, micros: u64) {
        if let Some(spans) = &mut self.traces {
            spans.committed(self.now, micros);
        }
    }
}

fn place(envelope: &Envelope) -> Option<Traceparent> {
    let tag = envelope.tags().iter().find(|(name, _)| &**name == traceparent::NAME);
    tag.and_then(|(_, value)| Traceparent::read(value))
}
