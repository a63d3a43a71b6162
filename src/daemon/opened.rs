//! A data directory that is open, recovered and ready for the loop: what the daemon and a queue inside another program have in
//! common. It knows no sockets, no signals and no processes but the workers that a former daemon may have left.

use super::configured::{plan, service, store_options};
use super::numbers::NumbersFile;
use crate::clock::{Clock, monotonic};
use crate::config::Config;
use crate::core::{Holder, JobId, Time};
use crate::engine::Engine;
use crate::private;
use crate::server::{Hub, OutputStore, OutputThread, Service, Wiring};
use crate::store::{DiskStore, OpenError, Recovered, Report, Store};
use crate::telemetry::events;
use crate::worker::PoolLock;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// How long a start waits for the pool of a daemon that was killed.
const FORMER_POOL_PATIENCE: Duration = Duration::from_secs(15);

/// Why a data directory cannot be opened.
#[derive(Debug)]
pub(super) enum Unopened {
    Store(OpenError),
    Io(io::Error),
}

impl From<OpenError> for Unopened {
    fn from(error: OpenError) -> Unopened {
        Unopened::Store(error)
    }
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Unopened {
        Unopened::Io(error)
    }
}

/// An open data directory.
pub(super) struct Opened<S> {
    engine: Engine<S>,
    service: Service,
    clock: Clock,
    outputs: OutputStore,
    output_thread: OutputThread,
    data: String,
    /// The file that a pool of workers locks.
    pub(super) pool_lock: PathBuf,
    /// Where the past is kept that people look at.
    pub(super) numbers: NumbersFile,
}

impl Opened<DiskStore> {
    /// Locks the directory of this configuration and recovers what is in it. `first`: no job gets an id before it. `clock` makes a clock
    /// that begins after the newest time in there.
    pub(super) fn open(
        config: &Config,
        first: JobId,
        clock: impl FnOnce(Time) -> Clock,
    ) -> Result<Opened<DiskStore>, Unopened> {
        let begun = monotonic();
        let data = &config.daemon.data;
        let (store, mut recovered) = DiskStore::open(data, &store_options(config))?;
        recovered.state.raise_next_id(first);
        let (pool_lock, pools_live) = await_former_pool(data)?;
        private::keep(data);
        let Report { jobs, commits, .. } = recovered.report;
        events::recovered(data, jobs, commits, monotonic() - begun);
        let mut opened = Opened::of(config, store, recovered, pool_lock, clock)?;
        if !pools_live {
            opened.engine.do_not_await(Holder::is_pool);
        }
        Ok(opened)
    }
}

/// Waits for the pool of a daemon that was killed, but not for ever. Returns the file that the next one locks, and whether pools of
/// former daemons live.
pub(super) fn await_former_pool(data: &Path) -> io::Result<(PathBuf, bool)> {
    // Its way may lead through directories that will be gone when the next pool is started.
    let pool_lock = data.canonicalize()?.join("pool");
    if !PoolLock::until_free(&pool_lock, FORMER_POOL_PATIENCE)? {
        events::former_pool_lives(FORMER_POOL_PATIENCE);
    }
    let pools_live = !PoolLock::is_free(&PoolLock::of_all(&pool_lock))?;
    Ok((pool_lock, pools_live))
}

impl<S: Store + 'static> Opened<S> {
    /// What a store holds that is open, and locked.
    pub(super) fn of(
        config: &Config,
        store: S,
        recovered: Recovered,
        pool_lock: PathBuf,
        clock: impl FnOnce(Time) -> Clock,
    ) -> Result<Opened<S>, Unopened> {
        let (data, Recovered { state, last, time, .. }) = (&config.daemon.data, recovered);
        let clock = clock(time);
        events::clock_has_diverged(clock.ahead_ms());
        let (outputs, output_thread) = OutputStore::open(&data.join("output"), |id| state.contains(id))?;
        let service = service(config);
        let (settings, bounds) = (service.settings.clone(), service.limits.bounds);
        let mut engine =
            Engine::new(state, last, store, settings, bounds, random_seed(clock.now()), clock.now());
        let numbers = NumbersFile::in_directory(&data.canonicalize()?);
        numbers.restore(&mut engine);
        let data = data.display().to_string();
        Ok(Opened { engine, service, clock, outputs, output_thread, data, pool_lock, numbers })
    }

    /// What the loop needs of it, with the schedules of the configuration in force. `socket_stays`: whether somebody keeps the
    /// socket for the next daemon.
    pub(super) fn into_hub(self, config: &Config, socket_stays: bool) -> (Rc<Hub<S>>, OutputThread) {
        let Opened { engine, service, clock, outputs, output_thread, data, .. } = self;
        let node = config.cluster.as_ref().map(|cluster| cluster.node.clone());
        let hub = Hub::new(Wiring { engine, service, clock, outputs, data, node, socket_stays });
        set_schedules(&hub, config);
        (hub, output_thread)
    }
}

/// A number that differs from start to start; jitter needs no more.
fn random_seed(now: Time) -> u64 {
    now.0 ^ u64::from(std::process::id()) << 32
}

/// Brings the schedules of a configuration into force. What is not used is said in the log.
pub(super) fn set_schedules<S: Store + 'static>(hub: &Hub<S>, config: &Config) {
    let plans: Vec<_> = config.schedules.iter().map(|(name, one)| (name.clone(), plan(one))).collect();
    for (name, refusal) in hub.configure_schedules(&plans) {
        events::schedule_refused(&name, &refusal);
    }
}
