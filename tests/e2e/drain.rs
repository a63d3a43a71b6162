//! Shutdown: SIGTERM lets jobs end, takes back those that do not, and loses none.

use crate::helper::{Home, block_on};
use musher::client::ClientError;
use musher::protocol::{ErrorCode, JobOptions, SubmitGroup};
use rustix::process::Signal;

#[test]
fn a_drain_waits_for_jobs_inside_its_time_and_takes_back_the_others() {
    block_on(async {
        let home = Home::new(
            "[daemon]\ndrain_timeout = \"1s\"\n[queues.commands]\nworkers = 2\nhandler = \"command\"\n",
        );
        let daemon = home.serve().await;
        let quick = home.path("quick");
        let script = format!("sleep 0.3; touch {}", quick.display());
        home.musher(&["run", "--", "sh", "-c", &script]);
        home.musher(&["run", "--", "sleep", "1000"]);
        daemon.until_state(1, "leased").await;
        daemon.until_state(2, "leased").await;
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.ended().await.code(), Some(0));
        assert!(quick.exists(), "the first had the time to end");
        assert!(!home.log().contains("workers failed"), "workers that stop in order are no failure");

        let daemon = home.serve().await;
        assert_eq!(daemon.state(1).await, "done");
        let second = daemon.show(2).await.unwrap();
        assert_eq!((second.failed, second.crashes), (0, 0), "a drain is not the job's fault");
        crate::helper::until("it runs again", async || (daemon.show(2).await?.attempt == 2).then_some(()))
            .await;
    });
}

#[test]
fn while_it_drains_nothing_is_taken_or_given_out() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["held", "later"]).await;
        let held = daemon.claim("q", true, 0).await.unwrap();
        daemon.signal(Signal::TERM);
        crate::helper::until("it drains", async || {
            let status: musher::protocol::admin::StatusView =
                daemon.client.ask(musher::protocol::admin::AdminRequest::Status {}).await.ok()?;
            (status.mode == "stopping").then_some(())
        })
        .await;
        let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
        let refused = daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["x".into()] }]).await;
        assert!(matches!(refused, Err(ClientError::Refused(fault)) if fault.code == ErrorCode::Draining));
        assert!(
            daemon.settle(held.lease, musher::protocol::Verdict::Complete).await,
            "a settle is always taken"
        );
        assert_eq!(daemon.ended().await.code(), Some(0));
        let daemon = home.serve().await;
        assert_eq!((daemon.state(1).await.as_str(), daemon.state(2).await.as_str()), ("gone", "ready"));
    });
}

#[test]
fn a_second_signal_cuts_the_wait_short_but_loses_nothing() {
    block_on(async {
        let home = Home::new("[daemon]\ndrain_timeout = \"10m\"\n");
        let daemon = home.serve().await;
        home.musher(&["run", "--", "sleep", "1000"]);
        daemon.until_state(1, "leased").await;
        daemon.signal(Signal::TERM);
        crate::helper::until("it drains", async || home.log().contains("draining").then_some(())).await;
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.ended().await.code(), Some(0));
        let daemon = home.serve().await;
        assert_eq!(daemon.show(1).await.unwrap().failed, 0);
    });
}
