//! What was set for a queue at run time, on disk: a field for each setting, with who has set it, when, and to what. A
//! setting that is not known is an error, as its meaning must not get lost.

use super::fields::{Field, put_fields, read_fields};
use super::options::DurationV1;
use super::{DecodeError, Reader};
use crate::core::{Full, Keep, Override, Overrides, Priority, Rate, Retries, Setting, Time};
use bincode::{BorrowDecode, Encode};
use std::time::Duration;

// The numbers of the settings are on people's disks: none is ever used again.
const PRIORITY: u8 = 1;
const LEASE: u8 = 2;
const TIMEOUT: u8 = 3;
const ATTEMPTS: u8 = 4;
const RETRIES: u8 = 5;
const CRASHES: u8 = 6;
const LATER_MAX: u8 = 7;
const KEEP_DONE: u8 = 8;
const KEEP_DONE_MAX: u8 = 9;
const KEEP_DEAD: u8 = 10;
const BACKLOG: u8 = 11;
const CONCURRENCY: u8 = 12;
const PER_KEY: u8 = 13;
const RATE: u8 = 14;
const FULL: u8 = 15;
const BACKLOG_BYTES: u8 = 16;
const WEIGHT: u8 = 17;
const KEEP_DEAD_MAX: u8 = 18;
const PER_KEY_RATE: u8 = 19;
const FAIR: u8 = 20;
const CIRCUIT_FAILURES: u8 = 30;
const CIRCUIT_PROBE: u8 = 31;

/// The order of the variants is their number, here and below.
#[derive(Encode, BorrowDecode)]
enum KeepV1 {
    No,
    For(DurationV1),
    Forever,
}

#[derive(Encode, BorrowDecode)]
enum RetriesV1 {
    Alternate,
    Behind,
    Place,
}

#[derive(Encode, BorrowDecode)]
enum FullV1 {
    Reject,
    DropNew,
    DropOld,
    Wait(DurationV1),
}

/// How many in which time, and how many of them at once.
#[derive(Encode, BorrowDecode)]
pub(super) struct RateV1(u32, DurationV1, u32);

impl From<Keep> for KeepV1 {
    fn from(keep: Keep) -> KeepV1 {
        match keep {
            Keep::No => KeepV1::No,
            Keep::For(time) => KeepV1::For(time.into()),
            Keep::Forever => KeepV1::Forever,
        }
    }
}

impl TryFrom<KeepV1> for Keep {
    type Error = DecodeError;

    fn try_from(keep: KeepV1) -> Result<Keep, DecodeError> {
        Ok(match keep {
            KeepV1::No => Keep::No,
            KeepV1::For(time) => Keep::For(time.try_into()?),
            KeepV1::Forever => Keep::Forever,
        })
    }
}

impl From<Retries> for RetriesV1 {
    fn from(retries: Retries) -> RetriesV1 {
        match retries {
            Retries::Alternate => RetriesV1::Alternate,
            Retries::Behind => RetriesV1::Behind,
            Retries::Place => RetriesV1::Place,
        }
    }
}

impl From<RetriesV1> for Retries {
    fn from(retries: RetriesV1) -> Retries {
        match retries {
            RetriesV1::Alternate => Retries::Alternate,
            RetriesV1::Behind => Retries::Behind,
            RetriesV1::Place => Retries::Place,
        }
    }
}

impl From<Full> for FullV1 {
    fn from(full: Full) -> FullV1 {
        match full {
            Full::Reject => FullV1::Reject,
            Full::DropNew => FullV1::DropNew,
            Full::DropOld => FullV1::DropOld,
            Full::Wait(time) => FullV1::Wait(time.into()),
        }
    }
}

impl TryFrom<FullV1> for Full {
    type Error = DecodeError;

    fn try_from(full: FullV1) -> Result<Full, DecodeError> {
        Ok(match full {
            FullV1::Reject => Full::Reject,
            FullV1::DropNew => Full::DropNew,
            FullV1::DropOld => Full::DropOld,
            FullV1::Wait(time) => Full::Wait(time.try_into()?),
        })
    }
}

impl From<Rate> for RateV1 {
    fn from(rate: Rate) -> RateV1 {
        let (count, per, burst) = rate.parts();
        RateV1(count, per.into(), burst)
    }
}

impl TryFrom<RateV1> for Rate {
    type Error = DecodeError;

    fn try_from(RateV1(count, per, burst): RateV1) -> Result<Rate, DecodeError> {
        Rate::new(count, per.try_into()?, Some(burst)).ok_or(DecodeError::Value("a rate"))
    }
}

pub(super) fn put_overrides(overrides: &Overrides, out: &mut Vec<u8>) {
    put_fields(out, |fields| {
        for Override { setting, by, at } in overrides.iter() {
            let (by, at) = (*by, at.0);
            match *setting {
                Setting::Priority(Priority(priority)) => fields.put(PRIORITY, (by, at, priority)),
                Setting::Lease(lease) => fields.put(LEASE, (by, at, DurationV1::from(lease))),
                Setting::Timeout(timeout) => fields.put(TIMEOUT, (by, at, timeout.map(DurationV1::from))),
                Setting::Attempts(attempts) => fields.put(ATTEMPTS, (by, at, attempts)),
                Setting::Retries(retries) => fields.put(RETRIES, (by, at, RetriesV1::from(retries))),
                Setting::Crashes(crashes) => fields.put(CRASHES, (by, at, crashes)),
                Setting::LaterMax(most) => fields.put(LATER_MAX, (by, at, most)),
                Setting::KeepDone(keep) => fields.put(KEEP_DONE, (by, at, KeepV1::from(keep))),
                Setting::KeepDoneMax(most) => fields.put(KEEP_DONE_MAX, (by, at, most)),
                Setting::KeepDead(keep) => fields.put(KEEP_DEAD, (by, at, KeepV1::from(keep))),
                Setting::Backlog(most) => fields.put(BACKLOG, (by, at, most)),
                Setting::BacklogBytes(most) => fields.put(BACKLOG_BYTES, (by, at, most)),
                Setting::Full(full) => fields.put(FULL, (by, at, FullV1::from(full))),
                Setting::Concurrency(most) => fields.put(CONCURRENCY, (by, at, most)),
                Setting::Weight(weight) => fields.put(WEIGHT, (by, at, weight)),
                Setting::KeepDeadMax(most) => fields.put(KEEP_DEAD_MAX, (by, at, most)),
                Setting::PerKey(most) => fields.put(PER_KEY, (by, at, most)),
                Setting::CircuitFailures(most) => fields.put(CIRCUIT_FAILURES, (by, at, most)),
                Setting::CircuitProbe(time) => fields.put(CIRCUIT_PROBE, (by, at, DurationV1::from(time))),
                Setting::PerKeyRate(rate) => fields.put(PER_KEY_RATE, (by, at, rate.map(RateV1::from))),
                Setting::Fair(fair) => fields.put(FAIR, (by, at, fair)),
                Setting::Rate(rate) => fields.put(RATE, (by, at, rate.map(RateV1::from))),
            }
        }
    });
}

pub(super) fn read_overrides(reader: &mut Reader<'_>) -> Result<Overrides, DecodeError> {
    let mut all = Overrides::default();
    read_fields(reader, |field| {
        let (by, at, setting) = read_setting(&field)?;
        all.set(Override { setting, by, at: Time(at) });
        Ok(())
    })?;
    Ok(all)
}

fn read_setting(field: &Field<'_>) -> Result<(u32, u64, Setting), DecodeError> {
    Ok(match field.number {
        PRIORITY => value(field, |priority| Ok(Setting::Priority(Priority(priority))))?,
        LEASE => value(field, |lease: DurationV1| Ok(Setting::Lease(lease.try_into()?)))?,
        TIMEOUT => value(field, |timeout: Option<DurationV1>| {
            Ok(Setting::Timeout(timeout.map(Duration::try_from).transpose()?))
        })?,
        ATTEMPTS => value(field, |attempts| Ok(Setting::Attempts(attempts)))?,
        RETRIES => value(field, |retries: RetriesV1| Ok(Setting::Retries(retries.into())))?,
        CRASHES => value(field, |crashes| Ok(Setting::Crashes(crashes)))?,
        LATER_MAX => value(field, |most| Ok(Setting::LaterMax(most)))?,
        KEEP_DONE => value(field, |keep: KeepV1| Ok(Setting::KeepDone(keep.try_into()?)))?,
        KEEP_DONE_MAX => value(field, |most| Ok(Setting::KeepDoneMax(most)))?,
        KEEP_DEAD => value(field, |keep: KeepV1| Ok(Setting::KeepDead(keep.try_into()?)))?,
        BACKLOG => value(field, |most| Ok(Setting::Backlog(most)))?,
        BACKLOG_BYTES => value(field, |most| Ok(Setting::BacklogBytes(most)))?,
        FULL => value(field, |full: FullV1| Ok(Setting::Full(full.try_into()?)))?,
        CONCURRENCY => value(field, |most| Ok(Setting::Concurrency(most)))?,
        CIRCUIT_FAILURES => value(field, |most| Ok(Setting::CircuitFailures(most)))?,
        CIRCUIT_PROBE => value(field, |time: DurationV1| Ok(Setting::CircuitProbe(time.try_into()?)))?,
        WEIGHT => value(field, |weight| Ok(Setting::Weight(weight)))?,
        KEEP_DEAD_MAX => value(field, |most| Ok(Setting::KeepDeadMax(most)))?,
        PER_KEY => value(field, |most| Ok(Setting::PerKey(most)))?,
        RATE => {
            value(field, |rate: Option<RateV1>| Ok(Setting::Rate(rate.map(Rate::try_from).transpose()?)))?
        }
        FAIR => value(field, |fair| Ok(Setting::Fair(fair)))?,
        PER_KEY_RATE => {
            let rate = |rate: Option<RateV1>| Ok(Setting::PerKeyRate(rate.map(Rate::try_from).transpose()?));
            value(field, rate)?
        }
        _ => return Err(field.unknown("the settings of a queue")),
    })
}

/// Who has set it, when, and what `read` makes of the rest.
fn value<'a, T: BorrowDecode<'a, ()>>(
    field: &Field<'a>,
    read: impl FnOnce(T) -> Result<Setting, DecodeError>,
) -> Result<(u32, u64, Setting), DecodeError> {
    let (by, at, value) = field.value()?;
    Ok((by, at, read(value)?))
}
