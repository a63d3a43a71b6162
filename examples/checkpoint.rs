//! Long work that goes on where it was, and what it has come to. The first attempt breaks off after page 3, the second begins with
//! page 4, and the sum of all pages is the job's result. `cargo run --example checkpoint`.

use musher::Embedded;
use musher::client::worker::{Context, Job};
use musher::protocol::{Beside, JobOptions, SubmitGroup};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Results are kept with their jobs, so jobs that are done are kept for a while.
const CONFIGURATION: &str = r#"
[storage]
log_file = "1MiB"
ballast = "0B"
[queues.sums]
keep = { done = "1d" }
backoff = { kind = "fixed", base = "10ms" }
"#;

/// All that another attempt needs to know.
#[derive(Default, Serialize, Deserialize)]
struct SoFar {
    pages: usize,
    sum: u64,
}

async fn add_up(job: Job<Vec<u64>>, cx: Context, log: Arc<Mutex<Vec<String>>>) -> Result<(), Error> {
    let mut so_far = match cx.last_checkpoint() {
        Some(checkpoint) => serde_json::from_slice(checkpoint)?,
        None => SoFar::default(),
    };
    for page in &job.body[so_far.pages..] {
        so_far = SoFar { pages: so_far.pages + 1, sum: so_far.sum + page };
        log.lock().map_err(|_| "a handler has panicked")?.push(format!(
            "attempt {}, page {}",
            cx.attempt(),
            so_far.pages
        ));
        // When this returns it is on disk, whatever ends this attempt.
        cx.checkpoint(serde_json::to_vec(&so_far)?).await?;
        if cx.attempt() == 1 && so_far.pages == 3 {
            return Err("the printer is out of paper".into());
        }
    }
    cx.complete_with(so_far.sum.to_string()).await?;
    Ok(())
}

/// What was done in which attempt, and the result.
pub(crate) async fn run(directory: &Path) -> Result<(Vec<String>, String), Error> {
    let queue = Embedded::open_with(directory, CONFIGURATION).await?;
    let log = Arc::new(Mutex::new(Vec::new()));
    let written = log.clone();
    let worker = queue.worker().handle("sums", move |job, cx| add_up(job, cx, written.clone()));
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));

    let options = JobOptions { queue: "sums".into(), ..JobOptions::default() };
    let bodies = vec![serde_json::to_vec(&[5, 7, 11, 13, 17])?.into()];
    let client = queue.client().await?;
    let submitted = client.submit_and_wait(vec![SubmitGroup { options, bodies }], None).await?;
    let id = submitted.receipts.first_id();
    submitted.ends().await?;
    let result = String::from_utf8_lossy(&client.beside(id, Beside::Result).await?).into_owned();

    drop(stop);
    worker.await??;
    queue.close().await?;
    let log = log.lock().map_err(|_| "a handler has panicked")?.clone();
    Ok((log, result))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    let (log, result) = run(directory.path()).await?;
    println!("{}\nthe sum is {result}", log.join("\n"));
    Ok(())
}
