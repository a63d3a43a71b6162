//! As whom commands run, and who may say what they are.

use super::town::{ALICE, BOB, Said, Town, as_root};
use crate::helper::{skipped, until};
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

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
        // Its files are his, and what he may not read does not come to him through them.
        let script = "[ -s \"$MUSHER_CHECKPOINT\" ] && cp \"$MUSHER_CHECKPOINT\" \"$MUSHER_RESULT\" && exit; \
                      id -u > \"$MUSHER_CHECKPOINT\"; exit 1";
        let id = town.run(NOBODY, &[], &["run", "--attempts", "2", "--", "sh", "-c", script]).ok();
        town.run(NOBODY, &[], &["wait", id.trim()]).ok();
        assert_eq!(town.run(NOBODY, &[], &["result", id.trim()]).ok(), "65534\n");
        let script = "ln -s \"$0\" \"$MUSHER_RESULT\"";
        let id = town.run(NOBODY, &[], &["run", "--", "sh", "-c", script, secret.to_str().unwrap()]).ok();
        town.run(NOBODY, &[], &["wait", id.trim()]).refused(&["its result is not kept: it is a link"]);
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

/// A command runs as its job's owner: so nobody else may make it one, or write it, not even a queue's admin.
#[test]
fn nobody_makes_a_command_that_runs_as_somebody_else() {
    as_root(async {
        let rules = format!(
            "[queues.commands]\nworkers = 0\n[[access]]\nusers = [{ALICE}]\nqueues = [\"*\"]\nmay = [\"submit\"]\n\
             [[access]]\nusers = [{BOB}]\nqueues = [\"*\"]\nmay = [\"admin\"]\n"
        );
        let town = Town::new(&rules);
        let daemon = town.serve().await;
        let owners = "only its owner, root and the daemon's own user";
        assert_eq!(town.run(ALICE, &[], &["submit", "data", "hers"]).ok().trim(), "1");
        town.run(BOB, &[], &["move", "1", "--to", "commands"])
            .refused(&["queue `commands` runs commands", owners]);
        town.run(BOB, &[], &["move", "1", "--to", "other"]).ok();
        town.run(BOB, &[], &["edit", "1", "--file", "/dev/null"]).refused(&[owners]);
        town.run(ALICE, &[], &["move", "1", "--to", "commands"]).ok();

        let submit = ["submit", "commands", "--unique", "k", "--on-conflict", "replace", "--json"];
        let with = |uid, body| town.run(uid, &[], &[&submit[..], &[body]].concat()).ok();
        assert_eq!(with(ALICE, "hers"), "{\"id\":2,\"new\":true}\n");
        assert_eq!(with(BOB, "his"), "{\"changed\":false,\"id\":2,\"new\":false}\n");
        assert_eq!(daemon.client.body(2).await.unwrap(), "hers");
        assert_eq!(with(ALICE, "new"), "{\"changed\":true,\"id\":2,\"new\":false}\n");
        assert_eq!(daemon.client.body(2).await.unwrap(), "new");
        daemon.stop().await;
    });
}
