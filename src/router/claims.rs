//! A claim on queues of several shards. First it takes what is there, shard by shard in the order asked for, as one shard would; if that
//! is nothing it waits at all of them at once, and takes what comes first. What comes from others by then is given back if it is more
//! than was asked for. A shard without an owner holds up nobody: others are looked at meanwhile.

use super::connection::{Connection, UNASKED};
use super::merge::unexpected;
use crate::protocol::{Claim, ClaimedJob, Fault, Request, Response, Settle, Verdict};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a shard may take to say what is there, before the others are looked at.
const PROMPT: Duration = Duration::from_millis(250);

/// Shards that have not answered yet.
type Waiting = FuturesUnordered<oneshot::Receiver<Response>>;

/// What it comes to. `None` if the connection ends.
pub(super) async fn claim(
    connection: &Rc<Connection>,
    client: u32,
    (parts, wanted): (Vec<(usize, Vec<String>)>, Claim),
    is_unwaited: &Cell<bool>,
) -> Option<Response> {
    let most = wanted.max as usize;
    let (mut taken, mut waiting) = (Taken::default(), Waiting::new());
    for (shard, queues) in &parts {
        let left = most.saturating_sub(taken.jobs.len());
        if left == 0 {
            break;
        }
        let claim = Claim { queues: queues.clone(), max: left as u32, wait_ms: 0, ..wanted.clone() };
        let mut answer = connection.begin(client, *shard, &Request::Claim(claim)).await;
        match timeout(PROMPT, &mut answer).await {
            Ok(answer) => taken.take(answer.ok()?),
            Err(_) => waiting.push(answer),
        }
    }
    if taken.jobs.is_empty() && taken.may_wait() && wanted.wait_ms > 0 && !is_unwaited.get() {
        taken.refusals.clear();
        for (shard, queues) in parts {
            let claim = Claim { queues, ..wanted.clone() };
            waiting.push(connection.begin(client, shard, &Request::Claim(claim)).await);
        }
        if is_unwaited.get() {
            // It may have been wished while some were not asked yet.
            connection.unwait_all(client).await;
        }
        taken.take_first(connection, client, &mut waiting).await?;
    }
    give_back(connection, taken.jobs.split_off(taken.jobs.len().min(most))).await;
    // What others have found when nobody waits any more is given back as it comes.
    connection.spawn(async move |connection| {
        while let Some(Ok(late)) = waiting.next().await {
            if let Response::Jobs(jobs) = late {
                give_back(&connection, jobs).await;
            }
        }
    });
    Some(taken.answer())
}

#[derive(Default)]
struct Taken {
    jobs: Vec<ClaimedJob>,
    refusals: Vec<Fault>,
}

impl Taken {
    fn take(&mut self, answer: Response) {
        match answer {
            Response::Jobs(jobs) => self.jobs.extend(jobs),
            Response::Error(fault) => self.refusals.push(fault),
            _ => self.refusals.push(unexpected()),
        }
    }

    /// Waits for the first jobs, and then for what the others say when they are not to wait any longer.
    async fn take_first(
        &mut self,
        connection: &Rc<Connection>,
        client: u32,
        waiting: &mut Waiting,
    ) -> Option<()> {
        // A shard that refuses it for now ends it, too: else nobody would ask there again, however long the others have nothing.
        while self.jobs.is_empty() && self.refusals.is_empty() {
            let Some(answer) = waiting.next().await else { return Some(()) };
            self.take(answer.ok()?);
        }
        connection.unwait_all(client).await;
        let end = Instant::now() + PROMPT;
        while let Ok(Some(answer)) = timeout_at(end, waiting.next()).await {
            self.take(answer.ok()?);
        }
        Some(())
    }

    /// Whether something may come: the claim is as it must be.
    fn may_wait(&self) -> bool {
        self.refusals.iter().all(|fault| fault.code.try_again())
    }

    /// Jobs, if there are any: nobody else has them now. Else what is wrong with the claim, or with a shard.
    fn answer(mut self) -> Response {
        let wrong = self.refusals.iter().position(|fault| !fault.code.try_again());
        match self.jobs.is_empty() && !self.refusals.is_empty() {
            true => Response::Error(self.refusals.swap_remove(wrong.unwrap_or(0))),
            false => Response::Jobs(self.jobs),
        }
    }
}

/// Jobs that were taken too many are ready again at once.
async fn give_back(connection: &Rc<Connection>, jobs: Vec<ClaimedJob>) {
    for job in jobs {
        let Some(shard) = connection.router.shards.of_job(job.lease.id) else { continue };
        let settle = Settle { lease: job.lease, verdict: Verdict::Release { delay_ms: 0 } };
        // If that fails the connection ends, and the lease with it or by its time.
        drop(connection.begin(UNASKED, shard, &Request::Settle(vec![settle])).await);
    }
}
