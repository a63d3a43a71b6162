//! A node that has nothing from which it could read the stream copies everything from the owner: a backup, which comes by the same way as
//! the connections that are passed on.

use super::super::ServeError;
use super::{ClusterError, Passing};
use crate::access::Caller;
use crate::client::{Client, ClientError};
use crate::cluster::Wire;
use crate::protocol::Response;
use crate::store::{self, BackupError, NodeDirectory, Options};
use bytes::{Buf, Bytes};
use rustix::process::{getegid, geteuid};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long to wait before the owner is asked again, and how often that is said.
const PAUSE: Duration = Duration::from_secs(1);
const SAY: u32 = 15;
/// Pieces that have come and are not written yet.
const PIECES: usize = 4;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
enum NotCopied {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Restore(#[from] BackupError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the owner has gone in the middle of it")]
    Incomplete,
}

/// Where the copy is until it is whole.
pub(super) fn place(data: &Path) -> PathBuf {
    data.join("copy")
}

/// Copies everything beside what is there, however often that takes an owner. It is not in use before [`NodeDirectory::replace`].
pub(super) async fn copy(data: &Path, options: &Options, passing: &Passing) -> Result<(), ServeError> {
    for tries in 0.. {
        match try_to_copy(&place(data), options, passing).await {
            Ok(()) => return Ok(()),
            // The disk is the node's own affair.
            Err(NotCopied::Restore(error)) if is_of_the_disk(&error) => {
                return Err(ClusterError::NotCopied(error.to_string()).into());
            }
            Err(error @ NotCopied::Io(_)) => return Err(ClusterError::NotCopied(error.to_string()).into()),
            Err(error) => {
                if tries % SAY == 0 {
                    tracing::warn!(
                        "the jobs were not copied from the cluster's owner, which is tried again: {error}"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    unreachable!("it is tried for ever")
}

async fn try_to_copy(to: &Path, options: &Options, passing: &Passing) -> Result<(), NotCopied> {
    match std::fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let own = Caller { uid: geteuid().as_raw(), groups: vec![getegid().as_raw()] };
    passing.pass_at_once(theirs.into(), Wire::Native, own);
    let client = Client::greet(tokio::net::UnixStream::from_std(ours)?).await?;
    let mut pieces = client.backup(None).await?;
    let (write, written) = mpsc::channel(PIECES);
    let (dir, options) = (to.to_owned(), options.clone());
    let writing = tokio::task::spawn_blocking(move || {
        store::restore_node(Pieces { written, rest: Bytes::new() }, &dir, &options)
    });
    let received = receive(&mut pieces, write).await;
    // However it has ended: nobody is to write there any more when it is tried again.
    let restored = writing.await.map_err(io::Error::other)?;
    match received {
        Ok(()) => restored.map(drop).map_err(NotCopied::from),
        // Where the disk has failed, that is why.
        Err(error) => Err(restored.err().filter(is_of_the_disk).map_or(error, NotCopied::from)),
    }
}

fn is_of_the_disk(error: &BackupError) -> bool {
    !matches!(error, BackupError::Damaged(_) | BackupError::Stream(_))
}

/// Hands over the pieces of a backup as they come, up to its end.
async fn receive(
    pieces: &mut mpsc::Receiver<Result<Response, ClientError>>,
    write: mpsc::Sender<Bytes>,
) -> Result<(), NotCopied> {
    while let Some(piece) = pieces.recv().await {
        match piece? {
            Response::Piece(bytes) => {
                if write.send(bytes).await.is_err() {
                    // Whoever writes has failed, and says why.
                    return Err(NotCopied::Incomplete);
                }
            }
            Response::Ok => return Ok(()),
            _ => return Err(ClientError::Unexpected.into()),
        }
    }
    Err(NotCopied::Incomplete)
}

/// The pieces as they come, for a thread that reads them.
struct Pieces {
    written: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.written.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let len = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

/// Puts the copy in the place of what was there.
pub(super) fn take(
    directory: NodeDirectory,
    data: &Path,
    options: &Options,
) -> Result<NodeDirectory, ServeError> {
    Ok(directory.replace(&place(data), options)?)
}
