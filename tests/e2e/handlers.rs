//! Handlers that cannot be started for a while, as in a deploy: no job suffers, and people are told.

use crate::helper::{Home, block_on, until};
use musher::protocol::admin::{AdminRequest, ExplainView};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A home whose handler is the file `handler` in it, which is not there yet.
fn home() -> (Home, PathBuf) {
    let home = Home::new("");
    let handler = home.path("handler");
    home.configure(&format!(
        "[queues.q]\nworkers = 2\nhandler = {{ exec = [{:?}] }}\n",
        handler.display().to_string()
    ));
    (home, handler)
}

fn install(home: &Home, handler: &PathBuf) {
    let new = home.path("new");
    fs::write(&new, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, handler).unwrap();
}

#[test]
fn a_handler_that_is_missing_costs_no_attempt_and_everybody_is_told() {
    block_on(async {
        let (home, handler) = home();
        let daemon = home.serve().await;
        let first = daemon.submit("q", &["a"; 20]).await;
        let why = until("it is told", async || daemon.queue("q").await.held).await;
        let expected = format!(
            "its workers cannot start `{}`: No such file or directory; next try in ",
            handler.display()
        );
        assert!(why.starts_with(&expected), "{why}");
        let explained: ExplainView =
            daemon.client.ask(AdminRequest::Explain { id: first + 19 }).await.unwrap();
        assert!(explained.reasons[0].starts_with(&expected), "{explained:?}");
        for verb in ["status", "queues"] {
            let said = String::from_utf8(home.musher(&[verb]).stdout).unwrap();
            assert!(said.contains(&expected), "{said}");
        }
        let job = daemon.show(first).await.unwrap();
        assert_eq!((job.state.as_str(), job.failed, job.crashes), ("ready", 0, 0));
        assert!(job.attempt <= 2, "it is not taken again and again to see whether the handler is back");
        install(&home, &handler);
        daemon.until_state(first + 19, "done").await;
        until("nothing is held", async || daemon.queue("q").await.held.is_none().then_some(())).await;
        assert_eq!(daemon.queue("q").await.totals.failed, 0);
    });
}

#[test]
fn a_handler_that_is_being_written_costs_no_attempt() {
    block_on(async {
        let (home, handler) = home();
        install(&home, &handler);
        let busy = File::options().append(true).open(&handler).unwrap();
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["a"]).await;
        let why = until("it is told", async || daemon.queue("q").await.held).await;
        assert!(why.contains("Text file busy"), "{why}");
        drop(busy);
        daemon.until_state(id, "done").await;
        assert_eq!(daemon.show(id).await.unwrap().failed, 0);
    });
}

#[test]
fn a_handler_that_may_not_be_run_costs_no_attempt() {
    block_on(async {
        let (home, handler) = home();
        install(&home, &handler);
        fs::set_permissions(&handler, Permissions::from_mode(0o644)).unwrap();
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["a"]).await;
        let why = until("it is told", async || daemon.queue("q").await.held).await;
        assert!(why.contains("Permission denied"), "{why}");
        fs::set_permissions(&handler, Permissions::from_mode(0o755)).unwrap();
        daemon.until_state(id, "done").await;
        assert_eq!(daemon.show(id).await.unwrap().failed, 0);
    });
}

#[test]
fn a_worker_is_refused_a_command_that_is_not_there() {
    let home = Home::new("");
    for (command, why) in [("nosuchcmd", "No such file or directory"), ("/etc/passwd", "Permission denied")] {
        let output = home.musher(&["work", "q", "--", command]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("cannot start `{command}`: {why}")), "{said}");
    }
}

#[test]
fn a_command_that_is_not_there_ends_as_in_a_shell() {
    block_on(async {
        let home = Home::new("[queues.commands]\nhandler = \"command\"\nworkers = 1\n");
        let daemon = home.serve().await;
        for (id, command, status) in [(1, "nosuchcmd", 127), (2, "/etc/passwd", 126)] {
            assert_eq!(home.musher(&["run", "--attempts", "1", "--", command]).status.code(), Some(0));
            daemon.until_state(id, "dead").await;
            assert_eq!(daemon.show(id).await.unwrap().failures[0].exit_status, Some(status));
        }
        assert_eq!(daemon.queue("commands").await.held, None);
    });
}

#[test]
fn what_the_pool_has_to_say_is_in_the_daemons_log_but_not_what_the_daemon_said_itself() {
    block_on(async {
        let home = Home::new(
            "[queues.q]\nworkers = 1\nhandler = { exec = [\"/no/such/handler\"] }\n\
             [queues.idle]\nworkers = 1\nhandler = { exec = [\"true\"] }\n",
        );
        let daemon = home.serve().await;
        daemon.submit("q", &["x"]).await;
        home.until_logged("cannot start `/no/such/handler`").await;
        // The claims of the idle queue wait, and are refused by the stop.
        daemon.stop().await;
        assert!(!home.log().contains("no jobs for now"), "{}", home.log());
    });
}
