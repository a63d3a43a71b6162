//! Settings at run time: what was told set holds, over the configuration, until it is unset; also after a crash and a
//! reload. What was under way at a crash has happened up to some request, and not behind it.

use crate::bounds;
use crate::clients::{Asked, Clients};
use crate::oracle::Oracle;
use crate::queues::{named, queue, settings};
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{Command, Core, Keep, QueueName, Retries, Setting, SettingKey, Settings, State};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A request to change settings of a queue.
#[derive(Clone, Debug)]
struct Request {
    nth: u64,
    unset: Vec<SettingKey>,
    set: Vec<Setting>,
}

type Held = BTreeMap<SettingKey, Setting>;

/// What was asked for one queue.
#[derive(Debug, Default)]
struct Asks {
    /// What is set for sure.
    held: Held,
    /// In the order in which they were sent.
    under_way: VecDeque<Request>,
}

/// What was asked for all of them.
#[derive(Debug, Default)]
pub(crate) struct SetAtRunTime {
    queues: BTreeMap<QueueName, Asks>,
    sent: u64,
}

fn put(held: &mut Held, request: &Request) {
    held.retain(|key, _| !request.unset.contains(key));
    held.extend(request.set.iter().map(|setting| (setting.key(), *setting)));
}

/// What the state says that was set for a queue.
fn set_in(state: &State, name: &QueueName) -> Held {
    let overrides = state.queue(name).into_iter().flat_map(|queue| queue.overrides().iter());
    overrides.map(|one| (one.setting.key(), one.setting)).collect()
}

impl Asks {
    /// What is set once so many of the requests are done.
    fn after(&self, requests: usize) -> Held {
        let mut held = self.held.clone();
        self.under_way.iter().take(requests).for_each(|request| put(&mut held, request));
        held
    }
}

impl SetAtRunTime {
    fn sends(&mut self, queue: &QueueName, unset: Vec<SettingKey>, set: Vec<Setting>) -> u64 {
        self.sent += 1;
        let asks = self.queues.entry(queue.clone()).or_default();
        asks.under_way.push_back(Request { nth: self.sent, unset, set });
        self.sent
    }

    /// A request was told done, and so those before it are; or it was refused.
    pub(crate) fn told(&mut self, queue: &QueueName, nth: u64, done: bool) {
        let Some(asks) = self.queues.get_mut(queue) else { return };
        if !done {
            return asks.under_way.retain(|request| request.nth != nth);
        }
        while let Some(request) = asks.under_way.pop_front_if(|request| request.nth <= nth) {
            put(&mut asks.held, &request);
        }
    }

    /// All that was asked was decided at once, over this configuration.
    pub(crate) fn check(&self, core: &Core, configured: &Settings) {
        for (name, asks) in &self.queues {
            let held = asks.after(usize::MAX);
            assert_eq!(set_in(&core.state, name), held, "what is set for {name}");
            let mut wanted = configured.of(name).clone();
            held.values().for_each(|setting| setting.put(&mut wanted));
            assert_eq!(*core.settings.of(name), wanted, "what holds for {name}");
        }
    }

    /// After a start.
    pub(crate) fn found(&mut self, state: &State) {
        for (name, asks) in &mut self.queues {
            let found = set_in(state, name);
            let is_one = (0..=asks.under_way.len()).any(|requests| asks.after(requests) == found);
            assert!(is_one, "{found:?} is set for {name} after a start, not {asks:?}");
            (asks.held, asks.under_way) = (found, VecDeque::new());
        }
    }

    /// The value that holds of a setting.
    pub(crate) fn value(&self, name: &QueueName, key: SettingKey) -> Setting {
        let held = self.queues.get(name).map(|asks| asks.after(usize::MAX)).unwrap_or_default();
        held.get(&key).copied().unwrap_or_else(|| Setting::of(key, settings().of(name)))
    }
}

/// A setting with another value, of a queue that keeps all promises with it.
fn any_setting(rng: &mut Rng) -> (QueueName, Setting) {
    if rng.u32(..3) == 0 {
        let last = bounds::BOUNDED.len() - 1;
        let (name, _) = bounds::BOUNDED[rng.usize(..last + 4).min(last)];
        return (named(name), Setting::Backlog(1 + rng.u64(..bounds::JOBS_MAX)));
    }
    let setting = match rng.u32(..6) {
        0 => Setting::Retries([Retries::Alternate, Retries::Behind, Retries::Place][rng.usize(..3)]),
        1 => Setting::Crashes(2 + rng.u32(..6)),
        2 => Setting::LaterMax(1 + rng.u32(..6)),
        3 => Setting::Attempts(1 + rng.u32(..5)),
        4 => Setting::KeepDone(Keep::For(Duration::from_millis(rng.u64(..60_000)))),
        _ => Setting::KeepDoneMax(rng.u64(..50)),
    };
    (queue(rng.usize(..2)), setting)
}

impl Clients {
    /// Sets something, or unsets it.
    pub(crate) fn set_queue(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let (queue, setting) = any_setting(rng);
        let (mut set, mut unset) = (vec![setting], Vec::new());
        if rng.u32(..3) == 0 {
            unset.push(setting.key());
            if rng.bool() {
                set.clear();
            }
        }
        let nth = oracle.settings.sends(&queue, unset.clone(), set.clone());
        let origin = self.ask(rng, Asked::Set { queue: queue.clone(), nth });
        life.engine.change_queue(origin, &Command::SetQueue { queue, set, unset, by: 7 }, life.now);
    }
}
