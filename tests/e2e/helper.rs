//! A daemon with a directory and a socket of its own, and what tests ask of it. Everything goes with it.

use musher::client::Client;
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, JobView, QueueView, StatusView};
use musher::protocol::{Claim, ClaimedJob, JobOptions, LeaseRef, Settle, SubmitGroup, Verdict};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a test's future.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Says that the test that runs cannot run here: in its output, and in the list that `.ci/run` prints at its end.
pub(crate) fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    note(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("skipped"), &line);
}

/// Copies the program. By another process: while this one had the copy open for writing, a child that another test starts
/// at that moment would have it open as well, and nobody can run what somebody may still write.
pub(crate) fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_musher")).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Adds a line in one write, as many tests may.
fn note(list: &Path, line: &str) {
    let mut list = fs::File::options().append(true).create(true).open(list).unwrap();
    list.write_all(line.as_bytes()).unwrap();
}

#[test]
fn what_is_skipped_is_in_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("skipped");
    note(&list, "one: it needs root\n");
    note(&list, "two: it needs a disk\n");
    assert_eq!(fs::read_to_string(&list).unwrap(), "one: it needs root\ntwo: it needs a disk\n");
}

/// Waits until `look` says something, with a deadline.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = monotonic() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(monotonic() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process has a handler for SIGTERM by now: verbs that wait have one from when they are about to ask. Not SIGINT, which is
/// ignored where these tests run in the background of a shell.
pub(crate) fn hears_sigterm(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (15 - 1)) != 0
}

/// A directory for one daemon at a time.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// With small log files and quick checkpoints, and whatever `more` says.
    pub(crate) fn new(more: &str) -> Home {
        let home = Home { dir: tempfile::tempdir().unwrap() };
        home.configure(more);
        home
    }

    pub(crate) fn configure(&self, more: &str) {
        let config = format!(
            "[storage]\nlog_file = \"256KiB\"\ncheckpoint = \"20ms\"\nballast = \"0B\"\n\
             [limits]\ndisk_reserve = \"0B\"\n{more}"
        );
        fs::write(self.path("musher.toml"), config).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    /// The program, told of this home.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musher"));
        command.env("MUSHER_SOCKET", self.socket()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    pub(crate) fn serve_command(&self) -> Command {
        let mut command = self.command();
        command
            .args(["serve", "--config"])
            .arg(self.path("musher.toml"))
            .arg("--data")
            .arg(self.path("data"));
        command.stdout(Stdio::null());
        command
    }

    /// Starts a daemon and waits until it answers.
    pub(crate) async fn serve(&self) -> Daemon {
        self.start(self.serve_command()).await
    }

    /// The same on a socket that is somebody else's, handed over as a service manager does.
    pub(crate) async fn serve_on(&self, listener: &UnixListener) -> Daemon {
        let program = self.serve_command();
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(program.get_program()).args(program.get_args());
        command
            .env("MUSHER_SOCKET", self.socket())
            .stdin(OwnedFd::from(listener.try_clone().unwrap()))
            .stdout(Stdio::null());
        self.start(command).await
    }

    /// Starts a daemon by a command of the test's own.
    pub(crate) async fn start(&self, mut command: Command) -> Daemon {
        let log = fs::File::options().append(true).create(true).open(self.path("log.txt")).unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let client = until("the daemon answers", async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended: {status}\n{}", self.log());
            }
            let client = Client::connect(self.socket()).await.ok()?;
            // A connection that has never asked for anything would hold up the daemon's end.
            client.ask::<StatusView>(AdminRequest::Status {}).await.ok()?;
            Some(client)
        })
        .await;
        Daemon { child, client, socket: self.socket(), _home: None }
    }

    /// The same; the home goes with the daemon.
    pub(crate) async fn serve_owned(self) -> Daemon {
        let daemon = self.serve().await;
        daemon.with_home(self)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log.txt")).unwrap_or_default()
    }

    /// Waits until the log has these words: a thread of the daemon writes it.
    pub(crate) async fn until_logged(&self, words: &str) {
        until(&format!("`{words}` in the log"), async || self.log().contains(words).then_some(())).await;
    }

    /// Runs a verb to its end.
    pub(crate) fn musher(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }
}

/// A daemon that runs; it is killed when the test forgets it.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) client: Client,
    socket: PathBuf,
    _home: Option<Home>,
}

impl Daemon {
    fn with_home(mut self, home: Home) -> Daemon {
        self._home = Some(home);
        self
    }

    pub(crate) fn socket(&self) -> &PathBuf {
        &self.socket
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    /// Has it read its configuration again, and waits until it has.
    pub(crate) async fn reload(&self, home: &Home) {
        let reloads = || home.log().matches("configuration reloaded").count();
        let before = reloads();
        self.signal(Signal::HUP);
        until("the daemon reloads", async || (reloads() > before).then_some(())).await;
    }

    /// To every process of the daemon's group; it must have been started as the first of one.
    pub(crate) fn signal_group(&self, signal: Signal) {
        kill_process_group(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    /// How long its process has had a processor.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1;
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
        Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32
    }

    /// Its process, and those that it has started.
    pub(crate) fn family(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        std::iter::once(own).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    pub(crate) async fn ended(mut self) -> ExitStatus {
        until("the daemon ends", async || self.child.try_wait().unwrap()).await
    }

    pub(crate) async fn kill(self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    pub(crate) async fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().await.code(), Some(0));
    }

    pub(crate) async fn submit(&self, queue: &str, bodies: &[&str]) -> u64 {
        let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
        let bodies = bodies.iter().map(|body| body.to_string().into()).collect();
        self.client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap().first_id()
    }

    pub(crate) async fn claim(&self, queue: &str, bound: bool, wait_ms: u64) -> Option<ClaimedJob> {
        claim(&self.client, queue, bound, wait_ms, None).await
    }

    pub(crate) async fn settle(&self, lease: LeaseRef, verdict: Verdict) -> bool {
        self.client.settle(vec![Settle { lease, verdict }]).await.unwrap()[0].is_ok()
    }

    pub(crate) async fn show(&self, id: u64) -> Option<JobView> {
        self.client.ask(AdminRequest::Show { id }).await.ok()
    }

    pub(crate) async fn state(&self, id: u64) -> String {
        self.show(id).await.map_or("gone".into(), |job| job.state)
    }

    pub(crate) async fn until_state(&self, id: u64, state: &str) {
        until(&format!("job {id} is {state}"), async || (self.state(id).await == state).then_some(())).await;
    }

    pub(crate) async fn status(&self) -> StatusView {
        self.client.ask(AdminRequest::Status {}).await.unwrap()
    }

    pub(crate) async fn queue(&self, name: &str) -> QueueView {
        self.try_queue(name).await.unwrap()
    }

    pub(crate) async fn try_queue(&self, name: &str) -> Option<QueueView> {
        let queues: Vec<QueueView> = self.client.ask(AdminRequest::Queues {}).await.unwrap();
        queues.into_iter().find(|queue| queue.queue == name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn claim(
    client: &Client,
    queue: &str,
    bound: bool,
    wait_ms: u64,
    lease_ms: Option<u64>,
) -> Option<ClaimedJob> {
    let claim = Claim { queues: vec![queue.into()], max: 1, lease_ms, wait_ms, bound };
    client.claim(claim).await.unwrap().pop()
}
