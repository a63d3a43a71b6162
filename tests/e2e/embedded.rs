//! The queue inside another program: its directory, its ends, and that a killed program loses nothing.

use crate::helper::{DEADLINE, Home, block_on, until};
use crate::typed_worker::{Said, until_said};
use musher::client::worker::{Context, Job, WorkerError};
use musher::client::{Client, ClientError};
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, JobView, QueueView};
use musher::protocol::{JobOptions, Settle, SubmitGroup, Verdict};
use musher::{Embedded, EmbeddedError};
use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[path = "../../examples/embedded.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod example;

const SMALL: &str = "[storage]\nlog_file = \"256KiB\"\ncheckpoint = \"20ms\"\nballast = \"0B\"\n\
                     [limits]\ndisk_reserve = \"0B\"\n[daemon]\ndrain_timeout = \"50ms\"\n\
                     [queues.q]\nattempts = 1\nkeep = { done = \"1h\" }\n";

async fn open(directory: &Path) -> Embedded {
    Embedded::open_with(directory, SMALL).await.unwrap()
}

async fn submit(client: &Client, bodies: &[&str]) -> u64 {
    let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
    let bodies = bodies.iter().map(|body| body.to_string().into()).collect();
    client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap().first_id()
}

async fn show(client: &Client, id: u64) -> JobView {
    client.ask(AdminRequest::Show { id }).await.unwrap()
}

async fn queue(client: &Client) -> QueueView {
    let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await.unwrap();
    queues.into_iter().find(|queue| queue.queue == "q").unwrap()
}

#[test]
fn the_example_does_its_jobs_and_each_run_finds_those_of_the_last() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("jobs");
        let texts = ["hello", "", "good evening"].map(str::to_owned);
        let ends = example::run(&data, &texts).await.unwrap();
        let said: Vec<_> = ends.iter().map(|end| (end.id, end.state.as_str())).collect();
        assert_eq!(said, [(1, "done"), (2, "dead"), (3, "done")]);
        assert_eq!(example::run(&data, &texts[..1]).await.unwrap()[0].id, 4);
        assert!(example::run(&data, &[]).await.unwrap().is_empty());
    });
}

#[test]
fn all_is_found_again_by_the_next_one_and_by_a_daemon() {
    block_on(async {
        let home = Home::new("");
        let data = home.path("data");
        let embedded = open(&data).await;
        let client = embedded.client().await.unwrap();
        submit(&client, &["a", "b", "c"]).await;
        let claim = crate::helper::claim(&client, "q", true, 0, None).await.unwrap();
        let settle = Settle { lease: claim.lease, verdict: Verdict::Complete };
        assert_eq!(client.settle(vec![settle]).await.unwrap(), [Ok(())]);
        embedded.close().await.unwrap();
        assert!(matches!(client.body(1).await, Err(ClientError::Closed(_))));

        let embedded = open(&data).await;
        let client = embedded.client().await.unwrap();
        let queue = queue(&client).await;
        assert_eq!((queue.ready, queue.leased, queue.done), (2, 0, 1));
        assert_eq!(&*client.body(3).await.unwrap(), b"c");
        assert_eq!(submit(&client, &["d"]).await, 4);
        drop(embedded);

        let daemon = home.serve().await;
        assert_eq!(daemon.queue("q").await.ready, 3);
        daemon.stop().await;
        assert_eq!(submit(&open(&data).await.client().await.unwrap(), &["e"]).await, 5);
    });
}

#[test]
fn a_directory_is_one_programs_at_a_time() {
    block_on(async {
        let home = Home::new("");
        let data = home.path("data");
        let embedded = open(&data).await;
        let twice = Embedded::open(&data).await.unwrap_err();
        assert!(matches!(twice, EmbeddedError::Open(_)), "{twice}");
        let expected =
            format!("is in use by the musher daemon with pid {}, or a program", std::process::id());
        assert!(twice.to_string().contains(&expected), "{twice}");
        let daemon = home.serve_command().output().unwrap();
        assert!(String::from_utf8_lossy(&daemon.stderr).contains(&expected), "{daemon:?}");
        embedded.close().await.unwrap();

        let daemon = home.serve().await;
        let taken = Embedded::open(&data).await.unwrap_err().to_string();
        assert!(taken.contains(&format!("pid {}", daemon.pid())), "{taken}");
        daemon.stop().await;
        open(&data).await.close().await.unwrap();
        let file = Embedded::open(home.path("musher.toml")).await.unwrap_err().to_string();
        assert!(file.contains("is not a directory"), "{file}");
    });
}

#[test]
fn its_configuration_is_in_force_and_what_cannot_be_is_refused() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("jobs");
        let refused = async |text: &str| Embedded::open_with(&data, text).await.unwrap_err().to_string();
        let unknown = refused("[queues.q]\nno_such_key = 7\n").await;
        assert!(unknown.contains("the configuration:2") && unknown.contains("no_such_key"), "{unknown}");
        let handler = refused("[queues.q]\nhandler = { exec = [\"true\"] }\n").await;
        assert!(handler.contains("queue `q` has a handler"), "{handler}");
        assert!(!data.exists(), "nothing was made");

        let embedded = open(&data).await;
        let worker = embedded.worker().handle("q", |_: Job<u8>, _: Context| async { Err::<(), _>("no") });
        let client = embedded.client().await.unwrap();
        let id = submit(&client, &["7"]).await;
        let working = tokio::spawn(worker.run());
        // The only attempt that its queue allows.
        until("it is dead", async || (show(&client, id).await.state == "dead").then_some(())).await;
        embedded.close().await.unwrap();
        let closed = working.await.unwrap().unwrap_err();
        assert!(matches!(closed, WorkerError::Client(ClientError::Refused(_))), "{closed}");
        assert!(closed.to_string().contains("the embedded queue is closed"), "{closed}");
    });
}

#[test]
fn a_job_that_runs_while_it_closes_is_given_back_uncounted() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let embedded = open(dir.path()).await;
        let said = Said::default();
        let says = said.clone();
        let worker = embedded.worker().handle_bytes("q", move |_, cx| {
            let said = says.clone();
            async move {
                said.lock().unwrap().push("begun".into());
                cx.cancelled().await;
                said.lock().unwrap().push(cx.reason().unwrap().to_string());
                pending::<()>().await
            }
        });
        let id = submit(&embedded.client().await.unwrap(), &["x"]).await;
        let working = tokio::spawn(worker.run());
        until_said(&said, 1).await;
        embedded.close().await.unwrap();
        assert_eq!(until_said(&said, 2).await[1], "the worker stops");
        assert!(working.await.unwrap().is_err());
        let embedded = open(dir.path()).await;
        let job = show(&embedded.client().await.unwrap(), id).await;
        assert_eq!((job.state.as_str(), job.failed, job.crashes), ("ready", 0, 0));
    });
}

#[test]
fn a_drop_does_not_wait_long_for_who_does_not_give_jobs_back() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let embedded = Embedded::open_with(dir.path(), "[daemon]\ndrain_timeout = \"10h\"\n").await.unwrap();
        let client = embedded.client().await.unwrap();
        let id = submit(&client, &["x"]).await;
        assert!(crate::helper::claim(&client, "q", true, 0, None).await.is_some());
        let begun = monotonic();
        drop(embedded);
        assert!(monotonic() - begun < DEADLINE, "not ten hours");
        let embedded = open(dir.path()).await;
        let job = show(&embedded.client().await.unwrap(), id).await;
        assert_eq!((job.state.as_str(), job.failed, job.crashes), ("ready", 0, 0));
    });
}

/// Where the program below finds its directory.
const DIRECTORY: &str = "MUSHER_TEST_EMBEDDED";

/// The program that the test below kills: the same one, started with this in its environment.
fn embed_until_killed(directory: &Path) {
    block_on(async {
        let embedded = open(directory).await;
        let client = embedded.client().await.unwrap();
        let done = client.clone();
        let worker = embedded.worker().concurrency(4).handle_bytes("q", |_, _| async {});
        let _working = tokio::spawn(worker.run());
        let deadline = monotonic() + Duration::from_secs(600);
        while monotonic() < deadline {
            let first = submit(&client, &["a", "b", "c"]).await;
            let ended = queue(&done).await.done;
            println!("acknowledged {first} {ended}");
            std::io::stdout().flush().unwrap();
        }
    });
}

#[test]
fn a_killed_program_loses_nothing_that_was_acknowledged() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return embed_until_killed(Path::new(&directory));
    }
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (mut submitted, mut done) = (0, 0);
        for life in 0..3 {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let name = "embedded::a_killed_program_loses_nothing_that_was_acknowledged";
            command.args([name, "--exact", "--nocapture"]);
            let mut child = command
                .env(DIRECTORY, dir.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let mut said = 0;
            for line in lines {
                let Some((_, rest)) = line.split_once("acknowledged ") else { continue };
                let (first, ended) = rest.split_once(' ').unwrap();
                (submitted, done) = (first.parse::<u64>().unwrap() + 2, ended.parse::<u64>().unwrap());
                said += 1;
                if said == 40 {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(said >= 40, "it was killed while it worked, in life {life}");
            let embedded = open(dir.path()).await;
            let client = embedded.client().await.unwrap();
            let queue = queue(&client).await;
            let all = queue.ready + queue.done + queue.dead + queue.scheduled;
            assert!(
                all >= submitted && queue.done >= done && queue.leased == 0,
                "{submitted} {done} {queue:?}"
            );
            assert_eq!(client.body(submitted).await.unwrap().len(), 1);
            assert_eq!(show(&client, submitted).await.failed, 0);
        }
    });
}
