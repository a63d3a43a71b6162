//! Checkpoints and results: what workers store beside their jobs, over the real socket and across the daemon's death.

use crate::helper::{Daemon, Home, block_on, until};
use musher::client::ClientError;
use musher::protocol::{Beside, ClaimedJob, ErrorCode, LeaseFault, LeaseRef, Verdict};
use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

const KEPT: &str = "[queues.q]\nkeep.done = \"1h\"\nlease = \"1m\"\n";

async fn claimed(daemon: &Daemon) -> ClaimedJob {
    daemon.claim("q", false, 5_000).await.expect("there is a job")
}

async fn checkpoint(daemon: &Daemon, lease: LeaseRef, data: &[u8]) -> Result<u64, LeaseFault> {
    daemon.client.checkpoint(lease, data.to_vec().into(), None).await.unwrap()
}

async fn result(daemon: &Daemon, id: u64) -> Result<Vec<u8>, ErrorCode> {
    match daemon.client.beside(id, Beside::Result).await {
        Ok(result) => Ok(result.to_vec()),
        Err(ClientError::Refused(fault)) => Err(fault.code),
        Err(error) => panic!("{error}"),
    }
}

fn with_input(home: &Home, args: &[&str], input: &[u8]) -> Output {
    let mut command = home.command();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Small ones share a row, large ones have rows of their own; either is in the log first and in the database then.
#[test]
fn the_newest_checkpoint_survives_the_daemon_and_is_for_the_next_attempt() {
    block_on(async {
        let home = Home::new(KEPT);
        let mut daemon = home.serve().await;
        daemon.submit("q", &["a", "b", "c"]).await;
        let jobs = [claimed(&daemon).await, claimed(&daemon).await, claimed(&daemon).await];
        assert!(jobs.iter().all(|job| job.checkpoint.is_none()));
        let large = vec![0xab; 200_000];
        checkpoint(&daemon, jobs[0].lease, b"page 1").await.unwrap();
        checkpoint(&daemon, jobs[0].lease, b"page 2").await.unwrap();
        checkpoint(&daemon, jobs[1].lease, &large).await.unwrap();
        daemon.kill().await;
        daemon = home.serve().await;
        // Leases that no connection holds are in force still; these are given back, one by one.
        for (job, wanted) in jobs.iter().zip([Some(&b"page 2"[..]), Some(&large), None]) {
            assert!(daemon.settle(job.lease, Verdict::Release { delay_ms: 0 }).await);
            let again = claimed(&daemon).await;
            assert_eq!(again.lease, LeaseRef { attempt: 2, ..job.lease });
            assert_eq!(again.checkpoint.as_deref(), wanted);
            assert_eq!(daemon.show(job.lease.id).await.unwrap().has_checkpoint, wanted.is_some());
        }
        // An attempt that leaves none leaves the one before, wherever that is by now.
        let database = || fs::metadata(home.path("data/sled/db")).unwrap().modified().unwrap();
        let before = database();
        until("a checkpoint of the database", async || {
            daemon.submit("other", &["x"]).await;
            (database() != before).then_some(())
        })
        .await;
        let lease = LeaseRef { attempt: 2, ..jobs[1].lease };
        let failed = Verdict::FailRetryAfter { error: "no".into(), exit: None, wait_ms: 0 };
        assert!(daemon.settle(lease, failed).await);
        daemon.kill().await;
        daemon = home.serve().await;
        let again = claimed(&daemon).await;
        assert_eq!((again.lease.attempt, again.checkpoint.as_deref()), (3, Some(&large[..])));
        assert!(daemon.settle(again.lease, Verdict::Complete).await);
        assert!(!daemon.show(jobs[1].lease.id).await.unwrap().has_checkpoint, "it is done");
        let verified = {
            daemon.stop().await;
            home.command().arg("verify").arg("--data").arg(home.path("data")).output().unwrap()
        };
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    });
}

#[test]
fn a_lost_lease_and_a_long_checkpoint_are_refused_and_change_nothing() {
    block_on(async {
        let home = Home::new(&format!("checkpoint = \"1KiB\"\nresult = \"2KiB\"\n{KEPT}"));
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        let lease = claimed(&daemon).await.lease;
        checkpoint(&daemon, lease, b"one").await.unwrap();
        let stale = LeaseRef { attempt: 2, ..lease };
        assert!(matches!(checkpoint(&daemon, stale, b"two").await, Err(LeaseFault::Lost { .. })));
        let unknown = LeaseRef { id: 99, ..lease };
        assert!(matches!(checkpoint(&daemon, unknown, b"two").await, Err(LeaseFault::NotFound { .. })));
        for (args, words) in [
            (
                &["checkpoint", "1@1"][..],
                "a checkpoint of 3000 bytes: at most 1024 are allowed (limits.checkpoint",
            ),
            (
                &["complete", "1@1", "--result", "-"],
                "a result of 3000 bytes: at most 2048 are allowed (limits.result",
            ),
        ] {
            let refused = with_input(&home, args, &[b'x'; 3_000]);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert!(refused.status.code() == Some(2) && said.contains(words), "{said}");
        }
        let job = daemon.show(1).await.unwrap();
        assert_eq!((&*job.state, job.has_checkpoint, job.has_result), ("leased", true, false));
        assert_eq!(daemon.client.beside(1, Beside::Checkpoint).await.unwrap(), &b"one"[..]);
        daemon.stop().await;
    });
}

#[test]
fn a_checkpoint_prolongs_the_lease_and_is_taken_while_draining() {
    block_on(async {
        let home = Home::new(KEPT);
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        let job = claimed(&daemon).await;
        let same = daemon.client.checkpoint(job.lease, "x".into(), Some(5)).await.unwrap().unwrap();
        assert!(same >= job.until_ms, "never shorter");
        let longer = daemon.client.checkpoint(job.lease, "x".into(), Some(600_000)).await.unwrap().unwrap();
        assert!(longer >= job.until_ms + 500_000);
        assert_eq!(daemon.show(1).await.unwrap().leased_until, Some(longer));
        assert_eq!(home.musher(&["drain"]).status.code(), Some(0));
        checkpoint(&daemon, job.lease, b"y").await.unwrap();
        assert_eq!(home.musher(&["undrain"]).status.code(), Some(0));
        daemon.stop().await;
    });
}

/// A sleep that holds no slot and outlives the daemon.
#[test]
fn released_with_a_delay_a_job_sleeps_and_wakes_where_it_was() {
    block_on(async {
        let home = Home::new(KEPT);
        let mut daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        claimed(&daemon).await;
        let taken = with_input(&home, &["checkpoint", "1@1", "-", "--json"], b"asked the bank");
        assert!(taken.status.success() && String::from_utf8_lossy(&taken.stdout).contains("\"lease_until\""));
        assert!(home.musher(&["release", "1@1", "--delay", "700ms"]).status.success());
        assert!(daemon.claim("q", false, 0).await.is_none(), "it sleeps");
        assert_eq!(daemon.state(1).await, "scheduled");
        daemon.kill().await;
        daemon = home.serve().await;
        let claim = home.musher(&["claim", "q", "--wait", "10s", "--json"]);
        let line: serde_json::Value = serde_json::from_slice(&claim.stdout).unwrap();
        assert_eq!((&line["lease"], &line["checkpoint"]), (&"1@2".into(), &"asked the bank".into()));
        let shown = home.musher(&["show", "1", "--checkpoint"]);
        assert_eq!(shown.stdout, b"asked the bank");
        let job = daemon.show(1).await.unwrap();
        assert_eq!((job.failed, job.crashes), (0, 0));
        daemon.stop().await;
    });
}

/// It is of the old body; a job that is dead goes on there when it is run again.
#[test]
fn a_dead_job_keeps_its_checkpoint_and_another_body_drops_it() {
    block_on(async {
        let home = Home::new(KEPT);
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        let lease = claimed(&daemon).await.lease;
        checkpoint(&daemon, lease, b"here").await.unwrap();
        assert!(daemon.settle(lease, Verdict::FailDead { error: "no".into(), exit: None }).await);
        assert!(home.musher(&["retry", "1"]).status.success());
        let again = claimed(&daemon).await;
        assert_eq!(again.checkpoint.as_deref(), Some(&b"here"[..]));
        assert!(daemon.settle(again.lease, Verdict::Release { delay_ms: 0 }).await);
        daemon.client.replace_body(1, "another".into()).await.unwrap();
        let again = claimed(&daemon).await;
        assert_eq!((&again.body[..], again.checkpoint), (&b"another"[..], None));
        let none = home.musher(&["show", "1", "--checkpoint"]);
        let said = String::from_utf8_lossy(&none.stderr);
        assert!(none.status.code() == Some(1) && said.contains("job 1 has no checkpoint"), "{said}");
        daemon.stop().await;
    });
}

#[test]
fn a_result_is_kept_with_its_job() {
    block_on(async {
        let home = Home::new(KEPT);
        let mut daemon = home.serve().await;
        daemon.submit("q", &["a", "b", "c"]).await;
        let large = vec![0xfe; 300_000];
        for wanted in [&b"42\n"[..], &large] {
            let job = claimed(&daemon).await;
            assert_eq!(result(&daemon, job.lease.id).await, Err(ErrorCode::WrongState), "not done yet");
            assert!(daemon.settle(job.lease, Verdict::CompleteWith(wanted.to_vec().into())).await);
            assert!(
                !daemon.settle(job.lease, Verdict::CompleteWith("late".into())).await,
                "the lease is gone"
            );
        }
        let plain = claimed(&daemon).await;
        assert!(daemon.settle(plain.lease, Verdict::Complete).await);
        daemon.kill().await;
        daemon = home.serve().await;
        assert_eq!(home.musher(&["result", "1"]).stdout, b"42\n");
        assert_eq!(home.musher(&["wait", "2", "--result"]).stdout, large);
        assert_eq!(result(&daemon, 3).await, Err(ErrorCode::NotFound));
        let none = home.musher(&["wait", "3", "--result"]);
        let said = String::from_utf8_lossy(&none.stderr);
        assert!(none.status.code() == Some(1) && said.contains("without one"), "{said}");
        assert_eq!(home.musher(&["wait", "1"]).stdout, b"", "without being asked it says nothing of it");
        assert!(daemon.show(1).await.unwrap().has_result && !daemon.show(3).await.unwrap().has_result);

        let exported = home.musher(&["export", "--queue", "q"]).stdout;
        let lines: Vec<serde_json::Value> = exported
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        assert_eq!(
            (lines.len(), &lines[0]["result"], &lines[2]["result"]),
            (3, &"42\n".into(), &serde_json::Value::Null)
        );
        assert!(lines[1]["result_base64"].is_string());

        // A backup has it, and what is wrong with it would be told.
        let backup = home.path("one.backup");
        assert!(home.musher(&["backup", backup.to_str().unwrap()]).status.success());
        let other = Home::new(KEPT);
        let restored =
            other.command().arg("restore").arg(&backup).arg("--data").arg(other.path("data")).output();
        assert!(restored.unwrap().status.success());
        let second = other.serve().await;
        assert_eq!(result(&second, 1).await, Ok(b"42\n".to_vec()));
        assert_eq!(result(&second, 2).await, Ok(large));
        second.stop().await;

        // What runs again comes to something else.
        assert!(home.musher(&["retry", "1"]).status.success());
        assert_eq!(result(&daemon, 1).await, Err(ErrorCode::WrongState));
        let again = claimed(&daemon).await;
        assert!(daemon.settle(again.lease, Verdict::Complete).await);
        assert_eq!(result(&daemon, 1).await, Err(ErrorCode::NotFound));
        daemon.stop().await;
    });
}

#[test]
fn a_job_that_is_not_kept_has_no_result() {
    block_on(async {
        let home = Home::new("[queues.q]\nkeep.done = \"0s\"\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        let job = claimed(&daemon).await;
        let done = with_input(&home, &["complete", "1@1", "--result", "-"], b"gone");
        assert!(done.status.success() && job.lease.id == 1);
        let gone = home.musher(&["result", "1"]);
        let said = String::from_utf8_lossy(&gone.stderr);
        assert!(gone.status.code() == Some(1) && said.contains("is not kept"), "{said}");
        for usage in [&["complete", "1@1", "2@1", "--result", "-"][..], &["wait", "1", "2", "--result"]] {
            assert_eq!(home.musher(usage).status.code(), Some(2), "{usage:?}");
        }
        daemon.stop().await;
    });
}

/// Counts to three, a step an attempt, and says where it began.
const STEPS: &str = "at=$(cat \"$MUSHER_CHECKPOINT\" 2>/dev/null || echo 0)\necho \"begins at $at\" >> $dir/log\n\
    at=$((at + 1))\necho $at > \"$MUSHER_CHECKPOINT.new\" && mv \"$MUSHER_CHECKPOINT.new\" \"$MUSHER_CHECKPOINT\"\n";

fn script(home: &Home, script: &str) -> String {
    script.replace("$dir", &home.path("").display().to_string())
}

fn run(home: &Home, text: &str) -> u64 {
    run_with(home, "1", text)
}

fn run_with(home: &Home, attempts: &str, text: &str) -> u64 {
    let output = home.musher(&["run", "--attempts", attempts, "--", "sh", "-c", &script(home, text)]);
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

const COMMANDS: &str = "[queues.commands]\nhandler = \"command\"\nworkers = 2\nkeep.done = \"1h\"\nlease = \"1s\"\n\
    backoff = { base = \"10ms\", max = \"10ms\", jitter = 0 }\n";

#[test]
fn a_command_that_fails_goes_on_where_it_was_and_leaves_a_result() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        let id = run_with(
            &home,
            "5",
            &format!("{STEPS}[ $at -ge 3 ] || exit 1\necho sum: $at > \"$MUSHER_RESULT\""),
        );
        daemon.until_state(id, "done").await;
        let log = std::fs::read_to_string(home.path("log")).unwrap();
        assert_eq!(log, "begins at 0\nbegins at 1\nbegins at 2\n");
        assert_eq!(result(&daemon, id).await, Ok(b"sum: 3\n".to_vec()));
        assert!(!daemon.show(id).await.unwrap().has_checkpoint);
        // One that leaves nothing has nothing.
        let plain = run(&home, "true");
        daemon.until_state(plain, "done").await;
        assert_eq!(result(&daemon, plain).await, Err(ErrorCode::NotFound));
        daemon.stop().await;
    });
}

/// What was taken with an extend is there, though nobody has heard the attempt end.
#[test]
fn a_command_that_is_killed_with_its_daemon_goes_on_where_it_was() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let mut daemon = home.serve().await;
        let id = run(
            &home,
            &format!("{STEPS}[ $at -ge 2 ] || sleep 1000\ncat \"$MUSHER_CHECKPOINT\" > \"$MUSHER_RESULT\""),
        );
        crate::helper::until("it is stored", async || {
            daemon.show(id).await.unwrap().has_checkpoint.then_some(())
        })
        .await;
        crate::processes::kill_with_pool(daemon).await;
        daemon = home.serve().await;
        daemon.until_state(id, "done").await;
        assert_eq!(result(&daemon, id).await, Ok(b"2\n".to_vec()));
        assert_eq!(daemon.show(id).await.unwrap().crashes, 1);
        daemon.stop().await;
    });
}

/// It is not run again for that, and not taken for done; with more room it can be.
#[test]
fn a_command_with_too_long_a_result_is_dead_and_says_why() {
    block_on(async {
        let home = Home::new(&format!("result = \"1KiB\"\ncheckpoint = \"1KiB\"\n{COMMANDS}"));
        let daemon = home.serve().await;
        let id = run(&home, "head -c 2000 /dev/zero > \"$MUSHER_RESULT\"");
        daemon.until_state(id, "dead").await;
        let job = daemon.show(id).await.unwrap();
        assert!(job.failures[0].error.contains("its result is not kept: a result of 2000 bytes"), "{job:?}");
        assert_eq!((job.attempt, job.failures.len()), (1, 1));
        // A link to what is another's is none.
        let id = run(&home, "ln -s /etc/passwd \"$MUSHER_RESULT\"");
        daemon.until_state(id, "dead").await;
        assert!(daemon.show(id).await.unwrap().failures[0].error.contains("it is a link"));
        // A checkpoint that is too long is told with the attempt, which counts as any other.
        let id = run(&home, "head -c 2000 /dev/zero > \"$MUSHER_CHECKPOINT\"; exit 65");
        daemon.until_state(id, "dead").await;
        let error = daemon.show(id).await.unwrap().failures[0].error.clone();
        assert!(
            error.contains("exit status 65") && error.contains("its checkpoint is not stored"),
            "{error}"
        );
        daemon.stop().await;
    });
}

/// Jobs of `musher work` have the files too, and what a worker has left that was killed is removed by the next.
#[test]
fn files_of_jobs_go_with_their_worker() {
    block_on(async {
        let home = Home::new(KEPT);
        let daemon = home.serve().await;
        let temp = home.path("temp");
        std::fs::create_dir(&temp).unwrap();
        let worker = |text: &str| {
            let mut command = home.command();
            command
                .args(["work", "q", "--lease", "1s", "--", "sh", "-c", &script(&home, text)])
                .env("TMPDIR", &temp);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let left = || std::fs::read_dir(&temp).unwrap().count();
        daemon.submit("q", &["a"]).await;
        let mut first = worker("echo x > \"$MUSHER_CHECKPOINT\"; sleep 1000");
        crate::helper::until("it is stored", async || {
            daemon.show(1).await.unwrap().has_checkpoint.then_some(())
        })
        .await;
        first.kill().unwrap();
        first.wait().unwrap();
        let mut second = worker("cat \"$MUSHER_CHECKPOINT\" > \"$MUSHER_RESULT\"");
        daemon.until_state(1, "done").await;
        assert_eq!(result(&daemon, 1).await, Ok(b"x\n".to_vec()));
        crate::helper::until("the first one's files go", async || (left() <= 1).then_some(())).await;
        let pid = rustix::process::Pid::from_child(&second);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        second.wait().unwrap();
        assert_eq!(left(), 0);
        daemon.stop().await;
    });
}
