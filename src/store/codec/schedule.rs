//! A schedule on disk: what it submits and when, and what has become of it. Its row has all of it, an event what has
//! changed.

use super::fields::{put_fields, read_fields};
use super::job::{from_moment, moment};
use super::options::{DurationV1, put_spec, read_spec};
use super::{DecodeError, Reader, put};
use crate::core::{
    CatchUp, JobId, Overlap, Payload, Plan, Rhythm, Run, Schedule, ScheduleChange, ScheduleName, Time,
};
use bincode::{BorrowDecode, Encode};
use std::sync::Arc;
use std::time::Duration;

// The numbers of the rhythms, of the fields and of the changes are on people's disks: none is ever used again.
const CRON: u8 = 0;
const EVERY: u8 = 1;

const CATCH_UP: u8 = 1;
const OVERLAP: u8 = 2;
const JITTER: u8 = 3;
const TTL: u8 = 4;
const USUAL_PRIORITY: u8 = 5;
const CONFIGURED: u8 = 6;
const ENVELOPE: u8 = 7;
const DEADLINE: u8 = 8;

const SET: u8 = 0;
const FIRED: u8 = 1;
const PASSED: u8 = 2;
const PAUSED: u8 = 3;
const RESUMED: u8 = 4;
const MOVED: u8 = 5;
const REMOVED: u8 = 6;

#[derive(Encode, BorrowDecode)]
enum CatchUpV1 {
    Skip,
    One,
    All,
}

#[derive(Encode, BorrowDecode)]
enum OverlapV1 {
    Allow,
    Skip,
    Queue,
    Replace,
}

/// A time, and a job's id.
#[derive(Encode, BorrowDecode)]
struct RunV1(u64, u64);

impl From<CatchUp> for CatchUpV1 {
    fn from(catch_up: CatchUp) -> CatchUpV1 {
        match catch_up {
            CatchUp::Skip => CatchUpV1::Skip,
            CatchUp::One => CatchUpV1::One,
            CatchUp::All => CatchUpV1::All,
        }
    }
}

impl From<CatchUpV1> for CatchUp {
    fn from(catch_up: CatchUpV1) -> CatchUp {
        match catch_up {
            CatchUpV1::Skip => CatchUp::Skip,
            CatchUpV1::One => CatchUp::One,
            CatchUpV1::All => CatchUp::All,
        }
    }
}

impl From<Overlap> for OverlapV1 {
    fn from(overlap: Overlap) -> OverlapV1 {
        match overlap {
            Overlap::Allow => OverlapV1::Allow,
            Overlap::Skip => OverlapV1::Skip,
            Overlap::Queue => OverlapV1::Queue,
            Overlap::Replace => OverlapV1::Replace,
        }
    }
}

impl From<OverlapV1> for Overlap {
    fn from(overlap: OverlapV1) -> Overlap {
        match overlap {
            OverlapV1::Allow => Overlap::Allow,
            OverlapV1::Skip => Overlap::Skip,
            OverlapV1::Queue => Overlap::Queue,
            OverlapV1::Replace => Overlap::Replace,
        }
    }
}

impl From<Run> for RunV1 {
    fn from(run: Run) -> RunV1 {
        RunV1(moment(run.at), run.job.0)
    }
}

impl TryFrom<RunV1> for Run {
    type Error = DecodeError;

    fn try_from(RunV1(at, job): RunV1) -> Result<Run, DecodeError> {
        match job {
            0 => Err(DecodeError::Value("a job of a schedule")),
            job => Ok(Run { at: from_moment(at), job: JobId(job) }),
        }
    }
}

/// Reads the name of one.
pub(super) fn read_name(name: &str) -> Result<ScheduleName, DecodeError> {
    ScheduleName::new(name).map_err(|_| DecodeError::Value("the name of a schedule"))
}

fn put_plan(plan: &Plan, out: &mut Vec<u8>) {
    let Plan { rhythm, catch_up, overlap, jitter, spec, usual_priority, ttl, deadline, payload, configured } =
        plan;
    match rhythm {
        Rhythm::Cron { fields, zone } => put((CRON, &**fields, &**zone), out),
        Rhythm::Every(time) => put((EVERY, DurationV1::from(*time)), out),
    }
    put_spec(spec, out);
    put(&*payload.body, out);
    put_fields(out, |fields| {
        let usual = CatchUp::default();
        fields.put_some(CATCH_UP, (*catch_up != usual).then_some(CatchUpV1::from(*catch_up)));
        let usual = Overlap::default();
        fields.put_some(OVERLAP, (*overlap != usual).then_some(OverlapV1::from(*overlap)));
        fields.put_some(JITTER, (!jitter.is_zero()).then_some(DurationV1::from(*jitter)));
        fields.put_some(TTL, ttl.map(DurationV1::from));
        fields.put_some(DEADLINE, deadline.map(DurationV1::from));
        fields.put_some(USUAL_PRIORITY, usual_priority.then_some(()));
        fields.put_some(CONFIGURED, configured.then_some(()));
        fields.put_some(ENVELOPE, payload.envelope.as_deref());
    });
}

fn read_plan(reader: &mut Reader<'_>) -> Result<Plan, DecodeError> {
    let rhythm = match reader.take::<u8>()? {
        CRON => {
            let (fields, zone): (&str, &str) = reader.take()?;
            if fields.len().max(zone.len()) > Rhythm::TEXT_MAX {
                return Err(DecodeError::Value("the rhythm of a schedule"));
            }
            Rhythm::Cron { fields: fields.into(), zone: zone.into() }
        }
        EVERY => match reader.take::<DurationV1>()?.try_into()? {
            time if time < Rhythm::LEAST => return Err(DecodeError::Value("the rhythm of a schedule")),
            time => Rhythm::Every(time),
        },
        _ => return Err(DecodeError::Value("the rhythm of a schedule")),
    };
    let spec = Arc::new(read_spec(reader)?);
    let payload = Payload { body: reader.take::<&[u8]>()?.into(), envelope: None };
    if payload.body.len() > Payload::BODY_MAX {
        return Err(DecodeError::Value("the body of a schedule"));
    }
    let mut plan = Plan {
        rhythm,
        catch_up: CatchUp::default(),
        overlap: Overlap::default(),
        jitter: Duration::ZERO,
        spec,
        usual_priority: false,
        ttl: None,
        deadline: None,
        payload,
        configured: false,
    };
    read_fields(reader, |field| {
        match field.number {
            CATCH_UP => plan.catch_up = field.value::<CatchUpV1>()?.into(),
            OVERLAP => plan.overlap = field.value::<OverlapV1>()?.into(),
            JITTER => plan.jitter = field.value::<DurationV1>()?.try_into()?,
            TTL => plan.ttl = Some(field.value::<DurationV1>()?.try_into()?),
            DEADLINE => plan.deadline = Some(field.value::<DurationV1>()?.try_into()?),
            USUAL_PRIORITY => {
                field.value::<()>()?;
                plan.usual_priority = true;
            }
            CONFIGURED => {
                field.value::<()>()?;
                plan.configured = true;
            }
            ENVELOPE => plan.payload.envelope = Some(field.value::<&[u8]>()?.into()),
            _ => return Err(field.unknown("a schedule")),
        }
        Ok(())
    })?;
    if plan.spec.has_envelope != plan.payload.envelope.is_some() {
        return Err(DecodeError::Value("the envelope of a schedule"));
    }
    Ok(plan)
}

/// Adds all of a schedule.
pub(super) fn put_schedule(schedule: &Schedule, out: &mut Vec<u8>) {
    let Schedule { plan, paused, since, next, waits, fired, skipped, runs } = schedule;
    put_plan(plan, out);
    put((*paused, moment(*since), moment(*next), *waits, *fired, *skipped), out);
    put(runs.iter().map(|run| RunV1::from(*run)).collect::<Vec<_>>(), out);
}

pub(super) fn read_schedule(reader: &mut Reader<'_>) -> Result<Schedule, DecodeError> {
    let plan = Arc::new(read_plan(reader)?);
    let (paused, since, next, waits, fired, skipped) = reader.take::<(bool, u64, u64, bool, u64, u64)>()?;
    let runs: Vec<RunV1> = reader.take()?;
    if runs.len() > Schedule::RUNS || (paused && waits) {
        return Err(DecodeError::Value("a schedule"));
    }
    let runs = runs.into_iter().map(Run::try_from).collect::<Result<_, _>>()?;
    let (since, next) = (from_moment(since), from_moment(next));
    Ok(Schedule { plan, paused, since, next, waits, fired, skipped, runs })
}

/// Adds what has happened to one.
pub(super) fn put_change(name: &ScheduleName, change: &ScheduleChange, out: &mut Vec<u8>) {
    put(name.as_str(), out);
    let times = |since: &Time, next: &Time| (moment(*since), moment(*next));
    match change {
        ScheduleChange::Set { plan, since, next } => {
            put((SET, times(since, next)), out);
            put_plan(plan, out);
        }
        ScheduleChange::Fired { run, since, next, waits } => {
            put((FIRED, RunV1::from(*run), times(since, next), *waits), out);
        }
        ScheduleChange::Passed { skipped, since, next, waits } => {
            put((PASSED, *skipped, times(since, next), *waits), out);
        }
        ScheduleChange::Paused => put(PAUSED, out),
        ScheduleChange::Resumed { since, next } => put((RESUMED, times(since, next)), out),
        ScheduleChange::Moved { since, next } => put((MOVED, times(since, next)), out),
        ScheduleChange::Removed => put(REMOVED, out),
    }
}

pub(super) fn read_change(reader: &mut Reader<'_>) -> Result<(ScheduleName, ScheduleChange), DecodeError> {
    let name = read_name(reader.take()?)?;
    let times = |reader: &mut Reader<'_>| -> Result<(Time, Time), DecodeError> {
        let (since, next) = reader.take::<(u64, u64)>()?;
        Ok((from_moment(since), from_moment(next)))
    };
    let change = match reader.take::<u8>()? {
        SET => {
            let (since, next) = times(reader)?;
            ScheduleChange::Set { plan: Arc::new(read_plan(reader)?), since, next }
        }
        FIRED => {
            let run = reader.take::<RunV1>()?.try_into()?;
            let (since, next) = times(reader)?;
            ScheduleChange::Fired { run, since, next, waits: reader.take()? }
        }
        PASSED => {
            let skipped = reader.take()?;
            let (since, next) = times(reader)?;
            ScheduleChange::Passed { skipped, since, next, waits: reader.take()? }
        }
        PAUSED => ScheduleChange::Paused,
        RESUMED => {
            let (since, next) = times(reader)?;
            ScheduleChange::Resumed { since, next }
        }
        MOVED => {
            let (since, next) = times(reader)?;
            ScheduleChange::Moved { since, next }
        }
        REMOVED => ScheduleChange::Removed,
        _ => return Err(DecodeError::Value("what has happened to a schedule")),
    };
    Ok((name, change))
}
