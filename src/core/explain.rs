//! Why a job is where it is: the reasons that keep it from running, in the order in which to mend them.

use super::QueueName;
use super::decide::Core;
use super::flow::{Edge, OnUnmet, Target};
use super::groups::{GroupCounts, GroupName};
use super::ids::JobId;
use super::job::{Attempt, Failure, Holder, SignalName, State as JobState, StateKind, Worker};
use super::limits::Limit;
use super::state::Ahead;
use super::time::Time;

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The daemon gives out nothing.
    Draining,
    /// Its queue is paused.
    QueuePaused {
        /// The queue.
        queue: QueueName,
        /// Until when; [`Time::NEVER`]: until it is resumed.
        until: Time,
    },
    /// Its queue has reached a limit.
    Limited {
        /// The queue.
        queue: QueueName,
        /// Which limit.
        by: Limit,
    },
    /// It waits for others.
    WaitsFor {
        /// What.
        on: Awaited,
        /// Which of its edges.
        edge: Edge,
        /// What becomes of it if that ends otherwise.
        on_unmet: OnUnmet,
    },
    /// Its time has not come.
    NotDue {
        /// When it comes.
        due: Time,
        /// Whether it waits for its next attempt, and after which failure.
        after: Option<Failure>,
    },
    /// It expires before its time comes.
    ExpiresFirst {
        /// When.
        at: Time,
    },
    /// It goes on when a signal comes.
    UntilSignal {
        /// Which.
        signal: SignalName,
        /// When it goes on without.
        due: Time,
    },
    /// Others come first.
    Behind {
        /// How many.
        jobs: u64,
        /// Whether more may go before it: those behind them that have the same keys.
        at_least: bool,
    },
    /// Others with the same key come first: these go one after the other.
    BehindInKey {
        /// How many.
        jobs: u64,
    },
    /// It is next, and whoever claims from this queue gets it.
    Next(QueueName),
    /// Somebody is at it.
    Leased {
        /// Which attempt.
        attempt: Attempt,
        /// Since when.
        since: Time,
        /// Until when, unless it is extended.
        until: Time,
        /// Whether it ends with the worker's connection.
        bound: bool,
        /// Who that is, where it is known.
        worker: Option<Worker>,
        /// Whether it was cancelled, and is not known to have stopped.
        cancelling: bool,
    },
    /// It has ended.
    Ended {
        /// How.
        state: StateKind,
        /// When.
        at: Time,
        /// The newest failure.
        failure: Option<Failure>,
    },
}

/// What a job waits for, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A job in this state; `None` if it is not there any more.
    Job(JobId, Option<StateKind>),
    /// A group.
    Group {
        /// Its name; `None` if it is not there any more.
        name: Option<GroupName>,
        /// Its jobs.
        counts: GroupCounts,
        /// Whether it takes no more.
        is_sealed: bool,
    },
}

impl Core {
    /// What a job waits for, as it is now.
    fn awaited(&self, target: Target) -> Awaited {
        match target {
            Target::Job(id) => Awaited::Job(id, self.state.job(id).map(|job| job.kind())),
            Target::Group(no) => {
                let group = self.state.groups().get(no);
                let name = group.map(|group| group.name.clone());
                let counts = group.map(|group| group.counts).unwrap_or_default();
                Awaited::Group { name, counts, is_sealed: group.is_some_and(|group| group.is_sealed) }
            }
        }
    }

    /// Why the job is not running now, or that it is; `None` for an unknown job.
    pub fn explain(&mut self, id: JobId, now: Time) -> Option<Vec<Reason>> {
        let queue = self.state.job(id)?.spec.queue.clone();
        self.arranged(&queue, now);
        let job = self.state.job(id)?;
        let failure = job.failures().last().cloned();
        if let Some(end) = job.state().ended() {
            return Some(vec![Reason::Ended { state: job.kind(), at: end.at, failure }]);
        }
        if let JobState::Leased(lease) = job.state() {
            let bound = matches!(lease.holder, Holder::Session(_));
            return Some(vec![Reason::Leased {
                attempt: job.attempt(),
                since: lease.since,
                until: lease.until,
                bound,
                worker: job.worker(),
                cancelling: lease.cancelling,
            }]);
        }
        if let Some(waits) = job.waits_for() {
            let reason = |edge: &Edge| {
                let (on, on_unmet) = (self.awaited(edge.on), waits.on_unmet);
                Reason::WaitsFor { on, edge: *edge, on_unmet }
            };
            let mut reasons: Vec<_> = waits.edges.iter().map(reason).collect();
            let due = job.not_before().filter(|due| *due > now);
            reasons.extend(due.map(|due| Reason::NotDue { due, after: None }));
            return Some(reasons);
        }
        let settings = self.settings.of(&job.spec.queue);
        let (mut reasons, mut is_held_by_key) = (Vec::new(), false);
        if self.draining {
            reasons.push(Reason::Draining);
        }
        if let Some(queue) = self.state.queue(&job.spec.queue) {
            let name = &job.spec.queue;
            reasons
                .extend(queue.paused_until().map(|until| Reason::QueuePaused { queue: name.clone(), until }));
            let limited = |by| Reason::Limited { queue: name.clone(), by };
            let by_key = settings.reached_by_key(&self.state, queue, job, now);
            let by_key: Vec<_> = by_key.filter(|_| job.kind() == StateKind::Ready).collect();
            is_held_by_key = !by_key.is_empty();
            reasons.extend(settings.reached(&self.state, queue, now).chain(by_key).map(limited));
        }
        let ahead = self.state.ahead_of(id, settings.key_rules()).unwrap_or_default();
        reasons.extend(match (job.state(), ahead) {
            (JobState::Scheduled { due }, _) => Some(match job.signals().and_then(|it| it.awaited.clone()) {
                Some(signal) => Reason::UntilSignal { signal, due },
                None => Reason::NotDue { due, after: failure },
            }),
            (_, Ahead { in_lane: jobs @ 1.., .. }) => Some(Reason::BehindInKey { jobs }),
            // Its turn among others comes when its key lets it go.
            _ if is_held_by_key => None,
            (_, Ahead { jobs: jobs @ 1.., at_least, .. }) => Some(Reason::Behind { jobs, at_least }),
            (_, _) => Some(Reason::Next(job.spec.queue.clone())),
        });
        let expires_at = job.expires_at();
        if let JobState::Scheduled { due } = job.state()
            && expires_at <= due
        {
            reasons.push(Reason::ExpiresFirst { at: expires_at });
        }
        Some(reasons)
    }
}
