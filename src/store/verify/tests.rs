//! Each kind of defect is reported with its place, several at once are all reported, and what cannot be read is
//! refused. That whole directories have none, and that nothing is changed, is also tested in `disk/tests.rs` and
//! `damage_tests.rs`.

use super::*;
use crate::core::Beside;
use crate::store::codec::{blob_key, encode_packed};
use crate::store::damage_tests::verify_untouched;
use crate::store::workload::{Workload, options};
use crate::store::{BlobError, DiskStore, Store};
use std::fs;
use tempfile::TempDir;

/// `home` commits are home, `tail` more only in the log.
fn directory(home: u32, tail: u32) -> (TempDir, Workload) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (DiskStore::open(dir.path(), &options()).unwrap().0, Workload::default());
    for seed in 0..home + tail {
        let commit = work.random(seed);
        store.append(CommitNo(work.commits), &commit).unwrap();
        if seed + 1 == home {
            store.close(&work.state).unwrap();
        }
    }
    drop(store);
    assert_eq!(verify_untouched(dir.path()), []);
    (dir, work)
}

fn told(dir: &Path) -> Vec<String> {
    verify_untouched(dir).iter().map(ToString::to_string).collect()
}

fn refused(dir: &Path) -> VerifyError {
    let mut scratch = Scratch::create(&std::env::temp_dir()).unwrap();
    verify_directory(dir, &mut scratch, |defect| panic!("{defect}")).unwrap_err()
}

/// The newest commit's file and where each record of the log's tail begins.
fn records(dir: &Path) -> Vec<(PathBuf, u64, CommitNo)> {
    let mut found = Vec::new();
    let read = files::read(&dir.join("log"), CommitNo(0), |place, _| {
        found.push((place.path.to_owned(), place.offset, place.number));
        Ok::<_, LogError>(())
    });
    read.unwrap();
    found
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn it_counts_what_there_is() {
    let (dir, work) = directory(40, 8);
    let mut scratch = Scratch::create(&std::env::temp_dir()).unwrap();
    let found = verify_directory(dir.path(), &mut scratch, |_| {}).unwrap();
    let jobs = work.state.queues().map(|(_, queue)| queue.counts().all()).sum::<u64>();
    assert_eq!((found.defects, found.jobs, found.commits, found.commit), (0, jobs, 8, work.commits));
    assert_eq!(found.queues, work.state.queues().count() as u64);
    assert!(found.bodies >= jobs && found.bytes > 0, "{found:?}");
}

#[test]
fn every_damaged_record_is_told_and_a_torn_end_is_none() {
    let (dir, _) = directory(0, 30);
    let records = records(dir.path());
    assert_eq!(records.len(), 30);
    // Two neighbours and one far from them, each between others of its file.
    let between =
        |from: usize, to: usize| records[from - 1..=to + 1].iter().all(|it| it.0 == records[from].0);
    let two = (1..28).find(|at| between(*at, at + 1)).unwrap();
    let one = (two + 4..29).find(|at| between(*at, *at)).unwrap();
    for number in [two, two + 1, one] {
        let (path, at, _) = &records[number];
        flip(path, at + 30);
    }
    let told = told(dir.path());
    assert_eq!(told.len(), 2, "{told:?}");
    let commits = [format!("commits {} to {} are", two + 1, two + 2), format!("commit {} is", one + 1)];
    for (number, what) in [two, one].into_iter().zip(commits) {
        let (path, at, _) = &records[number];
        let wanted = format!("{} at byte {at}: {what} not readable", path.display());
        assert!(told.iter().any(|told| told.starts_with(&wanted)), "{wanted}: {told:?}");
    }

    let (dir, work) = directory(0, 30);
    // As a power loss leaves it: the newest record torn, the mark older.
    let (path, at, number) = self::records(dir.path()).pop().unwrap();
    assert_eq!(number.0, work.commits);
    flip(&path, at + 30);
    assert_eq!(
        self::told(dir.path()),
        [format!(
            "{}: commits up to 30 were on disk, but the log ends with commit 29",
            dir.path().join("log/mark").display()
        )]
    );
    fs::remove_file(dir.path().join("log/mark")).unwrap();
    assert_eq!(verify_untouched(dir.path()), []);
}

#[test]
fn files_that_are_missing_broken_or_cut_off_are_told_together() {
    let (dir, _) = directory(4, 120);
    let records = records_after_home(dir.path());
    let mut files: Vec<PathBuf> = records.iter().map(|(path, ..)| path.clone()).collect();
    files.dedup();
    assert!(files.len() >= 4, "{files:?}");
    fs::remove_file(&files[1]).unwrap();
    flip(&files[2], 3);
    let len = fs::metadata(&files[0]).unwrap().len();
    fs::File::options().write(true).open(&files[0]).unwrap().set_len(len - 9).unwrap();
    let told = told(dir.path());
    let has = |text: &str| told.iter().any(|told| told.contains(text));
    assert!(has("the file's header is broken") && has("the file was cut off"), "{told:?}");
    let first = records.iter().find(|(path, ..)| *path == files[1]).unwrap().2.0;
    assert!(has(&format!("commits {first} to ")) && has("are missing: files are not there"), "{told:?}");
}

fn records_after_home(dir: &Path) -> Vec<(PathBuf, u64, CommitNo)> {
    let mut found = Vec::new();
    files::scan(&dir.join("log"), Some(CommitNo(4)), &mut |it| match it {
        Found::Record(place, _) => found.push((place.path.to_owned(), place.offset, place.number)),
        Found::Defect(defect) => panic!("{defect}"),
    });
    found.sort_by_key(|(_, _, number)| *number);
    found
}

#[test]
fn every_bad_row_is_told() {
    let (dir, _) = directory(60, 3);
    let home = SledRows::open(&dir.path().join("sled"), CACHE_BYTES).unwrap();
    home.spoil("jobs", &0u64.to_be_bytes(), b"\x01nonsense");
    home.spoil("jobs", &2u64.to_be_bytes(), b"\x09");
    home.spoil("bodies", &crate::store::codec::blob_key(JobId(130), 0), b"\x01\x00\xff");
    home.spoil("queues", b"no queue's name", b"\x01");
    home.spoil("meta", b"sum", b"");
    drop(home);
    let told = told(dir.path());
    for key in [
        "tree `jobs`, key 0000000000000000: ",
        "tree `jobs`, key 0000000000000002: version 9 of a row of jobs is unknown",
        "tree `bodies`, key 00000000000000820000: ",
        "tree `queues`, key 6e6f20717565756527",
        "tree `meta`, key 73756d: it ends too early",
    ] {
        assert_eq!(told.iter().filter(|told| told.starts_with(key)).count(), 1, "{key}: {told:#?}");
    }
}

#[test]
fn jobs_without_a_body_are_told_one_by_one() {
    // All of it is in the database: what the log has of a job is not missing.
    let (dir, work) = directory(60, 0);
    let all = IdRange::new(JobId(64), 64);
    let lost: Vec<u64> =
        work.state.iter(all).flat_map(|(range, _)| range.iter().collect::<Vec<_>>()).map(|id| id.0).collect();
    assert!(lost.len() > 2);
    let home = SledRows::open(&dir.path().join("sled"), CACHE_BYTES).unwrap();
    let change = crate::store::home::BlockChange {
        block: 1,
        row: None,
        blobs: Default::default(),
        late: Default::default(),
    };
    home.store_blobs(&change).unwrap();
    drop(home);
    let mut wanted: Vec<String> = lost.iter().map(|id| format!("job {id}: its body is missing")).collect();
    let with = lost.iter().filter(|id| work.state.job(JobId(**id)).unwrap().spec.has_envelope);
    wanted.extend(with.map(|id| format!("job {id}: its envelope is missing")));
    let beside = [
        (Beside::Checkpoint, "checkpoint"),
        (Beside::Result, "result"),
        (Beside::Signals, "record of signals"),
    ];
    for (what, name) in beside {
        let with = lost.iter().filter(|id| work.state.job(JobId(**id)).unwrap().has(what));
        wanted.extend(with.map(|id| format!("job {id}: its {name} is missing")));
    }
    wanted.sort();
    let mut told = told(dir.path());
    told.sort();
    assert_eq!(told, wanted);
}

/// Of those that jobs say that they have, whether the log or the database should have them.
#[test]
fn checkpoints_and_results_that_are_missing_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (DiskStore::open(dir.path(), &options()).unwrap().0, Workload::default());
    let attached = [(3, Beside::Checkpoint), (4, Beside::Result), (4, Beside::Checkpoint)];
    let commits = std::iter::once(work.submit(10))
        .chain(attached.map(|(id, what)| work.attach(JobId(id), what)))
        .collect::<Vec<_>>();
    for (commit, number) in commits.iter().zip(1..) {
        store.append(CommitNo(number), commit).unwrap();
    }
    store.close(&work.state).unwrap();
    work.check_blobs(&mut store);
    drop(store);
    assert_eq!(told(dir.path()), [""; 0]);
    let home = SledRows::open(&dir.path().join("sled"), CACHE_BYTES).unwrap();
    let change = crate::store::home::BlockChange {
        block: 0,
        row: None,
        blobs: Default::default(),
        late: Default::default(),
    };
    home.store_blobs(&change).unwrap();
    drop(home);
    let mut told = told(dir.path());
    told.retain(|told| !told.contains("body"));
    told.sort();
    let lost = ["job 3: its checkpoint", "job 4: its checkpoint", "job 4: its result"];
    assert_eq!(told, lost.map(|what| format!("{what} is missing")));
}

/// Where its file is damaged, sled gives back a page as it was before: whole, with every checksum right, and older. Here it is put
/// there by hand.
#[test]
fn an_older_body_or_checkpoint_of_a_job_is_told_and_never_given() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (DiskStore::open(dir.path(), &options()).unwrap().0, Workload::default());
    let append = |store: &mut DiskStore, work: &Workload, commit: &crate::store::Commit| {
        store.append(CommitNo(work.commits), commit).unwrap();
    };
    let (body, checkpoint) = (JobId(3), JobId(15));
    let ids: Vec<JobId> = (1..=20).map(JobId).collect();
    let commit = work.submit(20);
    append(&mut store, &work, &commit);
    let commit = work.attach(checkpoint, Beside::Checkpoint);
    append(&mut store, &work, &commit);
    store.close(&work.state).unwrap();
    let row = |work: &Workload, kind, ids: &[JobId]| {
        let blob = |id: &JobId| Some((*id, work.blob(kind, *id, work.state.job(*id)?)?));
        encode_packed(ids[0], &ids.iter().filter_map(blob).collect::<Vec<_>>())
    };
    let old = [row(&work, Blob::Body, &ids), row(&work, Blob::Checkpoint, &[checkpoint])];
    for commit in [work.replace_body(body), work.attach(checkpoint, Beside::Checkpoint)] {
        store.append(store.durable().next(), &commit).unwrap();
    }
    store.close(&work.state).unwrap();
    // The row of the jobs is written again for another reason.
    let commit = work.delete(JobId(9));
    append(&mut store, &work, &commit);
    store.close(&work.state).unwrap();
    work.check_blobs(&mut store);
    drop(store);
    assert_eq!(told(dir.path()), [""; 0]);

    let home = SledRows::open(&dir.path().join("sled"), CACHE_BYTES).unwrap();
    home.spoil("bodies", &blob_key(ids[0], 0), &old[0]);
    home.spoil("checkpoints", &blob_key(checkpoint, 0), &old[1]);
    drop(home);
    let mut all = told(dir.path());
    all.sort();
    let others = ["job 15: its checkpoint", "job 3: its body"];
    assert_eq!(all, others.map(|what| format!("{what} is not the one that was stored last")));
    let mut store = DiskStore::open(dir.path(), &options()).unwrap().0;
    for (kind, id) in [(Blob::Body, body), (Blob::Checkpoint, checkpoint)] {
        let error = store.blob(kind, id).unwrap_err();
        let wanted = format!("the {kind} of job {id} is not the one that was stored last");
        assert!(matches!(error, BlobError::Damaged { .. }) && error.to_string().contains(&wanted), "{error}");
    }
    // Its neighbours in the same row are right, and it is refused again after one of them was read.
    for id in ids.iter().filter(|id| ![body, JobId(9)].contains(id)) {
        assert_eq!(store.blob(Blob::Body, *id).unwrap(), work.body_of(*id));
    }
    store.blob(Blob::Body, body).unwrap_err();
    // A backup is taken as it is, and tells it too; so does what is restored from it.
    let (mut backup, rows) = (Vec::new(), store.begin_backup().unwrap());
    rows.write(&mut backup, || store.backup_tail()).unwrap();
    store.end_backup();
    drop(rows);
    let mut all = Vec::new();
    crate::store::verify_backup(&backup[..], |defect| all.push(defect.to_string())).unwrap();
    all.sort();
    assert_eq!(all, others.map(|what| format!("{what} is not the one that was stored last")));
    let restored = tempfile::tempdir().unwrap();
    crate::store::restore(&backup[..], restored.path(), &options(), 0).unwrap();
    assert_eq!(told(restored.path()).len(), 2);

    // What the log has is what counts, and the next checkpoint brings it home.
    for commit in [work.replace_body(body), work.attach(checkpoint, Beside::Checkpoint)] {
        store.append(store.durable().next(), &commit).unwrap();
    }
    work.check_blobs(&mut store);
    drop(store);
    assert_eq!(told(dir.path()), [""; 0]);
    let mut store = DiskStore::open(dir.path(), &options()).unwrap().0;
    work.check_blobs(&mut store);
    store.close(&work.state).unwrap();
    work.check_blobs(&mut store);
    drop(store);
    assert_eq!(told(dir.path()), [""; 0]);
}

#[test]
fn rows_that_are_newer_than_the_log_are_told() {
    let (dir, _) = directory(40, 0);
    let (files, home) = (fs::read_dir(dir.path().join("log")).unwrap(), dir.path().join("sled"));
    let log: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    let database = SledRows::open(&home, CACHE_BYTES).unwrap();
    let row = crate::store::codec::BlockRow::new(CommitNo(900), Vec::new());
    database.spoil("jobs", &77u64.to_be_bytes(), &row.encode());
    drop(database);
    let told = told(dir.path());
    assert!(log.len() > 1 && told.iter().any(|told| told.contains("reflects commit 900")), "{told:?}");
}

/// Many parts of the database's file: sled passes over the first, and over all behind it.
#[test]
fn every_damaged_part_of_the_databases_file_is_told() {
    let (dir, db) = (tempfile::tempdir().unwrap(), |dir: &TempDir| dir.path().join("sled/db"));
    let (mut store, mut work) = (DiskStore::open(dir.path(), &options()).unwrap().0, Workload::default());
    for round in 0..30 {
        let commit = work.submit(1_000);
        store.append(CommitNo(work.commits), &commit).unwrap();
        if round % 10 == 0 {
            store.close(&work.state).unwrap();
        }
    }
    store.close(&work.state).unwrap();
    drop(store);
    assert!(fs::metadata(db(&dir)).unwrap().len() > 2 * (8 << 20), "there are several segments");
    // What was written again has left parts of the file that nothing reads: damage there is no matter.
    let mut bytes = fs::read(db(&dir)).unwrap();
    for nth in 1..=24 {
        let at = nth * bytes.len() / 25;
        bytes[at..][..64 << 10].iter_mut().for_each(|byte| *byte ^= 4);
    }
    fs::write(db(&dir), bytes).unwrap();
    let told = told(dir.path());
    let parts: Vec<&String> = told.iter().filter(|told| told.contains("are not what was written")).collect();
    assert!(parts.len() > 2, "{told:?}");
}

#[test]
fn what_is_no_data_directory_or_in_use_or_newer_is_refused() {
    let (dir, _) = directory(3, 1);
    let store = DiskStore::open(dir.path(), &options()).unwrap().0;
    let error = refused(dir.path());
    assert!(matches!(&error, VerifyError::InUse { pid, .. } if *pid == std::process::id().to_string()));
    assert!(error.to_string().contains("musher backup - | musher verify --backup -"), "{error}");
    drop(store);
    fs::write(dir.path().join("FORMAT"), "musher data format 999\n").unwrap();
    assert!(
        refused(dir.path())
            .to_string()
            .contains("has format 999, this version of musher knows formats up to")
    );
    fs::write(dir.path().join("FORMAT"), "musher data\n").unwrap();
    assert_eq!(verify_untouched(dir.path()).len(), 1);
    fs::remove_file(dir.path().join("FORMAT")).unwrap();
    assert!(told(dir.path())[0].ends_with("FORMAT: the file is missing"));
    for part in ["log", "sled"] {
        fs::remove_dir_all(dir.path().join(part)).unwrap();
    }
    for path in [dir.path().to_owned(), dir.path().join("lock"), dir.path().join("nowhere")] {
        assert!(matches!(refused(&path), VerifyError::NotData { .. }));
    }
}

#[test]
fn a_log_or_a_database_that_is_gone_is_told() {
    for part in ["log", "sled"] {
        let (dir, _) = directory(70, 3);
        fs::remove_dir_all(dir.path().join(part)).unwrap();
        assert!(!told(dir.path()).is_empty(), "{part}");
    }
    // A start that was cut off before it made anything.
    let dir = tempfile::tempdir().unwrap();
    migrations::write_format(dir.path()).unwrap();
    assert_eq!(verify_untouched(dir.path()), []);
}
