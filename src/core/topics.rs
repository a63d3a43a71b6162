//! Topics: names to which jobs are submitted, and the queues that get one of each. Queues are bound to patterns of names: by the
//! configuration, which is one of the settings, and by command, which is part of the state. It knows no jobs.

use super::decide::Core;
use super::job::QueueName;
use super::pattern::Pattern;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A text that is no pattern of topics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a pattern of topics: use 1 to {max} of the characters A-Z a-z 0-9 . _ - / : + ; $ ( ), and * for anything",
    max = Pattern::MAX
)]
pub struct BadTopics(String);

/// Patterns of topics, and the queues that are bound to each: one at least.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics(BTreeMap<Pattern, Arc<[QueueName]>>);

impl Topics {
    /// The most patterns to which queues are bound by command.
    pub const PATTERNS_MAX: usize = 1_000;
    /// The most queues that are bound to one of them.
    pub const QUEUES_MAX: usize = 100;

    /// Reads a pattern.
    ///
    /// # Errors
    /// [`BadTopics`], with the text cut to a length that can be shown.
    pub fn pattern(text: &str) -> Result<Pattern, BadTopics> {
        Pattern::new(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            BadTopics(shown.escape_debug().to_string())
        })
    }

    /// The queues that are bound to this very pattern, in the order in which they were.
    pub fn get(&self, pattern: &Pattern) -> Option<&Arc<[QueueName]>> {
        self.0.get(pattern)
    }

    /// All of them, in the order of the patterns.
    pub fn iter(&self) -> impl Iterator<Item = (&Pattern, &Arc<[QueueName]>)> {
        self.0.iter()
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The queues of all patterns that a topic matches.
    fn of(&self, topic: &str) -> impl Iterator<Item = &QueueName> {
        let bound = self.0.iter().filter(move |(pattern, _)| pattern.matches(topic));
        bound.flat_map(|(_, queues)| queues.iter())
    }

    /// These queues are bound to a pattern, and no others; if they are none, nothing is known of it any more.
    pub(super) fn set(&mut self, pattern: Pattern, queues: Arc<[QueueName]>) {
        if queues.is_empty() {
            self.0.remove(&pattern);
        } else {
            self.0.insert(pattern, queues);
        }
    }

    /// Panics if one of them has more than may be, none, or one twice.
    pub(super) fn check(&self) {
        assert!(self.len() <= Topics::PATTERNS_MAX, "{} patterns of topics", self.len());
        for (pattern, queues) in self.iter() {
            let different: HashSet<_> = queues.iter().collect();
            assert_eq!(different.len(), queues.len(), "a queue is bound to {} twice", pattern.as_str());
            assert!((1..=Topics::QUEUES_MAX).contains(&queues.len()), "queues of {}", pattern.as_str());
        }
    }
}

impl FromIterator<(Pattern, Vec<QueueName>)> for Topics {
    fn from_iter<I: IntoIterator<Item = (Pattern, Vec<QueueName>)>>(all: I) -> Topics {
        let mut topics = Topics::default();
        all.into_iter().for_each(|(pattern, queues)| topics.set(pattern, queues.into()));
        topics
    }
}

impl Core {
    /// The queues that get a job which is submitted to this topic, each once: those of the configuration, then those that were
    /// bound by command, each in the order of the patterns.
    pub fn queues_of(&self, topic: &str) -> Vec<QueueName> {
        let mut seen = HashSet::new();
        let all = self.settings.topics.of(topic).chain(self.state.topics.of(topic));
        all.filter(|queue| seen.insert(*queue)).cloned().collect()
    }
}
