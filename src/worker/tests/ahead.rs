//! Jobs that are claimed ahead: each is held back behind a job that runs, and must not be harmed by that.

use super::fake::{Rig, Said, State, all_dead, job};
use crate::protocol::{ClaimedJob, Notice, Revocation, Verdict};
use crate::worker::WorkerEnd;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

const TRIES: usize = 20;

/// One slot. A job whose body is `hold` waits until the file `go` is there; others end at once.
struct Queue {
    rig: Rig,
    dir: TempDir,
}

impl Queue {
    async fn new() -> Queue {
        let dir = tempfile::tempdir().unwrap();
        let go = dir.path().join("go");
        let script = format!(
            "read what; echo $$; [ $what = hold ] && until test -e {}; do sleep 0.002; done; exit 0",
            go.display()
        );
        Queue { rig: Rig::shell(&script, 1).await, dir }
    }

    /// Has short jobs run, then one that holds the slot, with this one claimed ahead behind it. On a busy machine no
    /// job may be short: then it begins anew.
    async fn with_ahead(next: ClaimedJob) -> Queue {
        for _ in 0..TRIES {
            let queue = Queue::new().await;
            queue.rig.change(|state| {
                state.lost = [next.lease].into();
                state.put([job(1, "short\n"), job(2, "short\n"), job(3, "hold\n"), next.clone()]);
            });
            queue.rig.until(|state| state.numbers(3)).await;
            let given = queue.rig.until(|state| (state.jobs_left() == 0).then_some(()));
            if timeout(Duration::from_secs(1), given).await.is_ok() {
                return queue;
            }
        }
        panic!("no job was short in {TRIES} tries");
    }

    fn go(&self) {
        std::fs::write(self.dir.path().join("go"), "").unwrap();
    }

    async fn until_settled(&self, id: u64) -> Verdict {
        let of = |state: &State| state.verdicts().into_iter().find(|(of, _)| *of == id);
        self.rig.until(of).await.1
    }

    /// The job did not begin, although the slot is free: one that came later has run in it.
    async fn has_not_begun(&self, id: u64) {
        self.rig.submit(job(id + 1, "short\n"));
        assert_eq!(self.until_settled(id + 1).await, Verdict::Complete);
        assert_eq!(self.rig.until(|state| Some(state.printed(id, 1))).await, "");
    }
}

#[tokio::test]
async fn jobs_of_one_slot_run_in_their_order_and_one_is_claimed_ahead() {
    let queue = Queue::new().await;
    queue.rig.change(|state| state.put((1..=60).map(|id| job(id, "short\n"))));
    let verdicts = queue.rig.until(|state| (state.verdicts().len() == 60).then(|| state.verdicts())).await;
    assert_eq!(verdicts, (1..=60).map(|id| (id, Verdict::Complete)).collect::<Vec<_>>());
    let said = queue.rig.until(|state| Some(state.said.clone())).await;
    let ahead: Vec<u32> = said
        .iter()
        .filter_map(|said| if let Said::ClaimAhead { max } = said { Some(*max) } else { None })
        .collect();
    assert!(!ahead.is_empty() && ahead.iter().all(|max| *max == 1), "{ahead:?}");
}

#[tokio::test]
async fn a_long_job_keeps_no_other_from_whoever_could_run_it() {
    let queue = Queue::with_ahead(job(4, "short\n")).await;
    assert_eq!(queue.until_settled(4).await, Verdict::Release { delay_ms: 0 });
    let holds = queue.rig.until(|state| state.numbers(3)).await;
    let before = queue.rig.until(|state| Some(state.claims_ahead())).await;
    // More jobs come, but after a long one none is claimed ahead.
    queue.rig.submit(job(5, "short\n"));
    kill_process(Pid::from_raw(holds[0]).unwrap(), Signal::KILL).unwrap();
    all_dead(&holds).await;
    assert_eq!(queue.until_settled(5).await, Verdict::Complete);
    let said = queue.rig.until(|state| Some(state.said.clone())).await;
    let begun =
        said.iter().position(|said| matches!(said, Said::Output { lease, .. } if lease.id == 5)).unwrap();
    assert_eq!(State::after(&said[..begun]).claims_ahead(), before);
    queue.go();
}

#[tokio::test]
async fn a_stop_gives_back_what_was_claimed_ahead() {
    let queue = Queue::with_ahead(job(4, "short\n")).await;
    queue.rig.stop(Duration::from_secs(3600));
    assert_eq!(queue.until_settled(4).await, Verdict::Release { delay_ms: 0 });
    queue.go();
    let Queue { rig, dir: _dir } = queue;
    let (_, state) = rig.ended().await;
    let state = state.lock().unwrap();
    assert_eq!(state.verdicts().pop(), Some((3, Verdict::Complete)));
    assert_eq!(state.printed(4, 1), "");
}

#[tokio::test]
async fn a_job_that_is_cancelled_before_its_slot_is_free_does_not_begin() {
    let queue = Queue::with_ahead(job(4, "short\n")).await;
    queue.rig.say(Notice::Revoked { lease: job(4, "").lease, why: Revocation::Cancelled });
    queue.go();
    assert_eq!(queue.until_settled(3).await, Verdict::Complete);
    queue.has_not_begun(4).await;
}

#[tokio::test]
async fn a_lease_that_waits_for_its_slot_is_extended_and_if_it_is_lost_its_job_does_not_begin() {
    let short = ClaimedJob { lease_ms: 30, ..job(4, "short\n") };
    let lease = short.lease;
    let queue = Queue::with_ahead(short).await;
    queue.rig.until(|state| state.said.contains(&Said::Extend(lease)).then_some(())).await;
    queue.go();
    assert_eq!(queue.until_settled(3).await, Verdict::Complete);
    queue.has_not_begun(4).await;
}

#[tokio::test]
async fn the_end_of_the_connection_ends_what_was_claimed_ahead_too() {
    let queue = Queue::with_ahead(job(4, "short\n")).await;
    let holds = queue.rig.until(|state| state.numbers(3)).await;
    let begin = Instant::now();
    queue.rig.close();
    let Queue { rig, dir: _dir } = queue;
    assert!(matches!(rig.ended().await.0, WorkerEnd::Disconnected));
    assert!(begin.elapsed() < Duration::from_secs(1), "it does not wait for a job that never begins");
    all_dead(&holds).await;
}
