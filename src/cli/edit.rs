//! `musher edit`: another body for a job that does not run.

use super::exit::{End, Failure};
use super::output;
use crate::client::Client;
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const EXAMPLES: &str = "\
The editor is $VISUAL or $EDITOR. A job that runs, or has begun to run meanwhile, keeps its body. Only its owner, root and the daemon's
own user may edit a job, since a command runs as its owner.

Examples:
  musher edit 42
  musher edit 42 --file mended.json
  musher show 42 --body | sed s/htp:/http:/ | musher edit 42 --file -";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Edit {
    /// The job
    id: u64,
    /// Take the new body from this file, or from standard input if it is `-` [default: an editor]
    #[arg(long, value_name = "F")]
    file: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Edit {
    pub(super) async fn run(&self, client: &Client) -> End {
        let body = match &self.file {
            Some(file) if file == Path::new("-") => {
                let mut body = Vec::new();
                io::stdin().lock().read_to_end(&mut body)?;
                body
            }
            Some(file) => fs::read(file)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?,
            None => {
                let before = client.body(self.id).await?;
                let after = edited(&before)?;
                if after == before {
                    eprintln!("nothing was changed");
                    return Ok(ExitCode::SUCCESS);
                }
                after
            }
        };
        client.replace_body(self.id, Bytes::from(body)).await?;
        if self.json {
            output::json(&json!({"id": self.id, "edited": true}))?;
        }
        eprintln!("job {} has another body", self.id);
        Ok(ExitCode::SUCCESS)
    }
}

/// What an editor makes of it, in a file that nobody else can read.
fn edited(body: &[u8]) -> Result<Vec<u8>, Failure> {
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(env::var_os);
    let editor =
        editor.ok_or_else(|| Failure::usage("no editor: set $EDITOR, or give the body with --file"))?;
    let path = env::temp_dir().join(format!("musher-edit-{}", std::process::id()));
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    let edited = file.write_all(body).and_then(|()| {
        // The editor may have arguments.
        let status = Command::new("sh").args(["-c", "exec $0 \"$1\""]).arg(editor).arg(&path).status()?;
        Ok((status, fs::read(&path)?))
    });
    fs::remove_file(&path)?;
    match edited? {
        (status, body) if status.success() => Ok(body),
        (status, _) => Err(Failure::failed(format!("the editor has failed ({status}); nothing was changed"))),
    }
}
