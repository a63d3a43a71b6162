//! Moving in commands: from pueue by a state file as it writes one, from the real task-spooler if there is one.

use super::{jobs, said};
use crate::helper::{Home, block_on, skipped, until};
use musher::protocol::CommandJob;
use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

/// Tasks as pueue 4 writes them, in the directory of this home.
fn write_pueue(home: &Home) {
    let task = |number: u64, command: &str, status: serde_json::Value| {
        serde_json::json!({
            "id": number, "created_at": format!("2026-01-02T03:04:0{number}.5+01:00"), "original_command": command,
            "command": command, "path": home.path("work"), "envs": {"WORD": "a  b", "PATH": "/usr/bin:/bin"},
            "group": "default", "dependencies": [], "priority": 0, "label": null, "status": status,
        })
    };
    let queued = || serde_json::json!({"Queued": {"enqueued_at": "2026-01-02T03:04:05.5+01:00"}});
    let mut tasks = serde_json::json!({
        "0": task(0, "true", serde_json::json!({"Done": {"result": "Success"}})),
        "1": task(1, "sleep 9", serde_json::json!({"Running": {}})),
        "2": task(2, "echo \"$WORD\" > came; pwd >> came", queued()),
        "3": task(3, "cat came > after", queued()),
        "4": task(4, "true", serde_json::json!({"Stashed": {"enqueue_at": "2099-01-02T03:04:05+01:00"}})),
        "5": task(5, "true", serde_json::json!({"Stashed": {"enqueue_at": null}})),
        "6": task(6, "true", queued()),
        "7": task(7, "true", queued()),
        "8": task(8, "true", queued()),
    });
    // Pueue makes no circle, but its file is only a file.
    (tasks["7"]["dependencies"], tasks["8"]["dependencies"]) = ([8].into(), [7].into());
    tasks["3"]["dependencies"] = [0, 2].into();
    tasks["6"]["dependencies"] = [1].into();
    (tasks["4"]["group"], tasks["4"]["label"]) = ("gpu".into(), "night".into());
    tasks["4"]["priority"] = 24.into();
    let state = serde_json::json!({"tasks": tasks, "groups": {"default": {"status": "Running", "parallel_tasks": 1}}});
    for directory in ["work", "pueue"] {
        fs::create_dir_all(home.path(directory)).unwrap();
    }
    fs::write(home.path("pueue/state.json"), state.to_string()).unwrap();
}

#[test]
fn what_waits_in_pueue_runs_here_where_it_would_have_run_there() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        write_pueue(&home);
        let before = fs::read(home.path("pueue/state.json")).unwrap();
        let import = |more: &[&str]| {
            let mut command = home.command();
            command.env("XDG_DATA_HOME", home.path("")).args(["import", "--from", "pueue"]).args(more);
            command.output().unwrap()
        };
        let dry = import(&["--dry-run"]);
        let text = String::from_utf8(dry.stdout.clone()).unwrap();
        assert!(text.lines().any(|line| line.trim().starts_with("2 ") && line.contains("came")), "{dry:?}");
        assert!(jobs(&daemon.client).await.is_empty());
        let output = import(&[]);
        assert_eq!(output.status.code(), Some(1), "some are left: {output:?}");
        let text = said(&output);
        assert!(text.contains("task 5 of pueue is left there: it is stashed without a time"), "{text}");
        assert!(
            text.contains("task 6 of pueue is left there: it waits for task 1, which runs there"),
            "{text}"
        );
        assert!(text.contains("3 tasks are here now; left in pueue: 1 running, 1 ended, 4 others"), "{text}");
        assert!(
            text.contains("task 8 of pueue is left there: it waits for something that never comes"),
            "{text}"
        );
        assert!(text.contains("unless you type: pueue remove 2 3 4"), "{text}");
        assert!(text.contains("nobody runs the commands of queue gpu"), "{text}");
        until("the commands have run", async || {
            fs::read_to_string(home.path("work/after")).ok().filter(|text| text.lines().count() == 2)
        })
        .await;
        let came = fs::read_to_string(home.path("work/came")).unwrap();
        assert_eq!(came, format!("a  b\n{}\n", home.path("work").display()));
        let timed = jobs(&daemon.client).await.into_iter().find(|job| job.queue == "gpu").unwrap();
        assert_eq!((timed.state.as_str(), timed.priority, timed.attempts), ("scheduled", 1000, 1));
        assert_eq!(timed.due_at, Some(4_071_002_645_000));
        assert_eq!(timed.tags, [("label".to_owned(), "night".to_owned())]);
        let again: serde_json::Value = serde_json::from_slice(&import(&["--json"]).stdout).unwrap();
        assert_eq!(again["moved"].as_array().unwrap().len(), 3, "{again}");
        assert_eq!(daemon.status().await.next_id, timed.id + 1, "none came twice");
        assert_eq!(fs::read(home.path("pueue/state.json")).unwrap(), before, "pueue's file is as it was");
        daemon.stop().await;
    });
}

#[test]
fn a_state_that_cannot_be_read_is_said() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let import = |from: &str| {
            let mut command = home.command();
            command.env("TS_SOCKET", home.path("tsp")).args(["import", "--from", from]).output().unwrap()
        };
        let none = import(&format!("pueue:{}", home.path("none").display()));
        assert_eq!(none.status.code(), Some(1), "{none:?}");
        assert!(said(&none).contains("pueue's state cannot be read"), "{none:?}");
        let none = import("tsp");
        assert_eq!(none.status.code(), Some(1), "{none:?}");
        assert!(said(&none).contains("no task-spooler listens at"), "{none:?}");
        let _listener = UnixListener::bind(home.path("tsp")).unwrap();
        let none = import("task-spooler:no-such-program");
        assert_eq!(none.status.code(), Some(1), "{none:?}");
        assert!(said(&none).contains("task-spooler's list cannot be read: no-such-program"), "{none:?}");
        let other = import("task-spooler:echo");
        assert!(said(&other).contains("does not print a list as task-spooler does"), "{other:?}");
        daemon.stop().await;
    });
}

/// Its commands would run as whoever imports them.
#[test]
fn the_state_of_another_user_is_imported_only_on_purpose() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        write_pueue(&home);
        let file = home.path("pueue/state.json");
        if std::os::unix::fs::chown(&file, Some(65_534), None).is_err() {
            return skipped("only root can give a file to somebody else");
        }
        let from = format!("pueue:{}", file.display());
        let output = home.musher(&["import", "--from", &from]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains("its commands would run as you"), "{output:?}");
        assert!(jobs(&daemon.client).await.is_empty());
        let output = home.musher(&["import", "--from", &from, "--as-mine"]);
        assert!(said(&output).contains("3 tasks are here now"), "{output:?}");
        daemon.stop().await;
    });
}

/// Ends the task-spooler of a test.
struct Spooler<'a>(&'a Home);

impl Spooler<'_> {
    fn tsp(&self, args: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new("tsp");
        command
            .args(args)
            .env("TS_SOCKET", self.0.path("tsp"))
            .env("TMPDIR", self.0.path(""))
            .env("WORD", "a  b");
        command.current_dir(self.0.path("")).output()
    }
}

impl Drop for Spooler<'_> {
    fn drop(&mut self) {
        // The end of the list would not end what runs.
        let _ = self.tsp(&["-k", "0"]);
        let _ = self.tsp(&["-K"]);
    }
}

#[test]
fn what_waits_in_the_real_task_spooler_runs_here_with_its_very_arguments() {
    block_on(async {
        let home = Home::new("");
        let spooler = Spooler(&home);
        if spooler.tsp(&["sleep", "600"]).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return skipped("there is no task-spooler here");
        }
        let daemon = home.serve().await;
        for args in [
            &["-L", "my [label]", "sh", "-c", "echo \"$WORD\" \"$1\" > came", "sh", "c  d"][..],
            &["-d", "sh", "-c", "pwd >> came; cp came after"],
            &["sleep", "600"],
            &["-n", "touch", "two words", "a\nbreak"],
        ] {
            assert!(spooler.tsp(args).unwrap().status.success(), "{args:?}");
        }
        let import = |more: &[&str]| {
            let mut command = home.command();
            command.env("TS_SOCKET", home.path("tsp")).env("TMPDIR", home.path(""));
            command.args(["import", "--from", "tsp"]).args(more).output().unwrap()
        };
        let output = import(&[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = said(&output);
        assert!(
            text.contains("4 tasks are here now; left in task-spooler: 1 running, 0 ended, 0 others"),
            "{text}"
        );
        assert!(text.contains("unless you type: for id in 1 2 3 4; do tsp -r $id; done"), "{text}");
        assert!(import(&[]).status.success());
        let all = jobs(&daemon.client).await;
        assert_eq!(daemon.status().await.next_id, 5, "none came twice: {all:?}");
        let body = daemon.client.body(4).await.unwrap();
        let command: CommandJob = serde_json::from_slice(&body).unwrap();
        assert_eq!(command.argv, ["touch", "two words", "a\nbreak"].map(Into::into));
        until("the commands have run", async || {
            fs::read_to_string(home.path("after")).ok().filter(|text| text.lines().count() == 2)
        })
        .await;
        let directory = fs::canonicalize(home.path("")).unwrap();
        let came = fs::read_to_string(home.path("came")).unwrap();
        assert_eq!(came, format!("a  b c  d\n{}\n", directory.display()));
        assert_eq!(daemon.show(1).await.unwrap().tags, [("label".to_owned(), "my [label]".to_owned())]);
        assert!(home.musher(&["cancel", "3"]).status.success());
        daemon.until_state(3, "cancelled").await;
        daemon.stop().await;
    });
}
