//! A worker that runs what is ready, and then no more: for tests, and for programs that are started now and then. One job at a time,
//! in the caller's task.

use super::context::Reason;
use super::outcome::{Outcome, millis};
use super::shared::Shared;
use super::{Served, Worker, WorkerError, attempt, check};
use crate::client::line::line;
use crate::client::{Client, ClientError, next_notice};
use crate::protocol::{Claim, ClaimedJob, LeaseRef, Notice, Revocation, Settle, Verdict};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// After so many jobs it is said that there is no end: jobs that bring others without a wait.
const MOST: usize = 10_000;

/// A job that was run by [`Worker::run_ready`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its id.
    pub id: u64,
    /// Its queue.
    pub queue: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// How the attempt ended, as the daemon was told; `Done` too if the handler has completed the job itself. `None` if it counts
    /// for nothing: the job was given back, cancelled meanwhile, or its lease was lost.
    pub outcome: Option<Outcome>,
}

impl Worker {
    /// Runs the jobs that are ready, one after the other, with those that become ready by this, until none is. Returns what ran, in
    /// that order: of several queues the one whose handler was given first goes first, unless they have weights. Nothing is
    /// waited for: what is to be repeated later, or not to run before a time, is left for another call.
    ///
    /// ```no_run
    /// # use musher::client::worker::{Context, Job, Outcome, Worker};
    /// # async fn example(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
    /// let worker = worker.handle("mails", |_: Job<String>, _: Context| async { Err::<(), _>("no network") });
    /// for ran in worker.run_ready().await? {
    ///     println!("job {} of {}: {:?}", ran.id, ran.queue, ran.outcome);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is no daemon, it refuses, or the connection ends: a job that runs then is given out again. The worker is not set up
    /// rightly. Or there is no end of it ([`WorkerError::Endless`]).
    pub async fn run_ready(&self) -> Result<Vec<Ran>, WorkerError> {
        self.run_ready_up_to(MOST).await
    }

    /// The same with another number of jobs after which there is no end.
    pub(crate) async fn run_ready_up_to(&self, most: usize) -> Result<Vec<Ran>, WorkerError> {
        check(&self.served, self.concurrency)?;
        let client = (self.dial)().await?;
        let mut notices = client.notices();
        let mut all = Vec::new();
        while let Some(job) = self.claim_one(&client).await? {
            if all.len() == most {
                give_back(&client, job.lease).await?;
                return Err(WorkerError::Endless { jobs: most });
            }
            let served = self.served.iter().find(|served| *served.options.queue == *job.queue);
            let Some(served) = served else {
                give_back(&client, job.lease).await?;
                return Err(ClientError::Unexpected.into());
            };
            all.push(run_one(&client, &mut notices, served, job).await?);
        }
        Ok(all)
    }

    async fn claim_one(&self, client: &Client) -> Result<Option<ClaimedJob>, ClientError> {
        let queues = self.served.iter().map(|served| served.options.queue.clone()).collect();
        let claim = Claim { queues, max: 1, bound: true, ..Claim::default() };
        Ok(client.claim(claim).await?.pop())
    }
}

async fn give_back(client: &Client, lease: LeaseRef) -> Result<(), ClientError> {
    client.settle(vec![Settle { lease, verdict: Verdict::Release { delay_ms: 0 } }]).await.map(drop)
}

/// Runs a job to its end, and settles it.
async fn run_one(
    client: &Client,
    notices: &mut Option<mpsc::UnboundedReceiver<Notice>>,
    served: &Served,
    mut job: ClaimedJob,
) -> Result<Ran, ClientError> {
    let (lease, queue, body) = (job.lease, job.queue.to_string(), std::mem::take(&mut job.body));
    let asked_ms = served.options.lease.map(millis);
    let third = Duration::from_millis((asked_ms.unwrap_or(job.lease_ms) / 3).max(1));
    let (switch, line) = line(client.clone());
    let shared = Arc::new(Shared::new(line, job));
    let mut running = pin!(attempt::run(shared.clone(), served.handler.clone(), body));
    let mut extend_at = Instant::now() + third;
    let verdict = loop {
        tokio::select! {
            biased;
            verdict = &mut running => break verdict,
            () = client.closed() => {
                shared.end(Reason::Disconnected);
                switch.cut();
                break running.await;
            }
            notice = next_notice(notices) => {
                if let Notice::Revoked { lease: revoked, why } = notice && revoked == lease {
                    shared.end(match why {
                        Revocation::Cancelled => Reason::Cancelled,
                        Revocation::Expired => Reason::LeaseLost,
                    });
                }
            }
            () = sleep_until(extend_at) => {
                extend_at = Instant::now() + third;
                let extended = client.extend(vec![lease], asked_ms).await?;
                match extended.first() {
                    Some(Ok(_)) => {}
                    _ if shared.may_be_complete() => {}
                    Some(Err(fault)) if fault.is_cancelled() => shared.end(Reason::Cancelled),
                    _ => shared.end(Reason::LeaseLost),
                }
            }
        }
    };
    let outcome = match verdict {
        Some(verdict) => settle(client, lease, verdict).await?,
        None => shared.is_complete().then_some(Outcome::Done),
    };
    Ok(Ran { id: lease.id, queue, attempt: lease.attempt, outcome })
}

/// Tells the daemon; what it comes to, if it counts.
async fn settle(client: &Client, lease: LeaseRef, verdict: Verdict) -> Result<Option<Outcome>, ClientError> {
    let outcome = outcome(&verdict);
    let settled = client.settle(vec![Settle { lease, verdict }]).await?;
    Ok(outcome.filter(|_| settled.first().is_some_and(Result::is_ok)))
}

fn outcome(verdict: &Verdict) -> Option<Outcome> {
    let wait = |ms: &u64| Duration::from_millis(*ms);
    Some(match verdict {
        Verdict::Complete | Verdict::CompleteWith(_) => Outcome::Done,
        Verdict::Fail { error, .. } => Outcome::Failed { error: error.clone(), retry_after: None },
        Verdict::FailRetryAfter { error, wait_ms, .. } => {
            Outcome::Failed { error: error.clone(), retry_after: Some(wait(wait_ms)) }
        }
        Verdict::FailDead { error, .. } => Outcome::Dead { error: error.clone() },
        Verdict::Later { error, wait_ms } => {
            Outcome::Later { why: error.clone(), after: wait_ms.as_ref().map(wait) }
        }
        Verdict::Await { signal, timeout_ms } => {
            Outcome::Until { signal: signal.clone(), timeout: wait(timeout_ms) }
        }
        // Processes end so, and handlers are none.
        Verdict::Exited { .. } | Verdict::Release { .. } => return None,
    })
}
