//! Jobs that wait for others: three thumbnails at a time, one of which cannot be made, a mail when all three have ended, and one for
//! whoever repairs it. All of it is one submit, so it is all there or not at all. `cargo run --example flow`.

use musher::Embedded;
use musher::client::worker::{Context, Job, Outcome};
use musher::protocol::{After, AfterWhat, Condition, JobOptions, SubmitGroup, Ties};
use std::path::Path;
use tokio::sync::oneshot;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn jobs(queue: &str, bodies: &[&str], ties: Ties) -> Result<SubmitGroup, Error> {
    let options = JobOptions { queue: queue.into(), ties: Some(ties), ..JobOptions::default() };
    let bodies = bodies.iter().map(|body| serde_json::to_vec(body).map(Into::into));
    Ok(SubmitGroup { options, bodies: bodies.collect::<Result<_, _>>()? })
}

/// Waits for all of the album, and for how they must have ended.
fn after_album(when: Condition) -> Ties {
    Ties { after: vec![After { on: AfterWhat::Group("album".into()), when }], ..Ties::default() }
}

async fn thumbnail(job: Job<String>, _: Context) -> Outcome {
    if job.body.ends_with(".jpg") {
        Outcome::Done
    } else {
        Outcome::dead(format!("{} is no picture", job.body))
    }
}

/// How each job has ended, in the order in which they were submitted.
pub(crate) async fn run(directory: &Path) -> Result<Vec<String>, Error> {
    let queue = Embedded::open_with(directory, "[storage]\nlog_file = \"1MiB\"\nballast = \"0B\"\n").await?;
    let worker = queue
        .worker()
        .concurrency(3)
        .handle("thumbnails", thumbnail)
        .handle("mails", |job: Job<String>, _: Context| async move { println!("mail: {}", job.body) });
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));

    // A group takes jobs until it is sealed, and has ended when the last of them has.
    let album = Ties { group: Some("album".into()), seal: true, ..Ties::default() };
    let client = queue.client().await?;
    let submitted = client
        .submit_and_wait(
            vec![
                jobs("thumbnails", &["cat.jpg", "notes.txt", "dog.jpg"], album)?,
                jobs("mails", &["the album is as good as it gets"], after_album(Condition::Ended))?,
                jobs("mails", &["some of the album is missing"], after_album(Condition::Failed))?,
                // Not all are done, so this one is cancelled.
                jobs("mails", &["the album is complete"], after_album(Condition::Done))?,
            ],
            None,
        )
        .await?;
    let ends = submitted.ends().await?;

    drop(stop);
    worker.await??;
    queue.close().await?;
    Ok(ends.into_iter().map(|end| end.state).collect())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    println!("{}", run(directory.path()).await?.join(", "));
    Ok(())
}
