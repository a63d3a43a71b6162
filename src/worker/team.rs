//! The workers over one connection: slots that claim when they are free, leases that are extended while their
//! jobs run, and results that share a settle where they come together.

use super::supervise::{self, Stop};
use crate::client::{Client, ClientError};
use crate::protocol::{Claim, ClaimedJob, LeaseRef, Notice, Settle};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

/// What runs the jobs of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// This command, with the job's body on its standard input.
    Exec(Vec<String>),
    /// The command that is the job's body.
    Command,
}

/// Which jobs to run, how, and how many at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to look, in this order.
    pub queues: Vec<String>,
    /// How many at a time.
    pub slots: u32,
    /// What runs them.
    pub handler: Handler,
    /// How long a lease lasts; the queue's setting if not given.
    pub lease_ms: Option<u64>,
    /// The bytes of output kept of each stream of a job.
    pub output_max: u64,
    /// Whether what jobs print is printed here as well.
    pub echo: bool,
}

/// An attempt that runs.
#[derive(Debug)]
pub(super) struct Running {
    lease_ms: u64,
    extend_at: Cell<Instant>,
    stop: Cell<Option<Stop>>,
    told: Notify,
}

impl Running {
    /// Why it is to stop, if it is.
    pub(super) fn stop(&self) -> Option<Stop> {
        self.stop.get()
    }

    /// Returns when it is to stop.
    pub(super) async fn stopped(&self) -> Stop {
        loop {
            if let Some(stop) = self.stop.get() {
                return stop;
            }
            self.told.notified().await;
        }
    }

    fn tell(&self, stop: Stop) {
        // What is most urgent counts: a daemon that is gone is not waited for.
        if self.stop.get().is_none() || stop == Stop::Gone {
            self.stop.set(Some(stop));
        }
        self.told.notify_one();
    }
}

/// The workers over one connection. Everything runs on one thread.
#[derive(Debug)]
pub struct Team {
    pub(super) client: Client,
    pub(super) socket: Option<PathBuf>,
    running: RefCell<HashMap<LeaseRef, Rc<Running>>>,
    results: RefCell<Vec<Settle>>,
    /// Rings when there are results to settle.
    settle: Notify,
    /// Rings when the first of a set of attempts starts.
    started: Notify,
    /// Rings when an attempt has ended and its result is settled.
    ended: Notify,
    /// Whether nothing more is claimed; rings `stop_claims` when that begins.
    stopping: Cell<bool>,
    stop_claims: Notify,
    /// Claims and results under way.
    busy: Cell<usize>,
}

impl Team {
    /// Workers that speak over `client`. `socket` is what their commands are told of the daemon.
    pub fn new(client: Client, socket: Option<PathBuf>) -> Rc<Team> {
        Rc::new(Team {
            client,
            socket,
            running: RefCell::default(),
            results: RefCell::default(),
            settle: Notify::new(),
            started: Notify::new(),
            ended: Notify::new(),
            stopping: Cell::new(false),
            stop_claims: Notify::new(),
            busy: Cell::new(0),
        })
    }

    /// Starts the tasks that every team needs. Call once, inside a `LocalSet`.
    pub fn start(self: &Rc<Team>) {
        tokio::task::spawn_local(settle_results(self.clone()));
        tokio::task::spawn_local(extend_leases(self.clone()));
    }

    /// Works on a plan until claims are stopped.
    pub fn work(self: &Rc<Team>, plan: Plan) {
        tokio::task::spawn_local(claim_jobs(self.clone(), Rc::new(plan)));
    }

    /// Claims nothing more. What runs goes on.
    pub fn stop_claims(&self) {
        self.stopping.set(true);
        self.stop_claims.notify_waiters();
    }

    /// Ends what runs and gives it back.
    pub fn give_back(&self) {
        self.tell_all(Stop::Stopping);
    }

    /// Returns when nothing runs and everything is settled.
    pub async fn idle(&self) {
        while !self.running.borrow().is_empty() || self.busy.get() > 0 || !self.results.borrow().is_empty() {
            self.ended.notified().await;
        }
    }

    /// Kills everything that runs, and waits until it is dead.
    pub async fn kill_all(&self) {
        self.stop_claims();
        self.tell_all(Stop::Gone);
        while !self.running.borrow().is_empty() {
            self.ended.notified().await;
        }
    }

    /// Takes note of what the daemon says of a lease.
    pub fn notice(&self, notice: Notice) {
        if let Notice::Revoked { lease, .. } = notice
            && let Some(running) = self.running.borrow().get(&lease)
        {
            running.tell(Stop::Revoked);
        }
    }

    fn tell_all(&self, stop: Stop) {
        for running in self.running.borrow().values() {
            running.tell(stop);
        }
    }

    fn is_busy(self: &Rc<Team>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(self.clone())
    }
}

/// Counts something under way for as long as it lives.
struct Busy(Rc<Team>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.ended.notify_one();
    }
}

/// Claims for the free slots of a plan, as many jobs as there are.
async fn claim_jobs(team: Rc<Team>, plan: Rc<Plan>) {
    let slots = Arc::new(Semaphore::new(plan.slots as usize));
    while !team.stopping.get() {
        let Ok(first) = slots.clone().acquire_owned().await else { return };
        let mut free = vec![first];
        while let Ok(next) = slots.clone().try_acquire_owned() {
            free.push(next);
        }
        let Ok(jobs) = claim(&team, &plan, free.len() as u32).await else {
            // The connection's end is noticed by whoever holds the team; a refusal (draining) may pass.
            if !team.stopping.get() {
                sleep(Duration::from_secs(1)).await;
            }
            continue;
        };
        for (job, slot) in jobs.into_iter().zip(free) {
            start(&team, &plan, job, slot);
        }
    }
}

async fn claim(team: &Rc<Team>, plan: &Plan, max: u32) -> Result<Vec<ClaimedJob>, ClientError> {
    let _busy = team.is_busy();
    let stop = team.stop_claims.notified();
    if team.stopping.get() {
        return Ok(Vec::new());
    }
    let (queues, lease_ms) = (plan.queues.clone(), plan.lease_ms);
    let pending = team.client.start_claim(Claim { queues, max, lease_ms, wait_ms: u64::MAX, bound: true })?;
    let answer = pending.answer;
    tokio::pin!(answer);
    tokio::select! {
        jobs = &mut answer => jobs,
        () = stop => {
            // It may have been answered with jobs in this moment: they are run.
            team.client.unwait(pending.number).await?;
            answer.await
        }
    }
}

fn start(team: &Rc<Team>, plan: &Rc<Plan>, job: ClaimedJob, slot: OwnedSemaphorePermit) {
    let running = Rc::new(Running {
        lease_ms: job.lease_ms,
        extend_at: Cell::new(Instant::now() + third(job.lease_ms)),
        stop: Cell::new(None),
        told: Notify::new(),
    });
    team.running.borrow_mut().insert(job.lease, running.clone());
    team.started.notify_one();
    let (team, plan) = (team.clone(), plan.clone());
    tokio::task::spawn_local(async move {
        let verdict = supervise::attempt(&team, &plan, &job, &running).await;
        team.running.borrow_mut().remove(&job.lease);
        if let Some(verdict) = verdict {
            team.results.borrow_mut().push(Settle { lease: job.lease, verdict });
            team.settle.notify_one();
        }
        team.ended.notify_one();
        drop(slot);
    });
}

/// Settles results: those that are there together in one request.
async fn settle_results(team: Rc<Team>) {
    loop {
        team.settle.notified().await;
        // Others that end in this moment come along.
        tokio::task::yield_now().await;
        let _busy = team.is_busy();
        let items = std::mem::take(&mut *team.results.borrow_mut());
        if items.is_empty() {
            continue;
        }
        match team.client.settle(items).await {
            Ok(results) => {
                for fault in results.into_iter().filter_map(Result::err) {
                    tracing::warn!("{fault}");
                }
            }
            Err(error) => {
                tracing::warn!("results could not be settled, so their jobs run again: {error}");
                return;
            }
        }
    }
}

/// Extends each lease when a third of it has passed since it was given or extended. Nothing wakes while nothing
/// runs.
async fn extend_leases(team: Rc<Team>) {
    loop {
        let next = team.running.borrow().values().map(|running| running.extend_at.get()).min();
        let Some(next) = next else {
            team.started.notified().await;
            continue;
        };
        tokio::select! {
            () = sleep_until(next) => {}
            // A newcomer may be due earlier.
            () = team.started.notified() => continue,
        }
        let now = Instant::now();
        let due: Vec<(LeaseRef, Rc<Running>)> = team
            .running
            .borrow()
            .iter()
            .filter(|(_, running)| running.extend_at.get() <= now)
            .map(|(lease, running)| (*lease, running.clone()))
            .collect();
        for lease_ms in due.iter().map(|(_, running)| running.lease_ms).collect::<BTreeSet<_>>() {
            let alike: Vec<_> = due.iter().filter(|(_, running)| running.lease_ms == lease_ms).collect();
            let leases = alike.iter().map(|(lease, _)| *lease).collect();
            let Ok(results) = team.client.extend(leases, Some(lease_ms)).await else { return };
            for ((_, running), result) in alike.into_iter().zip(results) {
                running.extend_at.set(Instant::now() + third(lease_ms));
                if result.is_err() {
                    running.tell(Stop::Revoked);
                }
            }
        }
    }
}

/// When to extend a lease of this length.
fn third(lease_ms: u64) -> Duration {
    const LEAST: Duration = Duration::from_millis(20);
    Duration::from_millis(lease_ms / 3).max(LEAST)
}
