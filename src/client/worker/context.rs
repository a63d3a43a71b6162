//! What a handler learns of its attempt beside the body, and what it may ask for while it runs.

use super::shared::Shared;
use crate::client::{Client, ClientError, Receipts};
use crate::protocol::{ErrorCode, Fault, LeaseFault, LeaseRef, Settle, SubmitGroup, Verdict};
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An attempt, for its handler. Clones are of the same one; it may be kept and passed on.
#[derive(Clone)]
pub struct Context {
    attempt: Arc<Shared>,
    // Of the handler's own: to cancel it tells nobody else.
    token: CancellationToken,
}

/// Why a handler was told to end, and what becomes of its job then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The job was cancelled, buried or deleted. What the handler says counts no more.
    Cancelled,
    /// The lease ended: this program, or its machine, stood still for too long; or the daemon was away, and the lease was not taken
    /// up in time. The job may run elsewhere by now, and what the handler says counts no more.
    LeaseLost,
    /// The connection ended to a daemon that knows no leases that outlive it, or that cannot be reached though it is there; as for a lost
    /// lease.
    Disconnected,
    /// The attempt took longer than its `timeout`. It has failed, unless the handler returns within two seconds something else
    /// than an error.
    TimedOut,
    /// The job's deadline is over. As for a timeout, and a job that has not ended by its deadline expires.
    Deadline,
    /// The worker, or the daemon, stops and the grace is over. If the handler returns an error, or nothing within two seconds, the
    /// job is given back, which counts as no attempt.
    Stopping,
}

impl Context {
    pub(super) fn of(attempt: Arc<Shared>) -> Context {
        let token = attempt.token().child_token();
        Context { attempt, token }
    }

    /// The job's id.
    pub fn id(&self) -> u64 {
        self.attempt.job.lease.id
    }

    /// Which attempt this is. The numbers of those that count as none are used up as well.
    pub fn attempt(&self) -> u32 {
        self.attempt.job.lease.attempt
    }

    /// After how many failed attempts the job is dead.
    pub fn max_attempts(&self) -> u32 {
        self.attempt.job.attempts
    }

    /// The queue.
    pub fn queue(&self) -> &str {
        &self.attempt.job.queue
    }

    /// The job's priority; 0 goes first.
    pub fn priority(&self) -> u32 {
        self.attempt.job.priority
    }

    /// The number of the user who submitted it.
    pub fn owner(&self) -> u32 {
        self.attempt.job.owner
    }

    /// All its tags: names and values.
    pub fn tags(&self) -> &[(String, String)] {
        &self.attempt.job.tags
    }

    /// The value of one tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags().iter().find(|(tag, _)| tag == name).map(|(_, value)| &**value)
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&str> {
        self.attempt.job.key.as_deref()
    }

    /// By when it must have ended, in milliseconds since 1970, if it has a deadline.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.attempt.job.deadline_ms
    }

    /// How long this attempt may still take, until its timeout or the job's deadline; `None` without either.
    pub fn time_left(&self) -> Option<Duration> {
        self.attempt.ends().map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    /// The lease, for requests of [`Context::client`] that name it.
    pub fn lease(&self) -> LeaseRef {
        self.attempt.job.lease
    }

    /// The connection to the daemon, as it is now: to submit other jobs, say. It stays open as long as there is a clone of it, so drop
    /// clones with the attempt. While the daemon is away this waits for its return, at most until the lease is over.
    ///
    /// A request that is under way when the daemon goes away has an error, [`ClientError::is_disconnect`], and whether it was done is not
    /// known. What may be asked again belongs into [`Context::ask`].
    ///
    /// # Errors
    /// The lease is lost.
    pub async fn client(&self) -> Result<Client, ClientError> {
        self.ask(|client| async move {
            // The loop may not have heard of its end yet.
            if client.is_closed() { Err(ClientError::Closed(String::new())) } else { Ok(client) }
        })
        .await
    }

    /// Asks the daemon until there is an answer: if the connection ends before that, again on the next one, as long as the lease lasts. So
    /// what is asked must be such that twice does no harm: a submit with an idempotency key, a signal, a question.
    ///
    /// ```no_run
    /// # use musher::client::{ClientError, worker::Context};
    /// # use bytes::Bytes;
    /// async fn approve(cx: Context, order: u64) -> Result<(), ClientError> {
    ///     cx.ask(|client| async move { client.signal(order, "approved", Bytes::new()).await }).await
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of the request; or the lease is lost while the daemon is away.
    pub async fn ask<T, A>(&self, request: impl Fn(Client) -> A) -> Result<T, ClientError>
    where
        A: Future<Output = Result<T, ClientError>>,
    {
        self.attempt.ask(|client, _| request(client)).await
    }

    /// Fires when the handler is to end: [`Reason`] has all cases. After two seconds more it is ended, at the `await` at which it
    /// stands. Handlers that may be ended so need not look at it.
    ///
    /// ```
    /// # use musher::client::worker::Context;
    /// async fn copy(cx: Context) -> Result<(), String> {
    ///     for page in 0..100 {
    ///         if cx.token().is_cancelled() {
    ///             return Err(format!("ended at page {page}"));
    ///         }
    ///         // …
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Returns when the handler is to end.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Why the handler is to end, if it is.
    pub fn reason(&self) -> Option<Reason> {
        self.attempt.why()
    }

    /// Says how far the job is, in percent and in words, for people who look at it (`musher show`). While the daemon is away it waits
    /// for nobody: the newest is said when it is back.
    ///
    /// # Errors
    /// As for [`Client::progress`], but for the end of the connection. A handler may go on without.
    pub async fn progress(&self, percent: u8, text: impl Into<String>) -> Result<(), ClientError> {
        self.attempt.say_progress((percent, text.into())).await
    }

    /// Completes the job and submits what follows from it, in one commit: both or neither. After that the job is done, whatever
    /// the handler returns.
    ///
    /// ```no_run
    /// # use musher::client::{ClientError, worker::{Context, Job}};
    /// use musher::protocol::{JobOptions, SubmitGroup};
    ///
    /// async fn fetch(job: Job<String>, cx: Context) -> Result<(), ClientError> {
    ///     let options = JobOptions { queue: "resize".into(), ..JobOptions::default() };
    ///     let bodies = vec![job.body.into()];
    ///     cx.complete_and_submit(vec![SubmitGroup { options, bodies }]).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::complete_and_submit`]: refused, and then the job is as it was; or the daemon went away and its answer is lost for
    /// good, and then the next attempt tells whether it was done: there is none if it was. While the daemon is away this waits for
    /// its return, at most until the lease is over.
    pub async fn complete_and_submit(&self, groups: Vec<SubmitGroup>) -> Result<Receipts, ClientError> {
        let (lease, groups) = (self.lease(), &groups);
        let complete =
            |client: Client| async move { client.complete_and_submit(lease, groups.clone(), None).await };
        self.attempt.complete(complete).await
    }

    /// Completes the job with a result, in one commit, which is kept with the job (`musher result`). After that the job is done,
    /// whatever the handler returns.
    ///
    /// # Errors
    /// Refused: the result is too long (`limits.result`), or the lease is lost; then the job is as it was. If the daemon goes away, as for
    /// [`Context::complete_and_submit`].
    pub async fn complete_with(&self, result: impl Into<Bytes>) -> Result<(), ClientError> {
        let (lease, result) = (self.lease(), &result.into());
        let complete = |client: Client| async move {
            let settle = Settle { lease, verdict: Verdict::CompleteWith(result.clone()) };
            let settled = client.settle(vec![settle]).await?.into_iter().next();
            settled.ok_or(ClientError::Unexpected)?.map_err(lost)
        };
        self.attempt.complete(complete).await
    }

    /// The signal that the job has waited for ([`Outcome::until_signal`](super::Outcome::until_signal)), if that came: its name and
    /// what it says. Each attempt gets it until the job waits for the next one.
    pub fn signal(&self) -> Option<(&str, &Bytes)> {
        self.attempt.job.signal.as_ref().map(|(name, says)| (name.as_str(), says))
    }

    /// The checkpoint that an earlier attempt has left, if one has.
    pub fn last_checkpoint(&self) -> Option<&Bytes> {
        self.attempt.job.checkpoint.as_ref()
    }

    /// Stores how far the job is: when this returns it is on disk, and the next attempt has it as its
    /// [`last_checkpoint`](Context::last_checkpoint), whatever ends this one. It takes the place of the one before.
    ///
    /// ```
    /// # use musher::client::{ClientError, worker::Context};
    /// async fn render(cx: Context) -> Result<(), ClientError> {
    ///     let done = cx.last_checkpoint().and_then(|page| page.first().copied()).unwrap_or(0);
    ///     for page in done + 1..=100 {
    ///         // …
    ///         cx.checkpoint(vec![page]).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// It is too long (`limits.checkpoint`), or the lease is lost. While the daemon is away this waits for its return, at most until the
    /// lease is over.
    pub async fn checkpoint(&self, data: impl Into<Bytes>) -> Result<(), ClientError> {
        let (lease, data) = (self.lease(), &data.into());
        let stored = self.ask(|client| async move { client.checkpoint(lease, data.clone(), None).await });
        stored.await?.map(drop).map_err(lost)
    }
}

fn lost(fault: LeaseFault) -> ClientError {
    ClientError::Refused(Fault { code: ErrorCode::WrongState, message: fault.to_string() })
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Context");
        it.field("lease", &self.lease()).field("queue", &self.queue()).field("reason", &self.reason());
        it.finish_non_exhaustive()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Cancelled => "the job was cancelled",
            Reason::LeaseLost => "the lease is lost",
            Reason::Disconnected => "the connection to the daemon has ended",
            Reason::TimedOut => "the attempt has timed out",
            Reason::Deadline => "the job's deadline is over",
            Reason::Stopping => "the worker stops",
        })
    }
}
