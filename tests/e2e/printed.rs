//! What jobs print: the beginning and the end of much of it, the last words of a failure, and readers who stand still.

use crate::helper::{Home, block_on, until};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;

const CONFIG: &str = "[queues.commands]\nkeep = { done = \"1h\", dead = \"1h\" }\nattempts = 1\n";

#[test]
fn of_much_output_the_end_is_there_and_show_has_the_last_words() {
    block_on(async {
        let home = Home::new(CONFIG);
        let daemon = home.serve().await;
        let script =
            "echo begin; head -c 2000000 /dev/zero | tr '\\0' x; seq 30 >&2; echo the reason >&2; exit 3";
        home.musher(&["run", "--", "sh", "-c", script]);
        daemon.until_state(1, "dead").await;
        let logs = home.musher(&["logs", "1"]);
        let (out, err) = (String::from_utf8_lossy(&logs.stdout), String::from_utf8_lossy(&logs.stderr));
        assert!(out.starts_with("begin\nxxx") && out.len() > 900_000, "{}", out.len());
        assert!(err.contains("bytes are left out here\n") && err.ends_with("30\nthe reason\n"), "{err}");
        let file = home.path("data/output/0/1");
        assert!(file.metadata().unwrap().len() <= 1 << 20);
        let tail = daemon.show(1).await.unwrap().stderr_tail.unwrap();
        assert!(tail.starts_with("12\n13\n") && tail.ends_with("\n30\nthe reason"), "{tail}");
        daemon.stop().await;
    });
}

#[test]
fn a_new_attempt_has_room_for_all_that_it_prints_and_a_follower_sees_it() {
    block_on(async {
        let script = "echo begin $MUSHER_ATTEMPT; head -c 900000 /dev/zero; echo end $MUSHER_ATTEMPT; exit 3";
        let config = format!(
            "[queues.q]\nhandler = {{ exec = ['sh', '-c', '{script}'] }}\nworkers = 1\nattempts = 3\n\
             keep = {{ dead = '1h' }}\nbackoff = {{ kind = 'fixed', base = '10ms' }}\n"
        );
        let home = Home::new(&config);
        let daemon = home.serve().await;
        daemon.submit("q", &["x"]).await;
        until("it prints", async || home.path("data/output/0/1").exists().then_some(())).await;
        let follow = home.command().args(["logs", "-f", "1"]).output().unwrap();
        assert!(String::from_utf8_lossy(&follow.stdout).ends_with("end 3\n"));
        daemon.until_state(1, "dead").await;
        let logs = home.musher(&["logs", "1"]).stdout;
        let logs = String::from_utf8_lossy(&logs);
        assert!(logs.starts_with("begin 3\n") && logs.ends_with("end 3\n"), "{}", logs.len());
        daemon.stop().await;
    });
}

/// No job ended, its timeout freed no slot, and signals did nothing.
#[test]
fn a_reader_of_a_workers_output_who_stands_still_holds_up_nothing() {
    block_on(async {
        let home = Home::new("[queues.q]\nkeep = { done = \"1h\" }\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["x"; 3]).await;
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = home.command();
        command.args(["work", "q", "--", "seq", "100000"]);
        command.stdout(writer.try_clone().unwrap()).stderr(writer).stdin(Stdio::null());
        let mut worker = command.spawn().unwrap();
        for id in 1..=3 {
            daemon.until_state(id, "done").await;
        }
        let logs = home.musher(&["logs", "3"]).stdout;
        assert!(logs.ends_with(b"100000\n"), "all of it is kept");
        kill_process(Pid::from_child(&worker), Signal::TERM).unwrap();
        let status = until("it ends", async || worker.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0));
        drop(reader);
        daemon.stop().await;
    });
}
