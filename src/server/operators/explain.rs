//! Why a job is not running, in words: what the core knows of the job and its queue, and what only the server knows of
//! the workers of the queue. The reason to deal with first comes first.

use crate::clock::Clock;
use crate::core::{
    Awaited, Condition, Edge, Job, JobId, JobState, Limit, OnUnmet, QueueName, Reason, StateKind, Time,
    Worker, for_shell,
};
use crate::durations::show_point;
use crate::server::fault::Fault;
use crate::server::hub::Hub;
use crate::server::peer::Peer;
use crate::server::requests::not_found;
use crate::store::Store;
use crate::views::ExplainView;
use crate::words::{counted, jobs, so_far, span, when};
use std::time::Duration;

/// Who takes from a queue.
struct Takers {
    /// The daemon's own workers; `None` without a handler.
    workers: Option<u32>,
    /// Claims that wait.
    waiting: usize,
    /// Jobs that somebody has.
    leased: u64,
}

/// Why a job is not running.
pub(crate) fn explain<S: Store + 'static>(
    hub: &Hub<S>,
    peer: &Peer,
    id: JobId,
    now: Time,
) -> Result<ExplainView, Fault> {
    let permissions = hub.permissions(peer);
    let (job, reasons) = {
        let mut engine = hub.engine.borrow_mut();
        let job = engine.core().state.job(id).filter(|job| permissions.reads(&job.spec)).cloned();
        job.zip(engine.explain(id, now)).ok_or_else(|| not_found(id))?
    };
    let mut words = words(hub, &job, &reasons, now);
    // Before it is anybody's turn, the workers must be able to begin.
    if job.state() == JobState::Ready {
        words.splice(0..0, hub.holds.of(job.spec.queue.as_str(), now));
    }
    Ok(ExplainView { id: id.0, state: job.kind().to_string(), reasons: words })
}

fn words<S: Store + 'static>(hub: &Hub<S>, job: &Job, reasons: &[Reason], now: Time) -> Vec<String> {
    let queue = &job.spec.queue;
    let takers = takers(hub, queue);
    let now = hub.clock.shown(now);
    let reasons: Vec<Reason> = reasons.iter().map(|why| as_shown(why, &hub.clock)).collect();
    let mut words: Vec<String> = reasons.iter().map(|why| reason(why, now)).collect();
    let timeout = hub.engine.borrow().core().settings.of(queue).timeout_of(&job.spec);
    let deadline = match job.expiry().end_by {
        Time::NEVER => Time::NEVER,
        deadline => hub.clock.shown(deadline),
    };
    words.extend(reasons.iter().filter_map(|why| may_run(why, timeout, deadline, now)));
    let now_or_next =
        |why: &Reason| matches!(why, Reason::Behind { .. } | Reason::BehindInKey { .. } | Reason::Next(_));
    let later = |why: &Reason| matches!(why, Reason::NotDue { .. } | Reason::UntilSignal { .. });
    // Workers that are busy, or have got nothing, are no reason where a limit is one.
    let is_limited = reasons.iter().any(|why| matches!(why, Reason::Limited { .. }));
    if let Some(at) = reasons.iter().position(now_or_next).filter(|_| !is_limited) {
        words.splice(at..at, untaken(queue, &takers, false));
    } else if reasons.iter().any(later) {
        words.extend(untaken(queue, &takers, true));
    }
    words
}

/// The same with times as people see them.
fn as_shown(why: &Reason, clock: &Clock) -> Reason {
    let mut why = why.clone();
    match &mut why {
        Reason::NotDue { due: at, .. }
        | Reason::UntilSignal { due: at, .. }
        | Reason::ExpiresFirst { at }
        | Reason::QueuePaused { until: at, .. }
        | Reason::Ended { at, .. } => {
            *at = clock.shown(*at);
        }
        Reason::Limited {
            by: Limit::Rate { until, .. } | Limit::PerKeyRate { until, .. } | Limit::Circuit { until, .. },
            ..
        } => *until = clock.shown(*until),
        Reason::Leased { since, until, .. } => {
            (*since, *until) = (clock.shown(*since), clock.shown(*until));
        }
        Reason::Draining
        | Reason::Limited { by: Limit::Concurrency { .. } | Limit::PerKey { .. }, .. }
        | Reason::WaitsFor { .. }
        | Reason::BehindInKey { .. }
        | Reason::Behind { .. }
        | Reason::Next(_) => {}
    }
    why
}

fn takers<S: Store + 'static>(hub: &Hub<S>, queue: &QueueName) -> Takers {
    let engine = hub.engine.borrow();
    let service = hub.service.borrow();
    let handler = service.handlers.iter().find(|handler| handler.queue == queue.as_str());
    let counts = engine.core().state.queue(queue).map(|queue| queue.counts());
    Takers {
        workers: handler.map(|handler| handler.workers),
        waiting: engine.waiting_claims(Some(queue)),
        leased: counts.map_or(0, |counts| counts.of(StateKind::Leased)),
    }
}

/// Why nobody takes a ready job of the queue just now, if so. `later`: it is not ready yet.
fn untaken(queue: &QueueName, takers: &Takers, later: bool) -> Option<String> {
    let Takers { workers, waiting, leased } = *takers;
    if waiting > 0 {
        return None;
    }
    match (workers, leased) {
        (None, 0) => Some(format!(
            "nothing takes from queue `{queue}`: no workers, no waiting claims (`musher work {} -- CMD` is one)",
            for_shell(queue.as_str())
        )),
        (Some(0), 0) => Some(format!(
            "nothing takes from queue `{queue}`: its handler has no workers (queues.{queue}.workers = 0), and no claim waits"
        )),
        _ if later => None,
        (_, 0) => Some(format!("no worker of queue `{queue}` asks for a job just now")),
        (_, leased) => {
            let running = counted(leased, "job of it is", "jobs of it are");
            Some(format!("all workers of queue `{queue}` are busy: {running} running"))
        }
    }
}

/// Until when a job that runs may do so.
fn may_run(why: &Reason, timeout: Option<Duration>, deadline: Time, now: Time) -> Option<String> {
    let Reason::Leased { since, cancelling: false, .. } = why else { return None };
    Some(match timeout {
        timeout if timeout.map_or(Time::NEVER, |timeout| since.plus(timeout)) > deadline => {
            let (at, left) = (show_point(deadline), when(deadline, now));
            format!("this attempt may run until {at} ({left}): that is the job's deadline")
        }
        None => "it has no timeout".to_owned(),
        Some(timeout) => {
            let (until, all) = (since.plus(timeout), span(timeout.as_millis() as u64));
            let (at, left) = (show_point(until), when(until, now));
            format!("this attempt may run until {at} ({left}): its timeout is {all}")
        }
    })
}

/// What a job waits for, how that is, and what is to be done if it does not come.
fn awaited(on: &Awaited, edge: &Edge, on_unmet: OnUnmet) -> String {
    let wanted = match edge.when {
        Condition::Done => "to be done",
        Condition::Ended => "to end",
        Condition::Failed => "to fail",
    };
    let is = match on {
        Awaited::Job(id, Some(state)) => format!("it waits for job {id} {wanted}, which is {state}"),
        Awaited::Job(id, None) => format!("it waits for job {id} {wanted}, which is not there any more"),
        Awaited::Group { name: None, .. } => {
            format!("it waits for a group {wanted} that is not there any more")
        }
        Awaited::Group { name: Some(name), counts, is_sealed: true } => {
            let left = counted(counts.live, "job of it has", "jobs of it have");
            format!("it waits for group `{name}` {wanted}: {left} not ended, of {}", counts.total())
        }
        Awaited::Group { name: Some(name), counts, is_sealed: false } => format!(
            "it waits for group `{name}` {wanted}, which takes more jobs still ({} of {} have not ended): `musher group seal \
             {name}` says that it is complete",
            counts.live,
            counts.total()
        ),
    };
    match (edge.is_held, on_unmet, on) {
        (false, ..) => is,
        (true, _, Awaited::Job(id, Some(_))) => {
            format!("{is}; it goes on when `musher retry {id}` mends that, or by `musher kick`")
        }
        (true, ..) => format!("{is}; `musher kick` runs it all the same"),
    }
}

fn reason(why: &Reason, now: Time) -> String {
    match why {
        Reason::Draining => {
            "the daemon is draining and gives out no jobs (`musher undrain`, or restart it)".into()
        }
        Reason::QueuePaused { queue, until } => {
            let end = match *until {
                Time::NEVER => String::new(),
                until => format!(" until {}", show_point(until)),
            };
            format!("queue `{queue}` is paused{end} (`musher resume {}`)", for_shell(queue.as_str()))
        }
        Reason::Limited { queue, by: Limit::Concurrency { leased, limit } } => format!(
            "queue `{queue}` is at its limit of jobs that run at a time: {leased} of {limit} (queues.{queue}.concurrency)"
        ),
        Reason::Limited { queue, by: Limit::PerKey { leased, limit } } => format!(
            "its key is at its limit of jobs that run at a time: {leased} of {limit} (queues.{queue}.per_key)"
        ),
        Reason::Limited { queue, by: Limit::Rate { rate, until } } => {
            format!(
                "the rate of queue `{queue}` is used up until {}: {rate} (queues.{queue}.rate)",
                show_point(*until)
            )
        }
        Reason::Limited { queue, by: Limit::PerKeyRate { rate, until } } => {
            format!(
                "the rate of its key is used up until {}: {rate} (queues.{queue}.per_key_rate)",
                show_point(*until)
            )
        }
        Reason::Limited { queue, by: Limit::Circuit { failed, probe, until } } => {
            let next = match probe {
                Some(lease) => format!("job {} runs as a probe", lease.id),
                None => format!("the next probe runs {} ({})", when(*until, now), show_point(*until)),
            };
            format!(
                "the circuit of queue `{queue}` is open: {} in a row failed, and {next} (queues.{queue}.circuit; `musher \
                 queue reset-circuit {queue}` closes it)",
                counted(u64::from(*failed), "attempt", "attempts")
            )
        }
        Reason::WaitsFor { on, edge, on_unmet } => awaited(on, edge, *on_unmet),
        Reason::UntilSignal { signal, due } => {
            format!(
                "it waits for signal `{signal}` (`musher signal`), and goes on without it {} ({})",
                when(*due, now),
                show_point(*due)
            )
        }
        Reason::NotDue { due, after: None } => {
            format!("it is due {} ({})", when(*due, now), show_point(*due))
        }
        Reason::NotDue { due, after: Some(failure) } => {
            let (attempt, error) = (failure.attempt, &failure.error);
            format!(
                "attempt {attempt} failed ({error}); the next is {} ({})",
                when(*due, now),
                show_point(*due)
            )
        }
        Reason::ExpiresFirst { at } => {
            format!("it expires before that: {} ({})", when(*at, now), show_point(*at))
        }
        Reason::Behind { jobs: ahead, at_least: true } => {
            format!(
                "at least {} {} before it in the queue",
                jobs(*ahead),
                if *ahead == 1 { "is" } else { "are" }
            )
        }
        Reason::Behind { jobs: ahead, at_least: false } => {
            format!("{} {} before it in the queue", jobs(*ahead), if *ahead == 1 { "is" } else { "are" })
        }
        Reason::BehindInKey { jobs: ahead } => {
            format!("{} with its key {} before it", jobs(*ahead), if *ahead == 1 { "is" } else { "are" })
        }
        Reason::Next(queue) => format!("it is next in queue `{queue}`"),
        Reason::Leased { .. } => running(why, now),
        Reason::Ended { state, at, failure } => {
            let error = failure.as_ref().map_or_else(String::new, |failure| format!(": {}", failure.error));
            format!("it ended {} ({}) as {state}{error}", when(*at, now), show_point(*at))
        }
    }
}

/// Of a job that somebody is at.
fn running(why: &Reason, now: Time) -> String {
    let Reason::Leased { attempt, since, until, bound, worker, cancelling } = why else {
        unreachable!("it is called for these only")
    };
    let by = if *bound { "by a connected worker" } else { "by the client that claimed it" };
    let by = match worker {
        Some(Worker { uid, pid }) if *pid != 0 => format!("{by} (process {pid} of user {uid})"),
        Some(Worker { uid, .. }) => format!("{by} (of user {uid})"),
        None => by.to_owned(),
    };
    let (since, left) = (so_far(*since, now), span(until.since(now).as_millis() as u64));
    match cancelling {
        false => format!(
            "it is running: attempt {attempt}, {by}, {since}; its lease ends in {left} unless it is extended"
        ),
        true => format!(
            "it is cancelled and still running: attempt {attempt}, {by}, {since}; it ends when its worker says that it has \
             stopped, or with its lease in {left}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Rate;

    #[test]
    fn who_is_missing_is_told() {
        let queue = QueueName::new("mails").unwrap();
        let told =
            |workers, waiting, leased, later| untaken(&queue, &Takers { workers, waiting, leased }, later);
        let first = told(None, 0, 0, false).unwrap();
        assert!(
            first.starts_with("nothing takes from queue `mails`: no workers, no waiting claims"),
            "{first}"
        );
        assert_eq!(told(None, 0, 0, true), Some(first));
        assert!(told(Some(0), 0, 0, false).unwrap().contains("queues.mails.workers = 0"));
        assert_eq!(told(None, 1, 0, false), None);
        let busy = told(Some(2), 0, 1, false).unwrap();
        assert_eq!(busy, "all workers of queue `mails` are busy: 1 job of it is running");
        assert_eq!(told(Some(2), 0, 2, true), None);
    }

    #[test]
    fn reasons_read_well() {
        let now = Time(10_000_000);
        assert_eq!(
            reason(&Reason::Behind { jobs: 1, at_least: false }, now),
            "1 job is before it in the queue"
        );
        assert_eq!(
            reason(&Reason::Behind { jobs: 2000, at_least: false }, now),
            "2,000 jobs are before it in the queue"
        );
        let ended =
            reason(&Reason::Ended { state: StateKind::Done, at: Time(9_999_600), failure: None }, now);
        assert!(ended.starts_with("it ended just now (19"), "{ended}");
        let rate = Rate::new(2, Duration::from_secs(1), None).unwrap();
        let by = Limit::Rate { rate, until: Time(10_000_500) };
        let limited = reason(&Reason::Limited { queue: QueueName::new("q").unwrap(), by }, now);
        assert!(
            limited.starts_with("the rate of queue `q` is used up until 19")
                && limited.ends_with(": 2/s (queues.q.rate)"),
            "{limited}"
        );
        let due = reason(&Reason::NotDue { due: Time(10_125_000), after: None }, now);
        assert!(due.starts_with("it is due in 2 min 5 s (19"), "{due}");
    }
}
