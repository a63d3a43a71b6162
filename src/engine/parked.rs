//! Submits that wait for room in a queue (`full = "wait 5s"`). Those for one queue are decided in the order in which they
//! came; each is bounded by its time, and all of them by their number and bytes. What room is, the core decides.

use super::{Answer, Contents, Engine, Origin, Refusal, SubmitOptions};
use crate::core::{Full, Group, Groups, QueueName, Rejection, Spec, SpecOptions, Time, Visibility};
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// A submit that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) origin: Origin,
    pub(super) groups: Groups,
    pub(super) contents: Contents,
    /// What it asks for besides its jobs.
    pub(super) options: SubmitOptions,
    /// The queue that has no room.
    queue: QueueName,
    until: Time,
    /// Why it is refused if it waits in vain.
    refusal: Rejection,
    bytes: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct ParkedSubmits {
    /// By their place in the line.
    submits: BTreeMap<u64, Parked>,
    next_place: u64,
    by_queue: BTreeMap<QueueName, BTreeSet<u64>>,
    by_session: HashMap<u64, BTreeSet<u64>>,
    deadlines: BTreeSet<(Time, u64)>,
    bytes: usize,
}

impl ParkedSubmits {
    pub(super) fn is_empty(&self) -> bool {
        self.submits.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many wait of one connection.
    pub(super) fn size_of(&self, session: u64) -> usize {
        self.by_session.get(&session).map_or(0, BTreeSet::len)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.submits.len()
    }

    fn add(&mut self, submit: Parked) {
        let place = self.next_place;
        self.next_place += 1;
        self.put(place, submit);
    }

    /// Puts one in at its place.
    fn put(&mut self, place: u64, submit: Parked) {
        self.by_queue.entry(submit.queue.clone()).or_default().insert(place);
        self.by_session.entry(submit.origin.session).or_default().insert(place);
        self.deadlines.insert((submit.until, place));
        self.bytes += submit.bytes;
        self.submits.insert(place, submit);
    }

    fn remove(&mut self, place: u64) -> Option<Parked> {
        let submit = self.submits.remove(&place)?;
        if let Some(places) = self.by_queue.get_mut(&submit.queue) {
            places.remove(&place);
            if places.is_empty() {
                self.by_queue.remove(&submit.queue);
            }
        }
        if let Some(places) = self.by_session.get_mut(&submit.origin.session) {
            places.remove(&place);
            if places.is_empty() {
                self.by_session.remove(&submit.origin.session);
            }
        }
        self.deadlines.remove(&(submit.until, place));
        self.bytes -= submit.bytes;
        Some(submit)
    }

    /// The first one that waits for a queue of these groups.
    fn before(&self, groups: &Groups) -> Option<&Parked> {
        let place = groups.iter().find_map(|group| self.by_queue.get(&group.spec.queue)?.first())?;
        self.submits.get(place)
    }

    fn first_for(&self, queue: &QueueName) -> Option<u64> {
        self.by_queue.get(queue)?.first().copied()
    }

    /// Takes about so many of a connection out. Returns whether none is left.
    pub(super) fn forget_some(&mut self, session: u64, most: usize) -> bool {
        for _ in 0..most {
            let place = self.by_session.get(&session).and_then(BTreeSet::first).copied();
            if place.and_then(|place| self.remove(place)).is_none() {
                return true;
            }
        }
        self.size_of(session) == 0
    }

    /// Takes one request out.
    pub(super) fn of_request(&mut self, origin: Origin) -> Option<Parked> {
        let mut places = self.by_session.get(&origin.session)?.iter();
        let place = *places.find(|place| self.submits[place].origin == origin)?;
        self.remove(place)
    }

    /// Takes those out that `pick` makes something of.
    pub(super) fn take<T>(&mut self, pick: impl Fn(&Parked) -> Option<T>) -> Vec<(Parked, T)> {
        let picked: Vec<_> =
            self.submits.iter().filter_map(|(place, submit)| Some((*place, pick(submit)?))).collect();
        picked.into_iter().filter_map(|(place, made)| Some((self.remove(place)?, made))).collect()
    }

    /// Takes out whoever has waited long enough.
    fn over(&mut self, now: Time) -> Vec<Parked> {
        let places: Vec<u64> = self.deadlines.range(..=(now, u64::MAX)).map(|(_, place)| *place).collect();
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }
}

impl Parked {
    /// The options of its jobs.
    fn specs(&self) -> impl Iterator<Item = &SpecOptions> {
        self.groups.iter().map(|group| &*group.spec.options)
    }

    /// The jobs and bytes that it brings into its queue. Of jobs with unique keys that is not known: all may be there by now.
    fn load(&self) -> Option<(u64, u64)> {
        let own = self.groups.iter().filter(|group| group.spec.queue == self.queue);
        if own.clone().any(|group| group.spec.unique.is_some()) {
            return None;
        }
        Some(own.fold((0, 0), |(jobs, bytes): (u64, u64), group| {
            let more = group.size.bytes().saturating_mul(group.count);
            (jobs.saturating_add(group.count), bytes.saturating_add(more))
        }))
    }

    /// The answer to one that has waited in vain.
    pub(super) fn refused(self) -> (Origin, Answer) {
        (self.origin, Answer::Refused(Refusal::Core(self.refusal)))
    }
}

impl<S: Store> Engine<S> {
    /// Refuses those submits that wait for which `refuse` has an answer: it is asked for the options of their jobs.
    pub fn withdraw_submits(&mut self, refuse: impl Fn(Origin, &SpecOptions) -> Option<Answer>) {
        let refused = |submit: &Parked| submit.specs().find_map(|spec| refuse(submit.origin, spec));
        for (submit, answer) in self.parked.take(refused) {
            self.answer(submit.origin, answer);
        }
        // Others may be next in line now.
        self.notes.room_made = true;
    }

    /// Why a submit may not be decided yet: others wait for room in one of its queues.
    pub(super) fn is_behind(&self, groups: &Groups) -> Option<Rejection> {
        if self.parked.is_empty() {
            return None;
        }
        self.parked.before(groups).map(|first| first.refusal.clone())
    }

    /// Lets a submit wait that the core has refused, if its queue says so and there is room for another one. Returns whether it
    /// does.
    pub(super) fn park(
        &mut self,
        origin: Origin,
        groups: &Groups,
        contents: &Contents,
        (options, now): (SubmitOptions, Time),
        refusal: &Rejection,
    ) -> bool {
        let Some((queue, time)) = self.waits_for(refusal) else { return false };
        // What is asked for of each group is counted as if nobody shared it.
        let group = size_of::<Group>() + size_of::<Spec>() + size_of::<SpecOptions>();
        let bytes = contents.bytes() + groups.len() * group;
        let too_many = self.waiting_of(origin.session) >= self.bounds.waiting
            || self.parked.len() >= self.bounds.waiting_all
            || self.parked.bytes + bytes > self.bounds.parked_bytes;
        if !too_many {
            let (queue, until) = (queue.clone(), self.now.max(now).plus(time));
            let (groups, contents, refusal) = (groups.clone(), contents.detached(), refusal.clone());
            self.parked.add(Parked { origin, groups, contents, options, queue, until, refusal, bytes });
        }
        !too_many
    }

    /// The queue for whose room a submit waits that was refused so, and how long; `None` if it does not wait.
    fn waits_for<'r>(&self, refusal: &'r Rejection) -> Option<(&'r QueueName, Duration)> {
        match refusal {
            Rejection::QueueFull { queue, fits: true, .. } if !self.core.draining => {
                match self.core.settings.of(queue).full {
                    Full::Wait(time) => Some((queue, time)),
                    Full::Reject | Full::DropNew | Full::DropOld => None,
                }
            }
            _ => None,
        }
    }

    /// Decides those submits for which there may be room now, and refuses those that have waited long enough.
    pub(super) fn serve_parked(&mut self, now: Time) {
        while !self.parked.is_empty() {
            if std::mem::take(&mut self.notes.room_made) {
                self.try_parked(now);
            }
            let over = self.parked.over(now);
            if over.is_empty() {
                return;
            }
            for (origin, answer) in over.into_iter().map(Parked::refused) {
                self.answer(origin, answer);
            }
            // Others are next in line now.
            self.notes.room_made = true;
        }
    }

    /// Decides them queue by queue, up to the first of each for which there is no room.
    fn try_parked(&mut self, now: Time) {
        let queues: Vec<QueueName> = self.parked.by_queue.keys().cloned().collect();
        for queue in queues {
            while let Some(place) = self.parked.first_for(&queue) {
                if self.is_full() {
                    // The rest goes on in the next turn.
                    self.notes.room_made = true;
                    return;
                }
                let Some(submit) = self.parked.remove(place) else { break };
                if !self.try_again(place, submit, now) {
                    break;
                }
            }
        }
    }

    /// Whether it would still be refused for want of room: a look at what is counted, where to decide it may take long.
    fn has_no_room(&self, submit: &Parked) -> bool {
        let waits = matches!(self.core.settings.of(&submit.queue).full, Full::Wait(_));
        let has_room = |(jobs, bytes)| self.core.has_room(&submit.queue, jobs, bytes);
        waits && !self.core.draining && submit.load().is_some_and(|load| !has_room(load))
    }

    /// Decides a submit that has waited. Returns whether it is answered; else it is back at its place.
    fn try_again(&mut self, place: u64, submit: Parked, now: Time) -> bool {
        if self.has_no_room(&submit) {
            self.parked.put(place, submit);
            return false;
        }
        let Parked { origin, groups, mut contents, options, queue, until, bytes, .. } = submit;
        // Whatever else the producer could change when it asked: by now that may be otherwise, but its own jobs are its own.
        let owner = groups.first().map(|group| group.spec.owner);
        let owns = |spec: &Spec| Some(spec.owner) == owner;
        let (groups, decided) =
            self.decide_submit((groups, options), &mut contents, Visibility::of(&owns), now);
        let refusal = match decided {
            Ok(answer) => {
                self.answer_submit(origin, answer, options.ends, now);
                return true;
            }
            Err(refusal) => refusal,
        };
        // Another of its queues may be the one that is full by now.
        let Some(full) = self.waits_for(&refusal).map(|(full, _)| full.clone()) else {
            self.answer(origin, Answer::Refused(refusal.into()));
            return true;
        };
        let moved = full != queue;
        self.parked
            .put(place, Parked { origin, groups, contents, options, queue: full, until, refusal, bytes });
        moved
    }

    /// How many queues, jobs, groups and submits the waiting requests of a connection name.
    pub(super) fn waiting_of(&self, session: u64) -> usize {
        let ends = self.notes.watching.size_of(session) + self.notes.watching_groups.size_of(session);
        self.waiting.size_of(session) + ends + self.parked.size_of(session)
    }
}
