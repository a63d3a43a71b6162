//! A worker in Rust whose jobs have types. It sends mails, has each one filed by a job that follows from it, and goes on until
//! Ctrl-C: `cargo run --example typed_worker -- /run/musher/musher.sock`, and in another terminal
//! `musher submit mails '{"to": "ada@example.org", "text": "hello"}'`.

use musher::client::worker::{Context, Job, Outcome, QueueOptions, Worker, WorkerError};
use musher::protocol::{JobOptions, SubmitGroup};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

#[derive(serde::Deserialize)]
struct Mail {
    to: String,
    text: String,
}

/// Whatever goes wrong is a failed attempt with its text, and the queue says when the next one is.
async fn send(job: Job<Mail>, cx: Context) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
    let Mail { to, text } = job.body;
    if !to.contains('@') {
        return Ok(Outcome::dead(format!("`{to}` is no address")));
    }
    cx.progress(50, "connected").await?;
    println!("to {to}, attempt {} of {}: {text}", cx.attempt(), cx.max_attempts());
    // The mail is sent, and its copy is to be filed: both are on disk, or neither.
    let options = JobOptions { queue: "sent".into(), ..JobOptions::default() };
    let bodies = vec![format!("{to}: {text}").into()];
    cx.complete_and_submit(vec![SubmitGroup { options, bodies }]).await?;
    Ok(Outcome::Done)
}

/// The worker, until it is told to stop.
pub(crate) async fn work(socket: &Path, stop: impl Future<Output = ()>) -> Result<(), WorkerError> {
    Worker::new(socket)
        .concurrency(8)
        .grace(Duration::from_secs(10))
        .handle("mails", send)
        .handle_bytes(QueueOptions::new("sent").concurrency(1), |job, _: Context| async move {
            println!("filed: {}", String::from_utf8_lossy(&job.body));
        })
        .run_until(stop)
        .await
}

/// Ready at the first SIGINT or SIGTERM. (`tokio::signal` does as well, where that feature of tokio is on.)
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let (ours, signals) = std::os::unix::net::UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, signals.try_clone()?)?;
    }
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    Ok(async move { drop(ours.readable().await) })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = std::env::args_os().nth(1).map_or_else(|| "/run/musher/musher.sock".into(), PathBuf::from);
    Ok(work(&socket, interrupted()?).await?)
}
