//! `musher backup`, `restore`, `migrate`: the data as a whole. A backup comes from the running daemon, or
//! from a data directory that no daemon has open; the others need no daemon.

use super::ask::Target;
use super::exit::{End, Failure};
use super::handover::Handover;
use super::output;
use super::progress::Progress;
use super::verify::open;
use crate::client::Client;
use crate::clock;
use crate::config::{Surroundings, data_dir};
use crate::protocol::Response;
use crate::store::{self, BackupError, DiskStore, Options, Store};
use crate::words;
use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const BACKUP: &str = "\
The daemon keeps running; the backup shows the state at its end. It is read back and checked, and gets its name only when
it is complete and on disk.

Examples:
  musher backup /srv/backups                    a new file in there; prints its name
  musher backup /srv/backups/before-upgrade     that file
  musher backup - | ssh other 'cat > musher.backup'
  musher backup /srv/backups --data /var/lib/musher    when no daemon runs";

#[derive(Debug, Args)]
#[command(after_help = BACKUP)]
pub(super) struct Backup {
    /// The directory or the file to write to, or `-` for standard output; nothing is overwritten
    #[arg(value_name = "DIR|FILE|-")]
    to: PathBuf,
    /// Read this data directory instead of asking the daemon; no daemon may have it open
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Of a cluster with several shards: which of them, from 0 on
    #[arg(long, value_name = "N", conflicts_with = "data")]
    shard: Option<u32>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(&self, to: &Target) -> End {
        if self.to.as_os_str() == "-" {
            if self.json {
                return Err(Failure::usage(
                    "the backup goes to standard output, where --json would print; name a file",
                ));
            }
            let mut out = Handover::to_stdout()?;
            self.fill(to, &mut out)?;
            out.finish().map_err(not_taken)?;
            return Ok(ExitCode::SUCCESS);
        }
        let target = self.target()?;
        let part = Part::create(&target)?;
        let mut file = BufWriter::new(&part.file);
        self.fill(to, &mut file)?;
        file.flush()?;
        drop(file);
        let mut wrong = None;
        let progress = Progress::of_bytes("checking", Some(part.file.metadata()?.len()));
        let written = progress.reads(BufReader::new(File::open(&part.path)?));
        let found = store::verify_backup(written, |defect| {
            wrong.get_or_insert(defect);
        });
        drop(progress);
        let Some(found) = found.map_err(Failure::failed)? else {
            let wrong = wrong.map(|defect| defect.to_string()).unwrap_or_default();
            return Err(Failure::failed(format!(
                "the backup that was written is damaged: {wrong}; try again"
            )));
        };
        let bytes = part.file.metadata()?.len();
        part.keep(&target)?;
        if self.json {
            output::json(
                &json!({ "file": target, "bytes": bytes, "jobs": found.jobs, "commit": found.commit }),
            )?;
        } else {
            output::line(&target.display().to_string())?;
            eprintln!("{}, {}", words::jobs(found.jobs), words::size(bytes));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The file to write. One in a directory is named after the time.
    fn target(&self) -> Result<PathBuf, Failure> {
        let target = if self.to.is_dir() {
            let now = jiff::Timestamp::from_millisecond(clock::wall().0 as i64).map_err(Failure::failed)?;
            self.to.join(format!("musher-{}.backup", now.strftime("%Y%m%dT%H%M%SZ")))
        } else {
            self.to.clone()
        };
        if target.exists() {
            return Err(Failure::failed(format!(
                "{} exists already and is not overwritten; choose another name",
                target.display()
            )));
        }
        Ok(target)
    }

    fn fill(&self, to: &Target, out: &mut impl Write) -> Result<(), Failure> {
        let progress = Progress::of_bytes("backup", None);
        let out = &mut progress.writes(out);
        match &self.data {
            Some(data) => offline(data, out),
            None => {
                to.talk(async |client| online(&client, self.shard, out).await)?;
                Ok(())
            }
        }
    }
}

async fn online(client: &Client, shard: Option<u32>, out: &mut impl Write) -> End {
    let mut pieces = client.backup(shard).await?;
    while let Some(piece) = pieces.recv().await {
        match piece? {
            Response::Piece(bytes) => out.write_all(&bytes).map_err(not_taken)?,
            Response::Ok => {
                out.flush().map_err(not_taken)?;
                return Ok(ExitCode::SUCCESS);
            }
            _ => return Err(crate::client::ClientError::Unexpected.into()),
        }
    }
    Err(Failure::failed("the daemon went away in the middle of the backup; nothing was kept of it"))
}

/// Half a backup is none, so it is an error if the reader goes away.
fn not_taken(error: io::Error) -> Failure {
    Failure::failed(format!("the backup is not complete: its reader has gone, or the disk is full ({error})"))
}

fn offline(data: &Path, out: &mut impl Write) -> Result<(), Failure> {
    if !data.join("FORMAT").exists() {
        return Err(Failure::failed(format!("{} is not a data directory", data.display())));
    }
    let (mut store, _) = DiskStore::open(data, &quiet()).map_err(Failure::failed)?;
    let rows = store.begin_backup().ok_or_else(|| Failure::failed("the store cannot be backed up"))?;
    rows.write(BufWriter::new(out), || store.backup_tail()).map_err(|error| match error {
        BackupError::Stream(error) => not_taken(error),
        error => Failure::failed(error),
    })?;
    Ok(())
}

/// No settings of a daemon's are needed, and nothing is to be kept free.
fn quiet() -> Options {
    Options { disk_reserve_bytes: 0, ballast_bytes: 0, ..Options::default() }
}

/// A file under another name until it is whole; without [`Part::keep`] it goes away again.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(target: &Path) -> Result<Part, Failure> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(path);
        // Jobs may hold secrets.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        Ok(Part { path, file })
    }

    /// Gives the file its name, for good, unless somebody else has taken it.
    fn keep(self, target: &Path) -> Result<(), Failure> {
        self.file.sync_all()?;
        renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE)
            .map_err(|error| Failure::failed(format!("{}: {error}", target.display())))?;
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(dir)?.sync_all()?)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone already if it was kept.
        let _ = fs::remove_file(&self.path);
    }
}

const RESTORE: &str = "\
Nothing is overwritten: the directory must be empty, or not exist. Ids after the last one of the backup may have been used
before the data was lost, so a million of them are skipped; --skip-ids sets another number.

Examples:
  musher restore /srv/backups/musher-20260801T030000Z.backup --data /var/lib/musher
  ssh other musher backup - | musher restore - --data /var/lib/musher";

#[derive(Debug, Args)]
#[command(after_help = RESTORE)]
pub(super) struct Restore {
    /// The backup, or `-` for standard input
    #[arg(value_name = "FILE|-")]
    from: PathBuf,
    /// The data directory to create; it must be empty, or not exist
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How many ids to skip after the last one of the backup
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    skip_ids: u64,
    /// Print what was restored as JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn run(&self) -> End {
        let (from, len) = open(&self.from)?;
        let progress = Progress::of_bytes("restoring", len);
        let restored = store::restore(progress.reads(from), &self.data, &quiet(), self.skip_ids);
        drop(progress);
        let restored = restored.map_err(|error| match error {
            error @ BackupError::NotEmpty { .. } => Failure::usage(error),
            error => Failure::failed(format!("{error}. Delete {} and try again", self.data.display())),
        })?;
        if self.json {
            output::json(&restored)?;
        } else {
            let (jobs, next) = (words::jobs(restored.jobs), restored.next_id);
            eprintln!("{jobs} restored into {}; the next job gets id {next}", self.data.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

const MIGRATE: &str = "\
The daemon does the same when it starts; this does it ahead of time. Files that a step rewrites are copied first, and put
back if it fails.

Example:
  musher migrate --data /var/lib/musher";

#[derive(Debug, Args)]
#[command(after_help = MIGRATE)]
pub(super) struct Migrate {
    /// The data directory [default: the one that `serve` would use]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print the formats as JSON
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub(super) fn run(&self) -> End {
        let data = self.data.clone().or_else(|| data_dir(&Surroundings::real()));
        let data =
            data.ok_or_else(|| Failure::usage("the data directory is not known; name it with --data"))?;
        let (from, to) = store::migrate(&data).map_err(Failure::failed)?;
        match (self.json, from == to) {
            (true, _) => output::json(&json!({ "data": data, "from": from, "to": to }))?,
            (false, true) => eprintln!("{} has format {to} already, the newest", data.display()),
            (false, false) => eprintln!("{} had format {from} and has {to} now", data.display()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
