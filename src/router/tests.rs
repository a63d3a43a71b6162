//! The router between clients and shards that are daemons inside the test: what is asked, and shards that are away or break. `routes`: what
//! goes where; `workers`: claims, and leases that outlive connections.

mod routes;
mod workers;

use super::*;
use crate::client::{Client, ClientError};
use crate::daemon::Embedded;
use crate::protocol::admin::{
    AdminRequest, DrainView, EditView, EndView, JobView, JobsView, ListQuery, MetricsView, QueueView,
    StatusView,
};
use crate::protocol::{
    Claim, ErrorCode, JobOptions, LeaseRef, Request, Response, Settle, SubmitGroup, Ties, Verdict,
};
use crate::shards::first_id;
use crate::stream::Stream;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

/// Three queues, each in another of the three shards.
const QUEUES: [&str; 3] = ["c0", "c1", "c2"];

fn shards() -> Shards {
    Shards::new(3)
}

#[test]
fn the_queues_of_these_tests_are_in_different_shards() {
    let mut places: Vec<_> = QUEUES.iter().map(|name| shards().of_name(name)).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2]);
}

/// A queue of this shard.
fn queue(shard: usize) -> &'static str {
    QUEUES.iter().find(|name| shards().of_name(name) == shard).unwrap()
}

fn group(queue: &str, ties: Option<Ties>) -> SubmitGroup {
    SubmitGroup {
        options: JobOptions { queue: queue.into(), ties, ..JobOptions::default() },
        bodies: vec!["x".into()],
    }
}

fn lease(shard: usize, nth: u64) -> LeaseRef {
    LeaseRef { id: first_id(shard) + nth, attempt: 1 }
}

/// Shards that are queues inside this process, with ids as they have them.
struct Inside {
    queues: Vec<Embedded>,
    connections: RefCell<Vec<Vec<UnixStream>>>,
    /// Shards that take no connections.
    away: Cell<Option<usize>>,
    _dirs: Vec<TempDir>,
}

impl Ways for Inside {
    fn connect(&self, shard: usize, _: &Caller) -> Option<UnixStream> {
        if self.away.get() == Some(shard) {
            return None;
        }
        let stream = self.queues[shard].connection().ok()?;
        self.connections.borrow_mut()[shard].push(stream.try_clone().ok()?);
        Some(stream)
    }
}

struct Cluster {
    inside: Rc<Inside>,
    router: Rc<Router>,
}

impl Cluster {
    async fn new() -> Cluster {
        let (mut queues, mut dirs) = (Vec::new(), Vec::new());
        for shard in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let open = Embedded::open_from(dir.path(), "", first_id(shard));
            queues.push(open.await.unwrap());
            dirs.push(dir);
        }
        let connections = RefCell::new(vec![Vec::new(), Vec::new(), Vec::new()]);
        let inside = Rc::new(Inside { queues, connections, away: Cell::new(None), _dirs: dirs });
        let limits = RouterLimits {
            frame: 1 << 20,
            body: 1 << 19,
            batch: 1_000,
            resume_within: Duration::from_secs(30),
        };
        Cluster { router: Router::new(shards(), limits, inside.clone()), inside }
    }

    async fn client(&self) -> Client {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let caller = Caller { uid: rustix::process::geteuid().as_raw(), groups: Vec::new() };
        let stream = Stream::try_from(theirs).unwrap();
        drop(tokio::task::spawn_local(serve(self.router.clone(), stream, caller)));
        Client::greet(ours).await.unwrap()
    }

    /// The connections to a shard break.
    fn cut(&self, shard: usize) {
        for stream in self.inside.connections.borrow_mut()[shard].drain(..) {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
}

fn with(test: impl AsyncFnOnce(Cluster)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { test(Cluster::new().await).await });
}

async fn submit(client: &Client, shard: usize) -> u64 {
    client.submit(vec![group(queue(shard), None)]).await.unwrap().first_id()
}

async fn complete(client: &Client, lease: LeaseRef) {
    let settle = Settle { lease, verdict: Verdict::Complete };
    assert_eq!(client.settle(vec![settle]).await.unwrap(), [Ok(())]);
}

fn all_queues(max: u32, wait_ms: u64) -> Claim {
    let queues = QUEUES.map(str::to_owned).to_vec();
    Claim { queues, max, wait_ms, lease_ms: Some(60_000), bound: false }
}

#[test]
fn each_queue_is_in_its_shard_and_all_are_seen_together() {
    with(async |cluster| {
        let client = cluster.client().await;
        let mut ids = Vec::new();
        for shard in [2, 0, 1, 0] {
            ids.push(submit(&client, shard).await);
        }
        assert_eq!(ids, [first_id(2), 1, first_id(1), 2]);
        let status: StatusView = client.ask(AdminRequest::Status {}).await.unwrap();
        let ready: Vec<_> = status.queues.iter().map(|queue| (&*queue.queue, queue.ready)).collect();
        let expected = QUEUES.map(|name| (name, if shards().of_name(name) == 0 { 2 } else { 1 }));
        assert_eq!(ready, expected);
        assert_eq!(status.shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1, 2]);
        let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await.unwrap();
        assert_eq!(queues.iter().map(|queue| &*queue.queue).collect::<Vec<_>>(), QUEUES);
        let metrics: MetricsView =
            client.ask(AdminRequest::Metrics { after: None, shards: vec![1, 2] }).await.unwrap();
        assert_eq!(metrics.queues.iter().map(|queue| queue.submitted).sum::<u64>(), 2);
        for id in ids {
            let job: JobView = client.ask(AdminRequest::Show { id }).await.unwrap();
            assert_eq!((job.id, job.state.as_str()), (id, "ready"));
        }
        let wait = AdminRequest::Wait { ids: vec![first_id(2), 1], timeout_ms: Some(0) };
        let ends: Vec<EndView> = client.ask(wait).await.unwrap();
        assert_eq!(ends.iter().map(|end| end.id).collect::<Vec<_>>(), [first_id(2), 1]);
        let cancel = AdminRequest::Edit {
            edit: "cancel".into(),
            ids: vec![first_id(1), 77, 1],
            state: None,
            queue: None,
            to: None,
            priority: None,
        };
        let edits: Vec<EditView> = client.ask(cancel).await.unwrap();
        assert_eq!(edits.iter().map(|edit| edit.error.is_some()).collect::<Vec<_>>(), [false, true, false]);
        let drained: DrainView = client.ask(AdminRequest::Drain {}).await.unwrap();
        assert!(drained.draining);
        let refused = client.submit(vec![group(queue(1), None)]).await.unwrap_err();
        assert!(matches!(refused, ClientError::Refused(fault) if fault.code == ErrorCode::Draining));
    });
}

#[test]
fn a_list_goes_through_all_shards_page_by_page() {
    with(async |cluster| {
        let client = cluster.client().await;
        for shard in [0, 0, 0, 1, 2, 2] {
            submit(&client, shard).await;
        }
        let expected = [1, 2, 3, first_id(1), first_id(2), first_id(2) + 1];
        for limit in [1, 2, 3, 4, 100] {
            for newest in [false, true] {
                let (mut found, mut from) = (Vec::new(), None);
                loop {
                    let mut query = ListQuery { newest, limit, ..ListQuery::default() };
                    match newest {
                        true => query.before = from,
                        false => query.after = from.unwrap_or(0),
                    }
                    let page: JobsView = client.ask(AdminRequest::List(query)).await.unwrap();
                    found.extend(page.jobs.iter().map(|job| job.id));
                    from = page.next;
                    if from.is_none() {
                        break;
                    }
                }
                if newest {
                    found.reverse();
                }
                assert_eq!(found, expected, "{limit} at a time, newest first: {newest}");
            }
        }
    });
}

#[test]
fn a_shard_that_is_away_holds_up_only_what_concerns_it() {
    with(async |cluster| {
        cluster.inside.away.set(Some(1));
        let client = cluster.client().await;
        let (here, there) = (submit(&client, 0).await, client.clone());
        // It waits, and is taken once the shard is back.
        let late = tokio::task::spawn_local(async move { submit(&there, 1).await });
        let jobs = client.claim(all_queues(1, 60_000)).await.unwrap();
        assert_eq!(jobs[0].lease.id, here);
        complete(&client, jobs[0].lease).await;
        cluster.inside.away.set(None);
        assert_eq!(late.await.unwrap(), first_id(1));
        let jobs = client.claim(all_queues(1, 60_000)).await.unwrap();
        assert_eq!(jobs[0].lease.id, first_id(1));
        // Whoever is connected to a shard that breaks is told so, as by any daemon that ends.
        cluster.cut(1);
        client.closed().await;
        assert_eq!(submit(&cluster.client().await, 1).await, first_id(1) + 1);
    });
}

#[test]
fn changes_of_all_shards_come_until_they_are_not_wanted_any_more() {
    with(async |cluster| {
        let client = cluster.client().await;
        let mut changes = client.changes(None, None).await.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for shard in 0..3 {
            submit(&client, shard).await;
        }
        while seen.len() < 3 {
            let Response::Changes { changes, .. } = changes.recv().await.unwrap().unwrap() else { panic!() };
            seen.extend(changes.iter().map(|change| change.queue.to_string()));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), QUEUES);
        drop(changes);
        // The connection goes on.
        assert_eq!(submit(&client, 2).await, first_id(2) + 1);
    });
}

/// However much is asked of it.
#[test]
fn a_shard_that_is_away_is_not_asked_for_more_than_there_is_room_for() {
    with(async |cluster| {
        cluster.inside.away.set(Some(1));
        let client = cluster.client().await;
        let long = |shard| {
            let options = JobOptions { queue: queue(shard).into(), ..JobOptions::default() };
            vec![SubmitGroup { options, bodies: vec![vec![b'x'; 100_000].into()] }]
        };
        let mut all = JoinSet::new();
        for _ in 0..30 {
            let client = client.clone();
            all.spawn_local(async move { client.submit(long(1)).await });
        }
        let mut refused = 0;
        // Those for which there is no room hear of it at once, and the others wait.
        while let Ok(Some(answer)) = timeout(Duration::from_millis(500), all.join_next()).await {
            assert!(
                matches!(answer.unwrap(), Err(ClientError::Refused(fault)) if fault.code == ErrorCode::Busy)
            );
            refused += 1;
        }
        assert!((10..25).contains(&refused), "{refused}");
        assert_eq!(submit(&client, 0).await, 1);
        cluster.inside.away.set(None);
        while let Some(answer) = all.join_next().await {
            assert!(answer.unwrap().is_ok());
        }
    });
}

#[test]
fn what_is_wrong_with_one_part_is_said_before_the_others_have_come() {
    with(async |cluster| {
        let client = cluster.client().await;
        let id = submit(&client, 0).await;
        let wait = AdminRequest::Wait { ids: vec![id, first_id(2) + 7], timeout_ms: None };
        let refused =
            timeout(Duration::from_secs(10), client.ask::<Vec<EndView>>(wait)).await.expect("at once");
        assert!(matches!(refused, Err(ClientError::Refused(fault)) if fault.code == ErrorCode::NotFound));
        // Nobody waits for the other one any more, and the connection goes on.
        assert_eq!(submit(&client, 0).await, id + 1);
        cluster.inside.away.set(Some(1));
        let other = cluster.client().await;
        let status: StatusView = other.ask(AdminRequest::Status {}).await.unwrap();
        let known: Vec<_> = status.shards.iter().map(|shard| shard.error.is_none()).collect();
        assert_eq!(known, [true, false, true]);
    });
}
