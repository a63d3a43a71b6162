//! What is on disk besides jobs: rows of one general kind, each with the commit that it reflects. The key of a queue is
//! its name; other keys begin with a byte that no name contains.

use super::fields::{put_fields, read_fields};
use super::flow::{put_group, read_group, read_group_no};
use super::job::{from_moment, moment};
use super::keys::{put_page_key, put_served, read_page_key, read_served};
use super::overrides::{put_overrides, read_overrides};
use super::requests::{put_page, read_page, read_page_no};
use super::schedule::{put_schedule, read_name, read_schedule};
use super::topics::{put_queues, read_pattern, read_queues};
use super::{DecodeError, Reader, put};
use crate::core::{
    Attempt, Circuit, GroupRow, JobId, KeysRow, LeaseId, OpenCircuit, Overrides, QueueName, QueueRow,
    RateUsed, RequestsRow, Row, RowKey, ScheduleRow, Time, TopicRow, Totals,
};
use crate::store::CommitNo;
use std::borrow::Cow;

/// The version in which rows of queues are written.
const QUEUE: u8 = 3;

// The numbers of the fields are on people's disks: none is ever used again.
const RATE_USED: u8 = 1;
const OVERRIDES: u8 = 2;
const DROPPED: u8 = 3;
const CIRCUIT: u8 = 9;
/// Of one that is paused until a time.
const PAUSED_UNTIL: u8 = 10;

/// The same of schedules.
const SCHEDULE: u8 = 1;

/// The same of pages of submits.
const REQUESTS: u8 = 1;

/// The same of pages of keys that were served.
const KEYS: u8 = 1;

/// What the key of such a page begins with; its number follows, eight bytes, big-endian, and the name of the queue.
const KEYS_KEY: u8 = b'%';

/// The same of groups.
const GROUP: u8 = 1;

/// What the key of a group begins with; its number follows, eight bytes, big-endian.
const GROUP_KEY: u8 = b'&';

/// The same of topics.
const TOPIC: u8 = 1;

/// What the key of a pattern of topics begins with.
const TOPIC_KEY: u8 = b'$';

/// What is before the name of a queue in its key, if that begins as the key of a topic does.
const QUEUE_KEY: u8 = b'!';

/// What the key of a page of submits begins with; its number follows, eight bytes, big-endian.
const REQUESTS_KEY: u8 = b'#';

/// What the key of a schedule begins with.
const SCHEDULE_KEY: u8 = b'@';

/// How many attempts have failed; if it is open: since when, how many probes have failed, when the next may go, and the newest
/// probe.
pub(super) type CircuitV1 = (u32, Option<(u64, u32, u64, Option<(u64, u32)>)>);

pub(super) fn circuit_v1(circuit: Circuit) -> CircuitV1 {
    let open = circuit.open.map(|open| {
        let probe = open.probe.map(|lease| (lease.id.0, lease.attempt.0));
        (moment(open.since), open.probes, moment(open.next), probe)
    });
    (circuit.failed, open)
}

pub(super) fn circuit_of((failed, open): CircuitV1) -> Circuit {
    let open = open.map(|(since, probes, next, probe)| OpenCircuit {
        since: from_moment(since),
        probes,
        next: from_moment(next),
        probe: probe.map(|(id, attempt)| LeaseId { id: JobId(id), attempt: Attempt(attempt) }),
    });
    Circuit { failed, open }
}

/// A row of the tree `queues`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StampedRow {
    /// The newest commit whose events are in it.
    pub(crate) commit: CommitNo,
    pub(crate) row: Row,
}

/// The key of a row.
pub(crate) fn row_key(key: &RowKey) -> Cow<'_, [u8]> {
    match key {
        // Its first character must not be taken for what another kind of key begins with.
        RowKey::Queue(name) if name.as_str().as_bytes().first() == Some(&TOPIC_KEY) => {
            [&[QUEUE_KEY], name.as_str().as_bytes()].concat().into()
        }
        RowKey::Queue(name) => name.as_str().as_bytes().into(),
        RowKey::Requests(page) => [&[REQUESTS_KEY][..], &page.to_be_bytes()].concat().into(),
        RowKey::Keys(queue, page) => put_page_key(KEYS_KEY, queue, *page).into(),
        RowKey::Group(no) => [&[GROUP_KEY][..], &no.0.to_be_bytes()].concat().into(),
        RowKey::Topic(pattern) => [&[TOPIC_KEY], pattern.as_str().as_bytes()].concat().into(),
        RowKey::Schedule(name) => [&[SCHEDULE_KEY], name.as_str().as_bytes()].concat().into(),
    }
}

impl StampedRow {
    /// About how many bytes it has when it is encoded.
    pub(crate) fn about_bytes(&self) -> usize {
        const FIXED: usize = 128;
        FIXED
            + match &self.row {
                Row::Queue(_) => 0,
                Row::Schedule(row) => {
                    let payload = &row.schedule.plan.payload;
                    payload.body.len() + payload.envelope.as_ref().map_or(0, |envelope| envelope.len())
                }
                Row::Requests(row) => row.done.iter().map(|done| 64 + 10 * done.receipts()).sum(),
                Row::Keys(row) => 40 * row.keys.len(),
                Row::Group(row) => row.group.name.as_str().len(),
                Row::Topic(row) => row.queues.iter().map(|queue| 1 + queue.as_str().len()).sum(),
            }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match &self.row {
            Row::Queue(queue) => {
                let mut out = vec![QUEUE];
                let t = queue.totals;
                put((self.commit.0, queue.paused_until.is_some()), &mut out);
                put(
                    [t.submitted, t.claimed, t.completed, t.failed, t.died, t.cancelled, t.expired],
                    &mut out,
                );
                put((queue.maker, queue.used.0), &mut out);
                put_fields(&mut out, |fields| {
                    let rate_used = (queue.rate_used != RateUsed::default()).then_some(queue.rate_used.0);
                    fields.put_some(RATE_USED, rate_used);
                    fields.put_some(DROPPED, (t.dropped > 0).then_some(t.dropped));
                    if !queue.overrides.is_empty() {
                        let mut overrides = Vec::new();
                        put_overrides(&queue.overrides, &mut overrides);
                        fields.put(OVERRIDES, &*overrides);
                    }
                    let circuit = (queue.circuit != Circuit::default()).then(|| circuit_v1(queue.circuit));
                    fields.put_some(CIRCUIT, circuit);
                    let until = queue.paused_until.filter(|until| *until != Time::NEVER);
                    fields.put_some(PAUSED_UNTIL, until.map(moment));
                });
                out
            }
            Row::Requests(row) => {
                let mut out = vec![REQUESTS];
                put(self.commit.0, &mut out);
                put_page(&row.done, &mut out);
                out
            }
            Row::Keys(row) => {
                let mut out = vec![KEYS];
                put(self.commit.0, &mut out);
                put_served(row.rate, &row.keys, &mut out);
                out
            }
            Row::Group(row) => {
                let mut out = vec![GROUP];
                put(self.commit.0, &mut out);
                put_group(&row.group, &mut out);
                out
            }
            Row::Topic(row) => {
                let mut out = vec![TOPIC];
                put(self.commit.0, &mut out);
                put_queues(&row.queues, &mut out);
                out
            }
            Row::Schedule(row) => {
                let mut out = vec![SCHEDULE];
                put(self.commit.0, &mut out);
                put_schedule(&row.schedule, &mut out);
                out
            }
        }
    }

    pub(crate) fn decode(key: &[u8], bytes: &[u8]) -> Result<StampedRow, DecodeError> {
        if let Some((&REQUESTS_KEY, number)) = key.split_first() {
            let mut reader = Reader::of("a row of submits", REQUESTS, bytes)?;
            let (commit, done) = (CommitNo(reader.take()?), read_page(&mut reader)?);
            reader.end()?;
            let row = Row::Requests(RequestsRow { page: read_page_no(number)?, done });
            return Ok(StampedRow { commit, row });
        }
        if let Some((&KEYS_KEY, key)) = key.split_first() {
            let mut reader = Reader::of("a row of keys", KEYS, bytes)?;
            let (commit, (queue, page)) = (CommitNo(reader.take()?), read_page_key(key)?);
            let (rate, keys) = read_served(&mut reader)?;
            reader.end()?;
            let row = Row::Keys(KeysRow { queue, page, rate, keys: keys.into() });
            return Ok(StampedRow { commit, row });
        }
        if let Some((&GROUP_KEY, number)) = key.split_first() {
            let mut reader = Reader::of("a row of a group", GROUP, bytes)?;
            let (commit, group) = (CommitNo(reader.take()?), read_group(&mut reader)?.into());
            reader.end()?;
            let row = Row::Group(GroupRow { no: read_group_no(number)?, group });
            return Ok(StampedRow { commit, row });
        }
        let name = std::str::from_utf8(key).map_err(|_| DecodeError::Value("a row's name"))?;
        if let Some(name) = name.strip_prefix(char::from(SCHEDULE_KEY)) {
            let mut reader = Reader::of("a row of a schedule", SCHEDULE, bytes)?;
            let (commit, schedule) = (CommitNo(reader.take()?), read_schedule(&mut reader)?);
            reader.end()?;
            let row = Row::Schedule(ScheduleRow { name: read_name(name)?, schedule });
            return Ok(StampedRow { commit, row });
        }
        if let Some(pattern) = name.strip_prefix(char::from(TOPIC_KEY)) {
            let mut reader = Reader::of("a row of a topic", TOPIC, bytes)?;
            let (commit, queues) = (CommitNo(reader.take()?), read_queues(&mut reader)?);
            reader.end()?;
            let row = Row::Topic(TopicRow { pattern: read_pattern(pattern)?, queues });
            return Ok(StampedRow { commit, row });
        }
        StampedRow::decode_queue(name.strip_prefix(char::from(QUEUE_KEY)).unwrap_or(name), bytes)
    }

    fn decode_queue(name: &str, bytes: &[u8]) -> Result<StampedRow, DecodeError> {
        let (version, mut reader) = Reader::up_to("a row of a queue", QUEUE, bytes)?;
        let (commit, paused): (u64, bool) = reader.take()?;
        let [submitted, claimed, completed, failed, died, cancelled, expired] = reader.take::<[u64; 7]>()?;
        let (maker, used) = if version == 1 { (None, 0) } else { reader.take()? };
        let (mut rate_used, mut overrides, mut dropped) = (RateUsed::default(), Overrides::default(), 0);
        let mut circuit = Circuit::default();
        let mut paused_until = paused.then_some(Time::NEVER);
        if version >= 3 {
            read_fields(&mut reader, |field| {
                match field.number {
                    RATE_USED => rate_used = RateUsed(field.value()?),
                    DROPPED => dropped = field.value()?,
                    OVERRIDES => {
                        let mut reader = Reader { rest: field.value()? };
                        overrides = read_overrides(&mut reader)?;
                        reader.end()?;
                    }
                    CIRCUIT => circuit = circuit_of(field.value()?),
                    PAUSED_UNTIL => paused_until = Some(from_moment(field.value()?)),
                    _ => return Err(field.unknown("a row of a queue")),
                }
                Ok(())
            })?;
        }
        reader.end()?;
        let totals = Totals { submitted, claimed, completed, failed, died, cancelled, expired, dropped };
        let (name, used) = (QueueName::new(name)?, Time(used));
        let queue = QueueRow { name, paused_until, totals, maker, used, rate_used, overrides, circuit };
        Ok(StampedRow { commit: CommitNo(commit), row: Row::Queue(queue) })
    }
}
