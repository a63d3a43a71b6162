//! Checkpoints, results and signals: what is stored beside jobs, in the commit of the decision that takes them.

use super::{Answer, Engine, Origin, Refusal, finished};
use crate::core::{
    Beside, Command, Event, JobId, LeaseId, Outcome, SignalName, Signals, Time, Verdict, Visibility,
};
use crate::store::{Blob, BlobError, Store, decode_signals, encode_signals};
use bytes::Bytes;
use std::time::Duration;

impl<S: Store> Engine<S> {
    /// Stores a checkpoint of a leased job, in the place of the one before, and lets its lease last longer. As settles do, it
    /// goes on while there is no room for new jobs.
    pub fn checkpoint(
        &mut self,
        origin: Origin,
        lease: LeaseId,
        (checkpoint, extend): (Bytes, Option<Duration>),
        visibility: Visibility<'_>,
        now: Time,
    ) {
        let outcome = self.decide_for(visibility, &Command::Checkpoint { lease, extend }, now);
        if let Ok(Outcome::Extended(results)) = &outcome
            && results.iter().all(Result::is_ok)
        {
            self.attach(Blob::Checkpoint, lease.id, checkpoint);
        }
        self.answer(origin, finished(outcome));
    }

    /// Ends leases, some of them with results, by their place in the list and in its order. A result is kept with a job that
    /// is done by that, as long as the job is kept.
    pub fn settle_with_results(
        &mut self,
        origin: Origin,
        items: Vec<(LeaseId, Verdict)>,
        results: Vec<(usize, Bytes)>,
        visibility: Visibility<'_>,
        now: Time,
    ) {
        if results.is_empty() {
            return self.settle(origin, items, visibility, now);
        }
        let (mut settled, mut rest) = (Vec::with_capacity(items.len()), items.into_iter());
        let mut decide =
            |engine: &mut Self, command: &Command| match engine.decide_for(visibility, command, now) {
                Ok(Outcome::Settled(results)) => settled.extend(results),
                other => debug_assert!(false, "settles are judged one by one: {other:?}"),
            };
        let mut from = 0;
        for (place, result) in results {
            let before: Vec<_> = rest.by_ref().take(place - from).collect();
            if !before.is_empty() {
                decide(self, &Command::Settle { items: before });
            }
            let Some((lease, verdict)) = rest.next() else { break };
            from = place + 1;
            let events = self.notes.events.len();
            decide(self, &Command::SettleWithResult { lease, verdict });
            let attached = Event::Attached { job: lease.id.into(), what: Beside::Result };
            if self.notes.events.get(events..).is_some_and(|new| new.contains(&attached)) {
                self.attach(Blob::Result, lease.id, result);
            }
        }
        let after: Vec<_> = rest.collect();
        if !after.is_empty() {
            decide(self, &Command::Settle { items: after });
        }
        self.answer(origin, Answer::Settled(settled));
    }

    /// A signal comes for a job. What it says is stored with that of the others that the job has not done with: it goes on while
    /// there is no room for new jobs.
    pub fn signal(
        &mut self,
        origin: Origin,
        id: JobId,
        (signal, body): (SignalName, Bytes),
        visibility: Visibility<'_>,
        now: Time,
    ) {
        let answer = match self.signals_of(id) {
            Err(error) => Answer::Refused(error.into()),
            Ok(mut bodies) => {
                let outcome = self.decide_for(visibility, &Command::Signal { id, signal }, now);
                if outcome.is_ok()
                    && let Some(signals) = self.core.state.job(id).and_then(|job| job.signals())
                {
                    bodies.retain(|(no, _)| signals.of_use().any(|signal| signal.no == *no));
                    bodies.push((signals.count, body));
                    self.attach(Blob::Signals, id, encode_signals(&bodies));
                }
                finished(outcome)
            }
        };
        self.answer(origin, answer);
    }

    /// What the signals of a job say, by their numbers.
    fn signals_of(&mut self, id: JobId) -> Result<Vec<(u32, Bytes)>, BlobError> {
        if !self.core.state.job(id).is_some_and(|job| job.has(Beside::Signals)) {
            return Ok(Vec::with_capacity(1));
        }
        let kind = Blob::Signals;
        let blob = self.find(kind, id)?;
        decode_signals(&blob).map_err(|error| BlobError::Damaged { kind, id, detail: error.to_string() })
    }

    /// What the signal says that a job goes on with.
    pub(super) fn signal_body(&mut self, id: JobId, no: u32) -> Result<Bytes, BlobError> {
        let found = self.signals_of(id)?.into_iter().find(|(other, _)| *other == no);
        let lost = || BlobError::Damaged {
            kind: Blob::Signals,
            id,
            detail: format!("signal {no} of at most {} is not among them", Signals::KEPT_MAX + 1),
        };
        found.map(|(_, body)| body).ok_or_else(lost)
    }

    /// It has an event now, and the commit a blob for it.
    fn attach(&mut self, kind: Blob, id: JobId, blob: Bytes) {
        self.content_bytes += blob.len();
        self.attached.push(kind, id, blob);
    }

    /// Reads what a job has beside it.
    pub fn beside(&mut self, origin: Origin, id: JobId, what: Beside) {
        let found = self.core.state.job(id).map(|job| (job.has(what), job.kind()));
        let answer = match found {
            None => Answer::Refused(Refusal::NotFound(id)),
            Some((false, state)) => Answer::Refused(Refusal::NothingBeside { id, what, state }),
            Some((true, _)) => {
                let found = self.find(what.into(), id).map(|blob| Bytes::copy_from_slice(&blob));
                found.map_or_else(|error| Answer::Refused(error.into()), Answer::Body)
            }
        };
        self.answer(origin, answer);
    }
}
