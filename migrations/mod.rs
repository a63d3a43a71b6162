//! Changes of the on-disk format, in order. The file `FORMAT` in a data directory says which it has; at a start each
//! step from there to [`NEWEST`] runs, and `FORMAT` is written last. A directory newer than the program is refused
//! and left as it is. To change the format: add a step here with what it rewrites, raise the number, and leave a
//! directory of the old format in `tests/fixtures/`.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The format that this version writes.
pub(crate) const NEWEST: u32 = FIRST + STEPS.len() as u32;

const FIRST: u32 = 1;
const FILE: &str = "FORMAT";
const TEXT: &str = "musher data format ";

/// Every step, oldest first: the first one leads from format 1 to format 2.
const STEPS: &[Step] = &[
    // Commits and rows of jobs have a format byte each: those of format 1 are read as they are, and written anew as
    // format 2 when their jobs change. The number alone keeps an older program away from them.
    Step { rewrites: &[], run: |_| Ok(()) },
    // The same of versions 3, in which tags lie beside the bodies and options are fields.
    Step { rewrites: &[], run: |_| Ok(()) },
    // And of those in which an envelope that many jobs have is written once.
    Step { rewrites: &[], run: |_| Ok(()) },
    // There may be rows and events of schedules and rates, which an older program cannot read.
    Step { rewrites: &[], run: |_| Ok(()) },
    // There may be options, fields and events that came with unique keys and settings at run time.
    Step { rewrites: &[], run: |_| Ok(()) },
    // And of jobs that wait for others, of groups, checkpoints and results.
    Step { rewrites: &[], run: |_| Ok(()) },
    // And of queues that are bound to topics by command.
    Step { rewrites: &[], run: |_| Ok(()) },
    // And of queues that are paused until a time, what was done with jobs by clients that count it, and names of up to 200 bytes with
    // more characters.
    Step { rewrites: &[], run: |_| Ok(()) },
];

/// One change of the format.
struct Step {
    /// What it rewrites, files or directories, as named in the data directory. They are copied before.
    rewrites: &'static [&'static str],
    /// Changes the directory. It may find its own work half done, after a crash, with the copies put back.
    run: fn(&Path) -> io::Result<()>,
}

/// Why a directory's format cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// It was written by a later version.
    #[error(
        "data directory {} has format {found}, this version of musher knows formats up to {NEWEST}. Nothing was \
         changed. Use the version that wrote it, or a newer one", dir.display()
    )]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file says something else.
    #[error(
        "{} does not say `{TEXT}1`, or a later number. Nothing was changed. Restore the data directory from a backup",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// A step failed.
    #[error(
        "data directory {} cannot be brought from format {from} to the next: {source}{}. The old files are kept in \
         {}; nothing is lost, and the next start tries again", dir.display(), advice(source), copies.display()
    )]
    Step {
        /// The directory.
        dir: PathBuf,
        /// The format that it still has.
        from: u32,
        /// Where the copies are.
        copies: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `FORMAT` cannot be read or written.
    #[error("{}: {source}{}", path.display(), advice(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl MigrationError {
    /// Whether there was no space left on the disk: with space again, the next try goes on.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, MigrationError::Step { source, .. } | MigrationError::Io { source, .. } if is_full(source))
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

fn advice(error: &io::Error) -> &'static str {
    if is_full(error) { "; free some space and start again" } else { "" }
}

/// Whether a directory of this format must be rewritten before this version can read it.
pub(crate) fn rewrites_from(format: u32) -> bool {
    let to_go = STEPS.get(format.saturating_sub(FIRST) as usize..).unwrap_or_default();
    to_go.iter().any(|step| !step.rewrites.is_empty())
}

/// The format of a directory; `None` if it has none yet. Changes nothing.
pub(crate) fn check(dir: &Path) -> Result<Option<u32>, MigrationError> {
    check_up_to(dir, NEWEST)
}

/// Brings a directory to the newest format.
pub(crate) fn run(dir: &Path) -> Result<(), MigrationError> {
    run_steps(dir, STEPS)
}

/// Says that a directory has the newest format.
pub(crate) fn write_format(dir: &Path) -> Result<(), MigrationError> {
    write_number(dir, NEWEST)
}

fn check_up_to(dir: &Path, newest: u32) -> Result<Option<u32>, MigrationError> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(MigrationError::Io { path, source }),
    };
    let found = text.strip_prefix(TEXT).and_then(|number| number.trim_end().parse().ok());
    match found {
        Some(found) if found > newest => Err(MigrationError::Newer { dir: dir.to_owned(), found }),
        Some(found) if found >= FIRST => Ok(Some(found)),
        _ => Err(MigrationError::Unreadable { path }),
    }
}

fn run_steps(dir: &Path, steps: &[Step]) -> Result<(), MigrationError> {
    let newest = FIRST + steps.len() as u32; // a handful
    let found = check_up_to(dir, newest)?.unwrap_or(newest);
    for (from, step) in (found..).zip(&steps[(found - FIRST) as usize..]) {
        let copies = dir.join(format!("before-format-{}", from + 1));
        let failed =
            |source| MigrationError::Step { dir: dir.to_owned(), from, copies: copies.clone(), source };
        keep_copies(dir, step.rewrites, &copies).and_then(|()| (step.run)(dir)).map_err(failed)?;
        write_number(dir, from + 1)?;
        fs::remove_dir_all(&copies).map_err(failed)?;
    }
    Ok(())
}

/// Copies what a step rewrites. Whole copies from an earlier try are put back instead: the step begins anew.
fn keep_copies(dir: &Path, names: &[&str], copies: &Path) -> io::Result<()> {
    if copies.exists() {
        for name in names {
            remove(&dir.join(name))?;
            copy(&copies.join(name), &dir.join(name))?;
        }
        return Ok(());
    }
    let unfinished = copies.with_extension("unfinished");
    remove(&unfinished)?;
    fs::create_dir(&unfinished)?;
    for name in names {
        copy(&dir.join(name), &unfinished.join(name))?;
    }
    File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, copies)?;
    File::open(dir)?.sync_all()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        fs::copy(from, to)?;
        return File::open(to)?.sync_all();
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    File::open(to)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes `FORMAT` whole or not at all.
fn write_number(dir: &Path, number: u32) -> Result<(), MigrationError> {
    let path = dir.join(FILE);
    let write = || {
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        writeln!(file, "{TEXT}{number}")?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| MigrationError::Io { path: path.clone(), source })
}
