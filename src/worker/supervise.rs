//! When a job's process is stopped, and how: its deadline, orders from outside, SIGTERM, SIGKILL. It returns when
//! the process has ended and nothing is left of what it has started.

use super::exec::Child;
use rustix::process::Signal;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// From SIGTERM to SIGKILL, for a job that ran for too long.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);
/// The same for a job whose lease is lost, or that is stopped with its worker.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(2);

/// What is asked of an attempt. It is only ever raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Do not begin yet: there is no slot.
    Wait,
    /// Begin, or go on.
    Run,
    /// The worker stops: end soon, the job is given back.
    Stop,
    /// The job is cancelled: end soon, and say so. The result does not count.
    Cancel,
    /// The lease is lost and the job may run elsewhere, or the connection is gone: end at once.
    Kill,
}

/// How a job's process ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself.
    Itself(ExitStatus),
    /// It ran for too long.
    TimedOut,
    /// The worker stops.
    Stopped,
    /// It was cancelled.
    Cancelled,
    /// Its result does not count any more.
    Abandoned,
}

/// Watches a process until it has ended, and ends it when its time is over or an order says so.
///
/// # Errors
/// The system does not tell its exit status.
pub(super) async fn watch(
    child: &mut Child,
    timeout: Option<Duration>,
    orders: &mut watch::Receiver<Order>,
) -> io::Result<Ended> {
    let mut cause = None;
    let mut alarm = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        tokio::select! {
            biased;
            () = child.ended() => break,
            order = next(orders) => {
                (cause, alarm) = obey(child, order, cause, alarm);
            }
            () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {
                if cause.is_some() {
                    child.signal(Signal::KILL);
                    alarm = None;
                } else {
                    child.signal(Signal::TERM);
                    (cause, alarm) = (Some(Cause::Timeout), Some(Instant::now() + TIMEOUT_GRACE));
                }
            }
        }
    }
    child.clear().await;
    let status = child.reap()?;
    Ok(match cause {
        None => Ended::Itself(status),
        Some(Cause::Timeout) => Ended::TimedOut,
        Some(Cause::Stop) => Ended::Stopped,
        Some(Cause::Cancel) => Ended::Cancelled,
        Some(Cause::Loss) => Ended::Abandoned,
    })
}

/// Why a process was signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Timeout,
    Stop,
    Cancel,
    Loss,
}

/// Returns when the attempt may begin, or is not to begin any more.
pub(super) async fn turn(orders: &mut watch::Receiver<Order>) -> Order {
    // Nobody is left who would take the result.
    orders.wait_for(|order| *order > Order::Wait).await.map_or(Order::Kill, |order| *order)
}

/// Returns when what runs is to end: what has no process to be told so just ends.
pub(super) async fn end(orders: &mut watch::Receiver<Order>) -> Order {
    orders.wait_for(|order| *order > Order::Run).await.map_or(Order::Kill, |order| *order)
}

async fn next(orders: &mut watch::Receiver<Order>) -> Order {
    match orders.changed().await {
        Ok(()) => *orders.borrow_and_update(),
        // Nobody is left who would take the result.
        Err(_) => Order::Kill,
    }
}

/// Signals the group as ordered. A job that is being ended already keeps its cause, unless nobody wants to know
/// it any more; its end only comes nearer.
fn obey(
    child: &Child,
    order: Order,
    cause: Option<Cause>,
    alarm: Option<Instant>,
) -> (Option<Cause>, Option<Instant>) {
    let end = Instant::now() + STOP_GRACE;
    let soon = match cause {
        Some(_) => alarm.map(|alarm| alarm.min(end)),
        None => Some(end),
    };
    match order {
        Order::Wait | Order::Run => (cause, alarm),
        Order::Stop => {
            child.signal(Signal::TERM);
            (cause.or(Some(Cause::Stop)), soon)
        }
        Order::Cancel => {
            child.signal(Signal::TERM);
            (Some(Cause::Cancel), soon)
        }
        Order::Kill => {
            child.signal(Signal::KILL);
            (Some(Cause::Loss), None)
        }
    }
}
