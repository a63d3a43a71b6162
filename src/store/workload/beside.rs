//! What jobs get and lose beside their bodies.

use super::{Draw, Workload};
use crate::core::*;
use crate::store::{Commit, encode_signals};
use bytes::Bytes;

impl Workload {
    /// A job gets this.
    pub(crate) fn attach(&mut self, id: JobId, what: Beside) -> Commit {
        self.commit(vec![Event::Attached { job: id.into(), what }])
    }

    /// What a job has beside it now.
    pub(super) fn attached_to(&self, id: JobId, what: Beside) -> Bytes {
        let times = self.attached.get(&(id, what as u8)).copied().unwrap_or(0);
        let text = format!("{what:?} {times} of {id} ").into_bytes();
        let len = if (id.0 + times).is_multiple_of(7) { 150_000 } else { id.0 % 90 };
        let blob = text.into_iter().cycle().take(len as usize).collect::<Vec<u8>>().into();
        // These are read.
        if what == Beside::Signals { encode_signals(&[(1, blob)]) } else { blob }
    }

    /// A job gets a checkpoint, or loses it; those that have ended have results.
    pub(super) fn beside(&self, draw: &mut Draw) -> Option<Event> {
        let has = |what: Beside| {
            let all = IdRange::new(JobId(1), self.state.next_id().0);
            let having = self.state.iter(all).filter(move |(_, job)| job.has(what));
            having.flat_map(|(range, _)| range.iter().collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let (what, wanted) = match draw.below(3) {
            0 => (Beside::Checkpoint, false),
            1 => (Beside::Signals, false),
            _ => (Beside::Result, true),
        };
        match draw.below(6) {
            0 | 1 => {
                let jobs = self.some(draw, |state| state.kind().is_final() == wanted)?;
                Some(Event::Attached { job: jobs.ranges()[0].first.into(), what })
            }
            2 => {
                let known = has(what);
                let from = draw.below(known.len() as u64 + 1) as usize;
                let jobs: Ids = known.into_iter().skip(from).take(2).collect();
                (!jobs.is_empty()).then_some(Event::Detached { jobs, what })
            }
            _ => None,
        }
    }
}
