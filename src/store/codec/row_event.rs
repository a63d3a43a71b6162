//! The events that change no job, on disk: their numbers are among those of all events.

use super::event::{
    CIRCUIT_CHANGED, GROUP_CHANGED, GROUP_FORGOTTEN, KEYS_FORGOTTEN, KEYS_SERVED, NOT_TAKEN, OVERRIDES_SET,
    PAUSED, PAUSED_UNTIL, QUEUE_FORGOTTEN, RATE_USED, REQUEST_DONE, REQUESTS_FORGOTTEN, RESUMED, SCHEDULE,
    TOPIC_BOUND, TOPIC_UNBOUND,
};
use super::flow::{put_group, read_group};
use super::job::{from_moment, moment};
use super::keys::{put_served, read_page, read_served};
use super::overrides::{put_overrides, read_overrides};
use super::ranges::RangeV1;
use super::requests::{put_done, read_done};
use super::row::{CircuitV1, circuit_of, circuit_v1};
use super::schedule::{put_change, read_change};
use super::topics::{put_queues, read_pattern, read_queues};
use super::{DecodeError, Reader, put};
use crate::core::{GroupNo, QueueName, RateUsed, RowEvent};

pub(super) fn put_row_event(event: &RowEvent, out: &mut Vec<u8>) {
    match event {
        RowEvent::NotTaken { queue, jobs } => {
            put((NOT_TAKEN, queue.as_str(), RangeV1::from(*jobs)), out);
        }
        RowEvent::Paused { queue } => put((PAUSED, queue.as_str()), out),
        RowEvent::PausedUntil { queue, until } => {
            put((PAUSED_UNTIL, queue.as_str(), moment(*until)), out);
        }
        RowEvent::Resumed { queue } => put((RESUMED, queue.as_str()), out),
        RowEvent::RequestDone { page, done } => {
            put((REQUEST_DONE, page), out);
            put_done(done, out);
        }
        RowEvent::RequestsForgotten { page } => put((REQUESTS_FORGOTTEN, page), out),
        RowEvent::RateUsed { queue, used } => put((RATE_USED, queue.as_str(), used.0), out),
        RowEvent::OverridesSet { queue, overrides } => {
            put((OVERRIDES_SET, queue.as_str()), out);
            put_overrides(overrides, out);
        }
        RowEvent::CircuitChanged { queue, circuit } => {
            put((CIRCUIT_CHANGED, queue.as_str(), circuit_v1(*circuit)), out);
        }
        RowEvent::KeysServed { queue, page, rate, keys } => {
            put((KEYS_SERVED, queue.as_str(), page), out);
            put_served(*rate, keys, out);
        }
        RowEvent::KeysForgotten { queue, page } => put((KEYS_FORGOTTEN, queue.as_str(), page), out),
        RowEvent::QueueForgotten { queue } => put((QUEUE_FORGOTTEN, queue.as_str()), out),
        RowEvent::GroupChanged { group, now } => {
            put((GROUP_CHANGED, group.0), out);
            put_group(now, out);
        }
        RowEvent::GroupForgotten { group } => put((GROUP_FORGOTTEN, group.0), out),
        RowEvent::TopicBound { pattern, queues } => {
            put((TOPIC_BOUND, pattern.as_str()), out);
            put_queues(queues, out);
        }
        RowEvent::TopicUnbound { pattern } => put((TOPIC_UNBOUND, pattern.as_str()), out),
        RowEvent::Schedule { name, change } => {
            put(SCHEDULE, out);
            put_change(name, change, out);
        }
    }
}

pub(super) fn read_row_event(kind: u8, reader: &mut Reader<'_>) -> Result<RowEvent, DecodeError> {
    Ok(match kind {
        PAUSED => RowEvent::Paused { queue: QueueName::new(reader.take()?)? },
        PAUSED_UNTIL => {
            let (queue, until): (&str, u64) = reader.take()?;
            RowEvent::PausedUntil { queue: QueueName::new(queue)?, until: from_moment(until) }
        }
        RESUMED => RowEvent::Resumed { queue: QueueName::new(reader.take()?)? },
        REQUEST_DONE => {
            let page = reader.take()?;
            RowEvent::RequestDone { page, done: read_done(reader)?.into() }
        }
        REQUESTS_FORGOTTEN => RowEvent::RequestsForgotten { page: reader.take()? },
        RATE_USED => {
            let (queue, used): (&str, u64) = reader.take()?;
            RowEvent::RateUsed { queue: QueueName::new(queue)?, used: RateUsed(used) }
        }
        CIRCUIT_CHANGED => {
            let (queue, circuit): (&str, CircuitV1) = reader.take()?;
            RowEvent::CircuitChanged { queue: QueueName::new(queue)?, circuit: circuit_of(circuit) }
        }
        KEYS_SERVED => {
            let ((queue, page), (rate, keys)) = (read_page(reader)?, read_served(reader)?);
            RowEvent::KeysServed { queue, page, rate, keys }
        }
        KEYS_FORGOTTEN => read_page(reader).map(|(queue, page)| RowEvent::KeysForgotten { queue, page })?,
        QUEUE_FORGOTTEN => RowEvent::QueueForgotten { queue: QueueName::new(reader.take()?)? },
        OVERRIDES_SET => {
            let queue = QueueName::new(reader.take()?)?;
            RowEvent::OverridesSet { queue, overrides: read_overrides(reader)? }
        }
        SCHEDULE => {
            let (name, change) = read_change(reader)?;
            RowEvent::Schedule { name, change }
        }
        NOT_TAKEN => {
            let (queue, jobs): (&str, RangeV1) = reader.take()?;
            RowEvent::NotTaken { queue: QueueName::new(queue)?, jobs: jobs.try_into()? }
        }
        GROUP_CHANGED => {
            let group = GroupNo(reader.take()?);
            RowEvent::GroupChanged { group, now: read_group(reader)?.into() }
        }
        GROUP_FORGOTTEN => RowEvent::GroupForgotten { group: GroupNo(reader.take()?) },
        TOPIC_BOUND => {
            let pattern = read_pattern(reader.take()?)?;
            RowEvent::TopicBound { pattern, queues: read_queues(reader)? }
        }
        TOPIC_UNBOUND => RowEvent::TopicUnbound { pattern: read_pattern(reader.take()?)? },
        _ => return Err(DecodeError::Event(kind)),
    })
}
