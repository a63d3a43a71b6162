//! What follows from what the core decides: it listens to the changes of jobs and queues, and notes which claims may be
//! served, which requests have come to their end, who must learn that a lease is gone, and what the log should say. It
//! decides nothing, and does not look at the state.

use super::answer::{Answer, Delivery, End, Fact, GroupEnd, Origin};
use super::followed::Followed;
use super::group_waits::AwaitedGroup;
use super::limited::Limited;
use super::numbers::limit_of;
use super::progress::ProgressOfJobs;
use super::watching::Watching;
use super::woken::Woken;
use crate::core::{
    Change, Command, Edit, Event, GroupNo, Handling, Holder, IdRange, JobGroup, JobId, JobState, LeaseId,
    Observer, QueueChange, QueueName, Recorder, StateKind, Time,
};
use crate::spans::Spans;
use crate::tally::Tally;
use std::collections::HashMap;
use std::sync::Arc;

/// What was noted since the last turn.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Decided and applied, not yet appended.
    pub(super) events: Vec<Event>,
    /// Said, but not before the commit that is being collected is durable.
    pub(super) said: Vec<Delivery>,
    pub(super) said_bytes: usize,
    pub(super) facts: Vec<Fact>,
    /// How many jobs of each connection that is being closed are free already; for the log.
    pub(super) interrupted: HashMap<u64, u64>,
    /// Queues that may have got work since claims were served last.
    pub(super) woken: Woken,
    /// Queues that would give out work if they had not reached a limit.
    pub(super) limited: Limited,
    /// Whether there may be room since submits were looked at that wait for it.
    pub(super) room_made: bool,
    /// New jobs that were not taken, of the submit that is being decided.
    pub(super) not_taken: Vec<IdRange>,
    /// Requests that wait until jobs have ended.
    pub(super) watching: Watching<JobId, End>,
    /// The same of groups.
    pub(super) watching_groups: Watching<AwaitedGroup, GroupEnd>,
    /// How far jobs are that run.
    pub(super) progress: ProgressOfJobs,
    /// What becomes of jobs, for whoever follows it.
    pub(super) followed: Followed,
    /// The limits for which something was refused.
    pub(super) limits_hit: Vec<&'static str>,
}

impl Notes {
    /// Says something once all that was decided so far is durable.
    pub(super) fn answer(&mut self, origin: Origin, answer: Answer) {
        if let Answer::Refused(refusal) = &answer {
            self.limits_hit.extend(limit_of(refusal));
        }
        self.said_bytes += answer.weight();
        self.said.push(Delivery::Answer(origin, answer));
    }

    /// What is kept of the jobs elsewhere can go.
    fn forget(&mut self, jobs: IdRange) {
        match self.said.last_mut() {
            Some(Delivery::Forgotten(last)) if last.end() == jobs.first => last.len += jobs.len,
            _ => self.said.push(Delivery::Forgotten(jobs)),
        }
    }
}

/// Listens while one command is decided.
pub(super) struct Listener<'a> {
    pub(super) notes: &'a mut Notes,
    pub(super) tally: &'a mut Tally,
    pub(super) spans: Option<&'a mut Spans>,
    pub(super) command: &'a Command,
    /// Whether any claim waits.
    pub(super) claims_wait: bool,
    /// The time of the decision.
    pub(super) now: Time,
}

impl Observer for Listener<'_> {
    fn changed(&mut self, change: &Change<'_>) {
        if let Some(spans) = &mut self.spans {
            let ready_since = |id| self.tally.ready_since(IdRange::new(id, 1), change.job);
            spans.changed(change, ready_since, self.now);
        }
        self.tally.changed(change, self.now);
        let Change { jobs, job, forgotten, .. } = *change;
        let queue = &job.spec.queue;
        let is_ready = self.claims_wait && !forgotten && job.state() == JobState::Ready;
        let lease_ends = change.lease.is_some() && (forgotten || job.lease().is_none());
        if lease_ends {
            self.notes.progress.ended(jobs);
        }
        if is_ready || (lease_ends && self.notes.limited.has(queue)) {
            self.notes.woken.push(queue);
        }
        let leaves = forgotten
            || !job.kind().waits()
            || matches!(change.event, Event::Moved { .. } | Event::Sized { .. });
        self.notes.room_made |= change.from.is_some_and(StateKind::waits) && leaves;
        self.revoke(change);
        self.note_fact(change);
        self.notes.followed.note(change);
        if forgotten || job.kind().is_final() {
            let end = |id| End::of(id, job);
            for (origin, ends) in self.notes.watching.ended(jobs.first..jobs.end(), end) {
                self.notes.answer(origin, Answer::Ended(ends));
            }
        }
        if forgotten {
            self.notes.forget(jobs);
        }
    }

    fn queue_changed(&mut self, queue: &QueueName, change: QueueChange) {
        self.tally.queue_changed(queue, change);
        match change {
            QueueChange::NotTaken(jobs) => {
                self.notes.not_taken.push(jobs);
                self.note_dropped(queue, jobs.len, true);
            }
            QueueChange::Resumed if self.claims_wait => self.notes.woken.push(queue),
            // Other limits may allow more, or less.
            QueueChange::Set => {
                self.notes.room_made = true;
                if self.claims_wait {
                    self.notes.woken.push(queue);
                }
            }
            QueueChange::CircuitOpened { failed, next } => {
                self.notes.facts.push(Fact::CircuitOpened { queue: queue.clone(), failed, next });
            }
            QueueChange::CircuitClosed => {
                let by_hand = matches!(self.command, Command::ResetCircuit { .. });
                self.notes.facts.push(Fact::CircuitClosed { queue: queue.clone(), by_hand });
                if self.claims_wait {
                    self.notes.woken.push(queue);
                }
            }
            QueueChange::Resumed | QueueChange::Paused | QueueChange::Forgotten => {}
        }
    }

    fn group_changed(&mut self, group: GroupNo, now: &Arc<JobGroup>, is_gone: bool) {
        self.notes.group_changed(group, now, is_gone);
    }
}

impl Recorder for Listener<'_> {
    /// Many small requests of a turn say the same, one job after the other: the commit says it once.
    fn record(&mut self, event: Event) {
        if !self.notes.events.last_mut().is_some_and(|last| last.join(&event)) {
            self.notes.events.push(event);
        }
    }
}

impl Listener<'_> {
    /// A lease that has ended by hand or by time is news for its holder.
    fn revoke(&mut self, change: &Change<'_>) {
        let expired = match self.command {
            Command::Edit { edit: Edit::Cancel | Edit::Bury, .. } => false,
            Command::Tick => true,
            Command::Edit {
                edit:
                    Edit::Retry
                    | Edit::Kick
                    | Edit::Delete
                    | Edit::Move(_)
                    | Edit::ReplaceBody(_)
                    | Edit::Prioritize(_),
                ..
            }
            | Command::Submit { .. }
            | Command::SubmitOnce { .. }
            | Command::CompleteAndSubmit { .. }
            | Command::Claim(_)
            | Command::ClaimJob { .. }
            | Command::Count { .. }
            | Command::Settle { .. }
            | Command::Extend { .. }
            | Command::Checkpoint { .. }
            | Command::SettleWithResult { .. }
            | Command::Vanish { .. }
            | Command::Recover { .. }
            | Command::TakeUp { .. }
            | Command::Evict
            | Command::StoodStill { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::SetQueue { .. }
            | Command::ResetCircuit { .. }
            | Command::ForgetQueue { .. }
            | Command::Purge { .. }
            | Command::Group { .. }
            | Command::Signal { .. }
            | Command::Topic { .. }
            | Command::Schedule { .. } => return,
        };
        if let Some((attempt, lease)) = change.lease
            && let Holder::Session(session) = lease.holder
        {
            let lost = change.jobs.iter().map(|id| LeaseId { id, attempt });
            self.notes.said.extend(lost.map(|lease| Delivery::Revoked { session, lease, expired }));
        }
    }

    fn note_fact(&mut self, change: &Change<'_>) {
        let Change { jobs, job, .. } = *change;
        match change.event {
            Event::Failed { .. } => self.notes.facts.push(Fact::Failed {
                lease: LeaseId { id: jobs.first, attempt: job.attempt() },
                queue: job.spec.queue.clone(),
                error: job.failures().last().map(|failure| failure.error.clone()).unwrap_or_default(),
                retry: if let JobState::Scheduled { due } = job.state() { Some(due) } else { None },
            }),
            Event::Interrupted { .. } | Event::Counted { what: Handling::TimedOut, .. } => {
                self.note_interrupted(jobs.len);
            }
            Event::Dropped { .. } => self.note_dropped(&job.spec.queue, jobs.len, false),
            Event::Submitted { .. }
            | Event::Claimed { .. }
            | Event::Extended { .. }
            | Event::Completed { .. }
            | Event::Released { .. }
            | Event::Deferred { .. }
            | Event::Ripened { .. }
            | Event::Expired { .. }
            | Event::Cancelled { .. }
            | Event::Cancelling { .. }
            | Event::Buried { .. }
            | Event::Revived { .. }
            | Event::Prioritized { .. }
            | Event::Postponed { .. }
            | Event::Moved { .. }
            | Event::BodyReplaced { .. }
            | Event::Attached { .. }
            | Event::Awaits { .. }
            | Event::Signalled { .. }
            | Event::Detached { .. }
            | Event::Deleted { .. }
            | Event::Row(_)
            | Event::WaitsFor { .. }
            | Event::EdgesChanged { .. }
            | Event::Counted { .. }
            | Event::Sized { .. } => {}
        }
    }

    /// A flood of jobs is one line in the log.
    fn note_dropped(&mut self, queue: &QueueName, more: u64, new: bool) {
        if let Some(Fact::Dropped { queue: last, jobs, new: was_new }) = self.notes.facts.last_mut()
            && (&*last, *was_new) == (queue, new)
        {
            *jobs += more;
            return;
        }
        self.notes.facts.push(Fact::Dropped { queue: queue.clone(), jobs: more, new });
    }

    fn note_interrupted(&mut self, more: u64) {
        let by_time = match self.command {
            Command::Vanish { session } => {
                *self.notes.interrupted.entry(*session).or_default() += more;
                return;
            }
            command => *command == Command::Tick,
        };
        match (by_time, self.notes.facts.last_mut()) {
            (true, Some(Fact::Lapsed { jobs })) | (false, Some(Fact::Interrupted { jobs })) => *jobs += more,
            (true, _) => self.notes.facts.push(Fact::Lapsed { jobs: more }),
            (false, _) => self.notes.facts.push(Fact::Interrupted { jobs: more }),
        }
    }
}
