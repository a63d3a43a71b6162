//! `musher work`, the worker outside: what becomes of its jobs when it, or the daemon, goes.

use crate::helper::{Daemon, Home, block_on, until};

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus};

/// A worker that runs, with what it says in a file; it is killed when the test forgets it.
pub(crate) struct Worker {
    child: Child,
    said: std::path::PathBuf,
}

impl Worker {
    pub(crate) fn start(home: &Home, args: &[&str], script: &str) -> Worker {
        Worker::start_under(home, "exec \"$0\" \"$@\"", args, script)
    }

    /// The same with `prelude` run by the shell that becomes the worker.
    fn start_under(home: &Home, prelude: &str, args: &[&str], script: &str) -> Worker {
        let said = home.path("worker.txt");
        let log = std::fs::File::options().append(true).create(true).open(&said).unwrap();
        let worker = home.command();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", prelude]).arg(worker.get_program()).arg("work").args(args);
        command.args(["--", "sh", "-c", script]).env("MUSHER_SOCKET", home.socket()).env("NO_COLOR", "1");
        let child = command.stdin(std::process::Stdio::null()).stderr(log).process_group(0).spawn().unwrap();
        Worker { child, said }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn said(&self, words: &str) -> usize {
        std::fs::read_to_string(&self.said).unwrap().matches(words).count()
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until("the worker ends", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

pub(crate) async fn until_begun(path: &Path, jobs: usize) {
    until("the jobs have begun", async || (lines(path) >= jobs).then_some(())).await;
}

async fn is_back(daemon: &Daemon, id: u64) {
    let job = daemon.show(id).await.unwrap();
    assert_eq!((job.state.as_str(), job.failed, job.crashes), ("ready", 0, 0), "it is given back");
}

#[test]
fn a_worker_goes_on_with_the_next_daemon_and_says_once_that_the_first_is_gone() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let worker = Worker::start(&home, &["q"], "cat");
        daemon.submit("q", &["a"]).await;
        daemon.until_state(1, "gone").await;
        daemon.kill().await;
        until("it has noticed", async || (worker.said("the daemon is gone") > 0).then_some(())).await;
        let daemon = home.serve().await;
        daemon.submit("q", &["b"]).await;
        daemon.until_state(2, "gone").await;
        assert_eq!((worker.said("the daemon is gone"), worker.said("the daemon is back")), (1, 1));
    });
}

#[test]
fn a_worker_without_a_daemon_says_so_and_ends() {
    let home = Home::new("");
    let output = home.musher(&["work", "q", "--", "cat"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon answers"), "{output:?}");
}

#[test]
fn a_worker_that_is_told_to_stop_ends_its_jobs_and_takes_no_more() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let (begun, go) = (home.path("begun"), home.path("go"));
        let script =
            format!("echo >> {}; until test -e {}; do sleep 0.01; done", begun.display(), go.display());
        let mut worker = Worker::start(&home, &["first", "second", "-j", "2"], &script);
        daemon.submit("second", &["a"]).await;
        daemon.submit("first", &["b"]).await;
        until_begun(&begun, 2).await;
        daemon.submit("first", &["c"]).await;
        worker.signal(Signal::TERM);
        std::fs::write(&go, "").unwrap();
        assert_eq!(worker.ended().await.code(), Some(0));
        assert_eq!((daemon.state(1).await.as_str(), daemon.state(2).await.as_str()), ("gone", "gone"));
        is_back(&daemon, 3).await;
        assert_eq!(lines(&begun), 2, "the third was never begun, for two ran");
    });
}

#[test]
fn a_second_signal_to_a_worker_gives_its_jobs_back() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let begun = home.path("begun");
        let mut worker = Worker::start(&home, &["q"], &format!("echo >> {}; sleep 1000", begun.display()));
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        worker.signal(Signal::TERM);
        // Until it has heard the first one, a second would be the same signal.
        until("it stops", async || (worker.said("stopping") > 0).then_some(())).await;
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().await.code(), Some(0));
        is_back(&daemon, 1).await;
    });
}

#[test]
fn the_command_of_a_job_that_is_cancelled_ends() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let (begun, told) = (home.path("begun"), home.path("told"));
        let script = format!(
            "trap 'echo > {}; exit' TERM; echo >> {}; while :; do sleep 0.01; done",
            told.display(),
            begun.display()
        );
        // So long a lease that its loss is not noticed by extending it.
        let _worker = Worker::start(&home, &["q", "--lease", "10h"], &script);
        daemon.submit("q", &["a"]).await;
        until_begun(&begun, 1).await;
        assert_eq!(home.musher(&["cancel", "1"]).status.code(), Some(0));
        until_begun(&told, 1).await;
        daemon.submit("q", &["b"]).await;
        until_begun(&begun, 2).await;
    });
}

#[test]
fn bodies_of_any_bytes_come_whole() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        std::fs::write(home.path("body"), &bytes).unwrap();
        let got = home.path("got");
        let _worker =
            Worker::start(&home, &["q"], &format!("cat > {0}.new && mv {0}.new {0}", got.display()));
        let body = home.path("body");
        let output = home.musher(&["submit", "q", "--wait", "--file", body.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(std::fs::read(got).unwrap() == bytes);
        daemon.stop().await;
    });
}

#[test]
fn a_worker_that_cannot_start_processes_gives_its_job_back_and_says_why() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        // Enough for the worker itself, not for the pipes of a job.
        let worker = Worker::start_under(&home, "ulimit -n 16; exec \"$0\" \"$@\"", &["q"], "true");
        daemon.submit("q", &["a"]).await;
        until("it has tried twice", async || (daemon.show(1).await?.attempt >= 2).then_some(())).await;
        let job = daemon.show(1).await.unwrap();
        assert_eq!((job.failed, job.crashes), (0, 0), "the job is not at fault");
        assert!(job.attempt < 50, "it does not try again at once");
        assert!(
            worker.said("cannot start `sh` now") > 0,
            "{}",
            std::fs::read_to_string(&worker.said).unwrap()
        );
        drop(worker);
        let _other = Worker::start(&home, &["q"], "true");
        daemon.until_state(1, "gone").await;
    });
}

/// Submits jobs that end at once, then one that goes on until the file `go` is there, then one more; that one is
/// claimed before it can run if the jobs before were quick. Returns the ids of the last two.
async fn hold_up(home: &Home, daemon: &Daemon) -> (u64, u64) {
    let first = daemon.submit("q", &["quick", "quick", "quick", "quick", "hold", "next"]).await;
    until("it holds", async || (lines(&home.path("begun.hold")) > 0).then_some(())).await;
    (first + 4, first + 5)
}

fn holding(home: &Home) -> String {
    let path = |name| home.path(name).display().to_string();
    format!(
        "read what || :; echo >> {}.$what; [ \"$what\" != hold ] || until test -e {}; do sleep 0.01; done",
        path("begun"),
        path("go")
    )
}

#[test]
fn a_job_behind_a_long_one_is_run_by_another_worker() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let _first = Worker::start(&home, &["q"], &holding(&home));
        let (hold, next) = hold_up(&home, &daemon).await;
        let _second = Worker::start(&home, &["q"], "true");
        daemon.until_state(next, "gone").await;
        assert_eq!(daemon.state(hold).await, "leased");
        std::fs::write(home.path("go"), "").unwrap();
        daemon.until_state(hold, "gone").await;
    });
}

#[test]
fn a_worker_that_stops_gives_back_what_it_has_not_begun_uncounted() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let mut worker = Worker::start(&home, &["q"], &holding(&home));
        let (hold, next) = hold_up(&home, &daemon).await;
        worker.signal(Signal::TERM);
        until("it stops", async || (worker.said("stopping") > 0).then_some(())).await;
        std::fs::write(home.path("go"), "").unwrap();
        assert_eq!(worker.ended().await.code(), Some(0));
        assert_eq!(daemon.state(hold).await, "gone");
        is_back(&daemon, next).await;
        assert_eq!(lines(&home.path("begun.next")), 0);
    });
}

#[test]
fn what_a_killed_worker_has_claimed_ahead_runs_elsewhere() {
    const JOBS: usize = 200;
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let begun = home.path("begun");
        let script = format!("cat >> {}", begun.display());
        let mut worker = Worker::start(&home, &["q", "-j", "2"], &script);
        let bodies: Vec<String> = (0..JOBS).map(|nth| format!("{nth}\n")).collect();
        let first = daemon.submit("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        until_begun(&begun, JOBS / 4).await;
        worker.signal(Signal::KILL);
        worker.ended().await;
        let mut vanished = 0;
        for id in first..first + JOBS as u64 {
            let Some(job) = daemon.show(id).await else { continue };
            assert!(job.crashes <= 1 && job.failed == 0, "{job:?}");
            vanished += job.crashes;
        }
        assert!(vanished <= 4, "two slots and one job ahead of each, not {vanished}");
        let _second = Worker::start(&home, &["q", "-j", "2"], &script);
        for id in first..first + JOBS as u64 {
            daemon.until_state(id, "gone").await;
        }
        let text = std::fs::read_to_string(begun).unwrap();
        let ran: std::collections::HashSet<&str> = text.lines().collect();
        assert_eq!(ran.len(), JOBS, "each has run");
    });
}
