//! What the loop logs for operators: what happened in a turn (failures only as many as somebody can read), and what has
//! changed about the disk. Nothing depends on it.

use crate::clock::Clock;
use crate::engine::{Fact, Refusal};
use crate::store::{Room, Shrunk};
use crate::telemetry::events;
use crate::telemetry::flood::{Flood, Line};
use std::cell::{Cell, RefCell};

/// What was logged already.
#[derive(Default)]
pub(super) struct Journal {
    failures: RefCell<Flood>,
    drops: RefCell<Flood>,
    /// Whether it was told that no jobs are taken for want of room.
    room_is_short: Cell<bool>,
}

impl Journal {
    /// What happened in a turn.
    pub(super) fn facts(&self, facts: &[Fact], clock: &Clock) {
        let (mut flood, mut drops) = (self.failures.borrow_mut(), self.drops.borrow_mut());
        for fact in facts {
            let now = clock.now();
            flood.over(now).into_iter().for_each(events::failures_not_named);
            drops.over(now).into_iter().for_each(events::drops_not_named);
            match fact {
                Fact::Failed { .. } => match flood.line(now) {
                    Line::Say => events::fact(&as_shown(fact.clone(), clock)),
                    Line::HoldBackFirst => events::failures_counted(),
                    Line::HoldBack => {}
                },
                Fact::Dropped { .. } => match drops.line(now) {
                    Line::Say => events::fact(fact),
                    Line::HoldBackFirst => events::drops_counted(),
                    Line::HoldBack => {}
                },
                Fact::Interrupted { .. }
                | Fact::WorkersAwaited { .. }
                | Fact::WorkerBack { .. }
                | Fact::Lapsed { .. }
                | Fact::StoodStill { .. }
                | Fact::ScheduleStuck { .. }
                | Fact::CircuitClosed { .. } => events::fact(fact),
                Fact::CircuitOpened { .. } => events::fact(&as_shown(fact.clone(), clock)),
            }
        }
        if flood.is_holding_back() {
            flood.over(clock.now()).into_iter().for_each(events::failures_not_named);
        }
        if drops.is_holding_back() {
            drops.over(clock.now()).into_iter().for_each(events::drops_not_named);
        }
    }

    /// Whether there is room for new jobs: that there is none, and that there is again, is logged once each.
    pub(super) fn room(&self, room: Room) {
        let short = room != Room::Enough;
        if self.room_is_short.replace(short) != short {
            match short {
                true => events::room_short(&Refusal::NoRoom(room).to_string()),
                false => events::room_again(),
            }
        }
    }

    /// What became of giving space back.
    pub(super) fn shrunk(&self, shrunk: Option<Shrunk>) {
        match shrunk {
            None => {}
            Some(Shrunk::Done { before, after }) => events::shrunk(before, after),
            Some(Shrunk::Failed(why)) => events::not_shrunk(&why),
        }
    }
}

/// With the wall clock's times.
fn as_shown(mut fact: Fact, clock: &Clock) -> Fact {
    if let Fact::Failed { retry: Some(due), .. } | Fact::CircuitOpened { next: due, .. } = &mut fact {
        *due = clock.shown(*due);
    }
    fact
}
