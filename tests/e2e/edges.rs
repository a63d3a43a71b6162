//! Where the daemon meets the system: its log, its descriptors, its files, its socket.

use crate::helper::{DEADLINE, Daemon, Home, block_on, skipped, until};
use musher::client::Client;
use musher::clock::monotonic;
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// A shell that becomes the daemon after `prelude`.
fn under(home: &Home, prelude: &str) -> Command {
    let daemon = home.serve_command();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{prelude}; exec \"$0\" \"$@\"")]).arg(daemon.get_program());
    command.args(daemon.get_args()).env("MUSHER_SOCKET", home.socket()).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A daemon that was started by a command of the test's own; it is killed when the test forgets it.
struct Child(std::process::Child);

impl Child {
    fn start(mut command: Command) -> Child {
        Child(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    async fn client(&mut self, home: &Home) -> Client {
        until("it answers", async || {
            assert_eq!(self.0.try_wait().unwrap(), None, "it has ended: {}", home.log());
            Client::connect(home.socket()).await.ok()
        })
        .await
    }

    async fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let status = until("it ends", async || self.0.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

async fn submit(client: &Client, queue: &str, bodies: &[&str]) -> u64 {
    use musher::protocol::{JobOptions, SubmitGroup};
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    let bodies = bodies.iter().map(|body| body.to_string().into()).collect();
    client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap().first_id()
}

/// The loop wrote its log itself: once the pipe was full it stood still, deaf for requests and signals.
#[test]
fn a_reader_of_the_log_who_stands_still_holds_up_nobody() {
    block_on(async {
        let home = Home::new("");
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        let mut command = home.serve_command();
        command.env("MUSHER_LOG", "trace").stderr(writer);
        let mut daemon = Child::start(command);
        let client = daemon.client(&home).await;
        // Each reload says something; many times what the pipe and the queue behind it hold.
        let bad = format!("[queues.q]\n{} = 1\n", "x".repeat(900));
        home.configure(&bad);
        let deadline = monotonic() + DEADLINE;
        for _ in 0..3_000 {
            let pid = rustix::process::Pid::from_child(&daemon.0);
            rustix::process::kill_process(pid, Signal::HUP).unwrap();
            let asked = client.ask::<serde_json::Value>(musher::protocol::admin::AdminRequest::Status {});
            tokio::time::timeout(DEADLINE, asked).await.expect("it answers").unwrap();
            assert!(monotonic() < deadline);
        }
        assert_eq!(submit(&client, "q", &["x"]).await, 1);
        let mut file = fs::File::create(home.path("log.txt")).unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut reader, &mut file));
        home.until_logged("lines of the log were dropped here").await;
        daemon.stop().await;
        reader.join().unwrap().unwrap();
        let log = home.log();
        let last = log.lines().last().unwrap();
        assert!(last.contains("stopped"), "the last line is there: {last}");
    });
}

/// A stop does not wait for a reader either.
#[test]
fn a_daemon_whose_log_nobody_reads_ends() {
    block_on(async {
        let home = Home::new("");
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while rustix::io::write(&writer, &[b'.'; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let mut command = home.serve_command();
        // The line that says that it is ready as well.
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut daemon = Child::start(command);
        let client = daemon.client(&home).await;
        assert_eq!(submit(&client, "q", &["x"]).await, 1);
        drop(client);
        daemon.stop().await;
        drop(reader);
    });
}

#[test]
fn a_daemon_lives_on_when_nobody_reads_what_it_says() {
    block_on(async {
        let home = Home::new("");
        for (output, redirect) in [(true, ":"), (false, "exec >&- 2>&- <&-")] {
            let mut command = under(&home, redirect);
            let (reader, writer) = std::io::pipe().unwrap();
            if output {
                command.stdout(writer.try_clone().unwrap()).stderr(writer);
            }
            drop(reader);
            let mut daemon = Child::start(command);
            let client = daemon.client(&home).await;
            submit(&client, "q", &["x"]).await;
            for number in 0..3 {
                let target = fs::read_link(format!("/proc/{}/fd/{number}", daemon.pid())).unwrap();
                let target = target.to_string_lossy().into_owned();
                assert!(target == "/dev/null" || target.starts_with("pipe:"), "{number}: {target}");
            }
            drop(client);
            daemon.stop().await;
        }
    });
}

#[test]
fn clients_end_quietly_when_nobody_reads_what_they_say() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["x"; 3]).await;
        for (verb, code) in [
            (&["submit", "q", "y"][..], 0),
            (&["submit", "nosuch queue", "y"], 2),
            (&["delete", "1", "--yes"], 0),
            (&["pause", "q"], 0),
            (&["list"], 0),
            (&["status"], 0),
            (&["completions", "bash"], 0),
            (&["config", "show"], 0),
            (&["show", "1000"], 1),
            (&["nosuchverb"], 2),
        ] {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut command = home.command();
            command.args(verb).stdout(writer.try_clone().unwrap()).stderr(writer);
            drop(reader);
            let mut child = command.spawn().unwrap();
            let status = until("it ends", async || child.try_wait().unwrap()).await;
            assert_eq!(status.code(), Some(code), "{verb:?}");
        }
        assert_eq!(daemon.queue("q").await.ready, 3, "what was asked for is done");
        daemon.stop().await;
    });
}

/// Everything in a directory, and itself.
fn everything_in(path: &Path, found: &mut Vec<std::path::PathBuf>) {
    found.push(path.to_path_buf());
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| everything_in(&entry.unwrap().path(), found));
    }
}

fn assert_private(data: &Path) {
    let mut found = Vec::new();
    everything_in(data, &mut found);
    assert!(found.len() > 5, "{found:?}");
    for path in found {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn what_the_daemon_makes_is_its_users_alone_and_jobs_have_the_umask_it_was_started_with() {
    block_on(async {
        let home = Home::new("[queues.commands]\nworkers = 1\n");
        fs::create_dir(home.path("data")).unwrap();
        fs::set_permissions(home.path("data"), Permissions::from_mode(0o755)).unwrap();
        for umask in ["0000", "0022"] {
            let mut daemon = Child::start(under(&home, &format!("umask {umask}; ulimit -Sn 600")));
            let client = daemon.client(&home).await;
            let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
            assert!(status.contains("Umask:\t0077"), "so the socket is never open to all: {status}");
            assert_eq!(mode(&home.socket()), 0o660);
            let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
            let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
            assert_ne!(files.split_whitespace().nth(3), Some("600"), "as many as it may have: {files}");
            let run = home
                .command()
                .args(["run", "--wait", "--", "sh", "-c", "umask; ulimit -Sn"])
                .output()
                .unwrap();
            let said = String::from_utf8(run.stdout).unwrap();
            assert_eq!(said.split_whitespace().collect::<Vec<_>>(), [umask, "600"]);
            submit(&client, "q", &["secret"]).await;
            assert_private(&home.path("data"));
            drop(client);
            daemon.stop().await;
        }
    });
}

#[test]
fn a_data_directory_that_others_can_read_is_closed_and_the_log_says_so() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["secret"]).await;
        daemon.stop().await;
        let mut found = Vec::new();
        everything_in(&home.path("data"), &mut found);
        for path in found.into_iter().rev() {
            let wide = if path.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(path, Permissions::from_mode(wide)).unwrap();
        }
        let daemon = home.serve().await;
        assert_private(&home.path("data"));
        home.until_logged("was open to other users (mode 0755)").await;
        daemon.stop().await;
    });
}

#[test]
fn a_directory_with_other_things_in_it_is_refused_and_left_as_it_is() {
    let home = Home::new("");
    fs::create_dir(home.path("data")).unwrap();
    fs::set_permissions(home.path("data"), Permissions::from_mode(0o755)).unwrap();
    fs::write(home.path("data/.profile"), "").unwrap();
    let output = home.serve_command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("contains other files (.profile)") && said.contains("data/musher"), "{said}");
    assert_eq!((fs::read_dir(home.path("data")).unwrap().count(), mode(&home.path("data"))), (1, 0o755));
}

/// Waits until a new connection is answered.
async fn until_served(home: &Home) {
    use musher::protocol::admin::{AdminRequest, StatusView};
    until("it answers", async || {
        let client = Client::connect(home.socket()).await.ok()?;
        client.ask::<StatusView>(AdminRequest::Status {}).await.ok()
    })
    .await;
}

#[test]
fn a_socket_that_somebody_deletes_is_made_again() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        for round in 0..3 {
            fs::remove_file(home.socket()).unwrap();
            until_served(&home).await;
            assert_eq!(mode(&home.socket()), 0o660);
            let said = || home.log().matches("had been deleted and was made again").count();
            until("the log says so", async || (said() == round + 1).then_some(())).await;
        }
        fs::rename(home.socket(), home.path("elsewhere")).unwrap();
        until_served(&home).await;
        daemon.stop().await;
        assert!(!home.socket().exists());
    });
}

#[test]
fn a_socket_whose_directory_is_gone_is_made_again_with_it_or_when_it_is_asked_for() {
    block_on(async {
        let home = Home::new("");
        let place = home.path("run");
        let socket = place.join("deep/socket");
        let mut command = home.serve_command();
        command.arg("--socket").arg(&socket);
        command.stderr(fs::File::create(home.path("log.txt")).unwrap());
        let mut daemon = Child::start(command);
        let is_there = async || UnixStream::connect(&socket).ok();
        until("it answers", is_there).await;
        assert_eq!(mode(&place.join("deep")), 0o750);
        fs::remove_dir_all(&place).unwrap();
        until("it answers again", is_there).await;
        assert_eq!(mode(&place), 0o750);
        // Now it cannot: there is a file in the way.
        fs::remove_dir_all(&place).unwrap();
        fs::write(&place, "").unwrap();
        home.until_logged("SIGHUP").await;
        fs::remove_file(&place).unwrap();
        let pid = rustix::process::Pid::from_child(&daemon.0);
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
        until("it answers once more", is_there).await;
        assert_eq!(daemon.0.try_wait().unwrap(), None);
        daemon.stop().await;
    });
}

#[test]
fn a_daemon_removes_its_own_socket_only() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let _other = UnixListener::bind(home.path("other")).unwrap();
        fs::rename(home.path("other"), home.socket()).unwrap();
        home.until_logged("is not this daemon's socket any more").await;
        daemon.stop().await;
        UnixStream::connect(home.socket()).expect("the other's is still there");
    });
}

/// A daemon whose queue of connections was full counted as gone, and lost its socket to the next.
#[test]
fn a_daemon_that_is_stopped_keeps_its_socket() {
    block_on(async {
        let home = Home::new("");
        let listener = UnixListener::bind(home.socket()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _waits = UnixStream::connect(home.socket()).unwrap();
        let output = home.serve_command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("answers at"), "{said}");
        drop(listener);
    });
}

/// To the daemon, the number of a client outside of its namespace is 0.
#[test]
fn a_client_outside_of_the_daemons_process_numbers_is_served() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve_command();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]).arg(daemon.get_program()).args(daemon.get_args());
        command.env("MUSHER_SOCKET", home.socket()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(home.path("log.txt")).unwrap());
        let able = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
        if !able.is_ok_and(|output| output.status.success()) {
            return skipped("no process numbers of one's own here");
        }
        let mut daemon = Child::start(command);
        let client = daemon.client(&home).await;
        assert_eq!(submit(&client, "q", &["x"]).await, 1);
    });
}

/// In a container the daemon is the process to which everything comes that has lost its parent.
#[test]
fn as_pid_one_the_daemon_leaves_no_zombies() {
    block_on(async {
        let able = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
        if !able.is_ok_and(|output| output.status.success()) {
            return skipped("no process numbers of one's own here");
        }
        let home = Home::new("");
        let daemon = home.serve_command();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(daemon.get_program()).args(daemon.get_args()).env("MUSHER_SOCKET", home.socket());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(home.path("log.txt")).unwrap());
        let mut unshare = Child::start(command);
        let client = unshare.client(&home).await;
        let one = children(unshare.pid())[0];
        // As `docker exec` does it: in there, and no child of it. What it leaves ends at once.
        let left = home.path("left");
        let script =
            format!("for n in 1 2 3; do (exec setsid sh -c 'echo $$ >>{}' &) ; done", left.display());
        let status =
            Command::new("nsenter").args(["-t", &one.to_string(), "-p", "sh", "-c", &script]).status();
        assert!(status.unwrap().success());
        until("all three have run", async || {
            (fs::read_to_string(&left).unwrap_or_default().lines().count() == 3).then_some(())
        })
        .await;
        until("nothing is left of them", async || {
            let zombies = children(one).into_iter().filter(|pid| state_of(*pid) == Some('Z')).count();
            (zombies == 0).then_some(())
        })
        .await;
        // Its own child is none of them.
        assert_eq!(children(one).len(), 1, "the pool: {}", home.log());
        assert_eq!(submit(&client, "q", &["x"]).await, 1);
    });
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The letter for it, of proc(5).
fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn strange_things_among_the_outputs_do_not_stop_a_start_and_are_named() {
    block_on(async {
        let home = Home::new("");
        home.serve().await.stop().await;
        let outputs = home.path("data/output");
        fs::create_dir_all(outputs.join("0/7")).unwrap();
        fs::write(outputs.join("stray"), "").unwrap();
        fs::write(outputs.join("0/notes"), "").unwrap();
        fs::write(outputs.join("0/8"), "").unwrap();
        let daemon: Daemon = home.serve().await;
        for name in ["stray", "0/7", "0/notes"] {
            let path = outputs.join(name);
            home.until_logged(&format!("{} is left alone", path.display())).await;
            assert!(path.exists(), "{name}: {}", home.log());
        }
        let job = outputs.join("0/8");
        assert!(!job.exists() && !home.log().contains(&job.display().to_string()), "{}", home.log());
        daemon.stop().await;
    });
}

#[test]
fn a_path_too_long_for_a_socket_is_named_as_that() {
    let home = Home::new("");
    let long = home.path(&"x".repeat(120)).display().to_string();
    for verb in [&["status"][..], &["submit", "q", "body"], &["show", "1"]] {
        let output = home.musher(&[&["--socket", &long][..], verb].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("a socket's path at most 107") && !said.contains("start one"), "{said}");
    }
}
