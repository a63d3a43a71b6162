//! Topics: what was told bound by command holds beside the configuration, after crashes and reloads, until it was told unbound; and a
//! submit to a topic is a job in each queue that is bound to it then, each once.

use crate::clients::{Asked, Clients, group};
use crate::oracle::Oracle;
use crate::queues::queue;
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{Command, Core, Pattern, QueueName, State, TopicAction, Topics};
use std::collections::VecDeque;

/// In the order of patterns.
const PATTERNS: [&str; 3] = ["*.paid", "order.*", "order.created"];
const TOPICS: [&str; 4] = ["order.created", "order.paid", "bill.paid", "bill.lost"];

fn matches(pattern: &str, topic: &str) -> bool {
    match pattern {
        "*.paid" => topic.ends_with(".paid"),
        "order.*" => topic.starts_with("order."),
        name => topic == name,
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect("it is a pattern")
}

/// What the configuration binds.
pub(crate) fn configured() -> Topics {
    [(pattern(PATTERNS[1]), vec![queue(1)])].into_iter().collect()
}

/// A request to bind queues, or to let go of them.
#[derive(Clone, Debug)]
struct Request {
    nth: u64,
    pattern: &'static str,
    binds: bool,
    queues: Vec<QueueName>,
}

/// Patterns and queues, in the order in which they were bound.
type Bound = Vec<(&'static str, QueueName)>;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct BoundByCommand {
    /// What is bound for sure.
    held: Bound,
    /// In the order in which they were sent.
    under_way: VecDeque<Request>,
    sent: u64,
}

/// Makes it so. Returns whether it is not refused.
fn put(held: &mut Bound, Request { pattern, binds, queues, .. }: &Request) -> bool {
    let is_bound = |held: &Bound, queue: &QueueName| held.contains(&(*pattern, queue.clone()));
    if *binds {
        for queue in queues {
            if !is_bound(held, queue) {
                held.push((*pattern, queue.clone()));
            }
        }
        return true;
    }
    let is_known = match queues.is_empty() {
        true => held.iter().any(|(of, _)| of == pattern),
        false => queues.iter().all(|queue| is_bound(held, queue)),
    };
    if is_known {
        held.retain(|(of, queue)| of != pattern || (!queues.is_empty() && !queues.contains(queue)));
    }
    is_known
}

fn of_pattern(held: &Bound, pattern: &str) -> Vec<QueueName> {
    held.iter().filter(|(of, _)| *of == pattern).map(|(_, queue)| queue.clone()).collect()
}

/// Whether just this is bound in a state.
fn is_in(state: &State, held: &Bound) -> bool {
    let found =
        |text: &str| state.topics().get(&pattern(text)).map_or_else(Vec::new, |queues| queues.to_vec());
    PATTERNS.iter().all(|pattern| found(pattern) == of_pattern(held, pattern))
}

impl BoundByCommand {
    fn sends(&mut self, pattern: &'static str, binds: bool, queues: Vec<QueueName>) -> u64 {
        self.sent += 1;
        self.under_way.push_back(Request { nth: self.sent, pattern, binds, queues });
        self.sent
    }

    /// A request was told done or refused, and so those before it are.
    pub(crate) fn told(&mut self, nth: u64, done: bool) {
        while let Some(request) = self.under_way.pop_front_if(|request| request.nth <= nth) {
            let is_done = put(&mut self.held, &request);
            assert!(request.nth < nth || is_done == done, "{request:?} was told {done}");
        }
    }

    /// What is bound once so many of the requests are done.
    fn after(&self, requests: usize) -> Bound {
        let mut held = self.held.clone();
        for request in self.under_way.iter().take(requests) {
            put(&mut held, request);
        }
        held
    }

    /// The queues that get a job of a topic, if all that was asked for is done.
    fn queues_of(&self, topic: &str) -> Vec<QueueName> {
        let (mut queues, held) = (Vec::new(), self.after(usize::MAX));
        let configured = [queue(1)].into_iter().filter(|_| matches(PATTERNS[1], topic));
        let bound = PATTERNS.iter().filter(|pattern| matches(pattern, topic));
        for queue in configured.chain(bound.flat_map(|pattern| of_pattern(&held, pattern))) {
            if !queues.contains(&queue) {
                queues.push(queue);
            }
        }
        queues
    }

    /// All that was asked was decided at once.
    pub(crate) fn check(&self, core: &Core) {
        assert!(is_in(&core.state, &self.after(usize::MAX)), "{:?}, not {self:?}", core.state.topics());
        for topic in TOPICS {
            assert_eq!(core.queues_of(topic), self.queues_of(topic), "the queues of {topic}");
        }
    }

    /// After a start.
    pub(crate) fn found(&mut self, state: &State) {
        let requests = (0..=self.under_way.len()).find(|requests| is_in(state, &self.after(*requests)));
        let Some(requests) = requests else {
            panic!("{:?} is bound after a start, not {self:?}", state.topics())
        };
        (self.held, self.under_way) = (self.after(requests), VecDeque::new());
    }
}

impl Clients {
    /// Binds queues to a topic, or lets go of some or all.
    pub(crate) fn bind_topic(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let (text, binds) = (PATTERNS[rng.usize(..PATTERNS.len())], rng.bool());
        let queues: Vec<QueueName> =
            (0..rng.usize(usize::from(binds)..3)).map(|_| queue(rng.usize(..3))).collect();
        let nth = oracle.topics.sends(text, binds, queues.clone());
        let action = if binds { TopicAction::Bind { queues } } else { TopicAction::Unbind { queues } };
        let origin = self.ask(rng, Asked::Topic(nth));
        life.engine.change_queue(origin, &Command::Topic { pattern: pattern(text), action }, life.now);
    }

    /// Submits a job to a topic, as the server does it: in one commit to all of its queues.
    pub(crate) fn submit_to_topic(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let topic = TOPICS[rng.usize(..TOPICS.len())];
        let queues = life.engine.core().queues_of(topic);
        assert_eq!(queues, oracle.topics.queues_of(topic), "the queues of {topic}");
        if queues.is_empty() {
            return;
        }
        let mut sent = Vec::new();
        let groups = queues.into_iter().map(|queue| group(rng, &mut sent, queue, 1, life.now)).collect();
        self.submit_plain(rng, oracle, life, (groups, sent));
    }
}
