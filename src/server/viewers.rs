//! Which clients follow what becomes of jobs, and what they have not been told of yet. That is bounded: who does not keep up learns how
//! many changes were missed.

use crate::core::{JobId, QueueName, Spec, Time};
use crate::engine::{Changed, ChangedJobs, Origin};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// How many changes wait for one of them.
const WAITING_MAX: usize = 1_000;
/// How many of them there may be, of one connection, of one user and of all.
const OF_CONNECTION_MAX: usize = 16;
const OF_USER_MAX: usize = 64;
const MOST: usize = 256;

/// Of which jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only those of this queue.
    pub(crate) queue: Option<QueueName>,
    /// Only this one.
    pub(crate) job: Option<JobId>,
}

/// What was noted for one of them.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// With the time of each.
    pub(super) changes: Vec<(Time, Changed)>,
    pub(super) missed: u64,
    /// Whether more was missed than is known.
    pub(super) is_unsure: bool,
}

impl Noted {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.missed == 0 && !self.is_unsure
    }
}

/// One of them.
pub(super) struct Viewer {
    pub(super) origin: Origin,
    user: u32,
    wanted: Wanted,
    noted: RefCell<Noted>,
    /// Rings when there is something, or it is over.
    pub(super) more: Notify,
    /// It has been told to end.
    pub(super) is_over: Cell<bool>,
}

impl Viewer {
    /// Notes what he may see of it, which `may_see` says, and wants.
    fn note(&self, ChangedJobs { changes, left_out, at }: &ChangedJobs, may_see: impl Fn(&Spec) -> bool) {
        // He is told what was noted before, and no more.
        if self.is_over.get() {
            return;
        }
        let mut noted = self.noted.borrow_mut();
        // Jobs that are alike come in a row.
        let mut last: Option<(&Arc<Spec>, bool)> = None;
        for change in changes {
            let Changed { jobs, spec, state } = change;
            let mut jobs = *jobs;
            if let Some(job) = self.wanted.job {
                if !jobs.contains(job) {
                    continue;
                }
                (jobs.first, jobs.len) = (job, 1);
            }
            let is_shown = match last {
                Some((known, is_shown)) if Arc::ptr_eq(known, spec) => is_shown,
                _ => self.wanted.queue.as_ref().is_none_or(|queue| *queue == spec.queue) && may_see(spec),
            };
            last = Some((spec, is_shown));
            if !is_shown {
                continue;
            }
            if noted.changes.len() < WAITING_MAX {
                noted.changes.push((*at, Changed { jobs, spec: spec.clone(), state: *state }));
            } else {
                noted.missed += jobs.len;
            }
        }
        // How many of them he may see, nobody knows any more.
        noted.is_unsure |= *left_out > 0;
        if !noted.is_empty() {
            self.more.notify_one();
        }
    }

    /// What he is to be told.
    pub(super) fn take(&self) -> Noted {
        self.noted.take()
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Viewers(RefCell<Vec<Rc<Viewer>>>);

impl Viewers {
    /// One begins; `None` if there are too many.
    pub(super) fn add(&self, origin: Origin, user: u32, wanted: Wanted) -> Option<Rc<Viewer>> {
        let mut all = self.0.borrow_mut();
        let of_connection = all.iter().filter(|viewer| viewer.origin.session == origin.session).count();
        let of_user = all.iter().filter(|viewer| viewer.user == user).count();
        if of_connection >= OF_CONNECTION_MAX || of_user >= OF_USER_MAX || all.len() >= MOST {
            return None;
        }
        let (noted, more, is_over) = Default::default();
        let viewer = Rc::new(Viewer { origin, user, wanted, noted, more, is_over });
        all.push(viewer.clone());
        Some(viewer)
    }

    /// One has ended. Returns whether he was the last.
    pub(super) fn remove(&self, viewer: &Rc<Viewer>) -> bool {
        let mut all = self.0.borrow_mut();
        all.retain(|other| !Rc::ptr_eq(other, viewer));
        all.is_empty()
    }

    /// Tells the one of this request to end.
    pub(super) fn end(&self, origin: Origin) {
        self.end_if(|viewer| viewer.origin == origin);
    }

    /// Tells all to end.
    pub(super) fn end_all(&self) {
        self.end_if(|_| true);
    }

    fn end_if(&self, is_meant: impl Fn(&Viewer) -> bool) {
        for viewer in self.0.borrow().iter().filter(|viewer| is_meant(viewer)) {
            viewer.is_over.set(true);
            viewer.more.notify_one();
        }
    }

    /// Notes for each what he wants and may see: `sight` says what that is, if there is any.
    pub(super) fn note<F: Fn(&Spec) -> bool>(
        &self,
        changed: &ChangedJobs,
        sight: impl Fn(Origin) -> Option<F>,
    ) {
        for viewer in self.0.borrow().iter() {
            if let Some(may_see) = sight(viewer.origin) {
                viewer.note(changed, may_see);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{IdRange, StateKind};

    fn changed(queue: &str, first: u64, len: u64) -> Changed {
        let spec = Arc::new(Spec::plain(QueueName::new(queue).unwrap()));
        Changed { jobs: IdRange::new(JobId(first), len), spec, state: Some(StateKind::Ready) }
    }

    fn viewer(viewers: &Viewers, session: u64, queue: Option<&str>, job: Option<u64>) -> Rc<Viewer> {
        let queue = queue.map(|queue| QueueName::new(queue).unwrap());
        let wanted = Wanted { queue, job: job.map(JobId) };
        viewers.add(Origin { session, request: 1 }, 0, wanted).expect("there is room")
    }

    fn ids(viewer: &Viewer) -> Vec<(u64, u64)> {
        viewer.take().changes.iter().map(|(_, changed)| (changed.jobs.first.0, changed.jobs.len)).collect()
    }

    #[test]
    fn each_is_told_what_he_wants_and_may_see() {
        let viewers = Viewers::default();
        let [all, mails, seventh, other] = [
            viewer(&viewers, 1, None, None),
            viewer(&viewers, 1, Some("mails"), None),
            viewer(&viewers, 1, None, Some(7)),
            viewer(&viewers, 2, None, None),
        ];
        let changes = vec![changed("mails", 1, 3), changed("builds", 5, 5)];
        let may_see =
            |origin: Origin| Some(move |spec: &Spec| origin.session == 1 || spec.queue.as_str() == "builds");
        viewers.note(&ChangedJobs { changes, left_out: 0, at: Time(9) }, may_see);
        assert_eq!(ids(&all), [(1, 3), (5, 5)]);
        assert_eq!(ids(&mails), [(1, 3)]);
        assert_eq!(ids(&seventh), [(7, 1)]);
        assert_eq!(ids(&other), [(5, 5)]);
        assert!(all.take().is_empty());
        assert!(!viewers.remove(&all) && !viewers.remove(&mails) && !viewers.remove(&seventh));
        assert!(viewers.remove(&other), "he was the last");
    }

    #[test]
    fn what_waits_is_bounded_and_the_rest_is_counted() {
        let viewers = Viewers::default();
        let slow = viewer(&viewers, 1, None, None);
        let hidden = viewer(&viewers, 2, None, None);
        let changes: Vec<Changed> = (0..1_500).map(|nth| changed("q", 10 * nth + 1, 2)).collect();
        let may_see = |origin: Origin| Some(move |_: &Spec| origin.session == 1);
        viewers.note(&ChangedJobs { changes, left_out: 0, at: Time(9) }, may_see);
        let noted = slow.take();
        assert_eq!((noted.changes.len(), noted.missed, noted.is_unsure), (1_000, 1_000, false));
        assert!(hidden.take().is_empty(), "he does not learn how much others do");
        viewers.note(&ChangedJobs { changes: vec![changed("q", 1, 1)], left_out: 7, at: Time(9) }, may_see);
        assert!(slow.take().is_unsure && hidden.take().is_unsure);
    }

    #[test]
    fn there_are_not_too_many_of_them() {
        let viewers = Viewers::default();
        let add =
            |session, user| viewers.add(Origin { session, request: 1 }, user, Wanted::default()).is_some();
        assert_eq!((0..20).filter(|_| add(1, 0)).count(), 16);
        assert_eq!((0..100).filter(|session| add(2 + session, 0)).count(), 48, "as many as a user may have");
        assert_eq!((0..300).filter(|session| add(200 + session, *session as u32)).count(), 192);
    }

    #[test]
    fn who_is_told_to_end_learns_nothing_more() {
        let viewers = Viewers::default();
        let own = viewer(&viewers, 1, None, None);
        let change = |first| ChangedJobs { changes: vec![changed("q", first, 1)], left_out: 0, at: Time(9) };
        viewers.note(&change(1), |_| Some(|_: &Spec| true));
        viewers.end(own.origin);
        viewers.note(&change(2), |_| Some(|_: &Spec| true));
        assert_eq!(ids(&own), [(1, 1)]);
    }
}
