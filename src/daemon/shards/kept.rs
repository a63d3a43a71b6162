//! The process of a shard, kept alive: it is started, heard, started again when it has ended, and killed when it is silent.

use super::super::{Process, ServeOptions};
use super::ShardsError;
use super::control::{self, Said, ToShard};
use crate::access::Caller;
use crate::process::Inherited;
use crate::signals::Signal;
use crate::telemetry::events;
use crate::views::ClusterView;
use crate::worker::Orphans;
use rustix::process::Pid;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// How long to wait before one that has ended is started again. It doubles each time, until it has served.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// With this a process ends whose configuration cannot be used.
const UNUSABLE: i32 = 2;

/// How all shards of this node see the cluster.
#[derive(Clone, Debug)]
pub(super) struct Seen(Arc<Mutex<Vec<ClusterView>>>);

impl Seen {
    pub(super) fn of(count: usize) -> Seen {
        let nothing = |shard| ClusterView {
            shard: Some(shard as u32),
            shards: Some(count as u32),
            ..ClusterView::default()
        };
        Seen(Arc::new(Mutex::new((0..count).map(nothing).collect())))
    }

    pub(super) fn all(&self) -> Vec<ClusterView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, shard: usize, mut view: ClusterView) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has not connected yet does not know it.
        (view.shard, view.shards) = (Some(shard as u32), Some(all.len() as u32));
        all[shard] = view;
    }

    /// Nothing is known of it any more.
    fn forget(&self, shard: usize) {
        self.set(shard, ClusterView::default());
    }
}

/// What processes of shards are started with.
#[derive(Clone, Debug)]
pub(super) struct StartWith {
    file: Option<PathBuf>,
    options: ServeOptions,
    inherited: Inherited,
    socket_stays: bool,
    watchdog: Option<Duration>,
    shards: usize,
    orphans: Orphans,
}

impl StartWith {
    pub(super) fn new(process: &Process, file: Option<PathBuf>, socket_stays: bool) -> StartWith {
        let Process { options, inherited, notifier, orphans, config, .. } = process;
        let shards = config.cluster.as_ref().map_or(1, |cluster| cluster.shards);
        let (options, inherited, orphans) = (options.clone(), *inherited, orphans.clone());
        let watchdog = notifier.watchdog();
        StartWith { file, options, inherited, socket_stays, watchdog, shards, orphans }
    }

    fn command(&self, shard: usize) -> Command {
        let overrides = &self.options.overrides;
        let mut command = Command::new("/proc/self/exe");
        let shard = shard.to_string();
        command.arg0("musher").args(["shard", shard.as_str()]);
        command.args(["--of".to_owned(), self.shards.to_string()]);
        command.args(["--parent".to_owned(), std::process::id().to_string()]);
        command.args(["--umask".to_owned(), self.inherited.umask.to_string()]);
        command.args(self.inherited.files.iter().flat_map(|files| ["--files".to_owned(), files.to_string()]));
        command.args(self.socket_stays.then_some("--socket-stays"));
        let watchdog = self.watchdog.map(|watchdog| watchdog.as_millis().to_string());
        command.args(watchdog.iter().flat_map(|ms| ["--watchdog-ms", ms]));
        let workers = overrides.workers.map(|workers| workers.to_string());
        command.args(workers.iter().flat_map(|workers| ["--workers", workers]));
        let paths = [("--config", &self.file), ("--data", &overrides.data), ("--socket", &overrides.socket)];
        for (option, path) in paths {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
        // They are for this process alone.
        for name in crate::notify::PRIVATE_ENV {
            command.env_remove(name);
        }
        command
    }
}

/// One shard.
pub(super) struct Kept {
    shard: usize,
    start: StartWith,
    seen: Seen,
    /// Its process, while there is one.
    control: RefCell<Option<Rc<ToShard>>>,
    pid: Cell<Option<u32>>,
    /// Whether that takes connections.
    serves: Cell<bool>,
    changed: Notify,
    /// Whether it is to end.
    is_stopping: Cell<bool>,
    stop: Notify,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.serves.get() { "takes connections" } else { "takes no connections yet" };
        match self.pid.get() {
            Some(pid) => write!(f, "shard {}: process {pid}, {what}", self.shard),
            None => write!(f, "shard {}: no process", self.shard),
        }
    }
}

impl Kept {
    pub(super) fn new(shard: usize, start: StartWith, seen: Seen) -> Kept {
        Kept {
            shard,
            start,
            seen,
            control: RefCell::default(),
            pid: Cell::default(),
            serves: Cell::default(),
            changed: Notify::new(),
            is_stopping: Cell::default(),
            stop: Notify::new(),
        }
    }

    /// A connection to it on behalf of a user; `None` while it takes none.
    pub(super) fn connect(&self, caller: &Caller) -> Option<UnixStream> {
        let control = self.control.borrow().clone().filter(|_| self.serves.get())?;
        let (ours, theirs) = UnixStream::pair().ok()?;
        ours.set_nonblocking(true).ok()?;
        theirs.set_nonblocking(true).ok()?;
        control.connect(&theirs, caller).ok()?;
        Some(ours)
    }

    /// Passes a signal on. One that tells to end is heard here, too.
    pub(super) fn signal(&self, signal: Signal) {
        if signal == Signal::Drain {
            self.is_stopping.set(true);
            self.stop.notify_one();
        }
        if let Some(control) = &*self.control.borrow() {
            control.signal(signal);
        }
    }

    /// Returns when it takes connections.
    pub(super) async fn until_serves(&self) {
        while !self.serves.get() {
            self.changed.notified().await;
        }
    }

    /// Keeps it alive until it is to end, and has.
    pub(super) async fn keep(self: Rc<Kept>) -> Result<(), ShardsError> {
        let (mut pause, mut has_served) = (PAUSE, false);
        loop {
            let ended = self.run().await;
            let serves = self.serves.replace(false);
            has_served |= serves;
            self.seen.forget(self.shard);
            let how = match &ended {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            if self.is_stopping.get() {
                return match ended {
                    Ok(status) if status.success() => Ok(()),
                    _ => Err(ShardsError::Ended { shard: self.shard, how }),
                };
            }
            // What it was given cannot be used, and will not be.
            if !has_served && ended.is_ok_and(|status| status.code() == Some(UNUSABLE)) {
                return Err(ShardsError::Ended { shard: self.shard, how });
            }
            events::shard_ended(self.shard, &how);
            pause = if serves { PAUSE } else { (pause * 2).min(PAUSE_MAX) };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.notified() => {}
            }
            if self.is_stopping.get() {
                return Ok(());
            }
        }
    }

    async fn run(&self) -> io::Result<ExitStatus> {
        let (ours, theirs) = control::pair()?;
        let mut child = self
            .start
            .command(self.shard)
            .stdin(Stdio::from(theirs))
            // Ctrl-C goes to a whole group: this process hears it, and passes it on.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        self.pid.set(child.id());
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        pid.inspect(|pid| self.start.orphans.spare(*pid));
        let control = Rc::new(ToShard::new(ours)?);
        *self.control.borrow_mut() = Some(control.clone());
        self.hear(&control, &mut child).await;
        *self.control.borrow_mut() = None;
        let status = child.wait().await;
        pid.inspect(|pid| self.start.orphans.forget(*pid));
        self.pid.set(None);
        status
    }

    /// Hears it until it has ended. One that has served and then is silent is killed.
    async fn hear(&self, control: &ToShard, child: &mut Child) {
        let mut heard = Instant::now();
        loop {
            let silence = self.start.watchdog.filter(|_| self.serves.get());
            let said = match silence {
                Some(silence) => timeout_at(heard + silence, control.hear()).await,
                None => Ok(control.hear().await),
            };
            match said {
                Ok(Some(said)) => said.into_iter().for_each(|said| match said {
                    Said::Serves => {
                        heard = Instant::now();
                        self.serves.set(true);
                        self.changed.notify_waiters();
                    }
                    Said::Sight(view) => self.seen.set(self.shard, *view),
                    Said::Alive => heard = Instant::now(),
                }),
                Ok(None) => return,
                Err(_) => {
                    events::shard_is_silent(self.shard);
                    let _ = child.start_kill();
                    return;
                }
            }
        }
    }
}
