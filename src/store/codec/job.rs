//! Jobs on the disk: their specs, their states, and the rows that hold them by the block.

use super::{Undecodable, decode_from, encode_to, get, queue_name, wrong};
use crate::core::{
    Attempt, Backoff, Failure, Final, Growth, Holder, IdRange, Job, JobId, JobState, Lease, Priority, Spec,
    Time,
};
use bincode::de::Decoder;
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use std::sync::Arc;
use std::time::Duration;

/// The form of a row of jobs.
const BLOCK_V1: u8 = 1;

/// The live jobs of one block, and the commit that they reflect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct BlockRow {
    pub(in crate::store) commit: u64,
    pub(in crate::store) runs: Vec<(IdRange, Job)>,
}

pub(in crate::store) fn encode_block(row: &BlockRow) -> Vec<u8> {
    let mut out = vec![BLOCK_V1];
    encode_to(&mut out, |e| {
        (row.commit, row.runs.len() as u64).encode(e)?;
        for (range, job) in &row.runs {
            (range.first.0, range.len).encode(e)?;
            put_job(e, job)?;
        }
        Ok(())
    });
    out
}

pub(in crate::store) fn decode_block(bytes: &[u8]) -> Result<BlockRow, Undecodable> {
    let Some((&BLOCK_V1, rest)) = bytes.split_first() else {
        return Err(Undecodable("a row of jobs has an unknown form".into()));
    };
    decode_from(rest, |d| {
        let (commit, count): (u64, u64) = get(d)?;
        let mut runs = Vec::new();
        for _ in 0..count {
            runs.push((get_range(d)?, get_job(d)?));
        }
        Ok(BlockRow { commit, runs })
    })
}

pub(super) fn get_range<D: Decoder<Context = ()>>(d: &mut D) -> Result<IdRange, DecodeError> {
    let (first, len): (u64, u64) = get(d)?;
    if len == 0 || first.checked_add(len).is_none() {
        return wrong(format!("a range of {len} ids from {first} on"));
    }
    Ok(IdRange::new(JobId(first), len))
}

fn put_job<E: Encoder>(e: &mut E, job: &Job) -> Result<(), EncodeError> {
    put_spec(e, &job.spec)?;
    (job.submitted_at.0, job.expires_at.0, job.attempt.0, job.failed, job.crashes).encode(e)?;
    put_state(e, &job.state)?;
    (job.failures.len() as u64).encode(e)?;
    job.failures.iter().try_for_each(|Failure { attempt, at, error }| (attempt.0, at.0, &**error).encode(e))
}

fn get_job<D: Decoder<Context = ()>>(d: &mut D) -> Result<Job, DecodeError> {
    let spec = Arc::new(get_spec(d)?);
    let (submitted_at, expires_at, attempt, failed, crashes): (u64, u64, u32, u32, u32) = get(d)?;
    let state = get_state(d)?;
    let count: u64 = get(d)?;
    let mut failures = Vec::new();
    for _ in 0..count {
        let (attempt, at, error): (u32, u64, String) = get(d)?;
        failures.push(Failure { attempt: Attempt(attempt), at: Time(at), error: error.into() });
    }
    let (submitted_at, expires_at, attempt) = (Time(submitted_at), Time(expires_at), Attempt(attempt));
    Ok(Job { spec, submitted_at, expires_at, state, attempt, failed, crashes, failures })
}

fn put_state<E: Encoder>(e: &mut E, state: &JobState) -> Result<(), EncodeError> {
    let ended = |e: &mut E, number: u8, end: &Final| (number, end.at.0, end.keep_until.0).encode(e);
    match state {
        JobState::Scheduled { due } => (0u8, due.0).encode(e),
        JobState::Ready => 1u8.encode(e),
        JobState::Leased(lease) => {
            (2u8, lease.since.0, lease.until.0).encode(e)?;
            put_holder(e, lease.holder)
        }
        JobState::Done(end) => ended(e, 3, end),
        JobState::Dead(end) => ended(e, 4, end),
        JobState::Cancelled(end) => ended(e, 5, end),
        JobState::Expired(end) => ended(e, 6, end),
    }
}

fn get_state<D: Decoder<Context = ()>>(d: &mut D) -> Result<JobState, DecodeError> {
    let number: u8 = get(d)?;
    let ended = |d: &mut D| -> Result<Final, DecodeError> {
        Ok(Final { at: Time(get(d)?), keep_until: Time(get(d)?) })
    };
    Ok(match number {
        0 => JobState::Scheduled { due: Time(get(d)?) },
        1 => JobState::Ready,
        2 => {
            let (since, until) = (Time(get(d)?), Time(get(d)?));
            JobState::Leased(Lease { holder: get_holder(d)?, since, until })
        }
        3 => JobState::Done(ended(d)?),
        4 => JobState::Dead(ended(d)?),
        5 => JobState::Cancelled(ended(d)?),
        6 => JobState::Expired(ended(d)?),
        number => return wrong(format!("state {number} is not known")),
    })
}

pub(super) fn put_holder<E: Encoder>(e: &mut E, holder: Holder) -> Result<(), EncodeError> {
    match holder {
        Holder::Anyone => 0u8.encode(e),
        Holder::Session(session) => (1u8, session).encode(e),
    }
}

pub(super) fn get_holder<D: Decoder<Context = ()>>(d: &mut D) -> Result<Holder, DecodeError> {
    match get::<u8, D>(d)? {
        0 => Ok(Holder::Anyone),
        1 => Ok(Holder::Session(get(d)?)),
        number => wrong(format!("holder {number} is not known")),
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

pub(super) fn put_spec<E: Encoder>(e: &mut E, spec: &Spec) -> Result<(), EncodeError> {
    (spec.queue.as_str(), spec.priority.0, spec.owner, spec.attempts, spec.timeout.map(millis)).encode(e)?;
    match spec.backoff {
        None => 0u8.encode(e)?,
        Some(Backoff { growth, base, max, jitter_permille }) => {
            let growth = match growth {
                Growth::Fixed => 1u8,
                Growth::Linear => 2,
                Growth::Exponential => 3,
            };
            (growth, millis(base), millis(max), jitter_permille).encode(e)?;
        }
    }
    (spec.tags.len() as u64).encode(e)?;
    spec.tags.iter().try_for_each(|(name, value)| (&**name, &**value).encode(e))
}

pub(super) fn get_spec<D: Decoder<Context = ()>>(d: &mut D) -> Result<Spec, DecodeError> {
    let queue = queue_name(d)?;
    let (priority, owner, attempts, timeout): (u32, u32, Option<u32>, Option<u64>) = get(d)?;
    let growth = match get::<u8, D>(d)? {
        0 => None,
        1 => Some(Growth::Fixed),
        2 => Some(Growth::Linear),
        3 => Some(Growth::Exponential),
        number => return wrong(format!("backoff {number} is not known")),
    };
    let backoff = match growth {
        None => None,
        Some(growth) => {
            let (base, max, jitter_permille): (u64, u64, u16) = get(d)?;
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            Some(Backoff { growth, base, max, jitter_permille })
        }
    };
    let count: u64 = get(d)?;
    let mut tags = Vec::new();
    for _ in 0..count {
        let (name, value): (String, String) = get(d)?;
        tags.push((name.into(), value.into()));
    }
    let timeout = timeout.map(Duration::from_millis);
    Ok(Spec { queue, priority: Priority(priority), attempts, backoff, timeout, tags, owner })
}
