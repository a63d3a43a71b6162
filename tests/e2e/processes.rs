//! Processes of jobs: nothing of a job outlives it, and nothing of one attempt runs on beside the next.

use crate::helper::{Daemon, Home, block_on, until};
use musher::protocol::{JobOptions, SubmitGroup};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

/// Makes a home whose daemon runs this script for each job of queue `q`. In the script `$dir` is the home.
fn home(script: &str) -> Home {
    let home = Home::new("");
    fs::write(home.path("script"), with_dir(&home, script)).unwrap();
    let path = home.path("script").display().to_string();
    home.configure(&format!("[daemon]\ndrain_timeout = \"100ms\"\n[queues.q]\nworkers = 1\nhandler = {{ exec = [\"/bin/sh\", {path:?}] }}\n"));
    home
}

fn with_dir(home: &Home, script: &str) -> String {
    format!("dir={}\n{script}", home.path("").display())
}

/// Starts a process that leaves the job's group and its parent, and goes on for ever; waits until it has said who it is.
const RUNAWAY: &str = "\
(setsid sh -c 'echo $$ > \"$0/new\"; mv \"$0/new\" \"$0/pid\"; exec sleep 1000' $dir > /dev/null 2>&1 &)
until test -e $dir/pid; do sleep 0.01; done
";
/// Writes the attempt into a file again and again, from a process that has left the group.
const LOOP: &str = "\
setsid sh -c 'while :; do echo $MUSHER_ATTEMPT >> \"$0/lines\"; sleep 0.002; done' $dir &
wait
";

fn pid_of_runaway(home: &Home) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(home.path("pid")).ok()?.trim().parse().ok()?)
}

async fn runaway(home: &Home) -> Pid {
    let pid = until("it says who it is", async || pid_of_runaway(home)).await;
    assert!(is_alive(pid));
    pid
}

fn stat(pid: Pid) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Whether a process runs; one that is dead and not reaped does not.
fn is_alive(pid: Pid) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat[0].as_str(), "Z" | "X"))
}

async fn until_dead(pid: Pid) {
    until("it is dead", async || (!is_alive(pid)).then_some(())).await;
}

/// The process below that one.
async fn child_of(parent: Pid) -> Pid {
    let look = async || {
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let mut pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
        pids.find(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string()))
    };
    until("it has started a process", look).await
}

pub(crate) async fn pool_of(daemon: &Daemon) -> Pid {
    child_of(Pid::from_raw(daemon.status().await.pid as i32).unwrap()).await
}

/// Kills a daemon and its pool: nobody is left who knows of their jobs.
pub(crate) async fn kill_with_pool(daemon: Daemon) {
    let pool = pool_of(&daemon).await;
    daemon.kill().await;
    kill_process(pool, Signal::KILL).unwrap();
}

/// `musher work`, killed when the test forgets it.
struct Worker(Child);

impl Worker {
    fn start(home: &Home, script: &str) -> Worker {
        let mut command = home.command();
        command.args(["work", "q", "--", "sh", "-c", &with_dir(home, script)]);
        Worker(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many lines each attempt has written; no line of the first may come after one of the second.
fn lines(home: &Home) -> [usize; 2] {
    let text = fs::read_to_string(home.path("lines")).unwrap_or_default();
    let attempts: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(attempts.is_sorted(), "an attempt went on beside the next: {attempts:?}");
    [1, 2].map(|attempt| attempts.iter().filter(|of| **of == attempt).count())
}

/// Has two attempts of a job write; the first one's worker is killed in between.
async fn the_first_ends_before_the_second_begins(home: &Home, kill: impl AsyncFnOnce()) {
    until("the first one writes", async || (lines(home)[0] > 20).then_some(())).await;
    kill().await;
    until("the second one writes", async || (lines(home)[1] > 50).then_some(())).await;
}

#[test]
fn what_has_left_its_group_does_not_outlive_a_job_that_ends_by_itself() {
    block_on(async {
        let home = home(RUNAWAY);
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["a"]).await;
        daemon.until_state(id, "done").await;
        assert!(!is_alive(pid_of_runaway(&home).unwrap()));
    });
}

#[test]
fn what_has_left_its_group_does_not_outlive_a_job_that_is_cancelled() {
    block_on(async {
        let home = home(&format!("{RUNAWAY} sleep 1000"));
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["a"]).await;
        let pid = runaway(&home).await;
        assert_eq!(home.musher(&["cancel", &id.to_string()]).status.code(), Some(0));
        until_dead(pid).await;
    });
}

#[test]
fn what_has_left_its_group_does_not_outlive_a_job_that_takes_too_long() {
    block_on(async {
        let home = home(&format!("{RUNAWAY} sleep 1000"));
        let daemon = home.serve().await;
        let options = JobOptions {
            queue: "q".into(),
            attempts: Some(1),
            timeout_ms: Some(1_000),
            ..JobOptions::default()
        };
        daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["a".into()] }]).await.unwrap();
        let pid = runaway(&home).await;
        daemon.until_state(1, "dead").await;
        assert!(!is_alive(pid));
    });
}

#[test]
fn what_has_left_its_group_does_not_outlive_a_daemon_that_is_stopped() {
    for is_killed_before in [false, true] {
        block_on(async {
            let home = home(&format!("{RUNAWAY} sleep 1000"));
            let mut daemon = home.serve().await;
            daemon.submit("q", &["a"]).await;
            let pid = runaway(&home).await;
            if is_killed_before {
                daemon.kill().await;
                daemon = home.serve().await;
                home.until_logged("a worker is back").await;
                assert!(is_alive(pid), "its job runs still");
            }
            daemon.stop().await;
            until_dead(pid).await;
        });
    }
}

#[test]
fn only_a_jobs_own_leftovers_end_with_it() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let script = format!("read what || :\n test $what = long || exit 0\n {RUNAWAY} sleep 1000");
        let mut command = home.command();
        command.args(["work", "q", "-j", "2", "--", "sh", "-c", &with_dir(&home, &script)]);
        let worker = Worker(command.stdout(Stdio::null()).spawn().unwrap());
        daemon.submit("q", &["long\n"]).await;
        let pid = runaway(&home).await;
        for _ in 0..20 {
            let id = daemon.submit("q", &["short\n"]).await;
            daemon.until_state(id, "gone").await;
        }
        assert!(is_alive(pid) && daemon.state(1).await == "leased");
        drop(worker);
        until_dead(pid).await;
    });
}

#[test]
fn a_pool_that_is_killed_takes_all_of_its_jobs_with_it_before_they_run_again() {
    block_on(async {
        let home = home(LOOP);
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        let pool = pool_of(&daemon).await;
        the_first_ends_before_the_second_begins(&home, async || kill_process(pool, Signal::KILL).unwrap())
            .await;
        assert_eq!(daemon.show(1).await.unwrap().crashes, 1);
    });
}

#[test]
fn jobs_of_a_daemon_that_is_killed_with_its_pool_run_again_without_a_wait() {
    block_on(async {
        let home = home("echo $MUSHER_ATTEMPT >> $dir/lines; exec sleep 1000");
        let script = home.path("script").display().to_string();
        home.configure(&format!(
            "[daemon]\nresume_within = \"1h\"\n[queues.q]\nworkers = 1\nhandler = {{ exec = [\"/bin/sh\", {script:?}] }}\n"
        ));
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        until("it runs", async || (lines(&home)[0] > 0).then_some(())).await;
        kill_with_pool(daemon).await;
        let daemon = home.serve().await;
        until("it runs again", async || (lines(&home)[1] > 0).then_some(())).await;
        assert_eq!(daemon.show(1).await.unwrap().crashes, 1);
    });
}

#[test]
fn a_worker_that_is_killed_takes_all_of_its_jobs_with_it_before_they_run_again() {
    for is_keeper in [true, false] {
        block_on(async {
            let home = Home::new("");
            let daemon = home.serve().await;
            daemon.submit("q", &["a"]).await;
            let first = Worker::start(&home, LOOP);
            until("it runs", async || (lines(&home)[0] > 0).then_some(())).await;
            let _second = Worker::start(&home, LOOP);
            let kill = async || {
                let pid = if is_keeper { first.pid() } else { child_of(first.pid()).await };
                kill_process(pid, Signal::KILL).unwrap();
            };
            the_first_ends_before_the_second_begins(&home, kill).await;
        });
    }
}

#[test]
fn a_job_has_no_terminal_even_if_its_worker_has_one() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let terminal = Terminal::open();
        let script = "(: < /dev/tty) 2> $dir/error || :";
        let mut command = home.command();
        command.args(["work", "q", "--", "sh", "-c", &with_dir(&home, script)]);
        let _worker = Worker(terminal.start(command));
        let id = daemon.submit("q", &["a"]).await;
        daemon.until_state(id, "gone").await;
        let error = fs::read_to_string(home.path("error")).unwrap();
        assert!(error.contains("No such device or address"), "{error}");
    });
}

/// A terminal of its own.
struct Terminal {
    /// The side of whoever looks at it; it is gone with this.
    _outer: OwnedFd,
    inner: std::fs::File,
}

impl Terminal {
    fn open() -> Terminal {
        // SAFETY: plain calls; the descriptor is new and nobody else's, and the name is read before it is overwritten.
        let (outer, name) = unsafe {
            let fd = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
            assert!(fd >= 0 && libc::grantpt(fd) == 0 && libc::unlockpt(fd) == 0);
            let mut name = [0 as libc::c_char; 64];
            assert_eq!(libc::ptsname_r(fd, name.as_mut_ptr(), name.len()), 0);
            let name = std::ffi::CStr::from_ptr(name.as_ptr()).to_str().unwrap().to_owned();
            (OwnedFd::from_raw_fd(fd), name)
        };
        let inner =
            fs::File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).unwrap();
        Terminal { _outer: outer, inner }
    }

    /// Starts a program as if somebody had logged in there.
    fn start(&self, mut command: std::process::Command) -> Child {
        command.stdin(self.inner.try_clone().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        let login = || {
            // SAFETY: two system calls on the child alone.
            let done = unsafe { libc::setsid() >= 0 && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0 };
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: it makes system calls only.
        unsafe { command.pre_exec(login) }.spawn().unwrap()
    }
}

#[test]
fn jobs_go_before_the_daemon_when_memory_runs_out() {
    block_on(async {
        let home = home("cat /proc/self/oom_score_adj > $dir/adj");
        let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
        let adj = || fs::read_to_string(home.path("adj")).unwrap().trim().parse::<i32>().unwrap();
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["a"]).await;
        daemon.until_state(id, "done").await;
        assert_eq!(adj(), (own + 200).min(1000));
        let pid = daemon.status().await.pid;
        let of_daemon = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(of_daemon.trim(), own.to_string());
        let worker = "cat /proc/self/oom_score_adj > $dir/adj";
        let mut command = home.command();
        command.args(["work", "p", "--oom-score-adj", "7", "--", "sh", "-c", &with_dir(&home, worker)]);
        let _worker = Worker(command.spawn().unwrap());
        let id = daemon.submit("p", &["a"]).await;
        daemon.until_state(id, "gone").await;
        assert_eq!(adj(), (own + 7).min(1000));
    });
}

#[test]
fn a_worker_that_was_stopped_kills_what_it_runs_the_moment_it_learns_that_its_lease_is_over() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let script = format!("trap 'echo told >> $dir/told' TERM\necho $$ > $dir/pid\n{LOOP}\nwait");
        let start = |script: &str| {
            let mut command = home.command();
            command.args(["work", "q", "--lease", "1s", "--", "sh", "-c", &with_dir(&home, script)]);
            Worker(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        };
        let first = start(&script);
        let id = daemon.submit("q", &["a"]).await;
        let pid = runaway(&home).await;
        let kept = child_of(first.pid()).await;
        kill_process(kept, Signal::STOP).unwrap();
        let _second = start("echo > $dir/second; sleep 1000");
        until("another has it", async || home.path("second").exists().then_some(())).await;
        kill_process(kept, Signal::CONT).unwrap();
        until_dead(pid).await;
        assert!(!home.path("told").exists(), "it is not asked to end, which takes as long as it likes");
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.state.as_str(), job.failed, job.crashes), ("leased", 0, 1));
    });
}

#[test]
fn a_job_that_is_submitted_by_a_job_does_not_have_its_tags() {
    block_on(async {
        let home = Home::new("[queues.commands]\nhandler = \"command\"\nworkers = 2\n");
        let daemon = home.serve().await;
        let inner = home.path("inner").display().to_string();
        let inner = format!("env | grep ^MUSHER_ > {inner}.new; mv {inner}.new {inner}");
        let program = env!("CARGO_BIN_EXE_musher");
        let output = home.musher(&[
            "run",
            "--key",
            "outer",
            "--tag",
            "color=red",
            "--",
            program,
            "run",
            "--tag",
            "size=3",
            "--",
            "sh",
            "-c",
            &inner,
        ]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let variables = until("it ends", async || fs::read_to_string(home.path("inner")).ok()).await;
        assert!(
            variables.contains("MUSHER_JOB_ID=2\n") && variables.contains("MUSHER_TAG_SIZE=3\n"),
            "{variables}"
        );
        assert!(!variables.contains("COLOR") && !variables.contains("MUSHER_KEY"), "{variables}");
        daemon.until_state(2, "done").await;
        let body = daemon.client.body(2).await;
        assert!(body.is_err() || !String::from_utf8_lossy(&body.unwrap()).contains("MUSHER_JOB_ID"));
    });
}

#[test]
fn arguments_variables_and_directories_that_are_not_utf_8_are_kept() {
    block_on(async {
        let home = Home::new("[queues.commands]\nhandler = \"command\"\nworkers = 1\n");
        let daemon = home.serve().await;
        let odd = OsStr::from_bytes(b"a\xffb");
        let place = home.path("").join(odd);
        fs::create_dir(&place).unwrap();
        let mut command = home.command();
        command.args(["run", "--", "sh", "-c", "printf %s \"$1$ODD\" > said", "sh"]).arg(odd);
        let output = command.env("ODD", odd).current_dir(&place).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        daemon.until_state(1, "done").await;
        assert_eq!(fs::read(place.join("said")).unwrap(), b"a\xffba\xffb");
    });
}
