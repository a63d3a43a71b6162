//! The data directory of a node of several shards: a directory for each, and how many there are. That cannot be changed: queues would be
//! looked for where they are not.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file that says how many shards there are.
const COUNT: &str = "shards";

/// Why the shards cannot be had, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// The directory is that of a daemon without shards.
    #[error(
        "data directory {} has the jobs of a daemon without shards, whose ids say of no shard: give this node an empty directory, and \
         submit those jobs anew (docs/cluster.md, `Shards`), or set cluster.shards to 1",
        .0.display()
    )]
    WithoutShards(PathBuf),
    /// There are another number of them.
    #[error(
        "data directory {} is one of {there} shards, and cluster.shards is {wanted}: the number of shards cannot be changed",
        dir.display()
    )]
    OtherCount {
        /// The directory.
        dir: PathBuf,
        /// How many there are.
        there: String,
        /// How many there were to be.
        wanted: usize,
    },
    /// Another daemon has it.
    #[error("data directory {} is in use by another daemon", .0.display())]
    InUse(PathBuf),
    /// It cannot be used.
    #[error("data directory {} cannot be used: {error}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A shard's process has ended otherwise than it was to.
    #[error("the process of shard {shard} has ended with {how}: its log says why")]
    Ended {
        /// Which.
        shard: usize,
        /// How.
        how: String,
    },
    /// Whatever keeps a process has panicked.
    #[error("a shard is not looked after any more: report this as a bug")]
    Panicked,
}

/// Makes the directory, if there is none, and looks whether it has so many shards. It is this process's for as long as what is returned is
/// open.
pub(super) fn prepare(dir: &Path, count: usize) -> Result<fs::File, ShardsError> {
    let failed = |error| ShardsError::Io { dir: dir.to_owned(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    if dir.join("FORMAT").exists() {
        return Err(ShardsError::WithoutShards(dir.to_owned()));
    }
    match fs::read_to_string(dir.join(COUNT)) {
        Ok(there) if there.trim() == count.to_string() => {}
        Ok(there) => {
            let (dir, there) = (dir.to_owned(), there.trim().to_owned());
            return Err(ShardsError::OtherCount { dir, there, wanted: count });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => write(dir, count).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    }
    let file = fs::File::open(dir.join(COUNT)).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(ShardsError::InUse(dir.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

/// Notes the number, before any shard has anything.
fn write(dir: &Path, count: usize) -> io::Result<()> {
    let new = dir.join(format!("{COUNT}.new"));
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{count}")?;
    file.sync_all()?;
    fs::rename(new, dir.join(COUNT))?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_shards_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("data");
        let lock = prepare(&dir, 4).unwrap();
        assert!(matches!(prepare(&dir, 4), Err(ShardsError::InUse(_))));
        drop(lock);
        prepare(&dir, 4).unwrap();
        let refused = prepare(&dir, 8).unwrap_err().to_string();
        assert!(refused.contains("one of 4 shards, and cluster.shards is 8"), "{refused}");
        fs::remove_file(dir.join(COUNT)).unwrap();
        fs::write(dir.join("FORMAT"), "musher data format 9\n").unwrap();
        assert!(matches!(prepare(&dir, 4), Err(ShardsError::WithoutShards(_))));
    }
}
