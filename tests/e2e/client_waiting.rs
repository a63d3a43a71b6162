//! Verbs that wait for jobs: while the daemon restarts, until Ctrl-C, and with which exit code they end.

use crate::helper::{Home, block_on, until};
use musher::protocol::{Settle, Verdict};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

const COMMANDS: &str =
    "[queues.commands]\nworkers = 2\nhandler = \"command\"\n[queues.kept]\nkeep = { done = \"1h\" }\n";

/// A verb that runs, with what it says in files; it is killed when the test forgets it.
struct Verb {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Verb {
    fn start(home: &Home, name: &str, args: &[&str]) -> Verb {
        let (out, err) = (home.path(&format!("{name}.out")), home.path(&format!("{name}.err")));
        let file = |path| std::fs::File::create(path).unwrap();
        let program = home.command();
        // A shell without job control starts what is in the background with SIGINT ignored: tests too, and what they start.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(program.get_program()).args(args);
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(file(&out)).stderr(file(&err));
        Verb { child: command.spawn().unwrap(), out, err }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    async fn until_said(&self, words: &str) {
        until(&format!("it says {words}"), async || self.said().contains(words).then_some(())).await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        until("the verb ends", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Verb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whoever_waits_goes_on_with_the_next_daemon() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let mut daemon = home.serve().await;
        daemon.submit("kept", &["a", "b"]).await;
        let mut all = Verb::start(&home, "all", &["wait", "1", "2"]);
        let mut any = Verb::start(&home, "any", &["wait", "2", "1", "--any", "--json"]);
        let mut submitted = Verb::start(&home, "submitted", &["submit", "kept", "c", "--wait"]);
        until("the third is there", async || daemon.show(3).await).await;
        let member = ["submit", "members", "d", "--group", "album", "--seal"];
        assert!(home.musher(&member).status.success());
        let mut group = Verb::start(&home, "group", &["wait", "--group", "album"]);
        // They listen to signals once they are connected: a connection that is open may not have been greeted.
        until("they wait", async || [&all, &any, &submitted, &group].into_iter().all(hears).then_some(()))
            .await;
        let first = daemon.claim("kept", false, 0).await.unwrap();
        for round in 0..2 {
            if round == 0 {
                daemon.kill().await;
            } else {
                daemon.stop().await;
            }
            for verb in [&all, &any, &submitted, &group] {
                verb.until_said("the daemon is gone; waiting").await;
            }
            daemon = home.serve().await;
        }
        assert!(daemon.settle(first.lease, Verdict::Complete).await);
        assert_eq!(any.ended().await.code(), Some(0));
        assert!(any.printed().contains("\"id\":1,\"state\":\"done\""), "{}", any.printed());
        for _ in 0..2 {
            let job = daemon.claim("kept", false, 0).await.unwrap();
            assert!(daemon.settle(job.lease, Verdict::Complete).await);
        }
        assert_eq!((all.ended().await.code(), submitted.ended().await.code()), (Some(0), Some(0)));
        let member = daemon.claim("members", false, 0).await.unwrap();
        assert!(daemon.settle(member.lease, Verdict::Complete).await);
        assert_eq!(group.ended().await.code(), Some(0), "{}", group.said());
        assert_eq!(all.said().matches("the daemon is gone").count(), 1, "{}", all.said());
    });
}

#[test]
fn a_command_is_followed_over_a_restart_and_its_exit_status_is_ours() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        let go = home.path("go");
        let script =
            format!("echo begun; until test -e {}; do sleep 0.01; done; echo end; exit 7", go.display());
        let mut run = Verb::start(&home, "run", &["run", "--wait", "--", "sh", "-c", &script]);
        until("its output is here", async || run.printed().contains("begun").then_some(())).await;
        daemon.kill().await;
        run.until_said("the daemon is gone; waiting").await;
        let _daemon = home.serve().await;
        std::fs::write(&go, "").unwrap();
        assert_eq!(run.ended().await.code(), Some(7), "{}", run.said());
        assert_eq!(run.printed(), "begun\nend\n", "it runs on");
    });
}

#[test]
fn a_command_that_a_signal_ends_gives_128_and_the_signal() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let _daemon = home.serve().await;
        for (script, code) in [
            ("kill -9 $$", 137),
            ("kill -TERM $$", 143),
            ("exit 3", 3),
            ("echo 'exit status 9: no' >&2; exit 1", 1),
            ("exit 0", 0),
        ] {
            let output = home.musher(&["run", "--wait", "--", "sh", "-c", script]);
            assert_eq!(output.status.code(), Some(code), "{script}: {output:?}");
        }
    });
}

#[test]
fn the_exit_code_of_wait_says_how_jobs_ended() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        daemon.submit("kept", &["done", "dead", "waits"]).await;
        for verdict in [Verdict::Complete, Verdict::FailDead { error: "no".into(), exit: None }] {
            let lease = daemon.claim("kept", false, 0).await.unwrap().lease;
            daemon.client.settle(vec![Settle { lease, verdict }]).await.unwrap();
        }
        // Of one that was deleted nobody can say how it ended.
        let gone = daemon.submit("q", &["gone"]).await.to_string();
        assert_eq!(home.musher(&["delete", &gone]).status.code(), Some(0));
        let gone = gone.as_str();
        for (args, code, printed) in [
            (&["1"][..], 0, ""),
            (&["1", "2"], 1, ""),
            (&[gone], 4, ""),
            (&["1", gone], 4, ""),
            (&["2", gone, "3", "--timeout", "0"], 1, ""),
            (&["1", gone, "3", "--timeout", "30ms"], 75, ""),
            (&["3", "1", "--any"], 0, "1\n"),
            (&["3", "2", "--any"], 1, "2\n"),
            (&["3", "--any", "--timeout", "30ms"], 75, ""),
            (&["3", "2", "1", "--first-error"], 1, ""),
            (&["1", "--first-error"], 0, ""),
            (&["99"], 1, ""),
        ] {
            let output = home.musher(&[&["wait"], args].concat());
            assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{args:?}");
        }
        let output = home.musher(&["wait", gone]);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("job 4 is gone: it has ended"),
            "{output:?}"
        );
        let json = home.musher(&["wait", "1", "2", "--json"]);
        let text = String::from_utf8(json.stdout).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("{\"id\":2,\"state\":\"dead\",\"error\":\"no\""), "{text}");
    });
}

#[test]
fn ctrl_c_says_what_goes_on() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        let mut run =
            Verb::start(&home, "run", &["run", "--wait", "--", "sh", "-c", "echo begun; sleep 1000"]);
        until("its output is here", async || run.printed().contains("begun").then_some(())).await;
        run.signal(Signal::INT);
        assert_eq!(run.ended().await.signal(), Some(2), "a shell sees 130");
        assert!(
            run.said().contains("job 1 goes on; `musher wait 1` waits for it, `musher cancel 1`"),
            "{}",
            run.said()
        );
        assert_eq!(daemon.state(1).await, "leased");
        let mut wait = Verb::start(&home, "wait", &["wait", "1"]);
        until("it waits", async || hears(&wait).then_some(())).await;
        wait.signal(Signal::INT);
        assert_eq!(wait.ended().await.signal(), Some(2));
        assert!(wait.said().contains("the jobs go on; `musher wait 1` waits again"), "{}", wait.said());
        assert_eq!(home.musher(&["cancel", "1"]).status.code(), Some(0));
    });
}

/// Whether the verb waits by now, or is about to.
fn hears(verb: &Verb) -> bool {
    crate::helper::hears_sigterm(&verb.child)
}

#[test]
fn ctrl_c_in_a_stream_of_lines_says_what_was_taken() {
    use std::io::Write;
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let mut submit = Verb::start(&home, "submit", &["submit", "q", "--lines"]);
        let mut input = submit.child.stdin.take().unwrap();
        input.write_all(b"one\ntwo\nthree\nhalf a li").unwrap();
        until("they are there", async || (daemon.status().await.next_id == 4).then_some(())).await;
        submit.signal(Signal::INT);
        assert_eq!(submit.ended().await.code(), Some(130));
        let said = submit.said();
        assert!(said.contains("interrupted\n3 jobs were taken, ids 1 to 3; go on with line 4"), "{said}");
        assert_eq!(daemon.queue("q").await.ready, 3);
    });
}

#[test]
fn ctrl_c_in_a_claim_leaves_nothing_leased() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let mut claim = Verb::start(&home, "claim", &["claim", "q", "--wait", "1h"]);
        until("it hears", async || hears(&claim).then_some(())).await;
        claim.signal(Signal::INT);
        let status = claim.ended().await;
        assert_eq!(status.code(), Some(130), "{status:?}: {}", claim.said());
        daemon.submit("q", &["a"]).await;
        assert_eq!(daemon.queue("q").await.leased, 0);
    });
}

#[test]
fn output_is_followed_over_a_restart() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        let go = home.path("go");
        let script = format!("echo begun; until test -e {}; do sleep 0.01; done; echo end", go.display());
        assert_eq!(home.musher(&["run", "--", "sh", "-c", &script]).status.code(), Some(0));
        let mut logs = Verb::start(&home, "logs", &["logs", "-f", "1", "--json"]);
        until("its output is here", async || logs.printed().contains("begun").then_some(())).await;
        daemon.kill().await;
        logs.until_said("the daemon is gone; waiting").await;
        let _daemon = home.serve().await;
        std::fs::write(&go, "").unwrap();
        assert_eq!(logs.ended().await.code(), Some(0), "{}", logs.said());
        let first = "{\"attempt\":1,\"stream\":\"stdout\",\"text\":\"begun\\n\"}\n";
        assert!(
            logs.printed().starts_with(first) && logs.printed().matches(first).count() == 1,
            "{}",
            logs.printed()
        );
        assert!(logs.printed().contains("end\\n"), "{}", logs.printed());
    });
}
