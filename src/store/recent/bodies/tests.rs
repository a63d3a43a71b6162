//! What is kept in memory has a bound, and what is not is read from where it lies.

use super::*;
use crate::store::Commit;
use crate::store::blob::Blob;
use crate::store::codec::{CommitBlobs, encode_commit};
use crate::store::error::BlobError;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

/// A file into which commits go, as into the log.
struct Log {
    file: Arc<File>,
    end: u64,
}

impl Log {
    fn new() -> Log {
        Log { file: Arc::new(tempfile::tempfile().unwrap()), end: 0 }
    }

    /// Bodies arrive in one commit.
    fn arrive(&mut self, recent: &mut RecentBodies, first: u64, bodies: &[Bytes]) {
        let commit = Commit { bodies: bodies.to_vec(), ..Commit::default() };
        let mut record = Vec::new();
        let places = encode_commit(&commit, &mut record);
        (&*self.file).write_all(&record).unwrap();
        let segment: Arc<dyn Segment> = self.file.clone();
        let blobs = CommitBlobs::of(&commit, &record, places);
        let mut arrivals = Arrivals { blobs, place: Some((&segment, self.end)) };
        self.end += record.len() as u64;
        let jobs = IdRange::new(JobId(first), commit.bodies.len() as u64);
        recent.push(jobs, &mut arrivals);
        assert_eq!(arrivals.blobs.bodies.len(), 0);
    }
}

fn body(recent: &RecentBodies, id: u64) -> Option<Bytes> {
    match recent.get(JobId(id))? {
        Ok(body) => Some(body),
        Err(in_log) => {
            let row = in_log.read().unwrap();
            Some(row.into_iter().find(|(found, _)| found.0 == id).unwrap().1)
        }
    }
}

fn in_memory(recent: &RecentBodies) -> usize {
    recent.memory.iter().map(|slot| slot.as_ref().map_or(0, weight)).sum()
}

fn numbered(ids: std::ops::Range<u64>) -> Vec<Bytes> {
    ids.map(|id| id.to_string().into()).collect()
}

#[test]
fn bodies_come_and_go_in_any_order() {
    let (mut recent, mut log) = (RecentBodies::new(usize::MAX), Log::new());
    log.arrive(&mut recent, 5, &numbered(5..7));
    log.arrive(&mut recent, 9, &numbered(9..10));
    let there = |recent: &RecentBodies| (0..12).filter(|id| recent.contains(JobId(*id))).collect::<Vec<_>>();
    assert_eq!(there(&recent), [5, 6, 9]);
    recent.remove(JobId(6).into());
    recent.remove(IdRange::new(JobId(1), 2));
    assert_eq!((there(&recent), body(&recent, 6), body(&recent, 9)), (vec![5, 9], None, Some("9".into())));
    recent.remove(IdRange::new(JobId(1), 5));
    assert_eq!((there(&recent), recent.stretches.len(), recent.memory.len()), (vec![9], 1, 1));
    recent.remove(IdRange::new(JobId(1), 50));
    log.arrive(&mut recent, 77, &[Bytes::new()]);
    assert_eq!((recent.stretches.len(), body(&recent, 77)), (1, Some(Bytes::new())));
}

#[test]
fn a_block_has_its_own_bodies_and_only_those_asked_for() {
    let (mut recent, mut log) = (RecentBodies::new(0), Log::new());
    log.arrive(&mut recent, 60, &numbered(60..140));
    log.arrive(&mut recent, 140, &numbered(140..150));
    let read = |block, wanted| -> Vec<u64> {
        let found = recent.of_block(block, wanted);
        let bodies = found.iter().flat_map(|neighbours| neighbours.read().unwrap());
        bodies.inspect(|(id, body)| assert_eq!(*body, id.to_string())).map(|(id, _)| id.0).collect()
    };
    assert_eq!(read(0, u64::MAX), (60..64).collect::<Vec<_>>());
    assert_eq!(read(1, u64::MAX), (64..128).collect::<Vec<_>>());
    assert_eq!(read(2, 1 << 11 | 1 << 12 | 1 << 40), [139, 140]);
    assert!(read(3, u64::MAX).is_empty());
}

#[test]
fn what_is_not_what_was_written_is_noticed() {
    let (mut recent, mut log) = (RecentBodies::new(0), Log::new());
    log.arrive(&mut recent, 1, &numbered(1..9));
    let in_log = recent.get(JobId(4)).unwrap().unwrap_err();
    log.file.write_all_at(b"x", log.end - 2).unwrap();
    let error = in_log.read().unwrap_err();
    assert!(error.to_string().contains("not what was written"), "{error}");
    assert!(matches!(error.about(Blob::Body, JobId(4)), BlobError::Damaged { id: JobId(4), .. }));
    log.file.set_len(3).unwrap();
    assert!(matches!(in_log.read().unwrap_err().about(Blob::Body, JobId(4)), BlobError::Failed { .. }));
}

#[derive(Clone, Debug)]
enum Step {
    /// So many bodies of about this size arrive, after a gap in the ids.
    Arrive { gap: u64, count: usize, size: usize },
    /// So many jobs are forgotten, from that far behind the newest on.
    Remove { back: u64, len: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0..20usize, 0..2000usize, 0..100_000usize];
    prop_oneof![
        3 => (0..3u64, 1..200usize, size).prop_map(|(gap, count, size)| Step::Arrive { gap, count, size }),
        1 => (0..500u64, 1..300u64).prop_map(|(back, len)| Step::Remove { back, len }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever arrives and goes: memory keeps its bound, and every body is found.
    #[test]
    fn memory_has_a_bound_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..40), max in 0..300_000usize) {
        let (mut recent, mut log) = (RecentBodies::new(max), Log::new());
        let (mut model, mut next) = (BTreeMap::new(), 1);
        for step in steps {
            match step {
                Step::Arrive { gap, count, size } => {
                    let ids = next + gap..next + gap + count as u64;
                    let body = |id: u64| vec![id as u8; size * (id % 7) as usize / 6 / count.div_ceil(20)];
                    let bodies: Vec<Bytes> = ids.clone().map(|id| body(id).into()).collect();
                    log.arrive(&mut recent, ids.start, &bodies);
                    next = ids.end;
                    model.extend(ids.zip(bodies));
                }
                Step::Remove { back, len } => {
                    let first = next.saturating_sub(back).max(1);
                    recent.remove(IdRange::new(JobId(first), len));
                    model.retain(|id, _| !(first..first + len).contains(id));
                }
            }
            prop_assert_eq!(in_memory(&recent), recent.memory_bytes);
            prop_assert!(recent.memory_bytes <= max, "{} bytes where {max} may be", recent.memory_bytes);
            prop_assert!(recent.memory.len() <= recent.stretches.len());
        }
        for (id, wanted) in &model {
            prop_assert_eq!(body(&recent, *id), Some(wanted.clone()));
        }
        prop_assert!((0..next + 3).all(|id| model.contains_key(&id) == recent.contains(JobId(id))));
        recent.remove(IdRange::new(JobId(1), next));
        prop_assert_eq!((recent.memory_bytes, recent.stretches.len(), recent.memory.len()), (0, 0, 0));
    }
}
