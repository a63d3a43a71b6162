//! The way back of a worker whose leases outlive the daemon: it calls until there is a daemon again, which knows it by its
//! identity and says which of its leases are in force. Nobody else gets its jobs meanwhile: a daemon that starts leaves them
//! alone for some time. So it may wait for a daemon without end, but not for one that is there and does not take it. What
//! its jobs are, and what becomes of them meanwhile, the worker knows.

use super::again::{Again, uneven};
use super::{Client, ClientError, Identity, TakenUp};
use crate::protocol::{LeaseFault, LeaseRef, Settle};
use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
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

/// How to get another connection.
pub(crate) type Dial =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Client, ClientError>> + Send>> + Send + Sync>;

/// A step on the way back.
pub(crate) enum Step {
    Called(Result<Client, ClientError>),
    /// Answered to a worker that had said that it has these leases.
    TakenUp(Client, Vec<LeaseRef>, Result<Option<TakenUp>, ClientError>),
}

pub(crate) type NextStep = Pin<Box<dyn Future<Output = Step> + Send>>;

/// What follows from a step.
pub(crate) enum Onward {
    /// This one.
    Next(NextStep),
    /// It is back, and these of its leases are not in force.
    Back(Client, HashMap<LeaseRef, LeaseFault>),
    /// All its leases are lost.
    Lost,
}

impl Onward {
    /// The next step, or nothing if the worker is back, of which `back` makes what it must; an error if the leases end for good.
    pub(crate) fn take(
        self,
        back: impl FnOnce(Client, HashMap<LeaseRef, LeaseFault>),
    ) -> Result<Option<NextStep>, ()> {
        match self {
            Onward::Next(next) => Ok(Some(next)),
            Onward::Back(client, lost) => {
                back(client, lost);
                Ok(None)
            }
            Onward::Lost => Err(()),
        }
    }
}

/// What a worker makes of it that nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// A daemon will come.
    Yet,
    /// There is one, wherever its socket is.
    Here,
    /// None will come, and why.
    Ever(&'static str),
}

/// How a worker comes back.
pub(crate) struct Return {
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
}

impl Return {
    /// Tells the daemon who this worker is. Nothing, if the daemon does not know such workers: then leases end with the
    /// connection.
    pub(crate) async fn announce(client: &Client, name: &str, dial: Dial) -> Option<Return> {
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

    /// How long a daemon leaves its jobs alone after a start.
    pub(crate) fn within(&self) -> Duration {
        self.within
    }

    /// The connection has ended.
    pub(crate) fn begin(&mut self) {
        self.there_since = None;
        if self.begun.elapsed() > LASTING {
            self.again = None;
        }
    }

    /// Calls again, the first time nearly at once.
    pub(crate) fn call(&mut self) -> NextStep {
        let wait = match &mut self.again {
            Some(again) => uneven(again.wait().min(CALL_WAIT_MAX)),
            None => FIRST_WAIT,
        };
        self.again.get_or_insert_default();
        let dial = self.dial.clone();
        Box::pin(async move {
            sleep(wait).await;
            Step::Called(dial().await)
        })
    }

    /// What follows from a step of a worker that has these leases. `nobody`: what it makes of it that nobody answers.
    pub(crate) fn step(
        &mut self,
        step: Step,
        leases: Vec<LeaseRef>,
        nobody: impl FnOnce() -> Nobody,
    ) -> Onward {
        match step {
            Step::Called(Ok(client)) => {
                let identity = self.identity.clone();
                Onward::Next(Box::pin(async move {
                    let answer = client.take_up(&identity, leases.clone()).await;
                    Step::TakenUp(client, leases, answer)
                }))
            }
            Step::TakenUp(client, leases, Ok(Some(taken_up))) => {
                tracing::info!("the daemon is back");
                (self.within, self.begun) = (taken_up.resume_within, Instant::now());
                let results = leases.into_iter().zip(taken_up.leases);
                Onward::Back(
                    client,
                    results.filter_map(|(lease, result)| Some((lease, result.err()?))).collect(),
                )
            }
            // It gives them to others.
            Step::TakenUp(_, _, Ok(None)) => {
                tracing::warn!("the daemon is older than the one before, and knows nothing of these jobs");
                Onward::Lost
            }
            Step::TakenUp(_, _, Err(error)) if !error.is_disconnect() => {
                tracing::warn!("the daemon does not take this worker back: {error}");
                Onward::Lost
            }
            Step::Called(Err(error)) | Step::TakenUp(_, _, Err(error)) => {
                match self.may_go_on(&error, nobody, Instant::now()) {
                    Ok(()) => Onward::Next(self.call()),
                    Err(why) => {
                        tracing::warn!("{why}");
                        Onward::Lost
                    }
                }
            }
        }
    }

    /// A call was in vain; whether to go on, or why not. What a daemon that is there leaves alone it does not leave alone for ever.
    fn may_go_on(
        &mut self,
        error: &ClientError,
        nobody: impl FnOnce() -> Nobody,
        now: Instant,
    ) -> Result<(), String> {
        if is_nobody_there(error) {
            match nobody() {
                Nobody::Yet => {
                    self.there_since = None;
                    return Ok(());
                }
                Nobody::Here => {}
                Nobody::Ever(why) => return Err(why.to_owned()),
            }
        }
        let since = *self.there_since.get_or_insert(now);
        if error.heals() && now.duration_since(since) < self.within / 2 {
            return Ok(());
        }
        Err(format!("the daemon is there, and cannot be reached: {error}"))
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

/// Says for the log that the daemon is gone, while so many jobs run on.
pub(crate) fn say_gone(jobs: usize) {
    match jobs {
        0 => tracing::warn!("the daemon is gone; waiting for it to come back"),
        1 => tracing::warn!("the daemon is gone; waiting for it to come back, with a job that runs on"),
        jobs => {
            tracing::warn!("the daemon is gone; waiting for it to come back, with {jobs} jobs that run on");
        }
    }
}

/// What a step comes to, if there is one.
pub(crate) async fn done(step: &mut Option<NextStep>) -> Step {
    let Some(running) = step else { return std::future::pending().await };
    let done = running.await;
    *step = None;
    done
}

/// Drops what was to be said of leases that are not in force: it may well have been said to the daemon that has ended.
pub(crate) fn drop_lost(settles: &mut Vec<Settle>, lost: &HashMap<LeaseRef, LeaseFault>) {
    settles.retain(|item| {
        let fault = lost.get(&item.lease);
        if let Some(fault) = fault {
            tracing::info!("job {} needs no result any more: {fault}", item.lease.id);
        }
        fault.is_none()
    });
}
