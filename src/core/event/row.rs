//! What happens to what is known beside jobs: queues, schedules, topics, submits that are remembered, and keys that were served. No
//! job changes by it, and its fold looks at none.

use crate::core::circuit::Circuit;
use crate::core::event::Event;
use crate::core::groups::{GroupNo, JobGroup};
use crate::core::ids::IdRange;
use crate::core::job::QueueName;
use crate::core::overrides::Overrides;
use crate::core::pattern::Pattern;
use crate::core::rate::{Rate, RateUsed};
use crate::core::requests::{DoneRequest, PageNo};
use crate::core::rows::RowKey;
use crate::core::schedule::{ScheduleChange, ScheduleName};
use crate::core::served::ServedKey;
use crate::core::time::Time;
use std::sync::Arc;

/// One fact about a queue, a schedule, or a page of submits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowEvent {
    /// New jobs are not taken: there is no room for them. They have ids, and that is all.
    NotTaken {
        /// The queue that they were for.
        queue: QueueName,
        /// Their ids.
        jobs: IdRange,
    },
    /// A queue gives out no more jobs.
    Paused {
        /// Which.
        queue: QueueName,
    },
    /// The same, until a time.
    PausedUntil {
        /// Which.
        queue: QueueName,
        /// When it gives them out again.
        until: Time,
    },
    /// A queue gives out jobs again.
    Resumed {
        /// Which.
        queue: QueueName,
    },
    /// Leases of a queue were given, and used something of its rate.
    RateUsed {
        /// Which.
        queue: QueueName,
        /// What is used of it now.
        used: RateUsed,
    },
    /// Something was set for a queue at run time, or is not set any more.
    OverridesSet {
        /// Which.
        queue: QueueName,
        /// All that is set for it now.
        overrides: Overrides,
    },
    /// An attempt has changed the circuit of its queue, or somebody has closed it by hand.
    CircuitChanged {
        /// Which queue.
        queue: QueueName,
        /// How it is now.
        circuit: Circuit,
    },
    /// A submit was done that is remembered by its key.
    RequestDone {
        /// The page in which it is.
        page: PageNo,
        /// Which, and what it was answered.
        done: Box<DoneRequest>,
    },
    /// A page of submits is forgotten.
    RequestsForgotten {
        /// Which.
        page: PageNo,
    },
    /// Jobs with keys were leased, in a queue that remembers its keys.
    KeysServed {
        /// Which.
        queue: QueueName,
        /// The page in which these keys are remembered, and in no other.
        page: PageNo,
        /// The rate for each key that is in force.
        rate: Option<Rate>,
        /// What is remembered of each now; of one that is there twice, the last.
        keys: Vec<ServedKey>,
    },
    /// A page of keys is forgotten.
    KeysForgotten {
        /// Of which queue.
        queue: QueueName,
        /// Which.
        page: PageNo,
    },
    /// A queue without jobs is not there any more, nor what it has counted. What is remembered of its keys was forgotten before.
    QueueForgotten {
        /// Which.
        queue: QueueName,
    },
    /// A group has come into being, or something has happened to its jobs.
    GroupChanged {
        /// Its number.
        group: GroupNo,
        /// All that is known of it now.
        now: Arc<JobGroup>,
    },
    /// Nothing is known of a group any more.
    GroupForgotten {
        /// Its number.
        group: GroupNo,
    },
    /// Queues were bound to topics by command, or some of several are not any more.
    TopicBound {
        /// The pattern of the topics.
        pattern: Pattern,
        /// All that are bound to it now.
        queues: Arc<[QueueName]>,
    },
    /// No queues are bound to topics by command any more.
    TopicUnbound {
        /// The pattern of the topics.
        pattern: Pattern,
    },
    /// Something has happened to a schedule.
    Schedule {
        /// Which.
        name: ScheduleName,
        /// What.
        change: ScheduleChange,
    },
}

impl From<RowEvent> for Event {
    fn from(event: RowEvent) -> Event {
        Event::Row(event)
    }
}

impl RowEvent {
    /// See [`Event::changed_row`].
    pub(super) fn changed(&self) -> Option<RowKey> {
        match self {
            RowEvent::QueueForgotten { queue } => Some(RowKey::Queue(queue.clone())),
            RowEvent::KeysServed { queue, page, .. } | RowEvent::KeysForgotten { queue, page } => {
                Some(RowKey::Keys(queue.clone(), *page))
            }
            RowEvent::RequestDone { page, .. } | RowEvent::RequestsForgotten { page } => {
                Some(RowKey::Requests(*page))
            }
            RowEvent::Schedule { name, .. } => Some(RowKey::Schedule(name.clone())),
            RowEvent::TopicBound { pattern, .. } | RowEvent::TopicUnbound { pattern } => {
                Some(RowKey::Topic(pattern.clone()))
            }
            RowEvent::GroupChanged { group, .. } | RowEvent::GroupForgotten { group } => {
                Some(RowKey::Group(*group))
            }
            RowEvent::NotTaken { .. }
            | RowEvent::Paused { .. }
            | RowEvent::PausedUntil { .. }
            | RowEvent::Resumed { .. }
            | RowEvent::RateUsed { .. }
            | RowEvent::OverridesSet { .. }
            | RowEvent::CircuitChanged { .. } => None,
        }
    }
}
