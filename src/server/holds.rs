//! Workers that cannot start jobs for now, and why, as they have reported it, for people to see. A report ends with its
//! connection, is not stored, and decides nothing.

use super::fault::{Fault, Kind};
use crate::core::Time;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many queues all connections together may name.
const MAX: usize = 10_000;
/// How much of a reason is kept, in characters.
const ERROR_MAX: usize = 300;

#[derive(Debug)]
struct Hold {
    error: String,
    retry_at: Time,
}

/// The reports, by queue and connection.
#[derive(Debug, Default)]
pub(super) struct Holds(RefCell<BTreeMap<(String, u64), Hold>>);

impl Holds {
    /// A connection's worker cannot start this queue's jobs, or can again if there is no error.
    pub(super) fn set(
        &self,
        queue: &str,
        session: u64,
        error: Option<&str>,
        retry_at: Time,
    ) -> Result<(), Fault> {
        let mut holds = self.0.borrow_mut();
        let key = (queue.to_owned(), session);
        let Some(error) = error else {
            holds.remove(&key);
            return Ok(());
        };
        if holds.len() >= MAX && !holds.contains_key(&key) {
            return Err(Fault::new(
                Kind::Busy,
                format!("workers hold back {MAX} queues already: try again later"),
            ));
        }
        let error = error.chars().filter(|c| !c.is_control()).take(ERROR_MAX).collect();
        holds.insert(key, Hold { error, retry_at });
        Ok(())
    }

    /// The connection has ended.
    pub(super) fn forget(&self, session: u64) {
        let mut holds = self.0.borrow_mut();
        if !holds.is_empty() {
            holds.retain(|(_, of), _| *of != session);
        }
    }

    /// Why a worker of this queue does not start its jobs, in words.
    pub(super) fn of(&self, queue: &str, now: Time) -> Option<String> {
        let holds = self.0.borrow();
        let of_queue = holds.range((queue.to_owned(), 0)..=(queue.to_owned(), u64::MAX));
        // Several workers mostly have the same reason; the one that tries next tells the time.
        let (_, hold) = of_queue.min_by_key(|(_, hold)| hold.retry_at)?;
        let wait = hold.retry_at.since(now).max(Duration::from_secs(1));
        Some(format!("its workers {}; next try in {} s", hold.error, wait.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_lasts_until_it_is_lifted_or_its_connection_ends() {
        let holds = Holds::default();
        holds.set("q", 1, Some("cannot start `x`:\n gone"), Time(8_000)).unwrap();
        holds.set("q", 2, Some("cannot start `y`"), Time(9_000)).unwrap();
        let said = |queue| holds.of(queue, Time(1_000));
        assert_eq!(said("q").unwrap(), "its workers cannot start `x`: gone; next try in 7 s");
        assert_eq!((said("p"), said("qq")), (None, None));
        holds.set("q", 1, None, Time(0)).unwrap();
        assert!(said("q").unwrap().contains("`y`"));
        holds.forget(2);
        assert_eq!(said("q"), None);
    }
}
