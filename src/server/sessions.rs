//! Workers whose leases outlive the daemon: which connection has which session. The number of a session follows from what
//! its worker says, so that a start finds it again in the leases and nothing else must be kept.

use crate::core::Holder;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;

/// Those of this life.
#[derive(Default)]
pub(super) struct Sessions(RefCell<Both>);

#[derive(Default)]
struct Both {
    of_connection: HashMap<u64, u64>,
    connection_of: HashMap<u64, u64>,
}

impl Sessions {
    /// The number of a worker's session: no other worker has it, and none of another user can. `is_pool`: whether it is a pool
    /// of the daemon's.
    pub(super) fn number(uid: u32, (name, token): (&str, [u8; 16]), is_pool: bool) -> u64 {
        let mut all = Sha256::new();
        all.update(uid.to_le_bytes());
        all.update(token);
        all.update(name);
        let hash = all.finalize();
        let first = hash.first_chunk().copied().expect("a SHA-256 has 32 bytes");
        let number = u64::from_le_bytes(first) | Holder::RESUMABLE;
        if is_pool { number | Holder::POOL } else { number & !Holder::POOL }
    }

    /// A connection begins, or goes on with, a session. Not if it has one already, or another connection has this one.
    pub(super) fn begin(&self, connection: u64, session: u64) -> bool {
        let both = &mut *self.0.borrow_mut();
        let is_free =
            !both.of_connection.contains_key(&connection) && !both.connection_of.contains_key(&session);
        if is_free {
            both.of_connection.insert(connection, session);
            both.connection_of.insert(session, connection);
        }
        is_free
    }

    /// The session of a connection, if it has one.
    pub(super) fn of(&self, connection: u64) -> Option<u64> {
        self.0.borrow().of_connection.get(&connection).copied()
    }

    /// The connection that holds what a session holds, which is the connection itself for most.
    pub(super) fn connection(&self, session: u64) -> Option<u64> {
        match Holder::is_resumable(session) {
            true => self.0.borrow().connection_of.get(&session).copied(),
            false => Some(session),
        }
    }

    /// A connection has ended, and holds nothing any more.
    pub(super) fn end(&self, connection: u64) {
        let both = &mut *self.0.borrow_mut();
        if let Some(session) = both.of_connection.remove(&connection) {
            both.connection_of.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_one_workers_and_on_one_connection() {
        let number = Sessions::number(7, ("w", [1; 16]), false);
        assert!(Holder::is_resumable(number) && !Holder::is_pool(number));
        assert!(Holder::is_pool(Sessions::number(7, ("w", [1; 16]), true)));
        assert_eq!(number, Sessions::number(7, ("w", [1; 16]), false));
        for (uid, name, token) in [(8, "w", 1), (7, "v", 1), (7, "w", 2)] {
            assert_ne!(number, Sessions::number(uid, (name, [token; 16]), false));
        }
        let sessions = Sessions::default();
        assert!(sessions.begin(3, number));
        assert!(!sessions.begin(4, number), "another connection has it");
        assert!(!sessions.begin(3, number + 1), "it has one");
        assert_eq!((sessions.of(3), sessions.of(4)), (Some(number), None));
        assert_eq!((sessions.connection(number), sessions.connection(9)), (Some(3), Some(9)));
        sessions.end(3);
        assert_eq!(sessions.connection(number), None);
        assert!(sessions.begin(4, number));
    }
}
