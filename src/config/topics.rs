//! `[topics]`: names, or patterns of names, and the queues that get a job each time one is submitted to them.

use super::problem::Report;
use super::raw::Section;
use crate::core::{Pattern, QueueName, Topics};

/// A pattern of topics, and the queues that are bound to it.
pub type Topic = (Pattern, Vec<QueueName>);

/// All of them, by their patterns.
pub(super) fn topics(section: &Section<'_>, report: &mut Report<'_>) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for (key, texts) in section.lists_of_texts(report) {
        let pattern = match Topics::pattern(key) {
            Ok(pattern) => pattern,
            Err(error) => {
                section.fault(report, key, error.to_string());
                continue;
            }
        };
        if texts.is_empty() {
            section.fault(report, key, "is bound to no queue; name one at least, or remove it");
        }
        let mut queues = Vec::with_capacity(texts.len());
        for text in texts {
            match QueueName::new(&text) {
                Ok(name) => queues.push(name),
                Err(error) => section.fault(report, key, error.to_string()),
            }
        }
        topics.push((pattern, queues));
    }
    topics.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    topics
}
