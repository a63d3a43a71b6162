//! A disk that is full: a small file system of memory, filled up beside the data. Mounting needs root.

use super::home::Rows;
use super::home::sled::RewriteError;
use super::skipped::skipped;
use super::workload::{Workload, assert_same};
use super::*;
use crate::clock::monotonic;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A file system of its own; unmounted when it is dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and a loud word, where nothing can be mounted.
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=192M,mode=700", "musher-test"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(SmallDisk { dir });
        }
        skipped("a small file system cannot be mounted here (that needs root)");
        None
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Takes all space.
    fn fill(&self) {
        let path = self.dir.path().join("filler");
        let file = fs::File::options().create(true).append(true).open(&path).unwrap();
        let mut part = 1 << 30;
        // The store's own threads take and give space meanwhile.
        while part >= 4096 {
            part = part.min(self.free()) / 4096 * 4096;
            let end = file.metadata().unwrap().len();
            if part > 0
                && rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), end, part).is_err()
            {
                part /= 2;
            }
        }
    }

    fn clear(&self) {
        fs::remove_file(self.dir.path().join("filler")).unwrap();
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(self.dir.path()).unwrap();
        found.f_bavail * found.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

const BALLAST: u64 = 16 << 20;

fn options() -> Options {
    Options {
        log_file_bytes: 256 << 10,
        cache_bytes: 4 << 20,
        disk_reserve_bytes: 8 << 20,
        ballast_bytes: BALLAST,
        checkpoint_interval: Duration::from_millis(1),
        shrink_above_bytes: u64::MAX,
        ..Options::default()
    }
}

fn open(dir: &Path) -> (DiskStore, Recovered) {
    DiskStore::open(dir, &options()).unwrap()
}

/// Time goes on: housekeeping as the loop does it.
fn housekeep(store: &mut DiskStore, work: &mut Workload) {
    work.time = work.time.plus(Duration::from_millis(300));
    store.maintain(&work.state, work.time).unwrap();
}

/// A commit, and housekeeping. What failed has not happened.
fn commit(store: &mut DiskStore, work: &mut Workload, seed: u32) -> Result<(), AppendError> {
    let before = work.clone();
    let commit = work.random(seed);
    let appended = store.append(CommitNo(work.commits), &commit).map(drop);
    if appended.is_ok() {
        housekeep(store, work);
    } else {
        *work = before;
    }
    appended
}

/// Some jobs in the database, some and `many` others in the log, then no space at all.
fn fill_up(disk: &SmallDisk, many: u64) -> (DiskStore, Workload) {
    let (mut store, mut work) = (open(&disk.data()).0, Workload::default());
    for seed in 0..40 {
        commit(&mut store, &mut work, seed).unwrap();
    }
    store.close(&work.state).unwrap();
    for seed in 40..50 {
        commit(&mut store, &mut work, seed).unwrap();
    }
    assert_eq!(store.room(), Room::Enough);
    if many > 0 {
        let commit = work.submit(many);
        store.append(CommitNo(work.commits), &commit).unwrap();
    }
    disk.fill();
    housekeep(&mut store, &mut work);
    assert!(matches!(store.room(), Room::DiskLow { .. }), "new jobs are refused");
    (store, work)
}

/// Housekeeping until all is in the database.
fn until_home(store: &mut DiskStore, work: &mut Workload) {
    let (_nobody, pause) = std::sync::mpsc::channel::<()>();
    for _ in 0..6000 {
        if store.home.meta().unwrap().unwrap().home.0 == work.commits {
            return;
        }
        housekeep(store, work);
        let _ = pause.recv_timeout(Duration::from_millis(5)); // between two looks
    }
    let home = store.home.meta().unwrap().unwrap().home;
    panic!("the store does not recover: {home:?} of {}, {:?}", work.commits, store.room());
}

fn check(dir: &Path, work: &Workload) -> DiskStore {
    let (mut store, found) = open(dir);
    assert_same(&found.state, &work.state);
    assert_eq!(found.last, CommitNo(work.commits));
    work.check_blobs(&mut store);
    store
}

fn ballast(disk: &SmallDisk) -> u64 {
    fs::metadata(disk.data().join("ballast")).map_or(0, |file| file.len())
}

#[test]
fn on_a_full_disk_settles_go_on_and_with_space_again_all_does() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (mut store, mut work) = fill_up(&disk, 0);
    // A checkpoint that had begun may still end, if it finds the room; another does not begin.
    let filled = CommitNo(work.commits);
    for seed in 50..300 {
        commit(&mut store, &mut work, seed).unwrap();
    }
    assert_eq!(ballast(&disk), 0, "it was given up");
    assert!(disk.free() > BALLAST / 2, "for commits only");
    assert!(store.home.meta().unwrap().unwrap().home <= filled, "the database waits");
    work.check_blobs(&mut store);

    disk.clear();
    until_home(&mut store, &mut work);
    assert_eq!((store.room(), ballast(&disk)), (Room::Enough, BALLAST));
    commit(&mut store, &mut work, 400).unwrap();
    drop(store);
    check(&disk.data(), &work);
}

/// Whatever of the database's was on the way to the disk when it was full: it is opened anew, and nothing is missing.
#[test]
fn a_database_that_met_the_full_disk_is_opened_anew() {
    let Some(disk) = SmallDisk::mount() else { return };
    // About 1 KiB each: more than the space that the ballast gives back. With it the database grows to some 90 MB.
    let (mut store, mut work) = fill_up(&disk, 24_000);
    assert!(store.close(&work.state).is_err(), "the database has no space");
    for seed in 50..100 {
        commit(&mut store, &mut work, seed).unwrap();
    }
    disk.clear();
    until_home(&mut store, &mut work);
    work.check_blobs(&mut store);
    drop(store);
    check(&disk.data(), &work);
}

/// The copy meets the end of the disk: it is thrown away, and commits and checkpoints go on in the old home.
#[test]
fn a_rewrite_that_meets_the_full_disk_costs_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (mut store, mut work) = (open(&disk.data()).0, Workload::default());
    let many = work.submit(4000);
    store.append(CommitNo(work.commits), &many).unwrap();
    store.close(&work.state).unwrap();
    let mut is_full = false;
    let failed = store.home.rows().rewrite(&mut |_| {
        if !std::mem::replace(&mut is_full, true) {
            disk.fill();
        }
        Ok(())
    });
    assert!(matches!(&failed, Err(RewriteError::Home(error)) if error.is_full()), "{failed:?}");
    assert!(!disk.data().join("sled.new").exists());
    work.check_blobs(&mut store);
    housekeep(&mut store, &mut work);
    for seed in 50..100 {
        commit(&mut store, &mut work, seed).unwrap();
    }
    disk.clear();
    until_home(&mut store, &mut work);
    store.home.rows().rewrite(&mut |_| Ok(())).unwrap();
    work.check_blobs(&mut store);
    drop(store);
    check(&disk.data(), &work);
}

#[test]
fn when_the_ballast_too_is_used_up_it_ends_with_the_data_whole() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (mut store, mut work) = fill_up(&disk, 0);
    let failed = (50..100_000).find_map(|seed| commit(&mut store, &mut work, seed).err()).unwrap();
    assert!(matches!(failed, AppendError::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull));
    assert!(disk.free() < 1 << 20, "all of it is used");
    assert!(commit(&mut store, &mut work, 1).is_err(), "and nothing more is taken");
    drop(store);
    let error = DiskStore::open(&disk.data(), &options()).unwrap_err().to_string();
    assert!(error.contains("free some space"), "{error}");
    disk.clear();
    check(&disk.data(), &work);
}

#[test]
fn a_disk_that_cannot_be_written_to_is_refused_untouched() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (mut store, mut work) = (open(&disk.data()).0, Workload::default());
    commit(&mut store, &mut work, 1).unwrap();
    drop(store);
    let remount =
        |how| Command::new("mount").args(["-o", how]).arg(disk.dir.path()).status().unwrap().success();
    // It is busy as long as a child that another test starts at this moment has our files, until it becomes its program.
    let deadline = monotonic() + Duration::from_secs(10);
    while !remount("remount,ro") {
        assert!(monotonic() < deadline, "somebody writes there");
    }
    for data in [disk.data(), disk.dir.path().join("new")] {
        let error = DiskStore::open(&data, &options()).unwrap_err().to_string();
        assert!(error.contains("Read-only file system") && error.contains(data.to_str().unwrap()), "{error}");
    }
    assert!(remount("remount,rw"));
    check(&disk.data(), &work);
}

#[test]
fn a_start_on_a_full_disk_takes_the_ballast() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (store, mut work) = fill_up(&disk, 0);
    drop(store);
    disk.fill();
    assert_eq!(ballast(&disk), BALLAST);
    let mut store = check(&disk.data(), &work);
    assert_eq!(ballast(&disk), 0);
    for seed in 50..60 {
        commit(&mut store, &mut work, seed).unwrap();
    }
    drop(store);
    disk.clear();
    check(&disk.data(), &work);
}

/// The first start of a new version raises the format of the directory before it opens anything else.
#[test]
fn a_new_version_on_a_full_disk_takes_the_ballast_to_raise_the_format() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (store, mut work) = fill_up(&disk, 0);
    drop(store);
    let format = disk.data().join("FORMAT");
    let newest = fs::read_to_string(&format).unwrap();
    fs::write(&format, "musher data format 1\n").unwrap();
    disk.fill();
    assert_eq!(ballast(&disk), BALLAST);
    let mut store = check(&disk.data(), &work);
    assert_eq!((ballast(&disk), fs::read_to_string(&format).unwrap()), (0, newest));
    commit(&mut store, &mut work, 50).unwrap();
    drop(store);

    // Without one, the error says what helps, and the directory stays as it is.
    fs::write(&format, "musher data format 1\n").unwrap();
    disk.fill();
    let error = DiskStore::open(&disk.data(), &options()).unwrap_err().to_string();
    assert!(error.contains("FORMAT") && error.contains("free some space"), "{error}");
    assert_eq!(fs::read_to_string(&format).unwrap(), "musher data format 1\n");
    disk.clear();
    check(&disk.data(), &work);
}
