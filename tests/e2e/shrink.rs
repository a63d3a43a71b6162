//! After a long queue the data directory is small again, and whatever still lives is there.

use crate::helper::{Daemon, Home, block_on, until};
use musher::protocol::{JobOptions, SubmitGroup};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The database is written anew after every checkpoint, if less than a quarter of it lives.
fn home() -> Home {
    let home = Home::new("");
    let config = "[storage]\nlog_file = \"256KiB\"\ncheckpoint = \"20ms\"\nballast = \"0B\"\n\
                  shrink_above = \"0B\"\n[limits]\ndisk_reserve = \"0B\"\n";
    fs::write(home.path("musher.toml"), config).unwrap();
    home
}

/// What a directory takes of the disk. What vanishes meanwhile takes nothing.
fn bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |path: &Path| {
        fs::symlink_metadata(path)
            .map_or(0, |found| if found.is_dir() { bytes(path) } else { found.blocks() * 512 })
    };
    entries.map(|entry| size(&entry.path())).sum()
}

/// Waits until so much of the new database is written, or there is nothing left to write anew.
async fn until_rewritten(data: &Path, part: u64) {
    until("the database is written anew", async || {
        let written = fs::metadata(data.join("sled.new")).is_ok().then(|| bytes(&data.join("sled.new")));
        (written.is_some_and(|written| written >= part) || bytes(&data.join("sled")) < 10 << 20).then_some(())
    })
    .await;
}

/// Submits so many thousand jobs, waits until the database is so large, and deletes them.
async fn fill_and_purge(home: &Home, daemon: &Daemon, thousands: usize, large: u64) {
    for _ in 0..thousands {
        let options = JobOptions { queue: "gone".into(), ..JobOptions::default() };
        let bodies = (0..1000).map(|n| n.to_string().repeat(600).into()).collect();
        daemon.client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap();
    }
    let sled = home.path("data").join("sled");
    until("the backlog is in the database", async || (bytes(&sled) > large).then_some(())).await;
    assert!(home.musher(&["purge", "gone", "--yes"]).status.success());
}

#[test]
fn the_log_says_what_was_given_back() {
    block_on(async {
        let home = home();
        let daemon = home.serve().await;
        fill_and_purge(&home, &daemon, 20, 30 << 20).await;
        daemon.submit("other", &["so that there is a checkpoint"]).await;
        home.until_logged("MiB given back").await;
        daemon.stop().await;
    });
}

#[test]
fn after_a_backlog_the_directory_is_small_again_whatever_kills_it() {
    const KILLS: u64 = 12;
    block_on(async {
        let home = home();
        let data = home.path("data");
        let mut daemon = home.serve().await;
        let mut kept = HashMap::new();
        for n in 0..200 {
            let body = format!("{n} stays ").repeat(1 + n % 700);
            kept.insert(daemon.submit("kept", &[&body]).await, body);
        }
        fill_and_purge(&home, &daemon, 20, 30 << 20).await;

        let mut cut = 0;
        for n in 0..KILLS {
            let body = format!("kill {n}");
            kept.insert(daemon.submit("kept", &[&body]).await, body);
            until_rewritten(&data, n * (64 << 10)).await;
            daemon.kill().await;
            cut += u64::from(data.join("sled.new").exists());
            daemon = home.serve().await;
        }
        assert!(cut > 0, "no kill has met a rewrite");

        daemon.submit("other", &["so that there is a checkpoint"]).await;
        until("the directory is small", async || (bytes(&data) < 10 << 20).then_some(())).await;
        daemon.stop().await;
        let daemon = home.serve().await;
        assert_eq!(daemon.queue("kept").await.ready, kept.len() as u64);
        while let Some(job) = daemon.claim("kept", true, 0).await {
            let body = kept.remove(&job.lease.id).unwrap();
            assert_eq!(job.body, body.as_bytes(), "job {}", job.lease.id);
        }
        assert!(kept.is_empty(), "{:?}", kept.keys());
    });
}
