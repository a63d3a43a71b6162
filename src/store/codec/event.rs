//! Events on the disk. The numbers are for ever.

use super::job::{get_holder, get_range, get_spec, put_holder, put_spec};
use super::{get, queue_name, wrong};
use crate::core::{AfterFailure, Ending, Event, Ids, Time};
use bincode::de::Decoder;
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use std::sync::Arc;

pub(super) fn put<E: Encoder>(e: &mut E, event: &Event) -> Result<(), EncodeError> {
    match event {
        Event::Submitted { jobs, spec, at, due, expires_at } => {
            (1u8, jobs.first.0, jobs.len, at.0, due.map(|due| due.0), expires_at.0).encode(e)?;
            put_spec(e, spec)
        }
        Event::Claimed { jobs, holder, at, until } => {
            (2u8, at.0, until.0).encode(e)?;
            put_holder(e, *holder)?;
            put_ids(e, jobs)
        }
        Event::Extended { jobs, until } => {
            (3u8, until.0).encode(e)?;
            put_ids(e, jobs)
        }
        Event::Completed { jobs, end } => put_end(e, 4, end, jobs),
        Event::Failed { job, at, error, next } => {
            (5u8, job.first.0, job.len, at.0, &**error).encode(e)?;
            match next {
                AfterFailure::Retry(due) => (0u8, due.0).encode(e),
                AfterFailure::Dead(end) => (1u8, end.at.0, end.keep_until.map(|time| time.0)).encode(e),
            }
        }
        Event::Released { jobs, due } => {
            (6u8, due.map(|due| due.0)).encode(e)?;
            put_ids(e, jobs)
        }
        Event::Interrupted { jobs } => put_list(e, 7, jobs),
        Event::Ripened { jobs } => put_list(e, 8, jobs),
        Event::Expired { jobs, end } => put_end(e, 9, end, jobs),
        Event::Cancelled { jobs, end } => put_end(e, 10, end, jobs),
        Event::Buried { jobs, end } => put_end(e, 11, end, jobs),
        Event::Revived { jobs } => put_list(e, 12, jobs),
        Event::Deleted { jobs } => put_list(e, 13, jobs),
        Event::Paused { queue } => (14u8, queue.as_str()).encode(e),
        Event::Resumed { queue } => (15u8, queue.as_str()).encode(e),
    }
}

pub(super) fn get_event<D: Decoder<Context = ()>>(d: &mut D) -> Result<Event, DecodeError> {
    let number: u8 = get(d)?;
    Ok(match number {
        1 => {
            let jobs = get_range(d)?;
            let (at, due, expires_at): (u64, Option<u64>, u64) = get(d)?;
            let spec = Arc::new(get_spec(d)?);
            Event::Submitted { jobs, spec, at: Time(at), due: due.map(Time), expires_at: Time(expires_at) }
        }
        2 => {
            let (at, until) = (Time(get(d)?), Time(get(d)?));
            let holder = get_holder(d)?;
            Event::Claimed { jobs: get_ids(d)?, holder, at, until }
        }
        3 => {
            let until = Time(get(d)?);
            Event::Extended { jobs: get_ids(d)?, until }
        }
        5 => {
            let job = get_range(d)?;
            let (at, error): (u64, String) = get(d)?;
            let next = match get::<u8, D>(d)? {
                0 => AfterFailure::Retry(Time(get(d)?)),
                1 => AfterFailure::Dead(get_ending(d)?),
                number => return wrong(format!("what follows a failure, {number}, is not known")),
            };
            Event::Failed { job, at: Time(at), error: error.into(), next }
        }
        6 => {
            let due = get::<Option<u64>, D>(d)?.map(Time);
            Event::Released { jobs: get_ids(d)?, due }
        }
        4 | 9..=11 => {
            let end = get_ending(d)?;
            let jobs = get_ids(d)?;
            match number {
                4 => Event::Completed { jobs, end },
                9 => Event::Expired { jobs, end },
                10 => Event::Cancelled { jobs, end },
                _ => Event::Buried { jobs, end },
            }
        }
        7 => Event::Interrupted { jobs: get_ids(d)? },
        8 => Event::Ripened { jobs: get_ids(d)? },
        12 => Event::Revived { jobs: get_ids(d)? },
        13 => Event::Deleted { jobs: get_ids(d)? },
        14 => Event::Paused { queue: queue_name(d)? },
        15 => Event::Resumed { queue: queue_name(d)? },
        number => return wrong(format!("event {number} is not known")),
    })
}

fn put_list<E: Encoder>(e: &mut E, number: u8, jobs: &Ids) -> Result<(), EncodeError> {
    number.encode(e)?;
    put_ids(e, jobs)
}

fn put_end<E: Encoder>(e: &mut E, number: u8, end: &Ending, jobs: &Ids) -> Result<(), EncodeError> {
    (number, end.at.0, end.keep_until.map(|time| time.0)).encode(e)?;
    put_ids(e, jobs)
}

fn get_ending<D: Decoder<Context = ()>>(d: &mut D) -> Result<Ending, DecodeError> {
    let (at, keep_until): (u64, Option<u64>) = get(d)?;
    Ok(Ending { at: Time(at), keep_until: keep_until.map(Time) })
}

fn put_ids<E: Encoder>(e: &mut E, jobs: &Ids) -> Result<(), EncodeError> {
    (jobs.ranges().len() as u64).encode(e)?;
    jobs.ranges().iter().try_for_each(|range| (range.first.0, range.len).encode(e))
}

fn get_ids<D: Decoder<Context = ()>>(d: &mut D) -> Result<Ids, DecodeError> {
    let count: u64 = get(d)?;
    let mut jobs = Ids::new();
    for _ in 0..count {
        jobs.push_range(get_range(d)?);
    }
    Ok(jobs)
}
