//! Workers in a program of yours: an async function for each queue, which gets a job and says what came of it. Claims,
//! leases, retries of the connection and the end of the program are the worker's affair. It knows connections and
//! requests, and nothing of processes.
//!
//! ```no_run
//! use musher::client::worker::{Context, Job, Outcome, Worker};
//! use std::time::Duration;
//!
//! #[derive(serde::Deserialize)]
//! struct Mail {
//!     to: String,
//!     text: String,
//! }
//!
//! # async fn send(_: &Mail) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn interrupted() {}
//! # async fn example() -> Result<(), musher::client::worker::WorkerError> {
//! Worker::new("/run/musher/musher.sock")
//!     .concurrency(8)
//!     .grace(Duration::from_secs(30))
//!     .handle("mails", |job: Job<Mail>, _: Context| async move {
//!         if job.body.to.is_empty() {
//!             return Ok(Outcome::dead("nobody to send it to"));
//!         }
//!         send(&job.body).await?;
//!         Ok::<_, std::io::Error>(Outcome::Done)
//!     })
//!     .run_until(interrupted())
//!     .await
//! # }
//! ```
//!
//! # What becomes of a job
//! - The handler returns [`Outcome::Done`], or `()`, or `Ok` of these: it is done.
//! - It returns an error of any kind that can be shown: a failed attempt with the error's text (`{:#}`, so of an `anyhow` error
//!   with its causes). The queue's settings say when the next one is, and when there is none.
//! - It returns another [`Outcome`]: dead at once, again later without a counted attempt, failed with a time of its own.
//! - It panics: a failed attempt with the panic's text. The worker goes on. (In a program that is built with `panic = "abort"`
//!   it ends, and its jobs come back.)
//! - The body is not JSON of the handler's type: dead at once, and the error says where in it. It would not be read the
//!   next time either; after a worker is deployed that can read it, `musher retry` brings such jobs back. What decodes bodies
//!   itself takes bytes ([`Worker::handle_bytes`]).
//! - It was told to end (see [`Context::token`]) and did: what [`Reason`] says for each case.
//!
//! # Layout
//! - `handler`: a function of any type as one of one type; reads bodies. `outcome`: what it said, as a verdict.
//! - `context`: what a handler learns and may ask for; `shared`: the same for its worker. `attempt`: one run of it, from its begin to a
//!   verdict.
//! - `inline`: what is ready, one job at a time.
//! - `lanes`: the slots of each queue. `run`: the loop that owns these, over all sessions; `session`: what it has in one, and `away`
//!   what becomes of that while the daemon is away.

mod attempt;
mod away;
mod context;
mod handler;
mod inline;
mod lanes;
mod outcome;
mod run;
mod session;
mod shared;
#[cfg(test)]
mod tests;

pub use context::{Context, Reason};
pub use handler::Job;
pub use inline::Ran;
pub use outcome::Outcome;
pub use tokio_util::sync::CancellationToken;

use super::resuming::Dial;
use super::{Client, ClientError};
use bytes::Bytes;
use handler::{Handle, Raw, Typed};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long running jobs may go on after a shutdown has begun, if nothing else is said.
const GRACE: Duration = Duration::from_secs(30);

/// Claims the jobs of some queues and has a handler for each. Set up like a builder, and then run.
///
/// A queue's claim asks for as many jobs as it has slots free, never more, and waits at the daemon until there are any. Leases
/// are bound to the worker: if the program dies, its jobs are ready again at once. They are extended while handlers run,
/// so a handler may take longer than a lease; and they outlive the daemon (see [`Worker::run_until`]).
pub struct Worker {
    dial: Dial,
    /// Whether its leases may outlive the daemon.
    outlives: bool,
    served: Vec<Served>,
    concurrency: u32,
    grace: Duration,
}

/// A queue and who handles its jobs.
struct Served {
    options: QueueOptions,
    handler: Arc<dyn Handle>,
}

/// A queue, and how many of its jobs to take. A name alone is all of it that is needed.
///
/// ```no_run
/// use musher::client::worker::{Context, Job, QueueOptions, Worker};
/// # use std::time::Duration;
///
/// let videos = QueueOptions::new("videos").concurrency(2).lease(Duration::from_secs(60));
/// let worker = Worker::new("/run/musher/musher.sock")
///     .concurrency(16)
///     .handle(videos, |_: Job<u64>, _: Context| async {})
///     .handle("mails", |_: Job<String>, _: Context| async {});
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    queue: String,
    concurrency: Option<u32>,
    lease: Option<Duration>,
}

/// Why a worker did not begin, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No handler was given.
    #[error("this worker has no queues: give it a handler for one (Worker::handle)")]
    NoQueues,
    /// A queue whose jobs can never run.
    #[error("this worker takes 0 jobs of queue `{queue}` at a time: give it a concurrency of 1 or more")]
    NoSlots {
        /// The queue.
        queue: String,
    },
    /// A queue with two handlers.
    #[error("queue `{queue}` has two handlers in this worker: give it one, or make another worker")]
    TwoHandlers {
        /// The queue.
        queue: String,
    },
    /// What is ready has no end ([`Worker::run_ready`]).
    #[error("{jobs} jobs have run and more are ready: do jobs bring others, or come back, without a wait?")]
    Endless {
        /// How many have run.
        jobs: usize,
    },
    /// It was told to stop while the daemon was away, which was not back in time: it was not told how these jobs have ended, and gives them
    /// out again.
    #[error(
        "the daemon was away until this worker had to end: it was not told how these jobs have ended, and gives them out again: {}",
        some(jobs)
    )]
    Untold {
        /// The jobs.
        jobs: Vec<u64>,
    },
    /// The daemon refuses the work, or cannot be understood, in a way that trying again does not mend.
    #[error("this worker cannot go on: {0}")]
    Client(#[from] ClientError),
}

/// A few of these numbers.
fn some(jobs: &[u64]) -> String {
    let few: Vec<String> = jobs.iter().take(10).map(u64::to_string).collect();
    few.join(", ") + if jobs.len() > few.len() { ", …" } else { "" }
}

impl QueueOptions {
    /// This queue, with what the worker says for all.
    pub fn new(queue: impl Into<String>) -> QueueOptions {
        QueueOptions { queue: queue.into(), concurrency: None, lease: None }
    }

    /// How many of its jobs run here at a time.
    #[must_use]
    pub fn concurrency(mut self, jobs: u32) -> QueueOptions {
        self.concurrency = Some(jobs);
        self
    }

    /// How long a lease lasts; the queue's setting if not given. Leases are extended while a handler runs, so this is how long
    /// it takes until a worker is noticed that hangs with its connection open.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> QueueOptions {
        self.lease = Some(lease);
        self
    }
}

impl From<&str> for QueueOptions {
    fn from(queue: &str) -> QueueOptions {
        QueueOptions::new(queue)
    }
}

impl From<String> for QueueOptions {
    fn from(queue: String) -> QueueOptions {
        QueueOptions::new(queue)
    }
}

impl Worker {
    /// A worker of the daemon whose socket that is. It has a connection of its own.
    pub fn new(socket: impl AsRef<Path>) -> Worker {
        let socket: Arc<Path> = socket.as_ref().into();
        Worker::connecting_by(move || {
            let socket = socket.clone();
            async move { Client::connect(socket).await }
        })
    }

    /// The same where the caller connects: once at the begin, and again after the connection has ended. Each time it must be a
    /// new connection.
    pub fn connecting_by<F, A>(dial: F) -> Worker
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Client, ClientError>> + Send + 'static,
    {
        let dial: Dial = Arc::new(move || Box::pin(dial()));
        Worker { dial, outlives: true, served: Vec::new(), concurrency: 1, grace: GRACE }
    }

    /// Its leases end with the connection: it lives no longer than what it is connected to.
    pub(crate) fn bound_to_connection(mut self) -> Worker {
        self.outlives = false;
        self
    }

    /// How many jobs of each queue run at a time, of those that have no number of their own; 1 if not given.
    #[must_use]
    pub fn concurrency(mut self, jobs: u32) -> Worker {
        self.concurrency = jobs;
        self
    }

    /// How long running jobs may go on after a shutdown has begun; 30 seconds if not given. Then they are told to end, and have
    /// two seconds for it.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Worker {
        self.grace = grace;
        self
    }

    /// Has this function handle the jobs of a queue, whose bodies are JSON of its type. It is called on the runtime's threads as a
    /// task for each job: what blocks a thread for long belongs into `tokio::task::spawn_blocking`, or the jobs beside it wait.
    #[must_use]
    pub fn handle<B, F, A>(self, queue: impl Into<QueueOptions>, handler: F) -> Worker
    where
        B: DeserializeOwned + 'static,
        F: Fn(Job<B>, Context) -> A + Send + Sync + 'static,
        A: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.serve(queue.into(), Arc::new(Typed::new(handler)))
    }

    /// The same for bodies that are not JSON, or are read by the handler.
    ///
    /// ```no_run
    /// use bytes::Bytes;
    /// use musher::client::worker::{Context, Job, Worker};
    ///
    /// let worker = Worker::new("/run/musher/musher.sock").handle_bytes("pictures", |job: Job<Bytes>, cx: Context| async move {
    ///     tokio::fs::write(format!("/srv/pictures/{}", job.id), &job.body).await
    /// });
    /// ```
    #[must_use]
    pub fn handle_bytes<F, A>(self, queue: impl Into<QueueOptions>, handler: F) -> Worker
    where
        F: Fn(Job<Bytes>, Context) -> A + Send + Sync + 'static,
        A: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.serve(queue.into(), Arc::new(Raw(handler)))
    }

    fn serve(mut self, options: QueueOptions, handler: Arc<dyn Handle>) -> Worker {
        self.served.push(Served { options, handler });
        self
    }

    /// Works until `shutdown` is ready. From then on no job is claimed; those that run have the grace, are then told to end, and
    /// after two seconds more are ended and given back, which counts as no attempt.
    ///
    /// When the daemon is not there yet, this waits until it is there, and when it goes away, until it is back. What runs then runs on: the
    /// worker calls until there is a daemon again, takes its leases up, and tells it how handlers have ended meanwhile. Nobody else gets
    /// their jobs before that, if it takes no longer than `daemon.resume_within` from the daemon's start. A handler whose lease is over by
    /// the program's own clock, and has not been taken up for that time, is told so ([`Reason::LeaseLost`]); also one whose lease the
    /// daemon does not know any more. A daemon that is too old to know such workers ends all leases with the connection
    /// ([`Reason::Disconnected`]).
    ///
    /// Told to stop while the daemon is away, it waits for it as long as what runs has the grace, if there is anything to tell.
    ///
    /// Dropping the future, instead of shutting down, ends all handlers where they stand, and their jobs come back as if the
    /// program had been killed.
    ///
    /// # Errors
    /// What cannot heal: the worker is not set up rightly, may not work on a queue, or speaks no version of the protocol that
    /// the daemon does. Running jobs have had the grace then, too. Or it had to end while the daemon was away
    /// ([`WorkerError::Untold`]).
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), WorkerError> {
        let Worker { dial, outlives, served, concurrency, grace } = self;
        let lanes = lanes(served, concurrency)?;
        run::Run::new(lanes, grace, (dial, outlives)).work(shutdown).await
    }

    /// The same without an end: until the program ends, or the future is dropped.
    ///
    /// # Errors
    /// As for [`Worker::run_until`].
    pub async fn run(self) -> Result<(), WorkerError> {
        self.run_until(std::future::pending()).await
    }
}

fn lanes(served: Vec<Served>, concurrency: u32) -> Result<lanes::Lanes, WorkerError> {
    check(&served, concurrency)?;
    Ok(lanes::Lanes::new(served, concurrency))
}

/// Whether a worker can work so.
fn check(served: &[Served], concurrency: u32) -> Result<(), WorkerError> {
    if served.is_empty() {
        return Err(WorkerError::NoQueues);
    }
    let mut queues = HashSet::new();
    for Served { options: QueueOptions { queue, concurrency: own, .. }, .. } in served {
        if own.unwrap_or(concurrency) == 0 {
            return Err(WorkerError::NoSlots { queue: queue.clone() });
        }
        if !queues.insert(queue) {
            return Err(WorkerError::TwoHandlers { queue: queue.clone() });
        }
    }
    Ok(())
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues: Vec<_> = self.served.iter().map(|served| &served.options).collect();
        let Worker { concurrency, grace, .. } = self;
        let mut it = f.debug_struct("Worker");
        it.field("queues", &queues)
            .field("concurrency", concurrency)
            .field("grace", grace)
            .finish_non_exhaustive()
    }
}
