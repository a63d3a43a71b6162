//! Jobs with unique keys, and submits that are sent again: what clients send, and remember to send once more.

use crate::bodies::body;
use crate::oracle::Sent;
use crate::queues::queue;
use fastrand::Rng;
use musher::core::{
    Expiry, Group, Groups, Key, OnConflict, Priority, RequestKey, Spec, SpecOptions, Start, Time, UniqueWhile,
};
use musher::engine::{Contents, SubmitOptions};
use std::time::Duration;

/// How long a daemon remembers submits by their keys.
pub(crate) const KEPT: Duration = Duration::from_secs(20);

/// How many submits are remembered, to be sent again.
const REMEMBERED: usize = 12;

/// A submit of one job, as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) batch: usize,
    pub(crate) group: Group,
    pub(crate) once: RequestKey,
    at: Time,
}

impl Submit {
    /// What the engine is given.
    pub(crate) fn parts(&self) -> (SubmitOptions, (Groups, Contents)) {
        let options = SubmitOptions { once: Some(self.once), ..SubmitOptions::default() };
        (options, (Groups::from_iter([self.group.clone()]), Contents::of(None, [body(self.batch, 0, 0)])))
    }
}

/// Submits that may be sent again.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Vec<Submit>);

impl Repeats {
    pub(crate) fn remember(&mut self, submit: Submit) {
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(submit);
    }

    /// One that the daemon must still remember, if it was done: nobody repeats one later than that.
    pub(crate) fn any(&mut self, rng: &mut Rng, now: Time) -> Option<Submit> {
        self.0.retain(|submit| now < submit.at.plus(KEPT));
        let submit = if self.0.is_empty() { return None } else { rng.usize(..self.0.len()) };
        // A clock that a crash has put back may show less than before.
        let submit = &mut self.0[submit];
        submit.at = submit.at.min(now);
        Some(submit.clone())
    }
}

/// A job of which there is one of its key, or any; sent once, or again and again.
pub(crate) fn submit(rng: &mut Rng, batch: usize, at: Time) -> (Submit, Sent) {
    let unique = (rng.u32(..3) > 0).then(|| Key::new([1 + rng.u8(..6); 16]));
    let spec = SpecOptions {
        priority: Priority(0),
        unique_while: match rng.u32(..3) {
            0 => UniqueWhile::Kept(Duration::from_millis(rng.u64(1..5_000))),
            _ => UniqueWhile::Unfinished,
        },
        ..SpecOptions::plain(queue(rng.usize(..2)))
    };
    let start = match rng.u32(..3) {
        0 => Start::After(Duration::from_millis(rng.u64(1..10_000))),
        _ => Start::Now,
    };
    let on_conflict = match rng.u32(..4) {
        0 => OnConflict::Existing,
        3 => OnConflict::Raise,
        1 => OnConflict::Debounce { max: Some(Duration::from_secs(5)) },
        _ => OnConflict::Reject,
    };
    let sent = Sent {
        queue: spec.queue.clone(),
        key: None,
        unique,
        priority: spec.priority,
        // It may be put off.
        at_once: false,
        expiry: Expiry::default(),
        envelope: None,
    };
    let group = Group { start, on_conflict, ..Group::new(Spec::from(spec).with_unique(unique), 1) };
    let once =
        RequestKey { key: Key::new(u128::from(rng.u64(..)).to_be_bytes()), content: Key::new([2; 16]) };
    (Submit { batch, group, once, at }, sent)
}
