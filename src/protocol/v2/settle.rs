//! How version 2 encodes the ends of leases.

use crate::protocol::request::{Exit, LeaseRef, Settle, Verdict};
use crate::protocol::response::{ErrorCode, Fault};
use crate::protocol::tagged::{self, Value};
use crate::protocol::wire::{Malformed, Reader};
use bytes::Bytes;

// Of a settle.
const VERDICT: u8 = 1;
const REASON: u8 = 2;
const WAIT: u8 = 3;
const EXIT: u8 = 4;
/// Whoever does not know it must not complete the job: the result would be lost.
const RESULT: u8 = 5;
/// Whoever does not know it must not take the job back: it would go on without it.
const UNTIL_SIGNAL: u8 = 6;

// The verdicts.
const COMPLETE: u8 = 0;
const FAIL: u8 = 1;
const FAIL_DEAD: u8 = 2;
const RELEASE: u8 = 3;
const LATER: u8 = 4;
const EXITED: u8 = 5;
const AWAIT: u8 = 6;

pub(super) fn put_settle(out: &mut Vec<u8>, item: &Settle) {
    item.lease.put(out);
    let (number, reason, wait_ms, exit) = match &item.verdict {
        Verdict::Complete | Verdict::CompleteWith(_) => (COMPLETE, None, None, None),
        Verdict::Fail { error, exit } => (FAIL, Some(error), None, *exit),
        Verdict::FailRetryAfter { error, exit, wait_ms } => (FAIL, Some(error), Some(*wait_ms), *exit),
        Verdict::FailDead { error, exit } => (FAIL_DEAD, Some(error), None, *exit),
        Verdict::Exited { error, exit } => (EXITED, Some(error), None, Some(*exit)),
        Verdict::Later { error, wait_ms } => (LATER, Some(error), *wait_ms, None),
        Verdict::Await { timeout_ms, .. } => (AWAIT, None, Some(*timeout_ms), None),
        Verdict::Release { delay_ms } => (RELEASE, None, Some(*delay_ms).filter(|ms| *ms > 0), None),
    };
    if number != COMPLETE {
        tagged::put_number(out, VERDICT, number.into());
    }
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        tagged::put_bytes(out, REASON, reason.as_bytes());
    }
    if let Some(ms) = wait_ms {
        tagged::put_number(out, WAIT, ms);
    }
    match exit {
        None => {}
        Some(Exit::Status(status)) => tagged::put_bytes(out, EXIT, &[1, status]),
        Some(Exit::Signal(signal)) => tagged::put_bytes(out, EXIT, &[2, signal]),
    }
    match &item.verdict {
        Verdict::CompleteWith(result) => tagged::put_bytes(out, RESULT | tagged::MUST, result),
        Verdict::Await { signal, .. } => {
            tagged::put_bytes(out, UNTIL_SIGNAL | tagged::MUST, signal.as_bytes());
        }
        _ => {}
    }
    tagged::put_end(out);
}

pub(super) fn get_settle(reader: &mut Reader) -> Result<Settle, Fault> {
    let lease = LeaseRef::get(reader)?;
    let (mut number, mut reason, mut wait_ms, mut exit) = (COMPLETE, None, None, None);
    let (mut result, mut signal) = (None, None);
    tagged::read(reader, "a settle", |option, value| {
        match option {
            VERDICT => number = value.u8("the verdict")?,
            REASON => reason = Some(value.text("the error")?),
            WAIT => wait_ms = Some(value.u64("the wait")?),
            EXIT => exit = Some(get_exit(value)?),
            RESULT => result = Some(Bytes::copy_from_slice(value.all())),
            UNTIL_SIGNAL => signal = Some(value.text("the signal's name")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let error = |reason: Option<String>| reason.unwrap_or_default();
    let verdict = match (number, reason, wait_ms, exit) {
        (COMPLETE, None, None, None) => result.take().map_or(Verdict::Complete, Verdict::CompleteWith),
        _ if result.is_some() => {
            return Err(
                Malformed(format!("verdict {number} has a result: only a job that is done has one")).into()
            );
        }
        (AWAIT, None, Some(timeout_ms), None) if signal.is_some() => {
            Verdict::Await { signal: signal.take().unwrap_or_default(), timeout_ms }
        }
        _ if signal.is_some() => {
            let message = format!(
                "verdict {number} names a signal, or waits for one without end: only verdict {AWAIT} waits, and has a time"
            );
            return Err(Malformed(message).into());
        }
        (FAIL, reason, None, exit) => Verdict::Fail { error: error(reason), exit },
        (FAIL, reason, Some(wait_ms), exit) => {
            Verdict::FailRetryAfter { error: error(reason), exit, wait_ms }
        }
        (FAIL_DEAD, reason, None, exit) => Verdict::FailDead { error: error(reason), exit },
        (EXITED, reason, None, Some(exit)) => Verdict::Exited { error: error(reason), exit },
        (LATER, reason, wait_ms, None) => Verdict::Later { error: error(reason), wait_ms },
        (RELEASE, None, delay, None) => Verdict::Release { delay_ms: delay.unwrap_or(0) },
        (COMPLETE..=AWAIT, ..) => {
            let message =
                format!("verdict {number} has options that it has no use for, or none that it needs");
            return Err(Malformed(message).into());
        }
        _ => {
            let message =
                format!("verdict {number} is not known to this daemon: if the client is newer, update it");
            return Err(Fault { code: ErrorCode::Unsupported, message });
        }
    };
    Ok(Settle { lease, verdict })
}

fn get_exit(value: Value<'_>) -> Result<Exit, Malformed> {
    match value.bytes("the exit")? {
        [1, status] => Ok(Exit::Status(status)),
        [2, signal] => Ok(Exit::Signal(signal)),
        [kind, _] => Err(Malformed(format!("exit kind {kind}: 1 is a status, 2 a signal"))),
    }
}
