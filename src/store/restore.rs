//! Creates a data directory from a backup. `FORMAT` is written last: until then no daemon accepts the directory.

use super::backup::{BackupError, Next, Pieces};
use super::blob::ByKind;
use super::codec::{BlockRow, MetaRow, Piece};
use super::commit::{CommitNo, StreamMark};
use super::directory::Directory;
use super::disk::DiskStore;
use super::error::Defect;
use super::home::sled::SledRows;
use super::home::{BlockChange, HomeError};
use super::log::files::Files;
use super::options::Options;
use crate::core::JobId;
use std::io::Read;
use std::path::Path;

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Jobs that are known.
    pub jobs: u64,
    /// The newest commit.
    pub commit: u64,
    /// The id that the next job gets.
    pub next_id: u64,
}

/// Restores a backup into `dir`, which must be empty or not there yet. `skip_ids` ids after those of the backup are
/// never given: the daemon may have given them before it lost its data.
///
/// # Errors
/// What is there then is not a data directory; it can be deleted.
pub fn restore(
    stream: impl Read,
    dir: &Path,
    options: &Options,
    skip_ids: u64,
) -> Result<Restored, BackupError> {
    restore_as(stream, dir, options, skip_ids, |_| None)
}

/// The same for a node of the cluster that the backup is of: it reads the stream from there on.
///
/// # Errors
/// As for [`restore`].
#[cfg(any(test, feature = "cluster"))]
pub(crate) fn restore_node(
    stream: impl Read,
    dir: &Path,
    options: &Options,
) -> Result<Restored, BackupError> {
    restore_as(stream, dir, options, 0, |meta| meta.mark)
}

fn restore_as(
    stream: impl Read,
    dir: &Path,
    options: &Options,
    skip_ids: u64,
    mark: impl FnOnce(MetaRow) -> Option<StreamMark>,
) -> Result<Restored, BackupError> {
    let directory = Directory::create_empty(dir)?.ok_or_else(|| BackupError::NotEmpty { dir: dir.into() })?;
    let meta = write_all(stream, &directory, options)?;
    // Recovery first, over all of it: only what it has accepted gets its FORMAT.
    let (mut store, found) = DiskStore::open_in(directory, options)?;
    let mut state = found.state;
    let next_id = JobId(state.next_id().0.saturating_add(skip_ids));
    state.raise_next_id(next_id);
    store.bring_home(&state)?;
    store.note_next_id(next_id, mark(meta))?;
    store.write_format()?;
    Ok(Restored { jobs: found.report.jobs, commit: found.last.0, next_id: next_id.0 })
}

fn write_all(stream: impl Read, directory: &Directory, options: &Options) -> Result<MetaRow, BackupError> {
    let home = SledRows::open(&directory.sled(), options.cache_bytes)?;
    let (mut pieces, mut meta, mut log, mut last) = (Pieces::new(stream), None, None, None);
    loop {
        match pieces.next()? {
            Next::End => break,
            Next::Defect(defect) => return Err(BackupError::Damaged(defect)),
            Next::Piece(Piece::Meta(row)) => meta = Some(row),
            Next::Piece(Piece::Blobs(kind, block, of_block)) => {
                let mut blobs = ByKind::default();
                blobs[kind] = of_block;
                home.store_blobs(&BlockChange {
                    block,
                    row: Some((Vec::new(), 0)),
                    blobs,
                    late: ByKind::default(),
                })?;
            }
            Next::Piece(Piece::Block(block, row)) => {
                let decoded = BlockRow::decode(block, &row);
                let mask = decoded.map_err(|e| HomeError::damaged("jobs", &block.to_be_bytes(), e))?.mask();
                home.store(&BlockChange {
                    block,
                    row: Some((row.into(), mask)),
                    blobs: ByKind::default(),
                    late: ByKind::default(),
                })?;
            }
            Next::Piece(Piece::Row(row)) => home.store_row(&row)?,
            Next::Piece(Piece::Commit(number, payload)) => {
                let log = match &mut log {
                    Some(log) => log,
                    None => log.insert(create_log(directory, options, CommitNo(number.0.saturating_sub(1)))?),
                };
                if number != log.last().next() {
                    let (place, detail) = (format!("commit {}", number.0), "it does not come next".into());
                    return Err(BackupError::Damaged(Defect { place, detail }));
                }
                log.append(|out| out.extend_from_slice(&payload), || false)?;
            }
            Next::Piece(Piece::End(newest)) => last = Some(newest),
        }
    }
    let meta = meta.unwrap_or_default();
    home.finish(&meta)?;
    if log.is_none() {
        create_log(directory, options, last.unwrap_or(meta.home))?;
    }
    Ok(meta)
}

fn create_log(directory: &Directory, options: &Options, home: CommitNo) -> Result<Files, BackupError> {
    directory.create_log()?;
    Ok(Files::create(&directory.log(), options.log_file_bytes, home)?)
}
