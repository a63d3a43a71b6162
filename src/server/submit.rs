//! Submits: checks that the caller may submit these jobs, and passes them to the engine. It decides nothing.

use super::fault::{Fault, Kind};
use super::hub::Hub;
use super::peer::Peer;
use super::permissions::can_run_as;
use super::requests::RequestContext;
use super::service::Limits;
use crate::access::Right;
use crate::core::{
    After, AfterWhat, Core, Group, Groups, Key, LeaseId, LeaseRejection, QueueName, Rejection, RequestKey,
    Spec, SpecOptions, Visibility,
};
use crate::engine::{Contents, Refusal, SubmitOptions};
use crate::store::{Envelope, Store};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// Jobs as a front has read them.
#[derive(Debug, Default)]
pub(crate) struct Submission {
    pub(crate) groups: Groups,
    /// Of all groups, in their order.
    pub(crate) contents: Contents,
    /// The groups that ask for no priority: theirs is the queue's.
    usual: SmallVec<[usize; 1]>,
    /// Those whose queue is a topic.
    topics: SmallVec<[usize; 1]>,
}

impl Submission {
    /// For so many groups with so many jobs.
    pub(crate) fn with_capacity(groups: usize, jobs: usize) -> Submission {
        let (groups, usual) = (Groups::with_capacity(groups), SmallVec::with_capacity(groups));
        Submission { groups, usual, contents: Contents::with_capacity(jobs), ..Submission::default() }
    }

    /// The next group is for a topic.
    pub(crate) fn is_to_topic(&mut self) {
        self.topics.push(self.groups.len());
    }

    /// The same with a group for each queue in the place of one for a topic.
    fn spread(&mut self, core: &Core, limits: &Limits) -> Result<(), Fault> {
        let waits_for_place = |after: &After| matches!(after.on, AfterWhat::Place(_));
        let ties = self.groups.iter().filter_map(|group| group.ties.as_ref());
        if ties.into_iter().any(|ties| ties.after.iter().any(waits_for_place)) {
            let message = "a submit with jobs for a topic, and jobs that wait for others of it by their places: the places are not those \
                           of the jobs; submit them one after the other";
            return Err(Fault::new(Kind::Invalid, message));
        }
        let before = std::mem::take(self);
        let mut at = 0;
        for (nth, group) in before.groups.into_iter().enumerate() {
            let (places, has_priority) = (at..at + group.count as usize, !before.usual.contains(&nth));
            at = places.end;
            let queues = match before.topics.contains(&nth) {
                true => queues_of(core, group.spec.queue.as_str())?,
                false => vec![group.spec.queue.clone()],
            };
            limits.check_batch(self.contents.len() + queues.len() * places.len())?;
            for queue in queues {
                let options = SpecOptions { queue, ..(*group.spec.options).clone() };
                let spec = group.spec.with_options(options.into()).into();
                let group = Group { spec, ..group.clone() };
                let (envelope, bodies) = before.contents.part(places.clone());
                self.add(group, has_priority, envelope, bodies);
            }
        }
        Ok(())
    }

    /// Adds a group, whose jobs may have an envelope; `has_priority`: else it has its queue's.
    pub(crate) fn add(
        &mut self,
        group: Group,
        has_priority: bool,
        envelope: Option<Bytes>,
        bodies: impl IntoIterator<Item = Bytes>,
    ) {
        debug_assert_eq!(group.spec.has_envelope, envelope.is_some());
        if !has_priority {
            self.usual.push(self.groups.len());
        }
        self.groups.push(group);
        self.contents.add(envelope, bodies);
    }
}

/// The queues that are bound to a topic.
fn queues_of(core: &Core, topic: &str) -> Result<Vec<QueueName>, Fault> {
    let queues = core.queues_of(topic);
    if queues.is_empty() {
        let message = format!(
            "no queue is bound to topic `{topic}`: `musher topic bind` one, or add it to [topics] in the daemon's configuration; \
             nothing was submitted"
        );
        return Err(Fault::new(Kind::NotFound, message));
    }
    Ok(queues)
}

/// Refuses options that no job can have.
pub(crate) fn check_options(
    attempts: Option<u32>,
    ttl: Option<Duration>,
    deadline: Option<Duration>,
) -> Result<(), Fault> {
    if attempts == Some(0) {
        return Err(Fault::new(Kind::Invalid, "0 attempts: a job has at least one"));
    }
    if ttl == Some(Duration::ZERO) {
        let message =
            "a time to live of 0: the job would expire before it could begin; leave it out for none";
        return Err(Fault::new(Kind::Invalid, message));
    }
    if deadline == Some(Duration::ZERO) {
        let message = "a deadline of 0: the job would expire before it could begin; leave it out for none";
        return Err(Fault::new(Kind::Invalid, message));
    }
    Ok(())
}

/// The envelope with these tags and the texts of these keys, if there are any.
pub(crate) fn envelope(
    tags: Vec<(String, String)>,
    (key, unique): (Option<String>, Option<String>),
) -> Result<Option<Bytes>, Fault> {
    if tags.is_empty() && key.is_none() && unique.is_none() {
        return Ok(None);
    }
    let tags = tags.into_iter().map(|(name, value)| (name.into(), value.into()));
    let envelope = Envelope::new(tags.collect())
        .and_then(|tags| tags.with_keys(key.map(Into::into), unique.map(Into::into)));
    let envelope = envelope.map_err(|error| Fault::new(Kind::TooLarge, error.to_string()))?;
    Ok(Some(envelope.encode()))
}

/// What the text of a key is to the core: the first 16 bytes of its SHA-256. Two texts with the same would be found by
/// trying 2^64 of them.
pub(crate) fn key(text: &str) -> Key {
    hash(&[text.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> Key {
    let mut all = Sha256::new();
    parts.iter().for_each(|part| all.update(part));
    let mut hash = [0; 16];
    hash.copy_from_slice(&all.finalize()[..16]);
    Key::new(hash)
}

/// Refuses what the caller may not submit. Fills in the priorities of the queues.
pub(crate) fn allow<S: Store + 'static>(
    hub: &Hub<S>,
    peer: &Peer,
    submission: &mut Submission,
) -> Result<(), Fault> {
    let (permissions, service) = (hub.permissions(peer), hub.service.borrow());
    let engine = hub.engine.borrow();
    if !submission.topics.is_empty() {
        submission.spread(engine.core(), &service.limits)?;
    }
    for at in &submission.usual {
        let spec = &mut submission.groups[*at].spec;
        let priority = engine.core().settings.of(&spec.queue).priority;
        // Options that need no change stay those of other groups too.
        if spec.priority != priority {
            Arc::make_mut(spec).options_mut().priority = priority;
        }
    }
    for group in &submission.groups {
        permissions.queue(Right::Submit, &group.spec.queue)?;
        can_run_as(&service.handlers, &group.spec.queue, group.spec.owner)?;
    }
    Ok(())
}

/// Refuses the end of a lease that the caller may not end. A job that is hidden from him is answered for as if there were
/// none.
pub(crate) fn allow_to_complete<S: Store + 'static>(
    hub: &Hub<S>,
    peer: &Peer,
    lease: LeaseId,
) -> Result<(), Fault> {
    let (permissions, engine) = (hub.permissions(peer), hub.engine.borrow());
    let state = &engine.core().state;
    permissions.work(state, std::iter::once(lease.id))?;
    match permissions.hides_from_work(state, lease.id) {
        true => {
            let hidden = Rejection::Lease(LeaseRejection::NotFound { id: lease.id });
            Err(Fault::from(&Refusal::from(hidden)))
        }
        false => Ok(()),
    }
}

/// How a submit is known again that its sender may repeat: by the user, the key, and what it says.
pub(crate) fn request_key(user: u32, text: &str, content: &[u8]) -> RequestKey {
    RequestKey { key: hash(&[&user.to_le_bytes(), text.as_bytes()]), content: hash(&[content]) }
}

/// Submits what is allowed. Returns what there is no more use for.
pub(crate) fn submit<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    submission: Submission,
    options: SubmitOptions,
) -> (Groups, Contents) {
    let (Submission { groups, contents, .. }, mut engine) = (submission, hub.engine.borrow_mut());
    let permissions = hub.permissions(context.peer);
    let changes = |spec: &Spec| permissions.change(spec, false).is_ok();
    let (visibility, now) = (Visibility::of(&changes), context.now);
    engine.submit_with(options, context.origin, (groups, contents), visibility, now)
}
