//! Queries and changes in JSON.

use super::{encode, schedules};
use crate::core::{Command, GroupAction, JobId};
use crate::protocol::admin::{AdminRequest, WaitForGroups};
use crate::server::requests::{self, EditRequest, RequestContext, millis};
use crate::server::{Fault, Hub, operators};
use crate::store::Store;
use crate::views::JobView;
use serde::Serialize;

pub(super) async fn handle<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    request: AdminRequest,
) -> Result<(), Fault> {
    let RequestContext { peer, now, .. } = context;
    let Some(request) = schedules::handle(hub, context, request)? else { return Ok(()) };
    match request {
        AdminRequest::Status {} => ready(hub, context, &operators::status(hub, peer, now)),
        AdminRequest::Metrics { after, .. } => {
            ready(hub, context, &operators::metrics(hub, peer, after.as_deref(), now));
        }
        AdminRequest::Stats { since_ms, queue } => {
            ready(hub, context, &operators::stats(hub, context, since_ms, queue).await?);
        }
        AdminRequest::LogLevel { filter } => {
            ready(hub, context, &operators::log_level(hub, peer, filter.as_deref())?);
        }
        AdminRequest::Queues {} => ready(hub, context, &operators::queues(hub, peer, now)),
        AdminRequest::List(query) => ready(hub, context, &operators::list(hub, peer, query).await?),
        AdminRequest::Show { id } => show(hub, context, operators::job(hub, peer, JobId(id))?).await,
        AdminRequest::Explain { id } => {
            ready(hub, context, &operators::explain(hub, peer, JobId(id), now)?);
        }
        AdminRequest::Wait { ids, timeout_ms } => {
            requests::wait(hub, context, ids, timeout_ms.map(millis))?;
        }
        AdminRequest::WaitForGroups(WaitForGroups { groups, first_error, timeout_ms }) => {
            operators::wait_for_groups(hub, context, &groups, first_error, timeout_ms.map(millis))?;
        }
        AdminRequest::Edit { edit, ids, state, queue, to, priority } => {
            requests::edit(hub, context, EditRequest { edit, ids, state, queue, to, priority })?;
        }
        AdminRequest::Pause { queue, for_ms } => {
            let time = for_ms.map(millis);
            requests::change_queue(hub, context, &queue, |queue| Command::Pause {
                queue,
                time,
                maker: None,
            })?;
        }
        AdminRequest::Resume { queue } => {
            requests::change_queue(hub, context, &queue, |queue| Command::Resume { queue })?;
        }
        AdminRequest::ResetCircuit { queue } => {
            requests::change_queue(hub, context, &queue, |queue| Command::ResetCircuit { queue })?;
        }
        AdminRequest::DeleteQueue { queue } => {
            requests::change_queue(hub, context, &queue, |queue| Command::ForgetQueue { queue })?;
        }
        AdminRequest::QueueSet { queue, set, unset } => {
            operators::set_queue(hub, context, &queue, &set, &unset)?;
        }
        AdminRequest::QueueShow { queue } => {
            ready(hub, context, &operators::queue_settings(hub, context, &queue)?);
        }
        AdminRequest::Purge { queue } => {
            requests::change_queue(hub, context, &queue, |queue| Command::Purge { queue })?;
        }
        AdminRequest::Drain {} => ready(hub, context, &operators::drain(hub, context, true)?),
        AdminRequest::Undrain {} => ready(hub, context, &operators::drain(hub, context, false)?),
        AdminRequest::Hold { queues, error, retry_ms } => {
            requests::hold(hub, context, &queues, (error.as_deref(), millis(retry_ms)))?;
        }
        AdminRequest::Topics {} => ready(hub, context, &operators::topics(hub)),
        AdminRequest::TopicBind { topic, queues } => operators::bind_topic(hub, context, &topic, &queues)?,
        AdminRequest::TopicUnbind { topic, queues } => {
            operators::unbind_topic(hub, context, &topic, &queues)?;
        }
        AdminRequest::Groups {} => ready(hub, context, &operators::groups(hub, context)),
        AdminRequest::GroupShow { name } => ready(hub, context, &operators::group(hub, context, &name)?),
        AdminRequest::GroupSeal { name } => operators::change_group(hub, context, &name, GroupAction::Seal)?,
        AdminRequest::GroupDelete { name } => {
            operators::change_group(hub, context, &name, GroupAction::Forget)?;
        }
        AdminRequest::Handlers {} => ready(hub, context, &operators::handlers(hub, peer)?),
        AdminRequest::ScheduleAdd(_)
        | AdminRequest::Schedules {}
        | AdminRequest::ScheduleShow { .. }
        | AdminRequest::ScheduleNext { .. }
        | AdminRequest::ScheduleTrigger { .. }
        | AdminRequest::SchedulePause { .. }
        | AdminRequest::ScheduleResume { .. }
        | AdminRequest::ScheduleRemove { .. } => unreachable!("schedules are handled before"),
    }
    Ok(())
}

/// Answers in JSON, once everything in the answer is on disk.
fn ready<S: Store + 'static, T: Serialize>(hub: &Hub<S>, context: RequestContext<'_>, view: &T) {
    hub.engine.borrow_mut().answer(context.origin, encode::ready(context.origin, view));
}

/// Answers with a job, and with the end of standard error of its newest failure. The connection waits for
/// these, so only one of them is read at a time for each connection.
async fn show<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>, mut view: JobView) {
    operators::stderr_tail(hub, &mut view).await;
    ready(hub, context, &view);
}
