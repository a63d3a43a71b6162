//! The life of a daemon: configuration, recovery, sockets, workers, the loop, shutdown. It puts the parts together, and
//! takes none of their decisions.

mod beanstalk;
mod configured;
mod embedded;
mod front;
mod numbers;
mod opened;
mod testing;
mod traces;

pub use embedded::{Embedded, EmbeddedError};
pub use testing::{Submitted, TestQueue};

use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Loaded, Overrides};
use crate::fronts::Native;
use crate::http::SecretsError;
use crate::notify::Notifier;
use crate::process::{self, Inherited};
use crate::server::{self, Fatal, Hub, ListenError, Listening, OutputThread};
use crate::signals::{self, Signal};
use crate::store::{AppendError, DiskStore, OpenError};
use crate::telemetry::{self, events};
use crate::worker::{Cgroups, OOM_ENV, Orphans, POOL_LOCK_ENV};
use beanstalk::BeanstalkBound;
use configured::service;
use front::{Bound, HttpFront};
use numbers::NumbersFile;
use opened::{Opened, Unopened, set_schedules};
use rustix::process::Pid;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use traces::Traces;

/// How long the pool may take to end once the daemon has stopped.
const POOL_GRACE: Duration = Duration::from_secs(2);
/// How long to wait before a pool that failed is started again.
const POOL_PAUSE: Duration = Duration::from_secs(1);

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
}

impl ServeOptions {
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
    let options = &options.absolute()?;
    let loaded = Config::load(options.config.as_deref(), &options.overrides)?;
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
    let daemon = Daemon::open(loaded, options)?;
    let numbers = daemon.numbers.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let (hub, outputs, stopped) = tasks.block_on(&runtime, daemon.run(signals, &orphans, inherited));
    // The tasks share the hub: without them it is the last one.
    drop(tasks);
    drop(runtime);
    stopped?;
    let now = hub.clock.now();
    if let Some(mut engine) = Hub::into_engine(hub) {
        events::closing();
        numbers.write_last(&mut engine, now);
        engine.close()?;
    }
    outputs.join();
    events::stopped();
    Ok(())
}

/// A daemon that is ready to run.
struct Daemon {
    hub: Rc<Hub<DiskStore>>,
    outputs: OutputThread,
    listening: Listening,
    http: Bound,
    beanstalk: BeanstalkBound,
    /// The file that the pool locks.
    pool_lock: PathBuf,
    numbers: NumbersFile,
    notifier: Notifier,
    config: Config,
    options: ServeOptions,
}

impl Daemon {
    fn open(loaded: Loaded, options: &ServeOptions) -> Result<Daemon, ServeError> {
        let config = loaded.config;
        let opened = Opened::open(&config, Clock::starting_after)?;
        process::trim_memory();
        let listening = server::listen(&config.daemon.socket)?;
        let http = Bound::new(&config)?;
        let beanstalk = BeanstalkBound::new(&config)?;
        let (pool_lock, numbers) = (opened.pool_lock.clone(), opened.numbers.clone());
        let (hub, output_thread) = opened.into_hub(&config, listening.is_inherited());
        let notifier = Notifier::new(|name| std::env::var_os(name));
        Ok(Daemon {
            hub,
            outputs: output_thread,
            listening,
            http,
            beanstalk,
            pool_lock,
            numbers,
            notifier,
            config,
            options: options.clone(),
        })
    }

    /// Runs until the daemon has stopped.
    async fn run(
        self,
        mut signals: mpsc::UnboundedReceiver<Signal>,
        orphans: &Orphans,
        inherited: Inherited,
    ) -> (Rc<Hub<DiskStore>>, OutputThread, Result<(), ServeError>) {
        let Daemon { hub, outputs, listening, http, beanstalk, .. } = self;
        let Daemon { pool_lock, numbers, notifier, mut config, options, .. } = self;
        let accepting = match accept(&hub, &listening, beanstalk) {
            Ok(accepting) => accepting,
            Err(error) => return (hub, outputs, Err(error)),
        };
        let http = match http.serve(&hub, &config) {
            Ok(http) => http,
            Err(error) => return (hub, outputs, Err(error)),
        };
        let pool = PoolSpec {
            socket: config.daemon.socket.clone(),
            lock: pool_lock,
            oom_score_adj: config.daemon.job_oom_score_adj,
            orphans: orphans.clone(),
            inherited,
        };
        let pool = tokio::task::spawn_local(keep_pool(hub.clone(), pool));
        let numbers = tokio::task::spawn_local(numbers.keep(hub.clone(), hub.clock.clone()));
        let traces = Traces::start(&hub, &config);
        events::started(env!("CARGO_PKG_VERSION"), &config.daemon.socket, &config.daemon.data);
        if !notifier.has_manager() {
            // For a script that waits for it, say. A service manager is told by the line below, and has the log.
            say_ready(&config.daemon.socket);
        }
        notifier.ready("ready");
        let mut watchdog = notifier.watchdog_interval().map(tokio::time::interval);
        let ended = {
            let loop_ends = async {
                server::run(&hub).await?;
                server::close_connections(&hub, accepting).await
            };
            let (keep_traces, reaping) = (traces.keep(hub.clone()), orphans.reap_as_pid_one());
            tokio::pin!(loop_ends, keep_traces, reaping);
            loop {
                tokio::select! {
                    ended = &mut loop_ends => break ended.map_err(ServeError::from),
                    Some(signal) = signals.recv() => act(&hub, &notifier, (&listening, &http), &mut config, &options, signal),
                    () = tick(&mut watchdog) => notifier.alive(),
                    () = &mut keep_traces => {}
                    () = &mut reaping => {}
                }
            }
        };
        drop(http);
        numbers.abort();
        traces.finish(&hub).await;
        pool.abort();
        // Its end kills what it still runs.
        let _ = tokio::time::timeout(POOL_GRACE, pool).await;
        Cgroups::clear();
        orphans.end_all(POOL_GRACE);
        Cgroups::clear();
        (hub, outputs, ended)
    }
}

/// Takes connections of both wires.
fn accept(
    hub: &Rc<Hub<DiskStore>>,
    listening: &Listening,
    beanstalk: BeanstalkBound,
) -> Result<Vec<tokio::task::JoinHandle<()>>, ServeError> {
    let native = listening.accept_into(hub, Native::default)?;
    Ok(std::iter::once(native).chain(beanstalk.serve(hub)?).collect())
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

/// What a signal means.
fn act(
    hub: &Rc<Hub<DiskStore>>,
    notifier: &Notifier,
    (listening, http): (&Listening, &HttpFront),
    config: &mut Config,
    options: &ServeOptions,
    signal: Signal,
) {
    match signal {
        Signal::Drain => {
            let grace = config.daemon.drain_timeout;
            if hub.stop() {
                events::draining(hub.held() as u64, grace);
                notifier.stopping("draining", grace + crate::engine::KILL_GRACE);
            } else {
                events::second_signal();
            }
        }
        Signal::Reload => {
            notifier.reloading();
            listening.look_after();
            match Config::load(options.config.as_deref(), &options.overrides) {
                Ok(loaded) => {
                    events::config_warnings(&loaded.warnings);
                    events::reloaded(&config.restart_needed(&loaded.config));
                    hub.configure(service(&loaded.config));
                    *config = loaded.config;
                    http.reload(config);
                    set_schedules(hub, config);
                }
                Err(ConfigErrors(problems)) => events::reload_refused(&problems),
            }
            notifier.ready("ready");
        }
        Signal::Dump => events::state_dump(server::operators::dump(hub)),
    }
}

/// What the pool is started with.
struct PoolSpec {
    socket: PathBuf,
    /// The file that it locks.
    lock: PathBuf,
    /// What it adds to the daemon's, for itself and its jobs.
    oom_score_adj: u16,
    /// Who ends what it leaves.
    orphans: Orphans,
    /// What its jobs get back.
    inherited: Inherited,
}

/// Keeps the pool alive: a process of its own, so that a start of a job never copies the daemon's memory, and so
/// that jobs outlive a daemon that is killed.
async fn keep_pool(hub: Rc<Hub<DiskStore>>, spec: PoolSpec) {
    loop {
        match run_pool(&hub, &spec).await {
            // It ends by itself once the daemon stops and its last job has ended.
            Ok(status) if status.success() && hub.is_stopping() => return,
            Ok(status) => events::worker_pool_restarted(&status.to_string()),
            Err(error) => events::worker_pool_restarted(&error.to_string()),
        }
        tokio::time::sleep(POOL_PAUSE).await;
    }
}

async fn run_pool(hub: &Rc<Hub<DiskStore>>, spec: &PoolSpec) -> io::Result<ExitStatus> {
    let Inherited { umask, files } = spec.inherited;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    // While this is open the connection has not ended, and its leases are in force: until nothing of its jobs is left.
    let held = theirs.try_clone()?;
    let mut child = tokio::process::Command::new("/proc/self/exe")
        .arg0("musher")
        .arg("pool")
        .args(["--umask", &umask.to_string()])
        .args(files.iter().flat_map(|files| ["--files".to_owned(), files.to_string()]))
        .env("MUSHER_SOCKET", &spec.socket)
        // Where the daemon is, not where it was started.
        .env("PWD", "/")
        .env(POOL_LOCK_ENV, &spec.lock)
        .env(OOM_ENV, spec.oom_score_adj.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // Ctrl-C goes to a whole group, and would end a job that is just being started.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    ours.set_nonblocking(true)?;
    server::serve_pool::<Native, _>(hub, ours, child.id().unwrap_or(0))?;
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    pid.inspect(|pid| spec.orphans.spare(*pid));
    let status = child.wait().await;
    pid.inspect(|pid| spec.orphans.forget(*pid));
    let orphans = spec.orphans.clone();
    let cleared = tokio::task::spawn_local(async move {
        Cgroups::clear();
        orphans.end().await;
        Cgroups::clear();
        drop(held);
    });
    // A process that hangs in the kernel must not leave the daemon without workers. Its job waits for it alone.
    if tokio::time::timeout(POOL_GRACE, cleared).await.is_err() {
        events::processes_do_not_die(POOL_GRACE);
    }
    status
}
