//! How version 1 encodes requests: all fields in fixed places. What it has in common with later versions is in
//! `plain.rs`.

use super::submit::{get_group, put_group};
use crate::protocol::plain::{self, Limit};
use crate::protocol::request::{
    CLAIM, Claim, EXTEND, Exit, LOGS, LeaseRef, OUTPUT, Request, SETTLE, SUBMIT, SUBMIT_AND_WAIT, Settle,
    Verdict, stream,
};
use crate::protocol::response::Fault;
use crate::protocol::submit::SubmitGroup;
use crate::protocol::wire::{Malformed, Reader, put_text};
use bytes::{BufMut, Bytes};

/// What is added to the number of a verdict that an exit follows.
const WITH_EXIT: u8 = 4;
const LATER: u8 = 8;
/// What ended so, workers of this version gave back as "again later".
const EXIT_LATER: Exit = Exit::Status(75);
/// And this as failed for good.
const EXIT_DEAD: Exit = Exit::Status(65);

pub(in crate::protocol) fn put(request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::Submit(groups) => put_groups(out, groups),
        Request::SubmitAndWait { groups, timeout_ms } => {
            out.put_u64_le(timeout_ms.unwrap_or(u64::MAX));
            put_groups(out, groups);
        }
        Request::Claim(claim) => put_claim(out, claim),
        Request::Settle(items) => {
            out.put_u32_le(items.len() as u32);
            items.iter().for_each(|item| put_settle(out, item));
        }
        Request::Extend { leases, lease_ms } => {
            out.put_u64_le(lease_ms.unwrap_or(0));
            out.put_u32_le(leases.len() as u32);
            leases.iter().for_each(|lease| lease.put(out));
        }
        Request::Output { lease, stream, data, .. } => {
            lease.put(out);
            out.put_u8(*stream);
            out.extend_from_slice(data);
        }
        Request::Logs { id, follow } => {
            out.put_u64_le(*id);
            out.put_u8(u8::from(*follow));
        }
        plain => plain::put_request(plain, out),
    }
}

pub(in crate::protocol) fn get(kind: u8, payload: Bytes, limit: Limit) -> Result<Request, Fault> {
    let mut reader = Reader::new(payload);
    let reader = &mut reader;
    let request = match kind {
        SUBMIT => Request::Submit(get_groups(reader, limit)?),
        SUBMIT_AND_WAIT => {
            let timeout_ms = Some(reader.u64("the wait")?).filter(|ms| *ms < u64::MAX);
            Request::SubmitAndWait { groups: get_groups(reader, limit)?, timeout_ms }
        }
        CLAIM => Request::Claim(get_claim(reader)?),
        SETTLE => {
            let count = limit.check(reader.count(13, "settles")?)?;
            Request::Settle((0..count).map(|_| get_settle(reader)).collect::<Result<_, _>>()?)
        }
        EXTEND => {
            let lease_ms = Some(reader.u64("the lease")?).filter(|ms| *ms > 0);
            let count = limit.check(reader.count(12, "leases")?)?;
            let leases = (0..count).map(|_| LeaseRef::get(reader)).collect::<Result<_, _>>()?;
            Request::Extend { leases, lease_ms }
        }
        OUTPUT => {
            let (lease, stream) = (LeaseRef::get(reader)?, stream(reader.u8("the stream")?)?);
            Request::Output { lease, stream, data: reader.rest(), again_at: None }
        }
        LOGS => Request::Logs { id: reader.u64("the id")?, follow: reader.u8("the follow flag")? != 0 },
        kind => plain::get_request(kind, reader)?
            .ok_or_else(|| Malformed(format!("requests of kind {kind:#04x} do not exist in version 1")))?,
    };
    reader.end()?;
    Ok(request)
}

fn put_groups(out: &mut Vec<u8>, groups: &[SubmitGroup]) {
    out.put_u32_le(groups.len() as u32);
    groups.iter().for_each(|group| put_group(out, group));
}

fn get_groups(reader: &mut Reader, limit: Limit) -> Result<Vec<SubmitGroup>, Fault> {
    let count = limit.check(reader.count(11, "groups of jobs")?)?;
    Ok((0..count).map(|_| get_group(reader)).collect::<Result<_, _>>()?)
}

fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    out.put_u16_le(claim.queues.len() as u16);
    claim.queues.iter().for_each(|queue| put_text(out, queue));
    out.put_u32_le(claim.max);
    out.put_u64_le(claim.lease_ms.unwrap_or(0));
    out.put_u64_le(claim.wait_ms);
    out.put_u8(u8::from(claim.bound));
}

fn get_claim(reader: &mut Reader) -> Result<Claim, Malformed> {
    let count = reader.u16("the number of queues")?;
    Ok(Claim {
        queues: (0..count).map(|_| reader.text("a queue's name")).collect::<Result<_, _>>()?,
        max: reader.u32("the number of jobs")?,
        lease_ms: Some(reader.u64("the lease")?).filter(|ms| *ms > 0),
        wait_ms: reader.u64("the wait")?,
        bound: reader.u8("the bound flag")? != 0,
    })
}

fn put_settle(out: &mut Vec<u8>, item: &Settle) {
    item.lease.put(out);
    match &item.verdict {
        // The client refuses a result in version 1.
        Verdict::Complete | Verdict::CompleteWith(_) => out.put_u8(0),
        Verdict::Fail { error, exit } => put_failed(out, 1, error, *exit),
        Verdict::FailRetryAfter { error, exit, wait_ms } => {
            out.put_u8(failed(2, *exit));
            put_text(out, error);
            out.put_u64_le(*wait_ms);
            put_exit(out, *exit);
        }
        Verdict::FailDead { error, exit } => put_failed(out, 3, error, *exit),
        // A daemon of this version leaves it to the worker what an exit means.
        Verdict::Exited { error, exit: EXIT_DEAD } => put_failed(out, 3, error, Some(EXIT_DEAD)),
        Verdict::Exited { error, exit } if *exit != EXIT_LATER => put_failed(out, 1, error, Some(*exit)),
        // The wait is the queue's there.
        Verdict::Exited { error, .. } | Verdict::Later { error, .. } => {
            out.put_u8(LATER);
            put_text(out, error);
        }
        // A daemon of this version knows no signals: the client does not let it come to this.
        Verdict::Await { timeout_ms: delay_ms, .. } | Verdict::Release { delay_ms } => {
            out.put_u8(4);
            out.put_u64_le(*delay_ms);
        }
    }
}

fn put_failed(out: &mut Vec<u8>, verdict: u8, error: &str, exit: Option<Exit>) {
    out.put_u8(failed(verdict, exit));
    put_text(out, error);
    put_exit(out, exit);
}

/// The number of a verdict that may have an exit behind it.
fn failed(verdict: u8, exit: Option<Exit>) -> u8 {
    if exit.is_some() { verdict + WITH_EXIT } else { verdict }
}

fn put_exit(out: &mut Vec<u8>, exit: Option<Exit>) {
    match exit {
        None => {}
        Some(Exit::Status(status)) => out.extend([1, status]),
        Some(Exit::Signal(signal)) => out.extend([2, signal]),
    }
}

fn get_exit(reader: &mut Reader, verdict: u8) -> Result<Option<Exit>, Malformed> {
    if verdict < WITH_EXIT {
        return Ok(None);
    }
    let (kind, value) = (reader.u8("the kind of exit")?, reader.u8("the exit")?);
    match kind {
        0 => Ok(None),
        1 => Ok(Some(Exit::Status(value))),
        2 => Ok(Some(Exit::Signal(value))),
        kind => Err(Malformed(format!("exit kind {kind}: 0 is unknown, 1 a status, 2 a signal"))),
    }
}

fn get_settle(reader: &mut Reader) -> Result<Settle, Malformed> {
    let lease = LeaseRef::get(reader)?;
    let kind = reader.u8("the verdict")?;
    let verdict = match kind {
        0 => Verdict::Complete,
        1 | 5 => Verdict::Fail { error: reader.text("the error")?, exit: get_exit(reader, kind)? },
        2 | 6 => {
            let (error, wait_ms) = (reader.text("the error")?, reader.u64("the wait")?);
            Verdict::FailRetryAfter { error, exit: get_exit(reader, kind)?, wait_ms }
        }
        3 | 7 => Verdict::FailDead { error: reader.text("the error")?, exit: get_exit(reader, kind)? },
        4 => Verdict::Release { delay_ms: reader.u64("the delay")? },
        LATER => Verdict::Later { error: reader.text("the error")?, wait_ms: None },
        verdict => return Err(Malformed(format!("verdict {verdict} does not exist in version 1"))),
    };
    Ok(Settle { lease, verdict })
}
