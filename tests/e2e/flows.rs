//! Jobs that wait for others, groups, and graphs from a document: in the order that was asked for, whatever dies.

use crate::helper::{Home, block_on, until};
use musher::client::{Client, ClientError};
use musher::protocol::admin::{AdminRequest, EditView, GroupView, JobsView, ListQuery};
use musher::protocol::{
    After, AfterWhat, Claim, Condition, ErrorCode, JobOptions, LeaseRef, OnUnmet, Settle, SubmitGroup, Ties,
    Verdict,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::rc::Rc;

const FANS: u32 = 12;
const WIDTH: u32 = 8;
const WORKERS: usize = 5;
const KILLS: usize = 6;

fn job(queue: &str, body: &str, ties: Ties) -> SubmitGroup {
    let options = JobOptions { queue: queue.into(), ties: Some(ties), ..JobOptions::default() };
    SubmitGroup { options, bodies: vec![body.to_owned().into()] }
}

fn after(on: AfterWhat) -> After {
    After { on, when: Condition::Done }
}

fn waits(on: impl IntoIterator<Item = AfterWhat>) -> Ties {
    Ties { after: on.into_iter().map(after).collect(), ..Ties::default() }
}

/// What was seen by all workers: the jobs that somebody was about to complete, and what each waits for.
#[derive(Default)]
struct Seen {
    needs: BTreeMap<u64, Vec<u64>>,
    completed: BTreeSet<u64>,
    settled: BTreeSet<u64>,
}

async fn work(socket: PathBuf, seen: Rc<RefCell<Seen>>) {
    let claim = || Claim { queues: vec!["q".into()], max: 3, wait_ms: 20, bound: true, ..Claim::default() };
    let mut client = None;
    loop {
        let Some(connected) = &client else {
            client = Client::connect(&socket).await.ok();
            tokio::task::yield_now().await;
            continue;
        };
        let Ok(jobs) = Client::claim(connected, claim()).await else {
            client = None;
            continue;
        };
        for job in jobs {
            {
                let mut seen = seen.borrow_mut();
                let needs = seen.needs.get(&job.lease.id).cloned().unwrap_or_default();
                let early: Vec<_> = needs.iter().filter(|id| !seen.completed.contains(id)).collect();
                assert!(early.is_empty(), "job {} runs before {early:?}", job.lease.id);
                seen.completed.insert(job.lease.id);
            }
            let done = vec![Settle { lease: job.lease, verdict: Verdict::Complete }];
            match client.as_ref().unwrap().settle(done).await {
                Ok(results) if results[0].is_ok() => drop(seen.borrow_mut().settled.insert(job.lease.id)),
                Ok(_) => {}
                Err(_) => {
                    client = None;
                    break;
                }
            }
        }
    }
}

/// Fans: one job, eight that wait for it, one that waits for those; the last of all waits for the group of these.
async fn submit_fans(client: &Client) -> (BTreeMap<u64, Vec<u64>>, u64) {
    let (mut needs, mut ends) = (BTreeMap::new(), Vec::new());
    for _ in 0..FANS {
        let mut groups = vec![job("q", "first", Ties::default())];
        groups.extend((0..WIDTH).map(|_| job("q", "middle", waits([AfterWhat::Place(0)]))));
        let last = Ties { group: Some("ends".into()), ..waits((1..=WIDTH).map(AfterWhat::Place)) };
        groups.push(job("q", "last", last));
        let ids: Vec<u64> = client.submit(groups).await.unwrap().iter().map(|receipt| receipt.id).collect();
        let (first, last) = (ids[0], *ids.last().unwrap());
        for middle in &ids[1..ids.len() - 1] {
            needs.insert(*middle, vec![first]);
        }
        needs.insert(last, ids[1..ids.len() - 1].to_vec());
        ends.push(last);
    }
    let end = client.submit(vec![job("q", "end", waits([AfterWhat::Group("ends".into())]))]).await.unwrap();
    let end = end.iter().next().unwrap().id;
    needs.insert(end, ends);
    client.done(AdminRequest::GroupSeal { name: "ends".into() }).await.unwrap();
    (needs, end)
}

#[test]
fn jobs_run_after_those_that_they_wait_for_whatever_dies() {
    let local = tokio::task::LocalSet::new();
    block_on(local.run_until(async {
        let home = Home::new("[queues.q]\nkeep = { done = \"forever\" }\ncrashes = 1000\n");
        let mut daemon = home.serve().await;
        let (needs, end) = submit_fans(&daemon.client).await;
        let all = u64::from(FANS * (WIDTH + 2)) + 1;
        let seen = Rc::new(RefCell::new(Seen { needs, ..Seen::default() }));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn_local(work(daemon.socket().clone(), seen.clone()));
        }
        for kill in 1..=KILLS {
            let enough = all as usize * kill / (KILLS + 2);
            until("so many are done", async || (seen.borrow().settled.len() >= enough).then_some(())).await;
            daemon.kill().await;
            daemon = home.serve().await;
        }
        daemon.until_state(end, "done").await;
        workers.abort_all();
        let queue = daemon.queue("q").await;
        assert_eq!((queue.done, queue.waiting, queue.ready, queue.totals.completed), (all, 0, 0, all));
        let group = group(&daemon.client, "ends").await.unwrap();
        assert_eq!((group.counts.total, group.counts.done, group.counts.live), (FANS.into(), FANS.into(), 0));
        assert!(group.ended_at.is_some());
        daemon.stop().await;
    }));
}

async fn group(client: &Client, name: &str) -> Result<GroupView, ClientError> {
    client.ask(AdminRequest::GroupShow { name: name.into() }).await
}

/// Each has a key of its own, so no two are alike: they are told a part at a time, across a death in between.
#[test]
fn many_that_wait_for_many_all_go_on() {
    const MANY: usize = 4_000;
    block_on(async {
        let home = Home::new("");
        let mut daemon = home.serve().await;
        let keyed = |nth: usize, ties| {
            let mut group = job("q", "x", ties);
            group.options.key = Some(nth.to_string());
            group
        };
        let members = Ties { group: Some("many".into()), ..Ties::default() };
        let members = vec![SubmitGroup { bodies: vec!["x".into(); MANY], ..job("members", "x", members) }];
        daemon.client.submit(members).await.unwrap();
        let waiting = (0..MANY).map(|nth| keyed(nth, waits([AfterWhat::Group("many".into())])));
        daemon.client.submit(waiting.collect()).await.unwrap();
        let claim = Claim { queues: vec!["members".into()], max: MANY as u32, ..Claim::default() };
        let leases: Vec<LeaseRef> =
            daemon.client.claim(claim).await.unwrap().into_iter().map(|job| job.lease).collect();
        assert_eq!(leases.len(), MANY);
        let settles = leases.iter().map(|lease| Settle { lease: *lease, verdict: Verdict::Complete });
        assert!(daemon.client.settle(settles.collect()).await.unwrap().iter().all(Result::is_ok));
        assert_eq!(daemon.queue("q").await.waiting, MANY as u64, "it may have more jobs yet");
        daemon.client.done(AdminRequest::GroupSeal { name: "many".into() }).await.unwrap();
        daemon.kill().await;
        daemon = home.serve().await;
        until("all go on", async || {
            let queue = daemon.queue("q").await;
            (queue.waiting == 0 && queue.ready == MANY as u64).then_some(())
        })
        .await;
        daemon.stop().await;
    });
}

#[test]
fn what_fails_takes_those_with_it_that_wait_unless_they_say_otherwise() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let first = daemon.submit("first", &["x"]).await;
        let with = |when, on_unmet| {
            let after = vec![After { on: AfterWhat::Job(first), when }];
            job("q", "x", Ties { after, on_unmet, ..Ties::default() })
        };
        let groups = vec![
            with(Condition::Done, OnUnmet::Cancel),
            with(Condition::Done, OnUnmet::Run),
            with(Condition::Done, OnUnmet::Hold),
            with(Condition::Failed, OnUnmet::Cancel),
        ];
        let ids: Vec<u64> = daemon.client.submit(groups).await.unwrap().iter().map(|job| job.id).collect();
        let lease = daemon.claim("first", false, 0).await.unwrap().lease;
        let fail = Verdict::FailDead { error: "no".into(), exit: None };
        assert!(daemon.settle(lease, fail).await);
        daemon.until_state(ids[1], "ready").await;
        assert_eq!(daemon.state(ids[2]).await, "waiting");
        assert_eq!(daemon.state(ids[3]).await, "ready");
        let job = daemon.show(ids[2]).await.unwrap();
        assert!(job.waits_for[0].held && job.waits_for[0].job == Some(first), "{job:?}");
        let retry = AdminRequest::Edit {
            edit: "retry".into(),
            ids: vec![first],
            state: None,
            queue: None,
            to: None,
            priority: None,
        };
        let _: Vec<EditView> = daemon.client.ask(retry).await.unwrap();
        let lease = daemon.claim("first", false, 0).await.unwrap().lease;
        assert!(daemon.settle(lease, Verdict::Complete).await);
        daemon.until_state(ids[2], "ready").await;
        daemon.stop().await;
    });
}

fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_document_is_a_graph_that_can_be_looked_at() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let path = home.path("release.json");
        let file = path.to_str().unwrap();
        let document = r#"{"group": "release", "jobs": [
            {"name": "deploy", "queue": "d", "body": "eu", "after": ["build", "test"]},
            {"name": "build", "queue": "b", "body": "42"},
            {"name": "test", "queue": "t", "body": "all", "after": "build"},
            {"name": "alarm", "queue": "m", "body": "broken", "after": "test:failed"}]}"#;
        fs::write(&path, document).unwrap();
        let (code, out, _) = text(&home.musher(&["flow", "submit", file, "--idempotency-key", "r1"]));
        assert_eq!((code, &*out), (0, "1 build\n2 test\n3 deploy\n4 alarm\n"));
        let again = text(&home.musher(&["flow", "submit", file, "--idempotency-key", "r1"]));
        assert_eq!(again.1, out, "nothing is submitted twice");
        let (code, tree, _) = text(&home.musher(&["flow", "show", "release"]));
        let expected = "group release: sealed, 4 jobs, 4 left\n1 build ready\n└─ 2 test waiting\n   \
                        ├─ 3 deploy waiting (after build as well)\n   └─ 4 alarm waiting\n";
        assert_eq!((code, &*tree), (0, expected));
        let (_, dot, _) = text(&home.musher(&["flow", "show", "release", "--dot"]));
        assert!(dot.contains("j1 -> j2;") && dot.contains("j2 -> j3;") && dot.ends_with("}\n"), "{dot}");
        let (_, why, _) = text(&home.musher(&["explain", "3"]));
        assert!(why.contains("it waits for job 1 to be done, which is ready"), "{why}");
        let (code, _, error) = text(&home.musher(&["submit", "q", "late", "--group", "release"]));
        assert!(code == 1 && error.contains("group `release` is sealed"), "{error}");
        let (code, ..) = text(&home.musher(&["group", "cancel", "release", "--yes"]));
        assert_eq!(code, 0);
        let (_, shown, _) = text(&home.musher(&["group", "show", "release", "--json"]));
        let group: GroupView = serde_json::from_str(&shown).unwrap();
        assert_eq!((group.counts.live, group.counts.cancelled, group.ended_at.is_some()), (0, 4, true));
        assert_eq!(text(&home.musher(&["group", "delete", "release"])).0, 0);
        let (code, _, error) = text(&home.musher(&["flow", "show", "release"]));
        assert!(code == 1 && error.contains("no such group: `release`"), "{error}");
        fs::write(&path, r#"{"jobs": [{"name": "a", "queue": "q", "body": "", "after": "b"}]}"#).unwrap();
        let (code, _, error) = text(&home.musher(&["flow", "submit", file]));
        assert!(code == 2 && error.contains("job `a`: after: `b` is neither"), "{error}");
        let query = ListQuery { queue: Some("q".into()), limit: 9, ..ListQuery::default() };
        let page: JobsView = daemon.client.ask(AdminRequest::List(query)).await.unwrap();
        assert!(page.jobs.is_empty());
        daemon.stop().await;
    });
}

#[test]
fn what_cannot_be_waited_for_is_refused_and_nothing_is_submitted() {
    block_on(async {
        let home = Home::new("");
        home.configure("groups = 1\n");
        let daemon = home.serve().await;
        let refused = async |ties| match daemon.client.submit(vec![job("q", "x", ties)]).await {
            Err(ClientError::Refused(fault)) => fault.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(waits([AfterWhat::Job(7)])).await, ErrorCode::NotFound);
        assert_eq!(refused(waits([AfterWhat::Place(0)])).await, ErrorCode::Invalid);
        assert_eq!(refused(waits((0..65).map(AfterWhat::Job))).await, ErrorCode::Invalid);
        assert_eq!(refused(waits([AfterWhat::Group("two words".into())])).await, ErrorCode::Invalid);
        assert_eq!(refused(Ties { seal: true, ..Ties::default() }).await, ErrorCode::Invalid);
        let member = |name: &str| Ties { group: Some(name.into()), ..Ties::default() };
        let own = Ties { group: Some("g".into()), ..waits([AfterWhat::Group("g".into())]) };
        assert_eq!(refused(own).await, ErrorCode::Invalid);
        daemon.client.submit(vec![job("q", "x", member("g"))]).await.unwrap();
        assert_eq!(refused(member("h")).await, ErrorCode::Busy);
        assert_eq!(daemon.queue("q").await.totals.submitted, 1);
        daemon.stop().await;
    });
}

/// What they wait for has another id there.
#[test]
fn an_import_does_not_let_jobs_run_that_wait() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["x"]).await.to_string();
        assert_eq!(text(&home.musher(&["submit", "q", "y", "--after", &id])).0, 0);
        let lines = home.musher(&["export"]).stdout;
        let path = home.path("jobs.jsonl");
        fs::write(&path, lines).unwrap();
        let import = |more: &[&str]| {
            let mut command = home.command();
            command.arg("import").args(more).stdin(fs::File::open(&path).unwrap());
            text(&command.output().unwrap())
        };
        let (code, _, error) = import(&[]);
        assert!(code == 2 && error.contains("line 2: a job that waits for others"), "{error}");
        let (code, _, error) = import(&["--run-waiting"]);
        assert!(code == 0 && error.contains("2 jobs submitted"), "{error}");
        daemon.stop().await;
    });
}

#[test]
fn a_topic_is_one_job_in_each_queue_that_is_bound_to_it() {
    block_on(async {
        let topics = "[topics]\n'order.*' = ['audit', 'mails']\n'order.created' = ['mails', 'invoices']\n";
        let home = Home::new(topics);
        let daemon = home.serve().await;
        let to = |topic: &str, bodies: &[&str], ties: Option<Ties>| {
            let tags = vec![("from".into(), "shop".into())];
            let queue = topic.into();
            let options = JobOptions { queue, to_topic: true, tags, ties, ..JobOptions::default() };
            SubmitGroup { options, bodies: bodies.iter().map(|body| body.to_string().into()).collect() }
        };
        // Beside jobs of a queue, and in their order.
        let groups = vec![job("q", "first", Ties::default()), to("order.created", &["a", "b"], None)];
        let receipts = daemon.client.submit(groups).await.unwrap();
        assert_eq!(receipts.new_jobs(), 1 + 3 * 2);
        for (id, queue) in [(1, "q"), (2, "audit"), (3, "audit"), (4, "mails"), (6, "invoices")] {
            let job = daemon.show(id).await.unwrap();
            assert_eq!((&*job.queue, job.tags.len()), (queue, usize::from(id > 1)), "job {id}");
        }
        let bodies = async |queue| {
            let claim = Claim { queues: vec![queue], max: 9, ..Claim::default() };
            let jobs = daemon.client.claim(claim).await.unwrap();
            jobs.iter().map(|job| String::from_utf8(job.body.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        for queue in ["audit", "mails", "invoices"] {
            assert_eq!(bodies(queue.to_owned()).await, ["a", "b"], "{queue}");
        }
        let refused = async |groups| match daemon.client.submit(groups).await {
            Err(ClientError::Refused(fault)) => fault.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(vec![to("nothing", &["a"], None)]).await, ErrorCode::NotFound);
        let by_place = waits([AfterWhat::Place(0)]);
        let groups = vec![job("q", "x", Ties::default()), to("order.paid", &["a"], Some(by_place))];
        assert_eq!(refused(groups).await, ErrorCode::Invalid);
        // In one commit with idempotency, and in one group.
        let member = Ties { group: Some("all".into()), seal: true, ..Ties::default() };
        let once = async || {
            let groups = vec![to("order.paid", &["a"], Some(member.clone()))];
            daemon.client.submit_once("k", groups).await.unwrap()
        };
        assert_eq!(once().await, once().await);
        assert_eq!(group(&daemon.client, "all").await.unwrap().counts.total, 2);
        home.configure("[topics]\n'order.*' = ['audit']\n");
        daemon.reload(&home).await;
        assert_eq!(daemon.client.submit(vec![to("order.paid", &["a"], None)]).await.unwrap().len(), 1);
        daemon.stop().await;
    });
}

#[test]
fn the_first_error_of_several_that_are_waited_for_cancels_the_others() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["a", "b", "c"]).await;
        let leases = [daemon.claim("q", false, 0).await.unwrap(), daemon.claim("q", false, 0).await.unwrap()];
        assert!(daemon.settle(leases[0].lease, Verdict::Complete).await);
        let fail = Verdict::FailDead { error: "no".into(), exit: None };
        assert!(daemon.settle(leases[1].lease, fail).await);
        let (code, _, error) = text(&home.musher(&["wait", "1", "2", "3", "--first-error"]));
        assert!(code == 1 && error.contains("job 2 is dead: no"), "{error}");
        assert!(error.contains("1 other job was cancelled"), "{error}");
        assert!(["cancelled", "gone"].contains(&&*daemon.state(3).await));
        daemon.stop().await;
    });
}
