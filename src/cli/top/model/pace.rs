//! What is remembered of queues from one look to the next: how fast jobs are completed, what the last minutes
//! were like and which limits hold; and what of that is due to be asked for again. It must not know what is drawn of it.

use super::super::ask::{Look, Seen};
use crate::protocol::admin::Steps;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

/// A rate is that of so many looks.
const LOOKS: usize = 6;
/// How long it holds what was seen of the past (its steps are of ten seconds) and the limits.
const PAST_HOLDS: Duration = Duration::from_secs(10);
const LIMITS_HOLD: Duration = Duration::from_secs(60);
/// Of so many queues the past, or the limits, are asked for in one look.
const AT_ONCE: usize = 12;

/// What is known of one queue. With each when it was seen.
#[derive(Debug, Default)]
struct Known {
    completed: VecDeque<(Duration, u64)>,
    past: Option<(Duration, Steps)>,
    limits: Option<(Duration, String)>,
}

/// What is known of all.
#[derive(Debug, Default)]
pub(in crate::cli::top) struct Queues {
    known: HashMap<String, Known>,
    total: VecDeque<(Duration, u64)>,
}

impl Queues {
    /// How many jobs of all queues are completed in a second.
    pub(in crate::cli::top) fn total_rate(&self) -> Option<f64> {
        rate(&self.total)
    }

    /// How many of this queue's.
    pub(in crate::cli::top) fn rate(&self, queue: &str) -> Option<f64> {
        rate(&self.known.get(queue)?.completed)
    }

    /// Its completed jobs of the last minutes, step by step.
    pub(in crate::cli::top) fn past(&self, queue: &str) -> Option<&Steps> {
        self.known.get(queue)?.past.as_ref().map(|(_, steps)| steps)
    }

    /// Its limits in words; empty if there are none.
    pub(in crate::cli::top) fn limits(&self, queue: &str) -> &str {
        self.known.get(queue).and_then(|known| known.limits.as_ref()).map_or("", |(_, limits)| limits)
    }

    /// Adds to a look what is due of these queues.
    pub(super) fn ask(&self, look: &mut Look, shown: &[&str], now: Duration) {
        let is_due = |at: Option<Duration>, holds| at.is_none_or(|at| now.saturating_sub(at) >= holds);
        let due = |at: fn(&Known) -> Option<Duration>, holds| {
            let of = move |queue: &&&str| is_due(self.known.get(**queue).and_then(at), holds);
            shown.iter().filter(of).map(|queue| (*queue).to_owned())
        };
        look.past = due(|known| known.past.as_ref().map(|past| past.0), PAST_HOLDS).take(AT_ONCE).collect();
        look.limits =
            due(|known| known.limits.as_ref().map(|limits| limits.0), LIMITS_HOLD).take(AT_ONCE).collect();
    }

    /// Takes what was seen.
    pub(super) fn take(&mut self, seen: &Seen) {
        let queues = &seen.status.queues;
        let names: HashSet<&str> = queues.iter().map(|queue| &*queue.queue).collect();
        self.known.retain(|name, _| names.contains(&**name));
        for queue in queues {
            let known = self.known.entry(queue.queue.clone()).or_default();
            add(&mut known.completed, seen.at, queue.totals.completed);
        }
        add(&mut self.total, seen.at, queues.iter().map(|queue| queue.totals.completed).sum());
        let mut known = |name: &str, take: &mut dyn FnMut(&mut Known)| {
            if let Some(known) = self.known.get_mut(name) {
                take(known);
            }
        };
        // What was asked for and is not known holds as well: it is not asked for each second.
        for name in &seen.look.past {
            let past = seen.past.iter().find(|(queue, ..)| queue == name);
            let steps = past.map(|(_, past, _)| past.completed.clone()).unwrap_or_default();
            known(name, &mut |known| known.past = Some((seen.at, steps.clone())));
        }
        for name in &seen.look.limits {
            let limits = seen.limits.iter().find(|(queue, _)| queue == name);
            let limits = limits.map(|(_, limits)| limits.clone()).unwrap_or_default();
            known(name, &mut |known| known.limits = Some((seen.at, limits.clone())));
        }
    }
}

fn add(samples: &mut VecDeque<(Duration, u64)>, at: Duration, count: u64) {
    // Counts go back where a queue was forgotten, or a backup restored.
    if samples.back().is_some_and(|(_, before)| *before > count) {
        samples.clear();
    }
    samples.push_back((at, count));
    if samples.len() > LOOKS {
        samples.pop_front();
    }
}

fn rate(samples: &VecDeque<(Duration, u64)>) -> Option<f64> {
    let ((from, first), (to, last)) = (samples.front()?, samples.back()?);
    let time = to.saturating_sub(*from).as_secs_f64();
    (time > 0.0).then(|| (last - first) as f64 / time)
}
