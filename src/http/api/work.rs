//! `/claim`, `/settle`, `/extend` and what else workers say of their leases. A lease lasts as long as it says, and not as long as a
//! connection: a program that asks by HTTP has none.

use super::jobs::WAIT_MAX_MS;
use super::{ApiError, Asked, Asker, At, Done, Lease, Raw, Reply, Routes, Sent, Told};
use crate::client::{Client, ClientError};
use crate::protocol::{Claim, ClaimedJob, LeaseFault, LeaseRef, Settle, Verdict};
use crate::written::claimed::{ClaimedView, claimed, lease, lease_text};
use crate::written::json::Object;
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/claim", "Leases jobs, and waits for the first one", &[404], claim)
        .post("/settle", "Ends leases, each with an outcome", &[404], settle)
        .post("/extend", "Prolongs leases", &[], extend)
        .put("/leases/{lease}/checkpoint", "Stores how far a job is", &[404, 409, 507], checkpoint)
        .put("/leases/{lease}/progress", "Says how far a job is, to people who look", &[404, 409], progress)
}

/// What is claimed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    queues: Vec<String>,
    /// At most so many jobs: 1 if it is not said.
    max: Option<u32>,
    /// How long the leases last; as the queue says if it is not said.
    lease_ms: Option<u64>,
    /// How long to wait for the first job, at most 300,000.
    #[serde(default)]
    wait_ms: u64,
}

/// Jobs that are leased now.
#[derive(Serialize, ToSchema)]
struct ClaimedJobsView {
    jobs: Vec<ClaimedView>,
}

async fn claim(asker: Asker, Sent(wanted): Sent<Wanted>) -> Reply<Told<ClaimedJobsView>> {
    let Wanted { queues, max, lease_ms, wait_ms } = wanted;
    let wait_ms = wait_ms.min(WAIT_MAX_MS);
    let claim = Claim { queues, max: max.unwrap_or(1), lease_ms, wait_ms, bound: false };
    let jobs = claim_for_somebody(asker.0, claim).await?;
    Ok(Told::of(&ClaimedJobsView { jobs: jobs.iter().map(claimed).collect() }))
}

/// Claims jobs. If whoever asked hangs up meanwhile, nobody waits any more, and what came too late goes back at once.
async fn claim_for_somebody(client: Client, claim: Claim) -> Result<Vec<ClaimedJob>, ClientError> {
    let (told, answer) = oneshot::channel();
    tokio::spawn(claim_until_gone(client, claim, told));
    // It is dropped without an answer only with the whole runtime.
    answer.await.unwrap_or_else(|_| Err(ClientError::Closed(String::new())))
}

type Answer = oneshot::Sender<Result<Vec<ClaimedJob>, ClientError>>;

async fn claim_until_gone(client: Client, claim: Claim, mut told: Answer) {
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
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(deserialize_with = "lease")]
    #[schema(value_type = Lease)]
    lease: LeaseRef,
    outcome: Outcome,
    /// Of one that is done: what it has come to.
    result: Option<String>,
    /// The same of what is no text.
    result_base64: Option<String>,
    /// Why it is not done; needed with `failed`, `dead` and `later`.
    error: Option<String>,
    /// With `failed` and `later`: how long to wait, in the place of the backoff.
    wait_ms: Option<u64>,
    /// With `released`: how long to wait.
    delay_ms: Option<u64>,
    /// With `until_signal`, and needed there: its name.
    signal: Option<String>,
    /// With `until_signal`, and needed there: wait at most so long.
    timeout_ms: Option<u64>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
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
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Items {
    #[schema(value_type = Vec<Item>)]
    items: Vec<Object<Item>>,
}

/// What became of one lease.
#[derive(Serialize, ToSchema)]
struct LeaseView {
    lease: String,
    ok: bool,
    /// Its new end, if it was prolonged.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_until: Option<u64>,
    /// Why not, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One result a lease, in their order.
#[derive(Serialize, ToSchema)]
struct LeasesView {
    results: Vec<LeaseView>,
}

async fn settle(asker: Asker, Sent(Items { items }): Sent<Items>) -> Reply<Told<LeasesView>> {
    let leases: Vec<LeaseRef> = items.iter().map(|Object(item)| item.lease).collect();
    let settle = |(nth, Object(item)): (usize, Object<Item>)| {
        item.settle().map_err(|why| ApiError::malformed(format!("items[{nth}]: {why}")))
    };
    let settles = items.into_iter().enumerate().map(settle).collect::<Result<_, _>>()?;
    let results = asker.0.settle(settles).await?;
    Ok(told(&leases, results, |()| None))
}

/// The leases that go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Leases {
    leases: Vec<Lease>,
    /// How long they last from now on; as the queue says if it is not said.
    lease_ms: Option<u64>,
}

async fn extend(asker: Asker, Sent(Leases { leases, lease_ms }): Sent<Leases>) -> Reply<Told<LeasesView>> {
    let leases: Vec<LeaseRef> = leases.into_iter().map(|Lease(lease)| lease).collect();
    let results = asker.0.extend(leases.clone(), lease_ms).await?;
    Ok(told(&leases, results, Some))
}

/// One result a lease.
fn told<T>(
    leases: &[LeaseRef],
    results: Vec<Result<T, LeaseFault>>,
    until: impl Fn(T) -> Option<u64>,
) -> Told<LeasesView> {
    let one = |(lease, result): (&LeaseRef, Result<T, LeaseFault>)| {
        let (lease, ok) = (lease_text(*lease), result.is_ok());
        match result {
            Ok(end) => LeaseView { lease, ok, lease_until: until(end), error: None },
            Err(fault) => LeaseView { lease, ok, lease_until: None, error: Some(fault.to_string()) },
        }
    };
    Told::of(&LeasesView { results: leases.iter().zip(results).map(one).collect() })
}

/// For how long the lease lasts from then on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Until {
    /// How long it lasts at least from now on; as the queue says if it is not said.
    lease_ms: Option<u64>,
}

async fn checkpoint(
    asker: Asker,
    At(Lease(lease)): At<Lease>,
    Asked(Until { lease_ms }): Asked<Until>,
    Raw { bytes: data, .. }: Raw,
) -> Reply<Told<LeaseView>> {
    let stored = asker.0.checkpoint(lease, data, lease_ms).await?;
    let until = stored.map_err(|fault| lost(&fault))?;
    let view = LeaseView { lease: lease_text(lease), ok: true, lease_until: Some(until), error: None };
    Ok(Told::of(&view))
}

fn lost(fault: &LeaseFault) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "lease_lost", fault.to_string())
}

/// How far a job is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Progress {
    /// Of a hundred.
    #[schema(maximum = 100)]
    percent: u8,
    /// Anything besides, of at most 200 bytes.
    #[serde(default)]
    text: String,
}

async fn progress(
    asker: Asker,
    At(Lease(lease)): At<Lease>,
    Sent(Progress { percent, text }): Sent<Progress>,
) -> Reply<Done> {
    asker.0.progress(lease, percent, text).await?;
    Ok(Done)
}
