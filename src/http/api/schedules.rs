//! `/schedules`: jobs that are submitted by the clock.

use super::{Asked, Asker, At, Front, Reply, Sent};
use crate::protocol::admin::{AdminRequest, ScheduleAdd};
use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

/// How many next times are told if nobody says how many.
const NEXT: u32 = 5;

pub(super) fn routes() -> Router<Front> {
    let list = async |asker: Asker| -> Reply { asker.ask(AdminRequest::Schedules {}).await };
    Router::new()
        .route("/schedules", get(list).post(add))
        .route("/schedules/{name}", get(show).delete(remove))
        .route("/schedules/{name}/next", get(next))
        .route("/schedules/{name}/trigger", post(trigger))
        .route("/schedules/{name}/pause", post(pause).delete(resume))
}

async fn add(asker: Asker, Sent(schedule): Sent<ScheduleAdd>) -> Reply {
    asker.ask(AdminRequest::ScheduleAdd(Box::new(schedule))).await
}

async fn show(asker: Asker, At(name): At<String>) -> Reply {
    asker.ask(AdminRequest::ScheduleShow { name }).await
}

async fn remove(asker: Asker, At(name): At<String>) -> Reply {
    asker.done(AdminRequest::ScheduleRemove { name }).await
}

/// How many times.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    count: Option<u32>,
}

async fn next(asker: Asker, At(name): At<String>, Asked(Count { count }): Asked<Count>) -> Reply {
    asker.ask(AdminRequest::ScheduleNext { name, count: count.unwrap_or(NEXT) }).await
}

async fn trigger(asker: Asker, At(name): At<String>) -> Reply {
    asker.ask(AdminRequest::ScheduleTrigger { name }).await
}

async fn pause(asker: Asker, At(name): At<String>) -> Reply {
    asker.done(AdminRequest::SchedulePause { name }).await
}

async fn resume(asker: Asker, At(name): At<String>) -> Reply {
    asker.done(AdminRequest::ScheduleResume { name }).await
}
