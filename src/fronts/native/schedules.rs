//! Questions in JSON that are about schedules.

use super::backoff::backoff;
use super::encode;
use crate::core::{Priority, SpecOptions};
use crate::protocol::WireBackoff;
use crate::protocol::admin::{AdminRequest, ScheduleAdd};
use crate::server::operators::{self, ScheduleRequest};
use crate::server::requests::{RequestContext, millis, queue_name};
use crate::server::{Fault, Hub, Kind};
use crate::store::Store;
use serde::Serialize;
use serde_json::json;
use std::os::unix::ffi::OsStringExt;

/// Asks for it; a request that is about anything else is handed back.
pub(super) fn handle<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    request: AdminRequest,
) -> Result<Option<AdminRequest>, Fault> {
    match request {
        AdminRequest::ScheduleAdd(add) => {
            ready(hub, context, &operators::add_schedule(hub, context, wanted(*add, context)?)?);
        }
        AdminRequest::Schedules {} => ready(hub, context, &operators::schedules(hub, context)),
        AdminRequest::ScheduleShow { name } => {
            ready(hub, context, &operators::schedule(hub, context, &name)?)
        }
        AdminRequest::ScheduleNext { name, count } => {
            ready(hub, context, &operators::next_times(hub, context, &name, count)?);
        }
        AdminRequest::ScheduleTrigger { name } => {
            let id = operators::trigger_schedule(hub, context, &name)?;
            ready(hub, context, &json!({ "id": id.0 }));
        }
        AdminRequest::SchedulePause { name } => operators::pause_schedule(hub, context, &name, true)?,
        AdminRequest::ScheduleResume { name } => operators::pause_schedule(hub, context, &name, false)?,
        AdminRequest::ScheduleRemove { name } => operators::remove_schedule(hub, context, &name)?,
        other => return Ok(Some(other)),
    }
    Ok(None)
}

fn wanted(add: ScheduleAdd, context: RequestContext<'_>) -> Result<ScheduleRequest, Fault> {
    let options = SpecOptions {
        priority: add.priority.map(Priority).unwrap_or_default(),
        attempts: add.attempts,
        backoff: match add.backoff.map(WireBackoff::try_from).transpose() {
            Ok(wire) => wire.map(backoff),
            Err(message) => return Err(Fault::new(Kind::Invalid, message)),
        },
        timeout: add.timeout_ms.map(millis),
        owner: context.peer.caller.uid,
        ..SpecOptions::plain(queue_name(&add.queue)?)
    };
    if add.zone.is_some() && add.cron.is_none() {
        return Err(Fault::new(Kind::Invalid, "a time zone without cron"));
    }
    Ok(ScheduleRequest {
        name: add.name,
        replace: add.replace,
        cron: add.cron.map(|cron| (cron, add.zone)),
        every: add.every_ms.map(millis),
        catch_up: add.catch_up,
        overlap: add.overlap,
        jitter: millis(add.jitter_ms),
        options,
        has_priority: add.priority.is_some(),
        ttl: add.ttl_ms.map(millis),
        deadline: add.deadline_ms.map(millis),
        key: add.key,
        tags: add.tags,
        body: add.body.0.into_vec(),
    })
}

/// Says an answer in JSON, once all that it tells of is on disk.
fn ready<S: Store + 'static, T: Serialize>(hub: &Hub<S>, context: RequestContext<'_>, view: &T) {
    hub.engine.borrow_mut().answer(context.origin, encode::ready(context.origin, view));
}
