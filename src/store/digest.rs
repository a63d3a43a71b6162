//! What a state comes to as one number: nodes that have taken in the same commits have the same, or one of them is damaged. It is made
//! of what would be written to the home, so what is in memory alone (the order of keys, say) is not in it, and neither are bodies.

use super::codec::{BLOCK, BlockRow, StampedRow, block_of};
use super::commit::CommitNo;
use crate::core::{IdRange, Job, JobId, State};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The number, and of how many jobs it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) jobs: u64,
    sum: [u8; 32],
}

impl fmt::Display for Digest {
    /// The first half of it, in hexadecimal: enough to tell states apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sum[..16].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes it: about a third of a second for a million jobs of which none is like another.
pub(crate) fn digest(state: &State) -> Digest {
    let (mut sum, mut jobs) = (Sha256::new(), 0);
    let mut add = |bytes: &[u8]| {
        sum.update((bytes.len() as u64).to_le_bytes());
        sum.update(bytes);
    };
    add(&state.next_id().0.to_le_bytes());
    for row in state.rows() {
        add(&StampedRow { commit: CommitNo(0), row }.encode());
    }
    // However long the runs are in memory: those of a block are one row, and end with it.
    let mut block: Vec<(IdRange, Job)> = Vec::new();
    let mut end = |block: &mut Vec<(IdRange, Job)>| {
        if let Some((range, _)) = block.first() {
            add(&block_of(range.first).to_le_bytes());
            add(&BlockRow::new(CommitNo(0), std::mem::take(block)).encode());
        }
    };
    for (range, job) in state.iter(IdRange::new(JobId(1), state.next_id().0)) {
        jobs += range.len;
        let mut rest = Some(range);
        while let Some(range) = rest {
            let part = IdRange::new(range.first, range.len.min(BLOCK - range.first.0 % BLOCK));
            rest = (part.end() < range.end()).then(|| IdRange::new(part.end(), range.len - part.len));
            if block.first().is_some_and(|(first, _)| block_of(first.first) != block_of(part.first)) {
                end(&mut block);
            }
            match block.last_mut() {
                Some((before, known)) if before.end() == part.first && known == job => before.len += part.len,
                _ => block.push((part, job.clone())),
            }
        }
    }
    end(&mut block);
    Digest { jobs, sum: sum.finalize().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Event, QueueName, RowEvent, Spec, Time};
    use std::sync::Arc;

    fn plain(state: &mut State, first: u64, len: u64) {
        let spec = Arc::new(Spec::plain(QueueName::new("q").unwrap()));
        let jobs = IdRange::new(JobId(first), len);
        let at = Time(1_000);
        state.restore(jobs, Job::fresh(spec, at));
    }

    /// Of a state that jobs came into one by one, or all together.
    #[test]
    fn it_does_not_matter_how_a_state_came_to_be() {
        let (mut together, mut apart, mut backwards) = (State::default(), State::default(), State::default());
        plain(&mut together, 1, 1_000);
        (1..=1_000).for_each(|id| plain(&mut apart, id, 1));
        (1..=1_000).rev().for_each(|id| plain(&mut backwards, id, 1));
        let wanted = digest(&together);
        assert_eq!(wanted.jobs, 1_000);
        assert_eq!((digest(&apart), digest(&backwards)), (wanted.clone(), wanted));
    }

    #[test]
    fn whatever_differs_is_in_it() {
        let mut state = State::default();
        plain(&mut state, 1, 100);
        let before = digest(&state);
        let mut shorter = State::default();
        plain(&mut shorter, 1, 99);
        shorter.raise_next_id(state.next_id());
        assert_ne!(digest(&shorter), before);
        let mut later = state.clone();
        later.raise_next_id(JobId(500));
        assert_ne!(digest(&later), before);
        let mut paused = state.clone();
        paused.apply(&Event::Row(RowEvent::Paused { queue: QueueName::new("q").unwrap() }));
        assert_ne!(digest(&paused), before);
        assert_eq!(digest(&state), before);
    }
}
