//! Events that say the same become one, and an event becomes those parts of it that are still missing: a commit says nothing
//! twice, and recovery folds nothing twice.

use super::Event;
use crate::core::ids::{IdRange, Ids, JobId};
use std::sync::Arc;

impl Event {
    /// The list of jobs of an event that can name any jobs at all.
    fn list(&mut self) -> Option<&mut Ids> {
        match self {
            Event::Claimed { jobs, .. }
            | Event::Extended { jobs, .. }
            | Event::Completed { jobs, .. }
            | Event::Released { jobs, .. }
            | Event::Interrupted { jobs }
            | Event::Ripened { jobs }
            | Event::Expired { jobs, .. }
            | Event::Cancelled { jobs, .. }
            | Event::Cancelling { jobs }
            | Event::Buried { jobs, .. }
            | Event::Revived { jobs }
            | Event::Prioritized { jobs, .. }
            | Event::Postponed { jobs, .. }
            | Event::Moved { jobs, .. }
            | Event::Detached { jobs, .. }
            | Event::Deleted { jobs }
            | Event::Sized { jobs, .. }
            | Event::Counted { jobs, .. }
            | Event::WaitsFor { jobs, .. }
            | Event::EdgesChanged { jobs, .. }
            | Event::Dropped { jobs } => Some(jobs),
            Event::Submitted { .. }
            | Event::BodyReplaced { .. }
            | Event::Attached { .. }
            | Event::Awaits { .. }
            | Event::Signalled { .. }
            | Event::Failed { .. }
            | Event::Deferred { .. }
            | Event::Row(_) => None,
        }
    }

    /// Whether both say the same, of whatever jobs, and can be one.
    fn says_the_same(&self, other: &Event) -> bool {
        match self {
            Event::Claimed { holder, worker, at, until, .. } => matches!(
                other,
                Event::Claimed { holder: holder2, worker: worker2, at: at2, until: until2, .. }
                    if (holder, worker, at, until) == (holder2, worker2, at2, until2)
            ),
            Event::Extended { until, .. } => {
                matches!(other, Event::Extended { until: until2, .. } if until == until2)
            }
            Event::Completed { end, .. } => {
                matches!(other, Event::Completed { end: end2, .. } if end == end2)
            }
            Event::Expired { end, .. } => matches!(other, Event::Expired { end: end2, .. } if end == end2),
            Event::Cancelled { end, .. } => {
                matches!(other, Event::Cancelled { end: end2, .. } if end == end2)
            }
            Event::Buried { end, .. } => matches!(other, Event::Buried { end: end2, .. } if end == end2),
            Event::Released { due, .. } => matches!(other, Event::Released { due: due2, .. } if due == due2),
            Event::Interrupted { .. } => matches!(other, Event::Interrupted { .. }),
            Event::Cancelling { .. } => matches!(other, Event::Cancelling { .. }),
            Event::Ripened { .. } => matches!(other, Event::Ripened { .. }),
            Event::Revived { .. } => matches!(other, Event::Revived { .. }),
            Event::Prioritized { priority, .. } => {
                matches!(other, Event::Prioritized { priority: priority2, .. } if priority == priority2)
            }
            Event::Moved { to, at, .. } => {
                matches!(other, Event::Moved { to: to2, at: at2, .. } if (to, at) == (to2, at2))
            }
            Event::Postponed { due, .. } => {
                matches!(other, Event::Postponed { due: due2, .. } if due == due2)
            }
            Event::Detached { what, .. } => {
                matches!(other, Event::Detached { what: what2, .. } if what == what2)
            }
            Event::Deleted { .. } => matches!(other, Event::Deleted { .. }),
            Event::Dropped { .. } => matches!(other, Event::Dropped { .. }),
            Event::Counted { what, .. } => {
                matches!(other, Event::Counted { what: what2, .. } if what == what2)
            }
            Event::Sized { size, .. } => matches!(other, Event::Sized { size: size2, .. } if size == size2),
            Event::WaitsFor { waits, .. } => {
                matches!(other, Event::WaitsFor { waits: waits2, .. } if waits == waits2)
            }
            Event::EdgesChanged { on, fate, at, .. } => matches!(
                other,
                Event::EdgesChanged { on: on2, fate: fate2, at: at2, .. } if (on, fate, at) == (on2, fate2, at2)
            ),
            // They are of one job, or of none. Arrivals are one only where their ids follow each other: see `join`.
            Event::Submitted { .. }
            | Event::BodyReplaced { .. }
            | Event::Attached { .. }
            | Event::Awaits { .. }
            | Event::Signalled { .. }
            | Event::Failed { .. }
            | Event::Deferred { .. }
            | Event::Row(_) => false,
        }
    }

    /// Takes `next` in, if it says the same of other jobs: both together are then this one event. Returns whether it
    /// did.
    pub fn join(&mut self, next: &Event) -> bool {
        if let (
            Event::Submitted { jobs, spec, at, due, expiry },
            Event::Submitted { jobs: more, spec: spec2, at: at2, due: due2, expiry: expiry2 },
        ) = (&mut *self, next)
        {
            let alike = jobs.end() == more.first
                && (&*at, &*due, &*expiry) == (at2, due2, expiry2)
                && (Arc::ptr_eq(spec, spec2) || spec == spec2);
            jobs.len += if alike { more.len } else { 0 };
            return alike;
        }
        let alike = self.says_the_same(next);
        if alike && let Some(jobs) = self.list() {
            next.jobs().iter().for_each(|range| jobs.push_range(*range));
        }
        alike
    }

    /// The same event for some of its jobs only: those for which `keep` says so. Empty if none is left.
    /// Recovery uses it where a part of an event is in the checkpoint already.
    pub fn narrowed(&self, mut keep: impl FnMut(JobId) -> bool) -> Vec<Event> {
        if self.jobs().is_empty() {
            // It is about no job.
            return vec![self.clone()];
        }
        let kept: Ids = self.jobs().iter().flat_map(|range| range.iter()).filter(|id| keep(*id)).collect();
        if let Event::Submitted { spec, at, due, expiry, .. } = self {
            let part = |jobs: &IdRange| Event::Submitted {
                jobs: *jobs,
                spec: spec.clone(),
                at: *at,
                due: *due,
                expiry: *expiry,
            };
            return kept.ranges().iter().map(part).collect();
        }
        if kept.is_empty() {
            return Vec::new();
        }
        let mut event = self.clone();
        if let Some(jobs) = event.list() {
            *jobs = kept;
        }
        vec![event]
    }
}
