//! The answers of several shards, as one. It knows how answers are put together, not what was asked.

use crate::protocol::{ErrorCode, Fault, Response};
use crate::views::{
    DaemonMetricsView, DrainView, HistogramView, MetricsView, QueueMetricsView, QueueStatsView, ShardView,
    StatsView, StatusView, Steps,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How answers are put together. Places are those of the parts of each shard in what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Merge {
    /// Results of settles, in their places.
    Settled(Vec<Vec<usize>>),
    /// Results of extends.
    Extended(Vec<Vec<usize>>),
    /// Lists of JSON.
    Places(Vec<Vec<usize>>),
    /// Done, once all have done it.
    Ok,
    /// All say the same.
    First,
    /// Whoever knows it answers.
    WhoeverHas,
    /// Lists of objects, by this key of theirs.
    ByName(&'static str),
    /// The same, where the key is a time.
    ByTime(&'static str),
    Status,
    Metrics,
    Stats,
    Drain,
}

impl Merge {
    /// Whether answers may be long, so that only so many are put together at a time. Not where somebody may wait for hours.
    pub(super) fn is_long(&self) -> bool {
        matches!(self, Merge::ByName(_) | Merge::ByTime(_) | Merge::Status | Merge::Metrics | Merge::Stats)
    }
}

/// Puts them together: those of all shards that were asked, with their numbers.
pub(super) fn merge(how: &Merge, answers: Vec<(usize, Response)>) -> Response {
    let merged = match how {
        Merge::WhoeverHas => return whoever_has(answers),
        Merge::Status => return status(answers).unwrap_or_else(Response::Error),
        _ => refused(answers).and_then(|answers| together(how, answers)),
    };
    merged.unwrap_or_else(Response::Error)
}

/// All of them, or the first refusal.
fn refused(answers: Vec<(usize, Response)>) -> Result<Vec<(usize, Response)>, Fault> {
    let refusal = answers.iter().find_map(|(_, answer)| match answer {
        Response::Error(fault) => Some(fault.clone()),
        _ => None,
    });
    refusal.map_or(Ok(answers), Err)
}

fn together(how: &Merge, answers: Vec<(usize, Response)>) -> Result<Response, Fault> {
    match how {
        Merge::Settled(places) => {
            let part = |answer| match answer {
                Response::Settled(results) => Some(results),
                _ => None,
            };
            Ok(Response::Settled(in_place(places, answers, part)?))
        }
        Merge::Extended(places) => {
            let part = |answer| match answer {
                Response::Extended(results) => Some(results),
                _ => None,
            };
            Ok(Response::Extended(in_place(places, answers, part)?))
        }
        Merge::Places(places) => {
            let part = |answer| read::<Vec<Value>>(answer).ok();
            json(&in_place(places, answers, part)?)
        }
        Merge::Ok => Ok(Response::Ok),
        Merge::First | Merge::WhoeverHas => {
            answers.into_iter().next().map(|(_, answer)| answer).ok_or_else(unexpected)
        }
        Merge::ByName(key) => list(answers, |one| one[*key].as_str().unwrap_or_default().to_owned()),
        Merge::ByTime(key) => list(answers, |one| one[*key].as_u64()),
        Merge::Status => status(answers),
        Merge::Metrics => metrics(answers),
        Merge::Stats => stats(answers),
        Merge::Drain => drain(answers),
    }
}

/// A shard has answered what nobody asked: it is of another version.
pub(super) fn unexpected() -> Fault {
    let message =
        "a shard has given an answer that this node does not understand: are all nodes of one version?";
    Fault { code: ErrorCode::Internal, message: message.to_owned() }
}

fn read<T: DeserializeOwned>(answer: Response) -> Result<T, Fault> {
    match answer {
        Response::Json(json) => serde_json::from_slice(&json).map_err(|_| unexpected()),
        Response::Error(fault) => Err(fault),
        _ => Err(unexpected()),
    }
}

fn read_all<T: DeserializeOwned>(answers: Vec<(usize, Response)>) -> Result<Vec<T>, Fault> {
    answers.into_iter().map(|(_, answer)| read(answer)).collect()
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<Response, Fault> {
    serde_json::to_vec(value).map(|json| Response::Json(json.into())).map_err(|_| unexpected())
}

/// Puts the parts of all answers where they belong.
fn in_place<T>(
    places: &[Vec<usize>],
    answers: Vec<(usize, Response)>,
    part: impl Fn(Response) -> Option<Vec<T>>,
) -> Result<Vec<T>, Fault> {
    let mut all: Vec<Option<T>> = Vec::new();
    all.resize_with(places.iter().map(Vec::len).sum(), || None);
    for (places, (_, answer)) in places.iter().zip(answers) {
        for (place, one) in places.iter().zip(part(answer).ok_or_else(unexpected)?) {
            all[*place] = Some(one);
        }
    }
    all.into_iter().collect::<Option<Vec<T>>>().ok_or_else(unexpected)
}

fn list<K: Ord>(answers: Vec<(usize, Response)>, key: impl Fn(&Value) -> K) -> Result<Response, Fault> {
    let mut all: Vec<Value> = read_all::<Vec<Value>>(answers)?.into_iter().flatten().collect();
    all.sort_by_cached_key(key);
    json(&all)
}

/// The answer of the shard that knows it. Where none does, what one of them says.
fn whoever_has(answers: Vec<(usize, Response)>) -> Response {
    let mut refusal = None;
    for (_, answer) in answers {
        match answer {
            Response::Error(fault) => {
                let is_missing = fault.code == ErrorCode::NotFound;
                if refusal.as_ref().is_none_or(|(was_missing, _)| *was_missing && !is_missing) {
                    refusal = Some((is_missing, fault));
                }
            }
            answer => return answer,
        }
    }
    Response::Error(refusal.map_or_else(unexpected, |(_, fault)| fault))
}

/// As far as shards answer; of the others it says so. A cluster in which one has no owner is to be looked at all the same.
fn status(answers: Vec<(usize, Response)>) -> Result<Response, Fault> {
    let mut all: Option<StatusView> = None;
    let mut shards = Vec::with_capacity(answers.len());
    let mut refusal = None;
    for (shard, answer) in answers {
        let view = match read::<StatusView>(answer) {
            Ok(view) => view,
            // Nobody may see it, or they do not understand each other: that is no matter of one shard.
            Err(fault) if !fault.code.try_again() => return Err(fault),
            Err(fault) => {
                shards.push(ShardView {
                    shard: shard as u32,
                    error: Some(fault.message.clone()),
                    ..ShardView::default()
                });
                refusal = Some(fault);
                continue;
            }
        };
        shards.push(ShardView {
            shard: shard as u32,
            owner: view.node.clone(),
            commit: Some(view.commit),
            mode: Some(view.mode.clone()),
            error: None,
        });
        match &mut all {
            None => all = Some(view),
            Some(all) => add_status(all, view),
        }
    }
    let mut all = match (all, refusal) {
        (Some(all), _) => all,
        (None, refusal) => return Err(refusal.unwrap_or_else(unexpected)),
    };
    all.queues.sort_by(|one, other| one.queue.cmp(&other.queue));
    all.node = None;
    all.shards = shards;
    json(&all)
}

fn add_status(all: &mut StatusView, one: StatusView) {
    all.uptime_ms = all.uptime_ms.min(one.uptime_ms);
    if one.clock_ahead_ms.abs() > all.clock_ahead_ms.abs() {
        all.clock_ahead_ms = one.clock_ahead_ms;
    }
    if one.mode != all.mode {
        // What is not as usual is what is to be seen.
        all.mode = if all.mode == "running" { one.mode } else { all.mode.clone() };
    }
    all.draining_ms = all.draining_ms.max(one.draining_ms);
    all.refusing = all.refusing.take().or(one.refusing);
    all.connections += one.connections;
    all.waiting_claims += one.waiting_claims;
    all.waiting_submits += one.waiting_submits;
    all.commit += one.commit;
    all.next_id = all.next_id.max(one.next_id);
    all.memory += one.memory;
    all.schedules += one.schedules;
    all.queues.extend(one.queues);
}

fn drain(answers: Vec<(usize, Response)>) -> Result<Response, Fault> {
    let all: Vec<DrainView> = read_all(answers)?;
    json(&DrainView {
        draining: all.iter().any(|one| one.draining),
        leased: all.iter().map(|one| one.leased).sum(),
    })
}

/// A page up to where all shards have said everything.
fn metrics(answers: Vec<(usize, Response)>) -> Result<Response, Fault> {
    let pages: Vec<MetricsView> = read_all(answers)?;
    let next = pages.iter().filter_map(|page| page.next.clone()).min();
    let mut all = MetricsView { next, ..MetricsView::default() };
    for MetricsView { daemon, queues, .. } in pages {
        match (&mut all.daemon, daemon) {
            (Some(all), Some(one)) => add_daemon(all, one),
            (all @ None, one) => *all = one,
            (Some(_), None) => {}
        }
        for queue in queues.into_iter().filter(|one| all.next.as_ref().is_none_or(|next| one.queue <= *next))
        {
            // Those that are summed up have the same name everywhere.
            match all.queues.iter_mut().find(|known| known.queue == queue.queue) {
                Some(known) => add_queue(known, queue),
                None => all.queues.push(queue),
            }
        }
    }
    all.queues.sort_by(|one, other| one.queue.cmp(&other.queue));
    json(&all)
}

fn add_daemon(all: &mut DaemonMetricsView, one: DaemonMetricsView) {
    all.uptime_ms = all.uptime_ms.min(one.uptime_ms);
    all.draining |= one.draining;
    all.refusing |= one.refusing;
    for (sum, part) in [
        (&mut all.connections, one.connections),
        (&mut all.connections_total, one.connections_total),
        (&mut all.waiting_claims, one.waiting_claims),
        (&mut all.waiting_submits, one.waiting_submits),
        (&mut all.queues, one.queues),
        (&mut all.schedules, one.schedules),
        (&mut all.schedules_late, one.schedules_late),
        (&mut all.circuits_opened, one.circuits_opened),
        (&mut all.log_bytes, one.log_bytes),
        (&mut all.log_limit_bytes, one.log_limit_bytes),
        (&mut all.database_bytes, one.database_bytes),
        (&mut all.checkpoints, one.checkpoints),
        (&mut all.spans_sent, one.spans_sent),
        (&mut all.spans_lost, one.spans_lost),
    ] {
        *sum += part;
    }
    add_histogram(&mut all.commit_micros, &one.commit_micros);
    add_histogram(&mut all.commit_bytes, &one.commit_bytes);
    add_named(&mut all.limits_hit, one.limits_hit);
}

fn add_queue(all: &mut QueueMetricsView, one: QueueMetricsView) {
    for (sum, part) in [
        (&mut all.submitted, one.submitted),
        (&mut all.started, one.started),
        (&mut all.completed, one.completed),
        (&mut all.failed, one.failed),
        (&mut all.later, one.later),
        (&mut all.dead, one.dead),
        (&mut all.interrupted, one.interrupted),
        (&mut all.expired, one.expired),
        (&mut all.cancelled, one.cancelled),
        (&mut all.dropped, one.dropped),
    ] {
        *sum += part;
    }
    add_histogram(&mut all.wait_ms, &one.wait_ms);
    add_histogram(&mut all.run_ms, &one.run_ms);
    add_named(&mut all.jobs, one.jobs);
}

fn add_named(all: &mut Vec<(String, u64)>, more: Vec<(String, u64)>) {
    for (name, count) in more {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => all.push((name, count)),
        }
    }
}

fn add_histogram(all: &mut HistogramView, one: &HistogramView) {
    if all.below.is_empty() {
        all.below = one.below.iter().map(|(bits, _)| (*bits, 0)).collect();
    }
    for ((_, sum), (_, part)) in all.below.iter_mut().zip(&one.below) {
        *sum += part;
    }
    all.count += one.count;
    all.sum += one.sum;
}

/// Each shard has begun its steps when it began; they are laid over each other by their times.
fn stats(answers: Vec<(usize, Response)>) -> Result<Response, Fault> {
    let all: Vec<StatsView> = read_all(answers)?;
    let step_ms = all.iter().map(|one| one.step_ms).max().unwrap_or(0).max(1);
    let from_ms = all.iter().map(|one| one.from_ms).min().unwrap_or(0);
    // Clocks of owners differ by little; where one does by much, its steps are shown as if they were the others'.
    let most = all.iter().map(steps).max().unwrap_or(0);
    let offset = |one: &StatsView| ((one.from_ms - from_ms) / step_ms).min(most as u64) as usize;
    let longest = |one: &StatsView| offset(one) + steps(one);
    let len = all.iter().map(longest).max().unwrap_or(0);
    let mut merged = StatsView {
        from_ms,
        step_ms,
        queues: Vec::new(),
        left_out: all.iter().map(|one| one.left_out).sum(),
    };
    for one in all {
        let offset = offset(&one);
        for mut queue in one.queues {
            series(&mut queue).into_iter().for_each(|(steps, _)| shift(steps, offset, len));
            match merged.queues.iter_mut().find(|known| known.queue == queue.queue) {
                Some(known) => {
                    for ((sum, is_sum), (part, _)) in series(known).into_iter().zip(series(&mut queue)) {
                        add_steps(sum, part, is_sum);
                    }
                }
                None => merged.queues.push(queue),
            }
        }
    }
    merged.queues.sort_by(|one, other| one.queue.cmp(&other.queue));
    json(&merged)
}

fn steps(one: &StatsView) -> usize {
    one.queues.iter().map(|queue| queue.submitted.len()).max().unwrap_or(0)
}

/// All numbers of a queue, and whether each is a sum; those that are not are times.
fn series(queue: &mut QueueStatsView) -> [(&mut Steps, bool); 10] {
    [
        (&mut queue.submitted, true),
        (&mut queue.started, true),
        (&mut queue.completed, true),
        (&mut queue.failed, true),
        (&mut queue.dead, true),
        (&mut queue.ready, true),
        (&mut queue.wait_p50_ms, false),
        (&mut queue.wait_p99_ms, false),
        (&mut queue.run_p50_ms, false),
        (&mut queue.run_p99_ms, false),
    ]
}

fn shift(steps: &mut Steps, offset: usize, len: usize) {
    let mut shifted = vec![None; offset];
    shifted.append(steps);
    shifted.resize(len, None);
    *steps = shifted;
}

/// Of times the longer one is told: what both come to is not known.
fn add_steps(all: &mut Steps, one: &Steps, is_sum: bool) {
    for (known, new) in all.iter_mut().zip(one) {
        *known = match (*known, *new) {
            (Some(known), Some(new)) if is_sum => Some(known.saturating_add(new)),
            (known, new) => known.max(new),
        };
    }
}
