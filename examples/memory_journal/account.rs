//! The account: whether all that was acknowledged has come to what it should, once. It computes everything again from the texts, by
//! itself, and compares.

use super::Error;
use super::archive::Archive;
use super::associate::{self, Missing};
use super::consolidate::{Consolidation, Digest};
use super::jobs::{self, CONSOLIDATE};
use super::journal::{Closed, end_of};
use super::memory::{End, Kind, Memory};
use super::store::{Shelf, Store, numbered};
use super::trouble::{PANIC, Trouble, trouble};
use musher::protocol::admin::QueueView;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What is right, for people.
    pub(crate) lines: Vec<String>,
    /// What is not; nothing, if all is well.
    pub(crate) faults: Vec<String>,
}

impl Account {
    fn check(&mut self, is_so: bool, fault: impl FnOnce() -> String) {
        if !is_so {
            self.faults.push(fault());
        }
    }
}

/// What the end of an association has to be.
fn expected(kind: Kind, memory: &Memory, earlier: &[Arc<Memory>]) -> End {
    match trouble(kind, memory) {
        Some(Trouble::Panic) => return End::Failed(format!("panicked: {PANIC}")),
        Some(Trouble::Endless) => return End::Failed("timed out".into()),
        Some(Trouble::Once) | None => {}
    }
    match associate::find(kind, memory, earlier, &|| false) {
        Ok(links) => End::Linked(links),
        Err(Missing::Refused(why)) => End::Failed(why),
        Err(Missing::Stopped) => unreachable!("nobody stops it here"),
    }
}

/// Checks a directory that nobody works on, and the queues that its jobs went through.
pub(crate) fn check(
    directory: &Path,
    acknowledged: &BTreeSet<u32>,
    memories: usize,
    queues: &[QueueView],
) -> Result<Account, Error> {
    let mut account = Account::default();
    let store = Store::open(&directory.join("store"))?;
    let archive = Archive::open(store.clone())?.all();
    account.check(archive.len() == memories, || format!("{} memories, not {memories}", archive.len()));
    let all: BTreeSet<u32> = (0..memories as u32).collect();
    let lost = all.difference(acknowledged).count();
    account.check(lost == 0, || format!("{lost} memories were never acknowledged"));
    account.check(acknowledged.is_subset(&all), || "a memory was acknowledged that is not there".into());
    account.lines.push(format!(
        "{} memories acknowledged, {} in the archive",
        acknowledged.len(),
        archive.len()
    ));

    let failed = ends(&mut account, &store, &archive)?;
    consolidations(&mut account, &store, &archive)?;
    left(&mut account, queues, archive.len() as u64, failed);
    Ok(account)
}

/// Four ends each, each the right one, and closed. How many have failed of each kind.
fn ends(account: &mut Account, store: &Store, archive: &[Arc<Memory>]) -> Result<BTreeMap<Kind, u64>, Error> {
    let (mut linked, mut failed) = (BTreeMap::<Kind, u64>::new(), BTreeMap::<Kind, u64>::new());
    for (at, memory) in archive.iter().enumerate() {
        let number = memory.number;
        let mut failures = Vec::new();
        for kind in Kind::ALL {
            let (found, right) = (
                store.get::<End>(Shelf::Ends, &end_of(number, kind))?,
                expected(kind, memory, &archive[..at]),
            );
            account.check(found.as_ref() == Some(&right), || {
                format!("memory {number}, {kind}: {found:?}, not {right:?}")
            });
            match found {
                Some(End::Linked(_)) => *linked.entry(kind).or_default() += 1,
                Some(End::Failed(_)) => {
                    *failed.entry(kind).or_default() += 1;
                    failures.push(kind);
                }
                None => {}
            }
        }
        let closed: Option<Closed> = store.get(Shelf::Closed, &numbered(number))?;
        account.check(closed.is_some_and(|closed| closed.failed == failures), || {
            format!("memory {number} is not closed rightly")
        });
    }
    let files = store.names(Shelf::Ends)?.len();
    account.check(files == 4 * archive.len(), || format!("{files} ends of {} memories", archive.len()));
    for kind in Kind::ALL {
        let of = |counts: &BTreeMap<Kind, u64>| counts.get(&kind).copied().unwrap_or(0);
        account.lines.push(format!(
            "{kind:<10} {:>4} associated, {:>3} recorded errors",
            of(&linked),
            of(&failed)
        ));
    }
    Ok(failed)
}

/// Each memory is in one, each comes to what it should, and one at least went on where it was interrupted.
fn consolidations(account: &mut Account, store: &Store, archive: &[Arc<Memory>]) -> Result<(), Error> {
    let mut seen = BTreeMap::<u32, u32>::new();
    let (mut count, mut went_on) = (0, 0);
    for name in store.names(Shelf::Consolidations)? {
        let Some(it) = store.get::<Consolidation>(Shelf::Consolidations, &name)? else { continue };
        count += 1;
        went_on += u32::from(it.begun_at.iter().any(|at| *at > 0));
        let mut again = Digest::new(it.members.clone());
        for number in &it.members {
            *seen.entry(*number).or_default() += 1;
            let Some(memory) = archive.get(*number as usize) else { continue };
            again.add(memory, &Kind::ALL.map(|kind| expected(kind, memory, &archive[..*number as usize])));
        }
        again.begun_at = it.begun_at.clone();
        account
            .check(again.finish() == it, || format!("consolidation {name} comes to something else: {it:?}"));
        account.lines.push(format!(
            "consolidation {name:>5}: {:>3} memories on {}",
            it.members.len(),
            it.themes.join(", ")
        ));
    }
    for memory in archive {
        let times = seen.get(&memory.number).copied().unwrap_or(0);
        account.check(times == 1, || format!("memory {} is in {times} consolidations", memory.number));
    }
    account.check(went_on > 0, || "no consolidation went on from a checkpoint".into());
    account.lines.push(format!("{count} consolidations, {went_on} of them interrupted and gone on with"));
    Ok(())
}

/// Nothing is left, nothing was submitted twice, and what has failed is dead.
fn left(account: &mut Account, queues: &[QueueView], memories: u64, failed: BTreeMap<Kind, u64>) {
    for name in jobs::queues() {
        let Some(queue) = queues.iter().find(|queue| queue.queue == name) else {
            account.faults.push(format!("queue {name} has never had a job"));
            continue;
        };
        let left = queue.ready + queue.scheduled + queue.waiting + queue.leased;
        account.check(left == 0, || format!("{left} jobs are left in queue {name}"));
        let submitted = queue.totals.submitted;
        // How many consolidations there are depends on how quick everything was.
        account.check(name == CONSOLIDATE || submitted == memories, || {
            format!("{submitted} jobs in queue {name}")
        });
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let failed = kind.and_then(|kind| failed.get(&kind).copied()).unwrap_or(0);
        account
            .check(queue.dead == failed, || format!("{} jobs of {name} are dead, not {failed}", queue.dead));
    }
    account
        .lines
        .push(format!("5 jobs submitted for each of {memories} memories, and nothing is left of them"));
}
