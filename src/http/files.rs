//! Files that the front reads whole, and that hold secrets: nobody but their owner and group may read those. What is in them is no affair
//! of it.

use rustix::fs::Mode;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest file.
const MOST: u64 = 1 << 20;

/// What is in a file.
pub(super) struct Contents {
    pub(super) bytes: Vec<u8>,
    /// Whether everybody may read it, or do anything else with it.
    pub(super) is_open: bool,
}

/// Reads a file. Who may do what with it is found out of the same file, whatever has its name by then.
///
/// # Errors
/// The system refuses it, or it is too long.
pub(super) fn read(path: &Path) -> io::Result<Contents> {
    let file = File::open(path)?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST {
        true => Err(io::Error::other("it is longer than 1 MiB")),
        false => Ok(Contents { bytes, is_open: mode.intersects(Mode::RWXO) }),
    }
}
