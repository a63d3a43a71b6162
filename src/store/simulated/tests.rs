//! The simulated store keeps the contract of the real one, and its faults are the ones that were asked for.

use super::*;
use crate::core::{IdRange, JobId, Time};
use crate::store::contract;
use crate::store::logged::OnCommit;
use crate::store::workload::{Workload, assert_same, options};
use crate::store::{AppendError, CommitNo, DiskStore, Recovered, Room, Store, restore};

fn opened(disk: &SimulatedDisk) -> (SimulatedStore, Recovered) {
    disk.open().unwrap()
}

fn append(store: &mut SimulatedStore, work: &mut Workload, seeds: std::ops::Range<u32>) {
    for seed in seeds {
        let commit = work.random(seed);
        store.append(CommitNo(work.commits), &commit).unwrap();
    }
}

#[test]
fn it_keeps_the_contract() {
    for rows in [0, 1, 3, usize::MAX] {
        let disk = SimulatedDisk::new(1);
        contract::check(opened(&disk).0, |_| {
            disk.write_rows(rows);
            disk.cut_power();
            opened(&disk)
        });
    }
}

/// The log confirms when it is waited for, and takes one, two or three commits before.
#[test]
fn it_keeps_the_contract_over_a_log_that_confirms_late() {
    for (window, rows) in [(1, 3), (2, usize::MAX), (3, 0)] {
        let disk = SimulatedDisk::new(window as u64);
        disk.confirm_late(true);
        disk.bound_unconfirmed(window);
        disk.bound_memory(1_000);
        contract::check(opened(&disk).0, |_| {
            disk.write_rows(rows);
            disk.cut_power();
            opened(&disk)
        });
    }
}

#[test]
fn its_log_keeps_the_contract_of_logs() {
    for window in [None, Some(1), Some(2), Some(5)] {
        let disk = SimulatedDisk::new(1);
        disk.confirm_late(window.is_some());
        disk.bound_unconfirmed(window.unwrap_or(usize::MAX));
        let open = |_, home, on_commit: &mut OnCommit<'_>| {
            disk.cut_power();
            disk.open_log(home, on_commit).unwrap()
        };
        contract::check_log(open, |_: &mut SimulatedLog| disk.confirm(1));
    }
}

#[test]
fn its_home_keeps_the_contract_of_homes() {
    let disk = SimulatedDisk::new(1);
    contract::check_home(|_: Option<SimulatedHome>| {
        disk.write_rows(5);
        disk.cut_power();
        disk.open_home()
    });
}

/// Whatever the log and the home are: rows as of one moment, and the commits that are confirmed at the end.
#[test]
fn a_backup_of_it_is_restored_on_a_disk() {
    let (disk, mut work) = (SimulatedDisk::new(1), Workload::default());
    let mut store = opened(&disk).0;
    append(&mut store, &mut work, 0..40);
    store.close(&work.state).unwrap();
    append(&mut store, &mut work, 40..60);
    let rows = store.begin_backup().unwrap();
    append(&mut store, &mut work, 60..80);
    store.close(&work.state).unwrap();
    disk.confirm_late(true);
    append(&mut store, &mut work.clone(), 80..90);
    let mut backup = Vec::new();
    assert_eq!(rows.write(&mut backup, || store.backup_tail()).unwrap(), CommitNo(work.commits));
    store.end_backup();
    let dir = tempfile::tempdir().unwrap();
    restore(&backup[..], dir.path(), &options(), 0).unwrap();
    let (mut store, found) = DiskStore::open(dir.path(), &options()).unwrap();
    assert_same(&found.state, &work.state);
    work.check_blobs(&mut store);
}

#[test]
fn a_checkpoint_that_is_cut_after_any_row_loses_nothing() {
    for rows in 0..60 {
        let (disk, mut work) = (SimulatedDisk::new(rows), Workload::default());
        let mut store = opened(&disk).0;
        append(&mut store, &mut work, 0..40);
        store.close(&work.state).unwrap();
        append(&mut store, &mut work, 40..80);
        for at in [0, 1_000, 1_001, 1_002] {
            store.maintain(&work.state, Time(at)).unwrap();
        }
        disk.write_rows(rows as usize);
        append(&mut store, &mut work, 80..85);
        disk.cut_power();
        let (mut store, found) = opened(&disk);
        assert_same(&found.state, &work.state);
        work.check_blobs(&mut store);
    }
}

/// The envelope of a job whose body was replaced meanwhile is home with those of others: the log has it no more.
#[test]
fn a_body_that_is_replaced_while_a_checkpoint_is_under_way_keeps_no_envelope_in_the_log() {
    let (disk, mut work) = (SimulatedDisk::new(1), Workload::default());
    disk.bound_memory(0);
    let mut store = opened(&disk).0;
    let first = work.submit_with_envelopes(100);
    store.append(CommitNo(1), &first).unwrap();
    append(&mut store, &mut work, 0..30);
    // It begins, and has taken the blocks; what it brings home leaves the log.
    store.maintain(&work.state, Time(0)).unwrap();
    store.maintain(&work.state, Time(700)).unwrap();
    let live = work.state.iter(IdRange::new(JobId(1), 100)).next().unwrap().0.first;
    let replaced = work.replace_body(live);
    store.append(CommitNo(work.commits), &replaced).unwrap();
    for at in 701..800 {
        disk.write_rows(usize::MAX);
        store.maintain(&work.state, Time(at)).unwrap();
    }
    assert!(disk.records() < 30, "the log was freed");
    work.check_blobs(&mut store);
    store.close(&work.state).unwrap();
    work.check_blobs(&mut store);
}

#[test]
fn what_was_not_synced_may_be_lost_and_what_was_is_there() {
    let (mut lengths, work) = (std::collections::BTreeSet::new(), Workload::default());
    for seed in 0..200 {
        let (disk, mut work) = (SimulatedDisk::new(seed), work.clone());
        let mut store = opened(&disk).0;
        disk.confirm_late(true);
        append(&mut store, &mut work, 0..3);
        disk.confirm(usize::MAX);
        append(&mut store, &mut work, 3..5);
        assert_eq!(store.durable(), CommitNo(3));
        disk.cut_power();
        lengths.insert(opened(&disk).1.last.0);
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn an_append_that_failed_is_the_last_one() {
    for (fault, may_be) in [(WriteFault::Full, vec![1]), (WriteFault::SyncFails, vec![1, 2])] {
        for seed in 0..20 {
            let (disk, mut work) = (SimulatedDisk::new(seed), Workload::default());
            let mut store = opened(&disk).0;
            append(&mut store, &mut work, 0..1);
            disk.fail_next_append(fault);
            let commit = work.random(1);
            for _ in 0..2 {
                assert!(matches!(store.append(CommitNo(2), &commit), Err(AppendError::Disk(_))));
            }
            assert!(store.close(&work.state).is_err());
            disk.cut_power();
            let last = opened(&disk).1.last.0;
            assert!(may_be.contains(&last), "{fault:?}: {last}");
        }
    }
}

#[test]
fn a_full_home_takes_no_rows_and_is_tried_again() {
    let (disk, mut work) = (SimulatedDisk::new(1), Workload::default());
    let mut store = opened(&disk).0;
    append(&mut store, &mut work, 0..40);
    disk.fail_home(false, true);
    let run = |store: &mut SimulatedStore, from: u64| {
        for at in 0..200 {
            store.maintain(&work.state, Time(from + at * 20)).unwrap();
            disk.write_rows(usize::MAX);
        }
    };
    run(&mut store, 0);
    assert_eq!(disk.records(), 40, "nothing is home, so nothing is free");
    disk.fail_home(false, false);
    run(&mut store, 10_000);
    assert!(disk.records() < 20);
    assert_eq!(store.room(), Room::Enough);
}

/// The planted faults are faults: each makes a store that breaks a promise.
#[test]
fn planted_faults_are_faults() {
    let disk = SimulatedDisk::new(1);
    disk.plant(Planted::EarlyAnswers);
    disk.confirm_late(true);
    let (mut store, mut work) = (opened(&disk).0, Workload::default());
    append(&mut store, &mut work, 0..1);
    assert_eq!(store.durable(), CommitNo(1));

    let broken = (0..20).filter(|seed| {
        let (disk, mut work) = (SimulatedDisk::new(*seed), Workload::default());
        disk.plant(Planted::LostRows);
        let mut store = opened(&disk).0;
        append(&mut store, &mut work, 0..40);
        store.close(&work.state).unwrap();
        disk.cut_power();
        disk.open().map_or(true, |(_, found)| !crate::store::workload::same(&found.state, &work.state))
    });
    assert!(broken.count() > 0);
}
