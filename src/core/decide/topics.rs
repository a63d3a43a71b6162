//! Decides which queues are bound to topics by command, beside what the configuration says.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{Outcome, TopicAction};
use crate::core::event::RowEvent;
use crate::core::job::QueueName;
use crate::core::pattern::Pattern;
use crate::core::rejection::{Rejection, TopicRejection};
use crate::core::topics::Topics;

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn topic(&mut self, pattern: &Pattern, action: &TopicAction) -> Result<Outcome, Rejection> {
        let bound = self.state().topics.get(pattern).map_or_else(Vec::new, |queues| queues.to_vec());
        let queues = match action {
            TopicAction::Bind { queues } => self.with_bound(pattern, &bound, queues)?,
            TopicAction::Unbind { queues } => self.without(pattern, &bound, queues)?,
        };
        let pattern = pattern.clone();
        if queues.is_empty() && !bound.is_empty() {
            self.emit(RowEvent::TopicUnbound { pattern });
        } else if queues != bound {
            self.emit(RowEvent::TopicBound { pattern, queues: queues.into() });
        }
        Ok(Outcome::Ok)
    }

    /// What is bound, and these, each once.
    fn with_bound(
        &self,
        pattern: &Pattern,
        bound: &[QueueName],
        more: &[QueueName],
    ) -> Result<Vec<QueueName>, Rejection> {
        let mut queues = bound.to_vec();
        for queue in more {
            if queues.contains(queue) {
                continue;
            }
            let limit = Topics::QUEUES_MAX;
            if queues.len() >= limit {
                return Err(TopicRejection::TooManyQueues { pattern: pattern.clone(), limit }.into());
            }
            queues.push(queue.clone());
        }
        let limit = Topics::PATTERNS_MAX;
        match bound.is_empty() && !queues.is_empty() && self.state().topics.len() >= limit {
            true => Err(TopicRejection::TooManyPatterns { limit }.into()),
            false => Ok(queues),
        }
    }

    /// What is bound but for these, or nothing if none are named. All of them must be bound by command.
    fn without(
        &self,
        pattern: &Pattern,
        bound: &[QueueName],
        less: &[QueueName],
    ) -> Result<Vec<QueueName>, Rejection> {
        let configured = self.core.settings.topics.get(pattern);
        let refusal = |queue: Option<&QueueName>| -> Rejection {
            let is_configured = configured.is_some_and(|all| queue.is_none_or(|queue| all.contains(queue)));
            let (pattern, queue) = (pattern.clone(), queue.cloned());
            match is_configured {
                true => TopicRejection::Configured { pattern, queue }.into(),
                false => TopicRejection::NotBound { pattern, queue }.into(),
            }
        };
        if less.is_empty() && bound.is_empty() {
            return Err(refusal(None));
        }
        if let Some(unknown) = less.iter().find(|queue| !bound.contains(queue)) {
            return Err(refusal(Some(unknown)));
        }
        let is_left = |queue: &&QueueName| !less.is_empty() && !less.contains(queue);
        Ok(bound.iter().filter(is_left).cloned().collect())
    }
}
