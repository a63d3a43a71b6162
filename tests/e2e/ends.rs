//! How attempts end, as programs see it: exit status and signal as fields, "again later", leases without a word.

use crate::helper::{Home, block_on, claim, until};
use musher::protocol::admin::{AdminRequest, EndView, WorkerView};
use musher::protocol::{Exit, JobOptions, SubmitGroup, Verdict};

#[test]
fn how_a_process_ended_is_a_field_and_need_not_be_read_out_of_a_text() {
    block_on(async {
        let home =
            Home::new("[queues.q]\nattempts = 2\nkeep = { done = \"1h\" }\nbackoff = { base = \"0s\" }\n");
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["x", "y"]).await;
        for exit in [Exit::Status(7), Exit::Signal(9)] {
            let job = daemon.claim("q", false, 30_000).await.unwrap();
            assert_eq!(job.lease.id, id);
            let verdict = Verdict::Fail { error: "in words".into(), exit: Some(exit) };
            assert!(daemon.settle(job.lease, verdict).await);
        }
        let job = daemon.claim("q", false, 0).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        let ids = vec![id, job.lease.id];
        let seen = async |daemon: &crate::helper::Daemon| {
            let ends: Vec<EndView> =
                daemon.client.ask(AdminRequest::Wait { ids: ids.clone(), timeout_ms: None }).await.unwrap();
            let exits: Vec<_> = ends.iter().map(|end| (end.exit_status, end.exit_signal)).collect();
            assert_eq!(exits, [(None, Some(9)), (Some(0), None)]);
            let view = daemon.show(id).await.unwrap();
            assert_eq!((view.exit_status, view.exit_signal, view.state.as_str()), (None, Some(9), "dead"));
            let exits: Vec<_> = view.failures.iter().map(|f| (f.exit_status, f.exit_signal)).collect();
            assert_eq!(exits, [(Some(7), None), (None, Some(9))]);
            let began = view.failures.iter().map(|failure| failure.since.unwrap()).collect::<Vec<_>>();
            assert!(view.failures.iter().zip(&began).all(|(failure, began)| *began <= failure.at));
            let me = WorkerView { uid: rustix::process::geteuid().as_raw(), pid: Some(std::process::id()) };
            assert!(
                view.failures.iter().all(|failure| failure.worker == Some(me)) && view.worker == Some(me)
            );
            assert_eq!(view.started_at, began.last().copied(), "the newest attempt began then");
            view
        };
        let before = seen(&daemon).await;
        daemon.kill().await;
        let daemon = home.serve().await;
        assert_eq!(seen(&daemon).await, before, "it is on disk");
        daemon.stop().await;
        let daemon = home.serve().await;
        assert_eq!(seen(&daemon).await, before, "and at home in the database");
    });
}

#[test]
fn again_later_waits_longer_each_time_uses_no_attempt_up_and_has_an_end() {
    block_on(async {
        let queue = "attempts = 1\nlater_max = 3\nbackoff = { base = \"20ms\", max = \"10s\", jitter = 0 }";
        let daemon = Home::new(&format!("[queues.q]\n{queue}\n")).serve_owned().await;
        let id = daemon.submit("q", &["x"]).await;
        let later = async |nth: u32| {
            let job = daemon.claim("q", true, 30_000).await.unwrap();
            assert_eq!((job.lease.id, job.lease.attempt), (id, nth));
            assert!(
                daemon
                    .settle(job.lease, Verdict::Later { error: "the server is away".into(), wait_ms: None })
                    .await
            );
            daemon.show(id).await.unwrap()
        };
        for (nth, wait) in [(1, 20), (2, 40), (3, 80)] {
            let view = later(nth).await;
            assert_eq!((view.later, view.failed, view.state.as_str()), (nth, 0, "scheduled"));
            let last = view.failures.last().unwrap();
            assert_eq!((view.due_at.unwrap() - last.at, last.error.as_str()), (wait, "the server is away"));
        }
        let view = later(4).await;
        assert_eq!((view.later, view.state.as_str()), (3, "dead"));
        let error = &view.failures.last().unwrap().error;
        assert!(error.contains("later_max = 3") && error.ends_with("the server is away"), "{error}");
    });
}

/// Over all attempts, through a SIGKILL, and for the one that runs.
#[test]
fn a_job_expires_at_its_deadline_whatever_it_does_then() {
    block_on(async {
        let handler = "handler = { exec = [\"sh\", \"-c\", \"echo $MUSHER_DEADLINE; exec sleep 1000\"] }";
        let queues = format!(
            "[queues.q]\nkeep = {{ done = \"1h\" }}\nbackoff = {{ base = \"1h\" }}\n[queues.run]\nworkers = 1\n\
             keep = {{ done = \"1h\" }}\n{handler}\n"
        );
        let home = Home::new(&queues);
        let daemon = home.serve().await;
        let submit = async |queue: &str, deadline_ms: u64| {
            let options =
                JobOptions { queue: queue.into(), deadline_ms: Some(deadline_ms), ..JobOptions::default() };
            let group = SubmitGroup { options, bodies: vec!["x".into()] };
            daemon.client.submit(vec![group]).await.unwrap().first_id()
        };
        // One fails and waits for longer than it has, one waits, one has time.
        let (failed, waits) = (submit("q", 3_000).await, submit("q", 3_000).await);
        let job = daemon.claim("q", false, 30_000).await.unwrap();
        assert_eq!(job.lease.id, failed);
        let view = daemon.show(failed).await.unwrap();
        assert_eq!((view.deadline, view.runs_until), (job.deadline_ms, job.deadline_ms));
        assert_eq!(
            job.deadline_ms.map(|deadline| deadline / 10_000),
            Some((view.submitted_at + 3_000) / 10_000)
        );
        assert!(daemon.settle(job.lease, Verdict::Fail { error: "no".into(), exit: None }).await);
        let reasons = String::from_utf8(home.musher(&["explain", &failed.to_string()]).stdout).unwrap();
        assert!(reasons.contains("it expires before that"), "{reasons}");
        let patient = submit("q", 3_600_000).await;
        let runs = submit("run", 2_000).await;
        daemon.until_state(runs, "leased").await;
        let reasons = String::from_utf8(home.musher(&["explain", &runs.to_string()]).stdout).unwrap();
        assert!(reasons.contains("that is the job's deadline") && reasons.contains("(process "), "{reasons}");
        daemon.kill().await;

        let daemon = home.serve().await;
        for id in [failed, waits, runs] {
            daemon.until_state(id, "expired").await;
        }
        assert_eq!(daemon.state(patient).await, "ready");
        let view = daemon.show(failed).await.unwrap();
        assert_eq!((view.failed, view.failures[0].error.as_str()), (1, "no"));

        // The daemon's own worker ends it, and it has known when.
        let options = JobOptions { queue: "run".into(), deadline_ms: Some(1_500), ..JobOptions::default() };
        let group = SubmitGroup { options, bodies: vec!["x".into()] };
        let id = daemon.client.submit(vec![group]).await.unwrap().first_id();
        daemon.until_state(id, "expired").await;
        let view = daemon.show(id).await.unwrap();
        assert_eq!(
            view.failures.last().map(|failure| failure.error.as_str()),
            Some("the job's deadline was over")
        );
        let logs = String::from_utf8(home.musher(&["logs", &id.to_string()]).stdout).unwrap();
        assert_eq!(logs.trim().parse().ok(), view.deadline, "{logs}");
        let refused = home.musher(&["submit", "q", "x", "--deadline", "0"]);
        assert_eq!(refused.status.code(), Some(2));
    });
}

#[test]
fn a_timeout_of_none_is_none_and_a_running_job_says_until_when_it_may() {
    block_on(async {
        let daemon = Home::new("[queues.free]\ntimeout = \"none\"\n[queues.q]\ntimeout = \"9s\"\n")
            .serve_owned()
            .await;
        let timeout = async |queue: &str, timeout_ms| {
            let options = JobOptions { queue: queue.into(), timeout_ms, ..JobOptions::default() };
            let group = SubmitGroup { options, bodies: vec!["x".into()] };
            let id = daemon.client.submit(vec![group]).await.unwrap().first_id();
            let job = claim(&daemon.client, queue, true, 0, None).await.unwrap();
            let view = daemon.show(id).await.unwrap();
            let until = view.runs_until.map(|until| until - view.started_at.unwrap());
            assert_eq!((job.lease.id, view.timeout_ms, job.timeout_ms), (id, until, until.unwrap_or(0)));
            until
        };
        assert_eq!(timeout("free", None).await, None);
        assert_eq!(timeout("free", Some(3_000)).await, Some(3_000));
        assert_eq!(timeout("q", None).await, Some(9_000));
        assert_eq!(timeout("q", Some(0)).await, None);
    });
}

#[test]
fn a_job_that_names_no_priority_has_that_of_its_queue() {
    block_on(async {
        let home = Home::new("[queues.q]\npriority = 5\n");
        let daemon = home.serve().await;
        let submit = async |queue: &str, priority| {
            let options = JobOptions { queue: queue.into(), priority, ..JobOptions::default() };
            let group = SubmitGroup { options, bodies: vec!["x".into()] };
            let id = daemon.client.submit(vec![group]).await.unwrap().first_id();
            daemon.show(id).await.unwrap().priority
        };
        assert_eq!(submit("q", None).await, 5);
        assert_eq!(submit("q", None).await, 5, "also one that begins as the last one did");
        assert_eq!(submit("q", Some(0)).await, 0);
        assert_eq!(submit("other", None).await, 1024);
        home.configure("[queues.q]\npriority = 6\n");
        daemon.signal(rustix::process::Signal::HUP);
        crate::helper::until("the new priority holds", async || (submit("q", None).await == 6).then_some(()))
            .await;
    });
}

#[test]
fn a_queue_says_what_exit_statuses_and_signals_mean_also_to_outside_workers_and_after_a_reload() {
    block_on(async {
        let queue = |on_exit: &str| {
            let rest = "workers = 1\nattempts = 2\nkeep = { done = \"1h\" }\nbackoff = { base = \"1h\", max = \"1h\" }";
            format!(
                "[queues.q]\nhandler = {{ exec = [\"sh\"] }}\non_exit = {{ {on_exit} }}\n{rest}\n[queues.out]\non_exit = {{ {on_exit} }}\nkeep = {{ done = \"1h\" }}\n"
            )
        };
        let rules = "\"24\" = \"done\", \"3-9\" = \"dead\", \"SIGKILL\" = \"later\", \"65\" = \"failed\"";
        let home = Home::new(&queue(rules));
        let daemon = home.serve().await;
        let table = [
            ("exit 24", "done", None, None),
            ("exit 5", "dead", Some(5), None),
            ("exit 65", "scheduled", Some(65), None),
            ("exit 75", "scheduled", Some(75), None),
            ("kill -9 $$", "scheduled", None, Some(9)),
            ("kill -15 $$", "scheduled", None, Some(15)),
        ];
        let later = |script: &str| matches!(script, "exit 75" | "kill -9 $$");
        for (script, state, status, signal) in table {
            let id = daemon.submit("q", &[script]).await;
            let view = until(script, async || daemon.show(id).await.filter(|view| view.state == state)).await;
            assert_eq!(
                (view.later, view.failed > 0),
                (later(script).into(), !later(script) && state != "done"),
                "{script}"
            );
            let last = view.failures.last().map(|failure| (failure.exit_status, failure.exit_signal));
            assert_eq!(last, (state != "done").then_some((status, signal)), "{script}");
        }
        // What an outside worker makes of it is the daemon's word, too.
        let id = daemon.submit("out", &["x"]).await;
        let ended = async |status| {
            let job = daemon.claim("out", true, 30_000).await.unwrap();
            let verdict =
                Verdict::Exited { error: format!("exit status {status}"), exit: Exit::Status(status) };
            assert!(daemon.settle(job.lease, verdict).await);
            daemon.show(id).await.unwrap()
        };
        assert_eq!(ended(3).await.state, "dead");
        home.configure(&queue("\"3\" = \"done\""));
        daemon.reload(&home).await;
        assert!(home.musher(&["retry", &id.to_string()]).status.success());
        assert_eq!(ended(3).await.state, "done");
        daemon.stop().await;
    });
}
