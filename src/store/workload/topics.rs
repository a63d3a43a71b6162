//! What may be bound to topics by command.

use super::{Draw, Workload};
use crate::core::{Event, Pattern, QueueName, RowEvent};
use std::sync::Arc;

impl Workload {
    /// Queues are bound to one of a few patterns, or let go.
    pub(super) fn topic(&self, draw: &mut Draw) -> Option<Event> {
        let pattern = Self::pattern(draw);
        Some(Event::Row(match draw.below(8) {
            0..2 => RowEvent::TopicBound { pattern, queues: Self::bound(draw) },
            2 => RowEvent::TopicUnbound { pattern },
            _ => return None,
        }))
    }

    /// One of a few.
    pub(crate) fn pattern(draw: &mut Draw) -> Pattern {
        Pattern::new(["order.*", "order.created", "*"][draw.below(3) as usize]).expect("it is a pattern")
    }

    /// Some queues, each once.
    pub(crate) fn bound(draw: &mut Draw) -> Arc<[QueueName]> {
        let first = draw.below(50);
        let name = |nth| QueueName::new(&format!("queue-{nth}")).expect("it is a name");
        (first..=first + draw.below(5)).map(name).collect()
    }
}
