//! A control group for each job, where one was delegated. Only root can delegate one to itself, so these tests are
//! skipped for others.

use crate::helper::{DEADLINE, Daemon, Home, block_on, skipped, until};
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Leaves a process that has left the job's group, session and parent, says where both run, and goes on.
const RUNAWAY: &str = "\
(setsid sh -c 'cat /proc/self/cgroup > \"$0/new\"; mv \"$0/new\" \"$0/place\"; exec sleep 1000' $dir > /dev/null 2>&1 &)
until test -e $dir/place; do sleep 0.01; done
sleep 1000
";

/// A group as a service manager delegates it. Gone with all that is in it when the test forgets it.
struct Delegated(PathBuf);

impl Delegated {
    /// None if that cannot be had here.
    fn new() -> Option<Delegated> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = mounts.lines().find_map(|line| line.split_once(" - cgroup2 ")?.0.split(' ').nth(4))?;
        let name = format!("musher-test.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let group = Delegated(Path::new(root).join(name));
        fs::create_dir(&group.0).ok()?;
        setxattr(&group.0, "user.delegate", b"1", XattrFlags::empty()).ok()?;
        group.0.join("cgroup.kill").exists().then_some(group)
    }

    /// The groups in it.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let begun = musher::clock::monotonic();
        while is_populated(&self.0) && musher::clock::monotonic() - begun < DEADLINE {
            std::thread::yield_now();
        }
        remove(&self.0);
    }
}

/// The same command, run in a group.
fn inside(group: &Path, command: &Command) -> Command {
    let mut inside = Command::new("sh");
    inside.args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""]).arg(group);
    inside.arg(command.get_program()).args(command.get_args());
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside.stdin(Stdio::null()).stdout(Stdio::null());
    inside
}

fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn is_populated(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.events")).is_ok_and(|events| events.contains("populated 1"))
}

/// Runs a test with a daemon in a group of its own, whose one worker runs `RUNAWAY`.
fn in_a_group(test: impl AsyncFnOnce(&Delegated, &Home, Daemon)) {
    let Some(group) = Delegated::new() else {
        return skipped("only root can delegate a control group, of version 2 and with cgroup.kill");
    };
    block_on(async {
        let home = Home::new("");
        fs::write(home.path("script"), format!("dir={}\n{RUNAWAY}", home.path("").display())).unwrap();
        let script = home.path("script").display().to_string();
        home.configure(&format!(
            "[daemon]\ndrain_timeout = \"100ms\"\n\
             [queues.q]\nworkers = 1\nhandler = {{ exec = [\"/bin/sh\", {script:?}] }}\n"
        ));
        let daemon = home.start(inside(&group.0, &home.serve_command())).await;
        test(&group, &home, daemon).await;
    });
}

/// Submits a job and waits until its runaway has said where it is; the job's group.
async fn runaway(home: &Home, daemon: &Daemon, group: &Delegated) -> PathBuf {
    daemon.submit("q", &["a"]).await;
    let place = until("it says where it is", async || fs::read_to_string(home.path("place")).ok()).await;
    let name = group.0.file_name().unwrap().to_str().unwrap();
    let (_, below) = place.trim().split_once(&format!("{name}/")).expect("it is in the delegated group");
    let path = group.0.join(below);
    assert_eq!(path.file_name().unwrap(), "1", "a group for each job: {place}");
    assert!(is_populated(&path));
    path
}

async fn until_empty(group: &Path) {
    until("nothing is left in it", async || (!is_populated(group)).then_some(())).await;
}

#[test]
fn a_job_has_a_group_that_is_empty_when_it_has_ended_and_used_again() {
    in_a_group(async |group, home, daemon| {
        let first = runaway(home, &daemon, group).await;
        assert_eq!(home.musher(&["cancel", "1"]).status.code(), Some(0));
        until_empty(&first).await;
        fs::remove_file(home.path("place")).unwrap();
        assert_eq!(runaway(home, &daemon, group).await, first);
    });
}

#[test]
fn groups_are_gone_when_the_daemon_has_stopped() {
    in_a_group(async |group, home, daemon| {
        runaway(home, &daemon, group).await;
        daemon.signal(Signal::TERM);
        daemon.ended().await;
        assert_eq!(group.groups(), Vec::<PathBuf>::new());
        assert!(!is_populated(&group.0));
    });
}

#[test]
fn groups_of_a_pool_that_is_killed_are_empty_and_gone() {
    in_a_group(async |group, home, daemon| {
        let job = runaway(home, &daemon, group).await;
        fs::remove_file(home.path("place")).unwrap();
        let of_pool = job.parent().unwrap();
        let pid = of_pool.file_name().unwrap().to_str().unwrap().strip_prefix("musher-").unwrap();
        kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        until("it is gone", async || (!of_pool.exists()).then_some(())).await;
        until("the job runs again", async || home.path("place").exists().then_some(())).await;
    });
}

#[test]
fn what_a_worker_has_left_of_whom_nobody_is_left_ends_with_the_next_start() {
    let Some(group) = Delegated::new() else {
        return skipped("only root can delegate a control group, of version 2 and with cgroup.kill");
    };
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let left = Delegated(group.0.join(format!("musher-{}", dead.id())));
    fs::create_dir_all(left.0.join("1")).unwrap();
    let mut runaway = inside(&left.0.join("1"), Command::new("sleep").arg("1000")).spawn().unwrap();
    block_on(async {
        until("it runs", async || is_populated(&left.0).then_some(())).await;
        let home = Home::new("");
        let _daemon = home.start(inside(&group.0, &home.serve_command())).await;
        until("it is killed", async || runaway.try_wait().unwrap()).await;
        until("its group is gone", async || (!left.0.exists()).then_some(())).await;
    });
}
