//! What a job was submitted with: its queue, and fields for everything that is not as usual.

use super::fields::{put_fields, read_fields};
use super::{DecodeError, Reader, put};
use crate::core::{Backoff, GroupNo, Growth, Key, Priority, QueueName, Spec, SpecOptions, UniqueWhile};
use bincode::{BorrowDecode, Encode};
use std::time::Duration;

// The numbers of the fields are on people's disks: none is ever used again.
const PRIORITY: u8 = 1;
const ATTEMPTS: u8 = 2;
const BACKOFF: u8 = 3;
const TIMEOUT: u8 = 4;
const OWNER: u8 = 5;
const ENVELOPE: u8 = 6;
const KEY: u8 = 7;
const UNIQUE: u8 = 8;
const UNIQUE_WHILE: u8 = 9;
const GROUP: u8 = 20;

pub(super) fn put_spec(spec: &Spec, out: &mut Vec<u8>) {
    put(spec.queue.as_str(), out);
    put_fields(out, |fields| {
        fields.put_some(PRIORITY, (spec.priority != Priority::default()).then_some(spec.priority.0));
        fields.put_some(ATTEMPTS, spec.attempts);
        fields.put_some(BACKOFF, spec.backoff.map(BackoffV1::from));
        fields.put_some(TIMEOUT, spec.timeout.map(DurationV1::from));
        fields.put_some(OWNER, (spec.owner != 0).then_some(spec.owner));
        fields.put_some(ENVELOPE, spec.has_envelope.then_some(()));
        fields.put_some(KEY, spec.key.map(Key::hash));
        fields.put_some(UNIQUE, spec.unique.map(Key::hash));
        fields.put_some(UNIQUE_WHILE, unique_while(spec.unique_while));
        fields.put_some(GROUP, spec.group.map(|group| group.0));
    });
}

pub(super) fn read_spec(reader: &mut Reader<'_>) -> Result<Spec, DecodeError> {
    let mut spec = SpecOptions::plain(QueueName::new(reader.take()?)?);
    let (mut key, mut unique) = (None, None);
    read_fields(reader, |field| {
        match field.number {
            PRIORITY => spec.priority = Priority(field.value()?),
            ATTEMPTS => spec.attempts = Some(field.value()?),
            BACKOFF => spec.backoff = Some(field.value::<BackoffV1>()?.try_into()?),
            TIMEOUT => spec.timeout = Some(field.value::<DurationV1>()?.try_into()?),
            OWNER => spec.owner = field.value()?,
            ENVELOPE => {
                field.value::<()>()?;
                spec.has_envelope = true;
            }
            KEY => key = Some(Key::new(field.value()?)),
            UNIQUE => unique = Some(Key::new(field.value()?)),
            UNIQUE_WHILE => spec.unique_while = field.value::<UniqueWhileV1>()?.try_into()?,
            GROUP => spec.group = Some(GroupNo(field.value()?)),
            _ => return Err(field.unknown("a job's options")),
        }
        Ok(())
    })?;
    Ok(Spec::from(spec).with_key(key).with_unique(unique))
}

/// How long a unique key is held, where that is not until the job has ended. The order of the variants is their number.
#[derive(Encode, BorrowDecode)]
enum UniqueWhileV1 {
    Waiting,
    Kept(DurationV1),
}

fn unique_while(held: UniqueWhile) -> Option<UniqueWhileV1> {
    match held {
        UniqueWhile::Unfinished => None,
        UniqueWhile::Waiting => Some(UniqueWhileV1::Waiting),
        UniqueWhile::Kept(time) => Some(UniqueWhileV1::Kept(time.into())),
    }
}

impl TryFrom<UniqueWhileV1> for UniqueWhile {
    type Error = DecodeError;

    fn try_from(held: UniqueWhileV1) -> Result<UniqueWhile, DecodeError> {
        Ok(match held {
            UniqueWhileV1::Waiting => UniqueWhile::Waiting,
            UniqueWhileV1::Kept(time) => UniqueWhile::Kept(time.try_into()?),
        })
    }
}

#[derive(Encode, BorrowDecode)]
pub(super) struct BackoffV1 {
    growth: GrowthV1,
    base: DurationV1,
    max: DurationV1,
    jitter_permille: u16,
}

/// The order of the variants is their number.
#[derive(Encode, BorrowDecode)]
enum GrowthV1 {
    Fixed,
    Linear,
    Exponential,
}

/// Seconds and nanoseconds.
#[derive(Encode, BorrowDecode)]
pub(super) struct DurationV1(u64, u32);

impl From<Duration> for DurationV1 {
    fn from(duration: Duration) -> DurationV1 {
        DurationV1(duration.as_secs(), duration.subsec_nanos())
    }
}

impl TryFrom<DurationV1> for Duration {
    type Error = DecodeError;

    fn try_from(DurationV1(seconds, nanos): DurationV1) -> Result<Duration, DecodeError> {
        if nanos >= 1_000_000_000 {
            return Err(DecodeError::Value("a duration"));
        }
        Ok(Duration::new(seconds, nanos))
    }
}

impl From<Backoff> for BackoffV1 {
    fn from(backoff: Backoff) -> BackoffV1 {
        BackoffV1 {
            growth: match backoff.growth {
                Growth::Fixed => GrowthV1::Fixed,
                Growth::Linear => GrowthV1::Linear,
                Growth::Exponential => GrowthV1::Exponential,
            },
            base: backoff.base.into(),
            max: backoff.max.into(),
            jitter_permille: backoff.jitter_permille,
        }
    }
}

impl TryFrom<BackoffV1> for Backoff {
    type Error = DecodeError;

    fn try_from(backoff: BackoffV1) -> Result<Backoff, DecodeError> {
        Ok(Backoff {
            growth: match backoff.growth {
                GrowthV1::Fixed => Growth::Fixed,
                GrowthV1::Linear => Growth::Linear,
                GrowthV1::Exponential => Growth::Exponential,
            },
            base: backoff.base.try_into()?,
            max: backoff.max.try_into()?,
            jitter_permille: backoff.jitter_permille,
        })
    }
}
