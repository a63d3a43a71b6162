//! Groups of jobs: what they are, and what may be done with them. Who made one may do it all; so may an administrator. And
//! topics, which everybody may see.

use crate::clock::Clock;
use crate::core::{Command, GroupAction, GroupName, JobGroup, QueueName};
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::requests::RequestContext;
use crate::store::Store;
use crate::views::{GroupView, TopicView};

/// The groups that the caller may see, oldest first.
pub(crate) fn groups<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>) -> Vec<GroupView> {
    let engine = hub.engine.borrow();
    let groups = engine.core().state.groups().iter().map(|(_, group)| group);
    groups.filter(|group| sees(hub, context, group)).map(|group| view(group, &hub.clock)).collect()
}

/// One of them.
pub(crate) fn group<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
) -> Result<GroupView, Fault> {
    let name = group_name(name)?;
    let engine = hub.engine.borrow();
    let found = engine.core().state.groups().named(&name).map(|(_, group)| group);
    let group = found.filter(|group| sees(hub, context, group));
    group.map(|group| view(group, &hub.clock)).ok_or_else(|| {
        let message = format!(
            "no such group: `{name}` (it comes into being with its first job, and is forgotten some time after its end)"
        );
        Fault::new(Kind::NotFound, message)
    })
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

/// The topics.
pub(crate) fn topics<S: Store + 'static>(hub: &Hub<S>) -> Vec<TopicView> {
    let service = hub.service.borrow();
    let view = |(topic, queues): (&str, &[QueueName])| TopicView {
        topic: topic.to_owned(),
        queues: queues.iter().map(|queue| queue.as_str().to_owned()).collect(),
    };
    service.topics.iter().map(view).collect()
}

/// Reads a name.
pub(crate) fn group_name(name: &str) -> Result<GroupName, Fault> {
    GroupName::new(name).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))
}

fn sees<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>, group: &JobGroup) -> bool {
    group.owner == context.peer.caller.uid || hub.permissions(context.peer).reads_everything()
}

fn view(group: &JobGroup, clock: &Clock) -> GroupView {
    let counts = group.counts;
    GroupView {
        group: group.name.as_str().into(),
        owner: group.owner,
        made_at: clock.shown(group.made).0,
        sealed: group.is_sealed,
        total: counts.total(),
        live: counts.live,
        done: counts.done,
        dead: counts.dead,
        cancelled: counts.cancelled,
        expired: counts.expired,
        gone: counts.gone,
        ended_at: group.ended.map(|(at, _)| clock.shown(at).0),
        kept_until: group.ended.map(|(_, until)| clock.shown(until).0),
    }
}
