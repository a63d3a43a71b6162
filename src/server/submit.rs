//! Submits: what producers ask for is checked and handed to the engine. It decides nothing.
//!
//! Most producers ask for the same again and again. What was read and checked of a connection's last submit is
//! remembered with the bytes that said it ([`LastSubmit`]), and the next one that begins with these is only its bodies.
//! Several of these in a row are decided as one.

use super::budget::FREE;
use super::gate::Gate;
use super::hub::{Hub, Limits};
use super::native::{Invalid, check_batch, millis, queue_name, refusal};
use super::session::Session;
use crate::access::Right;
use crate::clock::Clock;
use crate::core::{BACKOFF_MAX, Backoff, Group, Groups, Growth, Priority, Spec, Start, Time};
use crate::engine::Origin;
use crate::protocol::{
    self as wire, Bodies, ErrorCode, Fault, Request, SubmitGroup, decode_bodies, peek_frame, split_frame,
};
use crate::store::Store;
use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;

// The wire and the core agree.
const _: () = assert!(wire::TAGS_MAX as usize == Spec::TAG_COUNT_MAX);

/// Options that take more bytes than these are not remembered: every connection may have some.
const HEAD_MAX: usize = 512;
/// A submit of more bytes is long: reading one with very many groups of jobs takes up to half a second.
const LONG: usize = 256 << 10;

/// The most jobs, give or take a request, that are decided as one: a part of a connection's share of a turn.
const RUN_MAX: usize = 64;

/// What the last submit of a connection asked for, if it had a single group.
#[derive(Debug, Default)]
pub(super) struct LastSubmit(RefCell<Option<Known>>);

#[derive(Debug)]
struct Known {
    /// Under which configuration it was allowed.
    epoch: u64,
    /// Its payload up to the bodies.
    head: Bytes,
    group: Group,
}

impl LastSubmit {
    /// How long the head of a payload is, if it begins as the last one did.
    fn head_of(&self, payload: &[u8], epoch: u64) -> Option<usize> {
        let last = self.0.borrow();
        let known = last.as_ref().filter(|known| known.epoch == epoch)?;
        payload.starts_with(&known.head).then_some(known.head.len())
    }

    /// What such a payload asks for.
    fn group(&self) -> Option<Group> {
        self.0.borrow().as_ref().map(|known| known.group.clone())
    }

    /// Takes the submits that ask for the same: the one at hand, and those right behind it in `buffer` that are short.
    fn run(
        &self,
        limits: &Limits,
        (request, payload): (u32, &Bytes),
        buffer: &mut BytesMut,
        epoch: u64,
    ) -> Option<Run> {
        let (mut run, head) = (Run::default(), self.head_of(payload, epoch)?);
        run.add(limits, request, payload.slice(head..));
        let short = limits.frame.min(FREE);
        while !run.is_over()
            && let Some((header, payload)) = peek_frame(buffer, short)
            && header.kind == wire::SUBMIT
            && self.head_of(payload, epoch).is_some()
            && let Ok(Some((header, payload))) = split_frame(buffer, short)
        {
            run.add(limits, header.request, payload.slice(head..));
        }
        Some(run)
    }

    fn remember(&self, head: &[u8], group: &Group, epoch: u64) {
        // What a point in time means depends on the wall clock of the moment.
        if head.len() <= HEAD_MAX && !matches!(group.start, Start::At(_)) {
            let head = Bytes::copy_from_slice(head);
            self.0.replace(Some(Known { epoch, head, group: group.clone() }));
        }
    }
}

/// Submits in a row that ask for the same but for their bodies.
#[derive(Debug, Default)]
struct Run {
    /// Each with how many bodies it has.
    requests: SmallVec<[(u32, u64); 1]>,
    bodies: Bodies,
    /// What ended it.
    refused: Option<(u32, Invalid)>,
}

impl Run {
    fn add(&mut self, limits: &Limits, request: u32, rest: Bytes) {
        match again(limits, rest) {
            Ok(bodies) => {
                self.requests.push((request, bodies.len() as u64));
                self.bodies.extend(bodies);
            }
            Err(invalid) => self.refused = Some((request, invalid)),
        }
    }

    /// Whether it ends here. Requests for nothing count as well.
    fn is_over(&self) -> bool {
        self.refused.is_some() || self.requests.len().max(self.bodies.len()) >= RUN_MAX
    }
}

/// Hands a submit that begins as the last one did to the engine, together with those right behind it in `buffer` that
/// do. Returns whether it does: deciding each by itself is most of what many in a row cost.
pub(super) fn handle_again<S: Store + 'static>(
    hub: &Hub<S>,
    session: &Session,
    (request, payload): (u32, &Bytes),
    buffer: &mut BytesMut,
    now: Time,
) -> bool {
    let (limits, last) = (hub.service.borrow().limits, &session.last_submit);
    let Some(run) = last.run(&limits, (request, payload), buffer, hub.epoch()) else { return false };
    let Some(group) = last.group() else { return false };
    let mut engine = hub.engine.borrow_mut();
    engine.submit_alike(session.id, &run.requests, &group, run.bodies, now);
    if let Some((request, invalid)) = run.refused {
        engine.answer(Origin { session: session.id, request }, refusal(request, invalid));
    }
    true
}

fn again(limits: &Limits, rest: Bytes) -> Result<Bodies, Invalid> {
    let bodies = decode_bodies(rest).map_err(|malformed| invalid(malformed.into()))?;
    check_batch(limits, bodies.len())?;
    check_bodies(limits, &bodies)?;
    Ok(bodies)
}

/// Hands any other submit, which came at `now`, to the engine. A long one is read beside the loop, and what is left of it is
/// dropped there.
pub(super) async fn handle<S: Store + 'static>(
    hub: &Hub<S>,
    session: &Session,
    origin: Origin,
    (payload, until): (Bytes, Option<Time>),
    now: Time,
) -> Result<(), Invalid> {
    let (limits, uid) = (hub.service.borrow().limits, session.peer.caller.uid);
    if payload.len() <= LONG {
        let mut read = read(&limits, uid, &payload, &hub.clock)?;
        allowed(hub, session, &payload, &mut read)?;
        submit(hub, origin, (read.groups, read.bodies), until, now);
        return Ok(());
    }
    let (long, clock) = (payload.clone(), hub.clock.clone());
    let done = hub.beside.run(move || read(&limits, uid, &long, &clock)).await;
    // It does not panic, whatever is in it; if it does, this is the end of its request and no more.
    let (read, leftovers) = done.ok_or((ErrorCode::Internal, "the request could not be read".into()))?;
    let mut read = read?;
    let allowed = allowed(hub, session, &payload, &mut read);
    let (groups, bodies) = match &allowed {
        Ok(()) => submit(hub, origin, (read.groups, read.bodies), until, now),
        Err(_) => (read.groups, read.bodies),
    };
    // If the thread is gone, they are dropped here.
    let _ = leftovers.send((groups, bodies, payload));
    allowed
}

/// The same for one that waits for the ends of its jobs: before the rest its payload says how long.
pub(super) async fn handle_and_wait<S: Store + 'static>(
    hub: &Hub<S>,
    session: &Session,
    origin: Origin,
    mut payload: Bytes,
    now: Time,
) -> Result<(), Invalid> {
    let wait = payload.try_get_u64_le();
    let wait = wait.map_err(|_| (ErrorCode::Malformed, "it ends within the wait".to_owned()))?;
    let until = if wait == u64::MAX { Time::NEVER } else { now.plus(millis(wait)) };
    handle(hub, session, origin, (payload, Some(until)), now).await
}

/// Returns what there is no more use for.
fn submit<S: Store>(
    hub: &Hub<S>,
    origin: Origin,
    (groups, bodies): (Groups, Bodies),
    until: Option<Time>,
    now: Time,
) -> (Groups, Bodies) {
    let mut engine = hub.engine.borrow_mut();
    match until {
        None => engine.submit(origin, groups, bodies, now),
        Some(until) => engine.submit_and_wait(origin, groups, bodies, until, now),
    }
}

/// What a submit says, and how long the part before the bodies is if it has one group.
struct Read {
    groups: Groups,
    bodies: Bodies,
    head_len: Option<usize>,
    /// The groups that ask for no priority: theirs is the queue's.
    usual: SmallVec<[usize; 1]>,
}

fn read(limits: &Limits, uid: u32, payload: &Bytes, clock: &Clock) -> Result<Read, Invalid> {
    let request = Request::decode(wire::SUBMIT, payload.clone(), limits.batch).map_err(invalid)?;
    let Request::Submit(asked) = request else { unreachable!("it is of that kind") };
    let count = asked.iter().map(|group| group.bodies.len()).sum();
    check_batch(limits, count)?;
    let (mut groups, mut bodies) = (Groups::new(), Bodies::with_capacity(count));
    let head_len = asked.first().filter(|_| asked.len() == 1).map(|only| only.head_len(payload.len()));
    let mut usual = SmallVec::new();
    for SubmitGroup { options, bodies: more } in asked {
        check_bodies(limits, &more)?;
        if options.priority.is_none() {
            usual.push(groups.len());
        }
        groups.push(group(options, more.len() as u64, uid, clock)?);
        bodies.extend(more);
    }
    Ok(Read { groups, bodies, head_len, usual })
}

/// What was read, if whoever asks may submit it. Fills in the priorities that the queues have.
fn allowed<S: Store + 'static>(
    hub: &Hub<S>,
    session: &Session,
    payload: &[u8],
    read: &mut Read,
) -> Result<(), Invalid> {
    let (gate, service) = (Gate::of(hub, session), hub.service.borrow());
    for at in &read.usual {
        let spec = Arc::make_mut(&mut read.groups[*at].spec);
        spec.priority = service.settings.of(&spec.queue).priority;
    }
    for group in &read.groups {
        gate.queue(Right::Submit, &group.spec.queue)?;
        can_run_as(&service.handlers, &group.spec)?;
    }
    if let Some(len) = read.head_len {
        session.last_submit.remember(&payload[..len], &read.groups[0], hub.epoch());
    }
    Ok(())
}

fn invalid(Fault { code, message }: Fault) -> Invalid {
    (code, message)
}

fn check_bodies(limits: &Limits, bodies: &[Bytes]) -> Result<(), Invalid> {
    let max = limits.body;
    match bodies.iter().find(|body| body.len() > max) {
        None => Ok(()),
        Some(long) => {
            let len = long.len();
            Err((
                ErrorCode::TooLarge,
                format!("a body of {len} bytes: at most {max} are allowed (limits.body)"),
            ))
        }
    }
}

/// A command job runs as the user who submitted it. Only root can run something as somebody else.
fn can_run_as(handlers: &[wire::admin::HandlerView], spec: &Spec) -> Result<(), Invalid> {
    let runs_commands =
        handlers.iter().any(|handler| handler.exec.is_none() && handler.queue == spec.queue.as_str());
    let own = rustix::process::geteuid().as_raw();
    if runs_commands && spec.owner != own && own != 0 {
        let message = format!(
            "queue `{}` runs commands as the user who submits them, and a daemon of user {own} cannot run anything as \
             you (uid {}): submit as that user, or to a daemon of root or of your own",
            spec.queue, spec.owner
        );
        return Err((ErrorCode::Forbidden, message));
    }
    Ok(())
}

fn group(options: wire::JobOptions, count: u64, owner: u32, clock: &Clock) -> Result<Group, Invalid> {
    if options.attempts == Some(0) {
        return Err((ErrorCode::Invalid, "0 attempts: a job has at least one".into()));
    }
    if options.ttl_ms == Some(0) {
        let message =
            "a time to live of 0: it would be over before the job could begin; leave it out for none";
        return Err((ErrorCode::Invalid, message.into()));
    }
    let start = match options.start {
        wire::Start::Now => Start::Now,
        wire::Start::After(ms) => Start::After(millis(ms)),
        wire::Start::At(ms) => Start::At(clock.at_wall(Time(ms))),
    };
    let spec = Arc::new(Spec {
        queue: queue_name(&options.queue)?,
        priority: options.priority.map(Priority).unwrap_or_default(),
        attempts: options.attempts,
        backoff: options.backoff.map(backoff),
        timeout: options.timeout_ms.map(millis),
        tags: options.tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        owner,
    });
    Ok(Group { spec, count, start, ttl: options.ttl_ms.map(millis) })
}

fn backoff(backoff: wire::WireBackoff) -> Backoff {
    Backoff {
        growth: match backoff.growth {
            0 => Growth::Fixed,
            1 => Growth::Linear,
            _ => Growth::Exponential,
        },
        base: millis(backoff.base_ms).min(BACKOFF_MAX),
        max: millis(backoff.max_ms).min(BACKOFF_MAX),
        jitter_permille: backoff.jitter_permille.min(1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(queue: &str) -> Group {
        let spec = Spec::plain(queue_name(queue).unwrap()).into();
        Group { spec, count: 1, start: Start::Now, ttl: None }
    }

    #[test]
    fn what_begins_as_the_last_one_did_is_known_until_the_configuration_changes() {
        let last = LastSubmit::default();
        assert_eq!(last.head_of(b"mails:body", 1), None, "nothing was submitted yet");
        last.remember(b"mails:", &group("mails"), 1);
        assert_eq!((last.head_of(b"mails:body", 1), last.group()), (Some(6), Some(group("mails"))));
        assert_eq!(last.head_of(b"mail", 1), None, "it ends too early");
        assert_eq!(last.head_of(b"other:body", 1), None);
        assert_eq!(last.head_of(b"mails:body", 2), None, "what was allowed may not be any more");
        last.remember(&[b'x'; HEAD_MAX + 1], &group("long"), 1);
        assert!(last.head_of(b"mails:body", 1).is_some(), "long options are not kept");
        last.remember(b"at:", &Group { start: Start::At(Time(9)), ..group("q") }, 1);
        assert_eq!(last.head_of(b"at:body", 1), None, "the clock may be set between two submits");
    }

    /// How many requests a run takes of a hundred with so many bodies each.
    fn run_of(bodies: usize, frame: usize) -> usize {
        let options = wire::JobOptions { queue: "mails".into(), ..wire::JobOptions::default() };
        let submit = Request::Submit(vec![SubmitGroup { options, bodies: vec![Bytes::new(); bodies] }]);
        let mut sent = Vec::new();
        (1..=100).for_each(|number| submit.encode(number, &mut sent));
        let mut buffer = BytesMut::from(&sent[..]);
        let (header, payload) = split_frame(&mut buffer, 1 << 20).unwrap().unwrap();
        let last = LastSubmit::default();
        last.remember(&payload[..payload.len() - 4 - 4 * bodies], &group("mails"), 1);
        let (output, buffers, bounds) = (0, 0, Default::default());
        let limits = Limits { connections: 1, frame, body: 9, batch: 999, output, buffers, bounds };
        let run = last.run(&limits, (header.request, &payload), &mut buffer, 1).unwrap();
        assert_eq!(run.bodies.len(), run.requests.len() * bodies);
        run.requests.len()
    }

    #[test]
    fn a_run_is_short_whatever_is_in_it() {
        assert_eq!((run_of(1, 1 << 20), run_of(10, 1 << 20), run_of(99, 1 << 20)), (64, 7, 1));
        assert_eq!(run_of(0, 1 << 20), 64, "requests for nothing cost something too");
        assert_eq!(run_of(1, 10), 1, "one that is longer than is allowed is not taken by the way");
    }
}
