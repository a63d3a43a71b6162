//! The store on a disk as a whole: nothing appended is lost, wherever it is cut off; what is damaged is left as it is.

mod directory;

use super::*;
use crate::core::Time;
use crate::store::damage_tests::verify_untouched;
use crate::store::home::Rows;
use crate::store::log::Log as _;
use crate::store::logged::OnCommit;
use crate::store::workload::{Workload, assert_same};
use crate::store::{CommitNo, DirectoryError, OpenError, Options, Recovered, Room, Store, contract};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn options() -> Options {
    Options {
        log_file_bytes: 64 << 10,
        shrink_above_bytes: u64::MAX,
        cache_bytes: 4 << 20,
        disk_reserve_bytes: 0,
        ballast_bytes: 0,
        ..Options::default()
    }
}

fn open(dir: &Path) -> (DiskStore, Recovered) {
    DiskStore::open(dir, &options()).unwrap()
}

pub(crate) fn append(store: &mut DiskStore, work: &mut Workload, seeds: std::ops::Range<u32>) {
    for seed in seeds {
        let commit = work.random(seed);
        store.append(CommitNo(work.commits), &commit).unwrap();
    }
}

/// Everything in a directory, as a SIGKILL would leave it.
pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for (path, bytes) in contents(from) {
        let path = to.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.ends_with("db") {
            // Beside it, and empty.
            fs::create_dir_all(path.with_file_name("blobs")).unwrap();
        }
        fs::write(path, bytes).unwrap();
    }
    to
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                // What is gone meanwhile was an unfinished file of the log.
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

pub(crate) fn check(dir: &Path, work: &Workload) -> DiskStore {
    assert_eq!(verify_untouched(dir), []);
    let (mut store, found) = open(dir);
    assert_same(&found.state, &work.state);
    assert_eq!((found.last, found.time), (CommitNo(work.commits), work.time));
    work.check_blobs(&mut store);
    store
}

#[test]
fn it_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract::check(open(dir.path()).0, |store| {
        drop(store);
        open(dir.path())
    });
}

fn disk(dir: &Path) -> Rc<Disk> {
    let space = RefCell::new(Space::new(dir, 0, 0));
    Rc::new(Disk { space, directory: Directory::open(dir).unwrap() })
}

#[test]
fn its_log_keeps_the_contract_of_logs() {
    let dir = tempfile::tempdir().unwrap();
    let open = |ended: Option<FileLog>, home, on_commit: &mut OnCommit<'_>| {
        drop(ended);
        let (disk, options) = (disk(dir.path()), options());
        disk.directory.create_log().unwrap();
        let path = disk.directory.log();
        let files = Files::open(&path, options.log_file_bytes, home, on_commit).unwrap();
        FileLog::new(files, disk, &options)
    };
    contract::check_log(open, |_| panic!("it confirms before it returns"));
}

/// Each of its lives goes on with what a SIGKILL would have left of the one before.
#[test]
fn its_home_keeps_the_contract_of_homes() {
    let mut dir = tempfile::tempdir().unwrap();
    contract::check_home(|ended: Option<SledHome>| {
        dir = copy(dir.path());
        drop(ended);
        let (disk, options) = (disk(dir.path()), options());
        let rows = home::open_rows(&disk.directory, &options).unwrap();
        SledHome::new(rows, disk, &options).unwrap()
    });
}

/// A checkpoint may end after any row: with what the process leaves when it is killed, and with what the database
/// still brings to the disk when it is closed.
#[test]
fn a_checkpoint_may_be_cut_at_any_row() {
    for rows in (0..12).chain([16, 30, 60]) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut work) = (open(dir.path()).0, Workload::default());
        append(&mut store, &mut work, 0..30);
        store.close(&work.state).unwrap();
        append(&mut store, &mut work, 30..60);
        store.home.cut_after(rows);
        let cut = store.close(&work.state).is_err();
        append(&mut store, &mut work, 60..65);
        let killed = copy(dir.path());
        drop(store);
        for dir in [killed.path(), dir.path()] {
            // Cut off once more on the way, then whole.
            let mut store = check(dir, &work);
            let mut work = work.clone();
            append(&mut store, &mut work, 70..75);
            store.home.cut_after(rows / 2);
            assert!(store.close(&work.state).is_err() || !cut);
            drop(store);
            let mut store = check(dir, &work);
            store.close(&work.state).unwrap();
            drop(store);
            let store = check(dir, &work);
            assert_eq!(open_tail(store), 0, "after a whole checkpoint the log is not needed");
        }
    }
}

/// On a disk that had turned read-only the daemon said what was wrong, closed its database, and that panicked.
#[test]
fn after_a_commit_that_failed_the_database_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    append(&mut store, &mut work, 0..30);
    // Rows that the database has taken and not brought to the disk.
    store.home.cut_after(4);
    assert!(store.close(&work.state).is_err());
    let database = |dir: &Path| contents(&dir.join("sled"));
    let before = database(dir.path());
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    // The next file that the log needs cannot be made.
    while {
        let commit = work.submit(100);
        store.append(CommitNo(work.commits), &commit).is_ok()
    } {}
    drop(store);
    assert!(database(dir.path()) == before, "closing has written to the database");
}

/// A crash has left rows of bodies without the row of their jobs. Job 97 is big, so that one of them begins at 98;
/// once it is gone, a single row has all of the block.
#[test]
fn bodies_that_a_cut_checkpoint_has_left_hide_none_that_are_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    let first = work.submit(100);
    store.append(CommitNo(1), &first).unwrap();
    // The queue's row, block 0, then the bodies of block 1.
    store.home.cut_after(2);
    assert!(store.close(&work.state).is_err());
    drop(store);

    let mut store = check(dir.path(), &work);
    let gone = work.delete(JobId(97));
    store.append(CommitNo(2), &gone).unwrap();
    let later = work.submit(20);
    store.append(CommitNo(3), &later).unwrap();
    store.close(&work.state).unwrap();
    drop(store);
    check(dir.path(), &work);
}

/// The neighbours of a job lost their envelopes when its body was replaced between the slices of a checkpoint.
#[test]
fn a_body_that_is_replaced_while_a_checkpoint_is_under_way_takes_nothing_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    let first = work.submit_with_envelopes(100);
    store.append(CommitNo(1), &first).unwrap();
    // It begins, and has taken the blocks.
    store.maintain(&work.state, Time(0)).unwrap();
    store.maintain(&work.state, Time(700)).unwrap();
    let replaced = work.replace_body(JobId(70));
    store.append(CommitNo(2), &replaced).unwrap();
    store.close(&work.state).unwrap();
    drop(store);
    check(dir.path(), &work);
}

/// How many commits a start after this reads from the log.
fn open_tail(store: DiskStore) -> u64 {
    store.log.last().0 - store.home.meta().unwrap().unwrap().home.0
}

/// While one checkpoint is under way others' commits go on: each row is as of another commit.
#[test]
fn a_checkpoint_in_slices_among_commits_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    let big = work.submit(40_000);
    store.append(CommitNo(1), &big).unwrap();
    let (mut now, mut calls) = (Time(0), 0);
    for seed in 0..40 {
        append(&mut store, &mut work, seed..seed + 1);
        now = now.plus(std::time::Duration::from_millis(400));
        store.maintain(&work.state, now).unwrap();
        calls += 1;
    }
    assert!(calls > 0 && store.home.meta().is_ok());
    let killed = copy(dir.path());
    drop(store);
    check(dir.path(), &work);
    drop(killed);
}

#[test]
fn an_idle_store_wants_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    assert_eq!(store.maintain(&work.state, Time(0)).unwrap(), None);
    let commit = work.submit(5);
    store.append(CommitNo(1), &commit).unwrap();
    let due = store.maintain(&work.state, Time(0)).unwrap();
    assert_eq!(due, Some(Time(10)), "the note of how far the log is on disk");
    let due = store.maintain(&work.state, Time(10)).unwrap();
    assert_eq!(due, Some(Time(700)), "a checkpoint when its time has come");
    store.close(&work.state).unwrap();
    assert_eq!(store.maintain(&work.state, Time(800)).unwrap(), None);
    assert_eq!(store.log.size().bytes / (64 << 10), 0);
}

/// The same without waiting for it: the loop is told when to call again until all is home.
#[test]
fn a_checkpoint_goes_on_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    let commit = work.submit(20_000);
    store.append(CommitNo(1), &commit).unwrap();
    let mut now = Time(0);
    while let Some(next) = store.maintain(&work.state, now).unwrap() {
        std::thread::yield_now();
        now = now.max(next);
    }
    assert_eq!(store.home.meta().unwrap().unwrap().home, CommitNo(1));
    assert!(
        !store.recent.contains(crate::store::Blob::Body, JobId(1)),
        "bodies that are home are not kept in memory"
    );
    work.check_blobs(&mut store);
}

#[test]
fn a_job_that_comes_and_goes_between_checkpoints_never_reaches_the_home() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    for _ in 0..2 {
        let (arrive, leave) = (work.submit(1000), work.delete_all());
        store.append(CommitNo(work.commits - 1), &arrive).unwrap();
        store.append(CommitNo(work.commits), &leave).unwrap();
    }
    store.close(&work.state).unwrap();
    let mut rows = 0;
    store.home.blocks(|_, _| rows += 1).unwrap();
    assert_eq!(rows, 0);
    drop(store);
    assert_eq!(open(dir.path()).1.state.next_id(), JobId(2001), "ids are never used twice");
}

/// A supervisor gives a stop only so much time.
#[test]
fn what_is_much_stays_in_the_log_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    while store.log.size().bytes <= 64 << 20 {
        let commit = work.submit(10_000);
        store.append(CommitNo(work.commits), &commit).unwrap();
    }
    assert!(
        store.recent.get(crate::store::Blob::Body, JobId(1)).unwrap().is_err(),
        "it is read back from the log"
    );
    work.check_blobs(&mut store);
    store.close(&work.state).unwrap();
    assert_eq!(store.home.meta().unwrap(), None, "nothing was brought home");
    drop(store);
    check(dir.path(), &work);
    let (mut store, found) = open(dir.path());
    assert!(
        store.recent.get(crate::store::Blob::Body, JobId(1)).unwrap().is_err(),
        "a start reads no more into memory"
    );
    store.bring_home(&found.state).unwrap();
    assert_eq!(store.home.meta().unwrap().unwrap().home, CommitNo(work.commits));
    work.check_blobs(&mut store);
}

#[test]
fn the_disk_is_given_back_after_a_long_queue() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    for _ in 0..20 {
        let commit = work.submit(500);
        store.append(CommitNo(work.commits), &commit).unwrap();
    }
    assert!(fs::read_dir(dir.path().join("log")).unwrap().count() > 10);
    let commit = work.delete_all();
    store.append(CommitNo(work.commits), &commit).unwrap();
    store.close(&work.state).unwrap();
    drop(store);
    assert!(fs::read_dir(dir.path().join("log")).unwrap().count() <= 4, "three files and the mark");
}

#[test]
fn a_damaged_log_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    append(&mut store, &mut work, 0..30);
    drop(store);
    let (path, mut bytes) =
        contents(dir.path()).into_iter().find(|(path, _)| path.starts_with("log")).unwrap();
    bytes[200] ^= 1;
    fs::write(dir.path().join(&path), bytes).unwrap();
    let log = |dir: &Path| {
        contents(dir).into_iter().filter(|(path, _)| path.starts_with("log")).collect::<Vec<_>>()
    };
    let before = log(dir.path());
    let error = DiskStore::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, OpenError::Log(_)), "{error}");
    assert_eq!(log(dir.path()), before);
}

#[test]
fn a_log_that_is_gone_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (open(dir.path()).0, Workload::default());
    append(&mut store, &mut work, 0..30);
    store.close(&work.state).unwrap();
    append(&mut store, &mut work, 30..60);
    let old = copy(dir.path());
    append(&mut store, &mut work, 60..70);
    store.home.cut_after(5);
    assert!(store.close(&work.state).is_err());
    drop(store);
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let error = DiskStore::open(dir.path(), &options()).unwrap_err().to_string();
    assert!(error.contains("there is no log"), "{error}");
    fs::remove_dir(dir.path().join("log")).unwrap();
    fs::rename(old.path().join("log"), dir.path().join("log")).unwrap();
    let error = DiskStore::open(dir.path(), &options()).unwrap_err().to_string();
    assert!(error.contains("log files are missing"), "{error}");
}

#[test]
fn a_full_log_is_said_and_checkpoints_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options { log_max_bytes: 200 << 10, ..options() };
    let (mut store, _) = DiskStore::open(dir.path(), &small).unwrap();
    let mut work = Workload::default();
    while store.room() == Room::Enough {
        let commit = work.submit(100);
        store.append(CommitNo(work.commits), &commit).unwrap();
    }
    assert!(matches!(store.room(), Room::LogFull { limit, .. } if limit == 200 << 10));
    store.close(&work.state).unwrap();
    assert_eq!(store.room(), Room::Enough);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Commits, checkpoints whole and cut, rewrites of the home, and crashes in any order: always the fold of all
    /// commits.
    #[test]
    fn nothing_is_lost_in_any_order(steps in prop::collection::vec((any::<u16>(), 0u8..6, 0u64..60), 5..40)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut work) = (open(dir.path()).0, Workload::default());
        for (seed, then, rows) in steps {
            append(&mut store, &mut work, u32::from(seed)..u32::from(seed) + 1);
            match then {
                0 => store.close(&work.state).unwrap(),
                1 => {
                    store.home.cut_after(rows);
                    let _ = store.close(&work.state);
                    drop(store);
                    store = check(dir.path(), &work);
                }
                2 => {
                    drop(store);
                    store = check(dir.path(), &work);
                }
                3 => drop(store.home.rows().rewrite(&mut |_| Ok(())).unwrap()),
                _ => drop(store.maintain(&work.state, Time(work.time.0)).unwrap()),
            }
        }
        drop(store);
        check(dir.path(), &work);
    }
}
