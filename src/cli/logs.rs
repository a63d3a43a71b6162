//! `musher logs`: what a job printed, each stream to its own.

use super::exit::{End, Failure};
use crate::client::Client;
use crate::protocol::Response;
use clap::Args;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher logs 42\n  musher logs -f 42")]
pub(super) struct Logs {
    /// The job
    id: u64,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    pub(super) async fn run(&self, client: &Client) -> End {
        print_logs(client, self.id, self.follow).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints what a job printed, each stream to its own.
pub(super) async fn print_logs(client: &Client, id: u64, follow: bool) -> Result<(), Failure> {
    let mut pieces = client.logs(id, follow)?;
    while let Some(piece) = pieces.recv().await {
        match piece? {
            Response::Output { stream: 1, data, .. } => {
                let mut out = io::stdout().lock();
                out.write_all(&data)?;
                out.flush()?;
            }
            Response::Output { data, .. } => io::stderr().lock().write_all(&data)?,
            _ => break,
        }
    }
    Ok(())
}
