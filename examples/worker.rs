//! A producer, and a worker that makes each request by hand, over the daemon's socket:
//! `cargo run --example worker -- /run/musher/musher.sock`. A worker for longer than a moment is less work with
//! `musher::client::worker`: see `examples/typed_worker.rs`.

use musher::client::{Client, ClientError};
use musher::protocol::{Claim, JobOptions, Settle, SubmitGroup, Verdict};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let socket = std::env::args().nth(1).unwrap_or_else(|| "/run/musher/musher.sock".into());
    let client = Client::connect(&socket).await?;

    let options = JobOptions { queue: "greetings".into(), ..JobOptions::default() };
    let bodies = ["hello", "good evening"].map(Into::into).to_vec();
    let receipts = client.submit(vec![SubmitGroup { options, bodies }]).await?;
    println!("submitted {} jobs from {} on", receipts.len(), receipts.first_id());

    // Leases that are bound end with this connection: if this program dies, its jobs are ready again at once.
    let claim =
        Claim { queues: vec!["greetings".into()], max: 10, wait_ms: 1_000, bound: true, ..Claim::default() };
    for job in client.claim(claim).await? {
        println!("job {}: {}", job.lease.id, String::from_utf8_lossy(&job.body));
        let results = client.settle(vec![Settle { lease: job.lease, verdict: Verdict::Complete }]).await?;
        if let Some(Err(fault)) = results.first() {
            eprintln!("{fault}");
        }
    }
    Ok(())
}
