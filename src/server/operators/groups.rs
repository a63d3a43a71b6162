//! Groups of jobs: what they are, and what may be done with them. Who made one may do it all; so may an administrator.

use crate::clock::Clock;
use crate::core::{
    Command, FlowRejection, GroupAction, GroupCounts, GroupName, GroupNo, JobGroup, Rejection, State,
};
use crate::engine::{GroupEnd, Refusal, WaitStage};
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::permissions::Permissions;
use crate::server::requests::RequestContext;
use crate::store::Store;
use crate::views::{GroupCountsView, GroupEndView, GroupView};
use std::time::Duration;

/// The groups that the caller may see, oldest first.
pub(crate) fn groups<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>) -> Vec<GroupView> {
    let (permissions, engine) = (hub.permissions(context.peer), hub.engine.borrow());
    let groups = engine.core().state.groups().iter().map(|(_, group)| group);
    groups.filter(|group| permissions.reads_group(group)).map(|group| view(group, &hub.clock)).collect()
}

/// One of them.
pub(crate) fn group<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
) -> Result<GroupView, Fault> {
    let (permissions, engine) = (hub.permissions(context.peer), hub.engine.borrow());
    let (_, group) = seen(&engine.core().state, &permissions, name)?;
    Ok(view(group, &hub.clock))
}

/// Waits until groups have ended; `first_error`: or one of the jobs of each has ended otherwise than done.
pub(crate) fn wait_for_groups<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    names: &[String],
    first_error: bool,
    wait: Option<Duration>,
) -> Result<(), Fault> {
    hub.check_batch(names.len())?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    let no = |name: &String| seen(&engine.core().state, &permissions, name).map(|(no, _)| no);
    let groups = names.iter().map(no).collect::<Result<_, _>>()?;
    engine.wait_for_groups(context.origin, groups, first_error, context.until(wait), context.now);
    Ok(())
}

/// One that is there for whoever asks.
fn seen<'a>(
    state: &'a State,
    permissions: &Permissions<'_>,
    name: &str,
) -> Result<(GroupNo, &'a JobGroup), Fault> {
    let name = group_name(name)?;
    let found = state.groups().named(&name).filter(|(_, group)| permissions.reads_group(group));
    let unknown = || Refusal::from(Rejection::from(FlowRejection::NoSuchGroup { group: name.clone() }));
    found.map(|(no, group)| (no, &**group)).ok_or_else(|| Fault::from(&unknown()))
}

/// How groups are that were waited for.
pub(crate) fn group_ends(ends: Vec<GroupEnd>) -> Vec<GroupEndView> {
    let view = |GroupEnd { group, stage }: GroupEnd| {
        let GroupCounts { dead, cancelled, expired, gone, .. } = group.counts;
        let state = match stage {
            WaitStage::Open if group.is_sealed => GroupEndView::SEALED,
            WaitStage::Open => GroupEndView::OPEN,
            _ if dead + expired > 0 => GroupEndView::FAILED,
            _ if cancelled > 0 => GroupEndView::CANCELLED,
            WaitStage::Gone => GroupEndView::GONE,
            WaitStage::Over if gone > 0 => GroupEndView::GONE,
            WaitStage::Over => GroupEndView::DONE,
        };
        let counts = counts_view(&group.counts);
        GroupEndView { group: group.name.to_string(), state: state.into(), counts }
    };
    ends.into_iter().map(view).collect()
}

/// Does something with one.
pub(crate) fn change_group<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
    action: GroupAction,
) -> Result<(), Fault> {
    let name = group_name(name)?;
    let is_admin = hub.permissions(context.peer).daemon().is_ok();
    let by = Some(context.peer.caller.uid).filter(|_| !is_admin);
    let command = Command::Group { name, action, by };
    hub.engine.borrow_mut().change_queue(context.origin, &command, context.now);
    Ok(())
}

/// Reads a name.
pub(crate) fn group_name(name: &str) -> Result<GroupName, Fault> {
    GroupName::new(name).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))
}

fn view(group: &JobGroup, clock: &Clock) -> GroupView {
    GroupView {
        group: group.name.as_str().into(),
        owner: group.owner,
        made_at: clock.shown(group.made).0,
        sealed: group.is_sealed,
        counts: counts_view(&group.counts),
        ended_at: group.ended.map(|(at, _)| clock.shown(at).0),
        kept_until: group.ended.map(|(_, until)| clock.shown(until).0),
    }
}

fn counts_view(counts: &GroupCounts) -> GroupCountsView {
    let GroupCounts { live, done, dead, cancelled, expired, gone } = *counts;
    GroupCountsView { total: counts.total(), live, done, dead, cancelled, expired, gone }
}
