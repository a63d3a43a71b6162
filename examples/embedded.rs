//! A program with a queue of its own, and no daemon: it submits its arguments as jobs, works on them, and ends with the last.
//! What a run that was killed has left is done by the next one: `cargo run --example embedded -- /tmp/jobs hello 'good evening'`.

use musher::Embedded;
use musher::client::worker::{Context, Job};
use musher::protocol::admin::EndView;
use musher::protocol::{JobOptions, SubmitGroup};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

/// As in `musher.toml`; a small queue needs little room.
const CONFIGURATION: &str = "
[storage]
log_file = \"1MiB\"
ballast = \"0B\"
[queues.greetings]
attempts = 3
keep = { done = \"1d\" }
";

async fn greet(job: Job<String>, cx: Context) -> Result<(), String> {
    println!("job {}, attempt {}: {}", job.id, cx.attempt(), job.body);
    if job.body.is_empty() { Err("nothing to say".to_owned()) } else { Ok(()) }
}

/// Submits and does these jobs; how each has ended.
pub(crate) async fn run(
    directory: &Path,
    texts: &[String],
) -> Result<Vec<EndView>, Box<dyn std::error::Error>> {
    let queue = Embedded::open_with(directory, CONFIGURATION).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = queue.worker().concurrency(4).handle("greetings", greet);
    let worker = tokio::spawn(worker.run_until(async move { drop(stopped.await) }));

    let mut ends = Vec::new();
    if !texts.is_empty() {
        // A failed attempt is not repeated, so that this program ends soon.
        let options = JobOptions { queue: "greetings".into(), attempts: Some(1), ..JobOptions::default() };
        let bodies =
            texts.iter().map(|text| serde_json::to_vec(text).map(Into::into)).collect::<Result<_, _>>()?;
        let client = queue.client().await?;
        let jobs = client.submit_and_wait(vec![SubmitGroup { options, bodies }], None).await?;
        ends = jobs.ends().await?;
    }

    // The worker first: then nobody holds a job, and the queue closes at once.
    drop(stop);
    worker.await??;
    queue.close().await?;
    Ok(ends)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: embedded DIRECTORY [TEXT …]")?);
    for end in run(&directory, &arguments.collect::<Vec<_>>()).await? {
        println!("job {} is {}", end.id, end.state);
    }
    Ok(())
}
