//! Jobs on disk. The home keeps them in blocks: [`BLOCK`] consecutive ids are one row. A row says which commit it
//! reflects, which of the block's jobs live, and what they are; equal neighbours are one entry.

use super::event::{ExitV2, HolderV1};
use super::fields::{put_fields, read_fields};
use super::flow::WaitsV1;
use super::handling::HandledV1;
use super::old::{OldRuns, OldTags};
use super::options::{put_spec, read_spec};
use super::signals::SignalsV1;
use super::sums::{self, BlobSums, SUMS_MAX, WITH_SUMS};
use super::{DecodeError, Reader, put};
use crate::core::{
    Attempt, Beside, Exit, Expiry, Failure, Final, HandlingCounts, IdRange, Job, JobCounts, JobId, JobState,
    Lease, Newest, Signals, Size, Spec, Time, Waits, Worker,
};
use crate::store::CommitNo;
use crate::store::blob::Blob;
use bincode::{BorrowDecode, Encode};
use std::sync::Arc;

/// How many ids share a row.
pub(crate) const BLOCK: u64 = 64;

/// The largest row of jobs without checksums, by construction: as many jobs as a block holds, each with a spec of its own (a
/// name of 200 bytes) and three failures of 240 bytes. Rows of version 2, with 512 bytes of tags for each job, were at most as
/// large as this.
const JOBS_MAX: usize = 120_000;

/// The largest row of jobs. A leaf of sled holds up to 17 rows, which must stay below 2 MiB together (precaution 3).
pub(crate) const ROW_MAX: usize = JOBS_MAX + SUMS_MAX;

/// The version in which rows are written.
const VERSION: u8 = 3;

/// The version of those with a job that has a checkpoint, a result or signals: it is told apart without reading all of it.
const WITH_BESIDE: u8 = 4;

// The numbers of a run's fields are on people's disks: none is ever used again.
const EXPIRES: u8 = 1;
const ATTEMPT: u8 = 2;
const STARTED: u8 = 3;
const FAILED: u8 = 4;
const CRASHES: u8 = 5;
const LATER: u8 = 6;
/// Once for each failure.
const FAILURE: u8 = 7;
const SIZE: u8 = 8;
const DEADLINE: u8 = 9;
/// Who had the newest attempt.
const WORKER: u8 = 10;
/// A failure, and who had the attempt.
const FAILURE_OF: u8 = 11;
// What is stored beside a job: without a value of their own.
const CHECKPOINT: u8 = 12;
const RESULT: u8 = 13;
const SIGNALS_STORED: u8 = 14;
const BESIDE: [(u8, Beside); 3] =
    [(CHECKPOINT, Beside::Checkpoint), (RESULT, Beside::Result), (SIGNALS_STORED, Beside::Signals)];
/// Which signals those are, and which one the job waits for.
const SIGNALS: u8 = 15;
/// What a job waits for that does.
const WAITS: u8 = 20;
/// What was done with a job.
const HANDLED: u8 = 21;

/// The block of a job.
pub(crate) fn block_of(id: JobId) -> u64 {
    id.0 / BLOCK
}

/// The ids of a block.
pub(crate) fn block_range(block: u64) -> IdRange {
    IdRange::new(JobId(block * BLOCK), BLOCK)
}

/// What a row of the tree `jobs` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BlockRow {
    /// The newest commit whose events are in it.
    pub(crate) commit: CommitNo,
    /// The jobs that live, in order.
    pub(crate) runs: Vec<(IdRange, Job)>,
    /// The tags of jobs, which older versions wrote into the row. None in what is to be written.
    pub(crate) tags: OldTags,
    /// What blobs of the jobs sum up to that have taken the place of others, or may have. The home adds them when it writes
    /// the row.
    pub(crate) sums: BlobSums,
}

impl BlockRow {
    /// What is to be written of a block.
    pub(crate) fn new(commit: CommitNo, runs: Vec<(IdRange, Job)>) -> BlockRow {
        BlockRow { commit, runs, tags: Vec::new(), sums: BlobSums::default() }
    }

    /// Which of the block's jobs live: one bit an id.
    pub(crate) fn mask(&self) -> u64 {
        mask_of(self.runs.iter().map(|(range, _)| *range))
    }

    /// Which of them have a blob of a kind that is not in the row itself, as tags are.
    pub(crate) fn with(&self, kind: Blob) -> u64 {
        let all = mask_of(self.runs.iter().filter(|(_, job)| kind.is_of(job)).map(|(range, _)| *range));
        match kind {
            Blob::Envelope => all & !mask_of(self.tags.iter().map(|(range, _)| *range)),
            Blob::Body | Blob::Checkpoint | Blob::Result | Blob::Signals => all,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Nearly all take less.
        let mut out = Vec::with_capacity(64 * (1 + self.runs.len()));
        let has_beside = |job: &Job| BESIDE.iter().any(|(_, what)| job.has(*what));
        let version = if self.runs.iter().any(|(_, job)| has_beside(job)) { WITH_BESIDE } else { VERSION };
        out.push(version);
        put((self.commit.0, self.mask(), self.runs.len() as u64), &mut out);
        let mut before: Option<&Arc<Spec>> = None;
        for (range, job) in &self.runs {
            let same = before.is_some_and(|spec| Arc::ptr_eq(spec, &job.spec) || *spec == job.spec);
            put_run(*range, job, same, &mut out);
            before = Some(&job.spec);
        }
        assert!(out.len() <= JOBS_MAX, "a row of jobs has {} bytes, more than {JOBS_MAX}", out.len());
        if self.sums.is_empty() { out } else { self.sums.before(&out) }
    }

    pub(crate) fn decode(block: u64, bytes: &[u8]) -> Result<BlockRow, DecodeError> {
        let (sums, bytes) = sums::split(bytes)?;
        let (version, mut reader) = Reader::up_to("a row of jobs", WITH_SUMS, bytes)?;
        let (commit, mask, count): (u64, u64, u64) = reader.take()?;
        let first = block.checked_mul(BLOCK).ok_or(DecodeError::Value("a block number"))?;
        let mut row = BlockRow { sums, ..BlockRow::new(CommitNo(commit), Vec::new()) };
        let (mut next, mut before, mut old) = (0, None, OldRuns::new(version));
        for _ in 0..count {
            let (offset, len) = reader.take::<(u8, u8)>()?;
            let (offset, len) = (u64::from(offset), u64::from(len));
            if len == 0 || offset < next || offset + len > BLOCK || first + offset == 0 {
                return Err(DecodeError::Value("a run of jobs"));
            }
            next = offset + len;
            let range = first.checked_add(offset).filter(|first| first.checked_add(len).is_some());
            let range = IdRange::new(JobId(range.ok_or(DecodeError::Value("a block number"))?), len);
            let job = if version >= VERSION {
                read_run(&mut reader, before.take())?
            } else {
                let (job, envelope) = old.read(&mut reader)?;
                row.tags.extend(envelope.map(|envelope| (range, envelope)));
                job
            };
            before = Some(job.spec.clone());
            row.runs.push((range, job));
        }
        reader.end()?;
        if row.mask() == mask { Ok(row) } else { Err(DecodeError::Value("the mask of a block")) }
    }
}

fn mask_of(ranges: impl Iterator<Item = IdRange>) -> u64 {
    ranges.flat_map(IdRange::iter).fold(0, |mask, id| mask | 1 << (id.0 % BLOCK))
}

/// Which of a block's jobs live, without reading all of its row.
pub(crate) fn row_mask(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::of("a row of jobs", WITH_SUMS, sums::split(bytes)?.1)?;
    let (_, mask): (u64, u64) = reader.take()?;
    Ok(mask)
}

/// Whether any job of a row has a checkpoint, a result or signals, without reading all of it.
pub(crate) fn row_has_beside(bytes: &[u8]) -> bool {
    sums::split(bytes).is_ok_and(|(_, row)| row.first() == Some(&WITH_BESIDE))
}

/// Equal neighbours. `same_spec`: what was asked for is that of the run before.
fn put_run(range: IdRange, job: &Job, same_spec: bool, out: &mut Vec<u8>) {
    let len = u8::try_from(range.len).expect("a run lies in one block");
    put(((range.first.0 % BLOCK) as u8, len, !same_spec), out); // below 64
    if !same_spec {
        put_spec(&job.spec, out);
    }
    put((job.submitted_at().0, StateV1::from(&job.state())), out);
    put_fields(out, |fields| {
        let expiry = job.expiry();
        for (number, time) in [(EXPIRES, expiry.begin_by), (DEADLINE, expiry.end_by)] {
            fields.put_some(number, (time != Time::NEVER).then_some(time.0));
        }
        for (number, count) in [
            (ATTEMPT, job.attempt().0),
            (FAILED, job.failed()),
            (CRASHES, job.crashes()),
            (LATER, job.later()),
        ] {
            fields.put_some(number, (count != 0).then_some(count));
        }
        fields.put_some(SIZE, job.size().is_counted().then_some(job.size().bytes()));
        fields.put_some(STARTED, job.started().map(|started| started.0));
        fields.put_some(WORKER, job.worker().map(WorkerV3::from));
        for (number, what) in BESIDE {
            fields.put_some(number, job.has(what).then_some(()));
        }
        fields.put_some(SIGNALS, job.signals().map(SignalsV1::from));
        fields.put_some(WAITS, job.waits_for().map(|waits| WaitsV1::from(&**waits)));
        let handled = job.handled();
        let handled = (handled != HandlingCounts::default()).then(|| HandledV1::from(handled));
        fields.put_some(HANDLED, handled);
        for failure in job.failures() {
            match failure.worker.map(WorkerV3::from) {
                None => fields.put(FAILURE, FailureV3::from(failure)),
                Some(worker) => fields.put(FAILURE_OF, (FailureV3::from(failure), worker)),
            }
        }
    });
}

/// A run behind its place. `before`: what was asked for with the run before.
fn read_run(reader: &mut Reader<'_>, before: Option<Arc<Spec>>) -> Result<Job, DecodeError> {
    let spec = match (reader.take::<bool>()?, before) {
        (true, _) => Arc::new(read_spec(reader)?),
        (false, Some(before)) => before,
        (false, None) => return Err(DecodeError::Value("the first options of a block")),
    };
    let (submitted_at, state): (u64, StateV1) = reader.take()?;
    let (mut job, mut waits) = (Job::fresh(spec, Time(submitted_at)), None);
    let mut handled = HandlingCounts::default();
    let (mut beside, mut signals) = (Vec::<Beside>::new(), Signals::default());
    let (mut counts, mut newest, mut failures) = (JobCounts::default(), Newest::default(), Vec::new());
    read_fields(reader, |field| {
        match field.number {
            EXPIRES => job.set_expiry(Expiry { begin_by: Time(field.value()?), ..job.expiry() }),
            DEADLINE => job.set_expiry(Expiry { end_by: Time(field.value()?), ..job.expiry() }),
            SIZE => job.set_size(Size::of(field.value()?)),
            ATTEMPT => counts.attempt = Attempt(field.value()?),
            STARTED => newest.started = Some(Time(field.value()?)),
            WORKER => newest.worker = Some(field.value::<WorkerV3>()?.into()),
            FAILED => counts.failed = field.value()?,
            CRASHES => counts.crashes = field.value()?,
            LATER => counts.later = field.value()?,
            FAILURE => failures.push(field.value::<FailureV3<'_>>()?.into()),
            FAILURE_OF => {
                let (failure, worker) = field.value::<(FailureV3<'_>, WorkerV3)>()?;
                failures.push(Failure { worker: Some(worker.into()), ..failure.into() });
            }
            CHECKPOINT | RESULT | SIGNALS_STORED => {
                field.value::<()>()?;
                beside.extend(
                    BESIDE.iter().filter(|(number, _)| *number == field.number).map(|(_, what)| what),
                );
            }
            SIGNALS => signals = field.value::<SignalsV1>()?.try_into()?,
            HANDLED => handled = field.value::<HandledV1>()?.into(),
            WAITS => waits = Some(Waits::try_from(field.value::<WaitsV1>()?)?),
            _ => return Err(field.unknown("a job")),
        }
        Ok(())
    })?;
    check_failures(&failures)?;
    let state = JobState::from(state);
    if waits.is_some() != matches!(state, JobState::Waiting { .. }) {
        return Err(DecodeError::Value("what a job waits for"));
    }
    let mut job = Job::remembered(job, state, counts, newest, failures);
    if let Some(waits) = waits {
        job.set_waits(waits.into());
    }
    beside.into_iter().for_each(|what| job.set_beside(what, true));
    job.set_signals(signals);
    job.set_handled(handled);
    Ok(job)
}

/// Checks the bounds that writing keeps: more would not fit into the next row.
pub(super) fn check_failures(failures: &[Failure]) -> Result<(), DecodeError> {
    match failures.len() <= Failure::KEPT && failures.iter().all(|one| one.error.len() <= Failure::TEXT_MAX) {
        true => Ok(()),
        false => Err(DecodeError::Value("the failures of a job")),
    }
}

/// A moment that may be [`Time::NEVER`], which most are: 0 stands for it, so that it takes one byte.
pub(super) fn moment(time: Time) -> u64 {
    time.0.wrapping_add(1)
}

pub(super) fn from_moment(stored: u64) -> Time {
    Time(stored.wrapping_sub(1))
}

#[derive(Encode, BorrowDecode)]
struct FailureV3<'a> {
    attempt: u32,
    since: Option<u64>,
    at: u64,
    error: &'a str,
    exit: Option<ExitV2>,
}

impl<'a> From<&'a Failure> for FailureV3<'a> {
    fn from(failure: &'a Failure) -> FailureV3<'a> {
        FailureV3 {
            attempt: failure.attempt.0,
            since: failure.since.map(|since| since.0),
            at: failure.at.0,
            error: &failure.error,
            exit: failure.exit.map(ExitV2::from),
        }
    }
}

impl From<FailureV3<'_>> for Failure {
    fn from(FailureV3 { attempt, since, at, error, exit }: FailureV3<'_>) -> Failure {
        let (attempt, since) = (Attempt(attempt), since.map(Time));
        let (error, exit) = (error.into(), exit.map(Exit::from));
        Failure { attempt, since, at: Time(at), error, exit, worker: None }
    }
}

#[derive(Encode, BorrowDecode)]
struct WorkerV3 {
    uid: u32,
    pid: u32,
}

impl From<Worker> for WorkerV3 {
    fn from(Worker { uid, pid }: Worker) -> WorkerV3 {
        WorkerV3 { uid, pid }
    }
}

impl From<WorkerV3> for Worker {
    fn from(WorkerV3 { uid, pid }: WorkerV3) -> Worker {
        Worker { uid, pid }
    }
}

/// The order of the variants is their number: they are on people's disks.
#[derive(Encode, BorrowDecode)]
pub(super) enum StateV1 {
    Scheduled { due: u64 },
    Ready,
    Leased { holder: HolderV1, since: u64, until: u64 },
    Done(FinalV1),
    Dead(FinalV1),
    Cancelled(FinalV1),
    Expired(FinalV1),
    Waiting { due: u64 },
    Cancelling { holder: HolderV1, since: u64, until: u64 },
}

/// When it ended, until when it is kept.
#[derive(Encode, BorrowDecode)]
pub(super) struct FinalV1(u64, u64);

impl From<&JobState> for StateV1 {
    fn from(state: &JobState) -> StateV1 {
        let end = |end: &Final| FinalV1(end.at.0, moment(end.keep_until));
        match state {
            JobState::Scheduled { due } => StateV1::Scheduled { due: moment(*due) },
            JobState::Ready => StateV1::Ready,
            JobState::Leased(lease) => {
                let (holder, since, until) = (lease.holder.into(), lease.since.0, moment(lease.until));
                match lease.cancelling {
                    false => StateV1::Leased { holder, since, until },
                    true => StateV1::Cancelling { holder, since, until },
                }
            }
            JobState::Done(at) => StateV1::Done(end(at)),
            JobState::Dead(at) => StateV1::Dead(end(at)),
            JobState::Cancelled(at) => StateV1::Cancelled(end(at)),
            JobState::Expired(at) => StateV1::Expired(end(at)),
            JobState::Waiting { due } => StateV1::Waiting { due: moment(*due) },
        }
    }
}

impl From<StateV1> for JobState {
    fn from(state: StateV1) -> JobState {
        let end = |FinalV1(at, until): FinalV1| Final { at: Time(at), keep_until: from_moment(until) };
        let lease = |holder: HolderV1, since, until, cancelling| {
            let (since, until) = (Time(since), from_moment(until));
            JobState::Leased(Lease { holder: holder.into(), since, until, cancelling })
        };
        match state {
            StateV1::Scheduled { due } => JobState::Scheduled { due: from_moment(due) },
            StateV1::Ready => JobState::Ready,
            StateV1::Leased { holder, since, until } => lease(holder, since, until, false),
            StateV1::Cancelling { holder, since, until } => lease(holder, since, until, true),
            StateV1::Done(at) => JobState::Done(end(at)),
            StateV1::Dead(at) => JobState::Dead(end(at)),
            StateV1::Cancelled(at) => JobState::Cancelled(end(at)),
            StateV1::Expired(at) => JobState::Expired(end(at)),
            StateV1::Waiting { due } => JobState::Waiting { due: from_moment(due) },
        }
    }
}
