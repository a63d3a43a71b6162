//! All open connections: their numbers, how many there may be, and which one is closed when they hold too much. It
//! knows nothing of what they ask for.

use super::budget::{Budget, HOLD_TIME_MAX};
use super::connection::Connection;
use super::encoder::Notice;
use crate::core::Time;
use crate::telemetry::events;
use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The open connections by number.
type Open = HashMap<u64, Rc<Connection>>;

/// All of them.
pub(crate) struct Connections {
    open: RefCell<Open>,
    last_id: Cell<u64>,
    /// What they may have unread and unsent.
    pub(super) budget: Rc<Budget>,
    /// Whether the log was told that some are refused.
    is_crowded: Cell<bool>,
    /// How many were refused, and how many closed for what they held.
    refused: Cell<u64>,
    shed: Cell<u64>,
}

impl Connections {
    pub(super) fn new(buffers: usize) -> Connections {
        Connections {
            open: RefCell::default(),
            last_id: Cell::default(),
            budget: Budget::new(buffers),
            is_crowded: Cell::default(),
            refused: Cell::default(),
            shed: Cell::default(),
        }
    }

    pub(super) fn open(&self) -> Ref<'_, Open> {
        self.open.borrow()
    }

    pub(super) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.open.borrow().contains_key(&id)
    }

    /// How many there were.
    pub(super) fn so_far(&self) -> u64 {
        self.last_id.get()
    }

    /// How often which limit has kept one out or ended it.
    pub(super) fn limits_hit(&self) -> [(&'static str, u64); 2] {
        [("limits.connections", self.refused.get()), ("limits.buffers", self.shed.get())]
    }

    pub(super) fn next_id(&self) -> u64 {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    /// Takes one in, if there are fewer than `limit` or it is the daemon's own.
    pub(super) fn add(&self, connection: Rc<Connection>, limit: usize) -> bool {
        if self.len() >= limit && !connection.peer.pool {
            self.refused.set(self.refused.get() + 1);
            if !self.is_crowded.replace(true) {
                events::connections_full(limit);
            }
            return false;
        }
        self.is_crowded.set(false);
        self.open.borrow_mut().insert(connection.id, connection);
        true
    }

    pub(super) fn remove(&self, id: u64) {
        self.open.borrow_mut().remove(&id);
    }

    pub(super) fn tell_all(&self, notice: Notice) {
        for connection in self.open.borrow().values() {
            connection.notify(notice);
            connection.flush();
        }
    }

    /// A connection has waited long for room: the one that has held some for the longest, and not only just now, is
    /// closed.
    pub(super) fn give_way(&self, now: Time) {
        self.shed(|connection| now.since(connection.account.since()) >= HOLD_TIME_MAX);
    }

    /// Closes those who hold room the longest, until no more is taken than there is.
    pub(super) fn enforce_budget(&self) {
        while self.budget.is_over() && self.shed(|_| true) {}
    }

    fn shed(&self, may_go: impl Fn(&Connection) -> bool) -> bool {
        let open = self.open.borrow();
        let holders = open.values().filter(|connection| connection.account.held() > 0);
        let victim = holders
            .filter(|connection| may_go(connection))
            .min_by_key(|connection| connection.account.since());
        if let Some(connection) = victim {
            self.shed.set(self.shed.get() + 1);
            events::connection_shed(connection.account.held());
            connection.shed();
        }
        victim.is_some()
    }
}
