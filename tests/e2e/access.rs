//! Who may do what, tested by other users. Needs root, and says so without.

mod commands;
mod reloads;
mod town;

use musher::protocol::Verdict;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use town::{ALICE, BOB, MAILERS, RULES, Said, Town, as_root};

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

/// What is stored beside a job is for those who may see the job, and stored by those who may work on it.
#[test]
fn checkpoints_and_results_are_for_those_whose_job_it_is() {
    as_root(async {
        let town = Town::new("[queues.q]\nkeep.done = \"1h\"\n");
        let daemon = town.serve().await;
        assert_eq!(town.run(ALICE, &[], &["submit", "q", "hers"]).ok().trim(), "1");
        let lease = daemon.claim("q", false, 0).await.unwrap().lease;
        town.run(BOB, &[], &["checkpoint", "1@1", "/dev/null"]).refused(&["job 1 not found"]);
        town.run(ALICE, &[], &["checkpoint", "1@1", "/dev/null"]).refused(&["may not work on queue `q`"]);
        daemon.client.checkpoint(lease, "here".into(), None).await.unwrap().unwrap();
        assert_eq!(town.run(ALICE, &[], &["show", "1", "--checkpoint"]).ok(), "here");
        town.run(BOB, &[], &["show", "1", "--checkpoint"]).refused(&["job 1 not found"]);
        assert!(daemon.settle(lease, Verdict::CompleteWith("sum".into())).await);
        assert_eq!(town.run(ALICE, &[], &["result", "1"]).ok(), "sum");
        town.run(BOB, &[], &["result", "1"]).refused(&["job 1 not found"]);
        daemon.stop().await;
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

/// A group of somebody else is not there, also for who waits for it.
#[test]
fn a_group_is_waited_for_by_those_who_may_see_it() {
    as_root(async {
        let town = Town::new("");
        let daemon = town.serve().await;
        town.run(ALICE, &[], &["submit", "q", "x", "--group", "hers", "--seal"]).ok();
        let unknown = town.run(BOB, &[], &["wait", "--group", "nobodys"]);
        let hers = town.run(BOB, &[], &["wait", "--group", "hers", "--timeout", "1s"]);
        let same = |said: &Said| (said.code, said.err.replace("nobodys", "hers"));
        assert_eq!(same(&hers), same(&unknown));
        hers.refused(&["no such group: `hers`"]);
        let lease = daemon.claim("q", false, 0).await.unwrap().lease;
        assert!(daemon.settle(lease, Verdict::Complete).await);
        town.run(ALICE, &[], &["wait", "--group", "hers"]).ok();
        daemon.stop().await;
    });
}

/// What is bound to a topic gets the jobs of everybody who submits to it, and a submit must be allowed at all of its queues.
#[test]
fn only_administrators_bind_queues_to_topics() {
    as_root(async {
        let rules = format!(
            "[[access]]\nusers = [{ALICE}]\nqueues = [\"mails\"]\nmay = [\"admin\"]\n\
             [[access]]\nusers = [{BOB}]\nqueues = [\"*\"]\nmay = [\"admin\"]\n"
        );
        let town = Town::new(&rules);
        let daemon = town.serve().await;
        for verb in ["bind", "unbind"] {
            town.run(ALICE, &[], &["topic", verb, "order.*", "mails"])
                .refused(&["may not change the whole daemon", "queues = [\"*\"]"]);
        }
        town.run(BOB, &[], &["topic", "bind", "order.*", "mails"]).ok();
        assert_eq!(town.run(ALICE, &[], &["submit", "--topic", "order.new", "x"]).ok(), "1\n");
        town.run(BOB, &[], &["topic", "bind", "*", "secret"]).ok();
        town.run(ALICE, &[], &["submit", "--topic", "order.new", "x"])
            .refused(&["may not submit to queue `secret`"]);
        assert_eq!(daemon.queue("mails").await.totals.submitted, 1, "all of them, or none");
        assert!(town.run(ALICE, &[], &["topic", "list"]).ok().contains("secret"));
        town.run(BOB, &[], &["topic", "unbind", "*"]).ok();
        assert_eq!(town.run(ALICE, &[], &["submit", "--topic", "order.new", "x"]).ok(), "2\n");
        daemon.stop().await;
    });
}

/// What follows from a job is a settle of that one, and a submit of the others.
#[test]
fn who_completes_a_job_and_submits_others_must_be_allowed_both() {
    as_root(async {
        let rules = format!(
            "[[access]]\nusers = [{ALICE}]\nqueues = [\"q\"]\nmay = [\"work\"]\n\
             [[access]]\nusers = [{ALICE}, {BOB}]\nqueues = [\"next\"]\nmay = [\"submit\"]\n"
        );
        let town = Town::new(&rules);
        let daemon = town.serve().await;
        daemon.submit("q", &["x"]).await;
        assert!(town.run(ALICE, &[], &["claim", "q"]).ok().starts_with("1@1"));
        let then = |queue| ["complete", "1@1", "--then", queue, "y"];
        town.run(ALICE, &[], &then("q")).refused(&["may not submit to queue `q`"]);
        town.run(BOB, &[], &then("next")).refused(&["job 1 not found", "nothing was submitted"]);
        assert_eq!(daemon.state(1).await, "leased");
        assert_eq!(town.run(ALICE, &[], &then("next")).ok(), "2\n");
        assert_eq!(daemon.state(1).await, "gone");
        assert_eq!(daemon.show(2).await.unwrap().owner, ALICE);
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
        daemon
            .client
            .done(musher::protocol::admin::AdminRequest::Pause { queue: "q".into(), for_ms: None })
            .await
            .unwrap();
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
