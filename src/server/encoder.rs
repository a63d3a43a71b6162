//! How a front encodes answers, notices and refusals. The loop needs nothing else of a front, and calls it once for all
//! consecutive answers to one connection; the rest of a front is in `front.rs`.

use super::fault::Fault;
use super::outbox::Outbox;
use crate::clock::Clock;
use crate::core::{IdRange, LeaseId, StateKind, Time};
use crate::engine::{Answer, Delivery, Origin, Refusal};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

/// What the server sends on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A lease of this connection has ended under its holder.
    Revoked {
        /// Which.
        lease: LeaseId,
        /// Whether its time was over; else somebody ended the job by hand.
        expired: bool,
    },
    /// The daemon is stopping: what is leased is to be settled within this time.
    Stopping(Duration),
    /// The configuration has changed.
    Reconfigured,
}

/// Jobs that are alike have come into a state.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) jobs: IdRange,
    pub(crate) queue: Arc<str>,
    /// `None`: they are gone.
    pub(crate) state: Option<StateKind>,
    /// When, as people see it.
    pub(crate) at: Time,
}

/// A part of an answer that is too long to be sent at once. Only a front that has asked for such a stream gets any.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// A piece of what a job has printed: by which attempt, on which stream (1 standard output, 2 standard error).
    Output { attempt: u32, stream: u8, data: Bytes },
    /// A piece of a backup.
    Backup(Bytes),
    /// What has become of jobs; of `missed` changes there was too much to tell.
    Changes { changes: Vec<Moved>, missed: u64 },
    /// That was all, or it ends early.
    End(Result<(), Fault>),
}

/// How one connection's front encodes answers. `request` is the number that the front gave the request.
pub(crate) trait Encoder: 'static {
    /// Says what a request came to; `clock` has the time, and says how people see it.
    fn answer(&self, request: u32, answer: Answer, clock: &Clock, out: &mut Outbox);

    /// Says all of these.
    fn answers(&self, answers: Answers<'_>, clock: &Clock, out: &mut Outbox) {
        for (request, answer) in answers {
            self.answer(request, answer, clock, out);
        }
    }

    /// Says a part of a long answer.
    fn part(&self, request: u32, part: Part, out: &mut Outbox);

    /// Refuses a request, or says without one why the connection ends.
    fn fault(&self, request: Option<u32>, fault: &Fault, out: &mut Vec<u8>);

    /// Encodes a notice, if the protocol has a message for it.
    fn notice(&self, notice: Notice, out: &mut Vec<u8>);
}

/// Answers in a row for one connection, the first one and what follows it among all that a turn has brought.
pub(crate) struct Answers<'a> {
    session: u64,
    first: Option<(u32, Answer)>,
    rest: &'a mut vec::IntoIter<Delivery>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(origin: Origin, first: Answer, rest: &'a mut vec::IntoIter<Delivery>) -> Answers<'a> {
        Answers { session: origin.session, first: Some((origin.request, first)), rest }
    }

    /// Whether the loop has to look at this one itself: it may be meant for somebody who follows a job.
    fn is_for_the_loop(answer: &Answer) -> bool {
        matches!(answer, Answer::Ended(_) | Answer::Refused(Refusal::NotFound(_)))
    }
}

impl Iterator for Answers<'_> {
    type Item = (u32, Answer);

    fn next(&mut self) -> Option<(u32, Answer)> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.rest.as_slice().first()? {
            Delivery::Answer(origin, answer)
                if origin.session == self.session && !Answers::is_for_the_loop(answer) => {}
            _ => return None,
        }
        match self.rest.next()? {
            Delivery::Answer(origin, answer) => Some((origin.request, answer)),
            Delivery::Revoked { .. } | Delivery::Forgotten(_) | Delivery::Changed(_) => None,
        }
    }
}
