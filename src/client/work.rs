//! The requests of workers: claims, and what is said of the leases that come of them.

use super::{Client, ClientError};
use crate::protocol::{Claim, ClaimedJob, LeaseFault, LeaseRef, Request, Response, Settle, Verdict, Version};
use bytes::Bytes;
use std::future::Future;

/// A claim under way: wait for it, and end its waiting early by its number. Where much is still to be sent it leaves
/// only while the answer is waited for.
pub struct PendingClaim<F> {
    /// The request's number, for [`Client::unwait`].
    pub number: u32,
    /// The answer.
    pub answer: F,
}

impl Client {
    /// Leases jobs, waiting for the first one as the claim says.
    ///
    /// # Errors
    /// Refused: draining, too many waiting claims, …; or the connection ended.
    pub async fn claim(&self, claim: Claim) -> Result<Vec<ClaimedJob>, ClientError> {
        self.start_claim(claim)?.answer.await
    }

    /// The same, but the caller learns the request's number at once and can end the waiting with
    /// [`Client::unwait`].
    ///
    /// # Errors
    /// The connection has ended.
    pub fn start_claim(
        &self,
        claim: Claim,
    ) -> Result<PendingClaim<impl Future<Output = Result<Vec<ClaimedJob>, ClientError>> + use<>>, ClientError>
    {
        let (number, answer) = self.connection.send(&Request::Claim(claim))?;
        let answer = async move {
            match answer.await? {
                Response::Jobs(jobs) => Ok(jobs),
                _ => Err(ClientError::Unexpected),
            }
        };
        Ok(PendingClaim { number, answer })
    }

    /// Has a waiting claim answered at once.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn unwait(&self, number: u32) -> Result<(), ClientError> {
        self.ok(&Request::Unwait { request: number }).await
    }

    /// Ends leases; one result each.
    ///
    /// # Errors
    /// The connection ended. A lease that is lost is not an error of the whole.
    pub async fn settle(&self, items: Vec<Settle>) -> Result<Vec<Result<(), LeaseFault>>, ClientError> {
        let since_version_2 = |item: &Settle| match item.verdict {
            Verdict::CompleteWith(_) => Some("results of jobs"),
            Verdict::Await { .. } => Some("signals of jobs"),
            _ => None,
        };
        if self.connection.version() == Version::One
            && let Some(what) = items.iter().find_map(since_version_2)
        {
            return Err(ClientError::OldDaemon(what));
        }
        match self.connection.ask(&Request::Settle(items)).await? {
            Response::Settled(results) => Ok(results),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Prolongs leases; the new end of each, in milliseconds since 1970.
    ///
    /// # Errors
    /// The connection ended. A lease that is lost is not an error of the whole.
    pub async fn extend(
        &self,
        leases: Vec<LeaseRef>,
        lease_ms: Option<u64>,
    ) -> Result<Vec<Result<u64, LeaseFault>>, ClientError> {
        match self.connection.ask(&Request::Extend { leases, lease_ms }).await? {
            Response::Extended(results) => Ok(results),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// Has a piece of a job's output kept. `stream` is 1 for standard output, 2 for standard error.
    ///
    /// # Errors
    /// The connection ended, or the lease is not in force.
    pub async fn output(&self, lease: LeaseRef, stream: u8, data: Bytes) -> Result<(), ClientError> {
        self.output_at(lease, stream, data, None).await
    }

    /// The same of a piece that may be there already, behind so many bytes of its stream.
    pub(crate) async fn output_at(
        &self,
        lease: LeaseRef,
        stream: u8,
        data: Bytes,
        again_at: Option<u64>,
    ) -> Result<(), ClientError> {
        self.ok(&Request::Output { lease, stream, data, again_at }).await
    }

    /// Says how far a job is, in percent and in words, for people who look at it. It is gone with the lease, and prolongs
    /// none.
    ///
    /// # Errors
    /// More than 100 percent, a text of more than 200 bytes, a lease that is not in force; or the connection ended.
    pub async fn progress(
        &self,
        lease: LeaseRef,
        percent: u8,
        text: impl Into<String>,
    ) -> Result<(), ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("progress of jobs"));
        }
        self.ok(&Request::Progress { lease, percent, text: text.into() }).await
    }

    /// Stores how far a job is, in the place of what was stored before: whoever gets the job next gets it. The lease lasts to at
    /// least so many milliseconds from now, or as the queue says. Returns its end, in milliseconds since 1970. When this
    /// returns, the checkpoint is on disk.
    ///
    /// # Errors
    /// It is too long (`limits.checkpoint`), or the connection ended. A lease that is lost is the inner error.
    pub async fn checkpoint(
        &self,
        lease: LeaseRef,
        data: Bytes,
        lease_ms: Option<u64>,
    ) -> Result<Result<u64, LeaseFault>, ClientError> {
        if self.connection.version() == Version::One {
            return Err(ClientError::OldDaemon("checkpoints of jobs"));
        }
        match self.connection.ask(&Request::Checkpoint { lease, lease_ms, data }).await? {
            Response::Extended(results) => results.into_iter().next().ok_or(ClientError::Unexpected),
            _ => Err(ClientError::Unexpected),
        }
    }
}
