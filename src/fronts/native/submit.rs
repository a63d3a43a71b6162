//! Submits of the native wire. Those with the same options as the last one of their connection take the fast path
//! (`last_submit.rs`); long ones are decoded in the background.

use super::backoff::backoff;
use super::encode;
use super::last_submit::{Alike, LastSubmit};
use super::requests::{lease_id, unreadable};
use crate::clock::Clock;
use crate::core::{
    After, AfterWhat, Condition, Group, GroupName, JobId, Key, LeaseId, OnConflict, OnUnmet, Priority,
    RequestKey, Spec, SpecOptions, Start, Ties, Time, UniqueWhile,
};
use crate::engine::{Origin, SubmitOptions};
use crate::protocol::{self as wire, Request, SubmitGroup, Version};
use crate::server::requests::{RequestContext, millis, queue_name};
use crate::server::submit::{
    Submission, allow, allow_to_complete, check_options, envelope, key, request_key, submit,
};
use crate::server::{Fault, Hub, Kind, Limits};
use crate::store::{Envelope, Store};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;

// The wire and the core agree.
const _: () = assert!(wire::TAGS_MAX as usize == Envelope::TAG_COUNT_MAX);
const _: () = assert!(wire::TAG_BYTES_MAX == Envelope::TAGS_MAX);

/// A submit of more bytes is read in the background: one with very many groups of jobs takes up to half a second.
const BACKGROUND_LEAST: usize = 256 << 10;

/// Hands a submit that begins as the last one did to the engine, together with those right behind it in `buffer` that
/// do. Returns whether it does: deciding each by itself is most of what many in a row cost.
pub(super) fn handle_again<S: Store + 'static>(
    hub: &Hub<S>,
    last: &LastSubmit,
    context: RequestContext<'_>,
    payload: &Bytes,
    buffer: &mut BytesMut,
) -> bool {
    let (limits, origin) = (hub.service.borrow().limits, context.origin);
    let alike = last.take_alike(&limits, (origin.request, payload), buffer, hub.epoch());
    let Some(Alike { group, envelope, requests, bodies, refused }) = alike else { return false };
    let mut engine = hub.engine.borrow_mut();
    engine.submit_alike(origin.session, &requests, (&group, envelope.as_ref()), bodies, context.now);
    if let Some((request, fault)) = refused {
        let origin = Origin { request, ..origin };
        engine.answer(origin, encode::refusal(origin, &fault));
    }
    true
}

/// Hands any other submit to the engine. What is left of a long one is dropped in the background too.
pub(super) async fn handle<S: Store + 'static>(
    hub: &Hub<S>,
    last: &LastSubmit,
    context: RequestContext<'_>,
    version: Version,
    (kind, payload): (u8, Bytes),
) -> Result<(), Fault> {
    let (limits, uid) = (hub.service.borrow().limits, context.peer.caller.uid);
    let request = (version, kind, payload.clone());
    if payload.len() <= BACKGROUND_LEAST {
        let mut read = read(&limits, uid, request, &hub.clock)?;
        allow_and_remember(hub, last, context, &payload, &mut read)?;
        let options = read.options(context);
        submit(hub, context, read.submission, options);
        return Ok(());
    }
    let clock = hub.clock.clone();
    let done = hub.background.run(move || read(&limits, uid, request, &clock)).await;
    // It does not panic, whatever is in it; if it does, this is the end of its request and no more.
    let (read, leftovers) = done.ok_or(Fault::new(Kind::Internal, "the request could not be read"))?;
    let mut read = read?;
    let options = read.options(context);
    let allowed = allow_and_remember(hub, last, context, &payload, &mut read);
    let (groups, contents) = match &allowed {
        Ok(()) => submit(hub, context, read.submission, options),
        Err(_) => (read.submission.groups, read.submission.contents),
    };
    // If the thread is gone, they are dropped here.
    let _ = leftovers.send((groups, contents, payload));
    allowed
}

/// A decoded submit.
struct Read {
    submission: Submission,
    /// How long to wait for the ends of its jobs, if it does: at most so long, if a limit is given.
    wait: Option<Option<Duration>>,
    /// How it is known again, if its sender may repeat it.
    once: Option<RequestKey>,
    /// The lease of the job that is completed with it.
    completes: Option<LeaseId>,
    /// How long the part before the bodies is, if it has one group and does not wait.
    head_len: Option<usize>,
    /// The envelope of its jobs, then.
    envelope: Option<Bytes>,
}

impl Read {
    fn options(&self, context: RequestContext<'_>) -> SubmitOptions {
        let ends = self.wait.map(|wait| context.until(wait));
        SubmitOptions { ends, once: self.once, completes: self.completes }
    }
}

fn read(
    limits: &Limits,
    uid: u32,
    (version, kind, payload): (Version, u8, Bytes),
    clock: &Clock,
) -> Result<Read, Fault> {
    let len = payload.len();
    let request = version.decode_request(kind, payload.clone(), limits.batch).map_err(unreadable)?;
    let once = once(uid, version, &payload, &request)?;
    let (mut groups, wait, completes) = match request {
        Request::Submit(groups) | Request::SubmitOnce { groups, .. } => (groups, None, None),
        Request::SubmitAndWait { groups, timeout_ms } => (groups, Some(timeout_ms.map(millis)), None),
        Request::CompleteAndSubmit { lease, groups, .. } => (groups, None, Some(lease_id(lease))),
        _ => unreachable!("it is of these kinds"),
    };
    let count = groups.iter().map(|group| group.bodies.len()).sum();
    limits.check_batch(count)?;
    let mut submission = Submission::with_capacity(groups.len(), count);
    let mut is_plain = wait.is_none() && once.is_none() && completes.is_none();
    let only = groups.first().filter(|_| groups.len() == 1);
    let head_len = only.map(|group| group.head_len(len));
    let mut envelope = None;
    for SubmitGroup { options, bodies } in &mut groups {
        let bodies = std::mem::take(bodies);
        limits.check_bodies(&bodies)?;
        let (has_priority, to_topic) = (options.priority.is_some(), options.to_topic);
        is_plain &= !to_topic;
        let before = submission.groups.last().map(|group| &*group.spec);
        let (group, of_group) = group(options, before, bodies.len() as u64, uid, clock)?;
        envelope = of_group.clone().filter(|_| head_len.is_some());
        if to_topic {
            submission.is_to_topic();
        }
        submission.add(group, has_priority, of_group, bodies);
    }
    let head_len = head_len.filter(|_| is_plain);
    Ok(Read { submission, wait, once, completes, head_len, envelope })
}

/// By what a request with an idempotency key is known again: the key, and all that it says but for the trace that it belongs to.
fn once(uid: u32, version: Version, payload: &[u8], request: &Request) -> Result<Option<RequestKey>, Fault> {
    let (key, without) = match request {
        Request::SubmitOnce { groups, key } => {
            let without = |groups| Request::SubmitOnce { groups, key: key.clone() };
            (key, wire::without_trace(groups).map(without))
        }
        Request::CompleteAndSubmit { lease, groups, key: Some(key) } => {
            let without =
                |groups| Request::CompleteAndSubmit { lease: *lease, groups, key: Some(key.clone()) };
            (key, wire::without_trace(groups).map(without))
        }
        _ => return Ok(None),
    };
    check_idempotency_key(key)?;
    let Some(without) = without else { return Ok(Some(request_key(uid, key, payload))) };
    let mut frame = Vec::with_capacity(payload.len());
    version.encode_request(&without, 0, &mut frame);
    Ok(Some(request_key(uid, key, &frame[wire::HEADER..])))
}

/// Refuses an idempotency key that is none, or too long.
fn check_idempotency_key(key: &str) -> Result<(), Fault> {
    match key.len() {
        0 => {
            Err(Fault::new(Kind::Invalid, "an empty idempotency key: leave it out for a submit without one"))
        }
        len if len > Envelope::KEY_MAX => {
            let message = format!(
                "the idempotency key has {len} bytes, at most {} are allowed: use a hash of it",
                Envelope::KEY_MAX
            );
            Err(Fault::new(Kind::TooLarge, message))
        }
        _ => Ok(()),
    }
}

/// Refuses what the caller may not submit.
fn allow_and_remember<S: Store + 'static>(
    hub: &Hub<S>,
    last: &LastSubmit,
    context: RequestContext<'_>,
    payload: &[u8],
    read: &mut Read,
) -> Result<(), Fault> {
    allow(hub, context.peer, &mut read.submission)?;
    read.completes.map_or(Ok(()), |lease| allow_to_complete(hub, context.peer, lease))?;
    if let Some(len) = read.head_len {
        last.remember(&payload[..len], (&read.submission.groups[0], read.envelope.as_ref()), hub.epoch());
    }
    Ok(())
}

/// What a group asks for, and the envelope of its jobs. What it has in common with the one before it is shared.
fn group(
    options: &mut wire::JobOptions,
    before: Option<&Spec>,
    count: u64,
    owner: u32,
    clock: &Clock,
) -> Result<(Group, Option<Bytes>), Fault> {
    let (ttl, deadline) = (options.ttl_ms.map(millis), options.deadline_ms.map(millis));
    check_options(options.attempts, ttl, deadline)?;
    let start = match options.start {
        wire::Start::Now => Start::Now,
        wire::Start::After(ms) => Start::After(millis(ms)),
        wire::Start::At(ms) => Start::At(clock.at_wall(Time(ms))),
    };
    let (unique, unique_while, on_conflict) = unique(options.unique.as_ref(), start)?;
    let texts = (options.key.take(), options.unique.take().map(|unique| unique.key));
    if [&texts.0, &texts.1].into_iter().flatten().any(String::is_empty) {
        return Err(Fault::new(Kind::Invalid, "an empty key: leave it out for a job without one"));
    }
    let ties = options.ties.take().map(ties).transpose()?.map(Arc::new);
    let changes_another = !matches!(on_conflict, OnConflict::Existing | OnConflict::Reject);
    if ties.is_some() && unique.is_some() && changes_another {
        let message = "jobs that wait for others, or belong to a group, with a unique key on whose conflict another job would change: that \
                       one would neither wait nor belong to it; use the way `existing` or `reject`";
        return Err(Fault::new(Kind::Invalid, message));
    }
    let key = texts.0.as_deref().map(key);
    let envelope = envelope(std::mem::take(&mut options.tags), texts)?;
    let options_of = SpecOptions {
        queue: match before.map(|before| &before.queue).filter(|queue| queue.as_str() == options.queue) {
            Some(queue) => queue.clone(),
            None => queue_name(&options.queue)?,
        },
        priority: options.priority.map(Priority).unwrap_or_default(),
        attempts: options.attempts,
        backoff: options.backoff.map(backoff),
        timeout: options.timeout_ms.map(millis),
        unique_while,
        has_envelope: envelope.is_some(),
        owner,
        group: None,
    };
    let options_of = match before.map(|before| &before.options).filter(|before| ***before == options_of) {
        Some(options) => options.clone(),
        None => options_of.into(),
    };
    let spec = Spec { options: options_of, key, unique }.into();
    Ok((Group { spec, count, start, ttl, deadline, on_conflict, size: Default::default(), ties }, envelope))
}

/// What jobs wait for, and their group, for the core.
fn ties(ties: wire::Ties) -> Result<Ties, Fault> {
    let name =
        |name: &str| GroupName::new(name).map_err(|error| Fault::new(Kind::Invalid, error.to_string()));
    let after = |wire::After { on, when }: wire::After| {
        let on = match on {
            wire::AfterWhat::Job(id) => AfterWhat::Job(JobId(id)),
            wire::AfterWhat::Place(place) => AfterWhat::Place(place),
            wire::AfterWhat::Group(text) => AfterWhat::Group(name(&text)?),
        };
        let when = match when {
            wire::Condition::Done => Condition::Done,
            wire::Condition::Ended => Condition::Ended,
            wire::Condition::Failed => Condition::Failed,
        };
        Ok(After { on, when })
    };
    let on_unmet = match ties.on_unmet {
        wire::OnUnmet::Cancel => OnUnmet::Cancel,
        wire::OnUnmet::Run => OnUnmet::Run,
        wire::OnUnmet::Hold => OnUnmet::Hold,
    };
    if ties.seal && ties.group.is_none() {
        return Err(Fault::new(
            Kind::Invalid,
            "to seal a group that is not named: say which one the jobs belong to",
        ));
    }
    let after = ties.after.into_iter().map(after).collect::<Result<_, Fault>>()?;
    let group = ties.group.as_deref().map(name).transpose()?;
    Ok(Ties { after, on_unmet, group, seals: ties.seal })
}

/// A unique key for the core, how long it is held, and what happens if it is.
fn unique(
    unique: Option<&wire::Unique>,
    start: Start,
) -> Result<(Option<Key>, UniqueWhile, OnConflict), Fault> {
    let Some(unique) = unique else { return Ok((None, UniqueWhile::default(), OnConflict::default())) };
    let held = match unique.held {
        wire::Held::Waiting => UniqueWhile::Waiting,
        wire::Held::Unfinished | wire::Held::For(0) => UniqueWhile::Unfinished,
        wire::Held::For(ms) => UniqueWhile::Kept(millis(ms)),
    };
    let on_conflict = match unique.on_conflict {
        wire::OnConflict::Existing => OnConflict::Existing,
        wire::OnConflict::Replace => OnConflict::Replace,
        wire::OnConflict::Raise => OnConflict::Raise,
        wire::OnConflict::Debounce { .. } if start == Start::Now => {
            let message =
                "to debounce without a delay: the job would run at once; say how long it is to wait";
            return Err(Fault::new(Kind::Invalid, message));
        }
        wire::OnConflict::Debounce { max_ms } => OnConflict::Debounce { max: max_ms.map(millis) },
        wire::OnConflict::Reject => OnConflict::Reject,
    };
    Ok((Some(key(&unique.key)), held, on_conflict))
}
