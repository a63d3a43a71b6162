//! Submits: of new jobs, once, with the end of the job that they follow from, or with the wait for their ends.

use super::receipts::Receipts;
use super::{Client, ClientError, STREAM_WAITING_MAX, from_json};
use crate::protocol::admin::EndView;
use crate::protocol::{LeaseRef, Request, Response, SubmitGroup, Version};
use tokio::sync::mpsc;

/// Jobs that were submitted, and whose ends are waited for.
pub struct PendingEnds {
    /// What became of each job; of those that are not new, the ends of the jobs that hold their unique keys are waited for.
    pub receipts: Receipts,
    answers: mpsc::Receiver<Result<Response, ClientError>>,
}

impl PendingEnds {
    /// Their ends, in the order of the receipts; what they are like if the time is over.
    ///
    /// # Errors
    /// The connection ended. The jobs go on.
    pub async fn ends(mut self) -> Result<Vec<EndView>, ClientError> {
        match next(&mut self.answers).await? {
            Response::Json(json) => from_json(&json),
            _ => Err(ClientError::Unexpected),
        }
    }
}

fn receipts(response: Response) -> Result<Receipts, ClientError> {
    match response {
        Response::Submitted { first, count } => Ok(Receipts::New { first, count }),
        Response::Received(receipts) => Ok(Receipts::Each(receipts)),
        _ => Err(ClientError::Unexpected),
    }
}

async fn next(answers: &mut mpsc::Receiver<Result<Response, ClientError>>) -> Result<Response, ClientError> {
    answers.recv().await.unwrap_or_else(|| Err(ClientError::Closed(String::new())))
}

impl Client {
    /// Enqueues jobs, all or none; returns what became of each. Those whose unique keys other jobs hold are not enqueued.
    ///
    /// # Errors
    /// Refused: full, draining, too large, …; or the connection ended.
    pub async fn submit(&self, groups: Vec<SubmitGroup>) -> Result<Receipts, ClientError> {
        self.check_submit(&groups)?;
        receipts(self.connection.ask(&Request::Submit(groups)).await?)
    }

    /// The same, unless the same was done before under this idempotency key, one of this user: then the answer is that of the
    /// first time, and nothing is enqueued. So a submit whose answer was lost can be sent again. Keys are remembered for
    /// `limits.idempotency`, over crashes too.
    ///
    /// # Errors
    /// As for [`Client::submit`]; or other jobs were submitted with this key.
    pub async fn submit_once(
        &self,
        key: impl Into<String>,
        groups: Vec<SubmitGroup>,
    ) -> Result<Receipts, ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("idempotency keys"));
        }
        receipts(self.connection.ask(&Request::SubmitOnce { groups, key: key.into() }).await?)
    }

    /// Completes a job and enqueues what follows from it, in one commit: both or neither. So each step of a chain of jobs
    /// has its followers exactly once, whatever crashes. The job's unique key is free for them, unless it is held for a time
    /// after the end; it goes on while the daemon drains.
    ///
    /// If the answer is lost, the job may be done or not. With an idempotency `key` the same can be sent again and gets the answer
    /// of the first time; without one, a second try finds that the lease is lost if the first was done.
    ///
    /// # Errors
    /// The lease is not in force, or the submit is refused: then the job is as it was.
    pub async fn complete_and_submit(
        &self,
        lease: LeaseRef,
        groups: Vec<SubmitGroup>,
        key: Option<String>,
    ) -> Result<Receipts, ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("what follows from a job"));
        }
        receipts(self.connection.ask(&Request::CompleteAndSubmit { lease, groups, key }).await?)
    }

    /// Version 1 has no place for keys, deadlines and ties, and without them jobs would run side by side, twice, too late or too
    /// early.
    fn check_submit(&self, groups: &[SubmitGroup]) -> Result<(), ClientError> {
        let has_key = |group: &SubmitGroup| group.options.key.is_some() || group.options.unique.is_some();
        if self.connection.version() != Version::One {
            return Ok(());
        }
        if groups.iter().any(has_key) {
            return Err(ClientError::OldDaemon("keys of jobs"));
        }
        if groups.iter().any(|group| group.options.ties.is_some()) {
            return Err(ClientError::OldDaemon("jobs that wait for others"));
        }
        if groups.iter().any(|group| group.options.to_topic) {
            return Err(ClientError::OldDaemon("topics"));
        }
        match groups.iter().any(|group| group.options.deadline_ms.is_some()) {
            true => Err(ClientError::OldDaemon("deadlines of jobs")),
            false => Ok(()),
        }
    }

    /// Enqueues jobs, all or none, and waits for their ends, in one request: however quick a worker is, no end is
    /// missed.
    ///
    /// # Errors
    /// As for [`Client::submit`].
    pub async fn submit_and_wait(
        &self,
        groups: Vec<SubmitGroup>,
        timeout_ms: Option<u64>,
    ) -> Result<PendingEnds, ClientError> {
        self.check_submit(&groups)?;
        let mut answers =
            self.stream(&Request::SubmitAndWait { groups, timeout_ms }, STREAM_WAITING_MAX).await?;
        Ok(PendingEnds { receipts: receipts(next(&mut answers).await?)?, answers })
    }
}
