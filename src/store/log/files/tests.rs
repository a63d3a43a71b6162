//! What a crash may do to the log, and what only damage can.

use super::*;
use crate::core::Time;
use proptest::prelude::*;
use std::collections::BTreeMap;

const FILE_BYTES: u64 = 4096;

type Payloads = Vec<(u64, Vec<u8>)>;

fn open(dir: &Path, home: u64) -> Result<(Files, Payloads), LogError> {
    let mut payloads = Vec::new();
    let log = Files::open(dir, FILE_BYTES, CommitNo(home), |place, payload| {
        payloads.push((place.number.0, payload.to_vec()));
        Ok::<(), LogError>(())
    })?;
    Ok((log, payloads))
}

fn payload(number: u64) -> Vec<u8> {
    format!("commit {number} ").repeat(1 + number as usize % 40).into_bytes()
}

fn append(log: &mut Files, count: u64) {
    for _ in 0..count {
        let bytes = payload(log.last().next().0);
        log.append(|out| out.extend(bytes), || false).unwrap();
    }
}

fn expected(numbers: std::ops::RangeInclusive<u64>) -> Payloads {
    numbers.map(|number| (number, payload(number))).collect()
}

/// Every file and what is in it.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The file that a record begins in, and where.
fn find(dir: &Path, number: u64) -> (PathBuf, usize) {
    let files = contents(dir).into_iter().filter(|(path, _)| path.extension().is_some());
    let salt = |bytes: &[u8]| file::read_header(bytes).unwrap().0;
    files
        .filter_map(|(path, bytes)| {
            let places = (FILE_HEADER..bytes.len()).step_by(record::ALIGN);
            let mut found =
                places.filter_map(|at| Some((at, record::read(salt(&bytes), &bytes, at)?.number)));
            found.find(|(_, found)| found.0 == number).map(|(at, _)| (path, at))
        })
        .next()
        .unwrap()
}

fn damage(path: &Path, at: usize, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes[at..]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_appended_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 100);
    let (mut log, payloads) = open(dir.path(), 0).unwrap();
    assert_eq!(payloads, expected(1..=100));
    append(&mut log, 1);
    drop(log);
    assert_eq!(open(dir.path(), 60).unwrap().1, expected(61..=101));
}

#[test]
fn a_tail_torn_at_any_byte_is_left_out_and_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 9);
    let (path, at) = find(dir.path(), 9);
    let whole = fs::read(&path).unwrap();
    let len = record::size(payload(9).len());
    for torn in 0..record::HEADER + payload(9).len() {
        fs::write(&path, &whole).unwrap();
        // A power loss before the sync: then there is no word of it either.
        let _ = fs::remove_file(mark::path(dir.path()));
        damage(&path, at, |bytes| bytes[torn..len].fill(0));
        if fs::read(&path).unwrap() == whole {
            continue; // only zeros were torn off
        }
        let (mut log, payloads) = open(dir.path(), 0).unwrap();
        assert_eq!(payloads, expected(1..=8), "torn at {torn}");
        append(&mut log, 3);
        drop(log);
        assert_eq!(open(dir.path(), 0).unwrap().1, expected(1..=11));
    }
}

#[test]
fn damage_before_a_whole_record_is_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 60);
    let clean = contents(dir.path());
    for number in [1, 7, 20, 59] {
        let (path, at) = find(dir.path(), number);
        for offset in [0, 9, record::HEADER + 3] {
            damage(&path, at + offset, |bytes| bytes[0] ^= 1);
            let before = contents(dir.path());
            let error = open(dir.path(), 0).unwrap_err().to_string();
            assert!(error.contains("log"), "{error}");
            assert_eq!(contents(dir.path()), before, "{number} {offset}");
            fs::write(&path, &clean[&path]).unwrap();
        }
    }
    assert_eq!(open(dir.path(), 0).unwrap().1, expected(1..=60));
}

/// What was acknowledged and is not whole is damage, also if nothing came after it.
#[test]
fn damage_of_the_newest_record_is_no_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 9);
    let (path, at) = find(dir.path(), 9);
    for offset in [0, 9, record::HEADER + 3] {
        damage(&path, at + offset, |bytes| bytes[0] ^= 1);
        let error = open(dir.path(), 0).unwrap_err();
        assert!(matches!(error, LogError::Short { last: CommitNo(8), durable: CommitNo(9), .. }), "{error}");
        damage(&path, at + offset, |bytes| bytes[0] ^= 1);
    }
    assert_eq!(open(dir.path(), 0).unwrap().1, expected(1..=9));
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 9);
    let (path, at) = find(dir.path(), 6);
    fs::File::options().write(true).open(&path).unwrap().set_len(at as u64).unwrap();
    let error = open(dir.path(), 0).unwrap_err().to_string();
    assert!(error.contains("cut off") && error.contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn the_error_names_file_place_and_commit() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 9);
    let (path, at) = find(dir.path(), 4);
    damage(&path, at + record::HEADER, |bytes| bytes[0] ^= 1);
    match open(dir.path(), 0).unwrap_err() {
        LogError::Damaged { path: named, offset, commit, .. } => {
            assert_eq!((named, offset, commit), (path, at as u64, CommitNo(4)));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_missing_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 60);
    for number in [1, 30] {
        let (path, _) = find(dir.path(), number);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(open(dir.path(), 0), Err(LogError::Gap { .. })), "{number}");
        fs::write(&path, bytes).unwrap();
    }
    assert!(open(dir.path(), 0).is_ok());
}

/// The newest commit can be told from one that was torn soon after its answers have left, and when the log was closed.
#[test]
fn how_far_the_log_is_synced_is_noted_behind_the_answers_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 0).unwrap().0;
    append(&mut log, 3);
    assert_eq!(mark::read(dir.path(), log.salt), None);
    let due = log.note_synced(Time(5));
    assert_eq!((due, mark::read(dir.path(), log.salt)), (Some(Time(15)), None));
    append(&mut log, 1);
    assert_eq!(log.note_synced(Time(14)), due, "however many come meanwhile");
    assert_eq!(log.note_synced(Time(15)), None);
    assert_eq!(mark::read(dir.path(), log.salt), Some(CommitNo(4)));
    assert_eq!(log.note_synced(Time(99)), None, "nothing is new");
    append(&mut log, 1);
    assert_eq!(log.note_synced(Time(100)), Some(Time(110)));
    assert_eq!(mark::read(dir.path(), log.salt), Some(CommitNo(4)));
    drop(log);
    let (path, at) = find(dir.path(), 5);
    damage(&path, at, |bytes| bytes[0] ^= 1);
    let error = open(dir.path(), 0).unwrap_err().to_string();
    assert!(error.contains("mark"), "a log that was closed is known to its end: {error}");
}

#[test]
fn bytes_in_a_body_never_pass_for_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut fake = vec![0; record::HEADER];
    fake.extend(b"what a client may know");
    record::seal(0, CommitNo(3), &mut fake);
    let mut log = open(dir.path(), 0).unwrap().0;
    append(&mut log, 1);
    log.append(|out| out.extend(&fake), || false).unwrap();
    drop(log);
    let (path, at) = find(dir.path(), 2);
    damage(&path, at, |bytes| bytes[0] ^= 1);
    fs::remove_file(mark::path(dir.path())).unwrap();
    assert_eq!(open(dir.path(), 0).unwrap().1, expected(1..=1));
}

#[test]
fn files_are_reused_and_the_disk_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 0).unwrap().0;
    append(&mut log, 400);
    assert!(contents(dir.path()).len() > 10);
    for _ in 0..30 {
        append(&mut log, 20);
        log.free(log.last());
    }
    let (last, names) = (log.last().0, log.next_file);
    append(&mut log, 5);
    drop(log);
    let files = contents(dir.path()).into_keys().filter(|path| path.extension().is_some_and(|e| e == "log"));
    assert!(files.count() <= 3, "active, one before it, one spare");
    assert!(names < 130, "{names} files were made for 1,000 commits, most of them before the first was free");
    assert_eq!(open(dir.path(), last).unwrap().1, expected(last + 1..=last + 5));
}

/// A sync of a file that must still find its blocks takes half as long again, and may find none.
#[test]
fn a_file_made_in_advance_has_all_its_blocks() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let file = LogFile::create_full(dir.path(), 1, 7, 1 << 20).unwrap();
    let found = fs::metadata(&file.path).unwrap();
    assert_eq!(found.len(), 1 << 20);
    assert!(found.blocks() * 512 >= 1 << 20, "{} blocks", found.blocks());
}

#[test]
fn a_record_larger_than_a_file_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 0).unwrap().0;
    append(&mut log, 3);
    let large = vec![7; 5 * FILE_BYTES as usize];
    log.append(|out| out.extend(&large), || false).unwrap();
    append(&mut log, 3);
    drop(log);
    let (mut log, payloads) = open(dir.path(), 0).unwrap();
    assert_eq!(payloads.len(), 7);
    assert_eq!(payloads[3], (4, large));
    log.free(CommitNo(7));
    assert!(log.bytes() <= FILE_BYTES);
}

#[test]
fn a_file_of_another_log_and_a_broken_header_are_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    append(&mut open(dir.path(), 0).unwrap().0, 3);
    append(&mut open(other.path(), 0).unwrap().0, 3);
    let (path, _) = find(other.path(), 1);
    let foreign = dir.path().join("00000000000000ff.log");
    fs::copy(&path, &foreign).unwrap();
    assert!(open(dir.path(), 0).unwrap_err().to_string().contains("another log"));
    fs::remove_file(foreign).unwrap();
    let (path, _) = find(dir.path(), 1);
    damage(&path, 20, |bytes| bytes[0] ^= 1);
    assert!(open(dir.path(), 0).unwrap_err().to_string().contains("header"));
}

#[test]
fn an_unfinished_file_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), 0).unwrap().0, 3);
    let unfinished = dir.path().join("00000000000000ff.new");
    fs::write(&unfinished, b"half").unwrap();
    assert_eq!(open(dir.path(), 0).unwrap().1, expected(1..=3));
    assert!(!unfinished.exists());
}

#[test]
fn a_failed_write_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 0).unwrap().0;
    append(&mut log, 3);
    log.active = LogFile::open(PathBuf::from("/dev/full"), FILE_BYTES).unwrap();
    let mut asked = 0;
    let full = log
        .append(
            |out| out.push(1),
            || {
                asked += 1;
                true
            },
        )
        .unwrap_err();
    assert_eq!((full.kind(), asked), (io::ErrorKind::StorageFull, 1));
    assert!(log.is_poisoned());
    assert!(log.append(|out| out.push(1), || false).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Appends, checkpoints and crashes in any order: what was appended is there.
    #[test]
    fn nothing_appended_is_lost(steps in prop::collection::vec((0u64..30, any::<bool>(), any::<bool>()), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut home) = (open(dir.path(), 0).unwrap().0, 0);
        for (count, checkpoint, crash) in steps {
            append(&mut log, count);
            let last = log.last().0;
            if checkpoint {
                home = last - last % 3;
                log.free(CommitNo(home));
            }
            if crash {
                drop(log);
                let (reopened, payloads) = open(dir.path(), home).unwrap();
                prop_assert_eq!(payloads, expected(home + 1..=last));
                log = reopened;
            }
        }
    }
}

/// The thread was slow: its file came only after others had come free. The directory stays at two then.
#[test]
fn a_file_that_was_made_too_late_is_one_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 0).unwrap().0;
    append(&mut log, 200);
    log.free(log.last());
    let count = || file::list(dir.path()).unwrap().whole.len();
    let (_nobody, pause) = std::sync::mpsc::channel::<()>();
    for _ in 0..6000 {
        log.receive_spare();
        if count() <= 2 {
            return;
        }
        let _ = pause.recv_timeout(std::time::Duration::from_millis(5)); // between two looks
    }
    panic!("{} files are left", count());
}
