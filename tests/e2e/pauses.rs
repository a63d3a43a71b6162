//! The daemon and its pool stand still: stopped by a signal as by a closed lid or a frozen container.

use crate::helper::{Daemon, Home, block_on, until};
use musher::clock::monotonic;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// Longer than the leases below.
const PAUSE: Duration = Duration::from_millis(4_500);

fn pool_of(daemon: &Daemon) -> Pid {
    let pid = daemon.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

/// Ten commands run, daemon and pool are stopped beyond the leases, and go on one after the other.
async fn stopped_and_continued(pool_first: bool) {
    let home = Home::new(
        "[queues.commands]\nworkers = 10\nhandler = \"command\"\nlease = \"3s\"\nkeep = { done = \"1h\" }\n",
    );
    let daemon = home.serve().await;
    let script = format!("until [ -e {} ]; do sleep 0.05; done", home.path("go").display());
    for id in 1..=10 {
        home.musher(&["run", "--", "sh", "-c", &script]);
        daemon.until_state(id, "leased").await;
    }
    let pool = pool_of(&daemon);
    daemon.signal(Signal::STOP);
    kill_process(pool, Signal::STOP).unwrap();
    let begun = monotonic();
    until("the leases are over", async || (monotonic() - begun > PAUSE).then_some(())).await;
    if pool_first {
        kill_process(pool, Signal::CONT).unwrap();
        daemon.signal(Signal::CONT);
        daemon.status().await;
    } else {
        daemon.signal(Signal::CONT);
        daemon.status().await;
        kill_process(pool, Signal::CONT).unwrap();
    }
    std::fs::write(home.path("go"), "").unwrap();
    for id in 1..=10 {
        daemon.until_state(id, "done").await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.attempt, job.failed, job.crashes), (1, 0, 0), "job {id}: {:?}", job.failures);
    }
    home.until_logged("the daemon stood still").await;
    daemon.stop().await;
}

#[test]
fn a_pause_is_nobodys_failure_if_the_daemon_goes_on_first() {
    block_on(stopped_and_continued(false));
}

#[test]
fn a_pause_is_nobodys_failure_if_the_pool_goes_on_first() {
    block_on(stopped_and_continued(true));
}
