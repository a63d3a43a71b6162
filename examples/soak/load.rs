//! Producers and workers, several of each, that go on until the daemon dies under them. They do what real ones do, good
//! and bad: batches, delays, slow claims, extends, failures, connections that vanish, settles that come too late.

use crate::account::{Account, Broken, Claimed, Entry, Sent, Submit};
use crate::plan::{KEPT, Plan, QUEUES, submit_of};
use crate::recorder::Recorder;
use fastrand::Rng;
use musher::client::{Client, ClientError};
use musher::protocol::admin::{AdminRequest, EditView};
use musher::protocol::{Claim, ClaimedJob, LeaseRef, Settle, Verdict};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

const PRODUCERS: u64 = 4;
const WORKERS: u64 = 5;
/// More jobs than that are not wanted in the daemon at a time.
const JOBS_MAX: usize = 1_500;
/// And no more than that of those that are not for workers: they have ended, or are not due for days.
const IDLE_MAX: usize = 400;
/// How often somebody tidies up.
const TIDY_MS: u64 = 40;
/// A lease without a connection that is meant to outlive its worker.
const LONG_LEASE_MS: u64 = 600_000;
/// One that is meant to run out.
const SHORT_LEASE_MS: u64 = 1_500;

/// One that sends, and what it needs.
#[derive(Clone)]
struct Hand {
    recorder: Rc<Recorder>,
    socket: PathBuf,
    rng: Rng,
}

/// Runs until every connection has ended.
pub(crate) async fn run(recorder: &Rc<Recorder>, socket: &Path, rng: &mut Rng) {
    let mut former = leases_of_former_lives(&recorder.account(), rng);
    let mut hands = JoinSet::new();
    for n in 0..PRODUCERS + WORKERS {
        let hand = Hand { recorder: recorder.clone(), socket: socket.to_owned(), rng: rng.fork() };
        match n < PRODUCERS {
            true => drop(hands.spawn_local(hand.produce())),
            false => drop(hands.spawn_local(hand.work(std::mem::take(&mut former)))),
        }
    }
    let hand = Hand { recorder: recorder.clone(), socket: socket.to_owned(), rng: rng.fork() };
    hands.spawn_local(hand.tidy());
    while let Some(ended) = hands.join_next().await {
        if let Err(error) = ended {
            recorder.broken(Broken(format!("a task of this program failed: {error}")));
        }
    }
}

impl Hand {
    async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Connects, unless whoever answers may be the next one by now.
    async fn connect(&self) -> Option<Client> {
        if self.recorder.is_life_over() {
            return None;
        }
        let client = Client::connect(&self.socket).await.ok();
        client.filter(|_| !self.recorder.is_life_over())
    }

    async fn produce(mut self) {
        let Some(client) = self.connect().await else { return };
        loop {
            if self.recorder.account().jobs.len() > JOBS_MAX {
                self.pause(5).await;
                if is_closed(&client).await {
                    return;
                }
                continue;
            }
            let seed = self.recorder.account().seed;
            let plans: Vec<Plan> =
                (0..self.rng.usize(1..=4)).map(|_| Plan::of(seed, self.recorder.next_submit())).collect();
            let mut answers = JoinSet::new();
            for plan in plans {
                let (recorder, client) = (self.recorder.clone(), client.clone());
                answers.spawn_local(async move { submit(&recorder, &client, &plan).await });
            }
            if answers.join_all().await.contains(&Next::Gone) {
                return;
            }
        }
    }

    async fn work(mut self, former: Vec<LeaseRef>) {
        if self.finish(former).await.is_err() {
            return;
        }
        loop {
            let Some(client) = self.connect().await else { return };
            for _ in 0..self.rng.u32(1..80) {
                let Ok(jobs) = self.claim(&client).await else { return };
                if self.handle(&client, jobs).await.is_err() {
                    return;
                }
            }
            // It vanishes with what it has just claimed.
            let Ok(jobs) = self.claim(&client).await else { return };
            for (job, _) in jobs.iter().filter(|(_, bound)| *bound) {
                self.recorder.note(Entry::LettingGo { id: job.lease.id });
            }
        }
    }

    /// Deletes what is not for workers, so that it does not pile up.
    async fn tidy(self) {
        let Some(client) = self.connect().await else { return };
        loop {
            self.pause(TIDY_MS).await;
            if is_closed(&client).await {
                return;
            }
            let ids = idle(&self.recorder.account());
            if ids.is_empty() {
                continue;
            }
            self.recorder.note(Entry::Deleting { ids: ids.clone() });
            let edit = AdminRequest::Edit {
                edit: "delete".into(),
                ids: ids.clone(),
                state: None,
                queue: None,
                to: None,
                priority: None,
            };
            let edits: Vec<EditView> = match client.ask(edit).await {
                Err(error) if error.is_disconnect() => return,
                Err(error) => {
                    return self.recorder.broken(Broken(format!("jobs could not be deleted: {error}")));
                }
                Ok(edits) => edits,
            };
            if let Some(error) = edits.into_iter().find_map(|edit| edit.error) {
                return self.recorder.broken(Broken(format!("a job could not be deleted: {error}")));
            }
            self.recorder.note(Entry::Deleted { ids });
        }
    }

    /// What was leased without a connection is still ours after the daemon's death.
    async fn finish(&mut self, leases: Vec<LeaseRef>) -> Result<(), ClientError> {
        let Some(client) = self.connect().await else { return Ok(()) };
        for lease in leases {
            self.settle(&client, vec![(lease, Sent::Complete)]).await?;
        }
        Ok(())
    }

    /// Claims; each job with whether its lease is bound.
    async fn claim(&mut self, client: &Client) -> Result<Vec<(ClaimedJob, bool)>, ClientError> {
        let mut queues: Vec<String> = QUEUES.map(str::to_owned).to_vec();
        self.rng.shuffle(&mut queues);
        queues.truncate(self.rng.usize(1..=QUEUES.len()));
        let bound = self.rng.u8(..10) < 7;
        let lease_ms = match self.rng.u8(..3) {
            0 if !bound => Some(SHORT_LEASE_MS),
            _ => Some(LONG_LEASE_MS),
        };
        let claim = Claim { queues, max: self.rng.u32(1..=20), lease_ms, wait_ms: self.rng.u64(..30), bound };
        let jobs = match client.claim(claim).await {
            Err(ClientError::Refused(fault)) => {
                self.recorder.refused("a claim", &fault);
                self.pause(5).await;
                return Ok(Vec::new());
            }
            answered => answered?,
        };
        for job in &jobs {
            self.note_claim(job, bound);
        }
        Ok(jobs.into_iter().map(|job| (job, bound)).collect())
    }

    fn note_claim(&self, job: &ClaimedJob, bound: bool) {
        let LeaseRef { id, attempt } = job.lease;
        let Some(submit) = submit_of(&job.tags) else {
            return self.recorder.broken(Broken(format!("job {id} was given out without its tag: {job:?}")));
        };
        let plan = Plan::of(self.recorder.account().seed, submit);
        let fits = |place| {
            plan.expected(place).is_some_and(|job_of_plan| {
                job_of_plan.body == job.body && *job_of_plan.queue == *job.queue && !job_of_plan.waits
            })
        };
        if !(0..plan.jobs()).any(fits) {
            let len = job.body.len();
            self.recorder.broken(Broken(format!(
                "job {id} was given out from queue {} with a body of {len} bytes; submit {submit} had no such job",
                job.queue
            )));
        }
        self.recorder.note(Entry::Claimed(Claimed {
            id,
            submit,
            attempt,
            kept: *job.queue == *KEPT,
            bound,
            granted: job.until_ms - job.lease_ms,
            until: job.until_ms,
        }));
    }

    async fn handle(&mut self, client: &Client, jobs: Vec<(ClaimedJob, bool)>) -> Result<(), ClientError> {
        let mut settles = Vec::new();
        for (job, bound) in jobs {
            let short = job.lease_ms < LONG_LEASE_MS / 2;
            let verdict = match self.rng.u8(..100) {
                // Left to run out, or for a later life.
                _ if short => continue,
                0..15 if !bound => continue,
                0..60 => Sent::Complete,
                60..76 => Sent::Fail,
                76..80 => Sent::FailDead,
                80..88 => Sent::Release,
                88..92 if job.lease.attempt > 1 => {
                    self.settle_too_late(client, job.lease).await?;
                    Sent::Complete
                }
                _ => {
                    self.extend(client, job.lease).await?;
                    Sent::Complete
                }
            };
            settles.push((job.lease, verdict));
        }
        let one_by_one = self.rng.u8(..4) == 0;
        while one_by_one && settles.len() > 1 {
            let last = settles.pop().into_iter().collect();
            self.settle(client, last).await?;
        }
        self.settle(client, settles).await
    }

    async fn extend(&mut self, client: &Client, lease: LeaseRef) -> Result<(), ClientError> {
        self.recorder.note(Entry::Extending { id: lease.id });
        match client.extend(vec![lease], Some(LONG_LEASE_MS + self.rng.u64(..10_000))).await?.pop() {
            Some(Ok(until)) => self.recorder.note(Entry::Extended { id: lease.id, until }),
            Some(Err(_)) if self.recorder.account().is_shard_lost => {
                self.recorder.note(Entry::LettingGo { id: lease.id });
            }
            refused => self.recorder.broken(Broken(format!("the lease {lease:?} was in force: {refused:?}"))),
        }
        Ok(())
    }

    /// A settle that names a former attempt must be refused.
    async fn settle_too_late(&self, client: &Client, lease: LeaseRef) -> Result<(), ClientError> {
        let former = LeaseRef { attempt: lease.attempt - 1, ..lease };
        let results = client.settle(vec![Settle { lease: former, verdict: Verdict::Complete }]).await?;
        if !matches!(results[..], [Err(_)]) {
            self.recorder
                .broken(Broken(format!("attempt {former:?} was over and could be settled: {results:?}")));
        }
        Ok(())
    }

    async fn settle(&mut self, client: &Client, settles: Vec<(LeaseRef, Sent)>) -> Result<(), ClientError> {
        if settles.is_empty() {
            return Ok(());
        }
        let mut items = Vec::new();
        for &(lease, verdict) in &settles {
            self.recorder.note(Entry::Settling { id: lease.id, attempt: lease.attempt, verdict });
            items.push(Settle { lease, verdict: self.verdict(verdict) });
        }
        let results = client.settle(items).await?;
        for ((LeaseRef { id, attempt }, verdict), result) in settles.into_iter().zip(results) {
            match result {
                Ok(()) => self.recorder.note(Entry::Settled { id, attempt, verdict }),
                // A shard that stops gives back what is left, and the connection is that of others, too.
                Err(_) if self.recorder.account().is_shard_lost => {
                    self.recorder.note(Entry::LettingGo { id });
                }
                Err(fault) => {
                    self.recorder
                        .broken(Broken(format!("attempt {attempt} of job {id} was in force: {fault}")));
                }
            }
        }
        Ok(())
    }

    fn verdict(&mut self, sent: Sent) -> Verdict {
        let error = "an error ".repeat(self.rng.usize(1..60));
        match sent {
            Sent::Complete | Sent::Delete => Verdict::Complete,
            Sent::Fail if self.rng.bool() => Verdict::Fail { error, exit: None },
            Sent::Fail => Verdict::FailRetryAfter { error, exit: None, wait_ms: self.rng.u64(..200) },
            Sent::FailDead => Verdict::FailDead { error, exit: None },
            Sent::Release => Verdict::Release { delay_ms: self.rng.u64(..2) * 50 },
        }
    }
}

/// The oldest jobs that are not for workers, beyond what may stay.
fn idle(account: &Account) -> Vec<u64> {
    let waits = |id: &u64, submit: &u64| match account.submits.get(submit) {
        Some(Submit::There { first }) => Plan::of(account.seed, *submit).waits(id - first),
        _ => false,
    };
    let sure = account.jobs.iter().filter(|(_, job)| job.doubt.is_empty());
    let idle = sure.filter(|(id, job)| job.end.is_some() || job.attempt == 0 && waits(id, &job.submit));
    let mut ids: Vec<u64> = idle.map(|(id, _)| *id).collect();
    ids.truncate(ids.len().saturating_sub(IDLE_MAX));
    ids
}

/// Some of the leases that outlive a connection and are in force without a doubt.
fn leases_of_former_lives(account: &Account, rng: &mut Rng) -> Vec<LeaseRef> {
    let ours = account.jobs.iter().filter(|(_, job)| job.doubt.is_empty() && job.end.is_none());
    let lasting = ours.filter_map(|(id, job)| {
        let lease = job.lease.filter(|lease| !lease.bound && lasts(lease.until))?;
        Some(LeaseRef { id: *id, attempt: lease.attempt })
    });
    lasting.filter(|_| rng.u8(..4) == 0).collect()
}

async fn is_closed(client: &Client) -> bool {
    tokio::time::timeout(Duration::ZERO, client.closed()).await.is_ok()
}

/// Whether a lease is sure to be in force for a while yet.
pub(crate) fn lasts(until: u64) -> bool {
    until > musher::clock::wall().0 + 30_000
}

#[derive(PartialEq)]
enum Next {
    On,
    Gone,
}

async fn submit(recorder: &Recorder, client: &Client, plan: &Plan) -> Next {
    let submit = plan.number;
    recorder.note(Entry::Submitting { submit });
    match client.submit(plan.groups()).await {
        // No job of these has a unique key, so all are new.
        Ok(receipts) => {
            let (first, count) = (receipts.first_id(), receipts.len());
            recorder.note(Entry::Submitted { submit, first, count });
        }
        Err(ClientError::Refused(fault)) => {
            recorder.refused("a submit", &fault);
            recorder.note(Entry::Refused { submit });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(error) if error.is_disconnect() => return Next::Gone,
        Err(error) => recorder.broken(Broken(format!("submit {submit} was not understood: {error}"))),
    }
    Next::On
}
