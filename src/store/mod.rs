//! The store: commits in a write-ahead log, jobs that live on in sled. The rest of the daemon sees the trait
//! [`Store`] only. It knows events and bodies, and must not know connections, requests or settings of queues.
//!
//! A commit number names every state. `append` hands a commit over and names the number that it must get; a
//! mark, [`Store::durable`], says up to which commit everything is on disk, and answers wait for the mark. The
//! local store syncs inside `append`; one that replicates may confirm later, with further appends under way.
//!
//! There is one store, [`LoggedStore`], over two traits: `log::Log`, where commits go first, and `home::Home`, where
//! jobs live that outlast a checkpoint. Arrows between the modules run one way, down this list:
//!
//! - `restore`, `verify`: whole directories
//! - `disk`, `simulated`: a log and a home each, and how the store over them is opened
//! - `standby`: what the store of a replicated log takes in; `digest`: what a state comes to
//! - `logged`: the store over any log and home; `api`: the trait that it keeps
//! - `backup`, `recovery`, `checkpoint`
//! - `reads`: blobs of many jobs, on another thread
//! - `home`: the trait, and sled; `recent`: blobs that are in the log only
//! - `log`: the trait, local files, and a log that is replicated on several machines; `codec`: what is on disk, as bytes
//! - `directory`, `space`, `options`, `room`, `error`, `commit`, `blob`, `system`

mod api;
mod backup;
mod blob;
mod checkpoint;
mod codec;
mod commit;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod damage_tests;
#[cfg(any(test, feature = "cluster"))]
mod digest;
mod directory;
mod disk;
mod error;
#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod full_tests;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod home;
mod log;
mod logged;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod measured;
mod options;
mod reads;
mod recent;
mod recovery;
mod restore;
mod room;
#[cfg(test)]
mod shrink_tests;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;
#[cfg(test)]
mod skipped;
mod space;
#[cfg(any(test, feature = "cluster"))]
mod standby;
mod system;
mod verify;
#[cfg(test)]
mod workload;

pub(crate) use crate::migrations::NEWEST as DATA_FORMAT;
pub use api::Store;
pub use backup::{BackupError, BackupRows, BackupTail, Summary, verify_backup};
pub use blob::Blob;
pub use codec::{DecodeError, Envelope, EnvelopeError};
pub(crate) use codec::{decode_signals, encode_signals};
#[cfg(any(test, feature = "cluster"))]
pub(crate) use commit::StreamMark;
pub use commit::{Commit, CommitNo};
#[cfg(any(test, feature = "cluster"))]
pub(crate) use digest::{Digest, digest};
pub use directory::{DirectoryError, migrate};
pub use disk::{DiskStore, FileLog, SledHome};
#[cfg(any(test, feature = "cluster"))]
pub(crate) use disk::{NodeDirectory, NodeStore};
pub use error::{AppendError, BlobError, Defect};
pub use home::HomeError;
pub use log::LogError;
#[cfg(any(test, feature = "cluster"))]
pub(crate) use log::replicated::{
    Carrier, Connection, Epoch, JetStreamLink, Lost, Meaning, NodeLife, Position, Progress, ReadError,
    Reader, Rules, Seq, StreamCommit, StreamConfig, StreamError, StreamState, Tls,
};
pub use logged::LoggedStore;
pub use options::Options;
pub use reads::BlobReads;
pub use recovery::{OpenError, Recovered, Report};
#[cfg(any(test, feature = "cluster"))]
pub(crate) use restore::restore_node;
pub use restore::{Restored, restore};
pub use room::{Figures, Room, Shrunk};
#[cfg(test)]
pub(crate) use skipped::skipped;
#[cfg(any(test, feature = "cluster"))]
pub(crate) use standby::FollowError;
pub use verify::{Scratch, Verified, VerifyError, verify_directory};
