//! What jobs wait for, and groups, on disk: in events and in rows.

use super::fields::{put_fields, read_fields};
use super::job::{from_moment, moment};
use super::{DecodeError, Reader, put};
use crate::core::{
    Condition, Edge, EdgeFate, GroupCounts, GroupName, GroupNo, JobGroup, JobId, OnUnmet, Target, Time, Waits,
};
use bincode::{BorrowDecode, Encode};

/// The length of a group's number in the key of its row.
const NUMBER_LEN: usize = size_of::<u64>();

// The numbers of a group's fields are on people's disks: none is ever used again.
const SEALED: u8 = 1;
const ENDED: u8 = 2;
const LIVE: u8 = 3;
const DONE: u8 = 4;
const DEAD: u8 = 5;
const CANCELLED: u8 = 6;
const EXPIRED: u8 = 7;
const GONE: u8 = 8;

/// The order of the variants is their number: they are on people's disks.
#[derive(Clone, Copy, Encode, BorrowDecode)]
pub(super) enum TargetV1 {
    Job(u64),
    Group(u64),
}

/// The same.
#[derive(Clone, Copy, Encode, BorrowDecode)]
enum ConditionV1 {
    Done,
    Ended,
    Failed,
}

/// The same.
#[derive(Clone, Copy, Encode, BorrowDecode)]
enum OnUnmetV1 {
    Cancel,
    Run,
    Hold,
}

/// The same.
#[derive(Clone, Copy, Encode, BorrowDecode)]
pub(super) enum EdgeFateV1 {
    Gone,
    Held,
    Open,
}

/// On what, how it must end, whether the job waits on.
type EdgeV1 = (TargetV1, ConditionV1, bool);

/// What a job waits for: at least one thing, in order, each once.
#[derive(Clone, Encode, BorrowDecode)]
pub(super) struct WaitsV1(OnUnmetV1, Vec<EdgeV1>);

impl From<Target> for TargetV1 {
    fn from(target: Target) -> TargetV1 {
        match target {
            Target::Job(id) => TargetV1::Job(id.0),
            Target::Group(no) => TargetV1::Group(no.0),
        }
    }
}

impl From<TargetV1> for Target {
    fn from(target: TargetV1) -> Target {
        match target {
            TargetV1::Job(id) => Target::Job(JobId(id)),
            TargetV1::Group(no) => Target::Group(GroupNo(no)),
        }
    }
}

impl From<EdgeFate> for EdgeFateV1 {
    fn from(fate: EdgeFate) -> EdgeFateV1 {
        match fate {
            EdgeFate::Gone => EdgeFateV1::Gone,
            EdgeFate::Held => EdgeFateV1::Held,
            EdgeFate::Open => EdgeFateV1::Open,
        }
    }
}

impl From<EdgeFateV1> for EdgeFate {
    fn from(fate: EdgeFateV1) -> EdgeFate {
        match fate {
            EdgeFateV1::Gone => EdgeFate::Gone,
            EdgeFateV1::Held => EdgeFate::Held,
            EdgeFateV1::Open => EdgeFate::Open,
        }
    }
}

impl From<&Waits> for WaitsV1 {
    fn from(waits: &Waits) -> WaitsV1 {
        let on_unmet = match waits.on_unmet {
            OnUnmet::Cancel => OnUnmetV1::Cancel,
            OnUnmet::Run => OnUnmetV1::Run,
            OnUnmet::Hold => OnUnmetV1::Hold,
        };
        let edge = |edge: &Edge| {
            let when = match edge.when {
                Condition::Done => ConditionV1::Done,
                Condition::Ended => ConditionV1::Ended,
                Condition::Failed => ConditionV1::Failed,
            };
            (edge.on.into(), when, edge.is_held)
        };
        WaitsV1(on_unmet, waits.edges.iter().map(edge).collect())
    }
}

impl TryFrom<WaitsV1> for Waits {
    type Error = DecodeError;

    fn try_from(WaitsV1(on_unmet, edges): WaitsV1) -> Result<Waits, DecodeError> {
        let on_unmet = match on_unmet {
            OnUnmetV1::Cancel => OnUnmet::Cancel,
            OnUnmetV1::Run => OnUnmet::Run,
            OnUnmetV1::Hold => OnUnmet::Hold,
        };
        let edge = |(on, when, is_held): EdgeV1| {
            let when = match when {
                ConditionV1::Done => Condition::Done,
                ConditionV1::Ended => Condition::Ended,
                ConditionV1::Failed => Condition::Failed,
            };
            Edge { on: on.into(), when, is_held }
        };
        let edges: Box<[Edge]> = edges.into_iter().map(edge).collect();
        // Of several edges on one target, all are held or none is: the index of those that wait depends on it.
        let in_order = edges
            .windows(2)
            .all(|two| two[0] < two[1] && (two[0].on != two[1].on || two[0].is_held == two[1].is_held));
        match !edges.is_empty() && edges.len() <= Waits::MAX && in_order {
            true => Ok(Waits { edges, on_unmet }),
            false => Err(DecodeError::Value("what a job waits for")),
        }
    }
}

pub(super) fn put_group(group: &JobGroup, out: &mut Vec<u8>) {
    put((group.name.as_str(), group.owner, group.made.0), out);
    put_fields(out, |fields| {
        fields.put_some(SEALED, group.is_sealed.then_some(()));
        fields.put_some(ENDED, group.ended.map(|(at, until)| (at.0, moment(until))));
        let GroupCounts { live, done, dead, cancelled, expired, gone } = group.counts;
        let counts = [(LIVE, live), (DONE, done), (DEAD, dead), (CANCELLED, cancelled), (EXPIRED, expired)];
        for (number, count) in counts.into_iter().chain([(GONE, gone)]) {
            fields.put_some(number, (count > 0).then_some(count));
        }
    });
}

pub(super) fn read_group(reader: &mut Reader<'_>) -> Result<JobGroup, DecodeError> {
    let (name, owner, made): (&str, u32, u64) = reader.take()?;
    let name = GroupName::new(name).map_err(|_| DecodeError::Value("a group's name"))?;
    let (counts, made) = (GroupCounts::default(), Time(made));
    let mut group = JobGroup { name, owner, made, is_sealed: false, counts, ended: None };
    read_fields(reader, |field| {
        match field.number {
            SEALED => {
                field.value::<()>()?;
                group.is_sealed = true;
            }
            ENDED => {
                let (at, until) = field.value()?;
                group.ended = Some((Time(at), from_moment(until)));
            }
            LIVE => group.counts.live = field.value()?,
            DONE => group.counts.done = field.value()?,
            DEAD => group.counts.dead = field.value()?,
            CANCELLED => group.counts.cancelled = field.value()?,
            EXPIRED => group.counts.expired = field.value()?,
            GONE => group.counts.gone = field.value()?,
            _ => return Err(field.unknown("a group")),
        }
        Ok(())
    })?;
    Ok(group)
}

/// Reads the number of a group in the key of its row.
pub(super) fn read_group_no(number: &[u8]) -> Result<GroupNo, DecodeError> {
    let number: [u8; NUMBER_LEN] =
        number.try_into().map_err(|_| DecodeError::Value("the number of a group"))?;
    Ok(GroupNo(u64::from_be_bytes(number)))
}
