//! One event, several queues: what is submitted to a topic is one job in each queue that is bound to it, all of them or none.
//! `cargo run --example topic`.

use musher::Embedded;
use musher::client::ClientError;
use musher::client::worker::{Context, Job};
use musher::protocol::{JobOptions, SubmitGroup};
use std::path::Path;
use tokio::sync::oneshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Who is told of what is the configuration's to say: producers know topics only.
const CONFIGURATION: &str = r#"
[storage]
log_file = "1MiB"
ballast = "0B"
[topics]
"order.created" = ["invoices", "mails"]
"order.*" = ["audit"]
"#;

fn event(topic: &str, body: &str) -> SubmitGroup {
    let options = JobOptions { queue: topic.into(), to_topic: true, ..JobOptions::default() };
    SubmitGroup { options, bodies: vec![body.to_owned().into()] }
}

/// How many jobs each event has brought, and what is said of one that nobody wants.
pub(crate) async fn run(directory: &Path) -> Result<(Vec<usize>, String), Error> {
    let queue = Embedded::open_with(directory, CONFIGURATION).await?;
    let mut worker = queue.worker();
    for name in ["invoices", "mails", "audit"] {
        worker = worker.handle(name, |job: Job<u64>, cx: Context| async move {
            println!("{} has heard of order {}", cx.queue(), job.body);
        });
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));

    let client = queue.client().await?;
    let mut jobs = Vec::new();
    for topic in ["order.created", "order.cancelled"] {
        let ends = client.submit_and_wait(vec![event(topic, "7")], None).await?.ends().await?;
        jobs.push(ends.len());
    }
    let unbound = match client.submit(vec![event("invoice.paid", "9")]).await {
        Err(ClientError::Refused(fault)) => fault.message,
        other => return Err(format!("nobody is bound to it, but: {other:?}").into()),
    };

    drop(stop);
    worker.await??;
    queue.close().await?;
    Ok((jobs, unbound))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    let (jobs, unbound) = run(directory.path()).await?;
    println!("{jobs:?} jobs; {unbound}");
    Ok(())
}
