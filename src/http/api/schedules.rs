//! `/schedules`: jobs that are submitted by the clock.

use super::{Asked, Asker, At, Done, Reply, Routes, Sent, Told, ToldAll};
use crate::protocol::admin::{AdminRequest, ScheduleAdd, ScheduleView};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// How many next times are told if nobody says how many.
const NEXT: u32 = 5;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/schedules", "All schedules", &[], schedules)
        .post("/schedules", "Submits jobs by the clock from now on", &[409, 413], add)
        .get("/schedules/{name}", "One schedule", &[404], show)
        .delete("/schedules/{name}", "Forgets a schedule; its jobs stay", &[404, 409], remove)
        .get("/schedules/{name}/next", "Its next times", &[404], next)
        .post("/schedules/{name}/trigger", "Submits a job of it now", &[404, 409, 429, 507], trigger)
        .post("/schedules/{name}/pause", "Lets it submit nothing", &[404], pause)
        .delete("/schedules/{name}/pause", "Lets it submit again", &[404], resume)
}

async fn schedules(asker: Asker) -> Reply<ToldAll<ScheduleView>> {
    asker.ask_for_all(AdminRequest::Schedules {}).await
}

async fn add(asker: Asker, Sent(schedule): Sent<ScheduleAdd>) -> Reply<Told<ScheduleView>> {
    asker.ask(AdminRequest::ScheduleAdd(Box::new(schedule))).await
}

async fn show(asker: Asker, At(name): At<String>) -> Reply<Told<ScheduleView>> {
    asker.ask(AdminRequest::ScheduleShow { name }).await
}

async fn remove(asker: Asker, At(name): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::ScheduleRemove { name }).await
}

/// How many times.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Count {
    /// How many: 5 if it is not said, at most 1000.
    count: Option<u32>,
}

/// A point in time, in milliseconds since 1970 (UTC).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the loop has made the answer")]
struct Moment(u64);

async fn next(
    asker: Asker,
    At(name): At<String>,
    Asked(Count { count }): Asked<Count>,
) -> Reply<ToldAll<Moment>> {
    asker.ask_for_all(AdminRequest::ScheduleNext { name, count: count.unwrap_or(NEXT) }).await
}

/// A job that was submitted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the loop has made the answer")]
struct Triggered {
    id: u64,
}

async fn trigger(asker: Asker, At(name): At<String>) -> Reply<Told<Triggered>> {
    asker.ask(AdminRequest::ScheduleTrigger { name }).await
}

async fn pause(asker: Asker, At(name): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::SchedulePause { name }).await
}

async fn resume(asker: Asker, At(name): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::ScheduleResume { name }).await
}
