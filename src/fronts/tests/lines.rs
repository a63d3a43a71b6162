//! A small front, as an example of what one needs: `submit QUEUE BODY`, `claim QUEUE`, which waits, and `done JOB
//! ATTEMPT`, one per line. Its requests have no numbers, so it takes one after the other.

use crate::clock::Clock;
use crate::core::{Attempt, Group, JobId, LeaseId, SpecOptions, Time, Verdict};
use crate::engine::SubmitOptions;
use crate::engine::{Answer, Claimed, Origin};
use crate::server::requests::{self, ClaimRequest, RequestContext, queue_name};
use crate::server::submit::{Submission, allow, submit};
use crate::server::{Close, Connection, Encoder, Fault, Front, Hub, Kind, Limits, Notice, Outbox, Part};
use crate::store::Store;
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Lines {
    is_busy: Cell<bool>,
}

pub(super) enum Line {
    Submit { queue: String, body: Bytes },
    Claim { queue: String },
    Done(LeaseId),
}

fn parse(line: &str) -> Option<Line> {
    let (verb, rest) = line.trim_end().split_once(' ')?;
    match verb {
        "submit" => {
            let (queue, body) = rest.split_once(' ')?;
            Some(Line::Submit { queue: queue.into(), body: Bytes::copy_from_slice(body.as_bytes()) })
        }
        "claim" => Some(Line::Claim { queue: rest.into() }),
        "done" => {
            let (id, attempt) = rest.split_once(' ')?;
            Some(Line::Done(LeaseId { id: JobId(id.parse().ok()?), attempt: Attempt(attempt.parse().ok()?) }))
        }
        _ => None,
    }
}

impl Encoder for Lines {
    fn answer(&self, _: u32, answer: Answer, _: &Clock, out: &mut Outbox) {
        self.is_busy.set(false);
        let line = match answer {
            Answer::Submitted(ids) => format!("id {}\n", ids.first),
            Answer::Jobs(jobs) => jobs.iter().fold(String::new(), |lines, Claimed { grant, body, .. }| {
                lines + &format!("job {} {} {}\n", grant.id, grant.attempt.0, String::from_utf8_lossy(body))
            }),
            Answer::Settled(results) => results
                .iter()
                .map(|result| {
                    result.as_ref().map_or_else(|lost| format!("error {lost}\n"), |()| "ok\n".into())
                })
                .collect(),
            Answer::Ready(bytes) => return out.buffer().extend(bytes),
            Answer::Refused(refusal) => return self.fault(None, &Fault::from(&refusal), out.buffer()),
            other => format!("error {other:?} was not asked for\n"),
        };
        out.buffer().extend(line.into_bytes());
    }

    fn part(&self, _: u32, _: Part, _: &mut Outbox) {
        unreachable!("it asks for nothing long")
    }

    fn fault(&self, _: Option<u32>, fault: &Fault, out: &mut Vec<u8>) {
        writeln!(out, "error {:?}: {}", fault.kind, fault.message).expect("a vector takes everything");
    }

    fn notice(&self, _: Notice, _: &mut Vec<u8>) {}
}

impl Front for Lines {
    type Request = Line;

    fn is_ready(&self) -> bool {
        !self.is_busy.get()
    }

    fn request_len(&self, buffer: &[u8]) -> Option<usize> {
        buffer.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
    }

    fn take(&self, limits: &Limits, buffer: &mut BytesMut, out: &mut Outbox) -> Result<Option<Line>, Close> {
        loop {
            let len = self.request_len(buffer);
            if len.unwrap_or(buffer.len()) > limits.frame {
                let fault = Fault::new(Kind::TooLarge, format!("a line has at most {} bytes", limits.frame));
                self.fault(None, &fault, out.buffer());
                return Err(Close);
            }
            let Some(len) = len else { return Ok(None) };
            if let Some(line) = parse(&String::from_utf8_lossy(&buffer.split_to(len))) {
                self.is_busy.set(true);
                return Ok(Some(line));
            }
            self.fault(None, &Fault::new(Kind::Malformed, "it says nothing"), out.buffer());
        }
    }

    fn is_long(_: &Line) -> bool {
        false
    }

    async fn handle<S: Store + 'static>(
        hub: &Rc<Hub<S>>,
        connection: &Rc<Connection<Lines>>,
        line: Line,
        _: &mut BytesMut,
        now: Time,
    ) {
        let origin = Origin { session: connection.id, request: 0 };
        let context = RequestContext { peer: &connection.peer, origin, now };
        let done = match line {
            Line::Submit { queue, body } => submit_one(hub, context, &queue, body),
            Line::Claim { queue } => {
                let claim =
                    ClaimRequest { queues: vec![queue], max: 1, lease: None, wait: None, bound: true };
                requests::claim(hub, context, claim)
            }
            Line::Done(lease) => requests::settle(hub, context, vec![(lease, Verdict::Complete)]),
        };
        if let Err(fault) = done {
            hub.engine.borrow_mut().answer(origin, connection.refusal(0, &fault));
        }
    }
}

fn submit_one<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queue: &str,
    body: Bytes,
) -> Result<(), Fault> {
    hub.service.borrow().limits.check_bodies(std::slice::from_ref(&body))?;
    let spec = SpecOptions { owner: context.peer.caller.uid, ..SpecOptions::plain(queue_name(queue)?) };
    let group = Group::new(spec, 1);
    let mut submission = Submission::default();
    submission.add(group, false, None, [body]);
    allow(hub, context.peer, &mut submission)?;
    submit(hub, context, submission, SubmitOptions::default());
    Ok(())
}
