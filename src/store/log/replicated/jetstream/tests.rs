//! The log over real servers.

use super::connection::PAUSE;
use super::*;
use crate::clock::monotonic;
use crate::nats::Servers;
use crate::store::contract;
use crate::store::log::replicated::{Bounds, Meaning, Position, ReplicatedLog, Spool};
use crate::store::log::{Place, Segment};
use crate::store::logged::OnCommit;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// Elections of the servers take up to ten seconds, on a machine that has little else to do.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node that owns the stream, until it is dropped or loses it.
struct Owner {
    /// What was there before.
    commits: Vec<(CommitNo, Bytes)>,
    link: JetStreamLink,
    progress: Arc<Progress>,
    thread: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Lost(#[from] Lost),
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Reads the stream and takes it over; again, if its owner was not silent yet or the servers are not ready, until that is done.
fn take_over(config: &StreamConfig, life: u64) -> Owner {
    let ((say, hear), config) = (mpsc::channel(), config.clone());
    let thread = std::thread::spawn(move || {
        block_on(async {
            let begin = async {
                for attempt in 0u64.. {
                    match begin(&config, NodeLife(u128::from(life) << 64 | u128::from(attempt))).await {
                        Ok(begun) => return begun,
                        Err(_) => tokio::time::sleep(PAUSE).await,
                    }
                }
                unreachable!("it goes on until it has begun")
            };
            let (carrier, commits) = tokio::time::timeout(DEADLINE, begin).await.expect("it takes over");
            let (link, progress, carrying) = JetStreamLink::new(carrier);
            say.send((commits, link, progress)).unwrap();
            carrying.await;
        });
    });
    let (commits, link, progress) = hear.recv().expect("it has taken over");
    Owner { commits, link, progress, thread }
}

async fn begin(config: &StreamConfig, life: NodeLife) -> Result<(Carrier, Vec<(CommitNo, Bytes)>), Failed> {
    let connection = Connection::open(config).await?;
    let (mut rules, mut commits) = (Rules::from(Position::default()), Vec::new());
    let end = connection.end().await?;
    let mut reader = Reader::behind(connection.clone(), Seq(0));
    while rules.position().seq < end {
        let (seq, message) = reader.next().await?;
        if let Meaning::Commit(number, payload) = rules.read(seq, &message).map_err(Lost::from)? {
            commits.push((number, payload));
        }
    }
    Ok((Carrier::take_over(connection, rules, life).await?, commits))
}

/// The log of an owner, for which everything up to `home` is at home.
fn opened(
    owner: Owner,
    dir: &Path,
    home: CommitNo,
    on_commit: &mut OnCommit<'_>,
) -> ReplicatedLog<JetStreamLink> {
    let mut spool = Spool::new(dir.to_owned(), 10_000, home);
    for (number, payload) in owner.commits.iter().filter(|(number, _)| *number > home) {
        let (file, at) = spool.push(payload).unwrap();
        let segment: Arc<dyn Segment> = file;
        let (path, payload_at) = (Path::new("the stream"), Some((&segment, at)));
        let place = Place { path, offset: at, number: *number, payload: payload_at };
        on_commit(place, payload).unwrap();
    }
    let mut log = ReplicatedLog::standby(
        spool,
        Bounds { under_way: 100, bytes: u64::MAX },
        Position::default().mark(1),
        Arc::default(),
    );
    log.own(owner.link, owner.progress).unwrap();
    log
}

fn config(servers: &Servers, replicas: usize) -> StreamConfig {
    let (servers, stream) = (servers.urls(), "shard-0".to_owned());
    let subject = stream.clone();
    StreamConfig { servers, credentials: None, tls: None, stream, subject, shards: None, replicas }
}

#[test]
fn it_keeps_the_contract_of_logs() {
    let Some(servers) = Servers::start(1) else { return };
    let (config, dir, mut life) = (config(&servers, 1), tempfile::tempdir().unwrap(), 0);
    let open = |before, home, on_commit: &mut OnCommit<'_>| {
        // What it has not confirmed is still under way.
        drop(before);
        life += 1;
        opened(take_over(&config, life), dir.path(), home, on_commit)
    };
    contract::check_log(open, |log| log.link().unwrap().wait());
}

/// An owner on one server, with three commits.
fn owner_of_three() -> Option<(Servers, StreamConfig, Owner)> {
    let servers = Servers::start(1)?;
    let config = config(&servers, 1);
    let mut owner = take_over(&config, 1);
    assert_eq!(append(&mut owner, 1, 3), 3);
    Some((servers, config, owner))
}

/// Whoever may publish to its subject can do so. It does no harm.
#[test]
fn what_others_write_to_the_stream_counts_for_nobody() {
    let Some((_servers, config, mut owner)) = owner_of_three() else { return };
    block_on(async {
        let client = async_nats::connect(&config.servers).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        for message in ["hello", "", "mu"] {
            jetstream.publish(config.stream.clone(), message.into()).await.unwrap().await.unwrap();
        }
    });
    assert_eq!(append(&mut owner, 4, 3), 6);
    drop(owner);
    check_commits(&take_over(&config, 2).commits, 6);
}

/// An owner that has only such a leader is to end.
#[test]
fn what_a_leader_says_that_is_cut_off_is_no_answer_to_an_append() {
    for said in [
        Told::Appended(1, Outcome::Unknown),
        Told::Appended(1, Outcome::Refused),
        Told::Found(Seq(1), Found::End),
        Told::End(None),
    ] {
        assert!(!said.is_answer(), "{said:?}");
    }
    let record = Told::Found(Seq(1), Found::Record(Bytes::new()));
    for said in [Told::Appended(1, Outcome::Appended(Seq(1))), Told::Appended(1, Outcome::NotTaken), record] {
        assert!(said.is_answer(), "{said:?}");
    }
}

/// It is told soon, though it has nothing to append.
#[test]
fn an_owner_of_a_stream_that_was_emptied_learns_it() {
    let Some((_servers, config, owner)) = owner_of_three() else { return };
    block_on(async {
        let client = async_nats::connect(&config.servers).await.unwrap();
        async_nats::jetstream::new(client).delete_stream(&config.stream).await.unwrap();
        Connection::open(&config).await.unwrap();
    });
    owner.progress.wait(CommitNo(u64::MAX), DEADLINE);
    let lost = owner.progress.check().unwrap_err().to_string();
    assert!(lost.contains("it is not the same one any more"), "{lost}");
}

#[test]
fn a_stream_that_would_lose_what_it_has_confirmed_is_refused() {
    let Some(servers) = Servers::start(1) else { return };
    let config = config(&servers, 1);
    drop(take_over(&config, 1));
    let refused = block_on(Connection::open(&StreamConfig { replicas: 3, ..config.clone() }));
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("has replicas 1, and is to have 3"), "{error}");
    let nowhere = StreamConfig { servers: vec!["nats://127.0.0.1:1".to_owned()], ..config };
    let error = block_on(Connection::open(&nowhere)).unwrap_err().to_string();
    assert!(error.contains("nats://127.0.0.1:1") && error.contains("can be reached"), "{error}");
}

/// Appends commits, with at most two that are not confirmed, until `count` are confirmed or the stream is lost. Returns up to where
/// they are.
fn append(owner: &mut Owner, first: u64, count: u64) -> u64 {
    let wait = |progress: &Progress, number: u64| {
        progress.wait(CommitNo(number), DEADLINE);
        let is_over = progress.check().is_err();
        assert!(is_over || progress.confirmed().0 >= number, "commit {number} has waited for too long");
        !is_over
    };
    for number in first..first + count {
        if !wait(&owner.progress, number.saturating_sub(3)) {
            break;
        }
        owner.link.append(CommitNo(number), payload(number));
    }
    wait(&owner.progress, first + count - 1);
    owner.progress.confirmed().0
}

fn payload(number: u64) -> Bytes {
    // Some of them have parts.
    Bytes::from(number.to_string().repeat(if number.is_multiple_of(50) { 30_000 } else { 20 }))
}

/// That these are the first commits.
fn check_commits(commits: &[(CommitNo, Bytes)], at_least: u64) {
    assert!(commits.len() as u64 >= at_least, "{} of {at_least} confirmed commits are there", commits.len());
    for ((number, found), wanted) in commits.iter().zip(1..) {
        assert!(number.0 == wanted && *found == payload(wanted), "commit {wanted}");
    }
}

fn leader(config: &StreamConfig) -> usize {
    let leader = block_on(async { Connection::open(config).await.unwrap().leader().await.unwrap() });
    (0..3).find(|nth| Servers::name(*nth) == leader).unwrap()
}

/// Commits go on meanwhile.
#[test]
fn the_stream_is_led_where_the_owner_is_connected() {
    let Some(servers) = Servers::start(3) else { return };
    let config = config(&servers, 3);
    let mut owner = take_over(&config, 1);
    let other = (leader(&config) + 1) % 3;
    let mut there = config.clone();
    there.servers.rotate_left(other);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = runtime.block_on(Connection::open(&there)).unwrap();
    let (mut next, begun) = (1, monotonic());
    while leader(&config) != other {
        assert!(monotonic() - begun < DEADLINE, "server {other} does not lead");
        // It must have everything first, and the leader may refuse for a moment.
        if let Some(server) = runtime.block_on(connection.could_lead()).unwrap() {
            assert_eq!(server, Servers::name(other));
            let _ = runtime.block_on(connection.let_lead(&server));
        }
        assert_eq!(append(&mut owner, next, 20), next + 19);
        next += 20;
    }
    assert_eq!(runtime.block_on(connection.could_lead()).unwrap(), None, "it does");
    let refused = runtime.block_on(connection.let_lead("nobody")).unwrap_err().to_string();
    assert!(refused.contains("the stream `shard-0` cannot be used"), "{refused}");
    assert_eq!(append(&mut owner, next, 20), next + 19);
    drop(owner);
    check_commits(&take_over(&config, 2).commits, next + 19);
}

/// Three servers, of which the leader is killed while an owner appends; then another node takes over from one that lives, and in
/// the end all servers are killed at once.
#[test]
fn nothing_confirmed_is_lost_whatever_server_or_owner_goes() {
    let Some(mut servers) = Servers::start(3) else { return };
    let config = config(&servers, 3);
    let mut first = take_over(&config, 1);
    assert!(first.commits.is_empty());
    assert_eq!(append(&mut first, 1, 200), 200);

    // With commits under way, and others behind them.
    let gone = leader(&config);
    (201..=300).for_each(|number| first.link.append(CommitNo(number), payload(number)));
    servers.kill(gone);
    assert_eq!(append(&mut first, 301, 100), 400);
    servers.start_again(gone);

    // The former owner knows nothing of it.
    let mut second = take_over(&config, 2);
    check_commits(&second.commits, 400);
    let next = second.commits.len() as u64 + 1;
    assert_eq!(append(&mut second, next, 100), next + 99);
    assert_eq!(append(&mut first, 401, 10), 400, "its commits count for nobody");
    let lost = first.progress.check().unwrap_err().to_string();
    assert!(lost.contains("another node has taken over"), "{lost}");
    first.thread.join().unwrap();

    (0..3).for_each(|nth| servers.kill(nth));
    (0..3).for_each(|nth| servers.start_again(nth));
    let third = take_over(&config, 3);
    check_commits(&third.commits, next + 99);
}
