//! Submits: one request, or several of a connection that ask for the same and are decided as one.

use super::{Answer, Contents, Engine, Origin, Refusal, finished};
use crate::core::{
    Command, Group, Groups, IdRange, Ids, JobId, LeaseId, Outcome, Receipt, Rejection, RequestKey, Size,
    Time, Visibility,
};
use crate::store::{Blob, Room, Store};
use bytes::Bytes;
use smallvec::smallvec;

/// What a submit asks for besides its jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitOptions {
    /// The ends of its jobs, which are waited for until then: the second answer. However quick a worker is, none is missed.
    pub ends: Option<Time>,
    /// That it is done only once: if it was done before, the answer is that of the first time.
    pub once: Option<RequestKey>,
    /// That the job under this lease, which its sender may end, is completed with it: both or neither.
    pub completes: Option<LeaseId>,
}

impl<S: Store> Engine<S> {
    /// Enqueues jobs, with the contents of all groups, one after the other. What holds their unique keys is changed if `visibility`
    /// has it. Returns what it has no more use for: to drop
    /// very many groups takes long, and need not be done here.
    pub fn submit(
        &mut self,
        origin: Origin,
        groups: impl Into<Groups>,
        contents: impl Into<Contents>,
        visibility: Visibility<'_>,
        now: Time,
    ) -> (Groups, Contents) {
        let options = SubmitOptions::default();
        self.submit_with(options, origin, (groups.into(), contents.into()), visibility, now)
    }

    /// The same with options.
    pub fn submit_with(
        &mut self,
        options: SubmitOptions,
        origin: Origin,
        (groups, mut contents): (Groups, Contents),
        visibility: Visibility<'_>,
        now: Time,
    ) -> (Groups, Contents) {
        debug_assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), contents.bodies.len() as u64);
        if options.ends.is_some() && self.too_many_wait(origin, contents.bodies.len()) {
            return (groups, contents);
        }
        // One that was done before takes none.
        let is_known =
            options.once.is_some_and(|request| self.core.remembers(request.key, self.now.max(now)));
        let room = self.store.room();
        if room != Room::Enough && !is_known {
            self.answer(origin, Answer::Refused(Refusal::NoRoom(room)));
            return (groups, contents);
        }
        let (groups, decided) = match self.is_behind(&groups).filter(|_| !is_known) {
            Some(refusal) => (groups, Err(refusal)),
            None => self.decide_submit((groups, options), &mut contents, visibility, now),
        };
        let answer = match decided {
            Ok(answer) => answer,
            Err(refusal) => match self.park(origin, &groups, &contents, (options, now), &refusal) {
                true => return (groups, contents),
                false => Answer::Refused(refusal.into()),
            },
        };
        self.answer_submit(origin, answer, options.ends, now);
        (groups, contents)
    }

    /// Decides a submit, and keeps the contents of the jobs that are taken.
    pub(super) fn decide_submit(
        &mut self,
        (groups, options): (Groups, SubmitOptions),
        contents: &mut Contents,
        visibility: Visibility<'_>,
        now: Time,
    ) -> (Groups, Result<Answer, Rejection>) {
        let mut groups = self.measured(groups, contents);
        self.core.share_options(&mut groups);
        let command = match (options.completes, options.once) {
            (None, None) => Command::Submit { groups },
            (None, Some(request)) => Command::SubmitOnce { groups, request },
            (Some(lease), request) => Command::CompleteAndSubmit { lease, groups, request },
        };
        let outcome = self.decide_for(visibility, &command, now);
        let (Command::Submit { groups }
        | Command::SubmitOnce { groups, .. }
        | Command::CompleteAndSubmit { groups, .. }) = command
        else {
            unreachable!("it is one of these commands")
        };
        let answer = outcome.map(|outcome| match outcome {
            Outcome::Submitted(ids) => {
                self.keep(ids.first, contents);
                Answer::Submitted(ids)
            }
            Outcome::Received(receipts) => {
                for (receipt, body) in receipts.iter().zip(&contents.bodies) {
                    if let Receipt::Replaced(id) = receipt {
                        self.content_bytes += body.len();
                        self.replaced.push(Blob::Body, *id, body.clone());
                    }
                }
                contents.retain_new(&receipts);
                let first = receipts.iter().find(|receipt| matches!(receipt, Receipt::New(_)));
                if let Some(first) = first {
                    self.keep(first.id(), contents);
                }
                Answer::Received(receipts)
            }
            other => finished(Ok(other)),
        });
        (groups, answer)
    }

    /// The same groups, with the sizes of their bodies where these are counted: jobs of different sizes are not alike.
    fn measured(&self, groups: Groups, contents: &Contents) -> Groups {
        let counts = |group: &Group| self.core.counts_bytes_of(&group.spec.queue);
        if !self.core.counts_bytes || !groups.iter().any(counts) {
            return groups;
        }
        let (mut measured, mut bodies) = (Groups::new(), contents.bodies.iter());
        for group in groups {
            let own = bodies.by_ref().take(group.count as usize);
            if !self.core.counts_bytes_of(&group.spec.queue) {
                own.for_each(drop);
                measured.push(group);
                continue;
            }
            for chunk in
                own.map(|body| Size::of(body.len() as u64)).collect::<Vec<_>>().chunk_by(|a, b| a == b)
            {
                measured.push(Group { count: chunk.len() as u64, size: chunk[0], ..group.clone() });
            }
        }
        measured
    }

    /// Answers a submit that was decided. With `ends`, the second answer says how its jobs have ended, at the latest then.
    pub(super) fn answer_submit(&mut self, origin: Origin, answer: Answer, ends: Option<Time>, now: Time) {
        let ids: Option<Vec<JobId>> = match &answer {
            _ if ends.is_none() => None,
            Answer::Submitted(ids) => Some(ids.iter().collect()),
            Answer::Received(receipts) => Some(receipts.iter().map(|receipt| receipt.id()).collect()),
            _ => None,
        };
        self.answer(origin, answer);
        if let Some((ids, until)) = ids.zip(ends) {
            self.wait(origin, ids, |_, _| false, until, now);
        }
    }

    /// The same for requests of one connection that ask for jobs like those of `group`, so many each, with the same
    /// envelope, if any. What one decision grants to all of them is what they would have got one after the other; else
    /// they are decided so.
    pub fn submit_alike(
        &mut self,
        session: u64,
        requests: &[(u32, u64)],
        (group, envelope): (&Group, Option<&Bytes>),
        bodies: impl IntoIterator<Item = Bytes>,
        now: Time,
    ) {
        let mut bodies = bodies.into_iter();
        let of = |count| -> Groups { smallvec![Group { count, ..group.clone() }] };
        let all = requests.iter().map(|(_, count)| count).sum();
        // A request for nothing is refused, and must not hide among others.
        let together = requests.len() > 1 && requests.iter().all(|(_, count)| *count > 0);
        if together
            && !self.core.counts_bytes
            && (self.parked.is_empty() || self.is_behind(&of(1)).is_none())
            && self.store.room() == Room::Enough
            && let Ok(Outcome::Submitted(ids)) = self.decide(&Command::Submit { groups: of(all) }, now)
        {
            self.keep(ids.first, &mut Contents::of(envelope.cloned(), bodies));
            let mut first = ids.first;
            for &(request, count) in requests {
                self.answer(Origin { session, request }, Answer::Submitted(IdRange::new(first, count)));
                first = first.plus(count);
            }
            return;
        }
        for &(request, count) in requests {
            let own = Contents::of(envelope.cloned(), bodies.by_ref().take(count as usize));
            self.submit(Origin { session, request }, of(count), own, Visibility::ALL, now);
        }
    }

    /// Sets the contents of new jobs, from an id on, aside for the commit that is being collected.
    pub(super) fn keep(&mut self, first: JobId, contents: &mut Contents) {
        if !self.notes.not_taken.is_empty() {
            let not_taken = std::mem::take(&mut self.notes.not_taken);
            return self.keep_some(first, contents, &not_taken);
        }
        self.content_bytes += contents.bodies.iter().map(Bytes::len).sum::<usize>();
        let before = self.bodies.len();
        self.bodies.extend(contents.bodies.drain(..));
        if let more @ 1.. = self.bodies.len() - before {
            self.new_ids.push_range(IdRange::new(first, more as u64));
        }
        for (places, envelope) in contents.envelopes.drain(..) {
            self.content_bytes += envelope.len();
            let jobs = IdRange::new(first.plus(places.start as u64), places.len() as u64);
            self.trace_submit(jobs, &envelope);
            self.envelopes.push((jobs, envelope));
        }
    }

    /// The same where some of the jobs are not taken: in order.
    fn keep_some(&mut self, first: JobId, contents: &mut Contents, not_taken: &[IdRange]) {
        let gone = |id: JobId| {
            let at = not_taken.partition_point(|range| range.end() <= id);
            not_taken.get(at).is_some_and(|range| range.first <= id)
        };
        for (nth, body) in contents.bodies.drain(..).enumerate() {
            if !gone(first.plus(nth as u64)) {
                self.content_bytes += body.len();
                self.bodies.push(body);
                self.new_ids.push_range(first.plus(nth as u64).into());
            }
        }
        for (places, envelope) in contents.envelopes.drain(..) {
            let jobs = IdRange::new(first.plus(places.start as u64), places.len() as u64);
            let taken: Ids = jobs.iter().filter(|id| !gone(*id)).collect();
            for jobs in taken.ranges() {
                self.content_bytes += envelope.len();
                self.trace_submit(*jobs, &envelope);
                self.envelopes.push((*jobs, envelope.clone()));
            }
        }
    }
}
