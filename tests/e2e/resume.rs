//! Jobs that outlive the daemon: their workers go on while there is none, and take their leases up again with the next.

use crate::helper::{Home, block_on, until};
use crate::work::{Worker, lines, until_begun};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::collections::HashSet;

/// How many daemons follow one another, and how many jobs run under them.
const DAEMONS: usize = 10;
const JOBS: usize = 50;

/// How many lines each of them prints, every 200 ms.
fn lines_each() -> usize {
    let seconds = std::env::var("MUSHER_TEST_SECONDS").map_or(8, |seconds| seconds.parse().unwrap());
    seconds * 5
}

/// A queue whose jobs are kept, with their output.
const KEPT: &str = "[queues.q]\nkeep = { done = \"1h\" }\n";

/// Does something again and again until a file is there.
fn until_told(home: &Home, what: &str) -> String {
    format!("until test -e {}; do {what}; sleep 0.05; done", home.path("go").display())
}

#[test]
fn commands_run_once_and_to_the_end_under_ten_daemons_that_are_killed() {
    block_on(async {
        let (home, all) = (Home::new(KEPT), lines_each());
        let mut daemon = home.serve().await;
        let (ran, ended) = (home.path("ran"), home.path("ended"));
        let script = format!(
            "echo $MUSHER_JOB_ID >> {}; for n in $(seq {all}); do echo line $n of $MUSHER_JOB_ID; echo err $n >&2; sleep 0.2; \
             done; echo $MUSHER_JOB_ID >> {}",
            ran.display(),
            ended.display()
        );
        let workers: Vec<Worker> =
            (0..5).map(|_| Worker::start(&home, &["q", "-q", "-j", "10"], &script)).collect();
        let first = daemon.submit("q", &[""; JOBS]).await;
        until_begun(&ran, JOBS).await;
        for nth in 1..DAEMONS {
            assert_eq!(lines(&ended), 0, "they run still");
            daemon.kill().await;
            daemon = home.serve().await;
            let back = workers.len();
            until("all workers are back", async || {
                (home.log().matches("a worker is back").count() >= nth * back).then_some(())
            })
            .await;
        }
        for id in first..first + JOBS as u64 {
            daemon.until_state(id, "done").await;
            let job = daemon.show(id).await.unwrap();
            assert_eq!((job.attempt, job.crashes, job.failed), (1, 0, 0), "{job:?}");
            let logs = home.musher(&["logs", &id.to_string()]);
            let out: String = (1..=all).map(|n| format!("line {n} of {id}\n")).collect();
            let err: String = (1..=all).map(|n| format!("err {n}\n")).collect();
            assert_eq!(String::from_utf8_lossy(&logs.stdout), out);
            assert_eq!(String::from_utf8_lossy(&logs.stderr), err);
        }
        for path in [&ran, &ended] {
            let text = std::fs::read_to_string(path).unwrap();
            let ids: HashSet<&str> = text.lines().collect();
            assert_eq!((text.lines().count(), ids.len()), (JOBS, JOBS), "each once");
        }
    });
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
        assert!(worker.said("1 jobs that run on") + worker.said("1 job that runs on") > 0);
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
        let job = std::fs::read_to_string(&begun).unwrap().trim().parse().unwrap();
        let job = Pid::from_raw(job).unwrap();
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
