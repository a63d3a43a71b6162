//! What is bound to topics by command, in the naive model: a list of pairs, in the order in which they were bound.

use super::Model;
use crate::core::*;

impl Model {
    pub(super) fn topic(&mut self, pattern: &Pattern, action: &TopicAction) -> Result<Outcome, Rejection> {
        match action {
            TopicAction::Bind { queues } => {
                for queue in queues {
                    let pair = (pattern.clone(), queue.clone());
                    if !self.bound.contains(&pair) {
                        self.bound.push(pair);
                    }
                }
            }
            TopicAction::Unbind { queues } => {
                let of_pattern = self.bound.iter().filter(|(of, _)| of == pattern);
                let there: Vec<QueueName> = of_pattern.map(|(_, queue)| queue.clone()).collect();
                let missing = match queues.iter().find(|queue| !there.contains(queue)) {
                    Some(queue) => Some(Some(queue.clone())),
                    None if queues.is_empty() && there.is_empty() => Some(None),
                    None => None,
                };
                if let Some(queue) = missing {
                    return Err(TopicRejection::NotBound { pattern: pattern.clone(), queue }.into());
                }
                self.bound
                    .retain(|(of, queue)| of != pattern || !queues.is_empty() && !queues.contains(queue));
            }
        }
        Ok(Outcome::Ok)
    }

    /// The rows that they are.
    pub(in crate::core::tests) fn topic_rows(&self) -> Vec<Row> {
        let mut patterns: Vec<&Pattern> = self.bound.iter().map(|(pattern, _)| pattern).collect();
        patterns.sort();
        patterns.dedup();
        let row = |pattern: &Pattern| {
            let queues = self.bound.iter().filter(|(of, _)| of == pattern).map(|(_, queue)| queue.clone());
            Row::Topic(TopicRow { pattern: pattern.clone(), queues: queues.collect() })
        };
        patterns.into_iter().map(row).collect()
    }
}
