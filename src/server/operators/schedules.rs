//! Schedules: what may be asked of them, and by whom, and how they are. Who may submit to a queue may have that done by the
//! clock. A schedule belongs to whoever made it, as its jobs do.

use crate::access::Right;
use crate::calendar::system_zone;
use crate::core::{
    CatchUp, JobId, Overlap, Payload, Plan, Rhythm, Schedule, ScheduleClock, ScheduleName, Spec, SpecOptions,
    Time,
};
use crate::engine::Engine;
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::permissions::Permissions;
use crate::server::permissions::can_run_as;
use crate::server::requests::RequestContext;
use crate::server::submit::{self, check_options};
use crate::store::{Envelope, Store};
use crate::views::{BACKOFF_KINDS, BackoffView, ScheduleRunView, ScheduleView};
use std::time::Duration;

/// The most times to come that are told.
const NEXT_MAX: usize = 1_000;

/// What somebody wants to have submitted, and when.
pub(crate) struct ScheduleRequest {
    pub(crate) name: String,
    pub(crate) replace: bool,
    /// The fields of cron, and the zone; the system's if not given.
    pub(crate) cron: Option<(String, Option<String>)>,
    pub(crate) every: Option<Duration>,
    pub(crate) catch_up: Option<String>,
    pub(crate) overlap: Option<String>,
    pub(crate) jitter: Duration,
    /// What its jobs ask for; the owner is whoever asks.
    pub(crate) options: SpecOptions,
    /// Whether they ask for a priority.
    pub(crate) has_priority: bool,
    pub(crate) ttl: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    /// The concurrency key of its jobs.
    pub(crate) key: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Makes a schedule, or changes one.
pub(crate) fn add<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    wanted: ScheduleRequest,
) -> Result<ScheduleView, Fault> {
    let (name, replace) = (schedule_name(&wanted.name)?, wanted.replace);
    let permissions = hub.permissions(context.peer);
    permissions.queue(Right::Submit, &wanted.options.queue)?;
    check_options(wanted.options.attempts, wanted.ttl, wanted.deadline)?;
    {
        let service = hub.service.borrow();
        can_run_as(&service.handlers, &wanted.options.queue, wanted.options.owner)?;
        service.limits.check_body(wanted.body.len())?;
    }
    let plan = plan(wanted)?;
    let mut engine = at_the_clock(hub, context);
    if let Some(there) = engine.core().state.schedules().get(&name).filter(|_| replace) {
        permissions.change(&there.plan.spec, true)?;
    }
    engine.set_schedule(&name, plan, replace, context.now).map_err(|refusal| Fault::from(&refusal))?;
    let schedule = engine.core().state.schedules().get(&name);
    Ok(view(&engine, &name, schedule.expect("it was made just now")))
}

/// What a plan is that was asked for by command.
fn plan(wanted: ScheduleRequest) -> Result<Plan, Fault> {
    let invalid = |message: String| Fault::new(Kind::Invalid, message);
    let rhythm = match (wanted.cron, wanted.every) {
        (Some((fields, zone)), None) => {
            let zone = zone.unwrap_or_else(system_zone);
            if fields.len().max(zone.len()) > Rhythm::TEXT_MAX {
                return Err(invalid(format!("cron and zone have at most {} bytes each", Rhythm::TEXT_MAX)));
            }
            Rhythm::Cron { fields: fields.into(), zone: zone.into() }
        }
        (None, Some(time)) => Rhythm::Every(time),
        _ => return Err(invalid("a schedule has either cron or every".into())),
    };
    if wanted.body.len() > Payload::BODY_MAX {
        let (len, max) = (wanted.body.len(), Payload::BODY_MAX);
        let message = format!("a body of {len} bytes: that of a schedule has at most {max}");
        return Err(Fault::new(Kind::TooLarge, message));
    }
    if wanted.key.as_deref() == Some("") {
        return Err(invalid("an empty key: leave it out for jobs without one".into()));
    }
    let key = wanted.key.as_deref().map(submit::key);
    let envelope = submit::envelope(wanted.tags, (wanted.key, None))?.map(|envelope| (*envelope).into());
    let options = SpecOptions { has_envelope: envelope.is_some(), ..wanted.options };
    Ok(Plan {
        rhythm,
        catch_up: word("catch_up", wanted.catch_up.as_deref(), &CatchUp::ALL)?,
        overlap: word("overlap", wanted.overlap.as_deref(), &Overlap::ALL)?,
        jitter: wanted.jitter,
        usual_priority: !wanted.has_priority,
        ttl: wanted.ttl,
        deadline: wanted.deadline,
        spec: Spec::from(options).with_key(key).into(),
        payload: Payload { body: wanted.body.into(), envelope },
        configured: false,
    })
}

fn word<T: Copy + Default>(key: &str, written: Option<&str>, words: &[(&str, T)]) -> Result<T, Fault> {
    let Some(written) = written else { return Ok(T::default()) };
    let found = words.iter().find(|(word, _)| *word == written);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let shown: String = written.chars().take(40).collect();
        let message = format!("`{}` is no {key}: use one of {}", shown.escape_debug(), all.join(", "));
        Fault::new(Kind::Invalid, message)
    })
}

/// Those that somebody may see, by name.
pub(crate) fn schedules<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>) -> Vec<ScheduleView> {
    let (permissions, engine) = (hub.permissions(context.peer), at_the_clock(hub, context));
    let all = engine.core().state.schedules().iter();
    let seen = all.filter(|(_, schedule)| permissions.reads(&schedule.plan.spec));
    seen.map(|(name, schedule)| view(&engine, name, schedule)).collect()
}

/// One of them.
pub(crate) fn schedule<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
) -> Result<ScheduleView, Fault> {
    let name = schedule_name(name)?;
    let (permissions, engine) = (hub.permissions(context.peer), at_the_clock(hub, context));
    let schedule = seen(&engine, &permissions, &name)?;
    Ok(view(&engine, &name, schedule))
}

/// Its next times, in milliseconds since 1970.
pub(crate) fn next_times<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
    count: u32,
) -> Result<Vec<u64>, Fault> {
    let name = schedule_name(name)?;
    let (permissions, mut engine) = (hub.permissions(context.peer), at_the_clock(hub, context));
    seen(&engine, &permissions, &name)?;
    let times = engine.next_times(&name, (count as usize).min(NEXT_MAX));
    let times = times.map_err(|refusal| Fault::from(&refusal))?;
    Ok(times.into_iter().map(|time| time.0).collect())
}

/// Submits a job of one now.
pub(crate) fn trigger<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
) -> Result<JobId, Fault> {
    let name = schedule_name(name)?;
    let (permissions, mut engine) = (hub.permissions(context.peer), at_the_clock(hub, context));
    permissions.change(&seen(&engine, &permissions, &name)?.plan.spec, true)?;
    let ids = engine.trigger_schedule(&name, context.now).map_err(|refusal| Fault::from(&refusal))?;
    Ok(ids.first)
}

/// Lets one submit nothing, or submit again.
pub(crate) fn pause<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
    pause: bool,
) -> Result<(), Fault> {
    let name = schedule_name(name)?;
    let (permissions, mut engine) = (hub.permissions(context.peer), at_the_clock(hub, context));
    permissions.change(&seen(&engine, &permissions, &name)?.plan.spec, !pause)?;
    engine.pause_schedule(context.origin, &name, pause, context.now);
    Ok(())
}

/// Forgets one.
pub(crate) fn remove<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &str,
) -> Result<(), Fault> {
    let name = schedule_name(name)?;
    let (permissions, mut engine) = (hub.permissions(context.peer), at_the_clock(hub, context));
    permissions.change(&seen(&engine, &permissions, &name)?.plan.spec, false)?;
    engine.remove_schedule(context.origin, &name, context.now);
    Ok(())
}

/// The engine, which knows what the wall clock shows.
fn at_the_clock<'a, S: Store + 'static>(
    hub: &'a Hub<S>,
    context: RequestContext<'_>,
) -> std::cell::RefMut<'a, Engine<S>> {
    let mut engine = hub.engine.borrow_mut();
    engine.wall_clock_is(hub.clock.ahead_ms(), context.now);
    engine
}

fn schedule_name(name: &str) -> Result<ScheduleName, Fault> {
    ScheduleName::new(name).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))
}

/// One that is there for whoever asks.
fn seen<'a, S: Store>(
    engine: &'a Engine<S>,
    permissions: &Permissions<'_>,
    name: &ScheduleName,
) -> Result<&'a Schedule, Fault> {
    let there = engine.core().state.schedules().get(name);
    there.filter(|schedule| permissions.reads(&schedule.plan.spec)).ok_or_else(|| {
        let message = format!("no such schedule: `{name}` (`musher schedule list` has all of them)");
        Fault::new(Kind::NotFound, message)
    })
}

fn view<S: Store>(engine: &Engine<S>, name: &ScheduleName, schedule: &Schedule) -> ScheduleView {
    let Schedule { plan, paused, next, waits, fired, skipped, runs, .. } = schedule;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (cron, zone, every_ms) = match &plan.rhythm {
        Rhythm::Cron { fields, zone } => (Some(fields.to_string()), Some(zone.to_string()), None),
        Rhythm::Every(time) => (None, None, Some(millis(*time))),
    };
    let clock: ScheduleClock = schedule.clock();
    let state = |job: JobId| engine.core().state.job(job).map(|job| job.kind().name().to_owned());
    let runs = runs.iter().rev().map(|run| ScheduleRunView {
        at: engine.wall_time(clock, run.at).0,
        job: run.job.0,
        state: state(run.job),
    });
    let name_of = |catch_up| CatchUp::ALL.iter().find(|(_, it)| *it == catch_up).expect("each has a name").0;
    let word_of = |overlap| Overlap::ALL.iter().find(|(_, it)| *it == overlap).expect("each has a name").0;
    let envelope = plan.payload.envelope.as_deref().map(Envelope::decode);
    let envelope = envelope.and_then(Result::ok).unwrap_or_default();
    let tags = envelope.tags().iter().map(|(name, value)| (name.to_string(), value.to_string()));
    ScheduleView {
        name: name.to_string(),
        cron,
        zone,
        every_ms,
        queue: plan.spec.queue.to_string(),
        owner: plan.spec.owner,
        configured: plan.configured,
        paused: *paused,
        waits: *waits,
        next_at: (!paused && *next != Time::NEVER).then(|| engine.wall_time(clock, *next).0),
        fired: *fired,
        skipped: *skipped,
        catch_up: name_of(plan.catch_up).into(),
        overlap: word_of(plan.overlap).into(),
        jitter_ms: millis(plan.jitter),
        priority: (!plan.usual_priority).then_some(plan.spec.priority.0),
        attempts: plan.spec.attempts,
        backoff: plan.spec.backoff.map(|backoff| BackoffView {
            kind: BACKOFF_KINDS[backoff.growth as usize].into(),
            base_ms: millis(backoff.base),
            max_ms: millis(backoff.max),
            jitter_permille: backoff.jitter_permille,
        }),
        ttl_ms: plan.ttl.map(millis),
        deadline_ms: plan.deadline.map(millis),
        timeout_ms: plan.spec.timeout.map(millis),
        key: envelope.key().map(str::to_owned),
        tags: tags.collect(),
        body_bytes: plan.payload.body.len() as u64,
        runs: runs.collect(),
    }
}
