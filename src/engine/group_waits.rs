//! Requests that wait until groups have ended, or a job of one has failed. A group counts its own jobs, so that nobody looks at them:
//! each request is looked at when it is answered, however many jobs the group has and however many wait for it.

use super::Engine;
use super::answer::{Answer, GroupEnd, Origin, Refusal, WaitStage};
use super::listener::Notes;
use super::watching::Ended;
use crate::core::{FlowRejection, GroupNo, JobGroup, Rejection, Time};
use crate::store::Store;
use std::sync::Arc;

/// A group that is waited for. Those that are waited for until the first error are behind the others of the same group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AwaitedGroup {
    no: GroupNo,
    /// Whether it is enough that one of its jobs has ended otherwise than done.
    first_error: bool,
}

/// Whether that is what is waited for.
fn is_over(group: &JobGroup, first_error: bool) -> bool {
    group.ended.is_some() || (first_error && group.counts.not_done() > 0)
}

impl Notes {
    /// A group has changed: answers those that have waited for this.
    pub(super) fn group_changed(&mut self, no: GroupNo, group: &Arc<JobGroup>, is_gone: bool) {
        let of = |no, first_error| AwaitedGroup { no, first_error };
        let all = of(no, false)..of(GroupNo(no.0.saturating_add(1)), false);
        let over = match is_gone || is_over(group, false) {
            true => all,
            false if is_over(group, true) => of(no, true)..all.end,
            false => return,
        };
        let stage = if is_gone { WaitStage::Gone } else { WaitStage::Over };
        let end = |_| GroupEnd { group: group.clone(), stage };
        for (origin, ends) in self.watching_groups.ended(over, end) {
            self.answer(origin, Answer::GroupsEnded(ends));
        }
    }
}

impl<S: Store> Engine<S> {
    /// Waits until groups, which must be there, have ended, at most until `until`. If `first_error`, one of which a job has ended
    /// otherwise than done is waited for no longer.
    pub fn wait_for_groups(
        &mut self,
        origin: Origin,
        groups: Vec<GroupNo>,
        first_error: bool,
        until: Time,
        now: Time,
    ) {
        let end = |no: GroupNo| {
            let group = self.core.state.groups().get(no).filter(|group| is_over(group, first_error));
            group.map(|group| GroupEnd { group: group.clone(), stage: WaitStage::Over })
        };
        let ends: Vec<_> = groups.into_iter().map(|no| (AwaitedGroup { no, first_error }, end(no))).collect();
        if until <= now || ends.iter().all(|(_, end)| end.is_some()) {
            return self.end_group_wait((origin, ends));
        }
        if !self.too_many_wait(origin, ends.len()) {
            self.notes.watching_groups.add(origin, until, ends);
        }
    }

    /// Refuses those waits for groups that name one which `is_hidden` says.
    pub fn withdraw_group_waits(&mut self, is_hidden: impl Fn(Origin, &JobGroup) -> bool) {
        let groups = self.core.state.groups();
        let hidden =
            |origin, of: AwaitedGroup| groups.get(of.no).is_some_and(|group| is_hidden(origin, group));
        for (origin, of) in self.notes.watching_groups.take(hidden) {
            let Some(group) = self.core.state.groups().get(of.no) else { continue };
            let refusal = FlowRejection::NoSuchGroup { group: group.name.clone() };
            self.answer(origin, Answer::Refused(Refusal::Core(Rejection::Flow(refusal))));
        }
    }

    /// Answers with how the groups are now.
    pub(super) fn end_group_wait(&mut self, (origin, ends): Ended<AwaitedGroup, GroupEnd>) {
        let groups = self.core.state.groups();
        let now = |of: AwaitedGroup| {
            let group = groups.get(of.no).expect("one that is forgotten is told of, and has an end by that");
            GroupEnd { group: group.clone(), stage: WaitStage::Open }
        };
        let ends = ends.into_iter().map(|(of, end)| end.unwrap_or_else(|| now(of))).collect();
        self.answer(origin, Answer::GroupsEnded(ends));
    }
}
