//! A restored directory has what was there, whatever went on meanwhile; damage is reported, and nothing damaged is
//! restored.

use super::*;
use crate::store::commit::CommitNo;
use crate::store::restore::restore;
use crate::store::workload::{Workload, assert_same, options};
use crate::store::{DiskStore, Options, Store};
use std::path::Path;

fn open(dir: &Path) -> DiskStore {
    DiskStore::open(dir, &options()).unwrap().0
}

fn step(store: &mut DiskStore, work: &mut Workload, seed: u32) {
    let commit = work.random(seed);
    store.append(CommitNo(work.commits), &commit).unwrap();
    store.maintain(&work.state, work.time).unwrap();
}

fn taken(store: &mut DiskStore) -> Vec<u8> {
    let mut bytes = Vec::new();
    let rows = store.begin_backup().unwrap();
    rows.write(&mut bytes, || store.backup_tail()).unwrap();
    store.end_backup();
    bytes
}

fn defects(bytes: &[u8]) -> Vec<Defect> {
    let mut defects = Vec::new();
    let summary = verify_backup(bytes, |defect| defects.push(defect)).unwrap();
    assert_eq!(summary.is_none(), !defects.is_empty());
    defects
}

/// Restores, opens, and compares with what was there.
fn check(bytes: &[u8], work: &Workload) {
    assert_eq!(defects(bytes), []);
    let dir = tempfile::tempdir().unwrap();
    let restored = restore(bytes, dir.path(), &options(), 0).unwrap();
    assert_eq!((restored.commit, restored.next_id), (work.commits, work.state.next_id().0));
    let (mut store, found) = DiskStore::open(dir.path(), &options()).unwrap();
    assert_same(&found.state, &work.state);
    work.check_blobs(&mut store);
}

/// Commits and checkpoints go on between any two pieces.
#[test]
fn a_backup_while_everything_changes_is_as_of_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()), Workload::default());
    (0..150).for_each(|seed| step(&mut store, &mut work, seed));
    let rows = store.begin_backup().unwrap();
    assert!(store.begin_backup().is_none(), "one at a time");
    let (pieces, written) = std::sync::mpsc::sync_channel::<Vec<u8>>(0);
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (give, given) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        rows.write(Slow(pieces), move || {
            ask.send(()).unwrap();
            given.recv().unwrap()
        })
    });
    let (mut bytes, mut at_end) = (Vec::new(), None);
    for seed in 1000.. {
        step(&mut store, &mut work, seed);
        if at_end.is_none() && asked.try_recv().is_ok() {
            at_end = Some(work.clone());
            give.send(store.backup_tail()).unwrap();
        }
        match written.recv_timeout(std::time::Duration::from_millis(1)) {
            Ok(piece) => bytes.extend(piece),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    thread.join().unwrap().unwrap();
    store.end_backup();
    check(&bytes, &at_end.unwrap());
    // The log that was kept for it comes free again.
    store.close(&work.state).unwrap();
    drop(store);
    assert_same(&DiskStore::open(dir.path(), &options()).unwrap().1.state, &work.state);
}

/// Hands over each piece only when somebody takes it.
struct Slow(std::sync::mpsc::SyncSender<Vec<u8>>);

impl io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_backup_of_nothing_and_one_of_what_is_at_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()), Workload::default());
    check(&taken(&mut store), &work);
    (0..60).for_each(|seed| step(&mut store, &mut work, seed));
    check(&taken(&mut store), &work);
    store.close(&work.state).unwrap();
    check(&taken(&mut store), &work);
}

/// The first version is of before there were envelopes. Whoever knows no other must not take a new piece for damage.
#[test]
fn the_header_says_whether_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, work) = (open(dir.path()), Workload::default());
    let mut bytes = taken(&mut store);
    assert_eq!(bytes[8], 3);
    [1, 2].into_iter().for_each(|version| {
        bytes[8] = version;
        check(&bytes, &work);
    });
    bytes[8] = 4;
    let defects = defects(&bytes);
    assert!(
        defects.len() == 1 && defects[0].to_string().contains("that this version can read"),
        "{defects:?}"
    );
}

#[test]
fn every_byte_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()), Workload::default());
    (0..40).for_each(|seed| step(&mut store, &mut work, seed));
    let bytes = taken(&mut store);
    for at in (0..bytes.len()).step_by(1 + bytes.len() / 400) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert_ne!(defects(&damaged), [], "byte {at}");
        assert_ne!(defects(&bytes[..at]), [], "cut at byte {at}");
        if at % 10 == 0 {
            let target = tempfile::tempdir().unwrap();
            assert!(restore(&damaged[..], target.path(), &options(), 0).is_err(), "byte {at}");
            assert!(DiskStore::open(target.path(), &options()).is_err(), "a part is no data directory");
        }
    }
    let mut more = bytes.clone();
    more.push(0);
    assert_eq!(defects(&more).len(), 1);
}

#[test]
fn all_that_is_damaged_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()), Workload::default());
    (0..40).for_each(|seed| step(&mut store, &mut work, seed));
    store.close(&work.state).unwrap();
    let mut bytes = taken(&mut store);
    let (third, len) = (bytes.len() / 3, bytes.len());
    bytes[third] ^= 1;
    bytes[2 * third] ^= 1;
    let found = defects(&bytes);
    assert!(found.len() >= 2 && found.iter().all(|defect| defect.place.starts_with("byte ")), "{found:?}");
    bytes.truncate(len - 8);
    assert!(defects(&bytes).len() >= 3);
}

#[test]
fn ids_go_on_behind_a_gap_and_what_is_there_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()), Workload::default());
    (0..40).for_each(|seed| step(&mut store, &mut work, seed));
    let bytes = taken(&mut store);
    let target = tempfile::tempdir().unwrap();
    let restored = restore(&bytes[..], target.path(), &options(), 1000).unwrap();
    assert_eq!(restored.next_id, work.state.next_id().0 + 1000);
    let found = DiskStore::open(target.path(), &options()).unwrap().1;
    assert_eq!(found.state.next_id().0, restored.next_id);
    let again = restore(&bytes[..], target.path(), &options(), 0);
    assert!(matches!(again, Err(BackupError::NotEmpty { .. })));
}

#[test]
fn a_backup_that_is_too_slow_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options { log_max_bytes: 200 << 10, ..options() };
    let (mut store, mut work) = (DiskStore::open(dir.path(), &small).unwrap().0, Workload::default());
    let rows = store.begin_backup().unwrap();
    for _ in 0..200 {
        let commit = work.submit(100);
        store.append(CommitNo(work.commits), &commit).unwrap();
        store.maintain(&work.state, work.time).unwrap();
    }
    let refused = rows.write(Vec::new(), || store.backup_tail());
    assert!(matches!(refused, Err(BackupError::TooSlow)));
    store.close(&work.state).unwrap();
    assert_eq!(store.room(), crate::store::Room::Enough);
}
