//! The life of a daemon that is a node of a cluster. It stands by first: it recovers what its directory and the stream have, takes in
//! what the owner commits, and passes on whoever connects. Once it is the owner it is a daemon like any other, over a store whose log
//! is the stream; and if it must not be that any more it ends, and stands by after its next start.

mod copy;
mod passing;
mod start;

pub(super) use passing::{PassOn, Passing};

use super::configured::store_options;
use super::opened::{Opened, await_former_pool};
use super::{Doors, Process, ServeError, run_to_end};
use crate::access::Caller;
use crate::clock::Clock;
use crate::cluster::{Followed, Node, OwnSight, Rest, Wire};
use crate::config::{Cluster, Config, ConfigErrors};
use crate::core::{IdRange, JobId};
use crate::fronts::{Beanstalk, Native, Tubes};
use crate::http::{self, Calls};
use crate::private;
use crate::process;
use crate::server::{self, Fatal, Hub};
use crate::shards::{Shards, first_id};
use crate::signals::Signal;
use crate::store::{FollowError, NodeDirectory, NodeStore, Recovered, Store, digest};
use crate::telemetry::events;
use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, LocalSet};

/// Commits that are taken in before anything else is looked at.
const AT_ONCE: u32 = 64;
/// Why a node had to end.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The stream cannot be used, or not be read any further.
    #[error("{0}")]
    Stream(String),
    /// What the owner has committed could not be taken in.
    #[error("{0}; the next start reads it again")]
    Follow(String),
    /// Jobs of a cluster and jobs of its own.
    #[error(
        "data directory {} has jobs (up to commit {home}), and the stream `{stream}` has others: a directory with jobs can \
         begin a cluster, whose stream is empty then, but not join one. Give this node an empty directory, or another stream",
        dir.display()
    )]
    HasJobs {
        /// The directory.
        dir: PathBuf,
        /// The newest commit in it.
        home: u64,
        /// The stream.
        stream: String,
    },
    /// The owner's jobs could not be copied.
    #[error("the jobs cannot be copied from the cluster's owner: {0}")]
    NotCopied(String),
    /// The directory has the queues of another shard.
    #[error(
        "the directory of shard {shard} has queue `{queue}`, which belongs to shard {of}: directories were mixed up, or `cluster.shards` \
         was changed, which cannot be"
    )]
    OtherShard {
        /// The queue.
        queue: String,
        /// Where it belongs.
        of: usize,
        /// Where it was found.
        shard: usize,
    },
    /// The directory has jobs with ids of another shard.
    #[error(
        "the directory of shard {shard} has job {id}, whose id is not one of that shard: restore a backup of a shard into the same one"
    )]
    OtherIds {
        /// The job.
        id: u64,
        /// Where it was found.
        shard: usize,
    },
    /// It has given the queue to another node, and cannot stand by in the same process.
    #[error(
        "the configuration was changed where that takes a start ({0}), so this node stands by after its next one"
    )]
    Changed(String),
    /// Its thread has ended.
    #[error("the thread that speaks to the cluster's servers has ended: report this as a bug")]
    Ended,
}

/// What the standby ends with.
enum Outcome {
    /// It is the owner.
    Owner,
    /// It was told to stop.
    Stopped,
}

/// Runs a node.
pub(super) fn serve(process: Process) -> Result<(), ServeError> {
    let sight = OwnSight::default();
    let seen = sight.clone();
    let open = move |process: &Process| {
        let seen = seen.clone();
        Doors::open(&process.config, Some(Arc::new(move || vec![seen.see()])))
    };
    lives(process, open, &sight)
}

/// Runs one shard of a node, to which connections come from the node's own process.
pub(super) fn serve_shard(
    process: Process,
    from_node: (Calls, bool),
    sight: &OwnSight,
) -> Result<(), ServeError> {
    let mut from_node = Some(from_node);
    // They are opened once: those who stand by again keep theirs.
    let open = move |process: &Process| {
        let from_node = from_node.take().ok_or(ClusterError::Ended)?;
        Ok(Doors::of_shard(process, from_node))
    };
    lives(process, open, sight)
}

/// One life after the other: a node stands by again when it has given the queue to another one. `open` opens the doors, once.
fn lives(
    mut process: Process,
    mut open: impl FnMut(&Process) -> Result<Doors, ServeError>,
    sight: &OwnSight,
) -> Result<(), ServeError> {
    let mut doors = None;
    let begun = process.config.clone();
    loop {
        doors = life(&mut process, doors, &mut open, sight)?;
        if doors.is_none() {
            events::stopped();
            return Ok(());
        }
        let changed = begun.restart_needed(&process.config);
        if !changed.is_empty() {
            return Err(ClusterError::Changed(changed.join(", ")).into());
        }
        process.notifier.status("standing by again");
        process.notifier.alive();
    }
}

/// From the start until it has to end, or stands by again: then the doors stay open.
fn life(
    process: &mut Process,
    doors: Option<Doors>,
    open: &mut impl FnMut(&Process) -> Result<Doors, ServeError>,
    sight: &OwnSight,
) -> Result<Option<Doors>, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = process.config.clone();
    let Some(cluster) = &config.cluster else { return Ok(None) };
    let directory = NodeDirectory::open(&config.daemon.data, &store_options(&config))?;
    private::keep(&config.daemon.data);
    let (pool_lock, _) = await_former_pool(&config.daemon.data)?;
    // A node of a stream that is gone must not make an empty one in its place.
    let mut node = Node::start(cluster, directory.mark().is_none_or(|mark| mark.seq == 0))?;
    node.shows(sight);
    process.notifier.ready("standing by: connecting to the cluster's servers");
    let Some(mut standby) = start::open(&runtime, process, directory, &mut node)? else { return Ok(None) };
    if let Some(shard) = cluster.shard {
        standby.begin_ids(shard, cluster.shards)?;
    }
    // Only now: who connects to one that has no servers would wait for ever.
    let doors = match doors {
        Some(open) => open,
        None => open(process)?,
    };
    process::trim_memory();
    let tasks = LocalSet::new();
    let stood_by = tasks.block_on(&runtime, stand_by(process, &mut standby, &doors, &mut node));
    // Those who wait at the doors come to the owner's loop, if it is this one.
    drop(tasks);
    // Where the stream is what has failed, all that was taken in is confirmed: this node's disk gets all of it.
    if let Err(ServeError::Cluster(ClusterError::Stream(_) | ClusterError::Ended)) = &stood_by {
        let _ = standby.store.close(&standby.recovered.state);
    }
    match stood_by? {
        Outcome::Stopped => {
            standby.store.close(&standby.recovered.state).map_err(ServeError::Close)?;
            Ok(None)
        }
        Outcome::Owner => own(runtime, process, standby, (doors, pool_lock), node),
    }
}

/// A node that stands by.
struct Standby {
    store: NodeStore,
    recovered: Recovered,
}

fn failed(error: impl ToString) -> ServeError {
    ClusterError::Stream(error.to_string()).into()
}

/// Takes in what the owner commits, until this node is the owner or has to stop.
async fn stand_by(
    process: &mut Process,
    standby: &mut Standby,
    doors: &Doors,
    node: &mut Node,
) -> Result<Outcome, ServeError> {
    let clock = Clock::starting_after(standby.recovered.time);
    let passing = Passing::new(node.calls.clone(), process.config.limits.connections);
    let accepting = doors.pass_on(&passing)?;
    events::standing_by(&node_name(&process.config), jobs(standby), standby.store.last().0);
    if !process.notifier.has_manager() {
        super::say_ready(&process.config.daemon.socket);
    }
    process.notifier.status("standing by");
    let mut watchdog = process.notifier.watchdog_interval().map(tokio::time::interval);
    let outcome = loop {
        // Housekeeping: checkpoints, mostly.
        let now = clock.now();
        let again = standby.store.maintain(&standby.recovered.state, now).map_err(ServeError::Close)?;
        let again = async {
            match again {
                Some(at) => tokio::time::sleep(at.since(now)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            followed = node.followed.recv() => {
                let (mut followed, mut left) = (followed, AT_ONCE);
                let outcome = loop {
                    if let Some(outcome) = standby.take(&process.config, followed)? {
                        break Some(outcome);
                    }
                    left -= 1;
                    followed = match node.followed.try_recv() {
                        Ok(next) if left > 0 => Some(next),
                        Ok(last) => break standby.take(&process.config, Some(last))?,
                        Err(_) => break None,
                    };
                };
                if let Some(outcome) = outcome {
                    break outcome;
                }
            }
            Some(call) = next_call(&doors.calls) => {
                passing.pass_at_once(call.stream.into(), Wire::Native, call.caller);
            }
            Some(signal) = process.signals.recv() => match signal {
                Signal::Drain => break Outcome::Stopped,
                Signal::Reload => reload(process, doors),
                Signal::Dump => {
                    let commit = standby.store.last().0;
                    events::state_dump([format!("standing by, with all commits up to {commit}")]);
                }
            },
            () = again => {}
            () = super::tick(&mut watchdog) => process.notifier.alive(),
        }
    };
    accepting.iter().for_each(JoinHandle::abort);
    Ok(outcome)
}

impl Standby {
    /// The ids of a shard's jobs are its own.
    fn begin_ids(&mut self, shard: usize, shards: usize) -> Result<(), ServeError> {
        let (state, shards) = (&mut self.recovered.state, Shards::new(shards));
        let strange = state.queues().find_map(|(name, _)| {
            let of = shards.of_name(name.as_str());
            (of != shard).then(|| (name.to_string(), of))
        });
        if let Some((queue, of)) = strange {
            return Err(ClusterError::OtherShard { queue, of, shard }.into());
        }
        // They are in order, so it is enough to look at both ends.
        let ends = {
            let mut all = state.iter(IdRange::new(JobId(1), u64::MAX - 1)).map(|(range, _)| range.first.0);
            [all.next(), all.next_back()]
        };
        let strange = ends.into_iter().flatten().find(|id| shards.of_job(*id) != Some(shard));
        if let Some(id) = strange {
            return Err(ClusterError::OtherIds { id, shard }.into());
        }
        state.raise_next_id(JobId(first_id(shard)));
        Ok(())
    }

    /// Takes in what the stream has more.
    fn take(&mut self, config: &Config, followed: Option<Followed>) -> Result<Option<Outcome>, ServeError> {
        let Standby { store, recovered } = self;
        match followed {
            Some(Followed::Commit(commit)) => {
                store.follow(&mut recovered.state, commit).map_err(|error| match error {
                    FollowError::Disk(error) => ServeError::Close(error),
                    error @ FollowError::Commit { .. } => ClusterError::Follow(error.to_string()).into(),
                })?;
                (recovered.last, recovered.time) = store.newest();
                Ok(None)
            }
            Some(Followed::Own { link, progress, epoch }) => {
                store.own(link, progress).map_err(|error| ServeError::from(Fatal::from(error)))?;
                events::took_over(&node_name(config), epoch.0, store.last().0);
                Ok(Some(Outcome::Owner))
            }
            Some(Followed::Verify(say)) => {
                // Who has asked may have gone.
                let _ = say.send(digest(&recovered.state));
                Ok(None)
            }
            Some(Followed::Failed(error)) => Err(failed(error)),
            Some(Followed::Connected { .. } | Followed::UpToDate) => Ok(None),
            None => Err(ClusterError::Ended.into()),
        }
    }
}

/// Runs the queue.
fn own(
    runtime: Runtime,
    process: &mut Process,
    Standby { store, recovered }: Standby,
    (doors, pool_lock): (Doors, PathBuf),
    mut node: Node,
) -> Result<Option<Doors>, ServeError> {
    let opened = Opened::of(&process.config, store, recovered, pool_lock, Clock::starting_after)?;
    let (arrivals, heirs, rests) = (node.arrivals.take(), node.heirs.take(), node.rests.take());
    let doors = run_to_end(runtime, opened, doors, process, |hub, tubes| {
        let stays = Rc::<Cell<bool>>::default();
        if let (Some(arrivals), Some(heirs), Some(rests)) = (arrivals, heirs, rests) {
            drop(tokio::task::spawn_local(take_arrivals(hub.clone(), tubes.clone(), arrivals)));
            drop(tokio::task::spawn_local(hand_over(hub.clone(), heirs, stays.clone())));
            drop(tokio::task::spawn_local(take_rests(hub.clone(), rests)));
        }
        stays
    })?;
    // Only now that everything is confirmed the node is gone, and says so.
    drop(node);
    Ok(doors)
}

/// Drains once the queue is wished for by another node, which this one has granted; then it stands by.
async fn hand_over<S: Store + 'static>(
    hub: Rc<Hub<S>>,
    mut heirs: mpsc::Receiver<String>,
    stays: Rc<Cell<bool>>,
) {
    while let Some(heir) = heirs.recv().await {
        // One that ends already is not to be hurried.
        if !hub.is_stopping() {
            events::hands_over(&heir, hub.held() as u64);
            stays.set(true);
            hub.stop();
        }
    }
}

/// Serves who has come to other nodes.
async fn take_arrivals<S: Store + 'static>(
    hub: Rc<Hub<S>>,
    tubes: Rc<Tubes>,
    mut arrivals: mpsc::Receiver<(UnixStream, Wire, Caller)>,
) {
    while let Some((stream, wire, caller)) = arrivals.recv().await {
        let served = match wire {
            Wire::Native => server::serve_as(&hub, stream, caller, Native::default()).await,
            Wire::Beanstalk => server::serve_as(&hub, stream, caller, Beanstalk::new(tubes.clone())).await,
        };
        if let Err(error) = served {
            tracing::warn!("a connection of another node cannot be served: {error}");
        }
    }
}

/// Says what the state comes to, when that is asked.
async fn take_rests<S: Store + 'static>(hub: Rc<Hub<S>>, mut rests: mpsc::Receiver<Rest>) {
    while let Some(rest) = rests.recv().await {
        hub.at_rest(|state, at| rest.with(at, || digest(state)));
    }
}

async fn next_call(calls: &Option<Rc<Mutex<Calls>>>) -> Option<http::Call> {
    match calls {
        Some(calls) => calls.lock().await.recv().await,
        None => std::future::pending().await,
    }
}

/// What of a configuration concerns a node that stands by; the rest holds once it is the owner.
fn reload(process: &mut Process, doors: &Doors) {
    process.notifier.reloading();
    match process.options.load() {
        Ok(loaded) => {
            events::config_warnings(&loaded.warnings);
            events::reloaded(&process.config.restart_needed(&loaded.config));
            doors.http.reload(&loaded.config);
            process.config = loaded.config;
        }
        Err(ConfigErrors(problems)) => events::reload_refused(&problems),
    }
    process.notifier.ready("standing by");
}

/// The node, and which shard of it this is if there are several.
fn node_name(config: &Config) -> String {
    let name = |Cluster { node, shard, .. }: &Cluster| match shard {
        Some(shard) => format!("{node}/{shard}"),
        None => node.clone(),
    };
    config.cluster.as_ref().map_or_else(String::new, name)
}

fn jobs(Standby { recovered, .. }: &Standby) -> u64 {
    recovered.state.queues().map(|(_, queue)| queue.counts().all()).sum()
}
