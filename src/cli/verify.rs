//! `musher verify`: reports every defect of a backup, or of a data directory that no daemon has open.

use super::exit::{End, FAILED, Failure, TRY_AGAIN};
use super::output;
use super::progress::Progress;
use crate::store::{self, Defect, Scratch, Summary, Verified, VerifyError};
use crate::words::{self, counted};
use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, panic, thread};

const VERIFY: &str = "\
Reads everything, prints every defect with its place, one per line, and changes nothing. Exit code 1 if there is a defect,
75 if a daemon has the directory, or if there is no space for the copy.

Of a data directory, the database is read from a copy, which takes as much space as DIR/sled, or none where the file
system can share it. It is removed at the end. Output of jobs is not read.

Examples:
  musher verify --data /var/lib/musher          when no daemon runs, or none will start
  musher backup - | musher verify --backup -    the running daemon's data
  musher verify --backup /srv/backups/musher-20260801T030000Z.backup";

#[derive(Debug, Args)]
#[command(after_help = VERIFY)]
pub(super) struct Verify {
    /// The backup to read, or `-` for standard input
    #[arg(long, value_name = "FILE|-", conflicts_with = "data")]
    backup: Option<PathBuf>,
    /// The data directory to read, which no daemon may have open
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the copy of the database goes [default: $TMPDIR, else /var/tmp]
    #[arg(long, value_name = "DIR", requires = "data")]
    scratch: Option<PathBuf>,
    /// Print what is wrong, and at the end what there is, as JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(&self) -> End {
        let mut told = Told { json: self.json, count: 0, printed: Ok(()) };
        match (&self.backup, &self.data) {
            (Some(from), _) => {
                let (from, len) = open(from)?;
                let progress = Progress::of_bytes("verifying", len);
                let tell = |defect| progress.aside(|| told.tell(&defect));
                let found = store::verify_backup(progress.reads(from), tell);
                drop(progress);
                self.end_of_backup(found.map_err(Failure::failed)?, told)
            }
            (None, Some(data)) => {
                let progress = Progress::of_time("verifying");
                let found = self.directory(data, |defect| progress.aside(|| told.tell(&defect)));
                drop(progress);
                self.end_of_directory(&found?, told)
            }
            (None, None) => Err(Failure::usage("name what to read: --data DIR or --backup FILE")),
        }
    }

    fn end_of_backup(&self, found: Option<Summary>, told: Told) -> End {
        told.printed?;
        match found {
            Some(found) if self.json => output::json(&found)?,
            Some(found) => {
                eprintln!("no defects: {}, commit {}", words::jobs(found.jobs), found.commit)
            }
            None => return Err(Failure::failed(counted(told.count, "defect", "defects"))),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn end_of_directory(&self, found: &Verified, told: Told) -> End {
        told.printed?;
        let defects = counted(found.defects, "defect", "defects");
        if self.json {
            output::json(found)?;
        } else {
            eprintln!(
                "{defects}: {}, {}, {} in the log, the newest {}, {}, {} read",
                words::jobs(found.jobs),
                counted(found.queues, "queue", "queues"),
                counted(found.commits, "commit", "commits"),
                found.commit,
                counted(found.bodies, "body", "bodies"),
                words::size(found.bytes),
            );
        }
        if found.defects > 0 { Err(Failure::silent(FAILED)) } else { Ok(ExitCode::SUCCESS) }
    }

    fn directory(&self, data: &Path, on_defect: impl FnMut(Defect)) -> Result<Verified, Failure> {
        let parent = self.scratch.clone().unwrap_or_else(|| match env::var_os("TMPDIR") {
            Some(dir) if !dir.is_empty() => dir.into(),
            // Unlike /tmp it is not in memory.
            _ => "/var/tmp".into(),
        });
        let no_scratch = |error| {
            Failure::failed(format!(
                "{}: {error}. Name a place for the copy of the database with --scratch",
                parent.display()
            ))
        };
        let mut scratch = Scratch::create(&parent).map_err(no_scratch)?;
        remove_on_signal(scratch.path().to_owned())?;
        quiet_about_the_database();
        store::verify_directory(data, &mut scratch, on_defect).map_err(|error| match error {
            VerifyError::InUse { .. } | VerifyError::NoSpace { .. } => {
                Failure { code: TRY_AGAIN, message: error.to_string() }
            }
            VerifyError::NotData { .. } => Failure::usage(error),
            error => Failure::failed(error),
        })
    }
}

/// What was said so far.
struct Told {
    json: bool,
    count: u64,
    printed: io::Result<()>,
}

impl Told {
    fn tell(&mut self, defect: &Defect) {
        self.count += 1;
        if self.printed.is_ok() {
            self.printed = match self.json {
                true => output::json(&json!({ "place": defect.place, "defect": defect.detail })),
                false => output::line(&output::safe(&defect.to_string())),
            };
        }
    }
}

/// The copy must not stay behind when somebody ends us.
fn remove_on_signal(scratch: PathBuf) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // The database may be making files in it meanwhile.
            let mut tries = (0..100).map(|_| fs::remove_dir_all(&scratch));
            let _ = tries.any(|removed| removed.is_ok() || !scratch.exists());
            #[allow(clippy::disallowed_methods, reason = "the main thread may be reading for minutes")]
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// The database panics where its file is damaged. That is reported as a defect, and needs no message of the runtime.
fn quiet_about_the_database() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("/sled-")) {
            usual(panic);
        }
    }));
}

/// A file, or standard input for `-`; and how many bytes it has, if that is known.
pub(super) fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let failed = |error| Failure::failed(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    Ok((Box::new(BufReader::new(file)), about.is_file().then_some(about.len())))
}
