//! Rows come back as they went in, and each precaution that can be tested is in force.

use super::*;
use crate::core::{IdRange, Job, QueueName, Spec, Time};
use crate::store::codec::{PACKED_MAX, block_range};
use crate::store::commit::CommitNo;
use std::fs;
use std::sync::Arc;

const CACHE: u64 = 4 << 20;

fn home() -> (tempfile::TempDir, SledRows) {
    let dir = tempfile::tempdir().unwrap();
    let home = SledRows::open(&dir.path().join("sled"), CACHE).unwrap();
    (dir, home)
}

fn change(block: u64, ids: &[u64], bodies: &[(u64, usize)]) -> BlockChange {
    let spec = Arc::new(Spec::plain(QueueName::new("q").unwrap()));
    let runs = ids.iter().map(|id| (IdRange::from(JobId(*id)), Job::fresh(spec.clone(), Time(0)))).collect();
    let row = BlockRow::new(CommitNo(1), runs);
    let mut blobs = ByKind::default();
    blobs[Blob::Body] = bodies.iter().map(|(id, len)| (JobId(*id), body(*id, *len))).collect();
    BlockChange {
        block,
        row: (!ids.is_empty()).then(|| (row.encode(), row.mask())),
        blobs,
        late: ByKind::default(),
    }
}

/// The same where one body takes the place of another.
fn replaced(block: u64, ids: &[u64], id: u64, len: usize) -> BlockChange {
    let mut change = change(block, ids, &[(id, len)]);
    change.late[Blob::Body] = 1 << (id % 64);
    change
}

fn body(id: u64, len: usize) -> Bytes {
    format!("{id},").into_bytes().into_iter().cycle().take(len).collect::<Vec<u8>>().into()
}

fn stored(home: &SledRows, id: u64) -> Option<Bytes> {
    let row = home.blobs(Blob::Body, JobId(id)).unwrap();
    row.into_iter().find(|(found, _)| *found == JobId(id)).map(|(_, body)| body)
}

fn rows(home: &SledRows) -> usize {
    home.with(|trees| Ok(trees.blobs[Blob::Body].tree().rows().len())).unwrap()
}

#[test]
fn bodies_of_any_size_are_found_among_their_neighbours() {
    let (_dir, home) = home();
    let sizes = [0, 10, PACKED_MAX, 1, 5 * PACKED_MAX + 3, 30_000, 30_000, 30_000, PACKED_MAX + 1];
    let bodies: Vec<(u64, usize)> =
        sizes.iter().enumerate().map(|(n, len)| (130 + 2 * n as u64, *len)).collect();
    let ids: Vec<u64> = bodies.iter().map(|(id, _)| *id).collect();
    home.store(&change(2, &ids, &bodies)).unwrap();
    for (id, len) in bodies {
        assert_eq!(stored(&home, id), Some(body(id, len)), "{id}");
        assert_eq!(stored(&home, id + 1), None, "there is no such job");
    }
    assert_eq!(stored(&home, 1), None);
}

#[test]
fn jobs_that_arrive_later_in_a_block_get_further_rows() {
    let (_dir, home) = home();
    home.store(&change(1, &[64, 65], &[(64, 5), (65, 6)])).unwrap();
    home.store(&change(1, &[64, 65, 70], &[(70, 7)])).unwrap();
    for (id, len) in [(64, 5), (65, 6), (70, 7)] {
        assert_eq!(stored(&home, id), Some(body(id, len)));
    }
}

/// A checkpoint was cut off between bodies and the row of their jobs. Some of the jobs end, others arrive, and the next
/// one packs them into rows of other first jobs.
#[test]
fn rows_that_a_cut_checkpoint_left_hide_no_body() {
    const BIG: usize = PACKED_MAX + 1;
    type Bodies<'a> = &'a [(u64, usize)];
    let cases: [(Bodies<'_>, Bodies<'_>); 3] = [
        // The row of 72 would be looked into for 80 and 90.
        (&[(64, 30_000), (68, 30_000), (72, 30_000)], &[(68, 5), (72, 30_000), (80, 5), (90, 5)]),
        // So would the pieces of a big body whose job has ended.
        (&[(64, 5), (70, BIG), (71, 5)], &[(64, 5), (71, 5), (80, 5)]),
        (&[(64, 5), (70, BIG), (71, 5)], &[(71, 5), (80, BIG), (81, 5)]),
    ];
    for (left, stored_next) in cases {
        let (_dir, home) = home();
        let left: Vec<_> = left.iter().map(|(id, len)| (JobId(*id), body(*id, *len))).collect();
        home.with(|trees| trees.blobs[Blob::Body].insert(1, &left)).unwrap();
        let ids: Vec<u64> = stored_next.iter().map(|(id, _)| *id).collect();
        home.store(&change(1, &ids, stored_next)).unwrap();
        for (id, len) in stored_next {
            assert_eq!(stored(&home, *id), Some(body(*id, *len)), "job {id}, after {left:?}");
        }
    }
}

#[test]
fn space_of_dead_jobs_is_given_back() {
    let (_dir, home) = home();
    let all: Vec<u64> = (64..128).collect();
    let bodies: Vec<(u64, usize)> = all.iter().map(|id| (*id, 4000)).collect();
    home.store(&change(1, &all, &bodies)).unwrap();
    let before = rows(&home);
    home.store(&change(1, &[64, 127], &[])).unwrap();
    assert!(rows(&home) < before, "rows without a live job are gone");
    assert_eq!(home.blobs(Blob::Body, JobId(64)).unwrap().len(), 1, "the first row has lost its dead");
    assert_eq!(stored(&home, 127), Some(body(127, 4000)));
    home.store(&change(1, &[], &[])).unwrap();
    assert_eq!(rows(&home), 0);
    let mut blocks = 0;
    home.blocks(|_, _| blocks += 1).unwrap();
    assert_eq!(blocks, 0);
}

/// Precaution 1. Fails if the symbol is not ours: then nothing counts.
#[test]
fn a_flush_goes_through_fdatasync() {
    let (_dir, home) = home();
    home.with(|trees| trees.database.verify_sync(&trees.meta, sync::calls)).unwrap();
}

/// Precaution 1. Fails if opening does not look whether the function in force is ours.
#[test]
fn a_build_whose_sync_is_not_ours_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let refused = SledRows::open_counting(&dir.path().join("sled"), CACHE, || 0);
    assert!(matches!(refused, Err(HomeError::SyncNotOurs)));
}

/// Precaution 4. Fails if the holder is not named.
#[test]
fn a_database_in_use_is_refused_and_its_user_named() {
    let (dir, _home) = home();
    let error = SledRows::open(&dir.path().join("sled"), CACHE).unwrap_err().to_string();
    assert!(error.contains(&format!("in use by the process with pid {}", std::process::id())), "{error}");
}

/// Precaution 3. Fails with segments of 1 MiB, or with larger rows.
#[test]
fn the_largest_rows_make_no_blob() {
    let (dir, home) = home();
    for id in 0..60 {
        home.store(&change(id + 1, &[64 * (id + 1)], &[(64 * (id + 1), PACKED_MAX)])).unwrap();
    }
    let row = vec![b'x'; ROW_MAX];
    for block in 0..60 {
        let change = BlockChange {
            block,
            row: Some((row.clone(), 1)),
            blobs: ByKind::default(),
            late: ByKind::default(),
        };
        home.with(|trees| Ok(trees.jobs.insert(block.to_be_bytes(), change.row.unwrap().0)?)).unwrap();
    }
    home.finish(&MetaRow::default()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("sled/blobs")).unwrap().count(), 0);
}

#[test]
fn a_blob_is_refused() {
    let (dir, home) = home();
    std::fs::write(dir.path().join("sled/blobs/1"), b"?").unwrap();
    assert!(matches!(home.finish(&MetaRow::default()), Err(HomeError::Blob { .. })));
}

/// A row whose first jobs are gone stays, hidden from the next row on. What it has of later jobs must not come back.
#[test]
fn a_body_that_was_replaced_stays_so_when_a_neighbours_is_replaced() {
    let (_dir, home) = home();
    home.store(&change(1, &[64, 65, 66, 67], &[(64, 5), (65, 5), (66, 5), (67, 5)])).unwrap();
    home.store(&replaced(1, &[66, 67], 66, 9)).unwrap();
    assert_eq!(stored(&home, 66), Some(body(66, 9)));
    home.store(&replaced(1, &[66, 67], 67, 8)).unwrap();
    for (id, len) in [(66, 9), (67, 8)] {
        assert_eq!(stored(&home, id), Some(body(id, len)), "{id}");
    }
}

/// In pieces or not, before and after others of its block have come and gone; not of those that are gone.
#[test]
fn which_body_took_the_place_of_another_is_known_as_long_as_its_job() {
    let (_dir, home) = home();
    let checked = |id: u64| home.checked_blobs(Blob::Body, JobId(id));
    let sums = || {
        let mut found = Vec::new();
        home.blocks(|_, row| found.push(row.sums)).unwrap();
        let of = |id: &u64| found[0].of(Blob::Body, JobId(*id)).is_some();
        (64..128).filter(of).collect::<Vec<u64>>()
    };
    home.store(&change(1, &[64, 65, 66], &[(64, 5), (65, 5), (66, 5)])).unwrap();
    assert_eq!(sums(), [0; 0], "of most there is none");
    home.store(&replaced(1, &[64, 65, 66], 65, 3 * PACKED_MAX)).unwrap();
    home.store(&replaced(1, &[64, 65, 66], 66, 9)).unwrap();
    home.store(&change(1, &[64, 65, 66, 70], &[(70, 8)])).unwrap();
    assert_eq!(sums(), [65, 66]);
    for id in [64, 65, 66, 70] {
        assert!(find_in(&checked(id).unwrap(), id), "{id}");
    }
    // One piece of it is that of another body of the same length.
    let piece = crate::store::codec::encode_piece(3 * PACKED_MAX, &vec![b'x'; PACKED_MAX]);
    home.spoil("bodies", &crate::store::codec::blob_key(JobId(65), 1), &piece);
    assert!(matches!(checked(65), Err(HomeError::Other { kind: Blob::Body, id: JobId(65) })));
    assert!(find_in(&checked(66).unwrap(), 66));
    home.store(&change(1, &[64, 66, 70], &[])).unwrap();
    assert_eq!(sums(), [66]);
    home.store(&change(1, &[64, 70], &[])).unwrap();
    assert_eq!(sums(), [0; 0]);
}

fn find_in(row: &[(JobId, Bytes)], id: u64) -> bool {
    row.iter().any(|(found, _)| found.0 == id)
}

#[test]
fn what_was_finished_is_there_after_opening_again() {
    let (_dir, home) = home();
    assert_eq!(home.meta().unwrap(), None);
    let meta = MetaRow { home: CommitNo(9), time: Time(5), next_id: JobId(71), mark: None };
    home.store(&change(1, &[64, 70], &[(64, 5), (70, 6)])).unwrap();
    home.finish(&meta).unwrap();
    home.reopen().unwrap();
    assert_eq!(home.meta().unwrap(), Some(meta));
    assert_eq!(stored(&home, 70), Some(body(70, 6)));
    let mut found = Vec::new();
    home.blocks(|block, row| found.push((block, row.mask()))).unwrap();
    assert_eq!(found, [(1, 1 | 1 << 6)]);
    assert_eq!(block_range(1).first, JobId(64));
}

/// Precaution 7. A write that failed in a start, or a SIGKILL in it, left the database unreadable for good.
#[test]
fn a_start_that_died_while_it_wrote_a_snapshot_is_no_damage() {
    let (dir, home) = home();
    home.store(&change(1, &[64], &[(64, 5)])).unwrap();
    drop(home);
    let path = dir.path().join("sled");
    drop(SledRows::open(&path, CACHE).unwrap());
    fs::write(path.join("snap.7000000000000000.generating"), "a part").unwrap();
    let home = SledRows::open(&path, CACHE).unwrap();
    assert_eq!(stored(&home, 64), Some(body(64, 5)));
}

#[test]
fn a_damaged_row_is_named() {
    let (_dir, home) = home();
    home.with(|trees| Ok(trees.jobs.insert(7u64.to_be_bytes(), b"?")?)).unwrap();
    let error = home.blocks(|_, _| ()).unwrap_err().to_string();
    assert!(error.contains("`jobs`, key 0000000000000007"), "{error}");
}

/// A row that went missing, or that is an old one again: sled gives back both without a word where its file is damaged.
#[test]
fn rows_that_are_not_those_of_the_last_checkpoint_are_noticed() {
    let ids: Vec<u64> = (64..128).collect();
    let sound = || {
        let (dir, home) = home();
        home.store(&change(1, &ids, &[])).unwrap();
        home.store(&change(2, &[128], &[])).unwrap();
        home.finish(&MetaRow { home: CommitNo(3), ..MetaRow::default() }).unwrap();
        home.reopen().unwrap();
        (dir, home)
    };
    let old = change(1, &ids[1..], &[]).row.unwrap().0;
    for spoil in [None, Some(old)] {
        let (_dir, home) = sound();
        let key = 1u64.to_be_bytes();
        home.with(|trees| {
            match &spoil {
                None => trees.jobs.remove(key)?,
                Some(row) => trees.jobs.insert(key, row.as_slice())?,
            };
            trees.database.flush()
        })
        .unwrap();
        assert!(matches!(home.reopen(), Err(HomeError::Incomplete { home: CommitNo(3), .. })));
    }
    // While a checkpoint is under way the rows are ahead of the sum, and that is no damage.
    let (_dir, home) = sound();
    home.store(&change(1, &[], &[])).unwrap();
    home.reopen().unwrap();
    home.finish(&MetaRow { home: CommitNo(4), ..MetaRow::default() }).unwrap();
    home.reopen().unwrap();
}

#[test]
fn a_panic_of_the_database_is_an_error_and_the_last_thing_it_does() {
    let (_dir, home) = home();
    let error = home.with::<()>(|_| panic!("page {} is odd", 7)).unwrap_err().to_string();
    assert!(error.contains("sled is damaged") && error.contains("page 7 is odd"), "{error}");
    assert!(matches!(home.meta(), Err(HomeError::Broken { .. })), "nothing is asked of it any more");
}

/// Nobody knows how far a checkpoint has come that was cut off: a count of before it would keep the database from being
/// written anew.
#[test]
fn how_much_lives_is_remembered_by_whole_checkpoints_only() {
    let (dir, home) = home();
    let live = |home: &SledRows| home.with(|trees| Ok(trees.live.known())).unwrap();
    home.slack(u64::MAX).unwrap();
    home.store(&change(1, &[64, 65], &[(64, 5_000), (65, 6_000)])).unwrap();
    home.finish(&MetaRow::default()).unwrap();
    let whole = live(&home);
    assert!(whole.is_exact && whole.bytes > 11_000, "{whole:?}");
    drop(home);
    let home = SledRows::open(&dir.path().join("sled"), CACHE).unwrap();
    assert_eq!(live(&home), whole, "without reading a row");
    // All blobs of a block are gone, and the process is too.
    home.store_blobs(&change(1, &[], &[])).unwrap();
    drop(home);
    let home = SledRows::open(&dir.path().join("sled"), CACHE).unwrap();
    assert_eq!(live(&home), Default::default());
    home.slack(u64::MAX).unwrap();
    assert!(live(&home).is_exact && live(&home).bytes < 1_000, "{:?}", live(&home));
}

/// A backup reads beside checkpoints: a big body is there as a whole, or not at all, and never damaged.
#[test]
fn a_big_body_that_comes_and_goes_is_read_as_a_whole_or_not_at_all() {
    const LEN: usize = 5 * PACKED_MAX;
    let (_dir, home) = home();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..300 {
                home.store(&change(1, &[64], &[(64, LEN)])).unwrap();
                home.store(&change(1, &[], &[])).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let (mut there, mut gone) = (0, 0);
        while !is_over.load(Ordering::Relaxed) {
            match stored(&home, 64) {
                Some(found) => {
                    assert_eq!(found, body(64, LEN));
                    there += 1;
                }
                None => gone += 1,
            }
        }
        assert!(there > 0 && gone > 0, "{there}, {gone}");
    });
}
