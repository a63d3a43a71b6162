//! Finding the daemon without being told where it is, and what is said to a user who cannot reach it.

use crate::helper::{Home, block_on, copy_program, skipped, until};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// A user without a name, and so without a directory of his own in /run.
const NOBODY: u32 = 61_234;

/// A copy of the program that others may run, under another user's number, with an environment of its own.
fn as_another(home: &Home, args: &[&str]) -> Command {
    let program = home.path("musher");
    if !program.exists() {
        copy_program(&program);
        fs::set_permissions(home.path(""), Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(program);
    command.args(args).env_clear().env("HOME", home.path("home")).env("PATH", "/usr/bin:/bin");
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Whether these tests can run; they say so if not.
fn may_be_others() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped("nobody else can be run here (that needs root)");
    }
    is_root
}

/// As from cron, or after su: without XDG_RUNTIME_DIR.
#[test]
fn a_client_finds_the_daemon_of_its_user_without_a_runtime_directory() {
    if !may_be_others() {
        return;
    }
    block_on(async {
        let home = Home::new("");
        fs::create_dir(home.path("home")).unwrap();
        std::os::unix::fs::chown(home.path("home"), Some(NOBODY), Some(NOBODY)).unwrap();
        let state = home.path("home/.local/state/musher/musher.sock");
        let system = Path::new("/run/musher/musher.sock");
        if system.exists() {
            skipped("where a client has looked is not told (this machine has a daemon of its own)");
        } else {
            let missing = said(&as_another(&home, &["status"]).output().unwrap());
            for place in [Path::new("/run/user/61234/musher/musher.sock"), &state, system] {
                assert!(missing.contains(place.to_str().unwrap()), "{place:?} in {missing}");
            }
        }
        let mut daemon = as_another(&home, &["serve"]).spawn().unwrap();
        let answer = until("it is found", async || {
            let output = as_another(&home, &["status"]).output().unwrap();
            output.status.success().then(|| said(&output))
        });
        assert!(answer.await.contains(".local/state/musher"));
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&daemon),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        until("it ends", async || daemon.try_wait().unwrap()).await;
    });
}

#[test]
fn who_is_not_in_the_sockets_group_is_told_so() {
    if !may_be_others() {
        return;
    }
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let socket = home.socket();
        // Any group that has a name.
        std::os::unix::fs::chown(&socket, None, Some(1)).unwrap();
        let name = nix::unistd::Group::from_gid(1.into()).unwrap().unwrap().name;
        let ask = || as_another(&home, &["--socket", socket.to_str().unwrap(), "status"]).output().unwrap();
        let output = ask();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(69), "{text}");
        assert!(
            text.contains("is not open to you") && text.contains(&format!("usermod -aG {name}")),
            "{text}"
        );
        assert!(!text.contains("start one"), "{text}");
        fs::set_permissions(&socket, Permissions::from_mode(0o600)).unwrap();
        let text = said(&ask());
        assert!(text.contains("mode 0600") && !text.contains("usermod"), "{text}");
        daemon.stop().await;
    });
}
