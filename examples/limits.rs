//! Not too much at a time: one job at a time for each customer, in order, and so many a second for all. The limits hold over all
//! workers, since the queue keeps them. `cargo run --example limits`.

use musher::Embedded;
use musher::client::worker::{Context, Job};
use musher::clock::monotonic;
use musher::protocol::{JobOptions, SubmitGroup};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

const CONFIGURATION: &str = r#"
[storage]
log_file = "1MiB"
ballast = "0B"
[queues.invoices]
per_key = 1
[queues.sms]
rate = "20/s burst 1"
"#;

fn jobs(queue: &str, key: Option<&str>, count: u32) -> SubmitGroup {
    let options = JobOptions { queue: queue.into(), key: key.map(Into::into), ..JobOptions::default() };
    SubmitGroup { options, bodies: (0..count).map(|n| n.to_string().into()).collect() }
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// The invoices of customer 7, in the order in which they ran.
    pub(crate) of_customer_7: Mutex<Vec<u32>>,
    /// How many of these run.
    running: AtomicUsize,
    /// Whether there were ever two.
    pub(crate) overlapped: AtomicUsize,
}

async fn invoice(job: Job<u32>, cx: Context, seen: Arc<Seen>) -> Result<(), Error> {
    if cx.key() != Some("customer-7") {
        return Ok(());
    }
    seen.overlapped.fetch_max(seen.running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
    seen.of_customer_7.lock().map_err(|_| "a handler has panicked")?.push(job.body);
    cx.progress(50, "written").await?;
    seen.running.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

/// What was seen of the invoices, and how long 5 messages took.
pub(crate) async fn run(directory: &Path) -> Result<(Arc<Seen>, Duration), Error> {
    let queue = Embedded::open_with(directory, CONFIGURATION).await?;
    let seen = Arc::new(Seen::default());
    let sees = seen.clone();
    let worker = queue
        .worker()
        .concurrency(8)
        .handle("invoices", move |job, cx| invoice(job, cx, sees.clone()))
        .handle("sms", |_: Job<u32>, _: Context| async {});
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));

    let client = queue.client().await?;
    let invoices = vec![jobs("invoices", Some("customer-7"), 10), jobs("invoices", Some("customer-8"), 10)];
    client.submit_and_wait(invoices, None).await?.ends().await?;
    let begun = monotonic();
    client.submit_and_wait(vec![jobs("sms", None, 5)], None).await?.ends().await?;
    let took = monotonic() - begun;

    drop(stop);
    worker.await??;
    queue.close().await?;
    Ok((seen, took))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    let (seen, took) = run(directory.path()).await?;
    let invoices = seen.of_customer_7.lock().map_err(|_| "a handler has panicked")?.clone();
    println!("customer 7: {invoices:?}, one at a time; 5 messages at 20 a second: {took:?}");
    Ok(())
}
