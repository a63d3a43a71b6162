//! What is known beside jobs, as rows of one general kind: queues, schedules, topics, submits that are remembered, and
//! keys that were served. The store keeps each under its key with the number of the commit that it reflects, and knows no more of it.

use super::circuit::Circuit;
use super::groups::{GroupNo, JobGroup};
use super::job::QueueName;
use super::overrides::Overrides;
use super::pattern::Pattern;
use super::rate::{Rate, RateUsed};
use super::requests::{DoneRequest, PageNo};
use super::schedule::{Schedule, ScheduleName};
use super::served::ServedKey;
use super::state::{State, Totals};
use super::time::Time;
use std::sync::Arc;

/// What a row is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// A queue.
    Queue(QueueName),
    /// A schedule.
    Schedule(ScheduleName),
    /// A page of submits that are remembered by their keys.
    Requests(PageNo),
    /// A page of keys of a queue that were served.
    Keys(QueueName, PageNo),
    /// A group.
    Group(GroupNo),
    /// What is bound to a pattern of topics by command.
    Topic(Pattern),
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// What is remembered of a queue beside its jobs.
    Queue(QueueRow),
    /// A schedule.
    Schedule(ScheduleRow),
    /// A page of submits that are remembered by their keys.
    Requests(RequestsRow),
    /// A page of keys of a queue that were served.
    Keys(KeysRow),
    /// A group.
    Group(GroupRow),
    /// What is bound to a pattern of topics by command.
    Topic(TopicRow),
}

/// What is remembered of a queue beside its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// The queue.
    pub name: QueueName,
    /// See [`Queue::paused_until`](super::Queue::paused_until).
    pub paused_until: Option<Time>,
    /// What went through it.
    pub totals: Totals,
    /// See [`Queue::maker`](super::Queue::maker).
    pub maker: Option<u32>,
    /// See [`Queue::used`](super::Queue::used).
    pub used: Time,
    /// See [`Queue::rate_used`](super::Queue::rate_used).
    pub rate_used: RateUsed,
    /// See [`Queue::overrides`](super::Queue::overrides).
    pub overrides: Overrides,
    /// See [`Queue::circuit`](super::Queue::circuit).
    pub circuit: Circuit,
}

/// A schedule with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Its name.
    pub name: ScheduleName,
    /// All of it.
    pub schedule: Schedule,
}

/// A page of submits that are remembered by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestsRow {
    /// Its number.
    pub page: PageNo,
    /// The submits, in the order in which they were done.
    pub done: Arc<Vec<DoneRequest>>,
}

/// A page of keys of a queue that were served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysRow {
    /// The queue.
    pub queue: QueueName,
    /// Its number.
    pub page: PageNo,
    /// The rate for each key that was in force then.
    pub rate: Option<Rate>,
    /// What is remembered of each.
    pub keys: Arc<Vec<ServedKey>>,
}

/// A group with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Its number.
    pub no: GroupNo,
    /// All of it.
    pub group: Arc<JobGroup>,
}

/// What is bound to a pattern of topics by command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRow {
    /// The pattern.
    pub pattern: Pattern,
    /// The queues, in the order in which they were bound.
    pub queues: Arc<[QueueName]>,
}

impl Row {
    /// What it is of.
    pub fn key(&self) -> RowKey {
        match self {
            Row::Queue(queue) => RowKey::Queue(queue.name.clone()),
            Row::Schedule(row) => RowKey::Schedule(row.name.clone()),
            Row::Requests(row) => RowKey::Requests(row.page),
            Row::Keys(row) => RowKey::Keys(row.queue.clone(), row.page),
            Row::Group(row) => RowKey::Group(row.no),
            Row::Topic(row) => RowKey::Topic(row.pattern.clone()),
        }
    }
}

impl State {
    /// What is known beside jobs, in the order of the keys.
    pub fn rows(&self) -> Vec<Row> {
        let mut queues: Vec<_> = self.queue_rows().collect();
        queues.sort_by(|a, b| a.name.cmp(&b.name));
        let schedule = |(name, schedule): (&ScheduleName, &Schedule)| {
            Row::Schedule(ScheduleRow { name: name.clone(), schedule: schedule.clone() })
        };
        let page = |(page, done): (PageNo, &Arc<Vec<DoneRequest>>)| {
            Row::Requests(RequestsRow { page, done: done.clone() })
        };
        let keys = queues.iter().flat_map(|row| self.keys_rows(&row.name)).map(Row::Keys).collect::<Vec<_>>();
        let others = self.schedules.iter().map(schedule).chain(self.requests.pages().map(page));
        let group =
            |(no, group): (GroupNo, &Arc<JobGroup>)| Row::Group(GroupRow { no, group: group.clone() });
        let groups = self.groups.iter().map(group);
        let topic = |(pattern, queues): (&Pattern, &Arc<[QueueName]>)| {
            Row::Topic(TopicRow { pattern: pattern.clone(), queues: queues.clone() })
        };
        let rows = queues.into_iter().map(Row::Queue).chain(others).chain(keys).chain(groups);
        rows.chain(self.topics.iter().map(topic)).collect()
    }

    /// Those of queues, in no order.
    pub fn queue_rows(&self) -> impl Iterator<Item = QueueRow> {
        self.queues.iter().map(|(name, queue)| queue.row(name))
    }

    /// One of them, if it is there.
    pub fn row(&self, key: &RowKey) -> Option<Row> {
        match key {
            RowKey::Queue(name) => Some(Row::Queue(self.queue(name)?.row(name))),
            RowKey::Schedule(name) => {
                let schedule = self.schedules.get(name)?.clone();
                Some(Row::Schedule(ScheduleRow { name: name.clone(), schedule }))
            }
            RowKey::Requests(page) => {
                let done = self.requests.page(*page)?.clone();
                Some(Row::Requests(RequestsRow { page: *page, done }))
            }
            RowKey::Keys(queue, page) => self.keys_row(queue, *page).map(Row::Keys),
            RowKey::Group(no) => Some(Row::Group(GroupRow { no: *no, group: self.groups.get(*no)?.clone() })),
            RowKey::Topic(pattern) => {
                let queues = self.topics.get(pattern)?.clone();
                Some(Row::Topic(TopicRow { pattern: pattern.clone(), queues }))
            }
        }
    }

    /// Puts a row back, as [`State::rows`] gave it. For recovery: it takes the place of what was counted on the way there.
    pub fn restore_row(&mut self, row: Row) {
        match row {
            Row::Queue(QueueRow {
                name,
                paused_until,
                totals,
                maker,
                used,
                rate_used,
                overrides,
                circuit,
            }) => {
                self.set_pause(&name, paused_until);
                let queue = self.queues.entry(name).or_default();
                (queue.totals, queue.maker, queue.used) = (totals, maker, used);
                (queue.rate_used, queue.overrides, queue.circuit) = (rate_used, overrides, circuit);
            }
            Row::Schedule(ScheduleRow { name, schedule }) => self.schedules.restore(name, schedule),
            Row::Requests(RequestsRow { page, done }) => self.requests.restore(page, done),
            Row::Keys(row) => self.restore_keys(row),
            Row::Group(GroupRow { no, group }) => self.set_group(no, group),
            Row::Topic(TopicRow { pattern, queues }) => self.topics.set(pattern, queues),
        }
    }
}
