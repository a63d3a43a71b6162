//! Settings of queues that are changed at run time: at once, for good, and beside what the configuration says.

use crate::helper::{Home, block_on, until};
use musher::protocol::admin::{AdminRequest, QueueSettingsView, SettingView};
use std::process::Output;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(home: &Home, args: &[&str]) -> String {
    let output = home.musher(args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn setting(home: &Home, queue: &str, key: &str) -> SettingView {
    let view: QueueSettingsView =
        serde_json::from_str(&done(home, &["queue", "show", queue, "--json"])).unwrap();
    view.settings.into_iter().find(|setting| setting.key == key).unwrap()
}

#[test]
fn what_is_set_survives_a_kill_and_a_reload() {
    block_on(async {
        let home = Home::new("[queues.q]\nrate = \"1/d\"\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["a", "b", "c"]).await;
        assert!(daemon.claim("q", false, 0).await.is_some());
        assert_eq!(setting(&home, "q", "rate").from, "configuration");
        assert_eq!(setting(&home, "q", "attempts").from, "default");

        // A claim that waits for the rate is served when it is raised.
        let (waits, set) = (daemon.claim("q", false, 60_000), async {
            until("it waits", async || (daemon.queue("q").await.waiting_claims > 0).then_some(())).await;
            let output = home.musher(&["queue", "set", "q", "rate=1000/s", "concurrency=5"]);
            let words = said(&output);
            assert!(words.contains("queue q: rate is 1000/s; the configuration says 1/d"), "{words}");
        });
        let (got, ()) = tokio::join!(waits, set);
        assert!(got.is_some());
        daemon.kill().await;

        let daemon = home.serve().await;
        assert!(daemon.claim("q", false, 0).await.is_some(), "at 1000/s");
        home.configure("[queues.q]\nrate = \"1/h\"\n");
        daemon.signal(rustix::process::Signal::HUP);
        let rate = until("the reload", async || {
            let rate = setting(&home, "q", "rate");
            (rate.configured == "1/h").then_some(rate)
        });
        let rate = rate.await;
        assert_eq!(
            (&*rate.value, &*rate.from, rate.by),
            ("1000/s", "set", Some(rustix::process::geteuid().as_raw()))
        );
        let table = done(&home, &["queue", "show", "q"]);
        let row = table.lines().find(|line| line.starts_with("rate ")).unwrap();
        assert!(row.contains("1000/s") && row.contains("set by ") && row.ends_with("1/h"), "{table}");

        done(&home, &["queue", "unset", "q", "rate"]);
        assert_eq!((setting(&home, "q", "rate").value, setting(&home, "q", "rate").by), ("1/h".into(), None));
        assert_eq!(setting(&home, "q", "concurrency").value, "5");
        done(&home, &["queue", "unset", "q", "--all"]);
        assert_eq!(setting(&home, "q", "concurrency").value, "0");
        daemon.stop().await;
    });
}

#[test]
fn a_queue_is_set_before_it_is_there_and_mistakes_are_told() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let refused = |code: i32, args: &[&str], words: &str| {
            let output = home.musher(args);
            assert!(output.status.code() == Some(code) && said(&output).contains(words), "{}", said(&output));
        };
        refused(2, &["queue", "set", "new", "rat=1/s"], "did you mean `rate`?");
        refused(2, &["queue", "set", "new", "rate=fast"], "is not a rate such as");
        refused(2, &["queue", "set", "new", "rate"], "a setting is a key and a value");
        refused(1, &["queue", "unset", "new", "rate"], "no such queue");
        refused(1, &["queue", "show", "new"], "no such queue");

        done(&home, &["queue", "set", "new", "concurrency=1", "priority=7"]);
        daemon.kill().await;
        let daemon = home.serve().await;
        let first = daemon.submit("new", &["a", "b"]).await;
        assert_eq!(daemon.show(first).await.unwrap().priority, 7);
        assert!(daemon.claim("new", false, 0).await.is_some());
        assert!(daemon.claim("new", false, 0).await.is_none());
        // The same producer, whose last submit is remembered, gets another priority at once.
        done(&home, &["queue", "set", "new", "priority=9"]);
        let next = daemon.submit("new", &["a", "b"]).await;
        assert_eq!(daemon.show(next).await.unwrap().priority, 9);
        let explained = done(&home, &["explain", &(first + 1).to_string()]);
        assert!(explained.contains("at its limit of jobs that run at a time: 1 of 1"), "{explained}");
        let unknown = AdminRequest::QueueSet { queue: "new".into(), set: Vec::new(), unset: Vec::new() };
        assert!(daemon.client.done(unknown).await.unwrap_err().to_string().contains("nothing to set"));
        daemon.stop().await;
    });
}

#[test]
fn a_backup_has_what_is_set() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        done(&home, &["queue", "set", "q", "rate=5/s"]);
        let (backup, data) = (home.path("backup"), home.path("data"));
        done(&home, &["backup", backup.to_str().unwrap()]);
        daemon.stop().await;
        std::fs::remove_dir_all(&data).unwrap();
        done(&home, &["restore", backup.to_str().unwrap(), "--data", data.to_str().unwrap()]);
        let daemon = home.serve().await;
        assert_eq!(setting(&home, "q", "rate").value, "5/s");
        daemon.stop().await;
    });
}
