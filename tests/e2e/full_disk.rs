//! The daemon on a disk that is full: a small file system of memory under its data directory, filled up beside the
//! data. Mounting needs root.

use crate::helper::{DEADLINE, Daemon, Home, block_on, skipped, until};
use musher::client::ClientError;
use musher::clock::monotonic;
use musher::protocol::{ErrorCode, JobOptions, SubmitGroup, Verdict};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

/// A home whose data directory is a file system of its own; unmounted when it is dropped.
struct SmallDisk {
    home: Home,
}

impl SmallDisk {
    /// `None`, and a loud word, where nothing can be mounted.
    fn new(size: &str, ballast: &str, reserve: &str) -> Option<SmallDisk> {
        let home = Home::new("");
        let config = format!(
            "[storage]\nlog_file = \"256KiB\"\ncheckpoint = \"20ms\"\nballast = \"{ballast}\"\n\
             [limits]\ndisk_reserve = \"{reserve}\"\n"
        );
        fs::write(home.path("musher.toml"), config).unwrap();
        fs::create_dir(home.path("data")).unwrap();
        let options = format!("size={size},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "musher-test"]).arg(home.path("data"));
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(SmallDisk { home });
        }
        skipped("a small file system cannot be mounted here (that needs root)");
        None
    }

    fn filler(&self) -> PathBuf {
        self.home.path("data").join("filler")
    }

    /// Takes all space.
    fn fill(&self) {
        let file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let mut part = 1 << 30;
        // The daemon takes and gives space meanwhile.
        while part >= 4096 {
            let found = statvfs(self.filler()).unwrap();
            part = part.min(found.f_bavail * found.f_frsize) / 4096 * 4096;
            let end = file.metadata().unwrap().len();
            if part > 0 && fallocate(&file, FallocateFlags::empty(), end, part).is_err() {
                part /= 2;
            }
        }
    }

    fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    async fn until_logged(&self, text: &str) {
        until(&format!("the log says: {text}"), async || self.home.log().contains(text).then_some(())).await;
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.home.path("data")).status();
    }
}

async fn submit(daemon: &Daemon) -> Result<u64, ClientError> {
    let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
    let group = SubmitGroup { options, bodies: vec!["x".into()] };
    Ok(daemon.client.submit(vec![group]).await?.first_id())
}

#[test]
fn jobs_are_refused_settles_go_on_and_space_is_noticed_by_itself() {
    let Some(disk) = SmallDisk::new("128M", "16MiB", "40MiB") else { return };
    block_on(async {
        let daemon = disk.home.serve().await;
        let first = daemon.submit("q", &["x"; 300]).await;
        disk.fill();
        let refused = until("a submit is refused", async || submit(&daemon).await.err()).await;
        let ClientError::Refused(fault) = &refused else { panic!("{refused}") };
        assert_eq!(fault.code, ErrorCode::DiskFull);
        for part in ["the disk is nearly full", "limits.disk_reserve", "until there is space"] {
            assert!(fault.message.contains(part), "{fault:?}");
        }
        disk.until_logged("the disk is nearly full").await;
        // More than the log's files hold that are there already: the ballast is given up for them.
        for id in first..first + 300 {
            let job = daemon.claim("q", false, 0).await.unwrap();
            assert_eq!(job.lease.id, id);
            assert!(
                daemon.settle(job.lease, Verdict::FailDead { error: "e".repeat(4000), exit: None }).await
            );
        }
        assert!(submit(&daemon).await.is_err(), "the ballast is not for new jobs");
        assert!(!disk.home.log().contains("there is room again"));

        disk.clear();
        let begun = monotonic();
        disk.until_logged("there is room again").await;
        // It looks each second; whatever else wakes the daemon comes later.
        assert!(monotonic() - begun < DEADLINE / 3, "nobody has asked, so it must look by itself");
        let next = submit(&daemon).await.unwrap();
        daemon.until_state(next, "ready").await;
        assert_eq!(daemon.queue("q").await.dead, 300);
        daemon.stop().await;
        let daemon = disk.home.serve().await;
        let queue = daemon.queue("q").await;
        assert_eq!(queue.dead, 300);
        assert!(queue.ready >= 1);
        daemon.stop().await;
    });
}

#[test]
fn when_nothing_is_left_the_daemon_ends_loudly_and_loses_nothing() {
    let Some(disk) = SmallDisk::new("128M", "0B", "0B") else { return };
    block_on(async {
        let daemon = disk.home.serve().await;
        let first = daemon.submit("q", &["x"; 2000]).await;
        disk.fill();
        let mut settled = 0;
        let item = |lease| musher::protocol::Settle {
            lease,
            verdict: Verdict::FailDead { error: "e".repeat(4000), exit: None },
        };
        loop {
            let claim = musher::protocol::Claim { queues: vec!["q".into()], max: 1, ..Default::default() };
            let Ok(jobs) = daemon.client.claim(claim).await else { break };
            if daemon.client.settle(vec![item(jobs[0].lease)]).await.is_err() {
                break;
            }
            settled += 1;
        }
        assert!(settled > 0);
        assert_eq!(daemon.ended().await.code(), Some(1));
        disk.until_logged("No space left on device").await;
        disk.until_logged("its next start recovers everything that was acknowledged").await;
        disk.clear();
        let daemon = disk.home.serve().await;
        for id in first..first + settled {
            assert_eq!(daemon.state(id).await, "dead");
        }
        let queue = daemon.queue("q").await;
        assert_eq!(queue.dead + queue.ready + queue.leased + queue.scheduled, 2000);
        daemon.stop().await;
    });
}
