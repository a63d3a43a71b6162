//! `decide`: what a command comes to, given the state, the settings and the moment. Nothing changes here; the
//! caller applies the events, and only then decides the next command.

mod edit;
mod kept;
mod lease;
mod pause;
mod queues;
mod submit;
mod tick;

use super::command::{Command, Outcome};
use super::event::{AfterFailure, Ending, Event};
use super::ids::JobId;
use super::job::{Failure, Job};
use super::rejection::Rejection;
use super::settings::{Keep, QueueSettings, Settings};
use super::state::State;
use super::time::Time;

/// The state, and what decisions depend on beside it.
#[derive(Clone, Debug, Default)]
pub struct Core {
    /// The fold of all events.
    pub state: State,
    /// Settings of queues, and limits. Change them at any time.
    pub settings: Settings,
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
    pub luck: u64,
}

impl Moment {
    /// A number of its own for each job, so that jobs that fail together draw different jitter.
    fn luck_for(&self, id: JobId) -> u64 {
        let mut n = (self.luck ^ id.0).wrapping_add(0x9e37_79b9_7f4a_7c15);
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }
}

impl Core {
    /// Decides a command: pushes what shall happen to `events` (nothing may be pure refusal or nothing to do) and
    /// returns the answer. The state is not changed: apply the events before the next decision.
    ///
    /// # Errors
    /// The command as a whole is refused; then no event was pushed.
    pub fn decide(
        &self,
        command: &Command,
        moment: Moment,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Rejection> {
        match command {
            Command::Submit { groups } => self.submit(groups, moment, events),
            Command::Claim(claim) => self.claim(claim, moment, events),
            Command::Settle { items } => Ok(self.settle(items, moment, events)),
            Command::Extend { items, lease } => Ok(self.extend(items, *lease, moment, events)),
            Command::Vanish { session } => Ok(self.vanish_some(*session, moment, events)),
            Command::Recover => Ok(self.vanish(self.state.held.values().flatten().copied(), moment, events)),
            Command::Evict => Ok(self.evict(events)),
            Command::StoodStill { since } => Ok(self.stood_still(*since, moment, events)),
            Command::Tick => Ok(self.tick(moment, events)),
            Command::Edit { edit, ids } => Ok(self.edit(*edit, ids, moment, events)),
            Command::Pause { queue } => self.pause(queue, true, events),
            Command::Resume { queue } => self.pause(queue, false, events),
            Command::ForgetQueue { queue } => self.forget_queue(queue, events),
            Command::Purge { queue } => self.purge(queue, events),
        }
    }

    fn settings_of(&self, job: &Job) -> &QueueSettings {
        self.settings.of(&job.spec.queue)
    }

    /// What comes of a job whose attempt just failed: another one after `wait` (or the backoff), or death.
    fn after_failure(
        &self,
        id: JobId,
        job: &Job,
        wait: Option<std::time::Duration>,
        moment: Moment,
    ) -> AfterFailure {
        let settings = self.settings_of(job);
        let failed = job.failed + 1;
        if failed >= job.spec.attempts.unwrap_or(settings.attempts) {
            return AfterFailure::Dead(ending(settings.keep_dead, moment.now));
        }
        let backoff = job.spec.backoff.unwrap_or(settings.backoff);
        let wait = wait.unwrap_or_else(|| backoff.wait(failed, moment.luck_for(id)));
        AfterFailure::Retry(moment.now.plus(wait))
    }
}

/// The newest event of the decision that began at `from`, so that another job may join it. What earlier decisions
/// pushed is applied already and must not grow.
fn newest(events: &mut [Event], from: usize) -> Option<&mut Event> {
    events[from..].last_mut()
}

/// The end of a job at `at`, and how long it is then kept.
fn ending(keep: Keep, at: Time) -> Ending {
    let keep_until = match keep {
        Keep::No => None,
        Keep::For(time) => Some(at.plus(time)),
        Keep::Forever => Some(Time::NEVER),
    };
    Ending { at, keep_until }
}

/// Cuts an error's text to what is kept, at a character's edge.
fn cut(text: &str) -> Box<str> {
    let mut end = text.len().min(Failure::TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
