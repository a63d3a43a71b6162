//! What an attempt's handler, its task and the worker's loop have in common: the job, why it is to end, and what the handler asks of
//! the daemon, which waits while that is away, as long as the lease lasts.

use super::context::Reason;
use crate::client::line::Line;
use crate::client::{Client, ClientError, TimeLimit, send_now};
use crate::protocol::{ClaimedJob, ErrorCode, Fault, LeaseRef};
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What an attempt's handler, its task and the worker's loop have in common.
pub(super) struct Shared {
    line: Line,
    /// Its body is the handler's.
    pub(super) job: ClaimedJob,
    pub(super) limit: TimeLimit,
    /// When that ends.
    ends: Option<Instant>,
    token: CancellationToken,
    why: OnceLock<Reason>,
    /// How many requests are under way that complete the job.
    completing: AtomicUsize,
    /// One of them has.
    completed: AtomicBool,
    /// How far the handler has said that it is. A daemon that comes back knows nothing of it.
    progress: Mutex<Option<(u8, String)>>,
}

/// A request under way that completes the job.
struct Completing<'a>(&'a AtomicUsize);

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    pub(super) fn new(line: Line, job: ClaimedJob) -> Shared {
        // What the daemon's clock shows, and the deadline is one of it.
        let limit = TimeLimit::of(&job, job.until_ms.saturating_sub(job.lease_ms));
        let ends = limit.time().and_then(|time| Instant::now().checked_add(time));
        let (token, why) = (CancellationToken::new(), OnceLock::new());
        let (completing, completed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Shared { line, job, limit, ends, token, why, completing, completed, progress: Mutex::default() }
    }

    /// Tells the handler to end. Only the first reason counts.
    pub(super) fn end(&self, why: Reason) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    pub(super) fn why(&self) -> Option<Reason> {
        self.why.get().copied()
    }

    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    pub(super) async fn told_to_end(&self) {
        self.token.cancelled().await;
    }

    /// Whether its lease may be gone since the handler itself has completed the job.
    pub(super) fn may_be_complete(&self) -> bool {
        self.completing.load(Ordering::SeqCst) > 0 || self.is_complete()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.completed.load(Ordering::SeqCst)
    }

    /// Says how far the handler is, if there is a connection.
    pub(super) async fn say_progress(&self, (percent, text): (u8, String)) -> Result<(), ClientError> {
        *self.progress() = Some((percent, text.clone()));
        let Some((_, client)) = self.line.now() else { return Ok(()) };
        match client.progress(self.job.lease, percent, text).await {
            Err(error) if error.is_disconnect() => Ok(()),
            said => said.inspect_err(|_| *self.progress() = None),
        }
    }

    /// Says on this connection what was said on the last one.
    pub(super) fn say_progress_again(&self, client: &Client) {
        if let Some((percent, text)) = self.progress().clone() {
            let (client, lease) = (client.clone(), self.job.lease);
            // If it fails, people see less.
            send_now(async move { drop(client.progress(lease, percent, text).await) });
        }
    }

    fn progress(&self) -> MutexGuard<'_, Option<(u8, String)>> {
        self.progress.lock().expect("nobody panics while holding this lock")
    }

    /// Asks until there is an answer, on one connection after the other, as long as there is one or the lease lasts; `ask` is told whether it has
    /// asked before.
    pub(super) async fn ask<T, A>(&self, ask: impl Fn(Client, bool) -> A) -> Result<T, ClientError>
    where
        A: Future<Output = Result<T, ClientError>>,
    {
        let is_lost = async {
            self.token.cancelled().await;
            match self.why() {
                Some(Reason::LeaseLost | Reason::Disconnected) => self.line.away().await,
                // The lease lasts until the handler has ended.
                _ => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = is_lost => Err(self.lost()),
            answer = self.line.ask(|client, _, again| ask(client, again)) => answer,
        }
    }

    fn lost(&self) -> ClientError {
        let LeaseRef { id, attempt } = self.job.lease;
        let message = format!(
            "the lease of job {id}, attempt {attempt}, is lost: the daemon was away, and it was not taken up in time"
        );
        ClientError::Refused(Fault { code: ErrorCode::WrongState, message })
    }

    /// The same of a request that completes the job. If it is sent again and then refused, as the lease is not in force, it was done the
    /// first time, or the lease is lost: that is not known.
    pub(super) async fn complete<T, A>(&self, ask: impl Fn(Client) -> A) -> Result<T, ClientError>
    where
        A: Future<Output = Result<T, ClientError>>,
    {
        self.completing.fetch_add(1, Ordering::SeqCst);
        let _under_way = Completing(&self.completing);
        let answer = self.ask(|client, again| {
            let answer = ask(client);
            async move {
                match answer.await {
                    Err(ClientError::Refused(fault)) if again && is_of_lease(&fault) => Ok(Err(fault)),
                    answer => answer.map(Ok),
                }
            }
        });
        match answer.await? {
            Ok(done) => {
                self.completed.store(true, Ordering::SeqCst);
                Ok(done)
            }
            Err(fault) => {
                self.end(Reason::LeaseLost);
                Err(ClientError::Closed(format!("; the job is complete, or its lease is lost: {fault}")))
            }
        }
    }
}

/// Whether a request was refused since its lease is not in force; or for another reason that may be this one.
fn is_of_lease(fault: &Fault) -> bool {
    matches!(fault.code, ErrorCode::WrongState | ErrorCode::NotFound)
}
