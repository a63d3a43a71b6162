//! Submits: one request, or several of a connection that ask for the same and are decided as one.

use super::{Answer, Delivery, Engine, Origin, Refusal, finished};
use crate::core::{Command, Group, Groups, IdRange, JobId, Outcome, Time};
use crate::store::{Room, Store};
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

/// Bodies, one job each. Most submits have one.
type Bodies = SmallVec<[Bytes; 1]>;

impl<S: Store> Engine<S> {
    /// Enqueues jobs: the bodies of all groups, one after the other, in the order of the jobs. Returns what it has no
    /// more use for: to drop very many groups takes long, and need not be done here.
    pub fn submit(
        &mut self,
        origin: Origin,
        groups: impl Into<Groups>,
        bodies: impl Into<Bodies>,
        now: Time,
    ) -> (Groups, Bodies) {
        let (groups, mut bodies) = (groups.into(), bodies.into());
        debug_assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), bodies.len() as u64);
        let room = self.store.room();
        if room != Room::Enough {
            self.answer(origin, Answer::Refused(Refusal::NoRoom(room)));
            return (groups, bodies);
        }
        let command = Command::Submit { groups };
        let answer = match self.decide(&command, now) {
            Ok(Outcome::Submitted(ids)) => {
                self.keep(&mut bodies);
                Answer::Submitted(ids)
            }
            other => finished(other),
        };
        self.answer(origin, answer);
        let Command::Submit { groups } = command else { unreachable!("it is that command") };
        (groups, bodies)
    }

    /// The same, and waits for their ends until `until`: the second answer to the request. However quick a worker is, none
    /// is missed.
    pub fn submit_and_wait(
        &mut self,
        origin: Origin,
        groups: impl Into<Groups>,
        bodies: impl Into<Bodies>,
        until: Time,
        now: Time,
    ) -> (Groups, Bodies) {
        let (groups, bodies) = (groups.into(), bodies.into());
        if self.too_many_wait(origin, bodies.len()) {
            return (groups, bodies);
        }
        let leftovers = self.submit(origin, groups, bodies, now);
        if let Some(Delivery::Answer(to, Answer::Submitted(ids))) = self.notes.said.last()
            && *to == origin
        {
            let ids: Vec<JobId> = ids.iter().collect();
            self.wait(origin, ids, |_, _| false, until, now);
        }
        leftovers
    }

    /// The same for requests of one connection that ask for jobs like those of `group`, so many each. What one decision
    /// grants to all of them is what they would have got one after the other; else they are decided so.
    pub fn submit_alike(
        &mut self,
        session: u64,
        requests: &[(u32, u64)],
        group: &Group,
        bodies: impl Into<Bodies>,
        now: Time,
    ) {
        let mut bodies = bodies.into();
        let of = |count| -> Groups { smallvec![Group { count, ..group.clone() }] };
        let all = requests.iter().map(|(_, count)| count).sum();
        debug_assert_eq!(all, bodies.len() as u64);
        // A request for nothing is refused, and must not hide among others.
        let together = requests.len() > 1 && requests.iter().all(|(_, count)| *count > 0);
        if together
            && self.store.room() == Room::Enough
            && let Ok(Outcome::Submitted(ids)) = self.decide(&Command::Submit { groups: of(all) }, now)
        {
            self.keep(&mut bodies);
            let mut first = ids.first;
            for &(request, count) in requests {
                self.answer(Origin { session, request }, Answer::Submitted(IdRange::new(first, count)));
                first = first.plus(count);
            }
            return;
        }
        let mut bodies = bodies.into_iter();
        for &(request, count) in requests {
            let own: Bodies = bodies.by_ref().take(count as usize).collect();
            self.submit(Origin { session, request }, of(count), own, now);
        }
    }

    /// Sets bodies aside for the commit that is being collected.
    fn keep(&mut self, bodies: &mut Bodies) {
        self.body_bytes += bodies.iter().map(Bytes::len).sum::<usize>();
        self.bodies.extend(bodies.drain(..));
    }
}
