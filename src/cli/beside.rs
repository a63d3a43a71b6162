//! What is stored beside jobs, by hand: `musher checkpoint`, `musher result` and `musher signal`.

use super::exit::{End, Failure};
use super::lease::tell;
use crate::client::Client;
use crate::protocol::{Beside, LeaseRef};
use crate::written::claimed::parse_lease;
use crate::written::options::{millis, parse_id, parse_lease_time};
use bytes::Bytes;
use clap::Args;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Standard input, in the place of a file.
const STDIN: &str = "-";

/// What is in a file, or on standard input.
pub(super) fn read(file: &Path) -> Result<Bytes, Failure> {
    if file == Path::new(STDIN) {
        let mut data = Vec::new();
        io::stdin().lock().read_to_end(&mut data)?;
        return Ok(data.into());
    }
    let data = fs::read(file);
    Ok(data.map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?.into())
}

const CHECKPOINT: &str = "\
When it returns, the checkpoint is on disk, and whoever gets the job next gets it (`musher claim --json`, or the file MUSHER_CHECKPOINT
of a command), whatever ends this attempt. It takes the place of the one before, and goes when the job is done or gets another body.
The lease then lasts at least as long as an extend would make it last. At most `limits.checkpoint` bytes.

Examples:
  echo 'page 12' | musher checkpoint 42@1
  musher checkpoint 42@1 state.bin && musher release 42@1 --delay 1h";

#[derive(Debug, Args)]
#[command(after_help = CHECKPOINT)]
pub(super) struct Checkpoint {
    /// The lease
    #[arg(value_name = "ID@ATTEMPT", value_parser = parse_lease)]
    lease: LeaseRef,
    /// Where the checkpoint is; standard input if it is `-`
    #[arg(value_name = "FILE", default_value = STDIN)]
    file: PathBuf,
    /// How long the lease lasts from now, if it would not last longer anyway [default: the queue's setting]
    #[arg(long = "lease", value_name = "TIME", value_parser = parse_lease_time)]
    time: Option<Duration>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Checkpoint {
    pub(super) async fn run(&self, client: &Client) -> End {
        let data = read(&self.file)?;
        let until = client.checkpoint(self.lease, data, self.time.map(millis)).await?;
        tell(std::iter::once((self.lease, until.map(Some))), self.json)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Prints the bytes as they are, and nothing else. A job has a result if its worker has completed it with one (`musher complete --result`, the
file MUSHER_RESULT of a command, the answer to a push), and as long as it is kept (`keep.done` of its queue).
Exit code 1, and why, if there is none.

Examples:
  musher result 42
  musher wait 42 && musher result 42 > sums.txt")]
pub(super) struct ResultOf {
    /// The job
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: u64,
}

impl ResultOf {
    pub(super) async fn run(&self, client: &Client) -> End {
        print(&client.beside(self.id, Beside::Result).await?)?;
        Ok(ExitCode::SUCCESS)
    }
}

const SIGNAL: &str = "\
A job waits for a signal if its worker has given it back so (`musher release --until-signal`): it goes on with it at once. For any other
job that has not ended the signal is kept until it waits for one of this name: the newest of each name, of at most 8 names. When this
returns, it is on disk. At most `limits.signal` bytes.

Examples:
  musher signal 42 approved
  musher signal 42 paid '{\"amount\": 12}'
  musher signal 42 scan --file page.png";

#[derive(Debug, Args)]
#[command(after_help = SIGNAL)]
pub(super) struct Signal {
    /// The job
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: u64,
    /// The signal's name: at most 32 characters
    #[arg(value_name = "NAME")]
    name: String,
    /// What it says
    #[arg(value_name = "BODY", default_value = "")]
    body: String,
    /// What it says is in a file; standard input if it is `-`
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    file: Option<PathBuf>,
}

impl Signal {
    pub(super) async fn run(&self, client: &Client) -> End {
        let body = match &self.file {
            Some(file) => read(file)?,
            None => self.body.clone().into(),
        };
        client.signal(self.id, &self.name, body).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Bytes as they are.
pub(super) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
