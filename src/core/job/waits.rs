//! What a job waits for besides time, and how it goes on.

use super::{Job, State};
use crate::core::flow::{Edge, EdgeFate, Target, Waits};
use crate::core::time::Time;
use std::sync::Arc;

impl Job {
    /// What it waits for, if it does.
    pub fn waits_for(&self) -> Option<&Arc<Waits>> {
        self.history.as_deref()?.waits.as_ref()
    }

    /// It waits for this: before it is due, if it is scheduled.
    pub(crate) fn set_waits(&mut self, waits: Arc<Waits>) {
        let due = self.due().unwrap_or_default();
        self.set_state(State::Waiting { due });
        self.history_mut().waits = Some(waits);
    }

    /// Something has become of what it waits for. It goes on when nothing is left.
    pub(in crate::core) fn change_edges(&mut self, on: Target, fate: EdgeFate, now: Time) {
        let (Some(waits), State::Waiting { due }) = (self.waits_for().cloned(), self.state()) else { return };
        let edges = waits.edges.iter().copied();
        let left = match fate {
            EdgeFate::Gone => Waits::new(edges.filter(|edge| edge.on != on), waits.on_unmet),
            EdgeFate::Held | EdgeFate::Open => {
                let is_held = fate == EdgeFate::Held;
                let changed = edges.map(|edge| if edge.on == on { Edge { is_held, ..edge } } else { edge });
                Waits::new(changed, waits.on_unmet)
            }
        };
        match left {
            Some(left) => self.history_mut().waits = Some(left.into()),
            None => self.set_state(if due > now { State::Scheduled { due } } else { State::Ready }),
        }
    }
}
