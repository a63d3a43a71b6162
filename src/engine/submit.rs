//! Submits: one request, or several of a connection that ask for the same and are decided as one.

use super::{Answer, Contents, Delivery, Engine, Origin, Refusal, finished};
use crate::core::{Command, Group, Groups, IdRange, JobId, Outcome, Receipt, Sight, Time};
use crate::store::{Room, Store};
use bytes::Bytes;
use smallvec::smallvec;

impl<S: Store> Engine<S> {
    /// Enqueues jobs, with the contents of all groups, one after the other. What holds their unique keys is changed if `sight`
    /// has it. Returns what it has no more use for: to drop
    /// very many groups takes long, and need not be done here.
    pub fn submit(
        &mut self,
        origin: Origin,
        groups: impl Into<Groups>,
        contents: impl Into<Contents>,
        sight: Sight<'_>,
        now: Time,
    ) -> (Groups, Contents) {
        let (groups, mut contents) = (groups.into(), contents.into());
        debug_assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), contents.bodies.len() as u64);
        let room = self.store.room();
        if room != Room::Enough {
            self.answer(origin, Answer::Refused(Refusal::NoRoom(room)));
            return (groups, contents);
        }
        let command = Command::Submit { groups };
        let answer = match self.decide_for(sight, &command, now) {
            Ok(Outcome::Submitted(ids)) => {
                self.keep(ids.first, &mut contents);
                Answer::Submitted(ids)
            }
            Ok(Outcome::Received(receipts)) => {
                contents.retain_new(&receipts);
                let first = receipts.iter().find(|receipt| matches!(receipt, Receipt::New(_)));
                if let Some(first) = first {
                    self.keep(first.id(), &mut contents);
                }
                Answer::Received(receipts)
            }
            other => finished(other),
        };
        self.answer(origin, answer);
        let Command::Submit { groups } = command else { unreachable!("it is that command") };
        (groups, contents)
    }

    /// The same, and waits for their ends until `until`: the second answer to the request. However quick a worker is, none
    /// is missed.
    pub fn submit_and_wait(
        &mut self,
        origin: Origin,
        groups: impl Into<Groups>,
        contents: impl Into<Contents>,
        sight: Sight<'_>,
        (until, now): (Time, Time),
    ) -> (Groups, Contents) {
        let (groups, contents) = (groups.into(), contents.into());
        if self.too_many_wait(origin, contents.bodies.len()) {
            return (groups, contents);
        }
        let leftovers = self.submit(origin, groups, contents, sight, now);
        let ids: Option<Vec<JobId>> = match self.notes.said.last() {
            Some(Delivery::Answer(to, _)) if *to != origin => None,
            Some(Delivery::Answer(_, Answer::Submitted(ids))) => Some(ids.iter().collect()),
            Some(Delivery::Answer(_, Answer::Received(receipts))) => {
                Some(receipts.iter().map(|receipt| receipt.id()).collect())
            }
            _ => None,
        };
        if let Some(ids) = ids {
            self.wait(origin, ids, |_, _| false, until, now);
        }
        leftovers
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
            && self.store.room() == Room::Enough
            && let Ok(Outcome::Submitted(ids)) = self.decide(&Command::Submit { groups: of(all) }, now)
        {
            self.keep(ids.first, &mut Contents::of(envelope, bodies));
            let mut first = ids.first;
            for &(request, count) in requests {
                self.answer(Origin { session, request }, Answer::Submitted(IdRange::new(first, count)));
                first = first.plus(count);
            }
            return;
        }
        for &(request, count) in requests {
            let own = Contents::of(envelope, bodies.by_ref().take(count as usize));
            self.submit(Origin { session, request }, of(count), own, Sight::ALL, now);
        }
    }

    /// Sets the contents of new jobs, from an id on, aside for the commit that is being collected.
    pub(super) fn keep(&mut self, first: JobId, contents: &mut Contents) {
        self.content_bytes += contents.bodies.iter().map(Bytes::len).sum::<usize>();
        self.bodies.extend(contents.bodies.drain(..));
        for (places, envelope) in contents.envelopes.drain(..) {
            self.content_bytes += envelope.len();
            let jobs = IdRange::new(first.plus(places.start as u64), places.len() as u64);
            self.envelopes.push((jobs, envelope));
        }
    }
}
