//! Keeps the data private: a data directory that other users can read is closed to them, with everything in it. Jobs
//! may hold secrets, such as the environments of commands.

use crate::telemetry::events;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What the group and others may do.
const OTHERS: u32 = 0o077;

/// Closes the directory, which is our own user's. What is in it is looked at only if it was open: in a closed directory
/// modes do not matter.
pub(crate) fn keep(data: &Path) {
    let Ok(found) = fs::metadata(data) else { return };
    let mode = found.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return;
    }
    match close(data, mode) {
        Ok(()) => {
            close_all_in(data);
            events::data_was_open(data, mode);
        }
        Err(error) => events::data_is_open(data, &error),
    }
}

fn close(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 & !OTHERS))
}

fn close_all_in(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // What is gone by now needs nothing. Links are not followed: what is elsewhere is not ours to change.
        let Ok(found) = entry.metadata() else { continue };
        // A socket has its own rule: the directory keeps others out, unless somebody opens it on purpose.
        if !found.is_dir() && !found.is_file() {
            continue;
        }
        if found.mode() & OTHERS != 0
            && let Err(error) = close(&entry.path(), found.mode())
        {
            events::data_is_open(&entry.path(), &error);
        }
        if found.is_dir() {
            close_all_in(&entry.path());
        }
    }
}
