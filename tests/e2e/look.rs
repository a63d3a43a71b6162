//! What people look at: lists, one job, why it waits, the configuration, help.

use crate::helper::{Home, block_on};
use musher::protocol::admin::JobView;
use serde_json::Value;

fn text(output: std::process::Output) -> String {
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// What a verb printed, with one space between words.
fn words(output: std::process::Output) -> String {
    text(output).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn ids(printed: &str) -> Vec<u64> {
    printed.lines().map(|line| serde_json::from_str::<JobView>(line).unwrap().id).collect()
}

#[test]
fn a_list_goes_both_ways_in_pages() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("plain", &["a", "b", "c"]).await;
        daemon.submit("mails", &["d"]).await;
        daemon.claim("plain", false, 0).await.unwrap();
        let list = |args: &[&str]| ids(&text(home.musher(&[&["list", "--json"], args].concat())));
        assert_eq!(list(&[]), [1, 2, 3, 4]);
        assert_eq!(list(&["--newest"]), [4, 3, 2, 1]);
        assert_eq!(list(&["--newest", "--limit", "2"]), [4, 3]);
        assert_eq!(list(&["--newest", "--limit", "2", "--after", "3"]), [2, 1]);
        assert_eq!(list(&["--oldest", "--limit", "2", "--after", "1"]), [2, 3]);
        assert_eq!(list(&["--newest", "--queue", "plain", "--state", "ready"]), [3, 2]);
        assert_eq!(list(&["--newest", "--after", "1"]), [0; 0]);
        let more = text(home.musher(&["list", "--newest", "--limit", "2"]));
        assert!(more.contains("there may be more: --after 3"), "{more}");
        assert_eq!(text(home.musher(&["list", "--state", "dead"])).trim(), "no such jobs");
    });
}

/// A page ends early where its commands take long to read, and the next goes on behind it.
#[test]
fn a_list_of_long_commands_is_whole() {
    block_on(async {
        let home = Home::new("[queues.commands]\nworkers = 0\n");
        let daemon = home.serve().await;
        let body = format!(r#"{{"argv":["echo","{}"],"cwd":"/","env":[]}}"#, "x".repeat(400_000));
        daemon.submit("commands", &[&*body; 7]).await;
        for (order, expected) in [("--oldest", [1, 2, 3, 4, 5, 6, 7]), ("--newest", [7, 6, 5, 4, 3, 2, 1])] {
            let printed = text(home.musher(&["list", order, "--json"]));
            assert_eq!(ids(&printed), expected);
            for line in printed.lines() {
                let command = serde_json::from_str::<JobView>(line).unwrap().command.unwrap();
                assert!(command.starts_with("echo xxx") && command.chars().count() == 301, "{command}");
            }
        }
    });
}

#[test]
fn a_command_says_what_it_ran_when_how_long_and_how_it_ended() {
    block_on(async {
        let home = Home::new("");
        let _daemon = home.serve().await;
        home.musher(&["run", "--wait", "--", "sh", "-c", "exit 3"]);
        home.musher(&["run", "--wait", "--", "sh", "-c", "kill -9 $$"]);
        home.musher(&["run", "--wait", "--timeout", "1h", "--", "true"]);
        let shown = words(home.musher(&["show", "1"]));
        for part in ["job 1, dead", "command sh -c 'exit 3'", "exit status 3", "ran for "] {
            assert!(shown.contains(part), "{part}:\n{shown}");
        }
        let year = &musher::durations::show_point(musher::clock::wall())[..4];
        assert!(shown.contains(&format!("began {year}-")), "{shown}");
        assert!(shown.contains(", just now, by ") || shown.contains(" ago, by "), "{shown}");
        let killed = text(home.musher(&["show", "2"]));
        assert!(killed.contains("signal 9 (SIGKILL); for a shell 137"), "{killed}");
        let done: Value = serde_json::from_str(&text(home.musher(&["show", "3", "--json"]))).unwrap();
        assert_eq!((&done["command"], &done["exit_status"]), (&Value::from("true"), &Value::from(0)));
        assert_eq!(done["timeout_ms"], 3_600_000);
        assert!(done["started_at"].as_u64().unwrap() <= done["ended_at"].as_u64().unwrap(), "{done}");
        let list = text(home.musher(&["list", "--newest"]));
        assert!(list.contains("sh -c 'kill -9 $$'") && list.contains("sh -c 'exit 3'"), "{list}");
    });
}

#[test]
fn until_when_a_job_may_run_is_told() {
    block_on(async {
        let home = Home::new("[queues.short]\ntimeout = \"10m\"\n[queues.long]\ntimeout = \"none\"\n");
        let daemon = home.serve().await;
        for queue in ["short", "long"] {
            daemon.submit(queue, &["x"]).await;
            daemon.claim(queue, false, 0).await.unwrap();
        }
        let shown = ["1", "2"].map(|id| words(home.musher(&["show", id])));
        assert!(shown[0].contains("may run until") && shown[0].contains("in 9 min "), "{}", shown[0]);
        assert!(shown[1].contains("may run as long as it takes"), "{}", shown[1]);
        let explained = ["1", "2"].map(|id| text(home.musher(&["explain", id])));
        assert!(explained[0].contains("its timeout is 10 min"), "{}", explained[0]);
        assert!(explained[1].contains("it has no timeout"), "{}", explained[1]);
    });
}

#[test]
fn explain_begins_with_what_is_to_be_mended_first() {
    block_on(async {
        let home = Home::new("[queues.idle]\nhandler = \"command\"\nworkers = 0\n");
        let daemon = home.serve().await;
        daemon.submit("mails", &["a", "b", "c"]).await;
        daemon.submit("idle", &["d"]).await;
        let explain = |id: &str| -> Vec<String> {
            text(home.musher(&["explain", id])).lines().skip(1).map(|line| line.trim().to_owned()).collect()
        };
        let second = explain("2");
        assert!(
            second[0].starts_with("nothing takes from queue `mails`: no workers, no waiting claims"),
            "{second:?}"
        );
        assert_eq!(second[1], "1 job is before it in the queue");
        assert_eq!(explain("3")[1], "2 jobs are before it in the queue");
        assert!(explain("4")[0].contains("queues.idle.workers = 0"));
        daemon.claim("mails", false, 0).await.unwrap();
        assert_eq!(explain("2")[0], "all workers of queue `mails` are busy: 1 job of it is running");
        home.musher(&["pause", "mails"]);
        assert!(explain("2")[0].starts_with("queue `mails` is paused"), "{:?}", explain("2"));
    });
}

#[test]
fn the_configuration_is_explained() {
    let home = Home::new("[queues.m]\nhandler = { exec = [\"/nowhere/thumb\"] }\nworkers = 0\n");
    let file = home.path("musher.toml");
    let said = text(home.musher(&["config", "check", file.to_str().unwrap()]));
    for part in [
        "`/nowhere/thumb` does not exist here",
        "queues.m.workers",
        "ok, 2 warnings",
        "who gets in",
        "access.md",
    ] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
    let reference = text(home.musher(&["config", "reference"]));
    assert!(reference.contains("**`drain_timeout`**"), "{reference}");
    assert!(text(home.musher(&["man", "musher.toml"])).contains(".TH musher.toml 5"));
    assert!(text(home.musher(&["man", "submit"])).contains(".TH musher-submit 1"));
    assert!(text(home.musher(&["man", "nosuch"])).contains("there is no verb `nosuch`"));
    assert!(home.musher(&["man", "--dir", home.path("man").to_str().unwrap()]).status.success());
    assert!(home.path("man/man1/musher-list.1").exists() && home.path("man/man5/musher.toml.5").exists());
}

#[test]
fn help_names_the_verbs_by_what_one_wants() {
    let home = Home::new("");
    let help = text(home.musher(&["--help"]));
    for part in [
        "Submit jobs:\n  submit ",
        "Look at jobs and queues:\n  status ",
        "Run the daemon:\n  serve ",
        "Options:",
    ] {
        assert!(help.contains(part), "{part}:\n{help}");
    }
    assert!(!help.contains("pool"), "{help}");
    let verb = text(home.musher(&["list", "--help"]));
    assert!(verb.contains("Usage: musher list") && verb.contains("Examples:"), "{verb}");
}
