//! What a job waits for besides time: other jobs, and groups of jobs. An edge is met or unmet by how its target ended; what
//! comes of an unmet one is the waiting job's own choice. Who has ended is not known here.

use super::groups::{GroupName, GroupNo};
use super::ids::JobId;
use super::job::StateKind;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A job.
    Job(JobId),
    /// All jobs of a group that takes no more.
    Group(GroupNo),
}

/// How it must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Well: the job is done, or all of the group are.
    #[default]
    Done,
    /// In any way.
    Ended,
    /// Badly: the job is dead or expired, or one of the group is.
    Failed,
}

/// What becomes of a job if what it waits for can't come any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnmet {
    /// It is cancelled, and with it what waits for it in the same way.
    #[default]
    Cancel,
    /// It runs all the same.
    Run,
    /// It waits on: until the other one was retried and ends as it should, or somebody decides by hand.
    Hold,
}

/// One thing that a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// What.
    pub on: Target,
    /// How it must end.
    pub when: Condition,
    /// Whether it has ended otherwise, and the job waits on.
    pub is_held: bool,
}

/// What a job waits for still.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waits {
    /// Each once, in order; never none.
    pub edges: Box<[Edge]>,
    /// What becomes of the job if one of them can't be met.
    pub on_unmet: OnUnmet,
}

impl Waits {
    /// The most that one job waits for: its row on disk has them all. More are a group.
    pub const MAX: usize = 64;

    /// In order, each once. `None` if there are none.
    pub(super) fn new(edges: impl IntoIterator<Item = Edge>, on_unmet: OnUnmet) -> Option<Waits> {
        let mut edges: Vec<Edge> = edges.into_iter().collect();
        edges.sort_unstable();
        edges.dedup();
        (!edges.is_empty()).then(|| Waits { edges: edges.into(), on_unmet })
    }

    /// The edges on one target that are not held.
    pub(super) fn on(&self, target: Target) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.on == target && !edge.is_held)
    }
}

/// How a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetEnd {
    /// Nothing of it ended otherwise than well.
    pub(super) well: bool,
    /// Something of it failed: it is dead or expired.
    pub(super) failed: bool,
    /// It has ended at all, and is not just gone.
    pub(super) ended: bool,
}

impl TargetEnd {
    /// It was deleted before it ended.
    pub(super) const GONE: TargetEnd = TargetEnd { well: false, failed: false, ended: false };

    /// That of a job in a final state.
    pub(super) fn of_job(kind: StateKind) -> TargetEnd {
        let failed = matches!(kind, StateKind::Dead | StateKind::Expired);
        TargetEnd { well: kind == StateKind::Done, failed, ended: true }
    }

    /// Whether it is the one that is waited for.
    pub(super) fn meets(self, when: Condition) -> bool {
        match when {
            Condition::Done => self.well,
            Condition::Ended => self.ended,
            Condition::Failed => self.failed,
        }
    }
}

/// What comes of the edges on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeFate {
    /// They are met, or the job runs all the same: they are gone.
    Gone,
    /// They are unmet, and the jobs wait on.
    Held,
    /// Their target runs again: they are as before.
    Open,
}

/// How a group of a submit is tied to other jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// What its jobs wait for.
    pub after: Vec<After>,
    /// What becomes of them if that can't come.
    pub on_unmet: OnUnmet,
    /// The group that they belong to.
    pub group: Option<GroupName>,
    /// Whether that takes no more jobs after this submit.
    pub seals: bool,
}

/// One thing that the jobs of a submit wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// What.
    pub on: AfterWhat,
    /// How it must end.
    pub when: Condition,
}

/// What the jobs of a submit wait for, as their producer names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterWhat {
    /// A job that is there.
    Job(JobId),
    /// A job of the same submit, by its place in it from 0 on; it must come before those that wait. So no circle can be written.
    Place(u32),
    /// A group. It comes into being if there is none: its jobs may come later.
    Group(GroupName),
}
