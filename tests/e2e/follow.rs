//! A job is completed and others are submitted in one commit: chains whose steps are there once, whatever dies.

use crate::helper::{Home, block_on, until};
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, JobsView, ListQuery};
use musher::protocol::{Claim, JobOptions, LeaseRef, SubmitGroup, Verdict};
use std::cell::Cell;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::rc::Rc;

const CHAINS: u64 = 30;
const STEPS: u64 = 12;
const WORKERS: usize = 5;
const KILLS: u64 = 6;

fn job(queue: &str, body: String) -> SubmitGroup {
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    SubmitGroup { options, bodies: vec![body.into()] }
}

/// Does one step after the other, of whatever chain; the last one of a chain is followed by its end.
async fn work(socket: PathBuf, steps: Rc<Cell<u64>>) {
    let purpose =
        || Claim { queues: vec!["steps".into()], max: 2, wait_ms: 20, bound: true, ..Claim::default() };
    let mut client = None;
    while steps.get() < CHAINS * STEPS {
        let Some(connected) = &client else {
            client = Client::connect(&socket).await.ok();
            tokio::task::yield_now().await;
            continue;
        };
        let Ok(jobs) = Client::claim(connected, purpose()).await else {
            client = None;
            continue;
        };
        for step in jobs {
            let body = String::from_utf8(step.body.to_vec()).unwrap();
            let (chain, nth) = body.split_once(' ').unwrap();
            let next = match nth.parse::<u64>().unwrap() + 1 {
                STEPS => job("ends", chain.into()),
                nth => job("steps", format!("{chain} {nth}")),
            };
            let done = client.as_ref().unwrap().complete_and_submit(step.lease, vec![next], None).await;
            match done {
                Ok(_) => steps.set(steps.get() + 1),
                Err(error) if error.is_disconnect() => {
                    // It may be done: whoever finds the next step, or this one again, goes on.
                    client = None;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn list(client: &Client, queue: &str) -> JobsView {
    let query = ListQuery { queue: Some(queue.into()), limit: 1_000, ..ListQuery::default() };
    client.ask(AdminRequest::List(query)).await.unwrap()
}

#[test]
fn each_step_of_a_chain_is_there_once_whatever_dies() {
    let local = tokio::task::LocalSet::new();
    block_on(local.run_until(async {
        let home = Home::new("[queues.steps]\nkeep = { done = \"forever\", done_max = 1_000 }\n");
        let mut daemon = home.serve().await;
        let first = (0..CHAINS).map(|chain| job("steps", format!("{chain} 0"))).collect();
        daemon.client.submit(first).await.unwrap();
        let steps: Rc<Cell<u64>> = Rc::default();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn_local(work(daemon.socket().clone(), steps.clone()));
        }
        for kill in 1..=KILLS {
            let enough = CHAINS * STEPS * kill / (KILLS + 2);
            until("so many steps are done", async || (steps.get() >= enough).then_some(())).await;
            daemon.kill().await;
            daemon = home.serve().await;
        }
        until("all chains have ended", async || {
            (list(&daemon.client, "ends").await.jobs.len() as u64 >= CHAINS).then_some(())
        })
        .await;
        workers.abort_all();
        let done = list(&daemon.client, "steps").await.jobs;
        assert!(done.iter().all(|job| job.state == "done"), "none is left over");
        let mut bodies = Vec::new();
        for id in done.iter().chain(&list(&daemon.client, "ends").await.jobs).map(|job| job.id) {
            bodies.push(String::from_utf8(daemon.client.body(id).await.unwrap().to_vec()).unwrap());
        }
        let mut wanted: Vec<String> = (0..CHAINS).map(|chain| chain.to_string()).collect();
        wanted.extend((0..CHAINS).flat_map(|chain| (0..STEPS).map(move |nth| format!("{chain} {nth}"))));
        bodies.sort();
        wanted.sort();
        assert_eq!(bodies, wanted, "each step once");
        daemon.stop().await;
    }));
}

/// Runs `musher complete LEASE`, with lines for its input.
fn complete(home: &Home, lease: LeaseRef, args: &[&str], input: &str) -> Output {
    let mut command = home.command();
    command.arg("complete").arg(format!("{}@{}", lease.id, lease.attempt)).args(args);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn by_hand_what_follows_is_there_or_the_job_is_as_it_was() {
    block_on(async {
        let home = Home::new("backlog = 2\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["first"]).await;
        let lease = daemon.claim("q", false, 0).await.unwrap().lease;
        daemon.submit("full", &["one", "two"]).await;

        let full = said(&complete(&home, lease, &["--then", "q", "a", "--then", "full", "b"], ""));
        assert_eq!((full.0, &*full.1), (Some(75), ""));
        assert!(full.2.contains("queue `full` is full"), "{}", full.2);
        let jsonl = ["--then-jsonl"];
        let wrong =
            said(&complete(&home, lease, &jsonl, "{\"queue\":\"q\",\"body\":\"a\"}\n{\"body\":\"b\"}\n"));
        assert_eq!(wrong.0, Some(2));
        assert!(wrong.2.contains("line 2: queue: it is missing; nothing was done"), "{}", wrong.2);
        let none = said(&complete(&home, lease, &jsonl, "\n"));
        assert_eq!(none.0, Some(2), "{}", none.2);
        assert_eq!(daemon.state(lease.id).await, "leased", "it is as it was");
        assert_eq!(daemon.queue("q").await.ready, 0);

        let once = ["--then", "q", "a", "--then", "next", "b", "--idempotency-key", "k"];
        assert_eq!(said(&complete(&home, lease, &once, "")), (Some(0), "4\n5\n".into(), String::new()));
        assert_eq!(said(&complete(&home, lease, &once, "")).1, "4\n5\n", "the same answer");
        let lost = said(&complete(&home, lease, &["--then", "q", "a"], ""));
        assert_eq!((lost.0, &*lost.1), (Some(1), ""));
        assert!(lost.2.contains("nothing was submitted"), "{}", lost.2);

        let lease = daemon.claim("q", false, 0).await.unwrap().lease;
        let line = "{\"queue\":\"later\",\"body\":\"c\",\"delay\":\"1h\",\"unique\":\"u\"}\n";
        let json = said(&complete(&home, lease, &["--then-jsonl", "--json"], line));
        assert_eq!(json.1, "{\"jobs\":[{\"id\":6,\"new\":true}],\"lease\":\"4@1\",\"ok\":true}\n");
        assert_eq!(daemon.state(6).await, "scheduled");

        let twice = said(&complete(&home, lease, &["--then", "q", "-", "--then", "q", "-"], "x"));
        assert_eq!(twice.0, Some(2), "{}", twice.2);
        let usage = said(&complete(&home, lease, &["9@1", "--then", "q", "a"], ""));
        assert_eq!(usage.0, Some(2), "{}", usage.2);
        let usage = said(&complete(&home, lease, &["--idempotency-key", "k"], ""));
        assert_eq!(usage.0, Some(2), "{}", usage.2);
        daemon.stop().await;
    });
}

/// A worker that ends its job while the daemon drains need not do it twice.
#[test]
fn a_drain_takes_what_follows() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["first"]).await;
        let lease = daemon.claim("q", false, 0).await.unwrap().lease;
        assert!(home.musher(&["drain"]).status.success());
        let refused = home.musher(&["submit", "q", "other"]);
        assert_eq!(refused.status.code(), Some(75));
        assert_eq!(said(&complete(&home, lease, &["--then", "q", "-"], "next")).1, "2\n");
        assert!(home.musher(&["undrain"]).status.success());
        let next = daemon.claim("q", false, 0).await.unwrap();
        assert_eq!((next.lease.id, &*next.body), (2, &b"next"[..]));
        daemon.stop().await;
    });
}

/// While it waits for room its lease may end: then nothing of it is done.
#[test]
fn what_waits_for_room_is_refused_if_its_lease_has_ended() {
    let local = tokio::task::LocalSet::new();
    block_on(local.run_until(async {
        let home = Home::new("[queues.next]\nbacklog = 1\nfull = \"wait 60s\"\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["a", "b"]).await;
        let over = daemon.claim("q", false, 0).await.unwrap().lease;
        let held = daemon.claim("q", false, 0).await.unwrap().lease;
        daemon.submit("next", &["full"]).await;
        let waits = |lease: LeaseRef| {
            let client = daemon.client.clone();
            let next = job("next", format!("of {}", lease.id));
            tokio::task::spawn_local(async move { client.complete_and_submit(lease, vec![next], None).await })
        };
        let (refused, done) = (waits(over), waits(held));
        until("both wait", async || (daemon.status().await.waiting_submits == 2).then_some(())).await;
        assert_eq!(daemon.state(over.id).await, "leased", "not before there is room");
        assert!(daemon.settle(over, Verdict::Release { delay_ms: 3_600_000 }).await);
        assert!(home.musher(&["delete", "3"]).status.success());
        let refused = refused.await.unwrap().unwrap_err().to_string();
        assert!(refused.contains("lease lost") && refused.contains("nothing was submitted"), "{refused}");
        assert_eq!(done.await.unwrap().unwrap().first_id(), 4);
        assert_eq!(
            (daemon.state(over.id).await, daemon.state(held.id).await),
            ("scheduled".into(), "gone".into())
        );
        daemon.stop().await;
    }));
}
