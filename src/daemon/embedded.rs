//! The queue inside another program: the daemon's loop on a thread of this process, without a socket, without handlers of
//! signals and without processes. Clients speak to it over pairs of sockets, in the protocol that the daemon speaks, so
//! everything is as there: what is acknowledged is on disk, and a start is a recovery.

use super::opened::{Opened, Unopened};
use crate::client::worker::Worker;
use crate::client::{Client, ClientError};
use crate::clock::Clock;
use crate::config::{COMMANDS_QUEUE, Config, ConfigErrors, Handler, Overrides, Surroundings};
use crate::core::JobId;
use crate::engine::KILL_GRACE;
use crate::fronts::Native;
use crate::protocol::{ErrorCode, Fault};
use crate::server::{self, Fatal, Hub};
use crate::store::{AppendError, DiskStore, OpenError};
use crate::telemetry::events;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// What configurations say for a socket, where there is none.
const NO_SOCKET: &str = "/nonexistent/musher.sock";

/// A queue in this program, in a directory that it has for itself.
///
/// ```no_run
/// use musher::Embedded;
/// use musher::client::worker::{Context, Job};
/// use musher::protocol::{JobOptions, SubmitGroup};
///
/// # async fn interrupted() {}
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Embedded::open("/var/lib/mailer/jobs").await?;
/// let options = JobOptions { queue: "mails".into(), ..JobOptions::default() };
/// queue.client().await?.submit(vec![SubmitGroup { options, bodies: vec!["\"hello\"".into()] }]).await?;
///
/// queue.worker().handle("mails", |_: Job<String>, _: Context| async {}).run_until(interrupted()).await?;
/// queue.close().await?;
/// # Ok(()) }
/// ```
///
/// # Its end
/// End workers first, then [`Embedded::close`]; a worker that goes on longer ends with an error. Dropping it instead stops it at once: handlers that still have jobs get four seconds
/// to give them back, for which the drop waits, as it does for the disk. If the program is killed, nothing is lost that was acknowledged.
///
/// # What it is not
/// It runs no commands and calls no web servers: jobs are claimed by clients. No other process can connect, so the verbs of the
/// program `musher` do not reach it; when it is closed, `musher serve --data DIRECTORY` and `musher verify --data DIRECTORY` take its
/// directory as any other. It logs through `tracing`.
pub struct Embedded {
    orders: mpsc::UnboundedSender<Order>,
    /// How the loop ended, once it has.
    ended: oneshot::Receiver<Result<(), EmbeddedError>>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
}

/// Why the queue cannot be opened, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The configuration has the daemon run the jobs of a queue.
    #[error(
        "queue `{queue}` has a handler or workers of the daemon's, but what is embedded runs nothing: remove `handler` and \
         `workers`, and have a worker of the program handle its jobs"
    )]
    Handler {
        /// The queue.
        queue: String,
    },
    /// The directory cannot be opened: a daemon or another program has it, say.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk failed.
    #[error("{0}; the queue is closed, and opening it again recovers everything that was acknowledged")]
    Disk(#[from] Fatal),
    /// The disk failed on the way down.
    #[error("{0}; nothing is lost, and opening it again recovers from the log")]
    Close(#[from] AppendError),
    /// The system refused something else.
    #[error("the queue cannot be opened: {0}")]
    Io(#[from] io::Error),
    /// Its thread is gone.
    #[error(
        "the thread of the queue has panicked: report this as a bug; opening it again recovers everything that was acknowledged"
    )]
    Panicked,
}

impl From<Unopened> for EmbeddedError {
    fn from(error: Unopened) -> EmbeddedError {
        match error {
            Unopened::Store(error) => error.into(),
            Unopened::Io(error) => error.into(),
        }
    }
}

/// What the loop's thread is asked for.
enum Order {
    /// Serve this connection.
    Connect(UnixStream),
    /// Stop, once nobody holds a job any more or the time for it is over.
    Stop,
    /// Stop, and do not wait for that.
    StopNow,
}

impl Embedded {
    /// Opens the queue in this directory, which is made if needed, with the settings that a daemon has without a configuration.
    ///
    /// # Errors
    /// A daemon or another program has it, it holds something else, or the disk fails.
    pub async fn open(directory: impl AsRef<Path>) -> Result<Embedded, EmbeddedError> {
        Embedded::open_with(directory, "").await
    }

    /// The same with a configuration: TOML as in `musher.toml` (docs/configuration.md). Of `[daemon]` only `drain_timeout` and
    /// `drain_submits` mean something here, `[[access]]` nothing, as all clients are this program. A small queue need not take much
    /// room: `[storage] log_file = "1MiB"`, `ballast = "0B"`.
    ///
    /// # Errors
    /// As for [`Embedded::open`]; or the configuration cannot be used, or has handlers.
    pub async fn open_with(
        directory: impl AsRef<Path>,
        configuration: &str,
    ) -> Result<Embedded, EmbeddedError> {
        Embedded::start(config(directory.as_ref(), configuration)?, JobId(1), None).await
    }

    /// The same on a clock that stands still, taking little room.
    pub(super) async fn open_on(
        directory: &Path,
        configuration: &str,
        clock: Clock,
    ) -> Result<Embedded, EmbeddedError> {
        let mut config = config(directory, configuration)?;
        (config.storage.log_file, config.storage.ballast, config.limits.disk_reserve) = (1 << 20, 0, 0);
        Embedded::start(config, JobId(1), Some(clock)).await
    }

    /// The same, whose jobs get ids from this one on: as in a shard of a cluster.
    #[cfg(test)]
    pub(crate) async fn open_from(
        directory: &Path,
        configuration: &str,
        first: u64,
    ) -> Result<Embedded, EmbeddedError> {
        let mut config = config(directory, configuration)?;
        (config.storage.log_file, config.storage.ballast, config.limits.disk_reserve) = (1 << 20, 0, 0);
        Embedded::start(config, JobId(first), None).await
    }

    /// A connection to it, of which nothing was said yet.
    #[cfg(test)]
    pub(crate) fn connection(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        self.order(Order::Connect(theirs));
        Ok(ours)
    }

    async fn start(config: Config, first: JobId, manual: Option<Clock>) -> Result<Embedded, EmbeddedError> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let ((ready, is_ready), (end, ended)) = (oneshot::channel(), oneshot::channel());
        let run = move || {
            let ended = run(config, first, manual, inbox, ready);
            // Who asked may not wait any more.
            let _ = end.send(ended);
        };
        let thread = Some(std::thread::Builder::new().name("musher".into()).spawn(run)?);
        let mut queue = Embedded { orders, ended, thread };
        match is_ready.await {
            Ok(()) => Ok(queue),
            Err(_) => Err(queue.end().await.err().unwrap_or(EmbeddedError::Panicked)),
        }
    }

    /// A connection to it.
    ///
    /// # Errors
    /// It has been closed, or its disk has failed.
    pub async fn client(&self) -> Result<Client, ClientError> {
        connect(&self.orders).await
    }

    /// A worker on it, with a connection of its own.
    pub fn worker(&self) -> Worker {
        let orders = self.orders.clone();
        Worker::connecting_by(move || {
            let orders = orders.clone();
            async move { connect(&orders).await }
        })
        .bound_to_connection()
    }

    /// Closes it: nothing is given out any more, what runs has `drain_timeout` (30 seconds, unless the configuration says otherwise)
    /// and is then given back, and what lives on is brought home, so that the next start is quick. The directory is free after that.
    ///
    /// # Errors
    /// The disk failed, now or before.
    pub async fn close(mut self) -> Result<(), EmbeddedError> {
        self.order(Order::Stop);
        self.end().await
    }

    fn order(&self, order: Order) {
        // It may have ended already.
        let _ = self.orders.send(order);
    }

    /// Waits for its end.
    async fn end(&mut self) -> Result<(), EmbeddedError> {
        (&mut self.ended).await.unwrap_or(Err(EmbeddedError::Panicked))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.order(Order::StopNow);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

async fn connect(orders: &mpsc::UnboundedSender<Order>) -> Result<Client, ClientError> {
    let failed = |source| ClientError::Connect { path: PathBuf::from("(embedded)"), source };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).map_err(failed)?;
    }
    let ours = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
    if orders.send(Order::Connect(theirs)).is_err() {
        // Unlike a daemon it does not come back.
        let message = "the embedded queue is closed, or its disk has failed: open it again".to_owned();
        return Err(Fault { code: ErrorCode::NotFound, message }.into());
    }
    Client::greet(ours).await
}

fn config(directory: &Path, configuration: &str) -> Result<Config, EmbeddedError> {
    let overrides = Overrides {
        data: Some(std::path::absolute(directory)?),
        socket: Some(NO_SOCKET.into()),
        ..Overrides::default()
    };
    let mut loaded = Config::read("the configuration", configuration, &overrides, &Surroundings::real())?;
    for (name, queue) in &mut loaded.config.queues {
        if name.as_str() == COMMANDS_QUEUE && queue.handler == Some(Handler::Command) {
            // So it is without being configured, and that is no wish of anybody's.
            (queue.handler, queue.workers) = (None, 0);
        }
        if queue.handler.is_some() {
            return Err(EmbeddedError::Handler { queue: name.to_string() });
        }
    }
    events::config_warnings(&loaded.warnings);
    Ok(loaded.config)
}

/// The whole life of it, on its thread. `ready` is told once clients may come.
fn run(
    config: Config,
    first: JobId,
    manual: Option<Clock>,
    inbox: mpsc::UnboundedReceiver<Order>,
    ready: oneshot::Sender<()>,
) -> Result<(), EmbeddedError> {
    let stands_still = manual.is_some();
    let opened = Opened::open(&config, first, |last| manual.unwrap_or_else(|| Clock::starting_after(last)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let numbers = opened.numbers.clone();
    let (hub, outputs) = opened.into_hub(&config, false);
    // If nobody waits for it any more, the order to stop is on its way.
    let _ = ready.send(());
    tasks.spawn_local(numbers.clone().keep(hub.clone(), hub.clock.clone()));
    let stopped = tasks.block_on(&runtime, serve(&hub, inbox, stands_still));
    // The tasks share the hub: without them it is the last one.
    drop(tasks);
    drop(runtime);
    if let Err(error) = &stopped {
        tracing::error!("{error}; the embedded queue is closed");
    }
    stopped?;
    let now = hub.clock.now();
    if let Some(mut engine) = Hub::into_engine(hub) {
        numbers.write_last(&mut engine, now);
        engine.close()?;
    }
    outputs.join();
    Ok(())
}

async fn serve(
    hub: &Rc<Hub<DiskStore>>,
    inbox: mpsc::UnboundedReceiver<Order>,
    stands_still: bool,
) -> Result<(), Fatal> {
    let accepting = tokio::task::spawn_local(obey(hub.clone(), inbox, stands_still));
    server::run(hub).await?;
    server::close_connections(hub, vec![accepting]).await
}

/// Does what it is asked for until it is aborted.
async fn obey(hub: Rc<Hub<DiskStore>>, mut inbox: mpsc::UnboundedReceiver<Order>, stands_still: bool) {
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Connect(stream) => {
                if let Err(error) = server::serve_one::<Native, _>(&hub, stream).await {
                    tracing::warn!("a connection was refused: {error}");
                }
            }
            Order::Stop if !stands_still => drop(hub.stop()),
            Order::Stop | Order::StopNow => {
                // The second one cuts the wait short.
                hub.stop();
                hub.stop();
                if stands_still {
                    // Or the rest of the wait would never be over.
                    hub.clock.advance(KILL_GRACE);
                }
            }
        }
    }
}
