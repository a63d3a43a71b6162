//! What a process leaves in its files reaches the daemon: a checkpoint that has changed at the times at which its lease is
//! prolonged, and at the end of an attempt that has not succeeded; the result with the verdict. It decides nothing of leases.

use super::files::JobFiles;
use crate::client::line::Line;
use crate::client::{Client, ClientError};
use crate::protocol::{ClaimedJob, ErrorCode, LeaseFault, LeaseRef, Settle, Verdict};
use bytes::Bytes;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::sleep;

/// How often a file is looked at, at most and at least, in milliseconds.
const LOOK_MIN_MS: u64 = 50;
const LOOK_MAX_MS: u64 = 60_000;
/// What a frame has besides, at most.
const FRAME_ROOM: usize = 4 << 10;

/// The files of an attempt that runs, and where they go.
pub(super) struct Keeping {
    files: JobFiles,
    line: Line,
    lease: LeaseRef,
    /// The length of the lease to ask for; the queue's setting if not given.
    lease_ms: Option<u64>,
    every: Duration,
    /// What is to be stored.
    unsent: Option<Bytes>,
    /// Why the newest one was not.
    refused: Option<String>,
}

impl Keeping {
    pub(super) fn new(files: JobFiles, line: Line, job: &ClaimedJob, lease_ms: Option<u64>) -> Keeping {
        let every = Duration::from_millis((job.lease_ms / 3).clamp(LOOK_MIN_MS, LOOK_MAX_MS));
        Keeping { files, line, lease: job.lease, lease_ms, every, unsent: None, refused: None }
    }

    /// The most bytes that can be sent: what is allowed, the daemon says.
    fn most(&self) -> usize {
        self.line.limits().frame.saturating_sub(FRAME_ROOM)
    }

    /// Has a checkpoint that is new stored. Whoever drops this may ask again.
    ///
    /// # Errors
    /// The newest one is not, and why.
    async fn store_checkpoint(&mut self) -> Result<(), String> {
        match self.files.take_checkpoint(self.most()) {
            Ok(None) => {}
            Ok(Some(checkpoint)) => (self.unsent, self.refused) = (Some(checkpoint), None),
            Err(why) => (self.unsent, self.refused) = (None, Some(why)),
        }
        if let Some(checkpoint) = self.unsent.clone() {
            let (lease, lease_ms) = (self.lease, self.lease_ms);
            let store = |client: Client, _, _| {
                let checkpoint = checkpoint.clone();
                async move { client.checkpoint(lease, checkpoint, lease_ms).await }
            };
            let stored = self.line.ask(store).await;
            self.unsent = None;
            self.refused = match stored {
                Ok(Ok(_)) => None,
                Ok(Err(fault)) => Some(fault.to_string()),
                Err(error) => Some(error.to_string()),
            };
        }
        self.refused.clone().map_or(Ok(()), Err)
    }

    /// What the verdict is with what the process has left.
    pub(super) async fn at_end(&mut self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Complete => match self.files.take_result(self.most()) {
                Ok(None) => Verdict::Complete,
                Ok(Some(result)) => Verdict::CompleteWith(result),
                Err(why) => {
                    let error = format!("its result is not kept: {why}");
                    Verdict::FailDead { error, exit: None }
                }
            },
            mut verdict => {
                if let Err(why) = self.store_checkpoint().await {
                    tracing::warn!("the checkpoint of job {} is not stored: {why}", self.lease.id);
                    if let Verdict::Fail { error, .. } | Verdict::Exited { error, .. } = &mut verdict {
                        error.push_str("; its checkpoint is not stored: ");
                        error.push_str(&why);
                    }
                }
                verdict
            }
        }
    }
}

/// Looks at the checkpoint now and then.
pub(super) async fn keep_checkpoints(keeping: Option<&mut Keeping>) -> Infallible {
    let Some(keeping) = keeping else { return std::future::pending().await };
    loop {
        sleep(keeping.every).await;
        let before = keeping.refused.clone();
        if let Err(why) = keeping.store_checkpoint().await
            && before.as_ref() != Some(&why)
        {
            tracing::warn!("the checkpoint of job {} is not stored: {why}", keeping.lease.id);
        }
    }
}

/// Completes a job with a result. If the daemon takes none of that length, the job is dead, and says so: what it was to come to is
/// lost, and to run it again would come to the same.
pub(super) async fn complete_with(
    client: &Client,
    item: Settle,
) -> Result<Vec<Result<(), LeaseFault>>, ClientError> {
    let lease = item.lease;
    match client.settle(vec![item]).await {
        Err(ClientError::Refused(fault)) if fault.code == ErrorCode::TooLarge => {
            let verdict = Verdict::FailDead { error: format!("its result is not kept: {fault}"), exit: None };
            client.settle(vec![Settle { lease, verdict }]).await
        }
        settled => settled,
    }
}
