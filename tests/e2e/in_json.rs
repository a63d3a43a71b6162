//! Every verb that tells something tells it in JSON too, an object a line. Those that print JSON already (`export`), a text
//! of a job's (`work`) or a document (`config show`, `man`, `completions`) are not among them; `serve` prints where it is.
//! `demo` and `bench` take long: what they print is tried elsewhere.

use crate::helper::{Home, block_on};
use serde_json::Value;
use std::fs::{self, File};
use std::process::Output;

const CONFIG: &str = "[queues.commands]\nhandler = \"command\"\nworkers = 1\nkeep = { done = \"1h\" }\n";

/// What a verb prints, which must succeed.
fn objects(what: &[&str], output: Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{what:?}: {said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let parse =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{what:?}: {error}: {line}"));
    let objects: Vec<Value> = printed.lines().map(parse).collect();
    assert!(!objects.is_empty(), "{what:?} says nothing: {said}");
    objects
}

#[test]
fn every_verb_that_tells_something_tells_it_in_json_too() {
    block_on(async {
        let home = Home::new(CONFIG);
        let daemon = home.serve().await;
        let json = |args: &[&str]| objects(args, home.musher(&[args, &["--json"]].concat()));
        assert_eq!(json(&["submit", "q", "one"])[0]["id"], 1);
        let run = ["run", "--json", "--", "sh", "-c", "echo said"];
        assert_eq!(objects(&run, home.musher(&run))[0]["id"], 2);
        daemon.until_state(2, "done").await;
        assert_eq!(json(&["wait", "2"])[0]["state"], "done");
        assert_eq!(json(&["logs", "2"])[0]["text"], "said\n");
        for settle in ["complete", "fail", "release"] {
            daemon.submit("leased", &["more"]).await;
            let lease = json(&["claim", "leased"])[0]["lease"].as_str().unwrap().to_owned();
            json(&["extend", &lease]);
            json(&[settle, &lease]);
            json(&["purge", "leased", "--yes"]);
        }
        for look in [&["status"][..], &["queues"], &["list"], &["show", "1"], &["explain", "1"]] {
            json(look);
        }
        for change in ["bury", "kick", "cancel"] {
            json(&[change, "1"]);
        }
        json(&["retry", "2"]);
        daemon.until_state(2, "done").await;
        json(&["delete", "2"]);
        for change in
            [&["pause", "q"][..], &["resume", "q"], &["drain"], &["undrain"], &["queue", "delete", "q"]]
        {
            json(change);
        }
        daemon.submit("q", &["kept"]).await;
        fs::write(home.path("jobs"), home.musher(&["export"]).stdout).unwrap();
        let mut import = home.command();
        import.args(["import", "--json"]).stdin(File::open(home.path("jobs")).unwrap());
        assert_eq!(objects(&["import"], import.output().unwrap())[0]["submitted"], 1);
        let [backups, data, restored] =
            ["backups", "data", "restored"].map(|name| home.path(name).display().to_string());
        fs::create_dir(&backups).unwrap();
        json(&["backup", &backups]);
        daemon.stop().await;
        let backup = fs::read_dir(&backups).unwrap().next().unwrap().unwrap().path().display().to_string();
        json(&["verify", "--backup", &backup]);
        json(&["verify", "--data", &data]);
        json(&["restore", &backup, "--data", &restored]);
        json(&["migrate", "--data", &data]);
    });
}

#[test]
fn a_configuration_is_checked_in_json_whether_it_is_right_or_wrong() {
    let home = Home::new("[queues.q]\nhandler = { exec = [\"/no/such/program\"] }\n");
    let file = home.path("musher.toml").display().to_string();
    let check = ["config", "check", &file, "--json"];
    let checked = objects(&check, home.musher(&check));
    assert_eq!((&checked[0]["ok"], &checked[0]["file"]), (&true.into(), &file.clone().into()));
    assert_eq!(checked[0]["warnings"][0]["key"], "queues.q.handler.exec");
    assert!(checked[0]["who_may"].as_array().is_some_and(|lines| !lines.is_empty()));
    home.configure("bdy = 1\n");
    let output = home.musher(&check);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(2), 0));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["ok"], &found["errors"][0]["key"]), (&false.into(), &"limits.bdy".into()));
}
