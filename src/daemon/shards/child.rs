//! The process of one shard: a node of a cluster of its own, whose connections and signals come from the process that has started it, and
//! that ends with that one.

use super::super::{Doors, Process, ServeError, ServeOptions, cluster};
use super::control::{SERVES, SIGHT, Told, next_told};
use crate::cluster::OwnSight;
use crate::http::{Call, Calls};
use crate::notify::Notifier;
use crate::process::{self, Inherited};
use crate::signals::{self, Signal};
use crate::telemetry::{self, events};
use crate::worker::Orphans;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, Signal as ProcessSignal, getppid, set_parent_process_death_signal};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often it says how it sees the cluster.
const SAY: Duration = Duration::from_millis(500);
/// Connections that are not taken yet. More are closed.
const WAITING: usize = 1_024;

/// What the process of a shard is started with, beside what the node itself was.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// What the node was started with.
    pub serve: ServeOptions,
    /// Which shard it is, of how many.
    pub shard: (usize, usize),
    /// The node's process.
    pub parent: u32,
    /// What jobs get back.
    pub inherited: Inherited,
    /// Whether somebody keeps the node's socket for the next one.
    pub socket_stays: bool,
    /// How long it may be silent.
    pub watchdog: Option<Duration>,
}

/// Runs the process of a shard, whose standard input is the socket to the node.
///
/// # Errors
/// See [`ServeError`].
pub fn serve_shard(options: &ShardOptions) -> Result<(), ServeError> {
    // A node that is gone has no use for it, and the next one starts its own.
    set_parent_process_death_signal(Some(ProcessSignal::KILL)).map_err(io::Error::from)?;
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|parent| parent.get().cast_unsigned() != options.parent)
    {
        return Err(io::Error::other("the process that has started this one is gone").into());
    }
    process::begin_clean();
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    process::settle();
    let serve = ServeOptions { shard: Some(options.shard), ..options.serve.clone() };
    let config = serve.load()?.config;
    rustix::process::chdir("/").map_err(io::Error::from)?;
    let _log = telemetry::init(|name| std::env::var_os(name))?;
    // The node hears them, and passes them on: from a terminal they come to both.
    let _listener = signals::listen(|_| ())?;
    let notifier = Notifier::to(UnixDatagram::from(socket.try_clone()?), options.watchdog);
    let (told, signals) = mpsc::unbounded_channel();
    let (call, calls) = mpsc::channel(WAITING);
    let sight = OwnSight::default();
    let parent = Parent { socket, told, call, sight: sight.clone(), shard: options.shard.0 };
    std::thread::Builder::new().name("node".into()).spawn(move || parent.obey())?;
    let process = Process {
        config,
        options: serve,
        signals,
        notifier,
        orphans: Orphans::adopt()?,
        inherited: options.inherited,
    };
    cluster::serve_shard(process, (calls, options.socket_stays), &sight)
}

/// The process that has started this one.
struct Parent {
    socket: OwnedFd,
    told: mpsc::UnboundedSender<Signal>,
    call: mpsc::Sender<Call>,
    sight: OwnSight,
    shard: usize,
}

impl Parent {
    /// Does what it says, until it ends.
    fn obey(self) {
        // Without it the cluster is seen only when something comes. Of the loop it says nothing: that does so itself.
        let _ = set_socket_timeout(&self.socket, Timeout::Recv, Some(SAY));
        let notifier = self.socket.try_clone().map(|socket| Notifier::to(UnixDatagram::from(socket), None));
        let mut said = None;
        while let Some(told) = next_told(&self.socket) {
            match told {
                Told::Connection(stream, caller) => {
                    // Too many wait already, or it ends: whoever has connected connects again.
                    if self.call.try_send(Call { stream, caller }).is_err() {
                        events::shard_takes_no_more(self.shard, WAITING);
                    }
                }
                Told::Signal(signal) => drop(self.told.send(signal)),
                Told::Nothing => {}
            }
            let now = crate::clock::monotonic();
            if said.is_none_or(|said| now.saturating_sub(said) >= SAY) {
                said = Some(now);
                if let (Ok(notifier), Ok(view)) = (&notifier, serde_json::to_string(&self.sight.see())) {
                    notifier.tell(SIGHT, &view);
                }
            }
        }
    }
}

impl Doors {
    /// Those of a shard: whoever comes has come to the node.
    pub(in crate::daemon) fn of_shard(process: &Process, (calls, socket_stays): (Calls, bool)) -> Doors {
        process.notifier.tell(SERVES, "1");
        Doors::inside(calls, socket_stays)
    }
}
