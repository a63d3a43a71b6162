//! The log of a simulated store. What was written is kept apart from what is safe; whoever simulates says when something
//! is confirmed, and what becomes of the next append.

use super::disk::{Disk, Planted};
use crate::core::{Event, Holder};
use crate::store::codec::{decode_whole_commit, encode_commit};
use crate::store::commit::CommitNo;
use crate::store::error::AppendError;
use crate::store::log::{Appended, Log, LogError, Place, Segment, Size, Tail, record};
use crate::store::logged::OnCommit;
use crate::store::recovery::OpenError;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

const SALT: u64 = 0x6d75_7368_6572;

/// Records that are home and still in the log: files come free as a whole.
const LEFT_IN_LOG: u64 = 16;

/// What becomes of the next write to the log. In any case the process must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// There is no room for it: nothing is written.
    Full,
    /// It is written, but the sync fails: a power cut may keep it or not.
    SyncFails,
    /// The same, and the log says so only after the append has returned.
    FailsLater,
}

/// A record, to be read until it is free.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) bytes: Vec<u8>,
    is_free: AtomicBool,
}

impl Record {
    pub(super) fn new(bytes: Vec<u8>) -> Arc<Record> {
        Arc::new(Record { bytes, is_free: AtomicBool::new(false) })
    }

    fn read(&self, number: CommitNo) -> Option<record::Record<'_>> {
        record::read(SALT, &self.bytes, 0).filter(|record| record.number == number)
    }
}

impl Segment for Record {
    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        if self.is_free.load(Ordering::Relaxed) {
            return Err(io::Error::other("it was read after it was freed"));
        }
        let end = at as usize + bytes.len();
        let found = self.bytes.get(at as usize..end).ok_or(ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }
}

/// What is on the disk of a log.
#[derive(Debug)]
pub(super) struct Records {
    /// Whole records, or what is left of one.
    pub(super) records: VecDeque<Arc<Record>>,
    /// The number of the first of them.
    first: CommitNo,
    /// How many of them survive a power cut, and are confirmed.
    pub(super) safe: usize,
    /// Whether a record is confirmed only when it is told.
    pub(super) confirms_late: bool,
    /// Nothing is confirmed, whatever is told.
    pub(super) hangs: bool,
    /// So many may be not confirmed.
    pub(super) unconfirmed_max: usize,
    pub(super) fault: Option<WriteFault>,
    /// What was appended will not be confirmed, and nothing more is taken.
    pub(super) has_failed: bool,
    pub(super) bell: Option<Waker>,
    pub(super) digest: u32,
}

impl Records {
    pub(super) fn new() -> Records {
        Records {
            records: VecDeque::new(),
            first: CommitNo(1),
            safe: 0,
            confirms_late: false,
            hangs: false,
            unconfirmed_max: usize::MAX,
            fault: None,
            has_failed: false,
            bell: None,
            digest: 0,
        }
    }

    pub(super) fn last(&self) -> CommitNo {
        CommitNo(self.first.0 + self.records.len() as u64 - 1)
    }

    fn confirmed(&self) -> CommitNo {
        CommitNo(self.first.0 + self.safe as u64 - 1)
    }

    fn append(&mut self, record: Arc<Record>) -> Result<(), AppendError> {
        let fault = self.fault.take();
        if fault == Some(WriteFault::Full) {
            return Err(AppendError::Disk(ErrorKind::StorageFull.into()));
        }
        self.digest = crc32c::crc32c_append(self.digest, &record.bytes);
        self.records.push_back(record);
        match fault {
            Some(WriteFault::SyncFails) => return Err(failed()),
            Some(WriteFault::FailsLater) => self.fail(),
            _ if !self.confirms_late && !self.hangs && !self.has_failed => self.safe = self.records.len(),
            _ => {}
        }
        Ok(())
    }

    fn fail(&mut self) {
        self.has_failed = true;
        self.ring();
    }

    /// Confirms the next records.
    pub(super) fn confirm(&mut self, records: usize) {
        let safe = self.safe.saturating_add(records).min(self.records.len());
        if !self.hangs && !self.has_failed && safe > self.safe {
            self.safe = safe;
            self.ring();
        }
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.wake_by_ref();
        }
    }

    fn free(&mut self, home: CommitNo) {
        while self.first.0 + LEFT_IN_LOG <= home.0 && self.safe > 0 {
            if let Some(record) = self.records.pop_front() {
                record.is_free.store(true, Ordering::Relaxed);
            }
            (self.first, self.safe) = (self.first.next(), self.safe - 1);
        }
    }

    /// What a start does: reads up to the torn end, and makes it safe.
    fn replay(&mut self, home: CommitNo, on_commit: &mut OnCommit<'_>) -> Result<(), OpenError> {
        let (path, mut number) = (Path::new("simulated"), self.first);
        if number > home.next() {
            return Err(LogError::Gap { wanted: home.next(), path: path.to_owned(), found: number }.into());
        }
        for record in &self.records {
            let Some(found) = record.read(number) else { break };
            if number > home {
                let segment: Arc<dyn Segment> = record.clone();
                let payload = Some((&segment, record::HEADER as u64));
                on_commit(Place { path, offset: 0, number, payload }, found.payload)?;
            }
            number = number.next();
        }
        self.records.truncate((number.0 - self.first.0) as usize);
        self.safe = self.records.len();
        (self.fault, self.has_failed) = (None, false);
        Ok(())
    }
}

fn failed() -> AppendError {
    AppendError::Disk(io::Error::other("the sync fails"))
}

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
        let mut written = match disk.planted {
            Some(Planted::ShortLeases) => with_short_leases(&bytes),
            _ => bytes.clone(),
        };
        record::seal(SALT, actual, &mut written);
        let written = Record::new(written);
        let newest =
            if disk.planted == Some(Planted::ShortLeases) { Record::new(bytes) } else { written.clone() };
        self.poisoned = true;
        disk.log.append(written)?;
        (self.poisoned, self.last) = (false, actual);
        self.newest = (newest.clone(), newest);
        Ok(Appended { record: &self.newest.0.bytes, segment: &self.newest.1, at: 0 })
    }

    fn maintain(&mut self) -> Result<(), AppendError> {
        if self.disk.borrow().log.has_failed { Err(failed()) } else { Ok(()) }
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
        let bytes = self.disk.borrow().log.records.iter().map(|record| record.bytes.len() as u64).sum();
        Size { bytes, limit: u64::MAX }
    }

    fn tail(&self) -> Box<dyn Tail> {
        let log = &self.disk.borrow().log;
        let records = log.records.iter().take(log.safe).cloned().collect();
        Box::new(RecordsTail { first: log.first, last: log.confirmed(), records })
    }
}

/// The confirmed records of a moment.
#[derive(Debug)]
struct RecordsTail {
    first: CommitNo,
    last: CommitNo,
    records: Vec<Arc<Record>>,
}

impl Tail for RecordsTail {
    fn last(&self) -> CommitNo {
        self.last
    }

    fn read(
        &self,
        home: CommitNo,
        on_commit: &mut dyn FnMut(CommitNo, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut number = self.first;
        for record in &self.records {
            let found = record.read(number).ok_or(ErrorKind::InvalidData)?;
            if number > home {
                on_commit(number, found.payload)?;
            }
            number = number.next();
        }
        Ok(())
    }
}

/// See [`Planted::ShortLeases`].
fn with_short_leases(record: &[u8]) -> Vec<u8> {
    let payload = Bytes::copy_from_slice(&record[record::HEADER..]);
    let mut commit = decode_whole_commit(&payload).expect("it was just encoded");
    for event in &mut commit.events {
        if let Event::Claimed { holder: Holder::Anyone, at, until, .. } = event {
            *until = *at;
        }
    }
    let mut bytes = vec![0; record::HEADER];
    encode_commit(&commit, &mut bytes);
    bytes
}
