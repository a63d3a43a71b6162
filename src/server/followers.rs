//! Which clients follow the output of which job. A follower waits for the job's end like any other request; the answer
//! goes to its task and not to its connection.

use crate::core::JobId;
use crate::engine::{Answer, Origin, Refusal};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::sync::Notify;

/// One of them.
pub(super) struct Follower {
    pub(super) origin: Origin,
    /// Rings when there is more, or the job has ended.
    pub(super) more: Notify,
    pub(super) ended: Cell<bool>,
}

/// All of them, by job.
#[derive(Default)]
pub(super) struct Followers(RefCell<HashMap<JobId, Vec<Rc<Follower>>>>);

impl Followers {
    /// Somebody begins to follow a job; `ended`: there will be no more.
    pub(super) fn add(&self, id: JobId, origin: Origin, ended: bool) -> Rc<Follower> {
        let follower = Rc::new(Follower { origin, more: Notify::new(), ended: Cell::new(ended) });
        self.0.borrow_mut().entry(id).or_default().push(follower.clone());
        follower
    }

    /// He does not follow it any more. Returns whether nobody does.
    pub(super) fn remove(&self, id: JobId, follower: &Rc<Follower>) -> bool {
        let mut followers = self.0.borrow_mut();
        let rest = followers.entry(id).or_default();
        rest.retain(|other| !Rc::ptr_eq(other, follower));
        let is_last = rest.is_empty();
        if is_last {
            followers.remove(&id);
        }
        is_last
    }

    pub(super) fn has(&self, id: JobId) -> bool {
        self.0.borrow().contains_key(&id)
    }

    /// The job has printed something.
    pub(super) fn ring(&self, id: JobId) {
        for follower in self.0.borrow().get(&id).into_iter().flatten() {
            follower.more.notify_one();
        }
    }

    /// Whether an answer is for a follower, who is told then that the job has ended.
    pub(super) fn take(&self, origin: Origin, answer: &Answer) -> bool {
        let about = match answer {
            Answer::Ended(ends) => ends.first().map(|end| end.id),
            Answer::Refused(Refusal::NotFound(id)) => Some(*id),
            _ => None,
        };
        let Some(id) = about else { return false };
        let followers = self.0.borrow();
        let his = followers.get(&id).and_then(|all| all.iter().find(|follower| follower.origin == origin));
        if let Some(follower) = his {
            follower.ended.set(true);
            follower.more.notify_one();
        }
        his.is_some()
    }
}
