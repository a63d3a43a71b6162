//! Who may do what, tested by other users: real processes under real user ids. Needs root, and says so without.

use crate::helper::{Daemon, Home, block_on, skipped, until};
use musher::protocol::Verdict;
use rustix::process::Signal;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// Users and groups that need no entry anywhere.
const ALICE: u32 = 64_001;
const BOB: u32 = 64_002;
const MAILERS: u32 = 64_100;

/// Runs a test as root, which alone can be other users; skips it otherwise.
fn as_root(test: impl Future<Output = ()>) {
    match rustix::process::geteuid().is_root() {
        true => block_on(test),
        false => skipped("only root can be other users"),
    }
}

/// A home whose socket lets everybody in.
struct Town {
    home: Home,
    /// The program, opened by us: other users may not reach its directory.
    program: File,
}

impl Town {
    fn new(config: &str) -> Town {
        let home = Home::new(config);
        fs::set_permissions(home.path(""), Permissions::from_mode(0o755)).unwrap();
        Town { home, program: File::open(env!("CARGO_BIN_EXE_musher")).unwrap() }
    }

    async fn serve(&self) -> Daemon {
        let daemon = self.home.serve().await;
        fs::set_permissions(self.home.socket(), Permissions::from_mode(0o666)).unwrap();
        daemon
    }

    fn command(&self, uid: u32, groups: &[u32], args: &[&str]) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()));
        command.env_clear().env("MUSHER_SOCKET", self.home.socket()).env("PATH", "/usr/bin:/bin");
        command.args(args).stdin(Stdio::null()).current_dir("/");
        become_user(&mut command, uid, groups);
        command
    }

    fn run(&self, uid: u32, groups: &[u32], args: &[&str]) -> Said {
        Said::of(self.command(uid, groups, args).output().unwrap())
    }

    /// Changes the rules while the daemon runs.
    async fn reload(&self, daemon: &Daemon, config: &str) {
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
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Refused, with all of these words.
    #[track_caller]
    fn refused(self, words: &[&str]) {
        assert!(self.code != Some(0), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word}: {self:?}");
        }
    }
}

#[test]
fn without_rules_another_user_may_submit_and_sees_his_own_jobs_only() {
    as_root(async {
        let town = Town::new("[queues.commands]\nworkers = 0\n");
        let daemon = town.serve().await;
        assert_eq!(daemon.submit("mails", &["secret"]).await, 1);
        assert_eq!(town.run(ALICE, &[], &["submit", "mails", "hers"]).ok().trim(), "2");
        assert_eq!(daemon.show(2).await.unwrap().owner, ALICE);
        assert_eq!(town.run(ALICE, &[], &["show", "2", "--body"]).ok(), "hers");
        let listed = town.run(ALICE, &[], &["list", "--json"]).ok();
        assert!(listed.lines().count() == 1 && listed.contains("\"id\":2"), "{listed}");
        assert_eq!(town.run(BOB, &[], &["list", "--json"]).ok(), "");
        town.run(ALICE, &[], &["claim", "mails"]).refused(&[
            "uid 64001",
            "work on queue `mails`",
            "may = [\"work\"]",
        ]);
        town.run(ALICE, &[], &["pause", "mails"])
            .refused(&["may not change queue `mails`", "may = [\"admin\"]"]);
        town.run(ALICE, &[], &["queue", "set", "mails", "rate=1/s"])
            .refused(&["may not change queue `mails`", "may = [\"admin\"]"]);
        town.run(ALICE, &[], &["queue", "unset", "mails", "rate"]).refused(&["may not change queue `mails`"]);
        town.run(ALICE, &[], &["purge", "mails", "--yes"]).refused(&["may not change queue `mails`"]);
        town.run(ALICE, &[], &["drain"]).refused(&["may not change the whole daemon", "queues = [\"*\"]"]);
        let said = town.run(ALICE, &[], &["backup", "-"]);
        assert!(said.out.is_empty() && !said.err.contains("secret"), "{said:?}");
        said.refused(&["may not change the whole daemon", "may = [\"admin\"]"]);
        town.run(ALICE, &[], &["undrain"]).refused(&["may not change the whole daemon"]);
        // Her own job is hers.
        town.run(ALICE, &[], &["cancel", "2"]).ok();
        assert_eq!(daemon.state(2).await, "gone");
        assert_eq!(daemon.state(1).await, "ready");
    });
}

/// A move is a submit where it goes to, and a change where it comes from.
#[test]
fn who_moves_a_job_must_be_allowed_to_submit_where_it_goes() {
    as_root(async {
        let rules = format!(
            "[[access]]\nusers = [{ALICE}]\nqueues = [\"q\", \"r\"]\nmay = [\"submit\"]\n\
             [[access]]\nusers = [{BOB}]\nqueues = [\"q\"]\nmay = [\"read\", \"submit\"]\n"
        );
        let town = Town::new(&rules);
        let daemon = town.serve().await;
        assert_eq!(town.run(ALICE, &[], &["submit", "q", "hers"]).ok().trim(), "1");
        town.run(ALICE, &[], &["move", "1", "--to", "secret"]).refused(&["submit to queue `secret`"]);
        town.run(BOB, &[], &["move", "1", "--to", "q"]).refused(&["may not change queue `q`"]);
        town.run(BOB, &[], &["priority", "1", "--to", "0"]).refused(&["may not change queue `q`"]);
        town.run(ALICE, &[], &["priority", "1", "--to", "3"]).ok();
        town.run(ALICE, &[], &["move", "1", "--to", "r"]).ok();
        let job = daemon.show(1).await.unwrap();
        assert_eq!((job.queue.as_str(), job.owner, job.priority), ("r", ALICE, 3));
        daemon.stop().await;
    });
}

/// Whatever somebody asks of a job that is not his: the answer is the same, to the letter, as for one that never was.
#[test]
fn a_job_of_somebody_else_is_not_there() {
    as_root(async {
        let town = Town::new("[queues.q.keep]\ndone = '1h'\n[queues.commands]\nworkers = 0\n");
        let daemon = town.serve().await;
        daemon.submit("q", &["waits", "runs", "done", "gone"]).await;
        daemon.client.done(musher::protocol::admin::AdminRequest::Pause { queue: "q".into() }).await.unwrap();
        daemon
            .client
            .done(musher::protocol::admin::AdminRequest::Resume { queue: "q".into() })
            .await
            .unwrap();
        let first = daemon.claim("q", true, 0).await.unwrap();
        assert!(daemon.settle(first.lease, Verdict::Complete).await);
        let _runs = daemon.claim("q", true, 0).await.unwrap();
        town.home.musher(&["delete", "4"]);
        assert_eq!(daemon.state(4).await, "gone");
        for (verb, rest) in [
            ("show", &[][..]),
            ("show", &["--body"]),
            ("show", &["--json"]),
            ("explain", &[]),
            ("move", &["--to", "q"]),
            ("priority", &["--to", "5"]),
            ("logs", &[]),
            ("logs", &["--follow"]),
            ("wait", &[]),
            ("wait", &["--timeout", "1s"]),
            ("cancel", &[]),
            ("retry", &[]),
            ("kick", &[]),
            ("bury", &[]),
            ("delete", &[]),
        ] {
            let ask = |id: &str| {
                let args: Vec<&str> = [verb, id].into_iter().chain(rest.iter().copied()).collect();
                let said = town.run(BOB, &[], &args);
                assert_ne!(said.code, Some(0), "{args:?} {said:?}");
                (said.code, said.out.replace(id, "N"), said.err.replace(id, "N"))
            };
            let gone = ask("4");
            for id in ["1", "2", "3"] {
                assert_eq!(ask(id), gone, "{verb} {rest:?}");
            }
        }
        for lease in ["2@1", "1@1"] {
            town.run(BOB, &[], &["complete", lease]).refused(&["not found"]);
            town.run(BOB, &[], &["extend", lease]).refused(&["not found"]);
        }
        assert_eq!(daemon.state(2).await, "leased");
        assert_eq!(daemon.state(3).await, "ready");
    });
}

const RULES: &str = "[queues.commands]\nworkers = 0\n\
    [[access]]\nusers = [64001]\nqueues = ['mails']\nmay = ['submit']\n\
    [[access]]\ngroups = [64100]\nqueues = ['m*']\nmay = ['work', 'read']\n";

#[test]
fn rules_name_users_groups_and_queues() {
    as_root(async {
        let town = Town::new(RULES);
        let daemon = town.serve().await;
        assert_eq!(town.run(ALICE, &[], &["submit", "mails", "hello"]).ok().trim(), "1");
        town.run(ALICE, &[], &["submit", "bills", "x"]).refused(&["may not submit to queue `bills`"]);
        town.run(BOB, &[], &["submit", "mails", "x"])
            .refused(&["uid 64002", "may not submit to queue `mails`"]);
        // One group among others of his.
        let groups = [5, MAILERS, 7];
        assert!(town.run(BOB, &groups, &["show", "1", "--body"]).ok().contains("hello"));
        town.run(BOB, &groups, &["cancel", "1"])
            .refused(&["may not change queue `mails`", "may = [\"admin\"]"]);
        town.run(BOB, &groups, &["claim", "bills"]).refused(&["may not work on queue `bills`"]);
        let claimed = town.run(BOB, &groups, &["claim", "mails"]).ok();
        assert!(claimed.starts_with("1@1"), "{claimed}");
        // Who may not work on it has no say, even if the job is his.
        town.run(ALICE, &[], &["complete", "1@1"]).refused(&["may not work on queue `mails`"]);
        town.run(BOB, &[], &["complete", "1@1"]).refused(&["not found"]);
        town.run(BOB, &groups, &["complete", "1@1"]).ok();
        assert_eq!(daemon.state(1).await, "gone");
        // Queues that a rule names are shown, others are not.
        daemon.submit("bills", &["x"]).await;
        let queues = town.run(BOB, &groups, &["queues", "--json"]).ok();
        assert!(queues.contains("mails") && !queues.contains("bills"), "{queues}");
        assert_eq!(town.run(BOB, &[], &["queues", "--json"]).ok(), "");
    });
}

/// The pool of a daemon of root takes on the rights of whoever submitted the command.
#[test]
fn a_command_runs_as_the_user_who_submitted_it_and_as_nobody_else() {
    const NOBODY: u32 = 65_534;
    as_root(async {
        let Some(nobody) = nix::unistd::User::from_uid(NOBODY.into()).unwrap() else {
            return skipped(&format!("there is no user {NOBODY} here"));
        };
        let town = Town::new("");
        let daemon = town.serve().await;
        let script =
            "grep -E '^(Uid|Gid|Groups|CapPrm|CapEff):' /proc/self/status; pwd; echo $HOME $USER $LOGNAME";
        let printed = town.run(NOBODY, &[], &["run", "--wait", "--", "sh", "-c", script]).ok();
        let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
        let gid = nobody.gid.to_string();
        let same = |name: &'static str, id: &'static str| vec![name, id, id, id, id];
        assert_eq!(lines[0], same("Uid:", "65534"));
        assert_eq!(lines[1], ["Gid:", &gid, &gid, &gid, &gid]);
        assert_eq!(lines[2], ["Groups:", &gid], "none of root's");
        let none = "0000000000000000";
        assert_eq!((&lines[3][..], &lines[4][..]), (&["CapPrm:", none][..], &["CapEff:", none][..]));
        assert_eq!(lines[5], ["/"]);
        let home = nobody.dir.to_str().unwrap();
        assert_eq!(lines[6], [home, "nobody", "nobody"]);
        // Root's own commands stay root's.
        let own = town.home.musher(&["run", "--wait", "--", "id", "-u"]);
        assert_eq!(Said::of(own).ok(), "0\n");
        // What only root may do, root does not do for others.
        fs::write(town.home.path("secret"), "secret").unwrap();
        fs::set_permissions(town.home.path("secret"), Permissions::from_mode(0o600)).unwrap();
        let secret = town.home.path("secret");
        let said = town.run(NOBODY, &[], &["run", "--wait", "--", "cat", secret.to_str().unwrap()]);
        assert!(said.out.is_empty() && said.err.contains("ermission denied"), "{said:?}");
        // Not even the directory is entered for him.
        let body = |cwd: &str| {
            format!("{{\"argv\":[\"pwd\"],\"cwd\":\"{cwd}\",\"env\":[[\"PATH\",\"/usr/bin:/bin\"]]}}")
        };
        let data = town.home.path("data");
        let place = body(data.to_str().unwrap());
        let id = town.run(NOBODY, &[], &["submit", "commands", "--attempts", "1", &place]).ok();
        let said = town.run(NOBODY, &[], &["wait", id.trim()]);
        said.refused(&["as nobody in", "permission denied", "enter that directory"]);
        // A user whom the machine does not know.
        let id = town.run(ALICE, &[], &["submit", "commands", "--attempts", "1", &body("/")]).ok();
        town.run(ALICE, &[], &["wait", id.trim()]).refused(&["run as user 64001", "there is no such user"]);
        daemon.stop().await;
    });
}

#[test]
fn a_daemon_that_is_not_root_refuses_the_commands_of_others() {
    as_root(async {
        let town = Town::new("");
        for made in ["", "musher.toml"] {
            std::os::unix::fs::chown(town.home.path(made), Some(ALICE), Some(ALICE)).unwrap();
        }
        let (config, data) = (town.home.path("musher.toml"), town.home.path("data"));
        let args = ["serve", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let mut daemon = town.command(ALICE, &[], &args);
        let mut daemon = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the daemon answers", async || {
            town.run(ALICE, &[], &["status"]).code.filter(|code| *code == 0)
        })
        .await;
        fs::set_permissions(town.home.socket(), Permissions::from_mode(0o666)).unwrap();
        for uid in [0, BOB] {
            let said = town.run(uid, &[], &["run", "--", "true"]);
            said.refused(&[
                "runs commands as the user who submits them",
                "a daemon of user 64001",
                &format!("uid {uid}"),
            ]);
        }
        assert_eq!(town.run(ALICE, &[], &["run", "--wait", "--", "id", "-u"]).ok(), "64001\n");
        // One that came before the queue ran commands is not run either.
        fs::write(&config, fs::read_to_string(&config).unwrap() + "[queues.late]\n").unwrap();
        town.run(
            BOB,
            &[],
            &["submit", "late", "--attempts", "5", "{\"argv\":[\"id\"],\"cwd\":\"/\",\"env\":[]}"],
        )
        .ok();
        fs::write(&config, fs::read_to_string(&config).unwrap() + "handler = 'command'\nworkers = 1\n")
            .unwrap();
        let pid = rustix::process::Pid::from_child(&daemon);
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
        let dead = async || {
            let dead = town.run(ALICE, &[], &["list", "--state", "dead"]).ok();
            dead.contains("must run as user 64002").then_some(())
        };
        until("it is dead, with the reason", dead).await;
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        until("the daemon ends", async || daemon.try_wait().unwrap()).await;
    });
}

#[test]
fn a_reload_holds_for_connections_that_are_open() {
    as_root(async {
        let town = Town::new(RULES);
        let daemon = town.serve().await;
        let job = daemon.submit("mails", &["first"]).await;
        let mut waits = town
            .command(BOB, &[MAILERS], &["wait", &job.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut claims = town
            .command(BOB, &[MAILERS], &["claim", "misc", "--wait", "10m"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("the claim waits", async || (daemon.status().await.waiting_claims == 1).then_some(())).await;
        until("the wait waits", async || (daemon.status().await.connections == 4).then_some(())).await;
        town.reload(&daemon, "[[access]]\nusers = [64001]\nqueues = ['*']\nmay = ['submit']\n").await;
        until("the claim ends", async || claims.try_wait().unwrap()).await;
        Said::of(claims.wait_with_output().unwrap()).refused(&["may not work on queue `misc`"]);
        until("the wait ends", async || waits.try_wait().unwrap()).await;
        Said::of(waits.wait_with_output().unwrap()).refused(&["job 1 "]);
        assert_eq!(daemon.state(job).await, "ready");
    });
}

/// What a connection has submitted before is allowed no longer than the rules say.
#[test]
fn a_reload_holds_for_submits_like_those_before_it() {
    as_root(async {
        let town = Town::new(RULES);
        let daemon = town.serve().await;
        let mut submits = town
            .command(ALICE, &[], &["submit", "mails", "--lines"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = submits.stdin.take().unwrap();
        lines.write_all(b"x\n").unwrap();
        until("a job was taken", async || {
            daemon.status().await.queues.iter().any(|queue| queue.queue == "mails").then_some(())
        })
        .await;
        town.reload(&daemon, "[[access]]\nusers = [64002]\nqueues = ['*']\nmay = ['submit']\n").await;
        lines.write_all(b"x\n").unwrap();
        drop(lines);
        let said = Said::of(submits.wait_with_output().unwrap());
        said.refused(&["may not submit to queue `mails`", "1 job was taken"]);
    });
}

#[test]
fn who_is_not_in_the_sockets_group_does_not_get_in() {
    as_root(async {
        let town = Town::new("[queues.commands]\nworkers = 0\n");
        let _daemon = town.home.serve().await;
        let mode = |path: &str| fs::metadata(town.home.path(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("socket"), mode("data"), mode("data/output")), (0o660, 0o700, 0o700));
        std::os::unix::fs::chown(town.home.socket(), None, Some(MAILERS)).unwrap();
        town.run(ALICE, &[], &["submit", "mails", "x"]).refused(&["is not open to you", "group"]);
        town.run(ALICE, &[MAILERS], &["submit", "mails", "x"]).ok();
    });
}

/// What runs by the clock runs as whoever made it, so nobody else may change or start it.
#[test]
fn a_schedule_belongs_to_whoever_made_it() {
    as_root(async {
        let rules = format!("[[access]]\nusers = [{ALICE}, {BOB}]\nqueues = ['mails']\nmay = ['submit']\n");
        let admin = format!("[[access]]\nusers = [{BOB}]\nqueues = ['mails']\nmay = ['admin']\n");
        let town = Town::new(&rules);
        let daemon = town.serve().await;
        let add = |queue| ["schedule", "add", "hers", "--every", "1h", queue, "x"];
        town.run(ALICE, &[], &add("other")).refused(&["you (uid 64001) may not submit to queue `other`"]);
        town.run(ALICE, &[], &add("mails")).ok();
        assert!(town.run(ALICE, &[], &["schedule", "list"]).ok().contains("hers"));
        assert_eq!(town.run(BOB, &[], &["schedule", "list", "--json"]).ok(), "");
        for verb in ["show", "next", "trigger", "pause", "resume", "remove"] {
            let said = town.run(BOB, &[], &["schedule", verb, "hers"]);
            said.refused(&["no such schedule: `hers` (`musher schedule list` has all of them)"]);
        }
        let replace = [&add("mails")[..], &["--replace"]].concat();
        town.run(BOB, &[], &replace).refused(&["you (uid 64002) may not change queue `mails`"]);
        town.run(ALICE, &[], &["schedule", "trigger", "hers"]).ok();
        let job = daemon.claim("mails", false, 0).await.expect("it was submitted");
        assert_eq!(job.owner, ALICE);

        town.reload(&daemon, &admin).await;
        town.run(ALICE, &[], &["schedule", "trigger", "hers"]).refused(&["may not submit to queue `mails`"]);
        town.run(ALICE, &[], &["schedule", "pause", "hers"]).ok();
        town.run(BOB, &[], &["schedule", "remove", "hers"]).ok();
        daemon.stop().await;
    });
}
