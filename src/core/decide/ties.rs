//! Decides what the jobs of a submit wait for, and which group they belong to. What is refused is found before anything
//! happens.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{Group, Receipt};
use crate::core::event::{Event, RowEvent};
use crate::core::flow::{After, AfterWhat, Edge, Target, TargetEnd, Ties, Waits};
use crate::core::groups::{GroupName, GroupNo, JobGroup};
use crate::core::ids::{IdRange, JobId};
use crate::core::job::{Spec, SpecOptions};
use crate::core::rejection::FlowRejection;
use std::collections::HashSet;
use std::sync::Arc;

/// The jobs of a submit that come before, by their places.
#[derive(Clone, Copy, Debug)]
pub(super) enum Places<'a> {
    /// Their ids follow each other from here on.
    From(JobId),
    /// They are these.
    Are(&'a [Receipt]),
}

impl Places<'_> {
    /// The job at a place that comes before.
    fn job(self, place: u32) -> JobId {
        match self {
            Places::From(first) => first.plus(place.into()),
            Places::Are(receipts) => receipts[place as usize].id(),
        }
    }
}

impl<R: Recorder> Decision<'_, R> {
    /// Whether the ties of a submit are refused.
    pub(super) fn check_ties(&self, groups: &[Group]) -> Result<(), FlowRejection> {
        let (mut at, mut new) = (0, HashSet::new());
        for group in groups {
            if let Some(ties) = &group.ties {
                self.check_ties_of(group, ties, at)?;
                let named = ties.after.iter().filter_map(|after| match &after.on {
                    AfterWhat::Group(name) => Some(name),
                    AfterWhat::Job(_) | AfterWhat::Place(_) => None,
                });
                new.extend(named.chain(&ties.group).filter(|name| self.state().groups.named(name).is_none()));
            }
            at += group.count;
        }
        let Some(owner) = groups.first().map(|group| group.spec.owner).filter(|_| !new.is_empty()) else {
            return Ok(());
        };
        let (groups, settings) = (&self.state().groups, &self.core.settings);
        if groups.len() + new.len() > settings.groups_max {
            return Err(FlowRejection::TooManyGroups { limit: settings.groups_max });
        }
        let is_bounded = owner != 0 && owner != settings.own_user;
        if is_bounded && groups.made_by(owner) + new.len() > settings.groups_per_user {
            return Err(FlowRejection::TooManyOwnGroups { limit: settings.groups_per_user });
        }
        Ok(())
    }

    /// `at`: the place of the first job that has them.
    fn check_ties_of(&self, group: &Group, ties: &Ties, at: u64) -> Result<(), FlowRejection> {
        let owner = group.spec.owner;
        if let Some(name) = &ties.group
            && let Some((no, found)) = self.own_group(name, owner)?
        {
            // A job of the group that is completed with it may bring more.
            let is_member = || {
                let job = self.completes.and_then(|id| self.state().job(id));
                job.is_some_and(|job| job.spec.group == Some(no))
            };
            if found.is_sealed && !is_member() {
                return Err(FlowRejection::Sealed { group: name.clone() });
            }
        }
        if ties.after.len() > Waits::MAX {
            return Err(FlowRejection::TooManyEdges { count: ties.after.len(), limit: Waits::MAX });
        }
        for After { on, .. } in &ties.after {
            match on {
                AfterWhat::Place(place) if u64::from(*place) >= at => {
                    return Err(FlowRejection::NotBefore { at, place: *place });
                }
                AfterWhat::Place(_) => {}
                AfterWhat::Job(id) if self.is_known_to(*id, owner) => {}
                AfterWhat::Job(id) => return Err(FlowRejection::NoSuchJob { id: *id }),
                AfterWhat::Group(name) if ties.group.as_ref() == Some(name) => {
                    return Err(FlowRejection::WaitsForItself { group: name.clone() });
                }
                AfterWhat::Group(name) => drop(self.own_group(name, owner)?),
            }
        }
        Ok(())
    }

    /// The group of this name, if there is one, which must be this user's.
    fn own_group(
        &self,
        name: &GroupName,
        user: u32,
    ) -> Result<Option<(GroupNo, &Arc<JobGroup>)>, FlowRejection> {
        let Some((no, group)) = self.state().groups.named(name) else { return Ok(None) };
        match self.is_of(group.owner, user) {
            true => Ok(Some((no, group))),
            false => Err(FlowRejection::NotYours { group: name.clone() }),
        }
    }

    /// Whether what one user made is there for another.
    pub(super) fn is_of(&self, owner: u32, user: u32) -> bool {
        user == owner || user == 0 || user == self.core.settings.own_user
    }

    /// Whether a job is there for a user, or it is known how it ended.
    fn is_known_to(&self, id: JobId, user: u32) -> bool {
        let lately = || self.state().recent_end(id).is_some_and(|end| self.is_of(end.owner, user));
        self.state().job(id).map_or_else(lately, |job| self.visibility.sees(&job.spec))
    }

    /// The same jobs, as members of their group, which comes into being if there is none.
    pub(super) fn of_its_group(&mut self, group: &Group, ties: &Ties) -> Group {
        let no = ties.group.as_ref().map(|name| self.group_named(name, group.spec.owner));
        let options = SpecOptions { group: no, ..(*group.spec.options).clone() };
        let spec: Spec = group.spec.with_options(options.into());
        Group { spec: spec.into(), ties: None, ..group.clone() }
    }

    fn group_named(&mut self, name: &GroupName, owner: u32) -> GroupNo {
        if let Some((no, _)) = self.state().groups.named(name) {
            return no;
        }
        let group = self.state().groups.next_no();
        let now = JobGroup::new(name.clone(), owner, self.moment.now);
        self.emit(RowEvent::GroupChanged { group, now: now.into() });
        group
    }

    /// Jobs that have just arrived wait, unless what they wait for was so lately that nothing else is left of it.
    pub(super) fn let_wait(&mut self, jobs: IdRange, ties: &Ties, owner: u32, places: Places<'_>) {
        let mut edges = Vec::with_capacity(ties.after.len());
        for After { on, when } in &ties.after {
            let on = match on {
                AfterWhat::Job(id) => Target::Job(*id),
                AfterWhat::Place(place) => Target::Job(places.job(*place)),
                AfterWhat::Group(name) => Target::Group(self.group_named(name, owner)),
            };
            let is_met = match on {
                Target::Job(id) if !self.state().contains(id) => self.end_of(on).meets(*when),
                Target::Job(_) | Target::Group(_) => false,
            };
            if !is_met {
                edges.push(Edge { on, when: *when, is_held: false });
            }
        }
        if let Some(waits) = Waits::new(edges, ties.on_unmet) {
            self.emit(Event::WaitsFor { jobs: jobs.into(), waits: waits.into() });
        }
    }

    /// How a target ended that has ended or is gone.
    pub(super) fn end_of(&self, target: Target) -> TargetEnd {
        let end = match target {
            Target::Job(id) => {
                let kind = self.state().job(id).map(|job| job.kind());
                let lately = || self.state().recent_end(id).map(|end| end.kind);
                kind.or_else(lately).filter(|kind| kind.is_final()).map(TargetEnd::of_job)
            }
            Target::Group(no) => self.state().groups.get(no).and_then(|group| group.end()),
        };
        end.unwrap_or(TargetEnd::GONE)
    }

    /// The groups that are complete with this submit take no more.
    pub(super) fn seal_groups(&mut self, groups: &[Group]) {
        for group in groups {
            // One that has no jobs, since other jobs have all their unique keys, has ended well.
            let sealed = group.ties.as_ref().filter(|ties| ties.seals).and_then(|ties| ties.group.as_ref());
            if let Some(name) = sealed {
                let no = self.group_named(name, group.spec.owner);
                self.flow.sealed.push(no);
            }
        }
    }
}
