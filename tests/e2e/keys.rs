//! Jobs with keys: one at a time and in order for each key, whatever dies; and what is shown of them.

use crate::helper::{Daemon, Home, block_on, until};
use musher::client::Client;
use musher::protocol::{Claim, JobOptions, Settle, SubmitGroup, Verdict};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

const KEYS: u32 = 10_000;
const EACH: u32 = 4;
const WORKERS: usize = 64;
/// The most jobs that a worker has at a time.
const AT_ONCE: u32 = 20;
const KILLS: u32 = 6;
/// How many jobs one submit has.
const SUBMITTED: u32 = 1_000;

/// What workers have seen.
#[derive(Default)]
struct Seen {
    running: HashSet<u32>,
    /// The numbers of which one is next, by key: more than one where an answer was lost.
    next: HashMap<u32, (u32, u32)>,
}

impl Seen {
    fn begins(&mut self, key: u32, nth: u32) {
        assert!(self.running.insert(key), "key {key} runs twice");
        let next = self.next.entry(key).or_default();
        assert!((next.0..=next.1).contains(&nth), "{nth} of key {key} runs, and {next:?} is next");
        *next = (nth, nth);
    }

    /// It was completed; `known`: and the answer came.
    fn ends(&mut self, key: u32, nth: u32, known: bool) {
        self.next.insert(key, if known { (nth + 1, nth + 1) } else { (nth, nth + 1) });
        if known {
            self.running.remove(&key);
        }
    }

    /// How many are done for sure.
    fn done(&self) -> u32 {
        self.next.values().map(|(first, _)| first).sum()
    }
}

fn options(key: &str) -> JobOptions {
    JobOptions { queue: "q".into(), key: Some(key.into()), ..JobOptions::default() }
}

async fn submit_all(daemon: &Daemon) {
    for nth in 0..EACH {
        for first in (0..KEYS).step_by(SUBMITTED as usize) {
            let groups = (first..first + SUBMITTED).map(|key| {
                let bodies = vec![format!("{key} {nth}").into()];
                SubmitGroup { options: options(&format!("customer {key}")), bodies }
            });
            daemon.client.submit(groups.collect()).await.unwrap();
        }
    }
}

/// Works until the daemon is gone.
async fn work(client: Client, seen: Arc<Mutex<Seen>>) {
    loop {
        let queues = vec!["q".into()];
        let claim = Claim { queues, max: AT_ONCE, wait_ms: 60_000, bound: true, ..Claim::default() };
        let Ok(jobs) = client.claim(claim).await else { return };
        let mut numbers = Vec::new();
        for job in &jobs {
            let text = std::str::from_utf8(&job.body).unwrap();
            let (key, nth) = text.split_once(' ').unwrap();
            let (key, nth): (u32, u32) = (key.parse().unwrap(), nth.parse().unwrap());
            assert_eq!(job.key, Some(format!("customer {key}")));
            seen.lock().unwrap().begins(key, nth);
            numbers.push((key, nth));
        }
        tokio::task::yield_now().await;
        let items = jobs.iter().map(|job| Settle { lease: job.lease, verdict: Verdict::Complete });
        let settled = client.settle(items.collect()).await;
        let known = settled.is_ok();
        for (key, nth) in numbers {
            seen.lock().unwrap().ends(key, nth, known);
        }
        if !known {
            return;
        }
    }
}

#[test]
fn each_key_runs_one_at_a_time_and_in_order_whatever_dies() {
    block_on(async {
        let home = Home::new("[queues.q]\nper_key = 1\n");
        let mut daemon = home.serve().await;
        submit_all(&daemon).await;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        for kill in 0..=KILLS {
            let mut workers = tokio::task::JoinSet::new();
            for _ in 0..WORKERS {
                let client = Client::connect(daemon.socket()).await.unwrap();
                workers.spawn(work(client, seen.clone()));
            }
            let enough = KEYS * EACH * (kill + 1) / (KILLS + 1);
            until("so many are done", async || {
                let queue = daemon.queue("q").await;
                let is_empty = queue.ready + queue.leased == 0;
                (is_empty || (kill < KILLS && seen.lock().unwrap().done() >= enough)).then_some(())
            })
            .await;
            daemon.kill().await;
            while let Some(ended) = workers.join_next().await {
                ended.unwrap();
            }
            seen.lock().unwrap().running.clear();
            daemon = home.serve().await;
        }
        let queue = daemon.queue("q").await;
        assert_eq!(
            (queue.ready, queue.scheduled, queue.leased, queue.dead),
            (0, 0, 0, 0),
            "no key is left behind"
        );
        let numbers = || {
            let seen = seen.lock().unwrap();
            (seen.next.len(), seen.next.values().filter(|(_, next)| *next == EACH).count())
        };
        assert_eq!(numbers(), (KEYS as usize, KEYS as usize), "each key has run to its end");
        daemon.stop().await;
    });
}

#[test]
fn a_key_is_told_to_workers_and_people_and_goes_with_an_export() {
    block_on(async {
        let home = Home::new("[queues.q]\nper_key = 1\n");
        let daemon = home.serve().await;
        let submitted = home.musher(&["submit", "q", "--key", "order 7", "body"]);
        let id = String::from_utf8(submitted.stdout).unwrap().trim().to_owned();
        home.musher(&["submit", "q", "--key", "order 7", "second"]);
        let shown = String::from_utf8(home.musher(&["show", &id]).stdout).unwrap();
        assert!(shown.lines().any(|line| line.starts_with("key") && line.ends_with("order 7")), "{shown}");
        let exported = home.musher(&["export"]).stdout;
        assert!(String::from_utf8_lossy(&exported).contains("\"key\":\"order 7\""));

        let job = daemon.claim("q", true, 0).await.unwrap();
        assert_eq!(job.key.as_deref(), Some("order 7"));
        assert!(daemon.claim("q", true, 0).await.is_none());
        let explained = home.musher(&["explain", &(job.lease.id + 1).to_string()]).stdout;
        let explained = String::from_utf8(explained).unwrap();
        assert!(
            explained
                .contains("its key is at its limit of jobs that run at a time: 1 of 1 (queues.q.per_key)"),
            "{explained}"
        );
        assert!(daemon.settle(job.lease, Verdict::Complete).await);

        let worked = tokio::process::Command::from(home.command())
            .args(["work", "q", "--", "sh", "-c", "echo \"$MUSHER_KEY\" > told"])
            .current_dir(home.path("."))
            .kill_on_drop(true)
            .spawn();
        let told = until("the worker was told", async || {
            std::fs::read_to_string(home.path("told")).ok().filter(|told| !told.is_empty())
        });
        assert_eq!((told.await, worked.is_ok()), ("order 7\n".to_owned(), true));
        daemon.stop().await;
    });
}

#[test]
fn a_key_that_is_too_long_is_refused() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let groups = |key: String| vec![SubmitGroup { options: options(&key), bodies: vec!["b".into()] }];
        let error = daemon.client.submit(groups("k".repeat(257))).await.unwrap_err().to_string();
        assert!(error.contains("a key has 257 bytes, at most 256 are allowed"), "{error}");
        let id = daemon.client.submit(groups("k".repeat(256))).await.unwrap().first_id();
        assert_eq!(daemon.show(id).await.unwrap().key, Some("k".repeat(256)));
        assert!(daemon.claim("q", true, 0).await.is_some());
    });
}
