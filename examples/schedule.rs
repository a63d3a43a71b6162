//! Jobs by the clock: one schedule of the configuration, and one that the program adds. `cargo run --example schedule`.

use musher::Embedded;
use musher::client::worker::{Context, Job};
use musher::protocol::admin::{AdminRequest, ScheduleView};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// At three in Berlin, also on the nights on which clocks are set; one that is late does not become two.
const CONFIGURATION: &str = r#"
[storage]
log_file = "1MiB"
ballast = "0B"
[schedules.nightly]
cron = "0 3 * * *"
zone = "Europe/Berlin"
queue = "backups"
body = '"all"'
catch_up = "one"
overlap = "skip"
[schedules.pulse]
every = "1s"
queue = "pulse"
body = "1"
"#;

/// The next nights in milliseconds since 1970, and what ran.
pub(crate) async fn run(directory: &Path) -> Result<(Vec<u64>, Vec<String>), Error> {
    let queue = Embedded::open_with(directory, CONFIGURATION).await?;
    let (backs_up, mut ran) = mpsc::unbounded_channel();
    let beats = backs_up.clone();
    let worker = queue
        .worker()
        .handle("backups", move |job: Job<String>, _: Context| {
            let said = backs_up.send(format!("backup of {}", job.body));
            async move { said }
        })
        .handle("pulse", move |_: Job<u64>, _: Context| {
            let said = beats.send("pulse".to_owned());
            async move { said }
        });
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));

    let client = queue.client().await?;
    let schedules: Vec<ScheduleView> = client.ask(AdminRequest::Schedules {}).await?;
    println!("{}", schedules.iter().map(|schedule| &*schedule.name).collect::<Vec<_>>().join(", "));
    let nights = client.ask(AdminRequest::ScheduleNext { name: "nightly".into(), count: 3 }).await?;
    // Nobody waits until three: this is a run beside the others.
    client.ask::<serde_json::Value>(AdminRequest::ScheduleTrigger { name: "nightly".into() }).await?;
    let mut lines = Vec::new();
    while !["backup of all", "pulse"].iter().all(|line| lines.iter().any(|seen| seen == line)) {
        lines.push(ran.recv().await.ok_or("the worker has ended")?);
    }

    drop(stop);
    worker.await??;
    queue.close().await?;
    Ok((nights, lines))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    let (nights, lines) = run(directory.path()).await?;
    println!("the next nights: {nights:?}\n{}", lines.join("\n"));
    Ok(())
}
