//! What becomes of what verbs print when nobody takes it: jobs that were claimed, backups, exports.

use crate::helper::{Home, block_on};
use std::process::{Command, Output, Stdio};

/// Runs a verb into a reader that a shell's command line describes.
fn into_reader(home: &Home, args: &[&str], reader: &str) -> Output {
    let verb = home.command();
    let mut command = Command::new("bash");
    let script = format!("set -o pipefail; \"$0\" \"$@\" | {reader}");
    command.args(["-c", &script]).arg(verb.get_program()).args(args);
    command.env("MUSHER_SOCKET", home.socket()).env("NO_COLOR", "1").stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn jobs_that_nobody_took_from_a_claim_are_given_back() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let bodies: Vec<String> = (0..2000).map(|n| format!("body {n}")).collect();
        daemon.submit("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for (reader, taken) in [("head -1", 1), ("true", 0), ("head -c 1", 0)] {
            for json in [&[][..], &["--json"]] {
                let output = into_reader(&home, &[&["claim", "q", "-n", "2000"], json].concat(), reader);
                assert_eq!(output.status.code(), Some(1), "{reader}: {output:?}");
                let words = format!("only {taken} of 2,000 jobs could be printed");
                assert!(said(&output).contains(&words), "{reader}: {output:?}");
                let queue = daemon.queue("q").await;
                assert_eq!((queue.leased, queue.ready), (taken, 2000 - taken), "{reader}");
                if taken == 1 {
                    let text = String::from_utf8(output.stdout).unwrap();
                    let lease = text.split(['\t', '"']).find(|part| part.contains('@')).unwrap();
                    assert_eq!(home.musher(&["release", lease]).status.code(), Some(0));
                    let job = daemon.show(lease.split('@').next().unwrap().parse().unwrap()).await.unwrap();
                    assert_eq!((job.failed, job.crashes), (0, 0));
                }
            }
            daemon.client.ask::<musher::protocol::admin::PurgeView>(purge()).await.unwrap();
            daemon.submit("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        let slow = into_reader(&home, &["claim", "q", "-n", "2000"], "(sleep 0.3; cat)");
        assert_eq!(slow.status.code(), Some(0));
        assert_eq!(String::from_utf8(slow.stdout).unwrap().lines().count(), 2000);
        assert_eq!(daemon.queue("q").await.leased, 2000);
    });
}

fn purge() -> musher::protocol::admin::AdminRequest {
    musher::protocol::admin::AdminRequest::Purge { queue: "q".into() }
}

#[test]
fn jobs_that_a_full_disk_did_not_take_are_given_back() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["a", "b"]).await;
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = home.command().args(["claim", "q", "-n", "2"]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said(&output).contains("only 0 of 2 jobs could be printed"), "{output:?}");
        assert_eq!(daemon.queue("q").await.ready, 2);
    });
}

#[test]
fn a_backup_or_an_export_that_is_cut_is_an_error() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        for bodies in [20, 400] {
            daemon.submit("q", &vec!["x".repeat(1000).as_str(); bodies]).await;
            for verb in [&["backup", "-"][..], &["export"]] {
                let cut = into_reader(&home, verb, "head -c 1000");
                assert_eq!(cut.status.code(), Some(1), "{verb:?} of {bodies}: {}", said(&cut));
                assert!(said(&cut).contains("is not complete"), "{}", said(&cut));
                let whole = into_reader(&home, verb, "cat");
                assert_eq!(whole.status.code(), Some(0), "{verb:?}: {}", said(&whole));
            }
        }
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = home.command().args(["backup", "-"]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    });
}
