//! An event on disk. The order of the variants is their number there: new ones come last, none is ever removed.

use super::DecodeError;
use super::job::{SpecV1, from_moment, moment};
use crate::core::{AfterFailure, Ending, Event, Exit, Holder, IdRange, Ids, JobId, QueueName, Time};
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError as BincodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};
use std::sync::Arc;

#[derive(Encode, BorrowDecode)]
pub(super) enum EventV1<'a> {
    Submitted { jobs: RangeV1, spec: SpecV1<'a>, at: u64, due: Option<u64>, expires_at: u64 },
    Claimed { jobs: IdsV1, holder: HolderV1, at: u64, until: u64 },
    Extended { jobs: IdsV1, until: u64 },
    Completed { jobs: IdsV1, end: EndingV1 },
    Failed { job: u64, at: u64, error: &'a str, next: AfterFailureV1 },
    Released { jobs: IdsV1, due: Option<u64> },
    Interrupted { jobs: IdsV1 },
    Ripened { jobs: IdsV1 },
    Expired { jobs: IdsV1, end: EndingV1 },
    Cancelled { jobs: IdsV1, end: EndingV1 },
    Buried { jobs: IdsV1, end: EndingV1 },
    Revived { jobs: IdsV1 },
    Deleted { jobs: IdsV1 },
    Paused { queue: &'a str },
    Resumed { queue: &'a str },
    FailedWithExit { job: u64, at: u64, error: &'a str, exit: ExitV2, next: AfterFailureV1 },
    Deferred { job: u64, at: u64, error: &'a str, due: u64 },
    QueueForgotten { queue: &'a str },
}

/// First id and length.
#[derive(Clone, Copy, Encode, Decode)]
pub(super) struct RangeV1(u64, u64);

/// A list of ids: how many ranges, and these. It borrows nothing, but a list of one range, as nearly all are,
/// costs no allocation either way.
pub(super) struct IdsV1(Ids);

#[derive(Clone, Copy, Encode, BorrowDecode)]
pub(super) enum HolderV1 {
    Session(u64),
    Anyone,
}

/// When, and until when the job is kept.
#[derive(Clone, Copy, Encode, BorrowDecode)]
pub(super) struct EndingV1(u64, Option<u64>);

/// How a process ended.
#[derive(Clone, Copy, Encode, BorrowDecode)]
pub(super) enum ExitV2 {
    Status(u8),
    Signal(u8),
}

#[derive(Clone, Copy, Encode, BorrowDecode)]
pub(super) enum AfterFailureV1 {
    Retry(u64),
    Dead(EndingV1),
}

impl Encode for IdsV1 {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.ranges().len() as u64).encode(encoder)?;
        self.0.ranges().iter().try_for_each(|range| RangeV1::from(*range).encode(encoder))
    }
}

impl<C> Decode<C> for IdsV1 {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        let mut ids = Ids::new();
        for _ in 0..u64::decode(decoder)? {
            let range = IdRange::try_from(RangeV1::decode(decoder)?)
                .map_err(|error| BincodeError::OtherString(error.to_string()))?;
            ids.push_range(range);
        }
        Ok(IdsV1(ids))
    }
}

impl<'de, C> BorrowDecode<'de, C> for IdsV1 {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        IdsV1::decode(decoder)
    }
}

impl From<IdRange> for RangeV1 {
    fn from(range: IdRange) -> RangeV1 {
        RangeV1(range.first.0, range.len)
    }
}

impl TryFrom<RangeV1> for IdRange {
    type Error = DecodeError;

    fn try_from(RangeV1(first, len): RangeV1) -> Result<IdRange, DecodeError> {
        if first == 0 || len == 0 || first.checked_add(len).is_none() {
            return Err(DecodeError::Value("a range of job ids"));
        }
        Ok(IdRange::new(JobId(first), len))
    }
}

impl From<Ending> for EndingV1 {
    fn from(end: Ending) -> EndingV1 {
        EndingV1(end.at.0, end.keep_until.map(moment))
    }
}

impl From<EndingV1> for Ending {
    fn from(EndingV1(at, keep_until): EndingV1) -> Ending {
        Ending { at: Time(at), keep_until: keep_until.map(from_moment) }
    }
}

impl From<Holder> for HolderV1 {
    fn from(holder: Holder) -> HolderV1 {
        match holder {
            Holder::Session(session) => HolderV1::Session(session),
            Holder::Anyone => HolderV1::Anyone,
        }
    }
}

impl From<HolderV1> for Holder {
    fn from(holder: HolderV1) -> Holder {
        match holder {
            HolderV1::Session(session) => Holder::Session(session),
            HolderV1::Anyone => Holder::Anyone,
        }
    }
}

impl From<Exit> for ExitV2 {
    fn from(exit: Exit) -> ExitV2 {
        match exit {
            Exit::Status(status) => ExitV2::Status(status),
            Exit::Signal(signal) => ExitV2::Signal(signal),
        }
    }
}

impl From<ExitV2> for Exit {
    fn from(exit: ExitV2) -> Exit {
        match exit {
            ExitV2::Status(status) => Exit::Status(status),
            ExitV2::Signal(signal) => Exit::Signal(signal),
        }
    }
}

impl From<AfterFailure> for AfterFailureV1 {
    fn from(next: AfterFailure) -> AfterFailureV1 {
        match next {
            AfterFailure::Retry(due) => AfterFailureV1::Retry(moment(due)),
            AfterFailure::Dead(end) => AfterFailureV1::Dead(end.into()),
        }
    }
}

impl From<AfterFailureV1> for AfterFailure {
    fn from(next: AfterFailureV1) -> AfterFailure {
        match next {
            AfterFailureV1::Retry(due) => AfterFailure::Retry(from_moment(due)),
            AfterFailureV1::Dead(end) => AfterFailure::Dead(end.into()),
        }
    }
}

impl<'a> From<&'a Event> for EventV1<'a> {
    fn from(event: &'a Event) -> EventV1<'a> {
        let ids = |jobs: &Ids| IdsV1(jobs.clone());
        match event {
            Event::Submitted { jobs, spec, at, due, expires_at } => EventV1::Submitted {
                jobs: (*jobs).into(),
                spec: (&**spec).into(),
                at: at.0,
                due: due.map(moment),
                expires_at: moment(*expires_at),
            },
            Event::Claimed { jobs, holder, at, until } => EventV1::Claimed {
                jobs: ids(jobs),
                holder: (*holder).into(),
                at: at.0,
                until: moment(*until),
            },
            Event::Extended { jobs, until } => EventV1::Extended { jobs: ids(jobs), until: moment(*until) },
            Event::Completed { jobs, end } => EventV1::Completed { jobs: ids(jobs), end: (*end).into() },
            Event::Failed { job, at, error, exit, next } => {
                debug_assert_eq!(job.len, 1, "one attempt of one job failed");
                let (job, at, next) = (job.first.0, at.0, (*next).into());
                match *exit {
                    None => EventV1::Failed { job, at, error, next },
                    Some(exit) => EventV1::FailedWithExit { job, at, error, exit: exit.into(), next },
                }
            }
            Event::Deferred { job, at, error, due } => {
                debug_assert_eq!(job.len, 1, "one attempt of one job was put off");
                EventV1::Deferred { job: job.first.0, at: at.0, error, due: moment(*due) }
            }
            Event::Released { jobs, due } => EventV1::Released { jobs: ids(jobs), due: due.map(moment) },
            Event::Interrupted { jobs } => EventV1::Interrupted { jobs: ids(jobs) },
            Event::Ripened { jobs } => EventV1::Ripened { jobs: ids(jobs) },
            Event::Expired { jobs, end } => EventV1::Expired { jobs: ids(jobs), end: (*end).into() },
            Event::Cancelled { jobs, end } => EventV1::Cancelled { jobs: ids(jobs), end: (*end).into() },
            Event::Buried { jobs, end } => EventV1::Buried { jobs: ids(jobs), end: (*end).into() },
            Event::Revived { jobs } => EventV1::Revived { jobs: ids(jobs) },
            Event::Deleted { jobs } => EventV1::Deleted { jobs: ids(jobs) },
            Event::Paused { queue } => EventV1::Paused { queue: queue.as_str() },
            Event::Resumed { queue } => EventV1::Resumed { queue: queue.as_str() },
            Event::QueueForgotten { queue } => EventV1::QueueForgotten { queue: queue.as_str() },
        }
    }
}

impl TryFrom<EventV1<'_>> for Event {
    type Error = DecodeError;

    fn try_from(event: EventV1<'_>) -> Result<Event, DecodeError> {
        Ok(match event {
            EventV1::Submitted { jobs, spec, at, due, expires_at } => Event::Submitted {
                jobs: jobs.try_into()?,
                spec: Arc::new(spec.try_into()?),
                at: Time(at),
                due: due.map(from_moment),
                expires_at: from_moment(expires_at),
            },
            EventV1::Claimed { jobs, holder, at, until } => Event::Claimed {
                jobs: jobs.0,
                holder: holder.into(),
                at: Time(at),
                until: from_moment(until),
            },
            EventV1::Extended { jobs, until } => Event::Extended { jobs: jobs.0, until: from_moment(until) },
            EventV1::Completed { jobs, end } => Event::Completed { jobs: jobs.0, end: end.into() },
            EventV1::Failed { job, at, error, next } => Event::Failed {
                job: RangeV1(job, 1).try_into()?,
                at: Time(at),
                error: error.into(),
                exit: None,
                next: next.into(),
            },
            EventV1::FailedWithExit { job, at, error, exit, next } => Event::Failed {
                job: RangeV1(job, 1).try_into()?,
                at: Time(at),
                error: error.into(),
                exit: Some(exit.into()),
                next: next.into(),
            },
            EventV1::Deferred { job, at, error, due } => Event::Deferred {
                job: RangeV1(job, 1).try_into()?,
                at: Time(at),
                error: error.into(),
                due: from_moment(due),
            },
            EventV1::Released { jobs, due } => Event::Released { jobs: jobs.0, due: due.map(from_moment) },
            EventV1::Interrupted { jobs } => Event::Interrupted { jobs: jobs.0 },
            EventV1::Ripened { jobs } => Event::Ripened { jobs: jobs.0 },
            EventV1::Expired { jobs, end } => Event::Expired { jobs: jobs.0, end: end.into() },
            EventV1::Cancelled { jobs, end } => Event::Cancelled { jobs: jobs.0, end: end.into() },
            EventV1::Buried { jobs, end } => Event::Buried { jobs: jobs.0, end: end.into() },
            EventV1::Revived { jobs } => Event::Revived { jobs: jobs.0 },
            EventV1::Deleted { jobs } => Event::Deleted { jobs: jobs.0 },
            EventV1::Paused { queue } => Event::Paused { queue: QueueName::new(queue)? },
            EventV1::Resumed { queue } => Event::Resumed { queue: QueueName::new(queue)? },
            EventV1::QueueForgotten { queue } => Event::QueueForgotten { queue: QueueName::new(queue)? },
        })
    }
}
