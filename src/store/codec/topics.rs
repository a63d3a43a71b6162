//! The queues that are bound to topics by command, on disk.

use super::{DecodeError, Reader, put};
use crate::core::{Pattern, QueueName, Topics};
use std::sync::Arc;

pub(super) fn put_queues(queues: &[QueueName], out: &mut Vec<u8>) {
    put(queues.iter().map(QueueName::as_str).collect::<Vec<_>>(), out);
}

/// Reads what [`put_queues`] has written: one at least, each once, and no more than may be.
pub(super) fn read_queues(reader: &mut Reader<'_>) -> Result<Arc<[QueueName]>, DecodeError> {
    let count = reader.count()?;
    if !(1..=Topics::QUEUES_MAX).contains(&count) {
        return Err(DecodeError::Value("the queues of a topic"));
    }
    let mut queues: Vec<QueueName> = Vec::with_capacity(count);
    for _ in 0..count {
        let queue = QueueName::new(reader.take()?)?;
        if queues.contains(&queue) {
            return Err(DecodeError::Value("a queue that is bound to a topic"));
        }
        queues.push(queue);
    }
    Ok(queues.into())
}

pub(super) fn read_pattern(text: &str) -> Result<Pattern, DecodeError> {
    Pattern::new(text).ok_or(DecodeError::Value("a pattern of topics"))
}
