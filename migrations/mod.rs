//! The formats of the data directory, one file a change, in order. A start brings an older directory up to date,
//! after a copy of what it rewrites; a newer one is refused and left as it is.
//!
//! The format is a number in the file `FORMAT`. To change it: write `v000N_what.rs` with a function that turns a
//! directory of format N-1 into one of format N, add it to [`STEPS`], keep a directory of the old format below
//! `tests/fixtures/`, and say what changed in `docs/storage-format.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One change: what it rewrites (names in the data directory), and how.
pub(crate) struct Step {
    /// Copied to `before-format-N` before the change.
    pub rewrites: &'static [&'static str],
    /// Turns the directory into the next format. May run again after a crash, on the same copy or on its result.
    pub run: fn(&Path) -> io::Result<()>,
}

/// The changes, in order: the first makes format 2 of format 1.
const STEPS: &[Step] = &[];

/// Why a directory's format cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Written by a newer program.
    #[error(
        "the data directory {} has format {found}, this program knows formats up to {known}: it was written by a newer \
         musher. Start that one, or restore a backup that this one made. Nothing was changed", path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// There is something, but it does not say what.
    #[error(
        "{} is not a data directory of musher: it has files, but {detail}. Choose another (--data), or an empty one. \
         Nothing was changed", path.display()
    )]
    Unknown {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The system refused.
    #[error("the format of {} could not be read or changed: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Brings a data directory to this program's format; an empty one gets it.
///
/// # Errors
/// See [`MigrateError`].
pub(crate) fn bring_up_to_date(path: &Path) -> Result<(), MigrateError> {
    run(path, STEPS)
}

fn run(path: &Path, steps: &[Step]) -> Result<(), MigrateError> {
    let io = |error| MigrateError::Io { path: path.to_path_buf(), error };
    let known = 1 + steps.len() as u32;
    let found = match read(path)? {
        Some(found) => found,
        None => return write(path, known).map_err(io),
    };
    if found > known {
        return Err(MigrateError::Newer { path: path.to_path_buf(), found, known });
    }
    for format in found..known {
        let step = &steps[format as usize - 1];
        copy_aside(path, format, step.rewrites).map_err(io)?;
        (step.run)(path).map_err(io)?;
        write(path, format + 1).map_err(io)?;
    }
    Ok(())
}

/// The directory's format; `None` if it is empty.
fn read(path: &Path) -> Result<Option<u32>, MigrateError> {
    let io = |error| MigrateError::Io { path: path.to_path_buf(), error };
    let unknown = |detail: String| MigrateError::Unknown { path: path.to_path_buf(), detail };
    match fs::read_to_string(path.join("FORMAT")) {
        Ok(text) => {
            let number =
                text.trim().strip_prefix("musher data format ").and_then(|number| number.parse().ok());
            match number {
                Some(number @ 1..) => Ok(Some(number)),
                _ => Err(unknown("its file FORMAT does not say a format".into())),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for name in ["log", "sled"] {
                if path.join(name).exists() {
                    return Err(unknown(format!("`{name}` is there without the file FORMAT")));
                }
            }
            Ok(None)
        }
        Err(error) => Err(io(error)),
    }
}

/// Writes the format so that a crash leaves the old file or the new one.
fn write(path: &Path, format: u32) -> io::Result<()> {
    let (draft, place) = (path.join("FORMAT.new"), path.join("FORMAT"));
    let mut file = File::create(&draft)?;
    writeln!(file, "musher data format {format}")?;
    file.sync_all()?;
    fs::rename(&draft, &place)?;
    File::open(path)?.sync_all()
}

/// Copies what a step rewrites, once: a copy that is there is of the time before.
fn copy_aside(path: &Path, format: u32, names: &[&str]) -> io::Result<()> {
    let aside = path.join(format!("before-format-{}", format + 1));
    if names.is_empty() || aside.exists() {
        return Ok(());
    }
    let draft = path.join("before-format.new");
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    fs::create_dir(&draft)?;
    for name in names {
        copy(&path.join(name), &draft.join(name))?;
    }
    fs::rename(&draft, &aside)?;
    File::open(path)?.sync_all()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return File::open(to)?.sync_all();
    }
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests;
