//! Reads all of a backup: every damaged piece is reported, and the others must fit together as a recovery needs them,
//! each job with its body.

use super::BackupError;
use super::read::{Next, Pieces};
use crate::core::{JobId, RangeSet};
use crate::store::blob::{Blob, ByKind};
use crate::store::codec::{BlockRow, MetaRow, Piece, StampedRow, block_of};
use crate::store::commit::CommitNo;
use crate::store::error::Defect;
use crate::store::home::{HomeError, Rows};
use crate::store::log::Place;
use crate::store::recent::Recent;
use crate::store::recovery::Fold;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Jobs that are known after its newest commit.
    pub jobs: u64,
    /// Its newest commit.
    pub commit: u64,
    /// The id that the next job would get.
    pub next_id: u64,
}

/// Rows in memory; blobs only as the ids that have one.
#[derive(Default)]
struct Kept {
    meta: Option<MetaRow>,
    blocks: RefCell<BTreeMap<u64, BlockRow>>,
    rows: Vec<StampedRow>,
    blobs: ByKind<RangeSet>,
    /// What the blobs of the block sum up to whose row comes next.
    of_block: Vec<(Blob, JobId, u32)>,
    /// Those that are not what their row says. The commits may have newer ones.
    others: Vec<(Blob, JobId)>,
    commits: Vec<(CommitNo, Bytes)>,
    last: Option<CommitNo>,
}

impl Rows for Kept {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        Ok(self.meta)
    }

    fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
        Ok(self.rows.clone())
    }

    fn blocks(&self, mut on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError> {
        std::mem::take(&mut *self.blocks.borrow_mut())
            .into_iter()
            .for_each(|(block, row)| on_block(block, row));
        Ok(())
    }
}

/// Reads all of a backup and reports everything that is wrong with it, one after the other. What it holds is reported
/// only if nothing is.
///
/// # Errors
/// The stream cannot be read.
pub fn verify_backup(
    stream: impl Read,
    mut on_defect: impl FnMut(Defect),
) -> Result<Option<Summary>, BackupError> {
    let (mut pieces, mut kept, mut whole) = (Pieces::new(stream), Kept::default(), true);
    loop {
        let defect = match pieces.next()? {
            Next::End => break,
            Next::Defect(defect) => Some(defect),
            Next::Piece(piece) => kept.take(piece).err(),
        };
        if let Some(defect) = defect {
            whole = false;
            on_defect(defect);
        }
    }
    if !whole {
        return Ok(None);
    }
    let (summary, missing) = match kept.fold() {
        Ok(found) => found,
        Err(defect) => {
            on_defect(defect);
            return Ok(None);
        }
    };
    let is_whole = missing.is_empty();
    missing.into_iter().for_each(on_defect);
    Ok(is_whole.then_some(summary))
}

impl Kept {
    fn take(&mut self, piece: Piece) -> Result<(), Defect> {
        match piece {
            Piece::Meta(meta) => self.meta = Some(meta),
            Piece::Blobs(kind, _, blobs) => blobs.iter().for_each(|(id, blob)| {
                self.blobs[kind].insert(id.0, 1);
                self.of_block.push((kind, *id, crc32c::crc32c(blob)));
            }),
            Piece::Block(block, row) => {
                let blobs = std::mem::take(&mut self.of_block);
                let row = BlockRow::decode(block, &row);
                let row = row.map_err(|error| Defect {
                    place: format!("the row of jobs {block}"),
                    detail: error.to_string(),
                })?;
                let fits = |(kind, id, sum)| row.sums.of(kind, id).is_none_or(|wanted| wanted == sum);
                let others = blobs.into_iter().filter(|(_, id, _)| block_of(*id) == block);
                let others = others.filter(|blob| !fits(*blob)).map(|(kind, id, _)| (kind, id));
                self.others.extend(others);
                self.blocks.borrow_mut().insert(block, row);
            }
            Piece::Row(row) => self.rows.push(row),
            Piece::Commit(number, payload) => self.commits.push((number, payload)),
            Piece::End(last) => self.last = Some(last),
        }
        Ok(())
    }

    /// What a recovery makes of it, and which jobs would lack a blob, or have another one.
    fn fold(&mut self) -> Result<(Summary, Vec<Defect>), Defect> {
        let wrong = |place: String, detail: &dyn ToString| Defect { place, detail: detail.to_string() };
        let rows = "its rows".to_owned();
        // Which blobs there are is all that is asked.
        let mut fold = Fold::load(self, Recent::new(0)).map_err(|error| wrong(rows.clone(), &error))?;
        let mut last = fold.meta.home;
        for (number, payload) in std::mem::take(&mut self.commits) {
            let place = format!("commit {}", number.0);
            if number != last.next() {
                return Err(wrong(place, &format!("commit {} should come next", last.next().0)));
            }
            last = number;
            let at = Place { path: Path::new("the backup"), payload: None, offset: 0, number };
            fold.commit(at, &payload).map_err(|error| wrong(place, &error))?;
        }
        if self.last != Some(last) {
            return Err(wrong("its last piece".into(), &format!("the newest commit is {}", last.0)));
        }
        let folded = fold.end(last).map_err(|error| wrong(rows, &error))?;
        let state = &folded.recovered.state;
        let all = crate::core::IdRange::new(JobId(1), state.next_id().0);
        let lacking = folded.recent.lacking(state.iter(all), |kind, id| !self.blobs[kind].contains(id.0));
        let missing = lacking.map(|(kind, id)| wrong(format!("job {id}"), &format!("its {kind} is missing")));
        let has = |kind: Blob, id| state.job(id).is_some_and(|job| kind.is_of(job));
        let others = self.others.iter().filter(|(kind, id)| has(*kind, *id));
        let others = others.filter(|(kind, id)| !folded.recent.contains(*kind, *id)).map(|(kind, id)| {
            wrong(format!("job {id}"), &format!("its {kind} is not the one that was stored last"))
        });
        let missing = missing.chain(others).collect();
        let jobs = folded.recovered.report.jobs;
        Ok((Summary { jobs, commit: last.0, next_id: state.next_id().0 }, missing))
    }
}
