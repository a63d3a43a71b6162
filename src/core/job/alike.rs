//! Jobs to which the same happens one after the other, as to those that are claimed together: of whom the same was known before, of
//! them the same is known after, once for all of them. It knows nothing of what happens.

use super::{History, Job, StateKind, Time};
use std::sync::Arc;

/// The last of them, before and after.
#[derive(Debug, Default)]
pub(in crate::core) struct Alike(Option<(Known, Known)>);

/// What is known of a job but for what was asked for.
type Known = (StateKind, Time, Option<Arc<History>>);

impl Alike {
    /// It happens to this one. What `change` makes of a job must follow from its state and its history, and be nothing else.
    pub(in crate::core) fn change(&mut self, job: &mut Job, change: impl FnOnce(&mut Job)) {
        if let Some(((kind, when, history), after)) = &self.0
            && (*kind, *when) == (job.kind, job.when)
            && history.as_ref().map(Arc::as_ptr) == job.history.as_ref().map(Arc::as_ptr)
        {
            (job.kind, job.when, job.history) = after.clone();
            return;
        }
        let before = (job.kind, job.when, job.history.clone());
        change(job);
        self.0 = Some((before, (job.kind, job.when, job.history.clone())));
    }
}
