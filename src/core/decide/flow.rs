//! Decides what the end of a job means for others: its group counts it, and those that wait for it go on, are cancelled, or
//! wait on. It follows every command in the same commit, as far as that stays small; the rest follows with the next tick.

use super::Decision;
use crate::core::change::{Change, Recorder};
use crate::core::command::{GroupAction, Outcome};
use crate::core::event::{Ending, Event, RowEvent};
use crate::core::flow::{EdgeFate, OnUnmet, Target};
use crate::core::groups::{GroupCounts, GroupName, GroupNo, JobGroup};
use crate::core::ids::{IdRange, Ids};
use crate::core::job::{Job, StateKind};
use crate::core::rejection::{FlowRejection, Rejection};
use crate::core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most different jobs that are told in one decision. Those that are alike count once.
const TOLD_AT_ONCE: usize = 1_024;
/// The most groups that one tick forgets.
const FORGOTTEN_AT_ONCE: usize = 1_024;

/// What has happened in this decision that means something for others.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Jobs of a group that have come into a state, from another one unless they are new; `None` where they are forgotten.
    members: Vec<(GroupNo, u64, Option<StateKind>, Option<StateKind>)>,
    /// Jobs that run again after their end.
    revived: Vec<IdRange>,
    /// Groups that take no more.
    pub(super) sealed: Vec<GroupNo>,
    /// How many different jobs were told.
    told: usize,
}

impl Flow {
    /// Sees a change of jobs.
    pub(super) fn see(&mut self, change: &Change<'_>) {
        let (from, to) = (change.from, (!change.forgotten).then(|| change.job.kind()));
        let is_live = |kind: Option<StateKind>| kind.is_some_and(|kind| !kind.is_final());
        if is_live(to) && is_live(from) {
            return;
        }
        if from.is_some() && is_live(to) {
            self.revived.push(change.jobs);
        }
        if let Some(group) = change.job.spec.group {
            // Of those that are forgotten at their end, that counts.
            let end = change.job.kind();
            let to = if change.forgotten && is_live(from) && end.is_final() { Some(end) } else { to };
            self.members.push((group, change.jobs.len, from, to));
        }
    }

    /// New jobs of a group for which there was no room: they are gone before they were there.
    pub(super) fn not_taken(&mut self, group: GroupNo, jobs: u64) {
        self.members.push((group, jobs, None, None));
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.revived.is_empty() && self.sealed.is_empty()
    }
}

impl<R: Recorder> Decision<'_, R> {
    /// Tells those that wait for what has ended.
    pub(super) fn tell(&mut self) {
        loop {
            if !self.flow.is_empty() {
                self.open_again();
                self.count_members();
            }
            let left = TOLD_AT_ONCE.saturating_sub(self.flow.told);
            let waiters = &self.state().waiters;
            // How something ended of which nothing is left is known for a while only: that cannot wait.
            let gone = waiters.first_gone();
            let Some(target) = gone.or_else(|| waiters.first_ended().filter(|_| left > 0)) else { return };
            let most = if gone.is_some() { usize::MAX } else { left };
            self.flow.told += self.tell_of(target, most);
        }
    }

    /// Tells at most so many different jobs of the end of a target. Returns how many it were.
    fn tell_of(&mut self, target: Target, most: usize) -> usize {
        let end = self.end_of(target);
        let (mut go_on, mut wait_on, mut told) = (Ids::new(), Ids::new(), 0);
        let mut cancelled: BTreeMap<Option<Time>, Ids> = BTreeMap::new();
        let ranges = self.state().waiters.of(target);
        for (part, job) in ranges.flat_map(|range| self.state().iter(range)).take(most) {
            told += 1;
            let Some(waits) = job.waits_for() else { continue };
            if waits.on(target).all(|edge| end.meets(edge.when)) {
                go_on.push_range(part);
                continue;
            }
            match waits.on_unmet {
                OnUnmet::Run => go_on.push_range(part),
                OnUnmet::Hold => wait_on.push_range(part),
                OnUnmet::Cancel => self.add_cancelled(&mut cancelled, part, job),
            }
        }
        let at = self.moment.now;
        for (jobs, fate) in [(go_on, EdgeFate::Gone), (wait_on, EdgeFate::Held)] {
            if !jobs.is_empty() {
                self.emit(Event::EdgesChanged { jobs: jobs.clone(), on: target, fate, at });
                self.expire_what_is_over(&jobs);
            }
        }
        for (keep_until, jobs) in cancelled {
            self.emit(Event::Cancelled { jobs, end: Ending { at, keep_until } });
        }
        told
    }

    /// Of those that are not kept, and for which others wait, the end is known until these were told: so however long a chain
    /// is, it is told a part at a time.
    fn add_cancelled(&self, cancelled: &mut BTreeMap<Option<Time>, Ids>, part: IdRange, job: &Job) {
        let Ending { at, keep_until } = self.ending(job, self.settings_of(job).keep_done);
        let is_waited_for = || self.state().waiters.targets_in(part, false).next().is_some();
        let keep_until = keep_until.or_else(|| is_waited_for().then_some(at));
        cancelled.entry(keep_until).or_default().push_range(part);
    }

    /// Those that waited on for what runs again wait for it as before.
    fn open_again(&mut self) {
        for range in std::mem::take(&mut self.flow.revived) {
            let targets: Vec<Target> = self.state().waiters.targets_in(range, true).collect();
            targets.into_iter().for_each(|target| self.open(target));
        }
    }

    fn open(&mut self, on: Target) {
        let mut jobs = Ids::new();
        self.state().waiters.held_by(on).for_each(|range| jobs.push_range(range));
        if !jobs.is_empty() {
            self.emit(Event::EdgesChanged { jobs, on, fate: EdgeFate::Open, at: self.moment.now });
        }
    }

    /// Groups count what has become of their jobs, and end with the last one.
    fn count_members(&mut self) {
        let mut changed: BTreeMap<GroupNo, JobGroup> = BTreeMap::new();
        let (members, sealed) =
            (std::mem::take(&mut self.flow.members), std::mem::take(&mut self.flow.sealed));
        let groups = &self.state().groups;
        let mut change = |no: GroupNo, change: &dyn Fn(&mut JobGroup)| {
            // A job may outlive its group.
            let Some(group) = groups.get(no) else { return };
            change(changed.entry(no).or_insert_with(|| (**group).clone()));
        };
        for (no, jobs, from, to) in members {
            change(no, &|group| group.counts.count(jobs, from, to));
        }
        for no in sealed {
            change(no, &|group| group.is_sealed = true);
        }
        for (no, group) in changed {
            self.change_group(no, group);
        }
    }

    fn change_group(&mut self, no: GroupNo, mut group: JobGroup) {
        let Some(before) = self.state().groups.get(no).cloned() else { return };
        let now = self.moment.now;
        let until = now.plus(self.core.settings.groups_kept);
        group.ended = group.is_over().then(|| group.ended.unwrap_or((now, until)));
        if group == *before {
            return;
        }
        let opens = before.ended.is_some() && group.ended.is_none();
        self.emit(RowEvent::GroupChanged { group: no, now: group.into() });
        if opens {
            self.open(Target::Group(no));
        }
    }

    pub(super) fn group(
        &mut self,
        name: &GroupName,
        action: GroupAction,
        by: Option<u32>,
    ) -> Result<Outcome, Rejection> {
        let found = self.state().groups.named(name);
        let (no, group) = found.ok_or_else(|| FlowRejection::NoSuchGroup { group: name.clone() })?;
        if by.is_some_and(|user| !self.is_of(group.owner, user)) {
            return Err(FlowRejection::NotYours { group: name.clone() }.into());
        }
        match action {
            GroupAction::Seal => self.flow.sealed.push(no),
            GroupAction::Forget => {
                if let GroupCounts { live: jobs @ 1.., .. } = group.counts {
                    return Err(FlowRejection::HasJobs { group: name.clone(), jobs }.into());
                }
                if self.state().waiters.wait_for(Target::Group(no)) {
                    return Err(FlowRejection::IsWaitedFor { group: name.clone() }.into());
                }
                self.emit(RowEvent::GroupForgotten { group: no });
            }
        }
        Ok(Outcome::Ok)
    }

    /// Forgets groups whose end is long enough ago. One that is still waited for stays.
    pub(super) fn forget_groups(&mut self) {
        let now = self.moment.now;
        for _ in 0..FORGOTTEN_AT_ONCE {
            let due = self.state().groups.first_due().filter(|(due, _)| *due <= now);
            let Some((_, no)) = due else { return };
            let waited_for = self.state().waiters.wait_for(Target::Group(no));
            let Some(group) = self.state().groups.get(no).filter(|_| waited_for) else {
                self.emit(RowEvent::GroupForgotten { group: no });
                continue;
            };
            let until = now.plus(self.core.settings.groups_kept.max(super::A_SECOND));
            let ended = group.ended.map(|(at, _)| (at, until));
            let group = JobGroup { ended, ..(**group).clone() };
            self.emit(RowEvent::GroupChanged { group: no, now: Arc::new(group) });
        }
    }
}
