//! What the engine answers, in the words of beanstalkd. Where the daemon refuses for a reason that the protocol has no word for, the
//! log has it.

use super::{Asked, words};
use crate::core::{JobId, Priority, Receipt, Rejection, StateKind};
use crate::engine::{Answer, Refusal};
use crate::server::{Fault, Kind, Outbox};
use bytes::Bytes;
use std::io::Write;

/// The job that had the unique key of a put when that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// Its state.
    pub(super) kind: StateKind,
    /// What it has instead of its own, if the put has made it more urgent.
    pub(super) raised_to: Priority,
}

/// Says what came of a request. Returns whether anything was said: a claim of a daemon that stops goes on waiting, until its connection
/// ends with the daemon.
pub(super) fn answer(asked: Asked, holder: Option<Holder>, answer: Answer, out: &mut Outbox) -> bool {
    match (asked, asked.nothing(), answer) {
        (_, _, Answer::Ready(bytes)) => out.buffer().extend_from_slice(&bytes),
        (Asked::Put, _, Answer::Submitted(ids)) => inserted(ids.first, out),
        (Asked::Put, _, Answer::Received(receipts)) => {
            receipts.iter().for_each(|receipt| received(*receipt, holder, out));
        }
        (Asked::Batch | Asked::BatchNow | Asked::BatchSoon, _, Answer::Jobs(jobs)) if !jobs.is_empty() => {
            write!(out.buffer(), "RESERVED_BATCH {}\r\n", jobs.len()).expect("a vector takes everything");
            jobs.iter().for_each(|job| with_body("RESERVED", job.grant.id, &job.body, out));
        }
        (_, Some(nothing), Answer::Jobs(jobs)) => match jobs.first() {
            Some(job) => with_body("RESERVED", job.grant.id, &job.body, out),
            None => say(nothing, out),
        },
        (Asked::Reserve | Asked::Batch, _, Answer::Refused(Refusal::Core(Rejection::Draining))) => {
            return false;
        }
        (_, Some(nothing), Answer::Refused(Refusal::Core(Rejection::Draining))) => say(nothing, out),
        (_, _, Answer::Refused(refusal)) => say(of_fault(&Fault::from(&refusal)), out),
        (asked, _, answer) => {
            debug_assert!(false, "{answer:?} is no answer to {asked:?}");
            say(words::INTERNAL_ERROR, out);
        }
    }
    true
}

impl Asked {
    /// What is said if there is no job, to whoever has asked for one.
    fn nothing(self) -> Option<&'static str> {
        match self {
            Asked::Reserve | Asked::ReserveNow => Some(words::TIMED_OUT),
            Asked::ReserveSoon | Asked::BatchSoon => Some(words::DEADLINE_SOON),
            Asked::Batch | Asked::BatchNow => Some(words::NONE_RESERVED),
            Asked::ReserveJob => Some(words::NOT_FOUND),
            Asked::Put | Asked::Other => None,
        }
    }
}

fn say(text: &str, out: &mut Outbox) {
    out.buffer().extend_from_slice(text.as_bytes());
}

fn inserted(id: JobId, out: &mut Outbox) {
    write!(out.buffer(), "INSERTED {id}\r\n").expect("a vector takes everything");
}

/// What became of a put with a unique key: where another job has it, its state is said as well. One that has taken the key while the put
/// waited for room is ready, as far as is known.
fn received(receipt: Receipt, holder: Option<Holder>, out: &mut Outbox) {
    let id = receipt.id();
    let state = state(holder.map_or(StateKind::Ready, |holder| holder.kind));
    match (receipt, holder) {
        (Receipt::New(_), _) => return inserted(id, out),
        (Receipt::Changed(_), Some(Holder { raised_to: Priority(priority), .. })) => {
            write!(out.buffer(), "INSERTED {id} {state} {priority}\r\n")
        }
        _ => write!(out.buffer(), "INSERTED {id} {state}\r\n"),
    }
    .expect("a vector takes everything");
}

/// How tuber names the state of a job.
fn state(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Ready => "READY",
        StateKind::Leased => "RESERVED",
        StateKind::Scheduled | StateKind::Waiting => "DELAYED",
        StateKind::Dead => "BURIED",
        StateKind::Done | StateKind::Cancelled | StateKind::Expired => "DELETED",
    }
}

/// A job with its body, which may be long.
fn with_body(word: &str, id: JobId, body: &Bytes, out: &mut Outbox) {
    write!(out.buffer(), "{word} {id} {}\r\n", body.len()).expect("a vector takes everything");
    out.push(body);
    out.buffer().extend_from_slice(b"\r\n");
}

/// A job that somebody looks at.
pub(super) fn found(id: JobId, body: &Bytes) -> Vec<u8> {
    [format!("FOUND {id} {}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

/// The word for a refusal.
pub(super) fn of_fault(fault: &Fault) -> &'static str {
    match fault.kind {
        Kind::Draining => words::DRAINING,
        Kind::QueueFull | Kind::DiskFull | Kind::Busy => words::OUT_OF_MEMORY,
        Kind::TooLarge => words::JOB_TOO_BIG,
        Kind::NotFound | Kind::WrongState => words::NOT_FOUND,
        Kind::Malformed | Kind::Invalid | Kind::Unsupported => words::BAD_FORMAT,
        Kind::Forbidden | Kind::NotUnique | Kind::Internal => words::INTERNAL_ERROR,
    }
}
