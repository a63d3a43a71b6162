//! Jobs that outlive the daemon: their workers go on while there is none, and take their leases up again with the next.

use crate::helper::{Daemon, Home, block_on, until};
use crate::work::{Worker, lines, until_begun};
use musher::clock::monotonic;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

/// How many daemons follow one another, and how many jobs run under them.
const DAEMONS: usize = 10;
const JOBS: usize = 50;

/// For how long daemons follow one another, besides.
pub(crate) fn at_least() -> Duration {
    Duration::from_secs(std::env::var("MUSHER_TEST_SECONDS").map_or(0, |seconds| seconds.parse().unwrap()))
}

/// A queue whose jobs are kept, with their output.
const KEPT: &str = "[queues.q]\nkeep = { done = \"1h\" }\n";

/// Does something again and again until a file is there.
fn until_told(home: &Home, what: &str) -> String {
    format!("until test -e {}; do {what}; sleep 0.05; done", home.path("go").display())
}

/// What each of the jobs does: it says when it begins, prints until it is told to end, and says how much that was.
fn script(home: &Home) -> String {
    let [ran, ended, go] = ["ran", "ended", "go"].map(|name| home.path(name).display().to_string());
    format!(
        "echo $MUSHER_JOB_ID >> {ran}; n=0; until test -e {go}; do n=$((n+1)); echo line $n of $MUSHER_JOB_ID; echo err $n >&2; \
         sleep 0.2; done; echo $MUSHER_JOB_ID $n >> {ended}"
    )
}

/// Runs jobs under one daemon after the other. `workers` hold them.
async fn all_run_once_under_ten_daemons(home: &Home, mut daemon: Daemon, workers: usize) {
    let (ran, ended, begun) = (home.path("ran"), home.path("ended"), monotonic());
    let first = daemon.submit("q", &[""; JOBS]).await;
    until_begun(&ran, JOBS).await;
    let mut nth = 1;
    while nth < DAEMONS || monotonic() - begun < at_least() {
        daemon.kill().await;
        daemon = home.serve().await;
        until("all workers are back", async || {
            (home.log().matches("a worker is back").count() >= nth * workers).then_some(())
        })
        .await;
        nth += 1;
    }
    // And once more while they end.
    std::fs::write(home.path("go"), "").unwrap();
    until("the first ones have ended", async || (lines(&ended) > 0).then_some(())).await;
    daemon.kill().await;
    let daemon = home.serve().await;
    for id in first..first + JOBS as u64 {
        daemon.until_state(id, "done").await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.attempt, job.crashes, job.failed), (1, 0, 0), "{job:?}");
    }
    let ran = std::fs::read_to_string(ran).unwrap();
    let ids: HashSet<&str> = ran.lines().collect();
    assert_eq!((ran.lines().count(), ids.len()), (JOBS, JOBS), "each has begun once");
    let ended = std::fs::read_to_string(ended).unwrap();
    let ended: HashMap<&str, u64> = ended
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(id, lines)| (id, lines.parse().unwrap()))
        .collect();
    assert_eq!(ended.len(), JOBS, "each has ended");
    for (id, all) in ended {
        let logs = home.musher(&["logs", id]);
        let out: String = (1..=all).map(|n| format!("line {n} of {id}\n")).collect();
        let err: String = (1..=all).map(|n| format!("err {n}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&logs.stdout), out);
        assert_eq!(String::from_utf8_lossy(&logs.stderr), err);
    }
}

#[test]
fn commands_run_once_and_to_the_end_under_ten_daemons_that_are_killed() {
    block_on(async {
        let home = Home::new(KEPT);
        let daemon = home.serve().await;
        let start = |_| Worker::start(&home, &["q", "-q", "-j", "10"], &script(&home));
        let workers: Vec<Worker> = (0..5).map(start).collect();
        all_run_once_under_ten_daemons(&home, daemon, workers.len()).await;
    });
}

/// A home whose daemon runs this script for each job of `q`, so many at a time.
fn home_with_pool(script: impl FnOnce(&Home) -> String, workers: usize) -> Home {
    let home = Home::new("");
    std::fs::write(home.path("script"), script(&home)).unwrap();
    let handler = format!("[\"/bin/sh\", {:?}]", home.path("script").display().to_string());
    home.configure(&format!(
        "[daemon]\ndrain_timeout = \"100ms\"\n{KEPT}workers = {workers}\nhandler = {{ exec = {handler} }}\n\
         [queues.other]\nworkers = 1\nhandler = {{ exec = [\"/bin/true\"] }}\nkeep = {{ done = \"1h\" }}\n"
    ));
    home
}

#[test]
fn the_daemons_own_jobs_run_once_and_to_the_end_under_ten_daemons_that_are_killed() {
    block_on(async {
        let home = home_with_pool(script, JOBS);
        let daemon = home.serve().await;
        all_run_once_under_ten_daemons(&home, daemon, 1).await;
    });
}

#[test]
fn jobs_of_a_former_pool_take_slots_of_the_new_one_until_they_end() {
    block_on(async {
        let home = home_with_pool(
            |home| format!("echo >> {}; {}", home.path("begun").display(), until_told(home, ":")),
            2,
        );
        let daemon = home.serve().await;
        let begun = home.path("begun");
        daemon.submit("q", &["a", "b", "c"]).await;
        until_begun(&begun, 2).await;
        daemon.kill().await;
        let daemon = home.serve().await;
        let other = daemon.submit("other", &["x"]).await;
        daemon.until_state(other, "done").await;
        assert_eq!((lines(&begun), daemon.state(3).await.as_str()), (2, "ready"), "both slots are taken");
        std::fs::write(home.path("go"), "").unwrap();
        for id in 1..=3 {
            daemon.until_state(id, "done").await;
            assert_eq!(daemon.show(id).await.unwrap().attempt, 1);
        }
        daemon.stop().await;
        assert_eq!(lines(&begun), 3);
    });
}

#[test]
fn a_stop_ends_what_former_pools_run() {
    block_on(async {
        let home = home_with_pool(
            |home| format!("echo $$ >> {}; {}", home.path("begun").display(), until_told(home, ":")),
            1,
        );
        let daemon = home.serve().await;
        let begun = home.path("begun");
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        let job = job_in(&begun);
        daemon.kill().await;
        let daemon = home.serve().await;
        home.until_logged("a worker is back").await;
        assert!(test_kill_process(job).is_ok(), "it runs still");
        daemon.stop().await;
        until("it is killed", async || test_kill_process(job).is_err().then_some(())).await;
        let daemon = home.serve().await;
        until_begun(&begun, 2).await;
        let job = daemon.show(1).await.unwrap();
        assert_eq!((job.attempt, job.crashes, job.failed), (2, 0, 0), "it was given back");
    });
}

/// Nobody would ever take them back.
#[test]
fn the_daemons_own_jobs_end_when_its_directory_is_gone() {
    block_on(async {
        let outside = tempfile::tempdir().unwrap();
        let begun = outside.path().join("begun");
        let home =
            home_with_pool(|home| format!("echo $$ >> {}; {}", begun.display(), until_told(home, ":")), 1);
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        let job = job_in(&begun);
        daemon.kill().await;
        assert!(test_kill_process(job).is_ok(), "it runs still");
        drop(home);
        until("it is killed", async || test_kill_process(job).is_err().then_some(())).await;
    });
}

/// The process that has written its number.
fn job_in(begun: &Path) -> Pid {
    Pid::from_raw(std::fs::read_to_string(begun).unwrap().trim().parse().unwrap()).unwrap()
}

#[test]
fn what_ends_while_there_is_no_daemon_has_ended_for_the_next_one() {
    block_on(async {
        let home = Home::new(KEPT);
        let daemon = home.serve().await;
        let begun = home.path("begun");
        // More than the pipe and a piece take: the job waits for a daemon.
        let script = format!(
            "echo $$ >> {}; {}; head -c 300000 /dev/zero | tr '\\0' x; echo the end; echo bad >&2; exit 3",
            begun.display(),
            until_told(&home, ":")
        );
        let worker = Worker::start(&home, &["q", "-q"], &script);
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        daemon.kill().await;
        until("it has noticed", async || (worker.said("the daemon is gone") > 0).then_some(())).await;
        std::fs::write(home.path("go"), "").unwrap();
        let daemon = home.serve().await;
        until("it has failed", async || (daemon.show(1).await?.failed == 1).then_some(())).await;
        let logs = home.musher(&["logs", "1"]).stdout;
        let expected = [&vec![b'x'; 300_000][..], b"the end\n"].concat();
        let (first, _) = logs.split_at(expected.len());
        assert!(first == expected, "all of it is there, once: {} bytes", logs.len());
        assert!(worker.said("with a job that runs on") > 0);
    });
}

#[test]
fn a_worker_that_comes_back_too_late_ends_its_jobs() {
    block_on(async {
        let home = Home::new("[daemon]\nresume_within = \"50ms\"\n");
        let daemon = home.serve().await;
        let begun = home.path("begun");
        let script = format!("echo $$ >> {}; {}", begun.display(), until_told(&home, ":"));
        let worker = Worker::start(&home, &["q", "-q"], &script);
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        let job = job_in(&begun);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", job.as_raw_nonzero())).unwrap();
        let parent = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        let parent = Pid::from_raw(parent).unwrap();
        kill_process(parent, Signal::STOP).unwrap();
        daemon.kill().await;
        let daemon = home.serve().await;
        // Not this one's: nobody else works.
        daemon.until_state(1, "ready").await;
        assert_eq!(daemon.show(1).await.unwrap().crashes, 1);
        assert!(test_kill_process(job).is_ok(), "it runs still");
        kill_process(parent, Signal::CONT).unwrap();
        until("it is killed", async || test_kill_process(job).is_err().then_some(())).await;
        until("it runs anew", async || (lines(&begun) == 2).then_some(())).await;
        assert!(worker.said("is killed") > 0);
    });
}

#[test]
fn a_worker_that_has_gone_with_the_daemon_is_waited_for_no_longer_than_it_is_said() {
    block_on(async {
        let home = Home::new("[daemon]\nresume_within = \"500ms\"\n");
        let daemon = home.serve().await;
        let begun = home.path("begun");
        let script = format!("echo >> {}; {}", begun.display(), until_told(&home, ":"));
        let mut worker = Worker::start(&home, &["q", "-q"], &script);
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        daemon.kill().await;
        worker.signal(Signal::KILL);
        worker.ended().await;
        let daemon = home.serve().await;
        let _second = Worker::start(&home, &["q", "-q"], &script);
        until_begun(&begun, 2).await;
        assert_eq!(daemon.show(1).await.unwrap().crashes, 1);
    });
}

/// A stop is a stop, for jobs of workers too that would come back.
#[test]
fn a_daemon_that_is_stopped_takes_the_jobs_with_it() {
    block_on(async {
        let home = Home::new("[daemon]\ndrain_timeout = \"100ms\"\n");
        let daemon = home.serve().await;
        let begun = home.path("begun");
        let script = format!("echo >> {}; {}", begun.display(), until_told(&home, ":"));
        let _worker = Worker::start(&home, &["q", "-q"], &script);
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        daemon.stop().await;
        let daemon = home.serve().await;
        until_begun(&begun, 2).await;
        let job = daemon.show(1).await.unwrap();
        assert_eq!((job.attempt, job.crashes, job.failed), (2, 0, 0), "it was given back");
    });
}
