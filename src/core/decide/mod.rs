//! What a command comes to, given the state, the settings and the moment. A decision first finds out whether the command
//! is refused as a whole; then it emits events, one after the other. What is emitted is applied at once, so that the rest
//! of the decision sees it.

mod beside;
mod cancel;
mod claim;
mod edit;
mod flow;
mod follow;
mod kept;
mod keys;
mod lease;
mod once;
mod overrides;
mod pause;
mod queues;
mod resume;
mod room;
mod schedule;
mod submit;
mod tick;
mod ties;
mod topics;
mod unique;

use super::change::Recorder;
use super::command::{Command, Outcome};
use super::event::{AfterFailure, Ending, Event};
use super::ids::JobId;
use super::job::{Failure, Job, QueueName, UniqueWhile};
use super::queue::Queue;
use super::rejection::Rejection;
use super::settings::{Keep, QueueSettings, Settings};
use super::state::State;
use super::time::Time;
use super::visibility::Visibility;
use flow::Flow;
use kept::SeesKept;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::time::Duration;

const A_SECOND: Duration = Duration::from_secs(1);

/// The state, and what decisions depend on beside it.
#[derive(Clone, Debug, Default)]
pub struct Core {
    /// The fold of all events.
    pub state: State,
    /// The settings that decisions are made by: of a configuration ([`Core::configure`]), with what was set at run time over
    /// them.
    pub settings: Settings,
    /// What the configuration says of the queues for which something was set; `None` where it has no table.
    configured: HashMap<QueueName, Option<QueueSettings>>,
    /// Whether the bytes of jobs are bounded anywhere: see [`Core::counts_bytes_of`].
    pub counts_bytes: bool,
    /// Whether any queue has a weight.
    pub has_weights: bool,
    /// How many times something was counted of jobs in this life of the daemon.
    counted: u64,
    /// While draining, nothing is given out.
    pub draining: bool,
    /// While draining, jobs are taken all the same.
    pub accept_while_draining: bool,
}

/// When a decision is made, and any number to draw jitter from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// The time. Never earlier than that of the decision before.
    pub now: Time,
    /// Any number.
    pub random: u64,
}

impl Moment {
    /// A number of its own for each job, so that jobs that fail together draw different jitter.
    fn luck_for(&self, id: JobId) -> u64 {
        let mut n = (self.random ^ id.0).wrapping_add(0x9e37_79b9_7f4a_7c15);
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }
}

impl Core {
    /// Decides a command of one who sees these jobs, makes it so, and returns the answer. `recorder` gets each event (none may be pure refusal or
    /// nothing to do) and is told of each change.
    ///
    /// # Errors
    /// The command as a whole is refused; then nothing has happened.
    pub fn decide(
        &mut self,
        command: &Command,
        visibility: Visibility<'_>,
        moment: Moment,
        recorder: &mut impl Recorder,
    ) -> Result<Outcome, Rejection> {
        let kept_in = Vec::new();
        let (flow, leaves, completes) = (Flow::default(), None, None);
        let arriving = SmallVec::new();
        let mut decision =
            Decision { core: self, visibility, moment, recorder, arriving, kept_in, flow, leaves, completes };
        let outcome = decision.run(command)?;
        decision.tell();
        // What gives way for others may be waited for itself, and what follows from that is kept in turn.
        while !decision.kept_in.is_empty() {
            decision.limit_kept();
            decision.tell();
        }
        Ok(outcome)
    }
}

/// One command that is being decided.
struct Decision<'a, R> {
    core: &'a mut Core,
    visibility: Visibility<'a>,
    moment: Moment,
    recorder: &'a mut R,
    /// The events of new jobs that are decided but not yet there, see [`Decision::arrive`].
    arriving: SmallVec<[Event; 1]>,
    /// The queues in which jobs have ended that are kept.
    kept_in: Vec<(QueueName, bool)>,
    /// The job that is complete if this submit is not refused, and lets go of its unique key then.
    leaves: Option<JobId>,
    /// The job that is completed with this submit.
    completes: Option<JobId>,
    /// What others are to be told of.
    flow: Flow,
}

impl<R: Recorder> Decision<'_, R> {
    fn run(&mut self, command: &Command) -> Result<Outcome, Rejection> {
        match command {
            Command::Submit { groups } => self.submit(groups),
            Command::SubmitOnce { groups, request } => {
                self.once(groups, *request, |decision| decision.submit(groups))
            }
            Command::CompleteAndSubmit { lease, groups, request } => {
                self.complete_and_submit(*lease, groups, *request)
            }
            Command::Claim(claim) => self.claim(claim),
            Command::ClaimJob { id, holder, worker } => self.claim_job(*id, *holder, *worker),
            Command::Count { ids, what } => Ok(self.count(ids, *what)),
            Command::Settle { items } => Ok(self.settle(items)),
            Command::Extend { items, lease } => Ok(self.extend(items, *lease)),
            Command::Checkpoint { lease, extend } => Ok(self.checkpoint(*lease, *extend)),
            Command::SettleWithResult { lease, verdict } => Ok(self.settle_with_result(*lease, verdict)),
            Command::Vanish { session } => Ok(self.vanish(*session)),
            Command::Recover { resume_by } => Ok(self.recover(*resume_by)),
            Command::TakeUp { session, leases } => Ok(self.take_up(*session, leases)),
            Command::Evict => Ok(self.evict()),
            Command::StoodStill { since } => Ok(self.stood_still(*since)),
            Command::Tick => Ok(self.tick()),
            Command::Edit { edit, ids, only } => Ok(self.edit(edit, ids, only)),
            Command::Pause { queue, time, maker } => {
                let until = time.map_or(Time::NEVER, |time| self.moment.now.plus(time));
                self.pause(queue, Some(until), *maker)
            }
            Command::Resume { queue } => self.pause(queue, None, None),
            Command::SetQueue { queue, set, unset, by } => self.set_queue(queue, set, unset, *by),
            Command::ResetCircuit { queue } => self.reset_circuit(queue),
            Command::ForgetQueue { queue } => self.forget_queue(queue),
            Command::Purge { queue } => self.purge(queue),
            Command::Schedule { name, action } => self.schedule(name, action),
            Command::Signal { id, signal } => self.signal(*id, signal),
            Command::Topic { pattern, action } => self.topic(pattern, action),
            Command::Group { name, action, by } => self.group(name, *action, *by),
        }
    }

    /// It happens.
    fn emit(&mut self, event: impl Into<Event>) {
        let event = event.into();
        debug_assert!(self.arriving.is_empty(), "what comes first happens first");
        let mut observer =
            SeesKept { kept_in: &mut self.kept_in, flow: &mut self.flow, then: &mut *self.recorder };
        self.core.state.apply_telling(&event, &mut observer);
        self.recorder.record(event);
    }

    /// The new jobs arrive that were decided: all of them at once, since that costs the indexes little more than one.
    fn arrive(&mut self) {
        let mut observer =
            SeesKept { kept_in: &mut self.kept_in, flow: &mut self.flow, then: &mut *self.recorder };
        self.core.state.arrive_telling(&self.arriving, &mut observer);
        self.arriving.drain(..).for_each(|event| self.recorder.record(event));
    }

    fn state(&self) -> &State {
        &self.core.state
    }

    fn settings_of(&self, job: &Job) -> &QueueSettings {
        self.core.settings.of(&job.spec.queue)
    }

    /// What comes of a job whose attempt just failed: another one after `wait` (or the backoff), or death.
    fn after_failure(&self, id: JobId, job: &Job, wait: Option<Duration>) -> AfterFailure {
        let settings = self.settings_of(job);
        if job.expiry().end_by <= self.moment.now {
            // It expires at once, however many attempts it has left.
            return AfterFailure::Retry(self.moment.now);
        }
        let failed = job.failed() + 1;
        if failed >= job.spec.attempts.unwrap_or(settings.attempts) {
            return AfterFailure::Dead(self.ending(job, settings.keep_dead));
        }
        let backoff = job.spec.backoff.unwrap_or(settings.backoff);
        let wait = wait.unwrap_or_else(|| backoff.wait(failed, self.moment.luck_for(id)));
        AfterFailure::Retry(self.moment.now.plus(wait))
    }

    /// The end of a job now, and how long it is then kept: at least as long as it holds its unique key.
    fn ending(&self, job: &Job, keep: Keep) -> Ending {
        let at = self.moment.now;
        let keep_until = match keep {
            Keep::No => None,
            Keep::For(time) => Some(at.plus(time)),
            Keep::Forever => Some(Time::NEVER),
        };
        match job.spec.unique_while {
            UniqueWhile::Kept(time) if job.spec.unique.is_some() => {
                Ending { at, keep_until: keep_until.max(Some(at.plus(time))) }
            }
            _ => Ending { at, keep_until },
        }
    }
}

/// Cuts an error's text to what is kept, at a character's edge.
fn cut(text: &str) -> Box<str> {
    let mut end = text.len().min(Failure::TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
