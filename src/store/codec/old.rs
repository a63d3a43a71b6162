//! Reads what older versions of this program have written; it is written in the current form when it changes. They kept
//! the tags of jobs with their options, where now an envelope lies beside the body.

use super::event::ExitV2;
use super::job::{StateV1, check_failures, from_moment};
use super::options::{BackoffV1, DurationV1};
use super::ranges::{IdsV1, RangeV1};
use super::{DecodeError, Envelope, Reader};
use crate::core::{
    Attempt, Event, Exit, Expiry, Failure, IdRange, Job, JobCounts, Newest, Priority, QueueName, RowEvent,
    Spec, SpecOptions, Time, UniqueWhile,
};
use bincode::error::DecodeError as BincodeError;
use bincode::{BorrowDecode, Decode, de::BorrowDecoder};
use bytes::Bytes;
use std::sync::Arc;

/// Envelopes made of tags, and the jobs that have each of them.
pub(crate) type OldTags = Vec<(IdRange, Bytes)>;

/// Reads the runs of a row of version 1 or 2, behind their places.
pub(super) struct OldRuns {
    version: u8,
    /// What was asked for with the run before.
    before: Option<(Arc<Spec>, Option<Bytes>)>,
}

impl OldRuns {
    pub(super) fn new(version: u8) -> OldRuns {
        OldRuns { version, before: None }
    }

    /// The next run, and its jobs' envelope if they have tags.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(Job, Option<Bytes>), DecodeError> {
        let mut run: RunV1<'_> = reader.take()?;
        let more = if self.version == 1 { MoreV2::unknown(&run) } else { reader.take()? };
        if let Some(spec) = run.spec.take() {
            let (spec, envelope) = spec.split()?;
            self.before = Some((Arc::new(spec), envelope));
        }
        let (spec, envelope) = self.before.clone().ok_or(DecodeError::Value("the first spec of a block"))?;
        Ok((run.into_job(more, spec)?, envelope))
    }
}

/// The event that said which jobs arrived, and their envelope if they have tags.
pub(super) fn submitted(
    jobs: RangeV1,
    spec: SpecV1<'_>,
    (at, due, expires_at): (u64, Option<u64>, u64),
) -> Result<(Event, Option<Bytes>), DecodeError> {
    let (spec, envelope) = spec.split()?;
    let event = Event::Submitted {
        jobs: jobs.try_into()?,
        spec: Arc::new(spec),
        at: Time(at),
        due: due.map(from_moment),
        expiry: Expiry { begin_by: from_moment(expires_at), ..Expiry::default() },
    };
    Ok((event, envelope))
}

/// The event that said what has become of jobs for which there was no room.
pub(super) fn without_room(reader: &mut Reader<'_>) -> Result<Event, DecodeError> {
    match reader.take::<u8>()? {
        0 => Ok(Event::Dropped { jobs: reader.take::<IdsV1>()?.0 }),
        1 => {
            let (queue, jobs): (&str, RangeV1) = reader.take()?;
            Ok(RowEvent::NotTaken { queue: QueueName::new(queue)?, jobs: jobs.try_into()? }.into())
        }
        _ => Err(DecodeError::Value("what has become of jobs without room")),
    }
}

/// The envelopes of a commit of version 3: nothing if no job has one, else one for each job that arrives in it, of no
/// bytes for a job without.
pub(super) fn one_each(events: &[Event], reader: &mut Reader<'_>) -> Result<OldTags, DecodeError> {
    let mut envelopes = OldTags::new();
    let count = reader.count()?;
    let arrivals = events.iter().filter(|event| matches!(event, Event::Submitted { .. }));
    let mut jobs = arrivals.flat_map(Event::jobs).flat_map(|range| range.iter());
    for _ in 0..count {
        let envelope = reader.bytes()?;
        let id = jobs.next().ok_or(DecodeError::Value("the number of envelopes"))?;
        match envelopes.last_mut() {
            _ if envelope.is_empty() => {}
            Some((range, same)) if range.end() == id && *same == envelope => range.len += 1,
            _ => envelopes.push((id.into(), Bytes::copy_from_slice(envelope))),
        }
    }
    Ok(envelopes)
}

/// Equal neighbours. No spec: that of the run before.
#[derive(BorrowDecode)]
struct RunV1<'a> {
    spec: Option<SpecV1<'a>>,
    submitted_at: u64,
    expires_at: u64,
    state: StateV1,
    attempt: u32,
    failed: u32,
    crashes: u32,
    failures: Vec<FailureV1<'a>>,
}

#[derive(BorrowDecode)]
struct FailureV1<'a> {
    attempt: u32,
    at: u64,
    error: &'a str,
}

/// What version 2 has behind each run.
#[derive(BorrowDecode)]
struct MoreV2 {
    started: Option<u64>,
    later: u32,
    /// One for each failure.
    ends: Vec<EndV2>,
}

/// When an attempt began, and how its process ended.
#[derive(BorrowDecode)]
struct EndV2 {
    since: Option<u64>,
    exit: Option<ExitV2>,
}

#[derive(BorrowDecode)]
pub(super) struct SpecV1<'a> {
    queue: &'a str,
    priority: u32,
    attempts: Option<u32>,
    backoff: Option<BackoffV1>,
    timeout: Option<DurationV1>,
    tags: TagsV1,
    owner: u32,
}

/// Names and values: how many, and these.
struct TagsV1(Vec<(Box<str>, Box<str>)>);

impl<'de, C> BorrowDecode<'de, C> for TagsV1 {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        let mut tags = Vec::new();
        for _ in 0..u64::decode(decoder)? {
            let (name, value): (&str, &str) = BorrowDecode::borrow_decode(decoder)?;
            tags.push((name.into(), value.into()));
        }
        Ok(TagsV1(tags))
    }
}

impl SpecV1<'_> {
    /// What it asks for today, and the envelope if there are tags.
    fn split(self) -> Result<(Spec, Option<Bytes>), DecodeError> {
        let tags = self.tags.0;
        let envelope = (!tags.is_empty()).then(|| Envelope::of_old(tags).encode());
        let spec = SpecOptions {
            unique_while: UniqueWhile::default(),
            queue: QueueName::new(self.queue)?,
            priority: Priority(self.priority),
            attempts: self.attempts,
            backoff: self.backoff.map(TryInto::try_into).transpose()?,
            timeout: self.timeout.map(TryInto::try_into).transpose()?,
            has_envelope: envelope.is_some(),
            owner: self.owner,
            group: None,
        };
        Ok((spec.into(), envelope))
    }
}

impl RunV1<'_> {
    fn into_job(self, more: MoreV2, spec: Arc<Spec>) -> Result<Job, DecodeError> {
        if more.ends.len() != self.failures.len() {
            return Err(DecodeError::Value("the number of failures"));
        }
        let failures = self.failures.into_iter().zip(more.ends);
        let failures: Vec<_> = failures.map(|(failure, end)| failure.with(end)).collect();
        check_failures(&failures)?;
        let (attempt, failed, crashes, later) =
            (Attempt(self.attempt), self.failed, self.crashes, more.later);
        let counts = JobCounts { attempt, failed, crashes, later };
        let newest = Newest { started: more.started.map(Time), worker: None };
        let mut job = Job::fresh(spec, Time(self.submitted_at));
        job.set_expiry(Expiry { begin_by: from_moment(self.expires_at), ..Expiry::default() });
        Ok(Job::remembered(job, self.state.into(), counts, newest, failures))
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
            worker: None,
        }
    }
}

impl MoreV2 {
    /// What a run of version 1 says of it: only when a lease began.
    fn unknown(run: &RunV1<'_>) -> MoreV2 {
        let started = if let StateV1::Leased { since, .. } = run.state { Some(since) } else { None };
        let ends = run.failures.iter().map(|_| EndV2 { since: None, exit: None }).collect();
        MoreV2 { started, later: 0, ends }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::read_event;
    use super::*;
    use crate::core::{Ids, JobId};

    #[test]
    fn what_became_of_jobs_without_room_was_written_as_one_kind_of_event() {
        let read = |bytes: &[u8]| Some(read_event(false, &mut Reader { rest: bytes }).ok()?.0);
        let jobs = IdRange::new(JobId(7), 2);
        assert_eq!(read(&[25, 0, 1, 7, 2]), Some(Event::Dropped { jobs: Ids::from(jobs) }));
        let queue = QueueName::new("q").unwrap();
        assert_eq!(read(&[25, 1, 1, b'q', 7, 2]), Some(RowEvent::NotTaken { queue, jobs }.into()));
        assert_eq!(read(&[25, 2, 1, 7, 2]), None);
    }
}
