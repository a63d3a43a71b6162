//! The same request twice. *Is such a job there already?* is for unique keys; *did my request arrive?* is for idempotency keys.
//! `cargo run --example unique`.

use musher::Embedded;
use musher::client::ClientError;
use musher::protocol::{Held, JobOptions, OnConflict, Received, SubmitGroup, Unique};
use std::path::Path;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A report for a customer, of which there is one until it has ended.
fn report(customer: &str, body: &str, on_conflict: OnConflict) -> Vec<SubmitGroup> {
    let unique = Unique { key: customer.into(), held: Held::Unfinished, on_conflict };
    let options = JobOptions { queue: "reports".into(), unique: Some(unique), ..JobOptions::default() };
    vec![SubmitGroup { options, bodies: vec![body.to_owned().into()] }]
}

fn mail(body: &str) -> Vec<SubmitGroup> {
    let options = JobOptions { queue: "mails".into(), ..JobOptions::default() };
    vec![SubmitGroup { options, bodies: vec![body.to_owned().into()] }]
}

/// What became of each report, and the ids of the mails.
pub(crate) async fn run(directory: &Path) -> Result<(Vec<Received>, Vec<u64>), Error> {
    let queue = Embedded::open_with(directory, "[storage]\nlog_file = \"1MiB\"\nballast = \"0B\"\n").await?;
    let client = queue.client().await?;

    let mut reports = Vec::new();
    for (customer, body, on_conflict) in [
        ("customer-7", "January", OnConflict::Existing),
        ("customer-8", "January", OnConflict::Existing),
        // There is one for this customer: it stays as it is, and the answer names it.
        ("customer-7", "February", OnConflict::Existing),
        // That one gets this body. `Raise` and `Debounce` change its priority and its time instead.
        ("customer-7", "January and February", OnConflict::Replace),
    ] {
        let receipts = client.submit(report(customer, body, on_conflict)).await?;
        reports.extend(receipts.iter().map(|receipt| receipt.what));
    }
    assert_eq!(&*client.body(1).await?, b"January and February");
    match client.submit(report("customer-7", "March", OnConflict::Reject)).await {
        Err(ClientError::Refused(fault)) => println!("{}", fault.message),
        other => return Err(format!("there is one already, but: {other:?}").into()),
    }

    // A producer that has had no answer sends the same again, and gets the answer of the first time.
    let mut mails = Vec::new();
    for _ in 0..2 {
        mails.push(client.submit_once("order-7-confirmation", mail("Dear …")).await?.first_id());
    }

    drop(client);
    queue.close().await?;
    Ok((reports, mails))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    println!("{:?}", run(directory.path()).await?);
    Ok(())
}
