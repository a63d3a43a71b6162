//! One attempt: the handler runs as a task of its own, and is told to end when its time is over or the loop says so; what
//! does not end by itself is ended. The loop keeps the lease alive and sends the verdict.

use super::context::{Context, Reason};
use super::handler::Handle;
use super::outcome::{Ended, Outcome, verdict};
use super::shared::Shared;
use crate::client::TimeLimit;
use crate::protocol::Verdict;
use bytes::Bytes;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, sleep_until};

/// How long a handler has to end once it is told to.
pub(super) const END_TIME: Duration = Duration::from_secs(2);

/// The handler's task. It does not outlive who waits for it.
struct Task(JoinHandle<Outcome>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Future for Task {
    type Output = Result<Outcome, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Runs a job to its end; what to tell the daemon, if anything.
pub(super) async fn run(shared: Arc<Shared>, handler: Arc<dyn Handle>, body: Bytes) -> Option<Verdict> {
    if shared.limit.is_over() {
        // There was no time left for it: it expires when it is given back.
        return Some(Verdict::Release { delay_ms: 0 });
    }
    let context = Context::of(shared.clone());
    // The handler is called in there, so that its panics are caught from the first line on.
    let mut task = Task(tokio::spawn(async move { handler.handle(body, context).await }));
    let alarm = shared.ends();
    let ended = tokio::select! {
        biased;
        ended = &mut task => Some(ended),
        () = shared.told_to_end() => None,
        () = sleep_until(alarm.unwrap_or_else(tokio::time::Instant::now)), if alarm.is_some() => {
            shared.end(match shared.limit {
                TimeLimit::Deadline(_) => Reason::Deadline,
                TimeLimit::Timeout(_) | TimeLimit::None => Reason::TimedOut,
            });
            None
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => end(&mut task).await,
    };
    let ended = match ended {
        Ok(outcome) => Ended::Said(outcome),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Ended::Panicked(words(&*panic)),
            Err(_) => Ended::Cut,
        },
    };
    if shared.is_complete() {
        if !matches!(ended, Ended::Said(Outcome::Done)) {
            tracing::warn!(
                "job {} is complete, though its handler went on and ended so: {ended:?}",
                shared.job.lease.id
            );
        }
        return None;
    }
    verdict(ended, shared.why(), shared.limit)
}

/// Waits for a task that was told to end, and ends it. Returns when it is really over.
async fn end(task: &mut Task) -> Result<Outcome, JoinError> {
    tokio::select! {
        biased;
        ended = &mut *task => return ended,
        () = sleep(END_TIME) => task.0.abort(),
    }
    task.await
}

/// The text of a panic, which is anything, but nearly always a text.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("(with something that is not a text)").to_owned()
}
