//! An event on disk: the number of its kind, and its fields.

use super::flow::{EdgeFateV1, TargetV1, WaitsV1};
use super::handling::HandlingV1;
use super::job::{from_moment, moment};
use super::options::{put_spec, read_spec};
use super::ranges::{IdsRef, IdsV1, RangeV1};
use super::row_event::{put_row_event, read_row_event};
use super::{DecodeError, Reader, old, put};
use crate::core::{
    AfterFailure, Beside, Ending, Event, Exit, Expiry, Holder, Priority, QueueName, SignalName, Size, Time,
    Worker,
};
use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use std::sync::Arc;

// The numbers of the events are on people's disks: new ones come last, none is ever used again.
/// As versions before the third wrote it, with the jobs' tags in it.
const SUBMITTED_WITH_TAGS: u8 = 0;
const CLAIMED: u8 = 1;
const EXTENDED: u8 = 2;
const COMPLETED: u8 = 3;
const FAILED: u8 = 4;
const RELEASED: u8 = 5;
const INTERRUPTED: u8 = 6;
const RIPENED: u8 = 7;
const EXPIRED: u8 = 8;
const CANCELLED: u8 = 9;
const BURIED: u8 = 10;
const REVIVED: u8 = 11;
const DELETED: u8 = 12;
pub(super) const PAUSED: u8 = 13;
pub(super) const RESUMED: u8 = 14;
const FAILED_WITH_EXIT: u8 = 15;
const DEFERRED: u8 = 16;
pub(super) const QUEUE_FORGOTTEN: u8 = 17;
const SUBMITTED: u8 = 18;
/// The same of jobs with a deadline.
const SUBMITTED_WITH_DEADLINE: u8 = 36;
/// Claimed, and by which process.
const CLAIMED_BY: u8 = 37;
pub(super) const RATE_USED: u8 = 19;
pub(super) const SCHEDULE: u8 = 20;
pub(super) const OVERRIDES_SET: u8 = 24;
/// As it was written first: dropped, or not taken.
const WITHOUT_ROOM: u8 = 25;
const DROPPED: u8 = 35;
const SIZED: u8 = 26;
pub(super) const CIRCUIT_CHANGED: u8 = 27;
const PRIORITIZED: u8 = 21;
const POSTPONED: u8 = 22;
pub(super) const REQUEST_DONE: u8 = 23;
pub(super) const REQUESTS_FORGOTTEN: u8 = 31;
pub(super) const NOT_TAKEN: u8 = 32;
pub(super) const KEYS_SERVED: u8 = 33;
pub(super) const KEYS_FORGOTTEN: u8 = 34;
const DEFERRED_WITH_EXIT: u8 = 28;
const MOVED: u8 = 29;
const BODY_REPLACED: u8 = 30;
const CHECKPOINT_ATTACHED: u8 = 38;
const CHECKPOINT_DETACHED: u8 = 39;
const RESULT_ATTACHED: u8 = 40;
const RESULT_DETACHED: u8 = 41;
const WAITS_FOR: u8 = 42;
const EDGES_CHANGED: u8 = 43;
pub(super) const GROUP_CHANGED: u8 = 44;
pub(super) const GROUP_FORGOTTEN: u8 = 45;
const SIGNALS_ATTACHED: u8 = 46;
const SIGNALS_DETACHED: u8 = 47;
const AWAITS: u8 = 48;
const SIGNALLED: u8 = 49;
pub(super) const TOPIC_BOUND: u8 = 50;
pub(super) const TOPIC_UNBOUND: u8 = 51;
const CANCELLING: u8 = 52;
const COUNTED: u8 = 53;
pub(super) const PAUSED_UNTIL: u8 = 54;

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

/// So many bytes; a body that was replaced where bytes are not counted any more has a number that none has.
fn size_v1(size: Size) -> u64 {
    if size.is_counted() { size.bytes() } else { u64::MAX }
}

fn size_of(bytes: u64) -> Size {
    if bytes == u64::MAX { Size::default() } else { Size::of(bytes) }
}

/// Adds an event at the end of `out`: its number, and what it says.
pub(super) fn put_event(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Submitted { jobs, spec, at, due, expiry } => {
            let deadline = (expiry.end_by != Time::NEVER).then_some(expiry.end_by);
            let kind = if deadline.is_some() { SUBMITTED_WITH_DEADLINE } else { SUBMITTED };
            put((kind, RangeV1::from(*jobs)), out);
            put_spec(spec, out);
            put((at.0, due.map(moment), moment(expiry.begin_by)), out);
            if let Some(deadline) = deadline {
                put(deadline.0, out);
            }
        }
        Event::Claimed { jobs, holder, worker, at, until } => {
            let claimed = (IdsRef(jobs), HolderV1::from(*holder), at.0, moment(*until));
            match *worker {
                None => put((CLAIMED, claimed), out),
                Some(Worker { uid, pid }) => put((CLAIMED_BY, claimed, uid, pid), out),
            }
        }
        Event::Extended { jobs, until } => put((EXTENDED, IdsRef(jobs), moment(*until)), out),
        Event::Completed { jobs, end } => put((COMPLETED, IdsRef(jobs), EndingV1::from(*end)), out),
        Event::Failed { job, at, error, exit, next } => {
            debug_assert_eq!(job.len, 1, "one attempt of one job failed");
            let (job, error, next) = (job.first.0, &**error, AfterFailureV1::from(*next));
            match *exit {
                None => put((FAILED, job, at.0, error, next), out),
                Some(exit) => put((FAILED_WITH_EXIT, job, at.0, error, ExitV2::from(exit), next), out),
            }
        }
        Event::Deferred { job, at, error, exit, due } => {
            debug_assert_eq!(job.len, 1, "one attempt of one job was put off");
            let (job, error, due) = (job.first.0, &**error, moment(*due));
            match *exit {
                None => put((DEFERRED, job, at.0, error, due), out),
                Some(exit) => put((DEFERRED_WITH_EXIT, job, at.0, error, ExitV2::from(exit), due), out),
            }
        }
        Event::Released { jobs, due } => put((RELEASED, IdsRef(jobs), due.map(moment)), out),
        Event::Interrupted { jobs } => put((INTERRUPTED, IdsRef(jobs)), out),
        Event::Ripened { jobs } => put((RIPENED, IdsRef(jobs)), out),
        Event::Expired { jobs, end } => put((EXPIRED, IdsRef(jobs), EndingV1::from(*end)), out),
        Event::Cancelling { jobs } => put((CANCELLING, IdsRef(jobs)), out),
        Event::Cancelled { jobs, end } => put((CANCELLED, IdsRef(jobs), EndingV1::from(*end)), out),
        Event::Buried { jobs, end } => put((BURIED, IdsRef(jobs), EndingV1::from(*end)), out),
        Event::Revived { jobs } => put((REVIVED, IdsRef(jobs)), out),
        Event::Prioritized { jobs, priority } => put((PRIORITIZED, IdsRef(jobs), priority.0), out),
        Event::Postponed { jobs, due } => put((POSTPONED, IdsRef(jobs), moment(*due)), out),
        Event::Deleted { jobs } => put((DELETED, IdsRef(jobs)), out),
        Event::Sized { jobs, size } => put((SIZED, IdsRef(jobs), size_v1(*size)), out),
        Event::Counted { jobs, what } => put((COUNTED, IdsRef(jobs), HandlingV1::from(*what)), out),
        Event::Dropped { jobs } => put((DROPPED, IdsRef(jobs)), out),
        Event::BodyReplaced { job } => {
            debug_assert_eq!(job.len, 1, "one job gets one body");
            put((BODY_REPLACED, job.first.0), out);
        }
        Event::Attached { job, what } => {
            debug_assert_eq!(job.len, 1, "one job gets one blob");
            let kind = match what {
                Beside::Checkpoint => CHECKPOINT_ATTACHED,
                Beside::Result => RESULT_ATTACHED,
                Beside::Signals => SIGNALS_ATTACHED,
            };
            put((kind, job.first.0), out);
        }
        Event::Detached { jobs, what } => {
            let kind = match what {
                Beside::Checkpoint => CHECKPOINT_DETACHED,
                Beside::Result => RESULT_DETACHED,
                Beside::Signals => SIGNALS_DETACHED,
            };
            put((kind, IdsRef(jobs)), out);
        }
        Event::Awaits { job, signal, due } => {
            debug_assert_eq!(job.len, 1, "one job waits for one signal");
            put((AWAITS, job.first.0, signal.as_str(), moment(*due)), out);
        }
        Event::Signalled { job, signal } => {
            debug_assert_eq!(job.len, 1, "one job gets one signal");
            put((SIGNALLED, job.first.0, signal.as_str()), out);
        }
        Event::Moved { jobs, to, at } => put((MOVED, IdsRef(jobs), to.as_str(), at.0), out),
        Event::WaitsFor { jobs, waits } => put((WAITS_FOR, IdsRef(jobs), WaitsV1::from(&**waits)), out),
        Event::EdgesChanged { jobs, on, fate, at } => {
            put((EDGES_CHANGED, IdsRef(jobs), TargetV1::from(*on), EdgeFateV1::from(*fate), at.0), out);
        }
        Event::Row(event) => put_row_event(event, out),
    }
}

/// Reads an event; and the envelope of the jobs that arrive with it, if it `is_old` and their tags are in it.
pub(super) fn read_event(
    is_old: bool,
    reader: &mut Reader<'_>,
) -> Result<(Event, Option<Bytes>), DecodeError> {
    let plain = |event| Ok((event, None));
    match reader.take::<u8>()? {
        SUBMITTED_WITH_TAGS if is_old => {
            let (jobs, spec, times) = reader.take()?;
            old::submitted(jobs, spec, times)
        }
        kind @ (SUBMITTED | SUBMITTED_WITH_DEADLINE) => {
            let jobs: RangeV1 = reader.take()?;
            let spec = Arc::new(read_spec(reader)?);
            let (at, due, begin_by): (u64, Option<u64>, u64) = reader.take()?;
            let end_by = if kind == SUBMITTED { Time::NEVER } else { Time(reader.take()?) };
            plain(Event::Submitted {
                jobs: jobs.try_into()?,
                spec,
                at: Time(at),
                due: due.map(from_moment),
                expiry: Expiry { begin_by: from_moment(begin_by), end_by },
            })
        }
        kind => plain(read_other(kind, reader)?),
    }
}

fn read_other(kind: u8, reader: &mut Reader<'_>) -> Result<Event, DecodeError> {
    Ok(match kind {
        CLAIMED | CLAIMED_BY => {
            let (IdsV1(jobs), holder, at, until): (_, HolderV1, u64, u64) = reader.take()?;
            let worker = match kind {
                CLAIMED_BY => Some(reader.take()?).map(|(uid, pid)| Worker { uid, pid }),
                _ => None,
            };
            let (at, until) = (Time(at), from_moment(until));
            Event::Claimed { jobs, holder: holder.into(), worker, at, until }
        }
        EXTENDED => {
            let (IdsV1(jobs), until) = reader.take()?;
            Event::Extended { jobs, until: from_moment(until) }
        }
        FAILED => {
            let (job, at, error, next) = reader.take()?;
            failed(job, at, error, None, next)?
        }
        FAILED_WITH_EXIT => {
            let (job, at, error, exit, next) = reader.take()?;
            failed(job, at, error, Some(exit), next)?
        }
        DEFERRED => {
            let (job, at, error, due): (u64, u64, &str, u64) = reader.take()?;
            let (job, error) = (RangeV1(job, 1).try_into()?, error.into());
            Event::Deferred { job, at: Time(at), error, exit: None, due: from_moment(due) }
        }
        DEFERRED_WITH_EXIT => {
            let (job, at, error, exit, due): (u64, u64, &str, ExitV2, u64) = reader.take()?;
            let (job, error, exit) = (RangeV1(job, 1).try_into()?, error.into(), Some(exit.into()));
            Event::Deferred { job, at: Time(at), error, exit, due: from_moment(due) }
        }
        RELEASED => {
            let (IdsV1(jobs), due): (_, Option<u64>) = reader.take()?;
            Event::Released { jobs, due: due.map(from_moment) }
        }
        COMPLETED | EXPIRED | CANCELLED | BURIED => {
            let (IdsV1(jobs), end): (_, EndingV1) = reader.take()?;
            let end = end.into();
            match kind {
                COMPLETED => Event::Completed { jobs, end },
                EXPIRED => Event::Expired { jobs, end },
                CANCELLED => Event::Cancelled { jobs, end },
                _ => Event::Buried { jobs, end },
            }
        }
        INTERRUPTED => Event::Interrupted { jobs: reader.take::<IdsV1>()?.0 },
        RIPENED => Event::Ripened { jobs: reader.take::<IdsV1>()?.0 },
        CANCELLING => Event::Cancelling { jobs: reader.take::<IdsV1>()?.0 },
        REVIVED => Event::Revived { jobs: reader.take::<IdsV1>()?.0 },
        PRIORITIZED => {
            let (IdsV1(jobs), priority) = reader.take()?;
            Event::Prioritized { jobs, priority: Priority(priority) }
        }
        POSTPONED => {
            let (IdsV1(jobs), due) = reader.take()?;
            Event::Postponed { jobs, due: from_moment(due) }
        }
        DELETED => Event::Deleted { jobs: reader.take::<IdsV1>()?.0 },
        BODY_REPLACED => Event::BodyReplaced { job: RangeV1(reader.take()?, 1).try_into()? },
        MOVED => {
            let (IdsV1(jobs), to, at): (_, &str, u64) = reader.take()?;
            Event::Moved { jobs, to: QueueName::new(to)?, at: Time(at) }
        }
        SIZED => {
            let (IdsV1(jobs), size) = reader.take()?;
            Event::Sized { jobs, size: size_of(size) }
        }
        COUNTED => {
            let (IdsV1(jobs), what): (_, HandlingV1) = reader.take()?;
            Event::Counted { jobs, what: what.into() }
        }
        DROPPED => Event::Dropped { jobs: reader.take::<IdsV1>()?.0 },
        WAITS_FOR => {
            let (IdsV1(jobs), waits): (_, WaitsV1) = reader.take()?;
            Event::WaitsFor { jobs, waits: Arc::new(waits.try_into()?) }
        }
        EDGES_CHANGED => {
            let (IdsV1(jobs), on, fate, at): (_, TargetV1, EdgeFateV1, u64) = reader.take()?;
            Event::EdgesChanged { jobs, on: on.into(), fate: fate.into(), at: Time(at) }
        }
        WITHOUT_ROOM => old::without_room(reader)?,
        kind => match read_beside(kind, reader)? {
            Some(event) => event,
            None => Event::Row(read_row_event(kind, reader)?),
        },
    })
}

/// An event about what is stored beside jobs, if it is one.
fn read_beside(kind: u8, reader: &mut Reader<'_>) -> Result<Option<Event>, DecodeError> {
    Ok(Some(match kind {
        CHECKPOINT_ATTACHED | RESULT_ATTACHED | SIGNALS_ATTACHED => {
            let what = match kind {
                CHECKPOINT_ATTACHED => Beside::Checkpoint,
                RESULT_ATTACHED => Beside::Result,
                _ => Beside::Signals,
            };
            Event::Attached { job: RangeV1(reader.take()?, 1).try_into()?, what }
        }
        CHECKPOINT_DETACHED | RESULT_DETACHED | SIGNALS_DETACHED => {
            let what = match kind {
                CHECKPOINT_DETACHED => Beside::Checkpoint,
                RESULT_DETACHED => Beside::Result,
                _ => Beside::Signals,
            };
            Event::Detached { jobs: reader.take::<IdsV1>()?.0, what }
        }
        AWAITS => {
            let (job, signal, due): (u64, &str, u64) = reader.take()?;
            let (job, signal) = (RangeV1(job, 1).try_into()?, signal_name(signal)?);
            Event::Awaits { job, signal, due: from_moment(due) }
        }
        SIGNALLED => {
            let (job, signal): (u64, &str) = reader.take()?;
            Event::Signalled { job: RangeV1(job, 1).try_into()?, signal: signal_name(signal)? }
        }
        _ => return Ok(None),
    }))
}

fn failed(
    job: u64,
    at: u64,
    error: &str,
    exit: Option<ExitV2>,
    next: AfterFailureV1,
) -> Result<Event, DecodeError> {
    let job = RangeV1(job, 1).try_into()?;
    let (exit, next) = (exit.map(Exit::from), next.into());
    Ok(Event::Failed { job, at: Time(at), error: error.into(), exit, next })
}

pub(super) fn signal_name(name: &str) -> Result<SignalName, DecodeError> {
    SignalName::new(name).map_err(|_| DecodeError::Value("the name of a signal"))
}
