//! Circuits: a bad deploy of a worker costs a few jobs and not the backlog, whatever happens to the daemon meanwhile.

use crate::helper::{Home, block_on, until};
use musher::protocol::Verdict;
use musher::protocol::admin::{AdminRequest, ExplainView};
use std::fs;

const JOBS: usize = 300;

/// Jobs end as the file `deployed` says.
fn home(probe: &str) -> Home {
    let home = Home::new("");
    fs::write(home.path("deployed"), "1").unwrap();
    let deployed = home.path("deployed");
    home.configure(&format!(
        "[queues.q]\nhandler = {{ exec = [\"sh\", \"-c\", \"exit $(cat {})\"] }}\nworkers = 2\nattempts = 1\n\
         keep = {{ done = \"1h\" }}\ncircuit = {{ failures = 5, probe = \"{probe}\" }}\n",
        deployed.display()
    ));
    home
}

#[test]
fn a_bad_deploy_costs_a_few_jobs_and_the_mended_worker_gets_the_others() {
    block_on(async {
        let home = home("50ms");
        let daemon = home.serve().await;
        daemon.submit("q", &["x"; JOBS]).await;
        let view = until("the circuit is open", async || {
            daemon.queue("q").await.circuit.filter(|circuit| circuit.open_since.is_some())
        })
        .await;
        assert!(view.failed >= 5 && view.failures == 5, "{view:?}");
        home.until_logged("the circuit of queue q is open").await;
        let status = String::from_utf8(home.musher(&["status"]).stdout).unwrap();
        assert!(
            status.contains("q (circuit open)") && status.contains("queue q: its circuit is open since"),
            "{status}"
        );
        // Killed in the middle, and again while a probe may run.
        daemon.kill().await;
        let daemon = home.serve().await;
        let again = daemon.queue("q").await.circuit.unwrap();
        assert_eq!(again.open_since, view.open_since);
        until("explain says so", async || {
            let ask = AdminRequest::Explain { id: JOBS as u64 };
            let explained: ExplainView = daemon.client.ask(ask).await.unwrap();
            explained.reasons[0].contains("the circuit of queue `q` is open").then_some(())
        })
        .await;
        until("another probe has failed", async || {
            (daemon.queue("q").await.circuit?.failed > again.failed).then_some(())
        })
        .await;
        daemon.kill().await;
        let daemon = home.serve().await;
        let dead = daemon.queue("q").await.dead;
        assert!(
            dead <= 5 + 2 + 2 + 9,
            "{dead} of {JOBS} are dead: five, two that ran, two ahead, and a few probes"
        );
        fs::write(home.path("deployed"), "0").unwrap();
        until("all others are done", async || {
            let queue = daemon.queue("q").await;
            (queue.done + queue.dead == JOBS as u64).then_some(())
        })
        .await;
        let queue = daemon.queue("q").await;
        assert!(queue.dead <= dead + 2, "{} are dead", queue.dead);
        assert_eq!(queue.circuit, None);
        home.until_logged("the circuit of queue q is closed: a job has succeeded").await;
        daemon.stop().await;
    });
}

#[test]
fn by_hand_it_is_closed_at_once() {
    block_on(async {
        let home = home("1h");
        let daemon = home.serve().await;
        daemon.submit("q", &["x"; 50]).await;
        until("the circuit is open and nothing runs", async || {
            let queue = daemon.queue("q").await;
            (queue.leased == 0 && queue.circuit?.next_probe_at.is_some()).then_some(())
        })
        .await;
        fs::write(home.path("deployed"), "0").unwrap();
        let reset = home.musher(&["queue", "reset-circuit", "q", "--json"]);
        assert_eq!(String::from_utf8(reset.stdout).unwrap(), "{\"circuit\":\"closed\",\"queue\":\"q\"}\n");
        until("all others are done", async || {
            let queue = daemon.queue("q").await;
            (queue.ready + queue.leased == 0).then_some(())
        })
        .await;
        home.until_logged("the circuit of queue q is closed: by hand").await;
        assert_eq!(home.musher(&["queue", "reset-circuit", "nosuch"]).status.code(), Some(1));
        daemon.stop().await;
    });
}

/// Whoever waits for a job gets the probe when its time comes, and another claim nothing until it has ended.
#[test]
fn a_claim_that_waits_is_served_when_the_time_of_the_probe_comes() {
    block_on(async {
        let home = Home::new("[queues.q]\nattempts = 1\n");
        let daemon = home.serve().await;
        let set = home.musher(&["queue", "set", "q", "circuit.failures=1", "circuit.probe=300ms"]);
        assert!(set.status.success(), "{set:?}");
        daemon.submit("q", &["x"; 4]).await;
        let no = || Verdict::Fail { error: "no".into(), exit: None };
        let job = daemon.claim("q", true, 0).await.unwrap();
        assert!(daemon.settle(job.lease, no()).await);
        assert!(daemon.claim("q", true, 0).await.is_none());
        let probe = daemon.claim("q", true, 30_000).await.unwrap();
        assert!(daemon.claim("q", true, 600).await.is_none(), "one at a time");
        let (next, settled) = tokio::join!(daemon.claim("q", true, 30_000), async {
            daemon.settle(probe.lease, Verdict::Complete).await
        });
        assert!(settled && next.is_some(), "it is closed");
        assert!(daemon.claim("q", true, 0).await.is_some());
        daemon.kill().await;
    });
}
