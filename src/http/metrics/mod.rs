//! `/metrics`: what was counted, for Prometheus. The loop is asked page by page, so that a scrape of many queues holds up nobody, and
//! the text is put together here. Each name is in one place, and docs/monitoring.md is held to it by a test.

mod cluster;
mod process;
mod text;

use super::answer::ApiError;
use super::described::{Answered, Routes, Signature, Taken};
use super::serving::Front;
use crate::access::Caller;
use crate::client::{Client, ClientError};
use crate::protocol::admin::{
    AdminRequest, DaemonMetricsView, HistogramView, MetricsView, QueueMetricsView, QueueNowView,
};
use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use text::{Labels, Scale, Text};

pub(super) fn routes() -> Routes {
    Routes::new().get("/metrics", "What was counted, for Prometheus", &[], metrics)
}

/// Prometheus' text format.
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a scrape is answered with.
struct Scraped(String);

impl IntoResponse for Scraped {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, KIND)], self.0).into_response()
    }
}

impl Answered for Scraped {
    fn describe(signature: &mut Signature) {
        signature.answers(200, Some((KIND, json!({ "type": "string" }))));
    }
}

impl Taken for Extension<Caller> {
    fn describe(_: &mut Signature) {}
}

/// Answers a scrape.
async fn metrics(
    State(front): State<Front>,
    Extension(caller): Extension<Caller>,
) -> Result<Scraped, ApiError> {
    let seen = front.sight.as_ref().map(|sight| sight());
    let mut text = Text::default();
    // What the owner has counted it tells itself: told by each node, it would be added up.
    let owned = seen.iter().flatten().filter(|shard| shard.is_of_owner());
    let shards: Vec<u32> = owned.clone().filter_map(|view| view.shard).collect();
    if seen.is_none() || owned.count() > 0 {
        let (daemon, queues) = gather(&front.client(&caller).await?, shards).await?;
        of_queues(&mut text, &queues);
        of_daemon(&mut text, &daemon);
    }
    if let Some(seen) = &seen {
        cluster::write(&mut text, seen);
    }
    process::read().write(&mut text);
    Ok(Scraped(text.into()))
}

/// All pages; of these shards only, where there are several.
async fn gather(
    client: &Client,
    shards: Vec<u32>,
) -> Result<(DaemonMetricsView, Vec<QueueMetricsView>), ClientError> {
    let (mut daemon, mut queues, mut after) = (DaemonMetricsView::default(), Vec::new(), None);
    loop {
        let page: MetricsView = client.ask(AdminRequest::Metrics { after, shards: shards.clone() }).await?;
        daemon = page.daemon.unwrap_or(daemon);
        queues.extend(page.queues);
        after = page.next;
        if after.is_none() {
            return Ok((daemon, queues));
        }
    }
}

/// One gauge of a queue.
type OfNow = fn(&QueueNowView) -> f64;

/// One histogram of a queue.
type OfHistogram = fn(&QueueMetricsView) -> &HistogramView;

fn of_queues(text: &mut Text, queues: &[QueueMetricsView]) {
    type Of<T> = fn(&QueueMetricsView) -> T;
    let counters: [(&str, &str, Of<u64>); 10] = [
        ("musher_jobs_submitted_total", "Jobs submitted.", |queue| queue.submitted),
        ("musher_attempts_started_total", "Attempts begun: leases given out.", |queue| queue.started),
        ("musher_jobs_completed_total", "Jobs completed.", |queue| queue.completed),
        ("musher_attempts_failed_total", "Attempts failed, the last ones too.", |queue| queue.failed),
        (
            "musher_attempts_later_total",
            "Attempts of which the worker said that the job should come again later.",
            |queue| queue.later,
        ),
        ("musher_jobs_dead_total", "Jobs that became dead.", |queue| queue.dead),
        (
            "musher_attempts_interrupted_total",
            "Attempts whose worker vanished, or whose lease ended without a word.",
            |queue| queue.interrupted,
        ),
        ("musher_jobs_expired_total", "Jobs whose time was over before they ended.", |queue| queue.expired),
        ("musher_jobs_cancelled_total", "Jobs cancelled.", |queue| queue.cancelled),
        ("musher_jobs_dropped_total", "Jobs not taken or forgotten for want of room.", |queue| queue.dropped),
    ];
    for (name, help, of) in counters {
        text.counter(name, help);
        queues.iter().for_each(|queue| text.sample(name, &[("queue", &queue.queue)], of(queue)));
    }
    let name = "musher_queue_jobs";
    text.gauge(name, "Jobs by state.");
    for QueueMetricsView { queue, jobs, .. } in queues {
        jobs.iter().for_each(|(state, jobs)| text.sample(name, &[("queue", queue), ("state", state)], *jobs));
    }
    let gauges: [(&str, &str, OfNow); 3] = [
        (
            "musher_queue_oldest_ready_seconds",
            "For how long the ready job is ready that has waited longest; 0 if none is.",
            |now| now.oldest_ready_ms.unwrap_or(0) as f64 / 1e3,
        ),
        ("musher_queue_paused", "Whether the queue gives out no jobs: 1 or 0.", |now| {
            f64::from(u8::from(now.paused))
        }),
        ("musher_queue_circuit_open", "Whether the circuit of the queue is open: 1 or 0.", |now| {
            f64::from(u8::from(now.circuit_open))
        }),
    ];
    for (name, help, of) in gauges {
        text.gauge(name, help);
        let single = queues.iter().filter_map(|queue| Some((&queue.queue, queue.now.as_ref()?)));
        single.for_each(|(queue, now)| text.sample(name, &[("queue", queue)], of(now)));
    }
    let histograms: [(&str, &str, OfHistogram); 2] = [
        ("musher_job_wait_seconds", "How long jobs were ready before an attempt began.", |queue| {
            &queue.wait_ms
        }),
        (
            "musher_job_run_seconds",
            "How long attempts took whose workers have said how they ended.",
            |queue| &queue.run_ms,
        ),
    ];
    for (name, help, of) in histograms {
        text.histogram(name, help);
        queues
            .iter()
            .for_each(|queue| text.buckets(name, &[("queue", &queue.queue)], of(queue), Scale::Millis));
    }
}

fn of_daemon(text: &mut Text, daemon: &DaemonMetricsView) {
    let none: Labels<'_> = &[];
    text.gauge("musher_build_info", "The version of the daemon; always 1.");
    text.sample("musher_build_info", &[("version", &daemon.version)], 1);
    let gauges = [
        (
            "musher_draining",
            "Whether the daemon takes and gives out no jobs: 1 or 0.",
            daemon.draining.into(),
        ),
        ("musher_refusing", "Whether it takes no new jobs for want of room: 1 or 0.", daemon.refusing.into()),
        ("musher_connections", "Open connections.", daemon.connections),
        ("musher_claims_waiting", "Claims that wait for jobs.", daemon.waiting_claims),
        ("musher_submits_waiting", "Submits that wait for room.", daemon.waiting_submits),
        ("musher_queues", "Queues.", daemon.queues),
        ("musher_schedules", "Schedules.", daemon.schedules),
        (
            "musher_schedules_late",
            "Schedules with a time that has passed, 10 s ago or more, and was not dealt with.",
            daemon.schedules_late,
        ),
        ("musher_log_bytes", "Log that no checkpoint has freed.", daemon.log_bytes),
        (
            "musher_log_limit_bytes",
            "From how much such log on no new jobs are taken.",
            daemon.log_limit_bytes,
        ),
        ("musher_database_bytes", "The database's file.", daemon.database_bytes),
    ];
    for (name, help, value) in gauges {
        text.gauge(name, help);
        text.sample(name, none, value);
    }
    let counters = [
        ("musher_connections_opened_total", "Connections that were opened.", daemon.connections_total),
        ("musher_circuits_opened_total", "Circuits of queues that have opened.", daemon.circuits_opened),
        ("musher_checkpoints_total", "Checkpoints that have ended.", daemon.checkpoints),
        ("musher_spans_sent_total", "Spans that the collector has taken.", daemon.spans_sent),
        ("musher_spans_lost_total", "Spans that it has not taken, and will not get.", daemon.spans_lost),
    ];
    for (name, help, value) in counters {
        text.counter(name, help);
        text.sample(name, none, value);
    }
    let name = "musher_limits_hit_total";
    text.counter(name, "What was refused for a limit, by the limit.");
    daemon.limits_hit.iter().for_each(|(limit, times)| text.sample(name, &[("limit", limit)], *times));
    let name = "musher_commit_seconds";
    text.histogram(
        name,
        "How long turns of the loop took in which something was committed, the sync included.",
    );
    text.buckets(name, none, &daemon.commit_micros, Scale::Micros);
    let name = "musher_commit_size_bytes";
    text.histogram(name, "How many bytes commits have added to the log.");
    text.buckets(name, none, &daemon.commit_bytes, Scale::Bytes);
}

#[cfg(test)]
mod tests;
