//! What the daemon logs, changed while it runs.

use crate::helper::{Home, block_on, until};
use crate::http::site::{OTHER, OTHER_USER, OWN, Site};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Another token.
const NEXT: &str = "0123456789abcdef0123456789abcdef-next";

#[test]
fn what_is_logged_changes_while_the_daemon_runs_and_is_as_before_after_a_start() {
    block_on(async {
        let site = Site::new("").await;
        let level = |args: &[&str]| {
            let output = site.home.musher(&[&["log-level"], args].concat());
            let said = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(said).unwrap().trim_end().to_owned())
        };
        assert_eq!(level(&[]), (Some(0), "info".into()));
        assert_eq!(level(&["warn,musher=off"]), (Some(0), "warn,musher=off (`info` at the start)".into()));
        assert_eq!(site.json("GET /log-level", Value::Null).await["filter"], "warn,musher=off");
        // The tokens are read again with the configuration: when that is done, something would have been said.
        let before = site.home.log();
        std::fs::write(site.home.path("tokens"), format!("{} {NEXT}\n", rustix::process::geteuid().as_raw()))
            .unwrap();
        site.daemon.signal(Signal::HUP);
        until("it was reloaded", async || {
            (site.ask_as(NEXT, "GET /status", b"").await.status == 200).then_some(())
        })
        .await;
        assert_eq!(site.home.log(), before, "nobody was to read of it");
        assert_eq!(level(&["info"]), (Some(0), "info".into()));
        site.home.until_logged("the log has `info` from now on").await;
        let tokens = format!("{} {OWN}\n{OTHER_USER} {OTHER}\n", rustix::process::geteuid().as_raw());
        std::fs::write(site.home.path("tokens"), tokens).unwrap();
        site.daemon.reload(&site.home).await;

        let (code, said) = level(&["info,musher::store=loud"]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("`musher::store=loud`") && said.contains("off, error, warn, info"), "{said}");
        assert_eq!(level(&["loud"]).0, Some(2));
        assert_eq!(level(&[""]).0, Some(2));
        assert_eq!(level(&[]).1, "info", "nothing has changed by that");

        // By HTTP, and with the rights that a drain needs.
        let set = site.json("PUT /log-level", json!({ "filter": "debug" })).await;
        assert_eq!(set, json!({ "filter": "debug", "at_start": "info" }));
        for what in ["GET /log-level", "PUT /log-level", "DELETE /log-level"] {
            let body = if what.starts_with("PUT") { r#"{"filter": "off"}"# } else { "" };
            assert_eq!(site.ask_as(OTHER, what, body.as_bytes()).await.code(), "forbidden", "{what}");
        }
        assert_eq!(level(&["--json"]).1, r#"{"filter":"debug","at_start":"info"}"#);
        assert_eq!(level(&["--reset"]), (Some(0), "info".into()));
        level(&["debug"]);
        let Site { home, daemon, .. } = site;
        daemon.stop().await;
        let daemon = home.serve().await;
        let now = home.musher(&["log-level"]);
        assert_eq!(String::from_utf8(now.stdout).unwrap(), "info\n", "it does not outlive the daemon");
        daemon.stop().await;
    });
}

#[test]
fn the_log_is_lines_of_json_where_that_is_wanted() {
    block_on(async {
        let home = Home::new("[queues.bad]\nworkers = 1\nattempts = 1\nhandler = { exec = [\"false\"] }\n");
        let mut command = home.serve_command();
        command.env("MUSHER_LOG_FORMAT", "json");
        let daemon = home.start(command).await;
        daemon.submit("bad", &["x"]).await;
        home.until_logged("is dead").await;
        daemon.stop().await;
        let lines: Vec<Value> = home.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let dead = lines.iter().find(|line| line["level"] == "ERROR").unwrap();
        assert_eq!((&dead["job"], &dead["queue"]), (&json!(1), &json!("bad")), "{dead}");

        let refused = home.serve_command().env("MUSHER_LOG_FORMAT", "xml").output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("MUSHER_LOG_FORMAT") && said.contains("`json`"), "{said}");
    });
}
