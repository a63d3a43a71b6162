//! The life of a daemon: configuration, recovery, sockets, workers, the loop, shutdown. It puts the parts together, and
//! takes none of their decisions.

mod beanstalk;
#[cfg(any(test, feature = "cluster"))]
mod cluster;
mod configured;
mod embedded;
mod front;
mod numbers;
mod opened;
mod pool;
#[cfg(any(test, feature = "cluster"))]
mod shards;
mod testing;
mod traces;

pub use embedded::{Embedded, EmbeddedError};
#[cfg(any(test, feature = "cluster"))]
pub use shards::{ShardOptions, serve_shard};
pub use testing::{Submitted, TestQueue};

use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Loaded, Overrides};
use crate::core::JobId;
use crate::fronts::{Native, Tubes};
use crate::http::{Calls, SecretsError, Sight};
use crate::notify::Notifier;
use crate::process::{self, Inherited};
use crate::server::{self, Fatal, Hub, ListenError, Listening};
use crate::signals::{self, Signal};
use crate::store::{AppendError, OpenError, Store};
use crate::telemetry::{self, events};
use crate::worker::{Cgroups, Orphans};
use beanstalk::BeanstalkBound;
#[cfg(any(test, feature = "cluster"))]
pub use cluster::ClusterError;
use configured::service;
use front::HttpFront;
use numbers::NumbersFile;
use opened::{Opened, Unopened, set_schedules};
use pool::{POOL_GRACE, PoolSpec, keep_pool};
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokio::sync::{Mutex, mpsc};
use traces::Traces;

impl From<Unopened> for ServeError {
    fn from(error: Unopened) -> ServeError {
        match error {
            Unopened::Store(error) => error.into(),
            Unopened::Io(error) => error.into(),
        }
    }
}

/// The arguments of `musher serve`.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// What the command line says over it.
    pub overrides: Overrides,
    /// Which shard of how many this process has, if it is not the one that the others are started by.
    pub shard: Option<(usize, usize)>,
}

impl ServeOptions {
    /// Reads the configuration: what of it concerns this process.
    fn load(&self) -> Result<Loaded, ConfigErrors> {
        let loaded = Config::load(self.config.as_deref(), &self.overrides)?;
        Ok(match self.shard {
            Some(shard) => Loaded { config: loaded.config.of_shard(shard)?, ..loaded },
            None => loaded,
        })
    }

    /// The same, whatever the working directory will be.
    fn absolute(&self) -> io::Result<ServeOptions> {
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let mut options = self.clone();
        options.config = self.config.as_ref().map(absolute).transpose()?;
        options.overrides.data = self.overrides.data.as_ref().map(absolute).transpose()?;
        options.overrides.socket = self.overrides.socket.as_ref().map(absolute).transpose()?;
        Ok(options)
    }
}

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The log cannot be set up.
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The socket cannot be made.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address of HTTP cannot be taken.
    #[error("cannot serve HTTP at {address} (daemon.http): {error}")]
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The address of beanstalkd's protocol cannot be taken.
    #[error("cannot speak beanstalkd's protocol at {address} (daemon.beanstalk): {error}")]
    Beanstalk {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Nobody may ask by HTTP as it is.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The disk failed.
    #[error("{0}; the daemon ends, and its next start recovers everything that was acknowledged")]
    Disk(#[from] Fatal),
    /// The disk failed on the way down.
    #[error("{0}; nothing is lost, and the next start recovers from the log")]
    Close(#[from] AppendError),
    /// The cluster cannot be used, or this node has to begin anew.
    #[cfg(any(test, feature = "cluster"))]
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    /// The shards of a cluster cannot be had in this directory, or one has ended that was not to.
    #[cfg(any(test, feature = "cluster"))]
    #[error(transparent)]
    Shards(#[from] shards::ShardsError),
    /// The system refused something else.
    #[error("the daemon cannot run: {0}")]
    Io(#[from] io::Error),
}

/// Runs the daemon until it has stopped.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    process::begin_clean();
    let inherited = process::settle();
    let options = options.absolute()?;
    let loaded = options.load()?;
    // The directory in which we were started may be deleted: handlers must not find themselves in one that is gone,
    // and the file system below it can be unmounted.
    rustix::process::chdir("/").map_err(io::Error::from)?;
    let _log = telemetry::init(|name| std::env::var_os(name))?;
    events::config_warnings(&loaded.warnings);
    let (told, signals) = mpsc::unbounded_channel();
    let _listener = signals::listen(move |signal| {
        // The loop may have ended already.
        let _ = told.send(signal);
    })?;
    // What the pool leaves, should it be killed.
    let orphans = Orphans::adopt()?;
    let notifier = Notifier::new(|name| std::env::var_os(name));
    let process = Process { config: loaded.config, options, signals, notifier, orphans, inherited };
    match &process.config.cluster {
        #[cfg(any(test, feature = "cluster"))]
        Some(cluster) if cluster.shards > 1 => shards::serve(process, loaded.file),
        #[cfg(any(test, feature = "cluster"))]
        Some(_) => cluster::serve(process),
        // Without it the configuration is refused.
        _ => alone(process),
    }
}

/// What a daemon has whatever its store is.
struct Process {
    config: Config,
    options: ServeOptions,
    signals: mpsc::UnboundedReceiver<Signal>,
    notifier: Notifier,
    orphans: Orphans,
    inherited: Inherited,
}

/// Where others come in.
struct Doors {
    /// The socket; none in the process of a shard, whose connections come to another one.
    listening: Option<Listening>,
    /// Whether somebody keeps the socket for the next daemon.
    socket_stays: bool,
    http: HttpFront,
    /// The connections that HTTP asks for: one task at a time takes them on.
    calls: Option<Rc<Mutex<Calls>>>,
    beanstalk: BeanstalkBound,
}

impl Doors {
    /// `sight`: how the cluster looks, if this is a node of one.
    fn open(config: &Config, sight: Option<Sight>) -> Result<Doors, ServeError> {
        let listening = server::listen(&config.daemon.socket)?;
        let beanstalk = BeanstalkBound::new(config)?;
        let (http, calls) = front::start(config, sight)?;
        let calls = calls.map(|calls| Rc::new(Mutex::new(calls)));
        let socket_stays = listening.is_inherited();
        Ok(Doors { listening: Some(listening), socket_stays, http, calls, beanstalk })
    }

    /// Takes connections of all wires.
    fn serve<S: Store + 'static>(
        &self,
        hub: &Rc<Hub<S>>,
        tubes: &Rc<Tubes>,
    ) -> Result<Accepting, ServeError> {
        let native = self.listening.as_ref().map(|it| it.accept_into(hub, Native::default)).transpose()?;
        if let Some(calls) = &self.calls {
            drop(tokio::task::spawn_local(take_calls(hub.clone(), calls.clone())));
        }
        Ok(native.into_iter().chain(self.beanstalk.serve(hub, tubes)?).collect())
    }
}

#[cfg(any(test, feature = "cluster"))]
impl Doors {
    /// Those of a process that gets its connections from another one.
    fn inside(calls: Calls, socket_stays: bool) -> Doors {
        let (http, beanstalk) = (HttpFront::none(), BeanstalkBound::none());
        Doors { listening: None, socket_stays, http, calls: Some(Rc::new(Mutex::new(calls))), beanstalk }
    }

    /// Takes connections of all wires for another node, until the tasks are aborted. Those that HTTP asks for are not among them.
    fn pass_on(&self, passing: &cluster::Passing) -> Result<Accepting, ServeError> {
        use crate::cluster::Wire;
        let native = self.listening.as_ref().map(|it| it.accept(passing.of(Wire::Native))).transpose()?;
        let beanstalk = self.beanstalk.pass_on(passing.of(Wire::Beanstalk))?;
        Ok(native.into_iter().chain(beanstalk).collect())
    }
}

type Accepting = Vec<tokio::task::JoinHandle<()>>;

/// Takes on the connections that HTTP asks for, until it has ended.
async fn take_calls<S: Store + 'static>(hub: Rc<Hub<S>>, calls: Rc<Mutex<Calls>>) {
    let mut calls = calls.lock().await;
    while let Some(call) = calls.recv().await {
        if let Err(error) = server::serve_as(&hub, call.stream, call.caller, Native::default()).await {
            tracing::warn!("a request by HTTP has no connection: {error}");
        }
    }
}

/// Runs a daemon of one machine.
fn alone(mut process: Process) -> Result<(), ServeError> {
    let opened = Opened::open(&process.config, JobId(1), Clock::starting_after)?;
    process::trim_memory();
    let doors = Doors::open(&process.config, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    run_to_end(runtime, opened, doors, &mut process, |_, _| Rc::default())?;
    events::stopped();
    Ok(())
}

/// Runs the loop over what is open, and closes it. `others` serves whom it serves besides, and returns what says at the end whether the
/// doors are to stay open; then they are returned. Told to end by a signal, it closes them.
fn run_to_end<S: Store + 'static>(
    runtime: tokio::runtime::Runtime,
    opened: Opened<S>,
    doors: Doors,
    process: &mut Process,
    others: impl FnOnce(&Rc<Hub<S>>, &Rc<Tubes>) -> Rc<Cell<bool>>,
) -> Result<Option<Doors>, ServeError> {
    let tasks = tokio::task::LocalSet::new();
    let (pool_lock, numbers) = (opened.pool_lock.clone(), opened.numbers.clone());
    let (hub, outputs) = opened.into_hub(&process.config, doors.socket_stays);
    let running = async {
        let tubes = Rc::<Tubes>::default();
        let stay_open = others(&hub, &tubes);
        run(&hub, (doors, stay_open), &tubes, process, pool_lock, numbers.clone()).await
    };
    let stopped = tasks.block_on(&runtime, running);
    // The tasks share the hub: without them it is the last one.
    drop(tasks);
    drop(runtime);
    let doors = stopped?;
    process.notifier.alive();
    let now = hub.clock.now();
    if let Some(mut engine) = Hub::into_engine(hub) {
        events::closing();
        numbers.write_last(&mut engine, now);
        engine.close()?;
    }
    outputs.join();
    Ok(doors)
}

/// Runs until the loop has ended. Returns the doors if they stay open.
async fn run<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    (doors, stay_open): (Doors, Rc<Cell<bool>>),
    tubes: &Rc<Tubes>,
    process: &mut Process,
    pool_lock: PathBuf,
    numbers: NumbersFile,
) -> Result<Option<Doors>, ServeError> {
    let Process { config, options, signals, notifier, orphans, inherited } = process;
    let accepting = doors.serve(hub, tubes)?;
    let pool = PoolSpec {
        socket: config.daemon.socket.clone(),
        lock: pool_lock,
        oom_score_adj: config.daemon.job_oom_score_adj,
        orphans: orphans.clone(),
        inherited: *inherited,
    };
    let pool = tokio::task::spawn_local(keep_pool(hub.clone(), pool));
    let numbers = tokio::task::spawn_local(numbers.keep(hub.clone(), hub.clock.clone()));
    let traces = Traces::start(hub, config);
    events::started(env!("CARGO_PKG_VERSION"), &config.daemon.socket, &config.daemon.data);
    if !notifier.has_manager() {
        // For a script that waits for it, say. A service manager is told by the line below, and has the log.
        say_ready(&config.daemon.socket);
    }
    notifier.ready("ready");
    let mut watchdog = notifier.watchdog_interval().map(tokio::time::interval);
    let mut is_told_to_end = false;
    let ended = {
        let loop_ends = async {
            server::run(hub).await?;
            server::close_connections(hub, accepting).await
        };
        let (keep_traces, reaping) = (traces.keep(hub.clone()), orphans.reap_as_pid_one());
        tokio::pin!(loop_ends, keep_traces, reaping);
        loop {
            tokio::select! {
                ended = &mut loop_ends => break ended.map_err(ServeError::from),
                Some(signal) = signals.recv() => {
                    let is_first = !is_told_to_end;
                    is_told_to_end |= signal == Signal::Drain;
                    act(hub, notifier, &doors, config, options, (signal, is_first));
                }
                () = tick(&mut watchdog) => notifier.alive(),
                () = &mut keep_traces => {}
                () = &mut reaping => {}
            }
        }
    };
    let doors = (stay_open.get() && ended.is_ok() && !is_told_to_end).then_some(doors);
    numbers.abort();
    traces.finish(hub).await;
    pool.abort();
    // Its end kills what it still runs.
    let _ = tokio::time::timeout(POOL_GRACE, pool).await;
    Cgroups::clear();
    orphans.end_all(POOL_GRACE);
    Cgroups::clear();
    ended?;
    Ok(doors)
}

/// Prints it on standard output, from a thread, since there may be no reader.
fn say_ready(socket: &Path) {
    let line = format!("musher is ready: {}\n", socket.display());
    let say = move || telemetry::write_patiently(io::stdout(), line.as_bytes());
    // Without it the log says it, too.
    let _ = std::thread::Builder::new().name("ready".into()).spawn(say);
}

async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// What a signal means. `is_first`: none before it has told the daemon to end; then it may be draining for another reason, and is not
/// hurried.
fn act<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    notifier: &Notifier,
    doors: &Doors,
    config: &mut Config,
    options: &ServeOptions,
    (signal, is_first): (Signal, bool),
) {
    match signal {
        Signal::Drain if is_first => {
            let grace = config.daemon.drain_timeout;
            if !hub.is_stopping() {
                hub.stop();
            }
            events::draining(hub.held() as u64, grace);
            notifier.stopping("draining", grace + crate::engine::KILL_GRACE);
        }
        Signal::Drain => {
            hub.stop();
            events::second_signal();
        }
        Signal::Reload => {
            notifier.reloading();
            doors.listening.iter().for_each(Listening::look_after);
            match options.load() {
                Ok(loaded) => {
                    events::config_warnings(&loaded.warnings);
                    events::reloaded(&config.restart_needed(&loaded.config));
                    hub.configure(service(&loaded.config));
                    *config = loaded.config;
                    doors.http.reload(config);
                    set_schedules(hub, config);
                }
                Err(ConfigErrors(problems)) => events::reload_refused(&problems),
            }
            notifier.ready("ready");
        }
        Signal::Dump => events::state_dump(server::operators::dump(hub)),
    }
}
