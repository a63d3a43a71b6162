//! `/claim`, `/settle`, `/extend` and what else workers say of their leases. A lease lasts as long as it says, and not as long as a
//! connection: a program that asks by HTTP has none.

use super::{ApiError, Asked, Asker, At, Front, Raw, Reply, Sent};
use crate::client::{Client, ClientError};
use crate::http::answer::to_json;
use crate::protocol::{Claim, ClaimedJob, LeaseFault, LeaseRef, Settle, Verdict};
use crate::written::claimed::{claimed, lease, lease_text};
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{post, put};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The longest wait for a job, in milliseconds: more is asked for again, so that nothing in between gives up.
const WAIT_MAX_MS: u64 = 300_000;

pub(super) fn routes() -> Router<Front> {
    Router::new()
        .route("/claim", post(claim))
        .route("/settle", post(settle))
        .route("/extend", post(extend))
        .route("/leases/{lease}/checkpoint", put(checkpoint))
        .route("/leases/{lease}/progress", put(progress))
}

/// What is claimed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    queues: Vec<String>,
    max: Option<u32>,
    lease_ms: Option<u64>,
    #[serde(default)]
    wait_ms: u64,
}

async fn claim(asker: Asker, Sent(wanted): Sent<Wanted>) -> Reply {
    let Wanted { queues, max, lease_ms, wait_ms } = wanted;
    let wait_ms = wait_ms.min(WAIT_MAX_MS);
    let claim = Claim { queues, max: max.unwrap_or(1), lease_ms, wait_ms, bound: false };
    let jobs = claim_for_somebody(asker.0, claim).await?;
    Ok(to_json(&json!({ "jobs": jobs.iter().map(claimed).collect::<Vec<_>>() })))
}

/// Claims jobs. If whoever asked hangs up meanwhile, nobody waits any more, and what came too late goes back at once.
async fn claim_for_somebody(client: Client, claim: Claim) -> Result<Vec<ClaimedJob>, ClientError> {
    let (told, answer) = oneshot::channel();
    tokio::spawn(claim_until_gone(client, claim, told));
    // It is dropped without an answer only with the whole runtime.
    answer.await.unwrap_or_else(|_| Err(ClientError::Closed(String::new())))
}

type Told = oneshot::Sender<Result<Vec<ClaimedJob>, ClientError>>;

async fn claim_until_gone(client: Client, claim: Claim, mut told: Told) {
    let pending = match client.start_claim(claim) {
        Ok(pending) => pending,
        Err(error) => return drop(told.send(Err(error))),
    };
    let (number, mut answer) = (pending.number, Box::pin(pending.answer));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        () = told.closed() => {
            // Without a connection there is nothing to end, and nothing is leased.
            let _ = client.unwait(number).await;
            answer.await
        }
    };
    if let Err(Ok(jobs)) = told.send(answer) {
        let back = |job: &ClaimedJob| Settle { lease: job.lease, verdict: Verdict::Release { delay_ms: 0 } };
        // If that fails, the leases end by themselves.
        let _ = client.settle(jobs.iter().map(back).collect()).await;
    }
}

/// What is said of one lease. Which of it belongs to which outcome, [`Outcome::takes`] says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(deserialize_with = "lease")]
    lease: LeaseRef,
    outcome: Outcome,
    result: Option<String>,
    result_base64: Option<String>,
    error: Option<String>,
    wait_ms: Option<u64>,
    delay_ms: Option<u64>,
    signal: Option<String>,
    timeout_ms: Option<u64>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Well.
    Done,
    /// Badly: again as the backoff says, or after a time.
    Failed,
    /// Badly, and never again.
    Dead,
    /// Not now, and no attempt is used up.
    Later,
    /// Given back without blame.
    Released,
    /// Given back until a signal comes, or the time is over.
    UntilSignal,
}

impl Outcome {
    /// Its name; what it needs; and what it may have besides.
    fn takes(self) -> (&'static str, &'static [&'static str], &'static [&'static str]) {
        match self {
            Outcome::Done => ("done", &[], &["result", "result_base64"]),
            Outcome::Failed => ("failed", &["error"], &["wait_ms"]),
            Outcome::Dead => ("dead", &["error"], &[]),
            Outcome::Later => ("later", &["error"], &["wait_ms"]),
            Outcome::Released => ("released", &[], &["delay_ms"]),
            Outcome::UntilSignal => ("until_signal", &["signal", "timeout_ms"], &[]),
        }
    }
}

impl Item {
    /// Refuses what is missing, and what the outcome would pass over.
    fn check(&self) -> Result<(), String> {
        let (name, needs, may) = self.outcome.takes();
        let given = [
            ("result", self.result.is_some()),
            ("result_base64", self.result_base64.is_some()),
            ("error", self.error.is_some()),
            ("wait_ms", self.wait_ms.is_some()),
            ("delay_ms", self.delay_ms.is_some()),
            ("signal", self.signal.is_some()),
            ("timeout_ms", self.timeout_ms.is_some()),
        ];
        for (field, is_given) in given {
            if is_given && !needs.contains(&field) && !may.contains(&field) {
                return Err(format!("`{name}` takes no `{field}`"));
            }
            if !is_given && needs.contains(&field) {
                return Err(format!("`{name}` needs `{field}`"));
            }
        }
        match self.result.is_some() && self.result_base64.is_some() {
            true => Err("a job has either `result` or `result_base64`".into()),
            false => Ok(()),
        }
    }

    fn settle(self) -> Result<Settle, String> {
        self.check()?;
        let Item { lease, outcome, result, result_base64, error, wait_ms, delay_ms, signal, timeout_ms } =
            self;
        // Whatever is needed is there.
        let (error, signal) = (error.unwrap_or_default(), signal.unwrap_or_default());
        let verdict = match (outcome, wait_ms) {
            (Outcome::Done, _) => match (result, result_base64) {
                (Some(text), _) => Verdict::CompleteWith(text.into()),
                (None, Some(text)) => {
                    let bytes =
                        BASE64_STANDARD.decode(text).map_err(|error| format!("result_base64: {error}"))?;
                    Verdict::CompleteWith(bytes.into())
                }
                (None, None) => Verdict::Complete,
            },
            (Outcome::Failed, None) => Verdict::Fail { error, exit: None },
            (Outcome::Failed, Some(wait_ms)) => Verdict::FailRetryAfter { error, exit: None, wait_ms },
            (Outcome::Dead, _) => Verdict::FailDead { error, exit: None },
            (Outcome::Later, wait_ms) => Verdict::Later { error, wait_ms },
            (Outcome::Released, _) => Verdict::Release { delay_ms: delay_ms.unwrap_or_default() },
            (Outcome::UntilSignal, _) => {
                Verdict::Await { signal, timeout_ms: timeout_ms.unwrap_or_default() }
            }
        };
        Ok(Settle { lease, verdict })
    }
}

/// Several, each of which is done or not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Items {
    items: Vec<Item>,
}

async fn settle(asker: Asker, Sent(Items { items }): Sent<Items>) -> Reply {
    let leases: Vec<LeaseRef> = items.iter().map(|item| item.lease).collect();
    let settle = |(nth, item): (usize, Item)| {
        item.settle().map_err(|why| ApiError::malformed(format!("items[{nth}]: {why}")))
    };
    let settles = items.into_iter().enumerate().map(settle).collect::<Result<_, _>>()?;
    let results = asker.0.settle(settles).await?;
    Ok(told(&leases, results, |()| None))
}

/// The leases that go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leases {
    leases: Vec<Lease>,
    lease_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Lease(#[serde(deserialize_with = "lease")] LeaseRef);

async fn extend(asker: Asker, Sent(Leases { leases, lease_ms }): Sent<Leases>) -> Reply {
    let leases: Vec<LeaseRef> = leases.into_iter().map(|Lease(lease)| lease).collect();
    let results = asker.0.extend(leases.clone(), lease_ms).await?;
    Ok(told(&leases, results, Some))
}

/// One result a lease.
fn told<T>(
    leases: &[LeaseRef],
    results: Vec<Result<T, LeaseFault>>,
    until: impl Fn(T) -> Option<u64>,
) -> axum::response::Response {
    let one = |(lease, result): (&LeaseRef, Result<T, LeaseFault>)| {
        let mut said = json!({ "lease": lease_text(*lease), "ok": result.is_ok() });
        match result.map(&until) {
            Ok(None) => {}
            Ok(Some(until)) => said["lease_until"] = until.into(),
            Err(fault) => said["error"] = fault.to_string().into(),
        }
        said
    };
    let results: Vec<Value> = leases.iter().zip(results).map(one).collect();
    to_json(&json!({ "results": results }))
}

/// For how long the lease lasts from then on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Until {
    lease_ms: Option<u64>,
}

async fn checkpoint(
    asker: Asker,
    At(Lease(lease)): At<Lease>,
    Asked(Until { lease_ms }): Asked<Until>,
    Raw(data): Raw,
) -> Reply {
    let stored = asker.0.checkpoint(lease, data, lease_ms).await?;
    let until = stored.map_err(|fault| lost(&fault))?;
    Ok(to_json(&json!({ "lease": lease_text(lease), "ok": true, "lease_until": until })))
}

fn lost(fault: &LeaseFault) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "lease_lost", fault.to_string())
}

/// How far a job is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    percent: u8,
    #[serde(default)]
    text: String,
}

async fn progress(
    asker: Asker,
    At(Lease(lease)): At<Lease>,
    Sent(Progress { percent, text }): Sent<Progress>,
) -> Reply {
    asker.0.progress(lease, percent, text).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
