//! A daemon with other users beside it: real processes under real user ids.

use crate::helper::{Daemon, Home, block_on, skipped, until};
use rustix::process::Signal;
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

pub(super) const RULES: &str = "[queues.commands]\nworkers = 0\n\
    [[access]]\nusers = [64001]\nqueues = ['mails']\nmay = ['submit']\n\
    [[access]]\ngroups = [64100]\nqueues = ['m*']\nmay = ['work', 'read']\n";

/// Users and groups that need no entry anywhere.
pub(super) const ALICE: u32 = 64_001;
pub(super) const BOB: u32 = 64_002;
pub(super) const MAILERS: u32 = 64_100;

/// Runs a test as root, which alone can be other users; skips it otherwise.
pub(super) fn as_root(test: impl Future<Output = ()>) {
    match rustix::process::geteuid().is_root() {
        true => block_on(test),
        false => skipped("only root can be other users"),
    }
}

/// A home whose socket lets everybody in.
pub(super) struct Town {
    pub(super) home: Home,
    /// The program, opened by us: other users may not reach its directory.
    program: File,
}

impl Town {
    pub(super) fn new(config: &str) -> Town {
        let home = Home::new(config);
        fs::set_permissions(home.path(""), Permissions::from_mode(0o755)).unwrap();
        Town { home, program: File::open(env!("CARGO_BIN_EXE_musher")).unwrap() }
    }

    pub(super) async fn serve(&self) -> Daemon {
        let daemon = self.home.serve().await;
        fs::set_permissions(self.home.socket(), Permissions::from_mode(0o666)).unwrap();
        daemon
    }

    pub(super) fn command(&self, uid: u32, groups: &[u32], args: &[&str]) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()));
        command.env_clear().env("MUSHER_SOCKET", self.home.socket()).env("PATH", "/usr/bin:/bin");
        command.args(args).stdin(Stdio::null()).current_dir("/");
        become_user(&mut command, uid, groups);
        command
    }

    pub(super) fn run(&self, uid: u32, groups: &[u32], args: &[&str]) -> Said {
        Said::of(self.command(uid, groups, args).output().unwrap())
    }

    /// Changes the rules while the daemon runs.
    pub(super) async fn reload(&self, daemon: &Daemon, config: &str) {
        let before = self.home.log().matches("configuration reloaded").count();
        self.home.configure(config);
        daemon.signal(Signal::HUP);
        until("the rules have changed", async || {
            (self.home.log().matches("configuration reloaded").count() > before).then_some(())
        })
        .await;
    }
}

fn become_user(command: &mut Command, uid: u32, groups: &[u32]) {
    let groups = groups.to_vec();
    let change = move || {
        let result =
            |code: libc::c_int| if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
        // SAFETY: between fork and exec only calls that are safe in a signal handler are allowed: these are bare
        // system calls, for the one thread there is. The list is alive and as long as is said.
        unsafe {
            result(libc::setgroups(groups.len(), groups.as_ptr()))?;
            result(libc::setgid(uid))?;
            result(libc::setuid(uid))
        }
    };
    // SAFETY: see above; an error from `last_os_error` is a plain number.
    unsafe { command.pre_exec(change) };
}

/// What a verb said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    pub(super) fn of(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Refused, with all of these words.
    #[track_caller]
    pub(super) fn refused(self, words: &[&str]) {
        assert!(self.code != Some(0), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word}: {self:?}");
        }
    }
}
