//! Which keys of a queue may go, in the order in which they go, under the rules that are in force. The others are not here, or set
//! aside until their rate lets them go, so that a claim does not look at them, be they ten or a hundred thousand.
//!
//! No fold knows the rules or the time. So all of this follows from the lanes, from what is remembered of keys, and from the
//! rules and the time that whoever asks says before.

use super::KeyRules;
use super::lane::{Head, Lane};
use crate::core::fair::Turn;
use crate::core::ids::JobId;
use crate::core::job::{Key, Priority};
use crate::core::rate::RateUsed;
use crate::core::ready::Line;
use crate::core::served::ServedKeys;
use crate::core::settings::Retries;
use crate::core::sorted::Sorted;
use crate::core::time::Time;

/// Where the next job of a key, or one without a key, stands among those of its queue: the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::core) struct Standing {
    pub(in crate::core) priority: Priority,
    /// Whether it has come back, where those that have are apart from those that have not.
    has_come_back: bool,
    /// When it was tried; or the turn of its key.
    since: u64,
    /// By arrival.
    then: u64,
}

impl Standing {
    /// Before all of a priority, of those that have come back or of those that have not.
    fn first_of(priority: Priority, has_come_back: bool) -> Standing {
        Standing { priority, has_come_back, since: 0, then: 0 }
    }

    /// By arrival, or when it was tried.
    pub(in crate::core) fn by_arrival(
        priority: Priority,
        id: JobId,
        returned: Option<Time>,
        retries: Retries,
    ) -> Standing {
        let tried = returned.filter(|_| retries != Retries::Place);
        let since = tried.map_or(0, |tried| tried.0);
        Standing { priority, has_come_back: tried.is_some(), since, then: id.0 }
    }

    /// Which job that is, if it stands there by arrival.
    pub(super) fn first_job(self) -> JobId {
        JobId(self.then)
    }

    pub(super) fn has_come_back(self) -> bool {
        self.has_come_back
    }

    /// By turn.
    pub(in crate::core) fn by_turn(priority: Priority, turn: Turn) -> Standing {
        Standing { priority, has_come_back: false, since: turn.newest.0, then: turn.leases }
    }
}

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: it has no ready jobs, or as many that are leased as may be.
    None,
    /// Among those that may go.
    Open(Standing),
    /// Among those whose rate is used up. As much of it is.
    Closed(RateUsed),
}

/// The order of the keys.
#[derive(Clone, Debug)]
pub(super) struct Order {
    rules: KeyRules,
    /// Keys that have used more of their rate may not go.
    horizon: RateUsed,
    open: Sorted<Standing, Key>,
    closed: Sorted<(RateUsed, Key), ()>,
}

impl Order {
    /// That of these lanes, under rules and at a time.
    pub(super) fn new<'a>(
        rules: KeyRules,
        now: Time,
        lanes: impl Iterator<Item = (&'a Key, &'a Lane)>,
        served: &ServedKeys,
    ) -> Order {
        let horizon = rules.rate.map_or(RateUsed::default(), |rate| rate.horizon(now));
        let mut order = Order { rules, horizon, open: Sorted::default(), closed: Sorted::default() };
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for (key, lane) in lanes {
            match order.place(*key, lane, served) {
                Place::None => {}
                Place::Open(standing) => open.push((standing, *key)),
                Place::Closed(used) => closed.push((used, *key)),
            }
        }
        // What comes in its order is put behind what is there.
        open.sort_unstable_by_key(|(standing, _)| *standing);
        closed.sort_unstable();
        open.into_iter().for_each(|(standing, key)| order.open.insert(standing, key));
        closed.into_iter().for_each(|place| order.closed.insert(place, ()));
        order
    }

    pub(super) fn rules(&self) -> KeyRules {
        self.rules
    }

    /// Where a key belongs.
    pub(super) fn place(&self, key: Key, lane: &Lane, served: &ServedKeys) -> Place {
        let Some(head) = lane.head() else { return Place::None };
        if self.rules.per_key.is_some_and(|most| lane.leased() >= u64::from(most)) {
            return Place::None;
        }
        if self.rules.rate.is_some()
            && let Some((rate, served)) = served.get(key)
            // What another rate has used does not count.
            && rate == self.rules.rate
            && served.used > self.horizon
        {
            return Place::Closed(served.used);
        }
        Place::Open(self.standing(key, head, served))
    }

    fn standing(&self, key: Key, head: Head, served: &ServedKeys) -> Standing {
        match self.rules.fair {
            true => Standing::by_turn(head.priority, served.turn(key, head.id)),
            false => self.by_arrival(head),
        }
    }

    fn by_arrival(&self, Head { priority, id, tried }: Head) -> Standing {
        let returned = (tried != Time::NEVER).then_some(tried);
        Standing::by_arrival(priority, id, returned, self.rules.retries)
    }

    pub(super) fn leave(&mut self, key: Key, place: Place) {
        match place {
            Place::None => {}
            Place::Open(standing) => drop(self.open.remove(standing)),
            Place::Closed(used) => drop(self.closed.remove((used, key))),
        }
    }

    pub(super) fn enter(&mut self, key: Key, place: Place) {
        match place {
            Place::None => {}
            Place::Open(standing) => self.open.insert(standing, key),
            Place::Closed(used) => self.closed.insert((used, key), ()),
        }
    }

    /// Time goes on. Returns a key that is set aside and may go now, until there is none; it is to enter anew.
    pub(super) fn next_opened(&mut self, now: Time) -> Option<Key> {
        self.horizon = self.horizon.max(self.rules.rate?.horizon(now));
        let ((used, key), ()) = self.closed.first().filter(|((used, _), ())| *used <= self.horizon)?;
        self.closed.remove((used, key));
        Some(key)
    }

    /// When the first of those that are set aside may go.
    pub(super) fn next_opens(&self, now: Time) -> Option<Time> {
        let ((used, _), ()) = self.closed.first()?;
        Some(self.rules.rate?.next(used, now))
    }

    /// The first priority of which a key may go.
    pub(super) fn first_priority(&self) -> Option<Priority> {
        self.open.first().map(|(standing, _)| standing.priority)
    }

    /// The first key of a priority that may go, of those whose jobs have come back or of those whose jobs have not.
    pub(super) fn first(&self, priority: Priority, has_come_back: bool) -> Option<(Standing, Key)> {
        let first = self.open.from(Standing::first_of(priority, has_come_back)).next();
        let is_one =
            |standing: &Standing| (standing.priority, standing.has_come_back) == (priority, has_come_back);
        first.filter(|(standing, _)| is_one(standing)).map(|(standing, key)| (standing, *key))
    }

    /// The keys that may go, in their order.
    pub(super) fn open(&self) -> impl Iterator<Item = (Standing, Key)> {
        self.open.iter().map(|(standing, key)| (standing, *key))
    }

    /// Whether a key of which no job is leased may give more than one.
    pub(super) fn may_give_another(&self) -> bool {
        self.rules.per_key.is_none_or(|most| most > 1)
    }

    /// Where a key will stand, of which the first job is given out, if it may go on then. Only where keys do not take turns.
    pub(super) fn stands_again(&self, lane: &Lane) -> Option<Standing> {
        let full = self.rules.per_key.is_some_and(|most| lane.leased() + 1 >= u64::from(most));
        lane.second().filter(|_| !full).map(|next| self.by_arrival(next))
    }

    /// How many keys that may go have a priority before this one.
    pub(super) fn before(&self, priority: Priority) -> u64 {
        self.open.rank(Standing::first_of(priority, false)) as u64
    }

    /// The keys of its priority that may go, as seen from a job that stands here.
    pub(super) fn line(&self, own: Standing) -> Line {
        let rank = |standing| self.open.rank(standing) as u64;
        let (first, first_back) =
            [false, true].map(|back| rank(Standing::first_of(own.priority, back))).into();
        let end = own
            .priority
            .0
            .checked_add(1)
            .map_or(self.open.len() as u64, |next| rank(Standing::first_of(Priority(next), false)));
        let before = rank(own);
        Line {
            fresh: first_back - first,
            fresh_before: before.min(first_back) - first,
            back: end - first_back,
            back_before: before.max(first_back) - first_back,
        }
    }

    /// The places of all keys that have one: for the check of the invariants.
    pub(super) fn places(&self) -> impl Iterator<Item = (Key, Place)> {
        let open = self.open.iter().map(|(standing, key)| (*key, Place::Open(standing)));
        open.chain(self.closed.iter().map(|((used, key), ())| (key, Place::Closed(used))))
    }
}
