//! The next slice of a checkpoint: encoded on the loop, so it is bounded in what it looks at, encodes and hands on.

use super::Round;
use crate::core::{IdRange, JobId, RangeSet, State};
use crate::store::blob::ByKind;
use crate::store::codec::{BLOCK, BlockRow, block_of, block_range};
use crate::store::commit::CommitNo;
use crate::store::home::BlockRows;
use crate::store::recent::{Neighbours, Recent};

/// The most blocks in a slice. A block of 64 jobs that are all different takes some 15 µs to encode.
const BLOCKS: usize = 32;

/// The most bytes of rows and blobs in a slice, give or take a block.
const BYTES: usize = 256 << 10;

/// The most ranges that are looked at for a slice: most of them may turn out to be empty.
const LOOKS: usize = 256;

/// Encodes the next blocks. Those without a live job and without a row cost nothing: that is how most jobs of a
/// short queue pass by.
pub(super) fn blocks(
    round: &mut Round,
    stored: &mut RangeSet,
    state: &State,
    last: CommitNo,
    recent: &Recent,
) -> Vec<BlockRows> {
    let (mut changes, mut bytes) = (Vec::new(), 0);
    for _ in 0..LOOKS {
        if changes.len() >= BLOCKS || bytes >= BYTES {
            break;
        }
        let Some((first, len)) = round.todo.ranges().next() else { break };
        let jobs = IdRange::new(JobId(first * BLOCK), len * BLOCK);
        let next_live = state.iter(jobs).next().map(|(run, _)| block_of(run.first));
        let empty_until = next_live.unwrap_or(first + len);
        // Rows of blocks in which nobody lives any more.
        if let Some(dead) = first_stored(stored, first).filter(|dead| *dead < empty_until) {
            round.todo.remove(first, dead + 1 - first);
            round.removed.insert(dead, 1);
            stored.remove(dead, 1);
            changes.push(BlockRows {
                block: dead,
                row: None,
                blobs: ByKind::default(),
                late: ByKind::default(),
            });
            continue;
        }
        round.todo.remove(first, empty_until - first);
        if let Some(block) = next_live {
            let change = encode(block, state, last, recent);
            bytes += change.row.as_ref().map_or(0, |(row, _)| row.len());
            bytes += change.blobs.iter().flat_map(|(_, blobs)| blobs).map(Neighbours::len).sum::<usize>();
            // Jobs that arrive in this block after now have their blobs stored the next time.
            let end = state.next_id().0.min(block_range(block).end().0);
            round.blobs.insert(block * BLOCK, end - block * BLOCK);
            round.todo.remove(block, 1);
            stored.insert(block, 1);
            changes.push(change);
        }
    }
    changes
}

/// The first block from `block` on that may have rows.
fn first_stored(stored: &RangeSet, block: u64) -> Option<u64> {
    if stored.contains(block) { Some(block) } else { stored.after(block) }
}

fn encode(block: u64, state: &State, last: CommitNo, recent: &Recent) -> BlockRows {
    let row = BlockRow::new(last, state.runs(block_range(block)));
    let live = row.mask();
    let blobs = ByKind::of(|kind| recent.of_block(kind, block, live));
    BlockRows { block, row: Some((row.encode(), live)), blobs, late: recent.late(block) }
}
