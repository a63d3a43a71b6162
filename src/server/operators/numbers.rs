//! What was counted: pages of it as it is now, and the past step by step.

use crate::clock::Clock;
use crate::core::{Queue, QueueName, StateKind, Time};
use crate::engine::Engine;
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::peer::Peer;
use crate::server::permissions::Permissions;
use crate::server::requests::{RequestContext, queue_name};
use crate::store::{Room, Store};
use crate::tally::{Count, Counts, Histogram, OTHERS, Past, Point, Rings};
use crate::views::{
    DaemonMetricsView, HistogramView, MetricsView, QueueMetricsView, QueueNowView, QueueStatsView, StatsView,
    Steps,
};

/// So many queues are on a page: a fraction of a millisecond of the loop.
const PAGE: usize = 50;
/// The powers of two that times and sizes are told by.
const POWERS: [u32; 22] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 24, 26, 27];
/// About how many numbers an answer about the past has at most: a few megabytes.
const NUMBERS_MAX: usize = 1_000_000;
/// How many there are for each step of a queue.
const SERIES: usize = 10;

/// What was counted since the start, of a page of queues.
pub(crate) fn metrics<S: Store + 'static>(
    hub: &Hub<S>,
    peer: &Peer,
    after: Option<&str>,
    now: Time,
) -> MetricsView {
    let (permissions, engine) = (hub.permissions(peer), hub.engine.borrow());
    let daemon = after.is_none().then(|| daemon(hub, &engine, now));
    let rest = engine.tally().names().filter(|name| after.is_none_or(|after| name.as_str() > after));
    let mut names: Vec<&QueueName> = rest.filter(|name| permissions.knows(name.as_str())).collect();
    let is_last = names.len() <= PAGE;
    if !is_last {
        names.select_nth_unstable(PAGE - 1);
        names.truncate(PAGE);
    }
    names.sort_unstable();
    let mut queues: Vec<_> = names.iter().filter_map(|name| queue_metrics(&engine, name, now)).collect();
    if is_last && permissions.reads_everything() {
        queues.extend(others(&engine));
    }
    let next = names.last().filter(|_| !is_last).map(|name| name.as_str().to_owned());
    MetricsView { daemon, queues, next }
}

fn daemon<S: Store + 'static>(hub: &Hub<S>, engine: &Engine<S>, now: Time) -> DaemonMetricsView {
    let (tally, figures, state) = (engine.tally(), engine.figures(), &engine.core().state);
    let mut limits = tally.limits_hit().clone();
    for (limit, times) in hub.connections.limits_hit() {
        *limits.entry(limit).or_default() += times;
    }
    let (spans_sent, spans_lost) = engine.spans_sent_and_lost();
    DaemonMetricsView {
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_ms: now.since(hub.started).as_millis() as u64,
        draining: engine.core().draining,
        refusing: engine.room() != Room::Enough,
        connections: hub.connections.len() as u64,
        connections_total: hub.connections.so_far(),
        waiting_claims: engine.waiting_claims(None) as u64,
        waiting_submits: engine.waiting_submits() as u64,
        queues: state.queues().count() as u64,
        schedules: state.schedules().len() as u64,
        schedules_late: engine.late_schedules(now),
        circuits_opened: tally.circuits_opened(),
        commit_micros: histogram(tally.commit_time()),
        commit_bytes: histogram(tally.commit_bytes()),
        log_bytes: figures.log_bytes,
        log_limit_bytes: figures.log_limit,
        database_bytes: figures.database_bytes,
        checkpoints: figures.checkpoints,
        limits_hit: limits.into_iter().map(|(limit, times)| (limit.to_owned(), times)).collect(),
        spans_sent,
        spans_lost,
    }
}

/// For how long the ready job of a queue is ready that has waited longest, if one is.
pub(super) fn oldest_ready_ms<S: Store>(engine: &Engine<S>, name: &QueueName, now: Time) -> Option<u64> {
    engine.ready_since(name).map(|since| now.since(since).as_millis() as u64)
}

fn queue_metrics<S: Store>(engine: &Engine<S>, name: &QueueName, now: Time) -> Option<QueueMetricsView> {
    let counts = engine.tally().queue(name)?;
    let queue = engine.core().state.queue(name);
    Some(QueueMetricsView {
        jobs: jobs(queue.into_iter()),
        now: Some(QueueNowView {
            oldest_ready_ms: oldest_ready_ms(engine, name, now),
            paused: queue.is_some_and(Queue::is_paused),
            circuit_open: queue.is_some_and(|queue| queue.circuit().open.is_some()),
        }),
        ..view(name.as_str(), &counts)
    })
}

/// Those that have no numbers of their own, summed up.
fn others<S: Store>(engine: &Engine<S>) -> Option<QueueMetricsView> {
    let (counts, names) = engine.tally().others()?;
    let state = &engine.core().state;
    let queues = names.into_iter().filter_map(|name| state.queue(name));
    Some(QueueMetricsView { jobs: jobs(queues), ..view(OTHERS, &counts) })
}

fn jobs<'q>(queues: impl Iterator<Item = &'q Queue>) -> Vec<(String, u64)> {
    let mut jobs = StateKind::ALL.map(|kind| (kind.name().to_owned(), 0));
    for queue in queues {
        let counts = queue.counts();
        jobs.iter_mut().zip(StateKind::ALL).for_each(|((_, jobs), kind)| *jobs += counts.of(kind));
    }
    jobs.into()
}

fn view(name: &str, counts: &Counts) -> QueueMetricsView {
    QueueMetricsView {
        queue: name.into(),
        submitted: counts.of(Count::Submitted),
        started: counts.of(Count::Started),
        completed: counts.of(Count::Completed),
        failed: counts.of(Count::Failed),
        later: counts.of(Count::Later),
        dead: counts.of(Count::Dead),
        interrupted: counts.of(Count::Interrupted),
        expired: counts.of(Count::Expired),
        cancelled: counts.of(Count::Cancelled),
        dropped: counts.of(Count::Dropped),
        wait_ms: histogram(&counts.wait),
        run_ms: histogram(&counts.run),
        ..QueueMetricsView::default()
    }
}

fn histogram(of: &Histogram) -> HistogramView {
    let below = POWERS.map(|bits| (bits, of.below(bits))).to_vec();
    HistogramView { below, count: of.count(), sum: of.sum() }
}

/// The past, from so long ago on: of all queues that somebody may see, or of one. It is put together beside the loop. Returns the JSON
/// of a [`StatsView`].
pub(crate) async fn stats<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    since_ms: u64,
    queue: Option<String>,
) -> Result<Box<serde_json::value::RawValue>, Fault> {
    let one = queue.as_deref().filter(|queue| *queue != OTHERS).map(queue_name).transpose()?;
    let permissions = hub.permissions(context.peer);
    let past = past(hub, &permissions, since_ms, (one.as_ref(), queue.is_some()), context.now);
    if let Some(queue) = queue.filter(|_| past.queues.is_empty()) {
        let message = format!(
            "there are no numbers of queue `{queue}`: it is not there, or has none of its own (limits.metrics_queues)"
        );
        return Err(Fault::new(Kind::NotFound, message));
    }
    let ahead_ms = hub.clock.ahead_ms();
    let put_together = move || serde_json::value::to_raw_value(&stats_view(&past, ahead_ms));
    let done = hub.reading.run::<_, ()>(put_together).await;
    done.and_then(|(view, _)| view.ok())
        .ok_or(Fault::new(Kind::Internal, "the past could not be put together"))
}

/// Of one queue, or of those that are summed up; or of all.
fn past<S: Store + 'static>(
    hub: &Hub<S>,
    permissions: &Permissions<'_>,
    since_ms: u64,
    (one, is_one): (Option<&QueueName>, bool),
    now: Time,
) -> Past {
    let shown = |queue: &QueueName| {
        permissions.knows(queue.as_str()) && if is_one { one == Some(queue) } else { true }
    };
    let others = permissions.reads_everything() && one.is_none();
    hub.engine.borrow_mut().past(since_ms, shown, others, now)
}

fn stats_view(past: &Past, ahead_ms: i64) -> StatsView {
    let most = (NUMBERS_MAX / SERIES / past.steps().max(1)).max(1);
    let mut shown: Vec<_> = past.queues.iter().collect();
    if shown.len() > most {
        let jobs = |rings: &Rings| -> u64 {
            past.of(rings).flatten().map(|point| u64::from(point.submitted) + u64::from(point.started)).sum()
        };
        shown.sort_by_cached_key(|(_, rings)| std::cmp::Reverse(jobs(rings)));
        shown.truncate(most);
        shown.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    let left_out = (past.queues.len() - shown.len()) as u64;
    StatsView {
        from_ms: Clock::shown_if_ahead(Time(past.from_ms), ahead_ms).0,
        step_ms: past.step_ms,
        queues: shown.into_iter().map(|(name, rings)| queue_stats(past, name, rings)).collect(),
        left_out,
    }
}

fn queue_stats(past: &Past, name: &str, rings: &Rings) -> QueueStatsView {
    let points: Vec<Option<Point>> = past.of(rings).collect();
    let each =
        |of: fn(&Point) -> u32| -> Steps { points.iter().map(|point| point.as_ref().map(of)).collect() };
    let measured = |of: fn(&Point) -> u32| -> Steps {
        let known = |point: &Point| Some(of(point)).filter(|value| *value != Point::NONE);
        points.iter().map(|point| point.as_ref().and_then(known)).collect()
    };
    QueueStatsView {
        queue: name.into(),
        submitted: each(|point| point.submitted),
        started: each(|point| point.started),
        completed: each(|point| point.completed),
        failed: each(|point| point.failed),
        dead: each(|point| point.dead),
        ready: each(|point| point.ready),
        wait_p50_ms: measured(|point| point.wait_p50),
        wait_p99_ms: measured(|point| point.wait_p99),
        run_p50_ms: measured(|point| point.run_p50),
        run_p99_ms: measured(|point| point.run_p99),
    }
}
