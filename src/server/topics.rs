//! Topics: names to which jobs are submitted, and the queues that get one of each. It knows no jobs.

use super::fault::{Fault, Kind};
use crate::access::Pattern;
use crate::core::QueueName;

/// The topics of a configuration: patterns of their names, and the queues that are bound to them.
#[derive(Clone, Debug, Default)]
pub struct Topics(Vec<(Pattern, Vec<QueueName>)>);

impl Topics {
    /// Those of a configuration, in its order.
    pub fn new(bound: Vec<(Pattern, Vec<QueueName>)>) -> Topics {
        Topics(bound)
    }

    /// The queues that get a job which is submitted to this topic, each once, in the order of the configuration.
    pub(crate) fn queues_of(&self, topic: &str) -> Result<Vec<QueueName>, Fault> {
        let mut queues: Vec<QueueName> = Vec::new();
        for queue in
            self.0.iter().filter(|(pattern, _)| pattern.matches(topic)).flat_map(|(_, queues)| queues)
        {
            if !queues.contains(queue) {
                queues.push(queue.clone());
            }
        }
        if queues.is_empty() {
            let message = format!(
                "no queue is bound to topic `{topic}`: add it to [topics] in the daemon's configuration; nothing was submitted"
            );
            return Err(Fault::new(Kind::NotFound, message));
        }
        Ok(queues)
    }

    /// Patterns with their queues, as they were written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[QueueName])> {
        self.0.iter().map(|(pattern, queues)| (pattern.as_str(), &queues[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_the_queues_of_all_patterns_that_it_matches_each_once() {
        let names =
            |names: &[&str]| names.iter().map(|name| QueueName::new(name).unwrap()).collect::<Vec<_>>();
        let pattern = |text| Pattern::new(text).unwrap();
        let topics = Topics::new(vec![
            (pattern("order.created"), names(&["invoices", "mails"])),
            (pattern("order.*"), names(&["audit", "mails"])),
        ]);
        assert_eq!(topics.queues_of("order.created"), Ok(names(&["invoices", "mails", "audit"])));
        assert_eq!(topics.queues_of("order.paid"), Ok(names(&["audit", "mails"])));
        let fault = topics.queues_of("orders").unwrap_err();
        assert!(fault.message.contains("no queue is bound to topic `orders`"), "{fault:?}");
    }
}
