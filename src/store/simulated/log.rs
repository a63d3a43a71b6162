//! The log of a simulated store, as one life of a process has it.

use super::disk::Disk;
use super::faults::Planted;
use super::records::{Record, SALT, failed};
use crate::core::{Beside, Event, Holder, RateUsed, RowEvent, Time, Turn};
use crate::store::codec::{decode_whole_commit, encode_commit};
use crate::store::commit::{Commit, CommitNo};
use crate::store::error::AppendError;
use crate::store::log::{Appended, Log, Segment, Size, Tail, record};
use crate::store::logged::OnCommit;
use crate::store::recovery::OpenError;
use bytes::Bytes;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// The log of one life of a process.
#[derive(Debug)]
pub struct SimulatedLog {
    disk: Rc<RefCell<Disk>>,
    last: CommitNo,
    /// The newest record.
    newest: (Arc<Record>, Arc<dyn Segment>),
    poisoned: bool,
}

impl SimulatedLog {
    pub(super) fn open(
        disk: Rc<RefCell<Disk>>,
        home: CommitNo,
        on_commit: &mut OnCommit<'_>,
    ) -> Result<SimulatedLog, OpenError> {
        disk.borrow_mut().log.replay(home, on_commit)?;
        let (last, none) = (disk.borrow().log.last(), Record::new(Vec::new()));
        Ok(SimulatedLog { disk, last, newest: (none.clone(), none), poisoned: false })
    }

    fn refuse_after_failure(&self) -> Result<(), AppendError> {
        if self.poisoned || self.disk.borrow().log.has_failed { Err(failed()) } else { Ok(()) }
    }
}

impl Log for SimulatedLog {
    fn last(&self) -> CommitNo {
        self.last
    }

    fn confirmed(&self) -> CommitNo {
        let disk = self.disk.borrow();
        match disk.planted {
            Some(Planted::EarlyAnswers) => self.last,
            _ => disk.log.confirmed(),
        }
    }

    fn can_append(&self) -> bool {
        let log = &self.disk.borrow().log;
        self.poisoned || log.has_failed || log.records.len() - log.safe < log.unconfirmed_max
    }

    fn append(
        &mut self,
        expected: CommitNo,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Appended<'_>, AppendError> {
        self.refuse_after_failure()?;
        let mut disk = self.disk.borrow_mut();
        let actual = disk.log.last().next();
        if expected != actual || expected != self.last.next() {
            return Err(AppendError::Fenced { expected, actual });
        }
        let mut bytes = vec![0; record::HEADER];
        encode(&mut bytes);
        let changed = disk.planted.and_then(|fault| changed(fault, &bytes));
        let is_changed = changed.is_some();
        let mut written = changed.unwrap_or_else(|| bytes.clone());
        record::seal(SALT, actual, &mut written);
        let written = Record::new(written);
        let newest = if is_changed { Record::new(bytes) } else { written.clone() };
        self.poisoned = true;
        disk.log.append(written)?;
        (self.poisoned, self.last) = (false, actual);
        self.newest = (newest.clone(), newest);
        Ok(Appended { record: &self.newest.0.bytes, segment: &self.newest.1, at: 0, waited: Duration::ZERO })
    }

    fn maintain(&mut self, _now: Time) -> Result<Option<Time>, AppendError> {
        if self.disk.borrow().log.has_failed { Err(failed()) } else { Ok(None) }
    }

    fn wait(&mut self) -> Result<(), AppendError> {
        self.refuse_after_failure()?;
        let log = &mut self.disk.borrow_mut().log;
        log.confirm(usize::MAX);
        match log.confirmed() == self.last {
            true => Ok(()),
            false => Err(AppendError::Disk(ErrorKind::TimedOut.into())),
        }
    }

    fn ring(&mut self, bell: &Waker) {
        self.disk.borrow_mut().log.bell = Some(bell.clone());
    }

    fn free(&mut self, home: CommitNo) {
        self.disk.borrow_mut().log.free(home);
    }

    fn size(&self) -> Size {
        Size { bytes: self.disk.borrow().log.bytes(), limit: u64::MAX }
    }

    fn tail(&self) -> Box<dyn Tail> {
        self.disk.borrow().log.tail()
    }
}

/// A commit without what comes beside its jobs.
fn detach(commit: &mut Commit, lost: Beside) {
    let mut attached = std::mem::take(&mut commit.attached).into_iter();
    commit.events.retain(|event| match event {
        Event::Attached { what, .. } => {
            let blob = attached.next();
            let stays = *what != lost;
            commit.attached.extend(blob.filter(|_| stays));
            stays
        }
        Event::Detached { what, .. } => *what != lost,
        _ => true,
    });
}

/// What the log gets in place of a record, if the fault is one of those.
fn changed(fault: Planted, record: &[u8]) -> Option<Vec<u8>> {
    if matches!(fault, Planted::EarlyAnswers | Planted::LostRows | Planted::TornCommits) {
        return None;
    }
    let payload = Bytes::copy_from_slice(&record[record::HEADER..]);
    let mut commit = decode_whole_commit(&payload).expect("it was just encoded");
    match fault {
        Planted::OtherBodies => commit.replaced.reverse(),
        Planted::OtherEnvelopes => {
            for nth in 1..commit.envelopes.len() {
                let (before, after) = commit.envelopes.split_at_mut(nth);
                std::mem::swap(&mut before[nth - 1].1, &mut after[0].1);
            }
        }
        Planted::LostCheckpoints => detach(&mut commit, Beside::Checkpoint),
        Planted::LostResults => detach(&mut commit, Beside::Result),
        Planted::LostSignals => {
            detach(&mut commit, Beside::Signals);
            commit.events.retain(|event| !matches!(event, Event::Signalled { .. }));
        }
        Planted::LostCancels => commit.events.retain(|event| !matches!(event, Event::Cancelling { .. })),
        Planted::LostTopics => commit.events.retain(|event| {
            !matches!(event, Event::Row(RowEvent::TopicBound { .. } | RowEvent::TopicUnbound { .. }))
        }),
        Planted::LostPauses => commit.events.retain(|event| {
            !matches!(event, Event::Row(RowEvent::Paused { .. } | RowEvent::PausedUntil { .. }))
        }),
        Planted::LostSizes => commit.events.retain(|event| !matches!(event, Event::Sized { .. })),
        Planted::LostRequests => {
            commit.events.retain(|event| !matches!(event, Event::Row(RowEvent::RequestDone { .. })));
        }
        _ => {}
    }
    for event in &mut commit.events {
        match (fault, event) {
            (Planted::ShortLeases, Event::Claimed { holder: Holder::Anyone, at, until, .. }) => *until = *at,
            (Planted::LostWorkers, Event::Claimed { holder: Holder::Session(session), .. }) => {
                *session &= !Holder::POOLS;
            }
            (Planted::UnusedRates, Event::Row(RowEvent::KeysServed { keys, .. })) => {
                keys.iter_mut().for_each(|served| served.used = RateUsed::default());
            }
            (Planted::LostTurns, Event::Row(RowEvent::KeysServed { keys, .. })) => {
                keys.iter_mut().for_each(|served| served.turn = Turn::default());
            }
            _ => {}
        }
    }
    let mut bytes = vec![0; record::HEADER];
    encode_commit(&commit, &mut bytes);
    Some(bytes)
}
