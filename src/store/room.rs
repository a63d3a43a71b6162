//! What the store reports of its space.

/// Whether new jobs may be taken. Settles always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Enough,
    /// The file system is nearly full.
    DiskLow {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free (`limits.disk_reserve`).
        reserve: u64,
    },
    /// The log is at its limit because checkpoints do not keep up.
    LogFull {
        /// Bytes of log that no checkpoint has freed.
        bytes: u64,
        /// The limit (`storage.log_max`).
        limit: u64,
    },
}

/// What a store keeps, and what it has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of log that no checkpoint has freed.
    pub log_bytes: u64,
    /// From how many on no new jobs are taken.
    pub log_limit: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Checkpoints that have ended.
    pub checkpoints: u64,
}

/// The result of giving space back to the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shrunk {
    /// The database's file has another size now.
    Done {
        /// Its bytes before.
        before: u64,
        /// And after.
        after: u64,
    },
    /// It is as it was, for this reason.
    Failed(String),
}
