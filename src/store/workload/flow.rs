//! What may happen to what jobs wait for, and to groups.

use super::{Draw, Workload};
use crate::core::{
    Condition, Edge, EdgeFate, Event, GroupCounts, GroupName, GroupNo, JobGroup, JobId, JobState, OnUnmet,
    RowEvent, StateKind, Target, Waits,
};
use std::time::Duration;

const A_DAY: Duration = Duration::from_secs(86_400);

impl Workload {
    /// Something of the kind, if there are jobs for it.
    pub(super) fn flow(&self, draw: &mut Draw) -> Option<Event> {
        let waiting = |state: &JobState| state.kind() == StateKind::Waiting;
        Some(match draw.below(6) {
            0 | 1 => {
                let jobs = self.some(draw, |state| matches!(state, JobState::Ready))?;
                Event::WaitsFor { jobs, waits: Self::waits(draw).into() }
            }
            2 | 3 => {
                let jobs = self.some(draw, waiting)?;
                let on = self.state.job(jobs.ranges()[0].first)?.waits_for()?.edges[0].on;
                let fate = [EdgeFate::Gone, EdgeFate::Held, EdgeFate::Open][draw.below(3) as usize];
                Event::EdgesChanged { jobs, on, fate, at: self.time }
            }
            4 => {
                let no = GroupNo(draw.below(4));
                Event::Row(RowEvent::GroupChanged { group: no, now: self.group(draw, no).into() })
            }
            _ => {
                let group = self.state.groups().iter().next()?.0;
                Event::Row(RowEvent::GroupForgotten { group })
            }
        })
    }

    /// What a job may wait for: up to three jobs, or groups, in order.
    pub(crate) fn waits(draw: &mut Draw) -> Waits {
        let conditions = [Condition::Done, Condition::Ended, Condition::Failed];
        let first = 1 + draw.below(1 << 10);
        let edges = (0..1 + draw.below(3)).map(|nth| Edge {
            on: Target::Job(JobId(first + nth)),
            when: conditions[draw.below(3) as usize],
            is_held: draw.below(2) == 0,
        });
        let mut edges: Vec<Edge> = edges.collect();
        if draw.below(2) == 0 {
            let on = Target::Group(GroupNo(draw.below(4)));
            edges.push(Edge { on, when: Condition::Done, is_held: false });
        }
        let on_unmet = [OnUnmet::Cancel, OnUnmet::Run, OnUnmet::Hold][draw.below(3) as usize];
        Waits { edges: edges.into(), on_unmet }
    }

    /// Any group of this number.
    pub(crate) fn group(&self, draw: &mut Draw, no: GroupNo) -> JobGroup {
        let mut counts = GroupCounts::default();
        let is_sealed = draw.below(2) == 0;
        if is_sealed {
            (counts.live, counts.done, counts.gone) = (draw.below(3), draw.below(300), draw.below(2));
        } else {
            (counts.live, counts.dead, counts.expired) = (draw.below(9), draw.below(3), draw.below(2));
            counts.cancelled = draw.below(2);
        }
        let ended = (is_sealed && counts.live == 0).then(|| (self.time, self.time.plus(A_DAY)));
        let name = GroupName::new(&format!("group-{}", no.0)).expect("it is a name");
        JobGroup { name, owner: draw.below(3) as u32, made: self.time, is_sealed, counts, ended }
    }
}
