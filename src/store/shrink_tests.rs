//! The home is rewritten: cut off or failing at any step it stays whole, and the space is given back.

use super::disk::tests::{append, check, copy, options};
use super::home::sled::{RewriteError, Step};
use super::workload::Workload;
use super::*;
use crate::core::{IdRange, JobId};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Jobs in the database, some of them gone, and commits behind the last checkpoint.
fn filled(dir: &Path) -> (DiskStore, Workload) {
    let (mut store, mut work) = (DiskStore::open(dir, &options()).unwrap().0, Workload::default());
    append(&mut store, &mut work, 0..40);
    let many = work.submit(4000);
    store.append(CommitNo(work.commits), &many).unwrap();
    store.close(&work.state).unwrap();
    append(&mut store, &mut work, 40..60);
    (store, work)
}

fn database(dir: &Path) -> u64 {
    fs::metadata(dir.join("sled/db")).unwrap().len()
}

/// What a crash has left is read, worked with, and read again.
fn check_twice(dir: &Path, work: &Workload) {
    let (mut store, mut work) = (check(dir, work), work.clone());
    assert!(!dir.join("sled.new").exists(), "what a rewrite has left is gone");
    append(&mut store, &mut work, 100..110);
    store.close(&work.state).unwrap();
    append(&mut store, &mut work, 110..112);
    drop(store);
    drop(check(dir, &work));
}

const STEPS: [Step; 7] =
    [Step::Copied, Step::Filled, Step::Compared, Step::Synced, Step::Exchanged, Step::InUse, Step::Removed];

#[test]
fn a_rewrite_may_be_cut_at_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = filled(dir.path());
    let mut killed = Vec::new();
    store
        .home
        .rows()
        .rewrite(&mut |step| {
            killed.push((step, copy(dir.path())));
            Ok(())
        })
        .unwrap();
    let steps: HashSet<String> = killed.iter().map(|(step, _)| format!("{step:?}")).collect();
    assert_eq!(steps.len(), STEPS.len(), "{steps:?}");
    for (_, dir) in &killed {
        check_twice(dir.path(), &work);
    }
    work.check_blobs(&mut store);
    append(&mut store, &mut work, 60..70);
    store.close(&work.state).unwrap();
    append(&mut store, &mut work, 70..75);
    drop(store);
    check_twice(dir.path(), &work);
}

/// A power cut may leave anything of a copy that was not synced, under the name of the copy.
#[test]
fn whatever_is_left_of_a_copy_is_no_concern_of_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, work) = filled(dir.path());
    drop(store);
    let copy = dir.path().join("sled.new");
    fs::create_dir_all(copy.join("blobs")).unwrap();
    fs::write(copy.join("blobs/1"), "?").unwrap();
    fs::write(copy.join("db"), vec![7; 100_000]).unwrap();
    check_twice(dir.path(), &work);
}

#[test]
fn a_rewrite_that_fails_at_any_step_costs_nothing() {
    for wanted in STEPS {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut work) = filled(dir.path());
        let failed = store.home.rows().rewrite(&mut |step| match step {
            step if step == wanted => Err(RewriteError::NoRoom),
            _ => Ok(()),
        });
        assert!(matches!(failed, Err(RewriteError::NoRoom)), "{wanted:?}");
        if wanted == Step::Exchanged {
            // Which of the two a start would find is not known, so nothing is written to either.
            append(&mut store, &mut work, 60..70);
            assert!(store.close(&work.state).is_err());
            let (exchanged, not_yet) = (copy(dir.path()), copy(dir.path()));
            drop(store);
            let name = |name: &str| not_yet.path().join(name);
            for (from, to) in [("sled", "other"), ("sled.new", "sled"), ("other", "sled.new")] {
                fs::rename(name(from), name(to)).unwrap();
            }
            [exchanged, not_yet].iter().for_each(|dir| check_twice(dir.path(), &work));
            continue;
        }
        work.check_blobs(&mut store);
        append(&mut store, &mut work, 60..70);
        store.close(&work.state).unwrap();
        append(&mut store, &mut work, 70..75);
        assert_eq!(dir.path().join("sled.new").exists(), wanted == Step::InUse, "{wanted:?}");
        // The next one succeeds.
        store.home.rows().rewrite(&mut |_| Ok(())).unwrap();
        work.check_blobs(&mut store);
        drop(store);
        check_twice(dir.path(), &work);
    }
}

/// The kernel refuses to exchange the names.
#[test]
fn a_failed_exchange_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = filled(dir.path());
    let failed = store.home.rows().rewrite(&mut |step| {
        if step == Step::Synced {
            fs::remove_dir_all(dir.path().join("sled.new")).unwrap();
        }
        Ok(())
    });
    assert!(matches!(failed, Err(RewriteError::Io { .. })), "{failed:?}");
    work.check_blobs(&mut store);
    append(&mut store, &mut work, 60..70);
    store.close(&work.state).unwrap();
    drop(store);
    check_twice(dir.path(), &work);
}

/// The log's disk has failed meanwhile: nothing is changed any more.
#[test]
fn a_home_that_was_given_up_keeps_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (store, work) = filled(dir.path());
    let before = inode(dir.path());
    let failed = store.home.rows().rewrite(&mut |step| {
        if step == Step::Synced {
            store.home.rows().give_up();
        }
        Ok(())
    });
    assert!(matches!(failed, Err(RewriteError::Home(_))), "{failed:?}");
    assert_eq!(inode(dir.path()), before);
    check_twice(copy(dir.path()).path(), &work);
}

/// sled's lock may outlive a close for a moment.
fn open_copy(path: &Path) -> sled::Db {
    let (_nobody, pause) = std::sync::mpsc::channel::<()>();
    let config = sled::Config::new().path(path).segment_size(8 << 20).flush_every_ms(None);
    for _ in 0..1000 {
        if let Ok(db) = config.open() {
            return db;
        }
        let _ = pause.recv_timeout(Duration::from_millis(5)); // between two tries
    }
    config.open().unwrap()
}

/// A copy that lacks a row, or has an old one, takes nobody's place.
#[test]
fn a_copy_that_does_not_read_as_it_was_written_is_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, work) = filled(dir.path());
    let failed = store.home.rows().rewrite(&mut |step| {
        if step == Step::Filled {
            let db = open_copy(&dir.path().join("sled.new"));
            let bodies = db.open_tree("bodies").unwrap();
            let (key, _) = bodies.first().unwrap().unwrap();
            bodies.remove(key).unwrap();
        }
        Ok(())
    });
    assert!(matches!(failed, Err(RewriteError::Differs { .. })), "{failed:?}");
    work.check_blobs(&mut store);
    drop(store);
    check_twice(dir.path(), &work);
}

/// A crash has cut off a checkpoint, so rows are ahead of their sum: a copy keeps that.
#[test]
fn a_home_in_the_middle_of_a_checkpoint_can_be_written_anew() {
    for rows in [1, 4, 9, 20] {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, work) = filled(dir.path());
        store.home.cut_after(rows);
        assert!(store.close(&work.state).is_err());
        store.home.rows().rewrite(&mut |_| Ok(())).unwrap();
        drop(store);
        check_twice(dir.path(), &work);
    }
}

/// Bodies and a backup are read while the home is written anew, and its rows afterwards.
#[test]
fn reads_go_on_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, work) = filled(dir.path());
    let rows = store.begin_backup().unwrap();
    let mut backup = Vec::new();
    let home = store.home.rows().clone();
    let mut reads = 0;
    let backed_up = std::thread::scope(|scope| {
        let (tail, out) = (store.backup_tail(), &mut backup);
        let reader = scope.spawn(move || rows.write(out, || tail).unwrap());
        home.rewrite(&mut |_| {
            work.check_blobs(&mut store);
            reads += 1;
            Ok(())
        })
        .unwrap();
        reader.join().unwrap()
    });
    assert!(reads >= STEPS.len());
    assert_eq!(backed_up, CommitNo(work.commits));
    let restored = tempfile::tempdir().unwrap();
    let target = restored.path().join("data");
    restore(&backup[..], &target, &options(), 0).unwrap();
    check_twice(&target, &work);
}

/// Time goes on until the store has said what became of the space.
fn until_shrunk(store: &mut DiskStore, work: &Workload) -> Shrunk {
    let (_nobody, pause) = std::sync::mpsc::channel::<()>();
    let mut now = work.time;
    for _ in 0..6000 {
        now = now.plus(Duration::from_millis(300));
        store.maintain(&work.state, now).unwrap();
        if let Some(news) = store.shrunk() {
            return news;
        }
        let _ = pause.recv_timeout(Duration::from_millis(5)); // between two looks
    }
    panic!("nothing is given back");
}

#[test]
fn after_a_backlog_was_worked_off_the_space_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let shrinking = Options { shrink_above_bytes: Options::default().shrink_above_bytes, ..options() };
    let (mut store, _) = DiskStore::open(dir.path(), &shrinking).unwrap();
    let mut work = Workload::default();
    for _ in 0..15 {
        let many = work.submit(4000);
        store.append(CommitNo(work.commits), &many).unwrap();
        store.close(&work.state).unwrap();
    }
    let before = database(dir.path());
    assert!(before > 60 << 20, "{before}");
    assert_eq!(store.shrunk(), None, "most of it lives");
    let gone = work.delete_all();
    store.append(CommitNo(work.commits), &gone).unwrap();
    append(&mut store, &mut work, 0..20);
    let news = until_shrunk(&mut store, &work);
    let after = database(dir.path());
    assert!(after <= 24 << 20, "{after}");
    assert!(matches!(news, Shrunk::Done { before, .. } if before > 60 << 20), "{news:?}");
    work.check_blobs(&mut store);
    drop(store);
    check_twice(dir.path(), &work);
}

/// A long queue that is gone, and a file that is as large as before.
fn bloated(dir: &Path) -> Workload {
    let (mut store, mut work) = filled(dir);
    let gone = work.delete_all();
    store.append(CommitNo(work.commits), &gone).unwrap();
    append(&mut store, &mut work, 60..70);
    store.close(&work.state).unwrap();
    assert!(store.home.rows().slack(0).unwrap().is_some(), "there is something to give back");
    assert_eq!(store.home.rows().slack(u64::MAX).unwrap(), None);
    work
}

/// What lives was counted while that was little, and is known ever since: a fifth of the file is seen at once.
#[test]
fn a_file_that_has_grown_and_is_mostly_dead_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (DiskStore::open(dir.path(), &options()).unwrap().0, Workload::default());
    assert_eq!(store.home.rows().slack(1 << 20).unwrap(), None);
    for _ in 0..20 {
        let many = work.submit(4000);
        store.append(CommitNo(work.commits), &many).unwrap();
        store.close(&work.state).unwrap();
    }
    assert!(database(dir.path()) > 64 << 20);
    assert_eq!(store.home.rows().slack(0).unwrap(), None, "most of it lives");
    let gone = work.delete_range(IdRange::new(JobId(1), 48_000));
    store.append(CommitNo(work.commits), &gone).unwrap();
    store.close(&work.state).unwrap();
    let slack = store.home.rows().slack(0).unwrap().expect("a fifth of it lives");
    assert!(slack.live > slack.file / 8, "{slack:?}");
}

fn inode(dir: &Path) -> u64 {
    fs::metadata(dir.join("sled/db")).unwrap().ino()
}

/// A daemon that was killed before it came to it, and then has nothing to do.
#[test]
fn a_start_gives_back_what_its_former_life_did_not() {
    let dir = tempfile::tempdir().unwrap();
    let (work, before) = (bloated(dir.path()), inode(dir.path()));
    let shrinking = Options { shrink_above_bytes: 0, ..options() };
    let (mut store, _) = DiskStore::open(dir.path(), &shrinking).unwrap();
    assert!(matches!(until_shrunk(&mut store, &work), Shrunk::Done { .. }));
    assert_ne!(inode(dir.path()), before);
    work.check_blobs(&mut store);
    drop(store);
    check_twice(dir.path(), &work);
}

#[test]
fn without_room_for_a_copy_none_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (mut work, before) = (bloated(dir.path()), inode(dir.path()));
    let crowded = Options { shrink_above_bytes: 0, disk_reserve_bytes: u64::MAX / 2, ..options() };
    let (mut store, _) = DiskStore::open(dir.path(), &crowded).unwrap();
    // So that a checkpoint has ended, and the thread has looked.
    append(&mut store, &mut work, 70..80);
    store.close(&work.state).unwrap();
    assert_eq!(store.shrunk(), None);
    drop(store);
    assert_eq!(inode(dir.path()), before);
    check_twice(dir.path(), &work);
}
