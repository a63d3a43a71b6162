//! Requests that change jobs: settles, extends, and changes by hand.

use super::{Answer, Edited, Engine, Origin, Refusal, finished};
use crate::core::{Command, Edit, Job, JobId, LeaseId, Only, Outcome, Size, Time, Verdict, Visibility};
use crate::store::{Blob, Room, Store};
use bytes::Bytes;
use std::time::Duration;

impl<S: Store> Engine<S> {
    /// Ends leases.
    pub fn settle(
        &mut self,
        origin: Origin,
        items: Vec<(LeaseId, Verdict)>,
        visibility: Visibility<'_>,
        now: Time,
    ) {
        self.change(origin, &Command::Settle { items }, visibility, now);
    }

    /// Prolongs leases.
    pub fn extend(
        &mut self,
        origin: Origin,
        items: Vec<LeaseId>,
        lease: Option<Duration>,
        visibility: Visibility<'_>,
        now: Time,
    ) {
        self.change(origin, &Command::Extend { items, lease }, visibility, now);
    }

    /// Pauses, resumes or purges a queue.
    pub fn change_queue(&mut self, origin: Origin, command: &Command, now: Time) {
        let outcome = self.decide(command, now);
        self.answer(origin, finished(outcome));
    }

    /// Changes jobs by hand, those alone that are as `only` says.
    pub fn edit(
        &mut self,
        origin: Origin,
        edit: Edit,
        ids: Vec<JobId>,
        only: Only,
        visibility: Visibility<'_>,
        now: Time,
    ) {
        self.change(origin, &Command::Edit { edit, ids, only }, visibility, now);
    }

    /// Gives a job another body, if it does not run.
    pub fn replace_body(
        &mut self,
        origin: Origin,
        id: JobId,
        body: Bytes,
        visibility: Visibility<'_>,
        now: Time,
    ) {
        let room = self.store.room();
        if room != Room::Enough {
            return self.answer(origin, Answer::Refused(Refusal::NoRoom(room)));
        }
        let command = Command::Edit {
            edit: Edit::ReplaceBody(Size::of(body.len() as u64)),
            ids: vec![id],
            only: Only::default(),
        };
        let outcome = self.decide_for(visibility, &command, now);
        let answer = match outcome {
            Ok(Outcome::Edited(mut results)) => match results.pop() {
                None => unreachable!("one job has one result"),
                Some(Err(rejection)) => Answer::Refused(Refusal::Edit(rejection)),
                Some(Ok(())) => {
                    // It has an event now, and the commit a body for it.
                    self.content_bytes += body.len();
                    self.replaced.push(Blob::Body, id, body);
                    Answer::Ok
                }
            },
            outcome => finished(outcome),
        };
        self.answer(origin, answer);
    }

    fn change(&mut self, origin: Origin, command: &Command, visibility: Visibility<'_>, now: Time) {
        let mut answer = finished(self.decide_for(visibility, command, now));
        if let (Command::Edit { edit: Edit::Cancel, ids, .. }, Answer::Edited(results)) =
            (command, &mut answer)
        {
            for (id, result) in ids.iter().zip(results) {
                if result.is_ok() && self.core.state.job(*id).is_some_and(Job::is_being_cancelled) {
                    *result = Ok(Edited::WhenStopped);
                }
            }
        }
        self.answer(origin, answer);
    }
}
