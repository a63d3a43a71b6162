//! What is on the disk of a simulated log: records, and how many of them are safe. The simulation says when something
//! is confirmed, and what becomes of the next append.

use super::faults::WriteFault;
use crate::store::commit::CommitNo;
use crate::store::error::AppendError;
use crate::store::log::{LogError, Place, Segment, Tail, record};
use crate::store::logged::OnCommit;
use crate::store::recovery::OpenError;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

pub(super) const SALT: u64 = 0x6d75_7368_6572;

/// Records that are in the home and still in the log: files are freed as a whole.
const LEFT_IN_LOG: u64 = 16;

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
    /// Whether a record is confirmed only on request.
    pub(super) confirms_late: bool,
    /// Nothing is confirmed, not even on request.
    pub(super) hangs: bool,
    /// So many may be not confirmed.
    pub(super) unconfirmed_max: usize,
    pub(super) fault: Option<WriteFault>,
    /// What was appended will not be confirmed, and nothing more is taken.
    pub(super) has_failed: bool,
    pub(super) bell: Option<Waker>,
    pub(super) digest: u32,
    /// Of all records.
    bytes: u64,
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
            bytes: 0,
        }
    }

    pub(super) fn last(&self) -> CommitNo {
        CommitNo(self.first.0 + self.records.len() as u64 - 1)
    }

    pub(super) fn confirmed(&self) -> CommitNo {
        CommitNo(self.first.0 + self.safe as u64 - 1)
    }

    pub(super) fn append(&mut self, record: Arc<Record>) -> Result<(), AppendError> {
        let fault = self.fault.take();
        if fault == Some(WriteFault::Full) {
            return Err(AppendError::Disk(ErrorKind::StorageFull.into()));
        }
        self.digest = crc32c::crc32c_append(self.digest, &record.bytes);
        self.bytes += record.bytes.len() as u64;
        self.records.push_back(record);
        match fault {
            Some(WriteFault::SyncFails) => return Err(failed()),
            Some(WriteFault::FailsLater) => self.fail(),
            _ if !self.confirms_late && !self.hangs && !self.has_failed => self.safe = self.records.len(),
            _ => {}
        }
        Ok(())
    }

    /// The confirmed records.
    pub(super) fn tail(&self) -> Box<dyn Tail> {
        let records = self.records.iter().take(self.safe).cloned().collect();
        Box::new(RecordsTail { first: self.first, last: self.confirmed(), records })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
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

    pub(super) fn free(&mut self, home: CommitNo) {
        while self.first.0 + LEFT_IN_LOG <= home.0 && self.safe > 0 {
            if let Some(record) = self.records.pop_front() {
                record.is_free.store(true, Ordering::Relaxed);
                self.bytes -= record.bytes.len() as u64;
            }
            (self.first, self.safe) = (self.first.next(), self.safe - 1);
        }
    }

    /// What a start does: reads up to the torn end, and makes it safe.
    pub(super) fn replay(&mut self, home: CommitNo, on_commit: &mut OnCommit<'_>) -> Result<(), OpenError> {
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
        self.bytes = self.records.iter().map(|record| record.bytes.len() as u64).sum();
        (self.fault, self.has_failed) = (None, false);
        Ok(())
    }
}

pub(super) fn failed() -> AppendError {
    AppendError::Disk(io::Error::other("the sync fails"))
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
