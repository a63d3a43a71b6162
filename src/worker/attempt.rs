//! One run of a job in named steps: wait for its turn, start its process and watch it, or send it and wait for the answer,
//! report how it ended. The pool keeps the lease alive and sends the verdict.

use super::excerpt::excerpt;
use super::exec;
use super::keeping::{Keeping, keep_checkpoints};
use super::output::{Output, Unsent};
use super::push::{Sent, Targets};
use super::supervise::{self, Ended, Order};
use super::{Handler, Plan, Surroundings};
use crate::client::TimeLimit;
use crate::client::line::Line;
use crate::clock;
use crate::protocol::{ClaimedJob, Exit, Verdict};
use crate::views::PushView;
use signal_hook::low_level::signal_name;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// One run of a job.
pub(super) struct Attempt {
    pub(super) line: Line,
    pub(super) plan: Arc<Plan>,
    pub(super) around: Arc<Surroundings>,
    pub(super) targets: Arc<Targets>,
    pub(super) job: ClaimedJob,
    pub(super) orders: watch::Receiver<Order>,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Report {
    /// This.
    Verdict(Verdict),
    /// The lease is lost, there is nothing to say.
    Nothing,
    /// It was not begun, for a reason that is not the job's: what this worker cannot do, and why.
    NotBegun(String),
}

impl Attempt {
    /// Runs the job to its end, once it is its turn, and says with what the daemon may not have of its output. `begun` is
    /// called if it could be started.
    pub(super) async fn run(mut self, begun: impl FnOnce()) -> (Report, Option<Unsent>) {
        match supervise::turn(&mut self.orders).await {
            Order::Wait | Order::Run => {}
            Order::Stop | Order::Cancel => return (Report::Verdict(Verdict::Release { delay_ms: 0 }), None),
            Order::Kill => return (Report::Nothing, None),
        }
        let limit = TimeLimit::of(&self.job, clock::wall().0);
        if limit.is_over() {
            // There was no time left for it: it expires when it is given back.
            return (Report::Verdict(Verdict::Release { delay_ms: 0 }), None);
        }
        let plan = self.plan.clone();
        match &plan.handler {
            Handler::Http(push) => (self.push(push, limit, begun).await, None),
            Handler::Exec(argv) => self.process(Some(argv), limit, begun).await,
            Handler::Command => self.process(None, limit, begun).await,
        }
    }

    async fn process(
        mut self,
        argv: Option<&[String]>,
        limit: TimeLimit,
        begun: impl FnOnce(),
    ) -> (Report, Option<Unsent>) {
        let (mut child, pipes, files) = match exec::start(argv, &self.job, &self.around) {
            Ok(started) => started,
            Err(error) => {
                let verdict = error.verdict();
                return (verdict.map_or_else(|| Report::NotBegun(error.to_string()), Report::Verdict), None);
            }
        };
        begun();
        let Plan { output_max, echo, lease_ms, .. } = *self.plan;
        let mut output = Output::new(pipes, self.line.clone(), self.job.lease, output_max, echo);
        let mut keeping = files.map(|files| Keeping::new(files, self.line, &self.job, lease_ms));
        let ended = tokio::select! {
            biased;
            ended = supervise::watch(&mut child, limit.time(), &mut self.orders) => ended,
            never = output.pump() => match never {},
            never = keep_checkpoints(keeping.as_mut()) => match never {},
        };
        match ended {
            Ok(Ended::Abandoned) => return (Report::Nothing, None),
            // There is no next attempt that would go on from its checkpoint.
            Ok(Ended::Cancelled) => keeping = None,
            _ => {}
        }
        let unsent = output.finish().await;
        let report = match (verdict(ended, limit, &output), keeping) {
            (None, _) => Report::Nothing,
            (Some(verdict), None) => Report::Verdict(verdict),
            (Some(verdict), Some(mut keeping)) => Report::Verdict(keeping.at_end(verdict).await),
        };
        (report, Some(unsent))
    }
}

impl Attempt {
    /// Sends the job, and waits for the answer as long as it may take. To end it is to drop it, and its connection.
    async fn push(mut self, push: &PushView, limit: TimeLimit, begun: impl FnOnce()) -> Report {
        let target = match self.targets.open(push) {
            Ok(target) => target,
            Err(error) => return Report::NotBegun(error.to_string()),
        };
        let alarm = limit.time().and_then(|time| Instant::now().checked_add(time));
        tokio::select! {
            biased;
            sent = target.send(&self.job, (clock::wall().0, self.plan.result_max), begun) => match sent {
                Sent::Settled(verdict) => Report::Verdict(verdict),
                Sent::NotBegun(why) => Report::NotBegun(why),
            },
            order = supervise::end(&mut self.orders) => match order {
                Order::Stop | Order::Cancel => Report::Verdict(Verdict::Release { delay_ms: 0 }),
                Order::Wait | Order::Run | Order::Kill => Report::Nothing,
            },
            () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {
                Report::Verdict(Verdict::Fail { error: limit.why_over(), exit: None })
            }
        }
    }
}

fn verdict(ended: io::Result<Ended>, limit: TimeLimit, output: &Output) -> Option<Verdict> {
    let status = match ended {
        Ok(Ended::Itself(status)) => status,
        Ok(Ended::TimedOut) => {
            return Some(Verdict::Fail { error: limit.why_over(), exit: None });
        }
        Ok(Ended::Stopped | Ended::Cancelled) => return Some(Verdict::Release { delay_ms: 0 }),
        Ok(Ended::Abandoned) => return None,
        Err(error) => {
            let error = format!("its exit status is not known: {error}");
            return Some(Verdict::Fail { error, exit: None });
        }
    };
    Some(match exit(status) {
        Some(Exit::Status(0)) => Verdict::Complete,
        Some(exit) => Verdict::Exited { error: with_last_line(status, output), exit },
        None => Verdict::Fail { error: with_last_line(status, output), exit: None },
    })
}

/// How it ended, as numbers. Statuses have eight bits, signals fewer.
fn exit(status: ExitStatus) -> Option<Exit> {
    let status_of = status.code().and_then(|code| u8::try_from(code).ok()).map(Exit::Status);
    status_of.or_else(|| status.signal().and_then(|signal| u8::try_from(signal).ok()).map(Exit::Signal))
}

/// How it ended, and its last line of standard error: what a person wants to see first.
fn with_last_line(status: ExitStatus, output: &Output) -> String {
    let mut error = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("killed by signal {signal} ({name})"),
            None => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    };
    if let Some(words) = output.last_line() {
        error.push_str(": ");
        error.push_str(&excerpt(&words));
    }
    error
}
