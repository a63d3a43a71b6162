//! How version 2 encodes answers. The options of an answer come last, and may be missing altogether; where the last
//! field has no length of its own, they come before it.

use super::submit::{get_tags, put_tags};
use crate::protocol::plain;
use crate::protocol::request::LeaseRef;
use crate::protocol::response::{
    BODY, CHANGES, ClaimedJob, EXTENDED, JOBS, JSON, JobChange, LeaseFault, OUTPUT, PIECE, RECEIVED,
    Response, SETTLED, TAKEN_UP,
};
use crate::protocol::tagged;
use crate::protocol::unique::{get_receipts, put_receipts};
use crate::protocol::wire::{Malformed, Reader, put_text};
use bytes::{BufMut, Bytes};
use std::sync::Arc;

// Of a job.
const TIMEOUT: u8 = 1;
const TAGS: u8 = 2;
const KEY: u8 = 3;
const DEADLINE: u8 = 4;
const CHECKPOINT: u8 = 5;
const SIGNAL_NAME: u8 = 6;
const SIGNAL_BODY: u8 = 7;

// Of a refused settle or extend.
const NAMED: u8 = 1;
const NEWEST: u8 = 2;
const STATE: u8 = 3;

// What became of a settle or an extend.
const TAKEN: u8 = 0;
const NOT_FOUND: u8 = 1;
const LOST: u8 = 2;

pub(in crate::protocol) fn put(response: &Response, out: &mut Vec<u8>) {
    match response {
        Response::Received(receipts) => put_receipts(out, receipts),
        Response::Jobs(jobs) => {
            out.put_u32_le(jobs.len() as u32);
            jobs.iter().for_each(|job| put_job(out, job));
        }
        Response::Settled(results) => {
            out.put_u32_le(results.len() as u32);
            results.iter().for_each(|result| put_result(out, result.as_ref().map(|()| None)));
        }
        Response::Extended(results) => {
            out.put_u32_le(results.len() as u32);
            results.iter().for_each(|result| put_result(out, result.as_ref().map(|until| Some(*until))));
        }
        Response::TakenUp { resume_within_ms, leases } => {
            out.put_u64_le(*resume_within_ms);
            out.put_u32_le(leases.len() as u32);
            leases.iter().for_each(|result| put_result(out, result.as_ref().map(|()| None)));
        }
        Response::Output { attempt, stream, data } => {
            out.put_u32_le(*attempt);
            out.put_u8(*stream);
            tagged::put_end(out);
            out.extend_from_slice(data);
        }
        Response::Changes { missed, changes } => {
            out.put_u64_le(*missed);
            out.put_u32_le(changes.len() as u32);
            changes.iter().for_each(|change| put_change(out, change));
        }
        plain => plain::put_response(plain, out),
    }
}

pub(in crate::protocol) fn get(kind: u8, payload: Bytes) -> Result<Response, Malformed> {
    let mut reader = Reader::new(payload);
    let reader = &mut reader;
    let response = match kind {
        RECEIVED => Response::Received(get_receipts(reader)?),
        JOBS => {
            let count = reader.count(LEAST, "jobs")?;
            Response::Jobs(plain::get_jobs(reader, count, get_job)?)
        }
        SETTLED => {
            let count = reader.count(1, "results")?;
            Response::Settled((0..count).map(|_| get_result(reader, |_| Ok(()))).collect::<Result<_, _>>()?)
        }
        EXTENDED => {
            let count = reader.count(1, "results")?;
            let end = |reader: &mut Reader| reader.u64("the lease's end");
            Response::Extended((0..count).map(|_| get_result(reader, end)).collect::<Result<_, _>>()?)
        }
        TAKEN_UP => {
            let resume_within_ms = reader.u64("the time to come back")?;
            let count = reader.count(1, "results")?;
            let leases = (0..count).map(|_| get_result(reader, |_| Ok(()))).collect::<Result<_, _>>()?;
            Response::TakenUp { resume_within_ms, leases }
        }
        OUTPUT => {
            let (attempt, stream) = (reader.u32("the attempt")?, reader.u8("the stream")?);
            tagged::skip(reader, "a piece of output")?;
            Response::Output { attempt, stream, data: reader.rest() }
        }
        CHANGES => {
            let missed = reader.u64("the number of missed changes")?;
            Response::Changes { missed, changes: get_changes(reader)? }
        }
        kind => plain::get_response(kind, reader)?,
    };
    if !matches!(kind, OUTPUT | BODY | PIECE | JSON) {
        tagged::skip_at_end(reader, "an answer")?;
    }
    reader.end()?;
    Ok(response)
}

/// The bytes of a change with an empty name of the queue.
const LEAST_CHANGE: usize = 8 + 8 + 2 + 1 + 8;

fn put_change(out: &mut Vec<u8>, change: &JobChange) {
    out.put_u64_le(change.first);
    out.put_u64_le(change.count);
    put_text(out, &change.queue);
    out.put_u8(change.state);
    out.put_u64_le(change.at_ms);
}

fn get_changes(reader: &mut Reader) -> Result<Vec<JobChange>, Malformed> {
    let count = reader.count(LEAST_CHANGE, "changes")?;
    let mut changes: Vec<JobChange> = Vec::with_capacity(count);
    for _ in 0..count {
        let last_queue = changes.last().map(|change| change.queue.clone());
        changes.push(JobChange {
            first: reader.u64("a job's id")?,
            count: reader.u64("a number of jobs")?,
            queue: reader.shared_text(last_queue, "a queue's name")?,
            state: reader.u8("a state")?,
            at_ms: reader.u64("a time")?,
        });
    }
    Ok(changes)
}

/// The bytes of a job with an empty name, no options and no body.
const LEAST: usize = 12 + 4 + 8 + 8 + 2 + 4 + 4 + 1 + 4;

fn put_job(out: &mut Vec<u8>, job: &ClaimedJob) {
    job.lease.put(out);
    out.put_u32_le(job.attempts);
    out.put_u64_le(job.lease_ms);
    out.put_u64_le(job.until_ms);
    put_text(out, &job.queue);
    out.put_u32_le(job.priority);
    out.put_u32_le(job.owner);
    if job.timeout_ms > 0 {
        tagged::put_number(out, TIMEOUT, job.timeout_ms);
    }
    put_tags(out, TAGS, &job.tags);
    if let Some(key) = &job.key {
        tagged::put_bytes(out, KEY, key.as_bytes());
    }
    if let Some(ms) = job.deadline_ms {
        tagged::put_number(out, DEADLINE, ms);
    }
    if let Some(checkpoint) = &job.checkpoint {
        tagged::put_bytes(out, CHECKPOINT, checkpoint);
    }
    if let Some((name, body)) = &job.signal {
        tagged::put_bytes(out, SIGNAL_NAME, name.as_bytes());
        tagged::put_bytes(out, SIGNAL_BODY, body);
    }
    tagged::put_end(out);
    out.put_u32_le(job.body.len() as u32);
    out.extend_from_slice(&job.body);
}

fn get_job(reader: &mut Reader, last_queue: Option<Arc<str>>) -> Result<ClaimedJob, Malformed> {
    let mut job = ClaimedJob {
        lease: LeaseRef::get(reader)?,
        attempts: reader.u32("the attempts")?,
        timeout_ms: 0,
        lease_ms: reader.u64("the lease")?,
        until_ms: reader.u64("the lease's end")?,
        queue: reader.shared_text(last_queue, "the queue's name")?,
        priority: reader.u32("the priority")?,
        owner: reader.u32("the owner")?,
        tags: Vec::new(),
        key: None,
        deadline_ms: None,
        checkpoint: None,
        signal: None,
        body: Bytes::new(),
    };
    let (mut name, mut body) = (None, None);
    tagged::read(reader, "a job", |number, value| {
        match number {
            TIMEOUT => job.timeout_ms = value.u64("the timeout")?,
            TAGS => job.tags = get_tags(value)?,
            KEY => job.key = Some(value.text("the key")?),
            SIGNAL_NAME => name = Some(value.text("the signal's name")?),
            SIGNAL_BODY => body = Some(Bytes::copy_from_slice(value.all())),
            CHECKPOINT => job.checkpoint = Some(Bytes::copy_from_slice(value.all())),
            DEADLINE => job.deadline_ms = Some(value.u64("the deadline")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    job.signal = name.map(|name| (name, body.unwrap_or_default()));
    let len = reader.u32("the body's length")? as usize;
    job.body = reader.bytes(len, "the body")?;
    Ok(job)
}

/// Writes the result for one lease: that it is taken (and its new end, for an extend), or why it was refused.
fn put_result(out: &mut Vec<u8>, result: Result<Option<u64>, &LeaseFault>) {
    let fault = match result {
        Ok(until) => {
            out.put_u8(TAKEN);
            if let Some(until) = until {
                out.put_u64_le(until);
            }
            return;
        }
        Err(fault) => fault,
    };
    out.put_u8(match fault {
        LeaseFault::NotFound { .. } => NOT_FOUND,
        LeaseFault::Lost { .. } => LOST,
        LeaseFault::Unknown { code, .. } => *code,
    });
    out.put_u64_le(fault.job());
    if let LeaseFault::Lost { lease, current, state } = fault {
        tagged::put_number(out, NAMED, lease.attempt.into());
        tagged::put_number(out, NEWEST, (*current).into());
        tagged::put_number(out, STATE, (*state).into());
    }
    tagged::put_end(out);
}

fn get_result<T>(
    reader: &mut Reader,
    value: impl Fn(&mut Reader) -> Result<T, Malformed>,
) -> Result<Result<T, LeaseFault>, Malformed> {
    let code = reader.u8("a result")?;
    if code == TAKEN {
        return Ok(Ok(value(reader)?));
    }
    let id = reader.u64("a job's id")?;
    let (mut attempt, mut current, mut state) = (0, 0, 0);
    tagged::read(reader, "a result", |number, value| {
        match number {
            NAMED => attempt = value.u32("an attempt")?,
            NEWEST => current = value.u32("an attempt")?,
            STATE => state = value.u8("a state")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Err(match code {
        NOT_FOUND => LeaseFault::NotFound { id },
        LOST => LeaseFault::Lost { lease: LeaseRef { id, attempt }, current, state },
        code => LeaseFault::Unknown { id, code },
    }))
}
