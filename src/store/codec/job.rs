//! Jobs on disk. The home keeps them by the block: [`BLOCK`] consecutive ids, one row. A row says which commit it
//! reflects, which of the block's jobs live, and what they are; equal neighbours are one entry.

use super::event::{ExitV2, HolderV1};
use super::{DecodeError, FORMAT, FORMAT_2, Reader, put};
use crate::core::{
    Attempt, Backoff, Exit, Failure, Final, Growth, IdRange, Job, JobId, JobState, Lease, Priority,
    QueueName, Spec, Time,
};
use crate::store::CommitNo;
use bincode::error::{DecodeError as BincodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode, de::BorrowDecoder, enc::Encoder};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// How many ids share a row.
pub(crate) const BLOCK: u64 = 64;

/// The largest row of jobs, by construction: as many jobs as a block holds, each with a spec of its own (a name of
/// 100 bytes, 512 bytes of tags in at most 64 pairs) and three failures of 240 bytes. A leaf of sled holds up to 17
/// rows, which must stay below 2 MiB together (precaution 3).
pub(crate) const ROW_MAX: usize = 120_000;

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
}

impl BlockRow {
    /// Which of the block's jobs live: one bit an id.
    pub(crate) fn mask(&self) -> u64 {
        self.runs.iter().flat_map(|(range, _)| range.iter()).fold(0, |mask, id| mask | 1 << (id.0 % BLOCK))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(FORMAT_2);
        put((self.commit.0, self.mask(), self.runs.len() as u64), &mut out);
        let mut before: Option<&Arc<Spec>> = None;
        for (range, job) in &self.runs {
            let same = before.is_some_and(|spec| Arc::ptr_eq(spec, &job.spec) || *spec == job.spec);
            put((RunV1::new(*range, job, same), MoreV2::new(job)), &mut out);
            before = Some(&job.spec);
        }
        assert!(out.len() <= ROW_MAX, "a row of jobs has {} bytes, more than {ROW_MAX}", out.len());
        out
    }

    pub(crate) fn decode(block: u64, bytes: &[u8]) -> Result<BlockRow, DecodeError> {
        let (format, mut reader) = Reader::up_to(FORMAT_2, bytes)?;
        let (commit, mask, count): (u64, u64, u64) = reader.take()?;
        let first = block.checked_mul(BLOCK).ok_or(DecodeError::Value("a block number"))?;
        let mut row = BlockRow { commit: CommitNo(commit), runs: Vec::new() };
        let (mut next, mut before) = (0, None);
        for _ in 0..count {
            let run: RunV1<'_> = reader.take()?;
            let more = if format == FORMAT { MoreV2::unknown(&run) } else { reader.take()? };
            let (offset, len) = (u64::from(run.offset), u64::from(run.len));
            if len == 0 || offset < next || offset + len > BLOCK || first + offset == 0 {
                return Err(DecodeError::Value("a run of jobs"));
            }
            next = offset + len;
            let job = run.into_job(more, before.take())?;
            before = Some(job.spec.clone());
            let range = first.checked_add(offset).filter(|first| first.checked_add(len).is_some());
            let range = range.ok_or(DecodeError::Value("a block number"))?;
            row.runs.push((IdRange::new(JobId(range), len), job));
        }
        reader.end()?;
        if row.mask() == mask { Ok(row) } else { Err(DecodeError::Value("the mask of a block")) }
    }
}

/// Which of a block's jobs live, without reading all of its row.
pub(crate) fn row_mask(bytes: &[u8]) -> Result<u64, DecodeError> {
    let (_, mut reader) = Reader::up_to(FORMAT_2, bytes)?;
    let (_, mask): (u64, u64) = reader.take()?;
    Ok(mask)
}

/// A moment that may be [`Time::NEVER`], which most are: 0 stands for it, so that it takes one byte.
pub(super) fn moment(time: Time) -> u64 {
    time.0.wrapping_add(1)
}

pub(super) fn from_moment(stored: u64) -> Time {
    Time(stored.wrapping_sub(1))
}

/// Equal neighbours. No spec: that of the run before.
#[derive(Encode, BorrowDecode)]
struct RunV1<'a> {
    offset: u8,
    len: u8,
    spec: Option<SpecV1<'a>>,
    submitted_at: u64,
    expires_at: u64,
    state: StateV1,
    attempt: u32,
    failed: u32,
    crashes: u32,
    failures: Vec<FailureV1<'a>>,
}

#[derive(Encode, BorrowDecode)]
struct FailureV1<'a> {
    attempt: u32,
    at: u64,
    error: &'a str,
}

/// What format 2 has behind each run.
#[derive(Encode, BorrowDecode)]
struct MoreV2 {
    started: Option<u64>,
    later: u32,
    /// One for each failure.
    ends: Vec<EndV2>,
}

/// When an attempt began, and how its process ended.
#[derive(Encode, BorrowDecode)]
struct EndV2 {
    since: Option<u64>,
    exit: Option<ExitV2>,
}

/// The order of the variants is their number: see `EventV1`.
#[derive(Encode, BorrowDecode)]
enum StateV1 {
    Scheduled { due: u64 },
    Ready,
    Leased { holder: HolderV1, since: u64, until: u64 },
    Done(FinalV1),
    Dead(FinalV1),
    Cancelled(FinalV1),
    Expired(FinalV1),
}

/// When it ended, until when it is kept.
#[derive(Encode, BorrowDecode)]
struct FinalV1(u64, u64);

#[derive(Encode, BorrowDecode)]
pub(super) struct SpecV1<'a> {
    queue: &'a str,
    priority: u32,
    attempts: Option<u32>,
    backoff: Option<BackoffV1>,
    timeout: Option<DurationV1>,
    tags: TagsV1<'a>,
    owner: u32,
}

#[derive(Encode, BorrowDecode)]
struct BackoffV1 {
    growth: GrowthV1,
    base: DurationV1,
    max: DurationV1,
    jitter_permille: u16,
}

#[derive(Encode, BorrowDecode)]
enum GrowthV1 {
    Fixed,
    Linear,
    Exponential,
}

/// Seconds and nanoseconds.
#[derive(Encode, BorrowDecode)]
struct DurationV1(u64, u32);

/// Names and values: how many, and these.
struct TagsV1<'a>(Cow<'a, [(Box<str>, Box<str>)]>);

impl Encode for TagsV1<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        self.0.iter().try_for_each(|(name, value)| (&**name, &**value).encode(encoder))
    }
}

impl<'de, C> BorrowDecode<'de, C> for TagsV1<'de> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        let mut tags = Vec::new();
        for _ in 0..u64::decode(decoder)? {
            let (name, value): (&str, &str) = BorrowDecode::borrow_decode(decoder)?;
            tags.push((name.into(), value.into()));
        }
        Ok(TagsV1(Cow::Owned(tags)))
    }
}

impl From<Duration> for DurationV1 {
    fn from(duration: Duration) -> DurationV1 {
        DurationV1(duration.as_secs(), duration.subsec_nanos())
    }
}

impl TryFrom<DurationV1> for Duration {
    type Error = DecodeError;

    fn try_from(DurationV1(seconds, nanos): DurationV1) -> Result<Duration, DecodeError> {
        if nanos >= 1_000_000_000 {
            return Err(DecodeError::Value("a duration"));
        }
        Ok(Duration::new(seconds, nanos))
    }
}

impl From<Backoff> for BackoffV1 {
    fn from(backoff: Backoff) -> BackoffV1 {
        BackoffV1 {
            growth: match backoff.growth {
                Growth::Fixed => GrowthV1::Fixed,
                Growth::Linear => GrowthV1::Linear,
                Growth::Exponential => GrowthV1::Exponential,
            },
            base: backoff.base.into(),
            max: backoff.max.into(),
            jitter_permille: backoff.jitter_permille,
        }
    }
}

impl TryFrom<BackoffV1> for Backoff {
    type Error = DecodeError;

    fn try_from(backoff: BackoffV1) -> Result<Backoff, DecodeError> {
        Ok(Backoff {
            growth: match backoff.growth {
                GrowthV1::Fixed => Growth::Fixed,
                GrowthV1::Linear => Growth::Linear,
                GrowthV1::Exponential => Growth::Exponential,
            },
            base: backoff.base.try_into()?,
            max: backoff.max.try_into()?,
            jitter_permille: backoff.jitter_permille,
        })
    }
}

impl<'a> From<&'a Spec> for SpecV1<'a> {
    fn from(spec: &'a Spec) -> SpecV1<'a> {
        SpecV1 {
            queue: spec.queue.as_str(),
            priority: spec.priority.0,
            attempts: spec.attempts,
            backoff: spec.backoff.map(BackoffV1::from),
            timeout: spec.timeout.map(DurationV1::from),
            tags: TagsV1(Cow::Borrowed(&spec.tags)),
            owner: spec.owner,
        }
    }
}

impl TryFrom<SpecV1<'_>> for Spec {
    type Error = DecodeError;

    fn try_from(spec: SpecV1<'_>) -> Result<Spec, DecodeError> {
        Ok(Spec {
            queue: QueueName::new(spec.queue)?,
            priority: Priority(spec.priority),
            attempts: spec.attempts,
            backoff: spec.backoff.map(Backoff::try_from).transpose()?,
            timeout: spec.timeout.map(Duration::try_from).transpose()?,
            tags: spec.tags.0.into_owned(),
            owner: spec.owner,
        })
    }
}

impl From<&JobState> for StateV1 {
    fn from(state: &JobState) -> StateV1 {
        let end = |end: &Final| FinalV1(end.at.0, moment(end.keep_until));
        match state {
            JobState::Scheduled { due } => StateV1::Scheduled { due: moment(*due) },
            JobState::Ready => StateV1::Ready,
            JobState::Leased(lease) => StateV1::Leased {
                holder: lease.holder.into(),
                since: lease.since.0,
                until: moment(lease.until),
            },
            JobState::Done(at) => StateV1::Done(end(at)),
            JobState::Dead(at) => StateV1::Dead(end(at)),
            JobState::Cancelled(at) => StateV1::Cancelled(end(at)),
            JobState::Expired(at) => StateV1::Expired(end(at)),
        }
    }
}

impl From<StateV1> for JobState {
    fn from(state: StateV1) -> JobState {
        let end = |FinalV1(at, until): FinalV1| Final { at: Time(at), keep_until: from_moment(until) };
        match state {
            StateV1::Scheduled { due } => JobState::Scheduled { due: from_moment(due) },
            StateV1::Ready => JobState::Ready,
            StateV1::Leased { holder, since, until } => JobState::Leased(Lease {
                holder: holder.into(),
                since: Time(since),
                until: from_moment(until),
            }),
            StateV1::Done(at) => JobState::Done(end(at)),
            StateV1::Dead(at) => JobState::Dead(end(at)),
            StateV1::Cancelled(at) => JobState::Cancelled(end(at)),
            StateV1::Expired(at) => JobState::Expired(end(at)),
        }
    }
}

impl<'a> RunV1<'a> {
    fn new(range: IdRange, job: &'a Job, same_spec: bool) -> RunV1<'a> {
        let failures = job.failures.iter();
        RunV1 {
            offset: (range.first.0 % BLOCK) as u8, // below 64
            len: u8::try_from(range.len).expect("a run lies in one block"),
            spec: (!same_spec).then(|| (&*job.spec).into()),
            submitted_at: job.submitted_at.0,
            expires_at: moment(job.expires_at),
            state: (&job.state).into(),
            attempt: job.attempt.0,
            failed: job.failed,
            crashes: job.crashes,
            failures: failures
                .map(|f| FailureV1 { attempt: f.attempt.0, at: f.at.0, error: &f.error })
                .collect(),
        }
    }

    fn into_job(self, more: MoreV2, before: Option<Arc<Spec>>) -> Result<Job, DecodeError> {
        let spec = match self.spec {
            Some(spec) => Arc::new(spec.try_into()?),
            None => before.ok_or(DecodeError::Value("the first spec of a block"))?,
        };
        if more.ends.len() != self.failures.len() {
            return Err(DecodeError::Value("the number of failures"));
        }
        let failures = self.failures.into_iter().zip(more.ends);
        Ok(Job {
            spec,
            submitted_at: Time(self.submitted_at),
            expires_at: from_moment(self.expires_at),
            state: self.state.into(),
            attempt: Attempt(self.attempt),
            started: more.started.map(Time),
            failed: self.failed,
            crashes: self.crashes,
            later: more.later,
            failures: failures.map(|(failure, end)| failure.with(end)).collect(),
        })
    }
}

impl FailureV1<'_> {
    fn with(self, EndV2 { since, exit }: EndV2) -> Failure {
        Failure {
            attempt: Attempt(self.attempt),
            since: since.map(Time),
            at: Time(self.at),
            error: self.error.into(),
            exit: exit.map(Exit::from),
        }
    }
}

impl MoreV2 {
    fn new(job: &Job) -> MoreV2 {
        let end = |failure: &Failure| EndV2 {
            since: failure.since.map(|since| since.0),
            exit: failure.exit.map(ExitV2::from),
        };
        let ends = job.failures.iter().map(end).collect();
        MoreV2 { started: job.started.map(|started| started.0), later: job.later, ends }
    }

    /// What a run of format 1 tells of it: when a lease began, that is.
    fn unknown(run: &RunV1<'_>) -> MoreV2 {
        let started = if let StateV1::Leased { since, .. } = run.state { Some(since) } else { None };
        let ends = run.failures.iter().map(|_| EndV2 { since: None, exit: None }).collect();
        MoreV2 { started, later: 0, ends }
    }
}
