//! Jobs with unique keys, alone or among others of a submit, and submits that are sent again: what clients send, remember to
//! send once more, and expect of it.

use crate::chains::Link;
use crate::clients::{Asked, Clients, contents_of, group};
use crate::oracle::Oracle;
use crate::places::Change;
use crate::queues::queue;
use crate::stage::Life;
use crate::totals::{Before, brings};
use crate::unique::Uniques;
use fastrand::Rng;
use musher::core::{
    Expiry, Groups, JobId, Key, LeaseId, OnConflict, Priority, Receipt, RequestKey, Time, UniqueWhile,
};
use musher::engine::{Contents, SubmitOptions};
use musher::store::Room;
use std::sync::Arc;
use std::time::Duration;

/// How long a daemon remembers submits by their keys.
pub(crate) const KEPT: Duration = Duration::from_secs(20);

/// How many submits are remembered, to be sent again.
const REMEMBERED: usize = 12;

/// A submit, as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) batch: usize,
    groups: Groups,
    contents: Contents,
    once: Option<RequestKey>,
    /// The job that is completed with it.
    completes: Option<LeaseId>,
    at: Time,
}

/// Submits that may be sent again.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Vec<Submit>);

impl Repeats {
    fn remember(&mut self, submit: Submit) {
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(submit);
    }

    /// One that the daemon must still remember, if it was done: nobody repeats one later than that.
    fn any(&mut self, rng: &mut Rng, now: Time) -> Option<Submit> {
        self.0.retain(|submit| now < submit.at.plus(KEPT));
        let submit = if self.0.is_empty() { return None } else { rng.usize(..self.0.len()) };
        // A clock that a crash has put back may show less than before.
        let submit = &mut self.0[submit];
        submit.at = submit.at.min(now);
        Some(submit.clone())
    }
}

/// What is expected of a submit with unique keys.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// It was done before, and is answered as it was then.
    Again,
    Refused,
    Done(Done),
    /// If there is room: what it needs is not known.
    Either(Done),
}

/// What a submit has come to.
#[derive(Debug, Default)]
pub(crate) struct Done {
    receipts: Vec<Receipt>,
    /// The jobs that have its bodies, and other priorities: which change that is.
    bodies: Vec<(JobId, u64)>,
    places: Vec<(JobId, u64)>,
}

impl Wanted {
    /// It was answered so; `None` if it was refused.
    pub(crate) fn answered(self, oracle: &mut Oracle, receipts: Option<&[Receipt]>) {
        match self {
            Wanted::Again => {}
            Wanted::Refused => assert_eq!(receipts, None, "a submit that was to be refused was done"),
            Wanted::Either(Done { bodies, places, .. }) if receipts.is_none() => {
                bodies.into_iter().for_each(|(id, nth)| oracle.bodies.replaced(id, nth, false));
                places.into_iter().for_each(|(id, nth)| oracle.places.told(id, nth, false));
            }
            Wanted::Done(done) | Wanted::Either(done) => {
                let Done { receipts: wanted, bodies, places } = done;
                assert_eq!(receipts, Some(&*wanted), "what became of a submit with unique keys");
                bodies.into_iter().for_each(|(id, nth)| oracle.bodies.replaced(id, nth, true));
                places.into_iter().for_each(|(id, nth)| oracle.places.told(id, nth, true));
            }
        }
    }
}

fn on_conflict(rng: &mut Rng) -> OnConflict {
    match rng.u32(..6) {
        0 => OnConflict::Existing,
        1 => OnConflict::Debounce { max: Some(Duration::from_secs(5)) },
        2 => OnConflict::Raise,
        3 => OnConflict::Reject,
        _ => OnConflict::Replace,
    }
}

/// Jobs of which some, or all, have a unique key; sent once, or again and again.
fn submit(rng: &mut Rng, oracle: &mut Oracle, now: Time) -> Submit {
    let once = (rng.u32(..4) > 0).then(|| RequestKey {
        key: Key::new(u128::from(rng.u64(..)).to_be_bytes()),
        content: Key::new([2; 16]),
    });
    let (mut sent, mut groups) = (Vec::new(), Groups::new());
    for _ in 0..if rng.bool() { 1 } else { 1 + rng.usize(..4) } {
        let (count, before) = (1 + rng.u64(..3) * rng.u64(..2), sent.len());
        let name = queue(rng.usize(..2));
        let mut group = group(rng, &mut sent, name, count, now);
        group.on_conflict = on_conflict(rng);
        if once.is_some() {
            // When one is done that is sent again is not known.
            (group.ttl, group.deadline) = (None, None);
        }
        let unique = (rng.u32(..4) > 0).then(|| Key::new([1 + rng.u8(..6); 16]));
        let spec = Arc::make_mut(&mut group.spec);
        spec.unique = unique;
        spec.options_mut().priority = Priority(rng.u32(..3));
        spec.options_mut().unique_while = match rng.u32(..4) {
            0 => UniqueWhile::Kept(Duration::from_millis(rng.u64(1..5_000))),
            1 => UniqueWhile::Waiting,
            _ => UniqueWhile::Unfinished,
        };
        for sent in &mut sent[before..] {
            if once.is_some() {
                sent.expiry = Expiry::default();
            }
            (sent.unique, sent.priority) = (unique, group.spec.priority);
            sent.unique_in_work = group.spec.unique_while != UniqueWhile::Waiting;
            // It may be put off.
            sent.at_once &= unique.is_none() && once.is_none();
        }
        groups.push(group);
    }
    let (batch, contents) = (oracle.next_batch(), contents_of(oracle.next_batch(), &sent));
    oracle.submits(sent);
    Submit { batch, groups, contents, once, completes: None, at: now }
}

impl Clients {
    /// Submits jobs with unique keys, which follow from a job or from none, or sends such a submit again, and looks at once at
    /// what became of all that have one.
    pub(crate) fn submit_once(
        &mut self,
        rng: &mut Rng,
        oracle: &mut Oracle,
        life: &mut Life,
        completes: Option<LeaseId>,
    ) {
        let again = (completes.is_none() && rng.bool()).then(|| self.repeats.any(rng, life.now)).flatten();
        let submit = again.unwrap_or_else(|| {
            let submit = Submit { completes, ..submit(rng, oracle, life.now) };
            if submit.once.is_some() {
                self.repeats.remember(submit.clone());
            }
            submit
        });
        let Submit { batch, groups, contents, once, completes, .. } = submit;
        let (core, next) = (life.engine.core(), life.engine.core().state.next_id());
        let before = Uniques::of(&core.state);
        let is_known = once.is_some_and(|once| core.remembers(once.key, life.now));
        let (room, link) = (Before::of(life), completes.map(|lease| Link::of(life, lease)));
        let refuses = match &link {
            Some(link) => !link.is_held() || life.engine.room() != Room::Enough,
            None => life.refuses(),
        };
        let has_room = room.has_room(life, brings(oracle.jobs_of(batch), batch));
        let origin = self.ask(rng, Asked::Other);
        let options = SubmitOptions { once, completes, ..SubmitOptions::default() };
        life.submit_with(options, origin, (groups.clone(), contents));
        let (found, new) =
            (Uniques::of(&life.engine.core().state), life.engine.core().state.next_id().0 - next.0);
        let mut after = before.clone();
        completes.filter(|_| !refuses).into_iter().for_each(|lease| after.complete(lease.id, life.now));
        let receipts = if is_known { None } else { after.submit(&groups, next, life.now) };
        completes.into_iter().for_each(|lease| after.let_go(lease.id, &found, life.now));
        let wanted = match receipts {
            None if is_known => Wanted::Again,
            Some(receipts) if !refuses => {
                let wanted = receipts.iter().filter(|receipt| matches!(receipt, Receipt::New(_))).count();
                let changes = wanted > 0 || after != before || link.is_some();
                let is_done = link.as_ref().is_some_and(|link| link.is_over(life));
                if !has_room && changes && !is_done && (&found, new) == (&before, 0) {
                    Wanted::Refused
                } else {
                    assert_eq!((&found, new), (&after, wanted as u64), "{receipts:?}, before: {before:?}");
                    let grows = receipts.iter().any(|receipt| matches!(receipt, Receipt::Replaced(_)));
                    room.check(life, !grows);
                    let done = done(oracle, batch, (&before, &after), receipts);
                    if has_room || changes { Wanted::Done(done) } else { Wanted::Either(done) }
                }
            }
            None | Some(_) => Wanted::Refused,
        };
        let is_done = matches!(wanted, Wanted::Done(_) | Wanted::Either(_));
        if !is_done {
            assert_eq!((found, new), (before, 0), "{wanted:?}");
        }
        let followed = link.map(|link| link.decided(oracle, life, batch, is_done)).filter(|_| !is_known);
        self.expect(origin, Asked::SubmitOnce { batch, wanted, followed });
    }
}

/// A submit is done, and comes to this.
fn done(
    oracle: &mut Oracle,
    batch: usize,
    (before, after): (&Uniques, &Uniques),
    receipts: Vec<Receipt>,
) -> Done {
    oracle.comes_to(batch, &receipts);
    let mut done = Done::default();
    for (index, receipt) in receipts.iter().enumerate() {
        if let Receipt::Replaced(id) = receipt {
            let own = oracle.asked_as(*id);
            let (nth, _) = oracle.bodies.replaces(*id, own, Some((batch, index)));
            done.bodies.push((*id, nth));
        }
    }
    for one in &after.0 {
        // Others of the same submit may have changed a new one.
        let known = before.0.iter().find(|known| known.id == one.id);
        let priority = known.map_or_else(|| oracle.sent_as(one.id).priority, |known| known.priority);
        if priority != one.priority {
            done.places.push((one.id, oracle.places.sends(one.id, Change::Priority(one.priority))));
        }
    }
    Done { receipts, ..done }
}
