//! Backup and restore with the real program: under load, with a SIGKILL in the middle, and with damage.

use crate::helper::{DEADLINE, Daemon, Home, block_on, until};
use musher::clock::monotonic;
use musher::protocol::{JobOptions, SubmitGroup};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Runs a verb while the test's other work goes on.
async fn beside(mut command: Command) -> Output {
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("the verb ends", async || child.try_wait().unwrap()).await;
    child.wait_with_output().unwrap()
}

/// Every job there is, with its body.
async fn jobs(daemon: &Daemon) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let status: musher::protocol::admin::StatusView =
        daemon.client.ask(musher::protocol::admin::AdminRequest::Status {}).await.unwrap();
    for id in 1..status.next_id.min(100_000) {
        if let Ok(body) = daemon.client.body(id).await {
            found.insert(id, String::from_utf8(body.to_vec()).unwrap());
        }
    }
    found
}

#[test]
fn a_backup_under_load_has_every_job_that_was_acknowledged_before_it_began() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let before: Vec<String> = (0..3000).map(|n| format!("before {n} {}", "x".repeat(n % 300))).collect();
        for part in before.chunks(500) {
            daemon.submit("q", &part.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        let done = Cell::new(false);
        let load = async {
            let deadline = monotonic() + DEADLINE;
            while !done.get() && monotonic() < deadline {
                let options = JobOptions { queue: "later".into(), ..JobOptions::default() };
                let group = SubmitGroup { options, bodies: vec!["later".into(); 20] };
                daemon.client.submit(vec![group]).await.unwrap();
            }
        };
        let backup = async {
            let mut command = home.command();
            command.arg("backup").arg(home.path("one.backup"));
            let output = beside(command).await;
            done.set(true);
            output
        };
        let ((), output) = tokio::join!(load, backup);
        assert_eq!(code(&output), 0, "{output:?}");
        daemon.kill().await;

        fs::rename(home.path("data"), home.path("lost")).unwrap();
        let restored = home
            .command()
            .arg("restore")
            .arg(home.path("one.backup"))
            .arg("--data")
            .arg(home.path("data"))
            .output();
        assert_eq!(code(&restored.unwrap()), 0);
        let daemon = home.serve().await;
        let found = jobs(&daemon).await;
        for (n, body) in before.iter().enumerate() {
            assert_eq!(found.get(&(n as u64 + 1)), Some(body));
        }
        assert!(daemon.submit("q", &["new"]).await > 1_000_000, "ids that may have been given are left out");
        daemon.stop().await;
    });
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_leaves_no_backup_and_loses_nothing() {
    block_on(async {
        let home = Home::new("");
        fs::create_dir(home.path("backups")).unwrap();
        let mut daemon = home.serve().await;
        let body = "x".repeat(5000);
        for _ in 0..20 {
            daemon.submit("q", &vec![body.as_str(); 200]).await;
        }
        for _ in 0..3 {
            let mut command = home.command();
            command.arg("backup").arg(home.path("backups"));
            let mut child = command
                .stderr(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            until("the backup has begun", async || {
                let sizes = fs::read_dir(home.path("backups"))
                    .unwrap()
                    .map(|it| it.unwrap().metadata().map_or(0, |it| it.len()));
                (sizes.sum::<u64>() > 300_000 || child.try_wait().unwrap().is_some()).then_some(())
            })
            .await;
            daemon.kill().await;
            let status = until("the verb ends", async || child.try_wait().unwrap()).await;
            let left: Vec<_> =
                fs::read_dir(home.path("backups")).unwrap().map(|it| it.unwrap().path()).collect();
            match status.code().unwrap() {
                // It was quicker than the signal.
                0 => left.iter().for_each(|path| fs::remove_file(path).unwrap()),
                _ => assert_eq!(left, [] as [std::path::PathBuf; 0]),
            }
            daemon = home.serve().await;
        }
        assert_eq!(daemon.queue("q").await.ready, 4000);
        daemon.stop().await;
    });
}

#[test]
fn nothing_is_written_over_and_damage_is_told_and_refused() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        for n in 0..50 {
            daemon.submit("q", &[&format!("body {n}"), &"y".repeat(n * 40)]).await;
        }
        let path = |name: &str| home.path(name).display().to_string();
        let (file, spoiled) = (path("one.backup"), path("spoiled.backup"));
        assert_eq!(code(&home.musher(&["backup", &file])), 0);
        assert_eq!(code(&home.musher(&["backup", &file])), 1, "nothing is written over");
        let streamed = home.musher(&["backup", "-"]);
        assert_eq!(code(&streamed), 0);
        fs::write(home.path("streamed"), streamed.stdout).unwrap();
        assert_eq!(code(&home.musher(&["verify", "--backup", &path("streamed")])), 0);
        let refused = home.musher(&["restore", &file, "--data", &path("data")]);
        assert_eq!(code(&refused), 2);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"));
        let busy = home.musher(&["backup", "-", "--data", &path("data")]);
        assert!(String::from_utf8_lossy(&busy.stderr).contains("in use by the musher daemon"), "{busy:?}");
        daemon.stop().await;
        assert_eq!(code(&home.musher(&["backup", &path("offline"), "--data", &path("data")])), 0);

        let bytes = fs::read(&file).unwrap();
        for case in 0..40 {
            let (mut damaged, at) = (bytes.clone(), (case * 7919 + 13) * 104_729 % bytes.len());
            damaged[at] ^= 1 << (case % 8);
            fs::write(&spoiled, damaged).unwrap();
            let verified = home.musher(&["verify", "--backup", &spoiled]);
            assert_eq!(code(&verified), 1, "byte {at}");
            assert!(!verified.stdout.is_empty());
            if case % 8 == 0 {
                let target = path(&format!("restored-{case}"));
                assert_eq!(code(&home.musher(&["restore", &spoiled, "--data", &target])), 1, "byte {at}");
                let opened = home.musher(&["serve", "--data", &target]);
                assert_eq!(code(&opened), 1, "a part is no data directory: {opened:?}");
            }
        }
    });
}

#[test]
fn a_restore_that_is_killed_leaves_all_of_it_or_what_no_daemon_starts_on() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let body = "x".repeat(5000);
        for _ in 0..5 {
            daemon.submit("q", &vec![body.as_str(); 200]).await;
        }
        let path = |name: &str| home.path(name).display().to_string();
        assert_eq!(code(&home.musher(&["backup", &path("file")])), 0);
        daemon.stop().await;
        let restore = |data: &str| {
            let mut command = home.command();
            command.args(["restore", &path("file"), "--data", data]).stderr(std::process::Stdio::null());
            command
        };
        let began = monotonic();
        assert!(restore(&path("whole")).status().unwrap().success());
        let whole = monotonic() - began;
        for case in 0..12u32 {
            let target = path(&format!("target-{case}"));
            let mut child = restore(&target).spawn().unwrap();
            tokio::time::sleep(whole * case / 10).await;
            child.kill().unwrap();
            let done = child.wait().unwrap().success();
            let is_there = |name: &str| std::path::Path::new(&target).join(name).exists();
            assert!(!done || is_there("FORMAT"));
            if is_there("FORMAT") {
                fs::rename(&target, home.path("data.new")).unwrap();
                let _ = fs::remove_dir_all(home.path("data"));
                fs::rename(home.path("data.new"), home.path("data")).unwrap();
                let daemon = home.serve().await;
                assert_eq!(daemon.queue("q").await.ready, 1000);
                daemon.stop().await;
            } else if is_there("sled") {
                let mut serve = home.command();
                serve.args(["serve", "--data", &target]);
                let refused = beside(serve).await;
                assert_eq!(code(&refused), 1, "{refused:?}");
                assert!(String::from_utf8_lossy(&refused.stderr).contains("no file FORMAT"), "{refused:?}");
            }
        }
    });
}
