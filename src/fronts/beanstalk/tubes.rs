//! What connections of beanstalkd's protocol have in common: which tubes they use and watch, what they have asked for. A tube is a queue
//! with what only this protocol knows of it; it is there as long as a connection refers to it or its queue has jobs. All of it is of this life
//! of the daemon, as it is with beanstalkd.

use super::line::COUNTED;
use crate::core::{Queue, QueueName, State, Time};
use crate::server::handling::live_jobs;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher};

/// The tube that every connection begins with.
const DEFAULT: &str = "default";

/// Tubes beyond as many as this are looked through for those that are not there any more, and again when there are twice as many.
const LOOK_THROUGH: usize = 1_000;

/// What is known of a tube beside its queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tube {
    /// How many connections submit to it, and how many take from it.
    pub(super) using: u64,
    pub(super) watching: u64,
    /// How many jobs were submitted to its queue before it came into being.
    submitted_before: u64,
    pub(super) deletes: u64,
    pub(super) pauses: u64,
    /// For how many seconds it was paused last.
    pub(super) paused_for: u32,
}

impl Tube {
    /// Whether a connection refers to it.
    fn is_referred_to(&self) -> bool {
        self.using + self.watching > 0
    }

    /// How many jobs it has had.
    pub(super) fn total_jobs(&self, queue: Option<&Queue>) -> u64 {
        queue.map_or(0, |queue| queue.totals().submitted).saturating_sub(self.submitted_before)
    }
}

#[derive(Debug)]
struct Id(u64);

impl Default for Id {
    fn default() -> Id {
        // Each is made of another random number of the system's.
        Id(RandomState::new().build_hasher().finish())
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Tubes {
    /// Tells this life of the daemon from others.
    id: Id,
    tubes: RefCell<HashMap<QueueName, Tube>>,
    look_through: Cell<usize>,
    counts: RefCell<[u64; COUNTED.len()]>,
    pub(super) connections: Cell<u64>,
    pub(super) connections_so_far: Cell<u64>,
    /// Those that have submitted anything, and those that have claimed anything.
    pub(super) producers: Cell<u64>,
    pub(super) workers: Cell<u64>,
    /// Those that wait, for a job or for room.
    pub(super) waiting: Cell<u64>,
    /// What the log was told last, and when.
    told: RefCell<Option<(String, Time)>>,
}

/// Adds to a number.
pub(super) fn add(number: &Cell<u64>, more: i64) {
    number.set(number.get().saturating_add_signed(more));
}

impl Tubes {
    /// The tube that every connection begins with.
    pub(super) fn default_name() -> QueueName {
        QueueName::new(DEFAULT).expect("it follows the rule")
    }

    /// Whether it is that one, which is always there.
    pub(super) fn is_default(name: &QueueName) -> bool {
        name.as_str() == DEFAULT
    }

    /// What tells this life of the daemon from others.
    pub(super) fn id(&self) -> impl Display {
        format!("{:016x}", self.id.0)
    }

    /// A command of this name was read.
    pub(super) fn count(&self, command: &str) {
        if let Some(at) = COUNTED.iter().position(|name| *name == command) {
            self.counts.borrow_mut()[at] += 1;
        }
    }

    /// How many of each command were.
    pub(super) fn counts(&self) -> [u64; COUNTED.len()] {
        *self.counts.borrow()
    }

    /// Whether a tube is there.
    pub(super) fn has(&self, name: &QueueName, state: &State) -> bool {
        let is_referred_to = self.tubes.borrow().get(name).is_some_and(Tube::is_referred_to);
        is_referred_to || has_jobs(name, state) || Tubes::is_default(name)
    }

    /// What is known of a tube.
    pub(super) fn get(&self, name: &QueueName) -> Tube {
        self.tubes.borrow().get(name).copied().unwrap_or_default()
    }

    /// The names of all tubes, in no order.
    pub(super) fn names(&self, state: &State) -> Vec<QueueName> {
        let with_jobs =
            state.queues().filter(|(_, queue)| live_jobs(queue) > 0).map(|(name, _)| name.clone());
        let mut names: Vec<QueueName> = with_jobs.collect();
        let tubes = self.tubes.borrow();
        let others = tubes.iter().filter(|(name, tube)| tube.is_referred_to() && !has_jobs(name, state));
        names.extend(others.map(|(name, _)| name.clone()));
        if !names.iter().any(Tubes::is_default) {
            names.push(Tubes::default_name());
        }
        names
    }

    /// A connection refers to a tube from now on, which may come into being by that. Returns whether a pause of a former one of that name
    /// is over with that.
    pub(super) fn refer(&self, name: &QueueName, state: &State, count: fn(&mut Tube) -> &mut u64) -> bool {
        let was_there = self.has(name, state);
        self.forget_former(state);
        let mut tubes = self.tubes.borrow_mut();
        let tube = tubes.entry(name.clone()).or_default();
        let was_paused = tube.paused_for > 0;
        if !was_there {
            let submitted_before = state.queue(name).map_or(0, |queue| queue.totals().submitted);
            *tube = Tube { submitted_before, ..Tube::default() };
        }
        *count(tube) += 1;
        !was_there && was_paused
    }

    /// It does not any more.
    pub(super) fn let_go(&self, name: &QueueName, count: fn(&mut Tube) -> &mut u64) {
        if let Some(tube) = self.tubes.borrow_mut().get_mut(name) {
            let count = count(tube);
            *count = count.saturating_sub(1);
        }
    }

    /// Something is noted of a tube.
    pub(super) fn note(&self, name: &QueueName, note: impl FnOnce(&mut Tube)) {
        note(self.tubes.borrow_mut().entry(name.clone()).or_default());
    }

    /// What is not there any more needs no memory. Looked at now and then, so that it costs nothing each time.
    fn forget_former(&self, state: &State) {
        let mut tubes = self.tubes.borrow_mut();
        if tubes.len() > self.look_through.get().max(LOOK_THROUGH) {
            tubes.retain(|name, tube| tube.is_referred_to() || has_jobs(name, state));
            self.look_through.set(2 * tubes.len());
        }
    }

    /// Whether the log was not told this of late.
    pub(super) fn is_news(&self, text: &str, now: Time) -> bool {
        const A_MINUTE: u64 = 60_000;
        let mut told = self.told.borrow_mut();
        let is_old = |(known, at): &(String, Time)| known == text && now.0 < at.0 + A_MINUTE;
        if told.as_ref().is_some_and(is_old) {
            return false;
        }
        *told = Some((text.to_owned(), now));
        true
    }
}

fn has_jobs(name: &QueueName, state: &State) -> bool {
    state.queue(name).is_some_and(|queue| live_jobs(queue) > 0)
}
