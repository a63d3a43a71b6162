//! How version 1 encodes answers: all fields in fixed places. What it has in common with later versions is in
//! `plain.rs`.

use crate::protocol::plain;
use crate::protocol::request::LeaseRef;
use crate::protocol::response::{ClaimedJob, EXTENDED, JOBS, LeaseFault, OUTPUT, Response, SETTLED};
use crate::protocol::wire::{Malformed, Reader, get_tags, put_tags, put_text};
use bytes::{BufMut, Bytes};
use std::sync::Arc;

pub(in crate::protocol) fn put(response: &Response, out: &mut Vec<u8>) {
    match response {
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
        Response::Output { attempt, stream, data } => {
            out.put_u32_le(*attempt);
            out.put_u8(*stream);
            out.extend_from_slice(data);
        }
        plain => plain::put_response(plain, out),
    }
}

pub(in crate::protocol) fn get(kind: u8, payload: Bytes) -> Result<Response, Malformed> {
    let mut reader = Reader::new(payload);
    let reader = &mut reader;
    let response = match kind {
        JOBS => {
            let count = reader.count(50, "jobs")?;
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
        OUTPUT => Response::Output {
            attempt: reader.u32("the attempt")?,
            stream: reader.u8("the stream")?,
            data: reader.rest(),
        },
        kind => plain::get_response(kind, reader)?,
    };
    reader.end()?;
    Ok(response)
}

fn put_job(out: &mut Vec<u8>, job: &ClaimedJob) {
    job.lease.put(out);
    out.put_u32_le(job.attempts);
    out.put_u64_le(job.timeout_ms);
    out.put_u64_le(job.lease_ms);
    out.put_u64_le(job.until_ms);
    put_text(out, &job.queue);
    out.put_u32_le(job.priority);
    out.put_u32_le(job.owner);
    put_tags(out, &job.tags);
    out.put_u32_le(job.body.len() as u32);
    out.extend_from_slice(&job.body);
}

fn get_job(reader: &mut Reader, last_queue: Option<Arc<str>>) -> Result<ClaimedJob, Malformed> {
    Ok(ClaimedJob {
        lease: LeaseRef::get(reader)?,
        attempts: reader.u32("the attempts")?,
        timeout_ms: reader.u64("the timeout")?,
        lease_ms: reader.u64("the lease")?,
        until_ms: reader.u64("the lease's end")?,
        queue: reader.shared_text(last_queue, "the queue's name")?,
        priority: reader.u32("the priority")?,
        owner: reader.u32("the owner")?,
        tags: get_tags(reader)?,
        key: None,
        deadline_ms: None,
        checkpoint: None,
        signal: None,
        body: {
            let len = reader.u32("the body's length")? as usize;
            reader.bytes(len, "the body")?
        },
    })
}

/// Writes the result for one lease: 0 (and its new end, for an extend), or why it was refused.
fn put_result(out: &mut Vec<u8>, result: Result<Option<u64>, &LeaseFault>) {
    match result {
        Ok(until) => {
            out.put_u8(0);
            if let Some(until) = until {
                out.put_u64_le(until);
            }
        }
        // The daemon has no reasons besides these two.
        Err(LeaseFault::NotFound { id } | LeaseFault::Unknown { id, .. }) => {
            out.put_u8(1);
            out.put_u64_le(*id);
        }
        Err(LeaseFault::Lost { lease, current, state }) => {
            out.put_u8(2);
            lease.put(out);
            out.put_u32_le(*current);
            out.put_u8(*state);
        }
    }
}

fn get_result<T>(
    reader: &mut Reader,
    value: impl Fn(&mut Reader) -> Result<T, Malformed>,
) -> Result<Result<T, LeaseFault>, Malformed> {
    Ok(match reader.u8("a result")? {
        0 => Ok(value(reader)?),
        1 => Err(LeaseFault::NotFound { id: reader.u64("an id")? }),
        2 => Err(LeaseFault::Lost {
            lease: LeaseRef::get(reader)?,
            current: reader.u32("an attempt")?,
            state: reader.u8("a state")?,
        }),
        code => return Err(Malformed(format!("result {code} does not exist in version 1"))),
    })
}
