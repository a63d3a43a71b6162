//! Schedules end to end: the verbs, the configuration, and a daemon that dies again and again.

use crate::helper::{Home, block_on, until};
use musher::protocol::admin::{AdminRequest, JobsView, ListQuery, ScheduleView};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a verb that must succeed; what it has printed, as JSON where that is asked for.
fn said(home: &Home, args: &[&str]) -> String {
    let output = home.musher(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn in_json(home: &Home, args: &[&str]) -> Value {
    serde_json::from_str(&said(home, args)).unwrap()
}

fn refused(home: &Home, args: &[&str], code: i32) -> String {
    let output = home.musher(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

#[test]
fn the_verbs_do_what_they_say() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let cron = ["--cron", "0 3 * * *", "--zone", "Europe/Berlin"];
        let add = [&["schedule", "add", "nightly"], &cron[..], &["backups", "all"]].concat();
        let made = home.musher(&[&add[..], &["--overlap", "skip", "--tag", "kind=nightly"]].concat());
        assert!(text(&made.stderr).starts_with("schedule nightly runs next: "), "{made:?}");
        assert!(refused(&home, &add, 1).contains("there is a schedule `nightly` already: --replace"));
        said(&home, &[&add[..], &["--replace", "--priority", "5"]].concat());
        let shown = in_json(&home, &["schedule", "show", "nightly", "--json"]);
        assert_eq!((&shown["priority"], &shown["zone"]), (&5.into(), &"Europe/Berlin".into()));

        assert!(said(&home, &["schedule", "list"]).contains("0 3 * * * Europe/Berlin"));
        assert!(said(&home, &["status"]).contains("1 schedule: `musher schedule list`"));
        let times = said(&home, &["schedule", "next", "nightly", "-n", "3", "--json"]);
        let times: Vec<u64> = times
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["at"].as_u64().unwrap())
            .collect();
        assert!(times.len() == 3 && times[0] > musher::clock::wall().0 && times[1] > times[0], "{times:?}");

        let id = said(&home, &["schedule", "trigger", "nightly"]);
        let job = daemon.claim("backups", false, 0).await.expect("it was submitted");
        assert_eq!((id.trim(), &job.body[..]), (&*job.lease.id.to_string(), &b"all"[..]));
        assert!(
            said(&home, &["schedule", "show", "nightly"]).contains(&format!("job {}: leased", id.trim()))
        );

        said(&home, &["schedule", "pause", "nightly"]);
        assert!(said(&home, &["schedule", "list"]).contains("paused"));
        let resumed = in_json(&home, &["schedule", "resume", "nightly", "--json"]);
        assert_eq!(resumed["resumed"], true);
        said(&home, &["schedule", "remove", "nightly"]);
        assert!(refused(&home, &["schedule", "show", "nightly"], 1).contains("no such schedule: `nightly`"));
        assert_eq!(said(&home, &["schedule", "list", "--json"]), "");

        for (args, words) in [
            (&["--cron", "0 3 * *"][..], "is not a time of cron"),
            (&["--cron", "0 0 30 2 *"], "names no time that ever comes"),
            (&["--cron", "@daily", "--zone", "Mars/Olympus"], "is not a time zone that this machine knows"),
        ] {
            let add = [&["schedule", "add", "wrong"], args, &["q", "x"]].concat();
            assert!(refused(&home, &add, 2).contains(words), "{args:?}");
        }
        for args in [&["--every", "10ms"][..], &[], &["--every", "1m", "--zone", "UTC"]] {
            refused(&home, &[&["schedule", "add", "wrong"], args, &["q", "x"]].concat(), 2);
        }
        let long = "x".repeat((64 << 10) + 1);
        std::fs::write(home.path("long"), &long).unwrap();
        let file = home.path("long").display().to_string();
        refused(&home, &["schedule", "add", "long", "--every", "1m", "q", "--file", &file], 2);

        // A command, as `musher run` has it.
        said(&home, &["schedule", "add", "echo", "--every", "1h", "commands", "--", "echo", "by the clock"]);
        let id = said(&home, &["schedule", "trigger", "echo"]);
        said(&home, &["wait", id.trim()]);
        assert_eq!(said(&home, &["logs", id.trim()]), "by the clock\n");
        daemon.stop().await;
    });
}

#[test]
fn the_configuration_makes_schedules_and_takes_them_away() {
    block_on(async {
        let nightly = "[schedules.nightly]\ncron = '0 3 * * *'\nzone = 'Europe/Berlin'\nqueue = 'backups'\nbody = 'all'\n";
        let home = Home::new(nightly);
        let daemon = home.serve().await;
        let shown = in_json(&home, &["schedule", "show", "nightly", "--json"]);
        assert_eq!((&shown["configured"], &shown["queue"]), (&true.into(), &"backups".into()));
        let removed = refused(&home, &["schedule", "remove", "nightly"], 1);
        assert!(removed.contains("is in the daemon's configuration ([schedules.nightly])"), "{removed}");
        said(&home, &["schedule", "add", "mine", "--every", "1h", "q", "x"]);

        home.configure("[schedules.mine]\nevery = '1m'\nqueue = 'q'\n");
        daemon.signal(Signal::HUP);
        until("the old one is gone", async || {
            let list = daemon.client.ask::<Vec<ScheduleView>>(AdminRequest::Schedules {}).await.unwrap();
            (list.len() == 1 && list[0].every_ms == Some(3_600_000)).then_some(())
        })
        .await;
        until("the clash is told", async || {
            home.log().contains("there is a schedule `mine` that was made by command").then_some(())
        })
        .await;
        daemon.stop().await;
    });
}

/// Each second has one job, though the daemon is killed again and again.
#[test]
fn no_job_is_lost_or_doubled_whenever_the_daemon_dies() {
    const KILLS: u64 = 8;
    block_on(async {
        let home = Home::new("");
        let mut daemon = home.serve().await;
        said(&home, &["schedule", "add", "tick", "--every", "1s", "--catch-up", "all", "q", "x"]);
        let first = in_json(&home, &["schedule", "show", "tick", "--json"])["next_at"].as_u64().unwrap();
        for n in 0..KILLS {
            let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
            let before = musher::clock::monotonic();
            let moment = Duration::from_millis(300 + mixed.rotate_left(17) % 900);
            until("it is time to die", async || (musher::clock::monotonic() - before > moment).then_some(()))
                .await;
            daemon.kill().await;
            daemon = home.serve().await;
        }
        let fired = daemon.client.ask::<ScheduleView>(AdminRequest::ScheduleShow { name: "tick".into() });
        let fired = fired.await.unwrap().fired;
        until("it goes on", async || {
            let show = AdminRequest::ScheduleShow { name: "tick".into() };
            (daemon.client.ask::<ScheduleView>(show).await.unwrap().fired > fired).then_some(())
        })
        .await;
        daemon.client.done(AdminRequest::SchedulePause { name: "tick".into() }).await.unwrap();
        let shown: ScheduleView =
            daemon.client.ask(AdminRequest::ScheduleShow { name: "tick".into() }).await.unwrap();
        let query = ListQuery { queue: Some("q".into()), limit: 1_000, ..ListQuery::default() };
        let jobs: JobsView = daemon.client.ask(AdminRequest::List(query)).await.unwrap();
        assert_eq!((jobs.jobs.len() as u64, shown.skipped), (shown.fired, 0));
        // The wall clock may be corrected by a little meanwhile.
        let seconds = (shown.runs[0].at - first + 500) / 1_000 + 1;
        assert_eq!(shown.fired, seconds, "{shown:?}");
        daemon.stop().await;
    });
}

/// From the file and by a verb alike: a command and a key, as jobs may have them.
#[test]
fn jobs_of_a_schedule_may_run_a_command_and_have_a_key() {
    block_on(async {
        let queue = "[queues.c]\nworkers = 2\nhandler = \"command\"\nkeep = { done = \"1h\" }";
        let command = "command = [\"sh\", \"-c\", \"pwd; echo $MUSHER_KEY $0\", \"it's\"]";
        let schedule = "cron = \"0 0 1 1 *\"\nqueue = \"c\"\nkey = \"k 7\"";
        let home = Home::new(&format!("{queue}\n[schedules.file]\n{schedule}\n{command}\n"));
        let daemon = home.serve().await;
        let verb = ["schedule", "add", "verb", "--cron", "@yearly", "--key", "k 8", "c"];
        said(&home, &[&verb[..], &["--", "sh", "-c", "pwd; echo $MUSHER_KEY"]].concat());
        let here = std::env::current_dir().unwrap();
        for (name, key, printed) in [
            ("file", "k 7", "/\nk 7 it's\n".to_owned()),
            ("verb", "k 8", format!("{}\nk 8\n", here.display())),
        ] {
            let shown = in_json(&home, &["schedule", "show", name, "--json"]);
            assert_eq!((&shown["key"], &shown["attempts"]), (&key.into(), &1.into()));
            let id: u64 = said(&home, &["schedule", "trigger", name]).trim().parse().unwrap();
            daemon.until_state(id, "done").await;
            assert_eq!(said(&home, &["logs", &id.to_string()]), printed);
            assert_eq!(daemon.show(id).await.unwrap().key.as_deref(), Some(key));
        }
        daemon.kill().await;
        let daemon = home.serve().await;
        let id: u64 = said(&home, &["schedule", "trigger", "verb"]).trim().parse().unwrap();
        daemon.until_state(id, "done").await;
        assert_eq!(daemon.show(id).await.unwrap().key.as_deref(), Some("k 8"));
        let file = home.path("musher.toml");
        let shown = said(&home, &["config", "show", file.to_str().unwrap()]);
        assert!(shown.contains("key = \"k 7\"") && shown.contains("command = [\"sh\", "), "{shown}");
    });
}
