//! `musher verify --data` with the real program: after SIGKILLs, beside a running daemon, with damage, and where nothing may
//! be written.

use crate::helper::{Daemon, Home, block_on, copy_program, skipped};
use musher::protocol::Verdict;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NOBODY: u32 = 65_534;

fn verify(home: &Home, data: &Path, more: &[&str]) -> Output {
    let scratch = home.path("scratch");
    fs::create_dir_all(&scratch).unwrap();
    let mut command = home.command();
    command.arg("verify").arg("--data").arg(data).arg("--scratch").arg(&scratch).args(more);
    let output = command.output().unwrap();
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "the copy is gone");
    output
}

/// Exit code, standard output, standard error.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Jobs come, some go, some are never claimed; bodies of every size.
async fn churn(daemon: &Daemon, round: usize) {
    for n in 0..12 {
        let big = "x".repeat(round * 700 + n * 6000);
        daemon.submit("q", &["", "one", &big, "two"]).await;
        daemon.submit("other", &[&format!("{round} {n}")]).await;
        for _ in 0..3 {
            let job = daemon.claim("q", false, 0).await.unwrap();
            assert!(daemon.settle(job.lease, Verdict::Complete).await);
        }
    }
}

#[test]
fn after_kills_and_stops_there_is_no_defect_and_beside_a_daemon_it_is_refused() {
    block_on(async {
        let home = Home::new("");
        for round in 0..6 {
            let daemon = home.serve().await;
            churn(&daemon, round).await;
            if round == 0 {
                let (code, out, err) = said(&verify(&home, &home.path("data"), &[]));
                assert_eq!((code, out.as_str()), (75, ""));
                assert!(err.contains("in use") && err.contains("musher backup - | musher verify"), "{err}");
            }
            if round % 3 == 2 {
                daemon.stop().await
            } else {
                daemon.kill().await
            }
            let (code, out, err) = said(&verify(&home, &home.path("data"), &[]));
            assert_eq!((code, out.as_str()), (0, ""), "{err}");
            assert!(err.starts_with("no defects: ") && err.contains(" 2 queues, "), "{err}");
        }
        let (code, out, _) = said(&verify(&home, &home.path("data"), &["--json"]));
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &found["defects"], &found["queues"]), (0, &0.into(), &2.into()));
        let migrated = home.command().args(["migrate", "--data"]).arg(home.path("data")).output().unwrap();
        assert!(said(&migrated).2.contains("has format 9 already, the newest"), "{migrated:?}");
    });
}

#[test]
fn defects_are_lines_and_usage_is_told() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        churn(&daemon, 1).await;
        daemon.kill().await;
        fs::write(home.path("data/FORMAT"), "musher data format one\n").unwrap();
        fs::write(home.path("data/sled/snap.7FFFFFFFFFFFFFFF"), "no snapshot").unwrap();
        let (code, out, err) = said(&verify(&home, &home.path("data"), &[]));
        assert_eq!(code, 1, "{err}");
        let place = |part: &str| home.path("data").join(part).display().to_string();
        assert!(out.starts_with(&format!("{}: ", place("FORMAT"))), "{out}");
        assert!(out.lines().any(|line| line.starts_with(&format!("{}: ", place("sled")))), "{out}");
        assert!(!out.contains("musher-verify-"), "the copy is not what is damaged: {out}");
        assert!(err.starts_with(&format!("{} defects: ", out.lines().count())), "{err}");
        let (code, lines, _) = said(&verify(&home, &home.path("data"), &["--json"]));
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(code, 1);
        assert_eq!(lines.last().unwrap()["defects"], lines.len() - 1);
        assert!(lines[0]["place"].as_str().unwrap().ends_with("FORMAT"));

        for args in
            [&["verify"][..], &["verify", "--data", "x", "--backup", "y"], &["verify", "--scratch", "x"]]
        {
            assert_eq!(said(&home.musher(args)).0, 2, "{args:?}");
        }
        let (_, _, err) = said(&home.musher(&["verify"]));
        assert!(err.contains("--data DIR or --backup FILE"), "{err}");
        let (code, _, err) = said(&verify(&home, &home.path("nothing"), &[]));
        assert!(code == 2 && err.contains("is not a data directory"), "{err}");
        fs::write(home.path("data/FORMAT"), "musher data format 999\n").unwrap();
        let (code, out, err) = said(&verify(&home, &home.path("data"), &[]));
        assert!(code == 1 && out.is_empty() && err.contains("has format 999"), "{err}");
    });
}

#[test]
fn what_may_only_be_read_can_be_verified_and_what_may_not_is_told() {
    block_on(async {
        if !rustix::process::geteuid().is_root() {
            return skipped("another user cannot be tried here (that needs root)");
        }
        let home = Home::new("");
        let daemon = home.serve().await;
        churn(&daemon, 1).await;
        daemon.kill().await;
        // A directory that others may reach, and a program that they may run.
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(place.path().join("scratch")).unwrap();
        chown(place.path().join("scratch"), Some(NOBODY), None).unwrap();
        let program = place.path().join("musher");
        copy_program(&program);
        let data = place.path().join("data");
        fs::rename(home.path("data"), &data).unwrap();
        let as_nobody = || {
            let mut command = Command::new(&program);
            command.arg("verify").arg("--data").arg(&data).env("TMPDIR", place.path().join("scratch"));
            said(&command.uid(NOBODY).output().unwrap())
        };
        let (code, out, err) = as_nobody();
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("belongs to user 0, but musher runs as user 65534"), "{err}");

        make_readable_only(&data, NOBODY);
        let (code, out, err) = as_nobody();
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
        assert!(err.starts_with("no defects: "), "{err}");

        let Some(mount) = ReadOnly::mount(&data) else { return };
        let (code, out, err) = said(&verify(&home, &mount.0, &[]));
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
    });
}

/// All of it is the user's, who may not write to it.
fn make_readable_only(path: &Path, user: u32) {
    let is_dir = path.is_dir();
    if is_dir {
        fs::read_dir(path).unwrap().for_each(|entry| make_readable_only(&entry.unwrap().path(), user));
    }
    chown(path, Some(user), None).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(if is_dir { 0o500 } else { 0o400 })).unwrap();
}

/// The same directory once more, on a mount that takes no writes.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn mount(data: &Path) -> Option<ReadOnly> {
        let at = data.with_extension("read-only");
        fs::create_dir(&at).unwrap();
        let mount =
            |args: &[&str]| Command::new("mount").args(args).arg(&at).status().is_ok_and(|it| it.success());
        if !mount(&["--bind", data.to_str().unwrap()]) {
            skipped("nothing can be mounted here");
            return None;
        }
        let mounted = ReadOnly(at.clone());
        assert!(mount(&["-o", "remount,bind,ro"]));
        assert!(fs::write(at.join("file"), "").is_err(), "it takes no writes");
        Some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
