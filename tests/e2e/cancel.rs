//! Cancels of jobs that run: the daemon says so at once, the worker stops them, and only then does anything take their place.

use crate::helper::{Home, block_on, until};
use crate::work::Worker;
use rustix::process::Signal;

const ONE_BY_ONE: &str = "[queues.q]\nper_key = 1\nkeep = { done = \"1h\" }\n";

/// A script for jobs that take a while to stop, and note how they begin and end.
fn slow_to_stop(home: &Home) -> String {
    let (notes, go) = (home.path("notes"), home.path("go"));
    format!(
        "trap 'echo told $MUSHER_JOB_ID >> {notes}; while ! [ -e {go} ]; do sleep 0.01; done; \
         echo stopped $MUSHER_JOB_ID >> {notes}; exit 0' TERM
         echo begun $MUSHER_JOB_ID >> {notes}; [ $MUSHER_JOB_ID = 1 ] || exit 0; while :; do sleep 0.01; done",
        notes = notes.display(),
        go = go.display()
    )
}

async fn until_noted(home: &Home, what: &str) {
    let notes = home.path("notes");
    until(what, async || {
        let notes = std::fs::read_to_string(&notes).unwrap_or_default();
        notes.lines().any(|line| line == what).then_some(())
    })
    .await;
}

fn notes(home: &Home) -> Vec<String> {
    std::fs::read_to_string(home.path("notes")).unwrap().lines().map(str::to_owned).collect()
}

/// Two jobs of one key, of which the first runs.
fn submit_two(home: &Home) {
    for _ in 0..2 {
        assert!(home.musher(&["submit", "q", "x", "--key", "k"]).status.success());
    }
}

#[test]
fn the_next_of_its_key_begins_when_a_job_that_was_cancelled_has_stopped() {
    block_on(async {
        let home = Home::new(ONE_BY_ONE);
        let daemon = home.serve().await;
        let _worker = Worker::start(&home, &["q", "-j", "2"], &slow_to_stop(&home));
        submit_two(&home);
        until_noted(&home, "begun 1").await;
        let output = home.musher(&["cancel", "1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && said.contains("it is cancelled when that has stopped it"),
            "{said}"
        );
        until_noted(&home, "told 1").await;
        let shown = String::from_utf8(home.musher(&["show", "1"]).stdout).unwrap();
        assert!(shown.contains("1, leased, cancelling"), "{shown}");
        let explained = String::from_utf8(home.musher(&["explain", "1"]).stdout).unwrap();
        assert!(explained.contains("it is cancelled and still running: attempt 1"), "{explained}");
        let explained = String::from_utf8(home.musher(&["explain", "2"]).stdout).unwrap();
        assert!(explained.contains("1 of 1"), "{explained}");
        std::fs::write(home.path("go"), "").unwrap();
        daemon.until_state(2, "done").await;
        assert_eq!(daemon.state(1).await, "cancelled");
        assert_eq!(notes(&home), ["begun 1", "told 1", "stopped 1", "begun 2"]);
    });
}

/// The cancel is on disk, the worker has not heard of it, or has: it stops its job all the same, once.
#[test]
fn a_cancel_holds_over_a_crash_of_the_daemon() {
    for told in [false, true] {
        block_on(async {
            let home = Home::new(ONE_BY_ONE);
            let daemon = home.serve().await;
            let mut worker = Worker::start(&home, &["q", "-j", "2"], &slow_to_stop(&home));
            submit_two(&home);
            until_noted(&home, "begun 1").await;
            if told {
                assert!(home.musher(&["cancel", "1"]).status.success());
                until_noted(&home, "told 1").await;
                daemon.kill().await;
            } else {
                worker.signal(Signal::STOP);
                assert!(home.musher(&["cancel", "1"]).status.success());
                daemon.kill().await;
                worker.signal(Signal::CONT);
            }
            let daemon = home.serve().await;
            until_noted(&home, "told 1").await;
            std::fs::write(home.path("go"), "").unwrap();
            daemon.until_state(2, "done").await;
            let job = daemon.show(1).await.unwrap();
            assert_eq!((&*job.state, job.attempt, job.crashes), ("cancelled", 1, 0), "{job:?}");
            assert_eq!(notes(&home), ["begun 1", "told 1", "stopped 1", "begun 2"]);
            worker.signal(Signal::TERM);
            assert_eq!(worker.ended().await.code(), Some(0));
        });
    }
}

/// A client that nobody can tell learns it when it says something of the job.
#[test]
fn a_result_of_a_job_that_was_cancelled_comes_too_late_and_ends_it() {
    block_on(async {
        let home = Home::new(ONE_BY_ONE);
        let daemon = home.serve().await;
        daemon.submit("q", &["x"]).await;
        let job = daemon.claim("q", false, 0).await.unwrap();
        assert!(home.musher(&["cancel", "1"]).status.success());
        let held = format!("{}@{}", job.lease.id, job.lease.attempt);
        let late = home.musher(&["complete", &held]);
        assert!(String::from_utf8_lossy(&late.stderr).contains("the job is cancelled"), "{late:?}");
        assert_eq!(daemon.state(1).await, "cancelled");
    });
}
