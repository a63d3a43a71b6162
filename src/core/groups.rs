//! Groups: jobs that are waited for together. A group takes jobs until it is sealed, and has ended when it is sealed and none
//! of its jobs is left to run. What was counted of it outlives its jobs; it is forgotten some time after its end.

use super::flow::TargetEnd;
use super::job::{BadQueueName, QueueName, StateKind};
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// The number of a group, which is never used again: one of the same name that comes later is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNo(pub u64);

/// The name of a group. The rule is that of queues.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(QueueName);

/// A group name that breaks the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a group name: use 1 to {max} of the characters A-Z a-z 0-9 . _ - / : + ; $ ( ), not beginning with -",
    max = QueueName::MAX
)]
pub struct BadGroupName(String);

impl GroupName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadGroupName`], with the name cut to a length that can be shown.
    pub fn new(name: &str) -> Result<GroupName, BadGroupName> {
        QueueName::new(name).map(GroupName).map_err(|BadQueueName(name)| BadGroupName(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobGroup {
    /// Its name.
    pub name: GroupName,
    /// The user who made it.
    pub owner: u32,
    /// When it was made.
    pub made: Time,
    /// Whether it takes no more jobs.
    pub is_sealed: bool,
    /// Its jobs.
    pub counts: GroupCounts,
    /// When it ended, if it has; and when it is forgotten, unless something waits for it then.
    pub ended: Option<(Time, Time)>,
}

/// How many jobs of a group are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Not ended.
    pub live: u64,
    /// Done.
    pub done: u64,
    /// Dead.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Expired.
    pub expired: u64,
    /// Deleted or dropped before they ended.
    pub gone: u64,
}

impl GroupCounts {
    /// All jobs that ever belonged to it.
    pub fn total(&self) -> u64 {
        self.live + self.done + self.not_done()
    }

    /// Those of them that ended otherwise than done, or were gone before.
    pub fn not_done(&self) -> u64 {
        let GroupCounts { dead, cancelled, expired, gone, .. } = self;
        dead + cancelled + expired + gone
    }

    fn of(&mut self, kind: StateKind) -> &mut u64 {
        match kind {
            StateKind::Scheduled | StateKind::Waiting | StateKind::Ready | StateKind::Leased => {
                &mut self.live
            }
            StateKind::Done => &mut self.done,
            StateKind::Dead => &mut self.dead,
            StateKind::Cancelled => &mut self.cancelled,
            StateKind::Expired => &mut self.expired,
        }
    }

    /// So many jobs have come into a state, from another one if they were there before. Those that are deleted after their end
    /// stay counted.
    pub(super) fn count(&mut self, jobs: u64, from: Option<StateKind>, to: Option<StateKind>) {
        if to.is_none() && from.is_some_and(StateKind::is_final) {
            return;
        }
        if let Some(from) = from {
            let from = self.of(from);
            debug_assert!(*from >= jobs, "they were counted");
            *from = from.saturating_sub(jobs);
        }
        match to {
            Some(to) => *self.of(to) += jobs,
            None => self.gone += jobs,
        }
    }
}

impl JobGroup {
    /// A new one.
    pub(super) fn new(name: GroupName, owner: u32, made: Time) -> JobGroup {
        JobGroup { name, owner, made, is_sealed: false, counts: GroupCounts::default(), ended: None }
    }

    /// Whether nothing more can happen in it.
    pub(super) fn is_over(&self) -> bool {
        self.is_sealed && self.counts.live == 0
    }

    /// How it ended. A group without jobs ended well.
    pub(super) fn end(&self) -> Option<TargetEnd> {
        self.ended?;
        let failed = self.counts.dead + self.counts.expired > 0;
        Some(TargetEnd { well: self.counts.not_done() == 0, failed, ended: true })
    }
}

/// All groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobGroups {
    groups: BTreeMap<GroupNo, Arc<JobGroup>>,
    by_name: HashMap<GroupName, GroupNo>,
    /// When those that have ended are forgotten.
    due: BTreeSet<(Time, GroupNo)>,
    /// How many each user has made.
    of_owner: HashMap<u32, usize>,
    next: u64,
}

impl JobGroups {
    /// One of them.
    pub fn get(&self, no: GroupNo) -> Option<&Arc<JobGroup>> {
        self.groups.get(&no)
    }

    /// The one of this name.
    pub fn named(&self, name: &GroupName) -> Option<(GroupNo, &Arc<JobGroup>)> {
        let no = *self.by_name.get(name)?;
        Some((no, self.get(no)?))
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (GroupNo, &Arc<JobGroup>)> {
        self.groups.iter().map(|(no, group)| (*no, group))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// How many a user has made of them.
    pub(super) fn made_by(&self, owner: u32) -> usize {
        self.of_owner.get(&owner).copied().unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The number of the next one.
    pub(super) fn next_no(&self) -> GroupNo {
        GroupNo(self.next)
    }

    /// The first that is to be forgotten, and when.
    pub(super) fn first_due(&self) -> Option<(Time, GroupNo)> {
        self.due.first().copied()
    }

    /// This is all that is known of it now.
    pub(super) fn set(&mut self, no: GroupNo, group: Arc<JobGroup>) {
        self.forget(no);
        self.next = self.next.max(no.0 + 1);
        self.by_name.insert(group.name.clone(), no);
        *self.of_owner.entry(group.owner).or_default() += 1;
        self.due.extend(group.ended.map(|(_, until)| (until, no)));
        self.groups.insert(no, group);
    }

    /// A job belongs to it, which may outlive what is known of the group: no other one gets its number.
    pub(super) fn is_referred_to(&mut self, no: GroupNo) {
        self.next = self.next.max(no.0 + 1);
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&mut self, no: GroupNo) {
        let Some(group) = self.groups.remove(&no) else { return };
        if let Some((_, until)) = group.ended {
            self.due.remove(&(until, no));
        }
        if let Some(count) = self.of_owner.get_mut(&group.owner) {
            *count -= 1;
            if *count == 0 {
                self.of_owner.remove(&group.owner);
            }
        }
        // At recovery, another one may have its name already.
        if self.by_name.get(&group.name) == Some(&no) {
            self.by_name.remove(&group.name);
        }
    }

    /// Panics if the indexes are not what the groups say.
    pub(super) fn check(&self) {
        let mut all = JobGroups { next: self.next, ..JobGroups::default() };
        for (no, group) in self.iter() {
            all.set(no, group.clone());
            assert_eq!(group.ended.is_some(), group.is_over(), "whether group {no:?} has ended");
        }
        assert_eq!(*self, all, "the groups");
    }
}
