//! The settings of the store.

use std::time::Duration;

/// How a store on disk behaves. All sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of a file of the log. A data directory takes about two of them at rest. 64 MiB; at least 4 KiB.
    /// May be changed at any time: files of another size are replaced as they come free.
    pub log_file_bytes: u64,
    /// How much log may wait for checkpoints before submits are refused. 2 GiB.
    pub log_max_bytes: u64,
    /// The time from a change to the checkpoint that writes it into the database. Longer means fewer jobs that ever
    /// reach it, and more log to read at a start. 700 ms.
    pub checkpoint_interval: Duration,
    /// The database's cache. 64 MiB.
    pub cache_bytes: u64,
    /// Below this much free space on the file system submits are refused. 256 MiB.
    pub disk_reserve_bytes: u64,
    /// The size of a file that is given up when the disk is full, so that running jobs can still be settled and
    /// the daemon can start. 16 MiB; 0 for none.
    pub ballast_bytes: u64,
    /// The database's file is rewritten when it is larger than this and more than four times as large as what lives
    /// in it. 32 MiB; 0 for after every checkpoint, `u64::MAX` for never.
    pub shrink_above_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            log_file_bytes: 64 << 20,
            log_max_bytes: 2 << 30,
            checkpoint_interval: Duration::from_millis(700),
            cache_bytes: 64 << 20,
            disk_reserve_bytes: 256 << 20,
            ballast_bytes: 16 << 20,
            shrink_above_bytes: 32 << 20,
        }
    }
}
