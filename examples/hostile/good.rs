//! The good client: submits jobs, claims and completes them one by one, and knows how long each answer took. Every
//! tenth job stays, to be looked for at the end.

use crate::Error;
use musher::client::Client;
use musher::clock::monotonic;
use musher::protocol::{Claim, JobOptions, Settle, SubmitGroup, Verdict};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const WORK: &str = "good/work";
const KEPT: &str = "good/kept";

/// How long answers took.
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Latency {
    /// Of so many answers, one at least.
    pub(crate) fn of(mut took: Vec<Duration>) -> Latency {
        took.sort_unstable();
        let at = |part: usize| took[took.len() * part / 100];
        Latency { p50: at(50), p99: at(99), max: took[took.len() - 1] }
    }
}

/// The client, and the bodies of the jobs that must be there at the end.
pub(crate) struct Good {
    client: Client,
    kept: BTreeSet<String>,
    round: u64,
}

impl Good {
    pub(crate) async fn start(socket: &Path) -> Result<Good, Error> {
        Ok(Good { client: Client::connect(socket).await?, kept: BTreeSet::new(), round: 0 })
    }

    /// Works for so long.
    pub(crate) async fn work(&mut self, span: Duration) -> Result<Latency, Error> {
        let (end, mut took) = (monotonic() + span, Vec::new());
        while monotonic() < end {
            self.round += 1;
            self.work_one(&mut took).await?;
            if self.round.is_multiple_of(10) {
                let body = format!("job {} of the good client", self.round);
                submit(&self.client, KEPT, &body).await?;
                self.kept.insert(body);
            }
        }
        Ok(Latency::of(took))
    }

    /// Submits a job, claims it, and completes it.
    async fn work_one(&self, took: &mut Vec<Duration>) -> Result<(), Error> {
        let mut begun = monotonic();
        let mut lap = || {
            let now = monotonic();
            took.push(now - begun);
            begun = now;
        };
        let id = submit(&self.client, WORK, "work").await?;
        lap();
        let wish = Claim { queues: vec![WORK.into()], max: 1, bound: true, ..Claim::default() };
        let job = self.client.claim(wish).await?.pop().ok_or("the job is not there")?;
        lap();
        let settled =
            self.client.settle(vec![Settle { lease: job.lease, verdict: Verdict::Complete }]).await?;
        lap();
        if job.lease.id != id || job.lease.attempt != 1 || settled != [Ok(())] {
            return Err(format!("job {id} came as {:?} and ended as {settled:?}", job.lease).into());
        }
        Ok(())
    }

    pub(crate) fn into_kept(self) -> BTreeSet<String> {
        self.kept
    }
}

async fn submit(client: &Client, queue: &str, body: &str) -> Result<u64, Error> {
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    Ok(client.submit(vec![SubmitGroup { options, bodies: vec![body.to_owned().into()] }]).await?.first_id())
}

/// The bodies of all jobs that were to stay.
pub(crate) async fn all_of(socket: &Path) -> Result<BTreeSet<String>, Error> {
    let client = Client::connect(socket).await?;
    let mut found = BTreeSet::new();
    loop {
        let wish = Claim { queues: vec![KEPT.into()], max: 1_000, bound: true, ..Claim::default() };
        let jobs = client.claim(wish).await?;
        if jobs.is_empty() {
            return Ok(found);
        }
        for job in jobs {
            if !found.insert(String::from_utf8(job.body.to_vec())?) {
                return Err(format!("job {} is there twice", job.lease.id).into());
            }
        }
    }
}
