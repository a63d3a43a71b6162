//! Decides on queues as such: pause and resume, and which are forgotten. A queue comes into being with its first job, even
//! one with a mistyped name. So a queue that is empty and not configured is forgotten: when there must be room for another
//! one, or after a while.

use super::{Core, Decision};
use crate::core::change::Recorder;
use crate::core::circuit::Circuit;
use crate::core::command::Outcome;
use crate::core::event::RowEvent;
use crate::core::job::QueueName;
use crate::core::queue::Queue;
use crate::core::rejection::Rejection;
use crate::core::time::Time;
use std::collections::HashSet;

impl<R: Recorder> Decision<'_, R> {
    /// A queue gives out no jobs until then, or gives them out again.
    pub(super) fn pause(
        &mut self,
        name: &QueueName,
        until: Option<Time>,
        maker: Option<u32>,
    ) -> Result<Outcome, Rejection> {
        match maker.filter(|_| self.state().queue(name).is_none()) {
            Some(maker) => self.make_room_for_queues(1, maker, &HashSet::from([name]))?,
            None if self.state().queue(name).is_none() => self.must_be_configured(name)?,
            None => {}
        }
        if self.state().queue(name).and_then(Queue::paused_until) != until {
            let queue = name.clone();
            self.emit(match until {
                Some(Time::NEVER) => RowEvent::Paused { queue },
                Some(until) => RowEvent::PausedUntil { queue, until },
                None => RowEvent::Resumed { queue },
            });
        }
        Ok(Outcome::Ok)
    }

    /// Those that were paused until now give out jobs again.
    pub(super) fn end_pauses(&mut self) {
        while let Some((_, name)) = self.state().pauses.first().filter(|(until, _)| *until <= self.moment.now)
        {
            let queue = name.clone();
            self.emit(RowEvent::Resumed { queue });
        }
    }

    /// Closes its circuit.
    pub(super) fn reset_circuit(&mut self, name: &QueueName) -> Result<Outcome, Rejection> {
        match self.state().queue(name).map(Queue::circuit) {
            None => self.must_be_configured(name)?,
            Some(circuit) if circuit == Circuit::default() => {}
            Some(_) => {
                self.emit(RowEvent::CircuitChanged { queue: name.clone(), circuit: Circuit::default() });
            }
        }
        Ok(Outcome::Ok)
    }

    pub(super) fn forget_queue(&mut self, name: &QueueName) -> Result<Outcome, Rejection> {
        match self.state().queue(name).map(|queue| queue.counts().all()) {
            Some(0) => {
                self.forget_with_keys(name.clone());
                self.core.bring_together(name);
            }
            Some(jobs) => return Err(Rejection::QueueHasJobs { queue: name.clone(), jobs }),
            None => self.must_be_configured(name)?,
        }
        Ok(Outcome::Ok)
    }

    /// It is not there any more, nor what is remembered of its keys.
    fn forget_with_keys(&mut self, queue: QueueName) {
        self.forget_keys_of(&queue);
        self.emit(RowEvent::QueueForgotten { queue });
    }

    pub(super) fn must_be_configured(&self, name: &QueueName) -> Result<(), Rejection> {
        match self.core.settings.queues.contains_key(name) {
            true => Ok(()),
            false => Err(Rejection::NoSuchQueue { queue: name.clone() }),
        }
    }

    /// Makes room for so many queues more, which a job of `maker` makes. Where there is none, the empty ones that were
    /// unused the longest are forgotten, but for those that `named` has.
    pub(super) fn make_room_for_queues(
        &mut self,
        new: usize,
        maker: u32,
        named: &HashSet<&QueueName>,
    ) -> Result<(), Rejection> {
        if new == 0 {
            return Ok(());
        }
        let Core { state, settings, .. } = &*self.core;
        let is_his = |name: &QueueName| state.queue(name).is_some_and(|q| q.maker() == Some(maker));
        let (most, most_own) = (settings.queues_max, settings.queues_per_user);
        let all = state.queues.len() + new;
        let own = match maker == 0 || maker == settings.own_user {
            true => 0,
            false => state.queues().filter(|(_, queue)| queue.maker() == Some(maker)).count() + new,
        };
        if all <= most && own <= most_own {
            return Ok(());
        }
        let mut idle: Vec<_> = self.core.idle_queues().filter(|(_, name)| !named.contains(name)).collect();
        idle.sort_unstable();
        let (his, others): (Vec<_>, Vec<_>) = idle.into_iter().partition(|(_, name)| is_his(name));
        let over_own = own.saturating_sub(most_own);
        if his.len() < over_own {
            return Err(Rejection::TooManyOwnQueues { limit: most_own });
        }
        let (go, rest) = his.split_at(over_own);
        let mut rest = [rest, &others].concat();
        rest.sort_unstable();
        let over = all.saturating_sub(most).saturating_sub(go.len());
        if rest.len() < over {
            return Err(Rejection::TooManyQueues { limit: most });
        }
        let gone: Vec<QueueName> =
            go.iter().chain(&rest[..over]).map(|(_, queue)| (*queue).clone()).collect();
        gone.into_iter().for_each(|queue| self.forget_with_keys(queue));
        Ok(())
    }
}

impl Core {
    /// The queues that may be forgotten, each with when it was last used.
    pub fn idle_queues(&self) -> impl Iterator<Item = (Time, &QueueName)> {
        let idle = |(name, queue): &(&QueueName, &Queue)| {
            queue.is_empty() && !self.settings.queues.contains_key(*name)
        };
        self.state.queues().filter(idle).map(|(name, queue)| (queue.used(), name))
    }
}
