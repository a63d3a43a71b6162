//! A job's life over the socket.

use crate::helper::{Home, block_on, claim};
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, EditView, EndView};
use musher::protocol::{JobOptions, LeaseRef, Start, SubmitGroup, Verdict};

#[test]
fn a_job_is_submitted_claimed_and_completed() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let id = daemon.submit("mails", &["hello"]).await;
        let job = daemon.claim("mails", false, 0).await.unwrap();
        assert_eq!((job.lease, &job.body[..]), (LeaseRef { id, attempt: 1 }, &b"hello"[..]));
        assert!(daemon.claim("mails", false, 0).await.is_none());
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        assert!(!daemon.settle(job.lease, Verdict::Complete).await, "a second settle is refused");
        assert_eq!(daemon.state(id).await, "gone");
    });
}

#[test]
fn jobs_come_in_order_of_priority_and_arrival() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        for (body, priority) in [("c", 5), ("a", 0), ("d", 5), ("b", 0)] {
            let options = JobOptions { queue: "q".into(), priority: Some(priority), ..JobOptions::default() };
            daemon.client.submit(vec![SubmitGroup { options, bodies: vec![body.into()] }]).await.unwrap();
        }
        let mut order = String::new();
        while let Some(job) = daemon.claim("q", true, 0).await {
            order += std::str::from_utf8(&job.body).unwrap();
        }
        assert_eq!(order, "abcd");
    });
}

#[test]
fn a_lease_that_expires_makes_a_stale_settle() {
    block_on(async {
        let daemon =
            Home::new("[queues.q]\nbackoff = { base = \"10ms\", max = \"10ms\" }\n").serve_owned().await;
        let id = daemon.submit("q", &["x"]).await;
        let old = claim(&daemon.client, "q", false, 0, Some(30)).await.unwrap();
        let new = claim(&daemon.client, "q", false, 30_000, None).await.unwrap();
        assert_eq!((old.lease.attempt, new.lease.attempt), (1, 2));
        assert!(!daemon.settle(old.lease, Verdict::Complete).await, "the old attempt has no say any more");
        assert!(daemon.client.extend(vec![old.lease], None).await.unwrap()[0].is_err());
        let view = daemon.show(id).await.unwrap();
        assert_eq!((view.failed, view.crashes, view.state.as_str()), (0, 1, "leased"));
        assert!(view.failures.is_empty(), "nobody has said that it failed");
        assert!(daemon.settle(new.lease, Verdict::Complete).await);
    });
}

#[test]
fn a_job_that_fails_again_and_again_is_dead_and_can_be_kicked() {
    block_on(async {
        let daemon = Home::new("[queues.q]\nattempts = 2\nbackoff = { base = \"1ms\", max = \"1ms\" }\n")
            .serve_owned()
            .await;
        let id = daemon.submit("q", &["x"]).await;
        for _ in 0..2 {
            let job = daemon.claim("q", true, 30_000).await.unwrap();
            daemon.settle(job.lease, Verdict::Fail { error: "no luck".into(), exit: None }).await;
        }
        let view = daemon.show(id).await.unwrap();
        assert_eq!((view.state.as_str(), view.failures.len()), ("dead", 2));
        let edit = |edit: &str| AdminRequest::Edit {
            edit: edit.into(),
            ids: vec![id],
            state: None,
            queue: None,
            to: None,
            priority: None,
        };
        let refused: Vec<EditView> = daemon.client.ask(edit("cancel")).await.unwrap();
        assert!(refused[0].error.as_ref().unwrap().contains("it is dead"));
        let kicked: Vec<EditView> = daemon.client.ask(edit("kick")).await.unwrap();
        assert_eq!(kicked[0].error, None);
        let job = daemon.claim("q", true, 0).await.unwrap();
        assert_eq!((job.lease.attempt, &job.body[..]), (3, &b"x"[..]));
    });
}

#[test]
fn a_waiting_claim_holds_up_nobody_and_ends_with_its_connection() {
    block_on(async {
        let daemon = Home::new("[queues.commands]\nworkers = 0\n").serve_owned().await;
        let other = Client::connect(daemon.socket()).await.unwrap();
        let waiting = tokio::spawn(async move { claim(&other, "q", false, u64::MAX, None).await });
        crate::helper::until("the claim waits", async || {
            let status: musher::protocol::admin::StatusView =
                daemon.client.ask(AdminRequest::Status {}).await.unwrap();
            (status.waiting_claims == 1).then_some(())
        })
        .await;
        waiting.abort();
        let _ = waiting.await;
        crate::helper::until("the claim is gone", async || {
            let status: musher::protocol::admin::StatusView =
                daemon.client.ask(AdminRequest::Status {}).await.unwrap();
            (status.waiting_claims == 0).then_some(())
        })
        .await;
        let id = daemon.submit("q", &["x"]).await;
        assert_eq!(daemon.state(id).await, "ready");
    });
}

#[test]
fn a_delayed_job_comes_when_its_time_has_come_and_a_paused_queue_gives_nothing() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let options = JobOptions { queue: "q".into(), start: Start::After(50), ..JobOptions::default() };
        let receipts =
            daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["x".into()] }]).await.unwrap();
        let id = receipts.first_id();
        assert_eq!(daemon.state(id).await, "scheduled");
        daemon.client.done(AdminRequest::Pause { queue: "q".into(), for_ms: None }).await.unwrap();
        daemon.until_state(id, "ready").await;
        assert!(daemon.claim("q", true, 0).await.is_none());
        daemon.client.done(AdminRequest::Resume { queue: "q".into() }).await.unwrap();
        assert!(daemon.claim("q", true, 0).await.is_some());
    });
}

#[test]
fn a_cancelled_job_is_taken_from_its_worker_and_waiting_for_it_ends() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let id = daemon.submit("q", &["x"]).await;
        let job = daemon.claim("q", true, 0).await.unwrap();
        let client = daemon.client.clone();
        let waiting = tokio::spawn(async move {
            client.ask::<Vec<EndView>>(AdminRequest::Wait { ids: vec![id], timeout_ms: None }).await.unwrap()
        });
        let mut notices = daemon.client.notices().unwrap();
        tokio::task::yield_now().await;
        let done: Vec<EditView> = daemon
            .client
            .ask(AdminRequest::Edit {
                edit: "cancel".into(),
                ids: vec![id],
                state: None,
                queue: None,
                to: None,
                priority: None,
            })
            .await
            .unwrap();
        assert_eq!((&done[0].error, done[0].when_stopped), (&None, true));
        let notice = notices.recv().await.unwrap();
        assert!(format!("{notice:?}").contains("Cancelled"), "{notice:?}");
        let view = daemon.show(id).await.unwrap();
        assert_eq!((view.state_in_words().as_str(), waiting.is_finished()), ("leased, cancelling", false));
        let fault = daemon.client.extend(vec![job.lease], None).await.unwrap().remove(0).unwrap_err();
        assert!(fault.is_cancelled(), "{fault}");
        assert!(!daemon.settle(job.lease, Verdict::Complete).await);
        assert_eq!(waiting.await.unwrap()[0].state, "cancelled");
    });
}
