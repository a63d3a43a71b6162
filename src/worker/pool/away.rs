//! What a pool does while the daemon is away: its jobs run on, and it calls until there is a daemon again, which knows it
//! by its identity and says which leases are in force. Nobody else gets its jobs meanwhile: a daemon that starts leaves them
//! alone for some time. So it may wait for a daemon without end, but not for one that is there and does not take it.

use super::{Pool, closed};
use crate::client::{Again, Client, ClientError, Identity, TakenUp};
use crate::protocol::LeaseRef;
use crate::worker::PoolLock;
use crate::worker::supervise::Order;
use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The longest wait between two calls: far shorter than the time that a daemon leaves after its start.
const CALL_WAIT_MAX: Duration = Duration::from_secs(1);

/// The first wait: a daemon that lives has closed the connection, and gives the jobs to others.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// A connection that has lasted for so long is followed by the next one after that.
const LASTING: Duration = Duration::from_secs(2);

/// How long a pool that finishes what it runs waits for a daemon. Longer than a start takes; then there will be none.
const DAEMON_WAIT_MAX: Duration = Duration::from_secs(600);

/// How a pool goes on when its connection has ended.
pub(crate) struct Back {
    /// What it calls itself.
    pub(crate) name: &'static str,
    pub(crate) dial: Dial,
    /// If it is the pool of a daemon: the next one has a pool of its own.
    pub(crate) finish: Option<Finish>,
}

/// Of a pool that then takes no more jobs, and ends with the last one.
pub(crate) struct Finish {
    /// The lock of the one pool that takes jobs, and its place. When that is gone no daemon will come.
    lock: Option<PoolLock>,
    place: PathBuf,
    since: Option<Instant>,
}

impl Finish {
    pub(crate) fn new(lock: PoolLock, place: PathBuf) -> Finish {
        Finish { lock: Some(lock), place, since: None }
    }

    /// From here on it takes no jobs.
    fn begin(&mut self) {
        self.lock = None;
        self.since = Some(Instant::now());
    }

    /// Why no daemon will take it back that does not answer, if so.
    fn vanity(&self) -> Option<&'static str> {
        let waited = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        if !self.place.exists() {
            return Some("the data directory is gone");
        }
        (waited > DAEMON_WAIT_MAX).then_some("no daemon has come for too long")
    }

    /// Whether another pool takes jobs: then there is a daemon, wherever its socket is.
    fn is_succeeded(&self) -> bool {
        self.lock.is_none() && !PoolLock::is_free(&self.place).unwrap_or(true)
    }
}

/// How to get another connection.
pub(crate) type Dial =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Client, ClientError>> + Send>> + Send + Sync>;

/// A step on the way back.
pub(super) enum Step {
    Called(Result<Client, ClientError>),
    /// Answered to a pool that had said that it has these leases.
    TakenUp(Client, Vec<LeaseRef>, Result<Option<TakenUp>, ClientError>),
}

pub(super) type NextStep = Pin<Box<dyn Future<Output = Step> + Send>>;

/// How a pool comes back.
pub(super) struct Return {
    identity: Identity,
    dial: Dial,
    /// How long a daemon leaves its jobs alone after a start.
    within: Duration,
    /// The waits after the first one.
    again: Option<Again>,
    /// When the newest connection began.
    begun: Instant,
    /// Since when a daemon has been there that has not taken it.
    there_since: Option<Instant>,
    finish: Option<Finish>,
}

impl Return {
    /// Tells the daemon who this pool is. Nothing, if the daemon does not know such workers: then leases end with the
    /// connection.
    pub(super) async fn announce(client: &Client, Back { name, dial, finish }: Back) -> Option<Return> {
        let identity = Identity::new(name)
            .inspect_err(|error| tracing::warn!("jobs will not outlive the daemon: {error}"))
            .ok()?;
        match client.take_up(&identity, Vec::new()).await {
            Ok(Some(TakenUp { resume_within, .. })) => Some(Return {
                identity,
                dial,
                within: resume_within,
                again: None,
                begun: Instant::now(),
                there_since: None,
                finish,
            }),
            Ok(None) => None,
            Err(error) => {
                if !error.is_disconnect() {
                    tracing::warn!("jobs will not outlive the daemon, which says: {error}");
                }
                None
            }
        }
    }

    /// Calls again, the first time nearly at once.
    fn call(&mut self) -> NextStep {
        let wait = match &mut self.again {
            Some(again) => again.wait().min(CALL_WAIT_MAX),
            None => FIRST_WAIT,
        };
        self.again.get_or_insert_default();
        let dial = self.dial.clone();
        Box::pin(async move {
            sleep(wait).await;
            Step::Called(dial().await)
        })
    }

    /// A call was in vain; whether to go on. What a daemon that is there leaves alone it does not leave alone for ever.
    fn may_go_on(&mut self, error: &ClientError, now: Instant) -> bool {
        if is_nobody_there(error) {
            if let Some(why) = self.finish.as_ref().and_then(Finish::vanity) {
                tracing::warn!("{why}");
                return false;
            }
            if !self.finish.as_ref().is_some_and(Finish::is_succeeded) {
                self.there_since = None;
                return true;
            }
        }
        let since = *self.there_since.get_or_insert(now);
        now.duration_since(since) < self.within / 2
    }
}

/// Whether an error says that no daemon runs.
fn is_nobody_there(error: &ClientError) -> bool {
    match error {
        ClientError::Connect { source, .. } => {
            matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
        }
        // It ended while it was being spoken to.
        ClientError::Closed(why) => why.is_empty(),
        _ => false,
    }
}

impl Pool {
    /// The connection has ended. Returns whether the jobs run on.
    pub(super) fn lose(&mut self) -> bool {
        let Some(back) = self.back.as_mut().filter(|_| !self.daemon_stops) else { return false };
        back.there_since = None;
        if back.begun.elapsed() > LASTING {
            back.again = None;
        }
        self.away = true;
        self.switch.lose();
        if let Some(finish) = &mut back.finish {
            finish.begin();
            self.finishes = true;
            let outdated = self.lanes.replace(Vec::new());
            // The claims went with the connection.
            outdated.ahead.into_iter().for_each(|lease| self.leases.order(lease, Order::Stop));
        }
        match self.leases.len() {
            0 if self.finishes => {}
            0 => tracing::warn!("the daemon is gone; waiting for it to come back"),
            1 => tracing::warn!("the daemon is gone; waiting for it to come back, with a job that runs on"),
            jobs => tracing::warn!(
                "the daemon is gone; waiting for it to come back, with {jobs} jobs that run on"
            ),
        }
        true
    }

    /// The next call, once all that was asked on the old connection has its answer, or never will: jobs that came in the
    /// last moment must be known.
    pub(super) fn call(&mut self) -> Option<NextStep> {
        let is_answered = !self.lanes.is_claiming() && self.settling == 0 && self.extending == 0;
        if self.away && is_answered { self.back.as_mut().map(Return::call) } else { None }
    }

    /// What follows from a step: the next one, or nothing; an error if the jobs must end.
    pub(super) fn step(&mut self, step: Step) -> Result<Option<NextStep>, ()> {
        let leases = self.known();
        let Some(back) = &mut self.back else { return Ok(None) };
        match step {
            Step::Called(Ok(client)) => {
                let identity = back.identity.clone();
                Ok(Some(Box::pin(async move {
                    let answer = client.take_up(&identity, leases.clone()).await;
                    Step::TakenUp(client, leases, answer)
                })))
            }
            Step::TakenUp(client, leases, Ok(Some(taken_up))) => {
                back.within = taken_up.resume_within;
                self.come_back(client, &leases, taken_up);
                Ok(None)
            }
            // It gives them to others.
            Step::TakenUp(_, _, Ok(None)) => {
                tracing::warn!("the daemon is older than the one before, and knows nothing of these jobs");
                Err(())
            }
            Step::TakenUp(_, _, Err(error)) if !error.is_disconnect() => {
                tracing::warn!("the daemon does not take this worker back: {error}");
                Err(())
            }
            Step::Called(Err(error)) | Step::TakenUp(_, _, Err(error)) => {
                match back.may_go_on(&error, Instant::now()) {
                    true => Ok(Some(back.call())),
                    false => {
                        tracing::warn!("the daemon is there, and cannot be reached: {error}");
                        Err(())
                    }
                }
            }
        }
    }

    /// The leases of all that runs, and of what has ended and is not settled.
    fn known(&self) -> Vec<LeaseRef> {
        self.leases.all().chain(self.settles.iter().map(|item| item.lease)).collect()
    }

    fn come_back(&mut self, client: Client, leases: &[LeaseRef], taken_up: TakenUp) {
        tracing::info!("the daemon is back");
        if let Some(back) = &mut self.back {
            back.begun = Instant::now();
        }
        self.closed = closed(&client);
        self.notices = client.notices();
        self.switch.mend(client.clone());
        (self.client, self.away) = (client, false);
        for (lease, fault) in leases.iter().zip(taken_up.leases).filter_map(|(l, r)| Some((*l, r.err()?))) {
            let before = self.settles.len();
            self.settles.retain(|item| item.lease != lease);
            match self.settles.len() < before {
                // It may well have been settled by the daemon that has ended.
                true => tracing::info!("job {} needs no result any more: {fault}", lease.id),
                false => tracing::warn!("job {} is killed: {fault}", lease.id),
            }
            self.leases.order(lease, Order::Kill);
            self.unsent.remove(&lease);
        }
        self.leases.extend_now();
        if !self.plans_are_fixed && !self.finishes {
            self.ask_for_plans();
        }
    }
}
