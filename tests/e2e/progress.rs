//! How far a job is, as its worker says: shown while it runs, and gone with its lease.

use crate::helper::{Home, block_on, claim};
use musher::client::ClientError;
use musher::protocol::admin::{JobView, ProgressView};
use musher::protocol::{ErrorCode, LeaseRef, Verdict};

fn far(job: &JobView) -> Option<(u8, &str)> {
    job.progress.as_ref().map(|ProgressView { percent, text, .. }| (*percent, &**text))
}

#[test]
fn it_is_shown_while_the_job_runs_and_gone_with_the_lease() {
    block_on(async {
        let home = Home::new("");
        let mut daemon = home.serve().await;
        daemon.submit("q", &["a", "b"]).await;
        let lease = daemon.claim("q", false, 0).await.unwrap().lease;
        let other = daemon.claim("q", false, 0).await.unwrap().lease;
        let until = daemon.show(lease.id).await.unwrap().leased_until;
        assert_eq!(daemon.show(lease.id).await.unwrap().progress, None);
        daemon.client.progress(lease, 40, "page 12 of 30").await.unwrap();
        daemon.client.progress(other, 0, "").await.unwrap();
        let job = daemon.show(lease.id).await.unwrap();
        assert_eq!(
            (far(&job), job.leased_until),
            (Some((40, "page 12 of 30")), until),
            "it prolongs nothing"
        );
        daemon.client.progress(lease, 100, "").await.unwrap();
        assert_eq!(far(&daemon.show(lease.id).await.unwrap()), Some((100, "")), "the newest counts");
        // What is given back begins anew, and what another has is as it was.
        assert!(daemon.settle(lease, Verdict::Release { delay_ms: 0 }).await);
        assert_eq!(daemon.show(lease.id).await.unwrap().progress, None);
        assert_eq!(far(&daemon.show(other.id).await.unwrap()), Some((0, "")));
        let again = daemon.claim("q", false, 0).await.unwrap().lease;
        assert_eq!((again.id, daemon.show(again.id).await.unwrap().progress), (lease.id, None));
        daemon.client.progress(again, 1, "").await.unwrap();
        daemon.kill().await;
        daemon = home.serve().await;
        assert_eq!(daemon.show(again.id).await.unwrap().progress, None, "it is not on disk");
        assert!(daemon.client.progress(again, 2, "").await.is_ok(), "the lease is in force still");
        daemon.stop().await;
    });
}

#[test]
fn what_is_wrong_with_it_is_said_and_changes_nothing() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        let lease = claim(&daemon.client, "q", false, 0, None).await.unwrap().lease;
        let stale = LeaseRef { attempt: 2, ..lease };
        let unknown = LeaseRef { id: 9, ..lease };
        for (lease, percent, text, code) in [
            (lease, 101, String::new(), ErrorCode::Invalid),
            (lease, 1, "x".repeat(201), ErrorCode::TooLarge),
            (stale, 1, String::new(), ErrorCode::WrongState),
            (unknown, 1, String::new(), ErrorCode::WrongState),
        ] {
            let refused = daemon.client.progress(lease, percent, text).await.unwrap_err();
            assert!(matches!(&refused, ClientError::Refused(fault) if fault.code == code), "{refused:?}");
            assert_eq!(daemon.show(1).await.unwrap().progress, None);
        }
        daemon.client.progress(lease, 100, "x".repeat(200)).await.unwrap();
        let usage = home.musher(&["progress", "1@1", "101"]);
        assert_eq!(usage.status.code(), Some(2));
        let lost = home.musher(&["progress", "1@2", "50"]);
        assert_eq!(lost.status.code(), Some(1));
        daemon.stop().await;
    });
}

/// A command says it of itself, and what it says does nothing to a terminal.
#[test]
fn a_command_tells_people_how_far_it_is() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let script = "musher=$1; \"$musher\" progress \"$MUSHER_LEASE\" 40 \"page 12 of 30$(printf '\\033[2J')\"; \
                      \"$musher\" show \"$MUSHER_JOB_ID\"";
        let musher = env!("CARGO_BIN_EXE_musher");
        let shown = home.musher(&["run", "--wait", "--", "sh", "-c", script, "sh", musher]);
        let text = String::from_utf8(shown.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("progress")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("40 %, as of ") && line.contains("page 12 of 30"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        daemon.stop().await;
    });
}
