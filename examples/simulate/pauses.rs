//! Pauses of queues: what was told paused gives out nothing until its time is over, also after a crash, and what was told
//! resumed, or whose time is over, is not paused. What was under way at a crash has happened up to some request, and not behind it.

use crate::clients::{Asked, Clients};
use crate::oracle::Oracle;
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{Command, Core, QueueName, State, Time};
use musher::engine::Claimed;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Until when a queue is paused, if it is.
type Until = Option<Time>;

/// What was asked for one queue.
#[derive(Debug, Default)]
struct Asks {
    /// What is so for sure.
    held: Until,
    /// In the order in which they were sent, with their numbers.
    under_way: VecDeque<(u64, Until)>,
}

/// What was asked for all of them.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    queues: BTreeMap<QueueName, Asks>,
    sent: u64,
}

/// What of it holds at a moment.
fn at(now: Time, until: Until) -> Until {
    until.filter(|until| *until > now)
}

fn of(state: &State, name: &QueueName) -> Until {
    state.queue(name)?.paused_until()
}

impl Pauses {
    fn sends(&mut self, queue: &QueueName, until: Until) -> u64 {
        self.sent += 1;
        let asks = self.queues.entry(queue.clone()).or_default();
        asks.under_way.push_back((self.sent, until));
        self.sent
    }

    /// A request was told done, and so those before it are; or it was refused.
    pub(crate) fn told(&mut self, queue: &QueueName, nth: u64, done: bool) {
        let Some(asks) = self.queues.get_mut(queue) else { return };
        if !done {
            return asks.under_way.retain(|(request, _)| *request != nth);
        }
        while let Some((_, until)) = asks.under_way.pop_front_if(|(request, _)| *request <= nth) {
            asks.held = until;
        }
    }

    /// All that was asked was decided at once, and what was refused is told.
    pub(crate) fn check(&self, core: &Core, now: Time) {
        for (name, asks) in self.queues.iter().filter(|(_, asks)| asks.under_way.is_empty()) {
            let found = of(&core.state, name);
            assert_eq!(at(now, found), at(now, asks.held), "until when {name} is paused, at {now}");
        }
    }

    /// After a start.
    pub(crate) fn found(&mut self, state: &State, now: Time) {
        for (name, asks) in &mut self.queues {
            let found = at(now, of(state, name));
            let mut may_be = asks.under_way.iter().map(|(_, until)| *until).chain([asks.held]);
            assert!(
                may_be.any(|until| at(now, until) == found),
                "{name} is paused until {found:?} after a start, not {asks:?}"
            );
            (asks.held, asks.under_way) = (found, VecDeque::new());
        }
    }

    /// Jobs were given out.
    pub(crate) fn gave(&self, jobs: &[Claimed], now: Time) {
        for job in jobs {
            let queue = &job.grant.spec.queue;
            let Some(asks) = self.queues.get(queue).filter(|asks| asks.under_way.is_empty()) else {
                continue;
            };
            let until = at(now, asks.held);
            assert!(
                until.is_none(),
                "job {} of {queue} was given out, which is paused until {until:?}",
                job.grant.id
            );
        }
    }
}

impl Clients {
    /// Pauses a queue, for a while or until it is resumed, or resumes it.
    pub(crate) fn pause(
        &mut self,
        rng: &mut Rng,
        oracle: &mut Oracle,
        life: &mut Life,
        queue: QueueName,
        pauses: bool,
    ) {
        let time = (rng.u32(..3) > 0).then(|| Duration::from_millis(rng.u64(..20_000)));
        let (until, command) = match pauses {
            true => {
                let until = time.map_or(Time::NEVER, |time| life.now.plus(time));
                (Some(until), Command::Pause { queue: queue.clone(), time, maker: None })
            }
            false => (None, Command::Resume { queue: queue.clone() }),
        };
        let nth = oracle.pauses.sends(&queue, until);
        let origin = self.ask(rng, Asked::Pause { queue, nth });
        life.engine.change_queue(origin, &command, life.now);
    }
}
