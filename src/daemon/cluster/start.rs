//! The start of a node: it connects, finds out from where on it needs the stream, and recovers what its directory and the stream have.

use super::super::configured::store_options;
use super::super::{Process, ServeError, tick};
use super::copy;
use super::passing::Passing;
use super::{ClusterError, Standby, failed};
use crate::clock::monotonic;
use crate::cluster::{Begin, Followed, Node};
use crate::config::{self, Config};
use crate::signals::Signal;
use crate::store::{
    CommitNo, NodeDirectory, NodeLife, OpenError, Position, ReadError, Report, Seq, StreamCommit,
    StreamError, StreamMark, StreamState,
};
use crate::telemetry::events;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::runtime::Runtime;

/// Connects, and recovers what there is. `None` if it is told to stop meanwhile.
pub(super) fn open(
    runtime: &Runtime,
    process: &mut Process,
    mut directory: NodeDirectory,
    node: &mut Node,
) -> Result<Option<Standby>, ServeError> {
    let begun = monotonic();
    let Some(there) = runtime.block_on(connected(process, node))? else { return Ok(None) };
    let (config, options) = (process.config.clone(), store_options(&process.config));
    let data = &config.daemon.data;
    let mark = match beginning(&config, &mut directory, &there)? {
        Beginning::At(mark) => mark,
        Beginning::Copied(why) => {
            events::copies_from_owner(&why);
            let passing = Passing::new(node.calls.clone(), 1);
            let copied = runtime.block_on(unless_stopped(process, copy::copy(data, &options, &passing)));
            if copied.transpose()?.is_none() {
                return Ok(None);
            }
            directory = copy::take(directory, data, &options)?;
            directory
                .mark()
                .ok_or_else(|| ClusterError::NotCopied("its backup is of no cluster".to_owned()))?
        }
    };
    let home = Arc::new(AtomicU64::new(mark.seq));
    let founder = directory.founder().filter(|_| mark.seq == 0 && mark.number > CommitNo(0));
    node.begin(Begin { position: Position::of(mark), founder, home: home.clone() });
    let mut failed = None;
    let mut next = || match runtime.block_on(next_commit(process, node)) {
        Ok(next) => Ok(next),
        Err(why) => {
            failed = Some(why);
            // What is said is `why`.
            Err(OpenError::Stream("it was given up".to_owned()))
        }
    };
    let recovered = directory.recover(&options, (mark, home), &mut next);
    match (recovered, failed) {
        (_, Some(Interrupted::Stopped)) => Ok(None),
        (_, Some(Interrupted::Failed(error))) => Err(error),
        (Err(error), None) => Err(error.into()),
        (Ok((store, recovered)), None) => {
            let Report { jobs, commits, .. } = recovered.report;
            events::recovered(&process.config.daemon.data, jobs, commits, monotonic() - begun);
            Ok(Some(Standby { store, recovered }))
        }
    }
}

/// What ends a start.
enum Interrupted {
    Stopped,
    Failed(ServeError),
}

/// The stream, as a node finds it.
struct There {
    created: u64,
    state: StreamState,
    founder: Option<(NodeLife, CommitNo)>,
}

/// Waits for the servers.
async fn connected(process: &mut Process, node: &mut Node) -> Result<Option<There>, ServeError> {
    let followed = unless_stopped(process, node.followed.recv()).await;
    match followed {
        None => Ok(None),
        Some(Some(Followed::Connected { created, state, founder })) => {
            Ok(Some(There { created, state, founder }))
        }
        Some(Some(Followed::Failed(error))) => Err(failed(error)),
        Some(_) => Err(ClusterError::Ended.into()),
    }
}

/// What comes of something, or nothing if the daemon is told to stop meanwhile.
async fn unless_stopped<T>(process: &mut Process, work: impl Future<Output = T>) -> Option<T> {
    let mut watchdog = process.notifier.watchdog_interval().map(tokio::time::interval);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            Some(signal) = process.signals.recv() => if signal == Signal::Drain { return None },
            () = tick(&mut watchdog) => process.notifier.alive(),
        }
    }
}

/// From where on a node reads.
enum Beginning {
    At(StreamMark),
    /// It has to copy everything first: why.
    Copied(String),
}

fn beginning(config: &Config, directory: &mut NodeDirectory, there: &There) -> Result<Beginning, ServeError> {
    let There { created, state, founder } = there;
    let (home, stream) = (directory.home(), stream_name(config));
    let (first, last) = (state.first.0, state.last.0);
    let missing = |next: u64| {
        Ok(Beginning::Copied(format!(
            "record {next} of the stream is the next one needed, and it begins with {first} by now"
        )))
    };
    let has_jobs = || {
        Err(ClusterError::HasJobs { dir: config.daemon.data.clone(), home: home.0, stream: stream.clone() })
    };
    let Some(mark) = directory.mark() else {
        return match founder {
            _ if home > CommitNo(0) && last > 0 => Ok(has_jobs()?),
            _ if first > 1 => missing(1),
            Some((_, before)) if *before > home => began_with(*before),
            _ => Ok(Beginning::At(directory.join(*created)?)),
        };
    };
    if mark.created != *created {
        return Err(failed(StreamError::MadeAnew { stream }));
    }
    if mark.seq > last {
        return Err(failed(ReadError::Short { last: state.last, read: Seq(mark.seq) }));
    }
    match founder {
        _ if mark.seq + 1 < first => missing(mark.seq + 1),
        // It was about to begin the stream, or to follow whoever does, when it ended.
        Some((life, before)) if mark.seq == 0 => match (mark.number, directory.founder()) {
            (CommitNo(0), _) if *before > CommitNo(0) => began_with(*before),
            (CommitNo(0), _) => Ok(Beginning::At(mark)),
            (_, own) if own == Some(*life) => Ok(Beginning::At(mark)),
            _ => Ok(has_jobs()?),
        },
        _ => Ok(Beginning::At(mark)),
    }
}

fn began_with(commits: CommitNo) -> Result<Beginning, ServeError> {
    Ok(Beginning::Copied(format!("the cluster began with {} commits", commits.0)))
}

fn stream_name(config: &Config) -> String {
    config.cluster.as_ref().map_or_else(String::new, config::Cluster::stream_name)
}

/// The next commit, while those are read that were there at the start.
async fn next_commit(process: &mut Process, node: &mut Node) -> Result<Option<StreamCommit>, Interrupted> {
    let mut watchdog = process.notifier.watchdog_interval().map(tokio::time::interval);
    process.notifier.alive();
    loop {
        tokio::select! {
            biased;
            () = tick(&mut watchdog) => process.notifier.alive(),
            Some(signal) = process.signals.recv() => if signal == Signal::Drain { return Err(Interrupted::Stopped) },
            followed = node.followed.recv() => return match followed {
                Some(Followed::Commit(commit)) => Ok(Some(commit)),
                Some(Followed::UpToDate) => Ok(None),
                Some(Followed::Failed(error)) => Err(Interrupted::Failed(failed(error))),
                _ => Err(Interrupted::Failed(ClusterError::Ended.into())),
            },
        }
    }
}
