//! One step after the other: each job completes itself and submits the next one in one commit, so that whatever crashes, every step
//! is there once. `cargo run --example chain`.

use musher::Embedded;
use musher::client::worker::{Context, Job};
use musher::protocol::{JobOptions, SubmitGroup};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn job(queue: &str, body: &str) -> Result<SubmitGroup, Error> {
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    Ok(SubmitGroup { options, bodies: vec![serde_json::to_vec(body)?.into()] })
}

/// Fetches and leads on to two jobs.
async fn fetch(job: Job<String>, cx: Context) -> Result<(), Error> {
    let file = job.body.rsplit('/').next().unwrap_or("index").to_owned();
    cx.complete_and_submit(vec![
        self::job("resize", &file)?,
        self::job("mail", &format!("{file} is there"))?,
    ])
    .await?;
    // From here on the job is done, whatever happens to this function.
    Ok(())
}

/// What the last steps have said, in any order.
pub(crate) async fn run(directory: &Path) -> Result<Vec<String>, Error> {
    let queue = Embedded::open_with(directory, "[storage]\nlog_file = \"1MiB\"\nballast = \"0B\"\n").await?;
    let (resized, mut said) = mpsc::unbounded_channel();
    let mailed = resized.clone();
    let worker = queue
        .worker()
        .handle("fetch", fetch)
        .handle("resize", move |job: Job<String>, _: Context| {
            let said = resized.send(format!("{} is small now", job.body));
            async move { said }
        })
        .handle("mail", move |job: Job<String>, _: Context| {
            let said = mailed.send(format!("mail: {}", job.body));
            async move { said }
        });
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));

    queue.client().await?.submit(vec![job("fetch", "https://example.org/cat.jpg")?]).await?;
    let mut lines = Vec::new();
    while lines.len() < 2 {
        lines.push(said.recv().await.ok_or("the worker has ended")?);
    }

    drop(stop);
    worker.await??;
    queue.close().await?;
    Ok(lines)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    run(directory.path()).await?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
