//! A node of a cluster of several shards. Each shard is a process of its own, which is what a node of a cluster without shards is; so
//! one that has to end ends alone, and shards use as many processors as there are. This one starts them, takes whoever connects,
//! and passes requests on to them (`router`). It has no jobs.
//!
//! - `child`: the process of a shard; `kept`: how it is kept alive; `control`: what both say to each other
//! - `directory`: where their data is

mod child;
mod control;
mod directory;
mod kept;

pub use child::{ShardOptions, serve_shard};
pub(super) use directory::ShardsError;

use super::{Process, ServeError, front, say_ready, tick};
use crate::access::Caller;
use crate::config::{Cluster, Config, ConfigErrors};
use crate::http::{Calls, Sight};
use crate::router::{self, Router, RouterLimits, Ways};
use crate::server::{self, Peer, Taker};
use crate::shards::Shards;
use crate::signals::Signal;
use crate::stream::Stream;
use crate::telemetry::events;
use crate::views::ClusterView;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kept::{Kept, Seen, StartWith};
use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::LocalSet;

/// All shards of this node.
struct AllKept(Vec<Rc<Kept>>);

impl Ways for AllKept {
    fn connect(&self, shard: usize, caller: &Caller) -> Option<UnixStream> {
        self.0[shard].connect(caller)
    }
}

/// Runs the node until all shards have ended. `file`: the configuration that was read.
pub(super) fn serve(mut process: Process, file: Option<PathBuf>) -> Result<(), ServeError> {
    let Some(Cluster { shards: count, .. }) = process.config.cluster else { return Ok(()) };
    let _lock = directory::prepare(&process.config.daemon.data, count)?;
    crate::private::keep(&process.config.daemon.data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    let ended = tasks.block_on(&runtime, run(&mut process, file, count));
    drop(tasks);
    runtime.shutdown_background();
    ended?;
    events::stopped();
    Ok(())
}

async fn run(process: &mut Process, file: Option<PathBuf>, count: usize) -> Result<(), ServeError> {
    let config = process.config.clone();
    let listening = server::listen(&config.daemon.socket)?;
    let seen = Seen::of(count);
    let (http, calls) = front::start(&config, Some(sight(seen.clone())))?;
    let start = StartWith::new(process, file, listening.is_inherited());
    let kept: Vec<_> =
        (0..count).map(|shard| Rc::new(Kept::new(shard, start.clone(), seen.clone()))).collect();
    let router = Router::new(Shards::new(count), limits(&config), Rc::new(AllKept(kept.clone())));
    let places = Arc::new(Semaphore::new(config.limits.connections));
    let accepting = listening.accept(Arrivals { router: router.clone(), places, place: Cell::default() })?;
    if let Some(calls) = calls {
        drop(tokio::task::spawn_local(take_calls(router.clone(), calls)));
    }
    process.notifier.ready("starting the shards");
    let all_end = async {
        let mut failed = Ok(());
        let mut keeping: FuturesUnordered<_> =
            kept.iter().map(|kept| tokio::task::spawn_local(kept.clone().keep())).collect();
        while let Some(ended) = keeping.next().await {
            let ended = ended.unwrap_or(Err(ShardsError::Panicked));
            if ended.is_err() {
                // One that cannot go on, and will not: the others are not to look as if all were well.
                kept.iter().for_each(|kept| kept.signal(Signal::Drain));
            }
            failed = failed.and(ended);
        }
        failed
    };
    let (reaping, all_serve) = (process.orphans.reap(), all_serve(&kept));
    tokio::pin!(all_end, reaping, all_serve);
    let mut watchdog = process.notifier.watchdog_interval().map(tokio::time::interval);
    let mut is_starting = true;
    loop {
        tokio::select! {
            ended = &mut all_end => {
                accepting.abort();
                return Ok(ended?);
            }
            () = &mut all_serve, if is_starting => {
                is_starting = false;
                process.notifier.status(&format!("{count} shards"));
                if !process.notifier.has_manager() {
                    say_ready(&process.config.daemon.socket);
                }
            }
            Some(signal) = process.signals.recv() => {
                match signal {
                    Signal::Drain => {
                        let within = process.config.daemon.drain_timeout + crate::engine::KILL_GRACE;
                        process.notifier.stopping("draining", within);
                    }
                    Signal::Reload => {
                        process.notifier.reloading();
                        listening.look_after();
                        match process.options.load() {
                            Ok(loaded) => {
                                events::config_warnings(&loaded.warnings);
                                http.reload(&loaded.config);
                                router.set_limits(limits(&loaded.config));
                                process.config = loaded.config;
                            }
                            // The shards refuse it as well.
                            Err(ConfigErrors(problems)) => events::reload_refused(&problems),
                        }
                        process.notifier.ready(&format!("{count} shards"));
                    }
                    Signal::Dump => events::state_dump(kept.iter().map(|kept| kept.to_string())),
                }
                kept.iter().for_each(|kept| kept.signal(signal));
            }
            () = tick(&mut watchdog) => process.notifier.alive(),
            () = &mut reaping => {}
        }
    }
}

/// Returns when each has said once that it takes connections.
async fn all_serve(kept: &[Rc<Kept>]) {
    for kept in kept {
        kept.until_serves().await;
    }
}

/// How the shards see the cluster. Of one that has not said anything yet only its number is known.
fn sight(seen: Seen) -> Sight {
    Arc::new(move || -> Vec<ClusterView> { seen.all() })
}

fn limits(config: &Config) -> RouterLimits {
    RouterLimits {
        frame: config.limits.frame,
        body: config.limits.body,
        batch: config.limits.batch,
        resume_within: config.daemon.resume_within,
    }
}

/// Takes the connections that HTTP asks for.
async fn take_calls(router: Rc<Router>, mut calls: Calls) {
    while let Some(call) = calls.recv().await {
        if let Ok(stream) = Stream::try_from(call.stream) {
            drop(tokio::task::spawn_local(router::serve(router.clone(), stream, call.caller)));
        }
    }
}

/// Takes whoever connects: so many at a time.
struct Arrivals {
    router: Rc<Router>,
    places: Arc<Semaphore>,
    /// The place for whoever comes next.
    place: Cell<Option<OwnedSemaphorePermit>>,
}

impl Taker for Arrivals {
    async fn admit(&self) {
        let kept = self.place.take();
        let place = match kept {
            Some(place) => Some(place),
            // It is never closed.
            None => self.places.clone().acquire_owned().await.ok(),
        };
        self.place.set(place);
    }

    fn take(&self, stream: Stream, peer: Peer) {
        let (router, place) = (self.router.clone(), self.place.take());
        drop(tokio::task::spawn_local(async move {
            router::serve(router, stream, peer.caller).await;
            drop(place);
        }));
    }
}
