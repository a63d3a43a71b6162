//! What a job and its daemon find around them, as reports about other queues and supervisors have it: directories
//! that are gone, descriptors that run out, children that nobody waits for, terminals, and signals for everybody.

use super::helper::{Home, block_on, until};
use musher::clock::monotonic;
use rustix::process::Signal;
use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::Duration;

const COMMANDS: &str = "[queues.commands]\nhandler = \"command\"\nworkers = 2\n";

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The words of a command, `sh -c script`, around which another one puts limits and the like.
fn shell(script: &str, program: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

#[test]
fn a_daemon_whose_directory_is_deleted_runs_handlers_all_the_same() {
    let config = "[queues.where]\nhandler = { exec = [\"sh\", \"-c\", \"pwd\"] }\nworkers = 1\n\
                  keep = { done = \"1h\" }\n\
                  [queues.said]\nhandler = { exec = [\"printenv\", \"PWD\"] }\nworkers = 1\n\
                  keep = { done = \"1h\" }\n";
    block_on(async {
        let home = Home::new(config);
        let gone = home.path("gone");
        fs::create_dir(&gone).unwrap();
        // Relative, so that a reload needs the directory that it was started in.
        let mut command = home.command();
        command.args(["serve", "--config", "../musher.toml", "--data", "../data"]);
        let mut command = shell("cd \"$GONE\" && exec \"$0\" \"$@\"", &command);
        command.env("GONE", &gone).stdout(std::process::Stdio::null());
        let daemon = home.start(command).await;
        fs::remove_dir(&gone).unwrap();
        for queue in ["where", "said"] {
            let id = daemon.submit(queue, &["x"]).await;
            daemon.until_state(id, "done").await;
            assert_eq!(text(&home.musher(&["logs", &id.to_string()])), "/\n", "{queue}");
        }
        home.configure(&format!("{config}[queues.more]\nhandler = {{ exec = [\"true\"] }}\nworkers = 1\n"));
        daemon.signal(Signal::HUP);
        until("the reload", async || daemon.try_queue("more").await.filter(|queue| queue.workers == 1)).await;
        daemon.stop().await;
    });
}

#[test]
fn without_descriptors_left_the_daemon_rests_and_goes_on_when_there_are_some() {
    block_on(async {
        let home = Home::new("");
        let command = shell("ulimit -n 48 && exec \"$0\" \"$@\"", &home.serve_command());
        let daemon = home.start(command).await;
        let crowd: Vec<_> = (0..64).map_while(|_| UnixStream::connect(home.socket()).ok()).collect();
        until("it says so", async || home.log().contains("could not be accepted").then_some(())).await;
        // The connection that is open is served meanwhile, and waiting for a descriptor takes no processor.
        let before = daemon.processor_time();
        for _ in 0..20 {
            daemon.submit("q", &["x"]).await;
        }
        let begun = monotonic();
        until("half a second is over", async || {
            daemon.status().await;
            (monotonic() - begun > Duration::from_millis(500)).then_some(())
        })
        .await;
        let took = daemon.processor_time() - before;
        assert!(took < Duration::from_millis(400), "{took:?} of processor time");
        drop(crowd);
        until("others get in again", async || home.musher(&["status"]).status.success().then_some(())).await;
        daemon.stop().await;
    });
}

#[test]
fn whoever_a_job_leaves_behind_holds_up_nobody_and_is_no_zombie() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        let begun = monotonic();
        for _ in 0..5 {
            // The first holds the job's standard output, the second has left its session.
            let script = "sleep 1000 & setsid sleep 1001 & echo said";
            let output = home.musher(&["run", "--wait", "--", "sh", "-c", script]);
            assert!(output.status.success() && text(&output).contains("said"), "{}", text(&output));
        }
        assert!(monotonic() - begun < Duration::from_secs(30), "an end of output was waited for");
        let zombies = || {
            let listed = Command::new("ps").args(["-o", "stat=,ppid=", "-e"]).output().unwrap();
            let family = daemon.family();
            text(&listed)
                .lines()
                .filter(|line| {
                    let (stat, parent) = line.trim().split_once(' ').unwrap_or_default();
                    stat.starts_with('Z') && family.iter().any(|pid| parent.trim() == pid.to_string())
                })
                .count()
        };
        until("all are waited for", async || (zombies() == 0).then_some(())).await;
        daemon.stop().await;
    });
}

#[test]
fn a_signal_to_everybody_in_the_terminal_drains() {
    block_on(async {
        let home = Home::new(&format!("{COMMANDS}keep = {{ done = \"1h\" }}\n"));
        let mut command = home.serve_command();
        command.process_group(0);
        let daemon = home.start(command).await;
        let flag = home.path("go");
        let script = format!("while ! [ -e {} ]; do sleep 0.02; done; echo whole", flag.display());
        let output = home.musher(&["run", "--", "sh", "-c", &script]);
        let id: u64 = text(&output).trim().parse().unwrap();
        daemon.until_state(id, "leased").await;
        daemon.signal_group(Signal::INT);
        until("it drains", async || home.log().contains("draining").then_some(())).await;
        fs::write(flag, "").unwrap();
        assert_eq!(daemon.ended().await.code(), Some(0));
        let daemon = home.serve().await;
        daemon.until_state(id, "done").await;
        assert_eq!(text(&home.musher(&["logs", &id.to_string()])), "whole\n");
        daemon.stop().await;
    });
}

#[test]
fn a_client_in_a_deleted_directory_is_told_so() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        let gone = home.path("gone");
        fs::create_dir(&gone).unwrap();
        let mut run = home.command();
        run.args(["run", "--", "true"]);
        let script = "cd \"$GONE\" && rmdir \"$GONE\" && exec \"$0\" \"$@\"";
        let output = shell(script, &run).env("GONE", &gone).output().unwrap();
        let said = text(&output);
        assert!(output.status.code() == Some(1) && said.contains("the working directory"), "{said}");
        daemon.stop().await;
    });
}

#[test]
fn a_job_begins_with_no_signal_ignored_and_no_descriptor_of_others() {
    block_on(async {
        let home = Home::new(COMMANDS);
        // As a shell without job control starts what is to run in the background, with a descriptor of its own open.
        let script = "trap '' INT QUIT PIPE HUP; exec 7</dev/null; exec \"$0\" \"$@\"";
        let daemon = home.start(shell(script, &home.serve_command())).await;
        // 0x7fffffff: what is behind the 31 usual signals is the C library's own. No pipe behind `ls`, of which the shell has an
        // end for a while, and something behind it, so that it is a process of its own.
        let look = "for m in $(grep -E 'Sig(Ign|Blk)' /proc/self/status | cut -f2); do echo $((0x$m & 0x7fffffff)); done; \
                    ls /proc/$$/fd; true";
        let output = home.musher(&["run", "--wait", "--", "sh", "-c", look]);
        let out = String::from_utf8_lossy(&output.stdout);
        assert_eq!(out.trim(), "0\n0\n0\n1\n2");
        daemon.stop().await;
    });
}

#[test]
fn a_job_that_is_stopped_hears_that_its_time_is_over() {
    block_on(async {
        let home = Home::new(COMMANDS);
        let daemon = home.serve().await;
        let script = "trap 'echo heard; exit 3' TERM; kill -STOP $$; echo went on";
        let output = home.musher(&["run", "--wait", "--timeout", "300ms", "--", "sh", "-c", script]);
        assert!(text(&output).contains("heard"), "{}", text(&output));
        daemon.stop().await;
    });
}

#[test]
fn a_worker_started_by_nohup_outlives_its_terminal() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let mut command = home.command();
        command.args(["work", "q", "--", "true"]);
        let mut command = shell("trap '' HUP; exec \"$0\" \"$@\"", &command);
        let mut worker =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&worker);
        let id = daemon.submit("q", &["x"]).await;
        daemon.until_state(id, "gone").await;
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
        let id = daemon.submit("q", &["x"]).await;
        daemon.until_state(id, "gone").await;
        assert_eq!(worker.try_wait().unwrap(), None);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        until("it ends", async || worker.try_wait().unwrap()).await;
    });
}
