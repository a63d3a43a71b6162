//! Who waits for what: the jobs that wait, by what they wait for. It also knows which targets have ended, or are gone, while
//! somebody waits who has not been told; so nobody is ever forgotten, however many there are and wherever a crash comes.

use super::flow::Target;
use super::groups::{JobGroup, JobGroups};
use super::ids::{IdRange, JobId};
use super::job::Job;
use super::keyed::Keyed;
use super::runs::Runs;
use std::collections::BTreeSet;

/// Whether something that is waited for may still end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetState {
    /// It may.
    Open,
    /// It has ended, and it is known how.
    Ended,
    /// Nothing is known of it.
    Gone,
}

impl TargetState {
    pub(super) fn of_job(job: &Job) -> TargetState {
        if job.kind().is_final() { TargetState::Ended } else { TargetState::Open }
    }

    pub(super) fn of_group(group: &JobGroup) -> TargetState {
        if group.ended.is_some() { TargetState::Ended } else { TargetState::Open }
    }

    pub(super) fn of(target: Target, jobs: &Runs, groups: &JobGroups) -> TargetState {
        let found = match target {
            Target::Job(id) => jobs.get(id).map(TargetState::of_job),
            Target::Group(no) => groups.get(no).map(|group| TargetState::of_group(group)),
        };
        found.unwrap_or(TargetState::Gone)
    }
}

/// An index over the jobs that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    /// By target, and whether that has ended otherwise than it should, and they wait on.
    by_target: Keyed<(Target, bool)>,
    /// The targets that have ended, and for which somebody waits who was not told.
    ended: BTreeSet<Target>,
    /// Those of which nothing is known any more.
    gone: BTreeSet<Target>,
}

impl Waiters {
    /// Jobs wait, for targets in whatever states.
    pub(super) fn enter(&mut self, range: IdRange, job: &Job, state: impl Fn(Target) -> TargetState) {
        for (target, is_held) in targets(job) {
            self.by_target.insert((target, is_held), range);
            if !is_held {
                self.note(target, state(target));
            }
        }
    }

    /// They wait no more, or in another way.
    pub(super) fn leave(&mut self, range: IdRange, job: &Job) {
        for (target, is_held) in targets(job) {
            self.by_target.remove((target, is_held), range);
            if !is_held && self.of(target).next().is_none() {
                self.note(target, TargetState::Open);
            }
        }
    }

    /// These jobs, for which others may wait, are in a state.
    pub(super) fn jobs_changed(&mut self, range: IdRange, state: TargetState) {
        if !self.is_empty() {
            let targets: Vec<Target> = self.targets_in(range, false).collect();
            targets.into_iter().for_each(|target| self.note(target, state));
        }
    }

    /// A target is in a state.
    pub(super) fn target_changed(&mut self, target: Target, state: TargetState) {
        if self.of(target).next().is_some() {
            self.note(target, state);
        }
    }

    /// Somebody waits for it who was not told.
    fn note(&mut self, target: Target, state: TargetState) {
        let mut keep_in = |set: fn(&mut Self) -> &mut BTreeSet<Target>, is_in| {
            let _ = if is_in { set(self).insert(target) } else { set(self).remove(&target) };
        };
        keep_in(|waiters| &mut waiters.ended, state == TargetState::Ended);
        keep_in(|waiters| &mut waiters.gone, state == TargetState::Gone);
    }

    /// Those that wait for a target and were not told that it has ended, if it has.
    pub(super) fn of(&self, target: Target) -> impl Iterator<Item = IdRange> + '_ {
        self.by_target.of((target, false))
    }

    /// Those that were told that it has not ended as it should, and wait on.
    pub(super) fn held_by(&self, target: Target) -> impl Iterator<Item = IdRange> + '_ {
        self.by_target.of((target, true))
    }

    /// Whether anything waits for a target.
    pub(super) fn wait_for(&self, target: Target) -> bool {
        self.of(target).chain(self.held_by(target)).next().is_some()
    }

    /// Whether nothing waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.by_target.len() == 0
    }

    /// A target of which nothing is known any more, and for which somebody waits who was not told.
    pub(super) fn first_gone(&self) -> Option<Target> {
        self.gone.first().copied()
    }

    /// The same of one that has ended.
    pub(super) fn first_ended(&self) -> Option<Target> {
        self.ended.first().copied()
    }

    /// The jobs of a range for which others wait: those that were told, or the others.
    pub(super) fn targets_in(&self, range: IdRange, are_held: bool) -> impl Iterator<Item = Target> + '_ {
        let mut from = range.first;
        std::iter::from_fn(move || {
            loop {
                let key = self.by_target.key_from((Target::Job(from), false));
                let (Target::Job(id), is_held) =
                    key.filter(|(target, _)| *target < Target::Job(range.end()))?
                else {
                    return None;
                };
                from = JobId(id.0 + 1);
                let has_held = || self.held_by(Target::Job(id)).next().is_some();
                if if are_held { has_held() } else { !is_held } {
                    return Some(Target::Job(id));
                }
            }
        })
    }

    /// Panics if these jobs, which are all, wait for something else.
    pub(super) fn check<'a>(
        &self,
        jobs: impl Iterator<Item = (IdRange, &'a Job)>,
        state: impl Fn(Target) -> TargetState,
    ) {
        let mut all = Waiters::default();
        jobs.for_each(|(range, job)| all.enter(range, job, &state));
        let each = |waiters: &Waiters| -> BTreeSet<_> {
            let entries = waiters.by_target.iter();
            entries.flat_map(|(key, range)| range.iter().map(move |id| (key, id))).collect()
        };
        assert_eq!(each(self), each(&all), "who waits for what");
        assert_eq!((&self.ended, &self.gone), (&all.ended, &all.gone), "what is to be told");
    }
}

/// What a job waits for, each once.
fn targets(job: &Job) -> impl Iterator<Item = (Target, bool)> {
    let edges = job.waits_for().into_iter().flat_map(|waits| &waits.edges);
    let mut last = None;
    // They are in order, and those on one target are all held or none is.
    edges.map(|edge| (edge.on, edge.is_held)).filter(move |key| last.replace(*key) != Some(*key))
}
