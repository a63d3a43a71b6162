//! Decides submits with an idempotency key: who sends one again gets the answer of the first time.

use super::{Core, Decision};
use crate::core::change::Recorder;
use crate::core::command::{Group, Outcome};
use crate::core::event::RowEvent;
use crate::core::job::Key;
use crate::core::rejection::Rejection;
use crate::core::requests::{DoneRequest, RequestAnswer, RequestKey};
use crate::core::time::Time;

impl Core {
    /// Whether a submit with this key was done, and is remembered.
    pub fn remembers(&self, key: Key, now: Time) -> bool {
        self.state.requests.get(key, now).is_some()
    }
}

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn once(
        &mut self,
        groups: &[Group],
        request: RequestKey,
        submit: impl FnOnce(&mut Self) -> Result<Outcome, Rejection>,
    ) -> Result<Outcome, Rejection> {
        let now = self.moment.now;
        if let Some(done) = self.state().requests.get(request.key, now) {
            return match done.request == request {
                true => Ok(Outcome::Repeated(done.answer.clone())),
                false => Err(Rejection::OtherRequest),
            };
        }
        let settings = &self.core.settings;
        // All of one request are of one user.
        let user = groups.first().map(|group| group.spec.owner);
        let (limit, most_own) = (settings.requests_max, settings.requests_per_user);
        let is_bounded = |user: &u32| *user != 0 && *user != settings.own_user;
        let has_unique = groups.iter().any(|group| group.spec.unique.is_some());
        let jobs = || groups.iter().fold(0, |all: u64, group| all.saturating_add(group.count));
        let receipts = if has_unique { jobs() } else { 0 };
        if (self.state().requests.weight() as u64).saturating_add(receipts) >= limit as u64 {
            return Err(Rejection::TooManyRequests { limit });
        }
        let own = user.filter(is_bounded).map(|user| self.state().requests.weight_of(user) as u64);
        if own.is_some_and(|own| own.saturating_add(receipts) >= most_own as u64) {
            return Err(Rejection::TooManyOwnRequests { limit: most_own });
        }
        let outcome = submit(self)?;
        let answer = match &outcome {
            Outcome::Submitted(ids) => RequestAnswer::Submitted(*ids),
            Outcome::Received(receipts) => RequestAnswer::Received(receipts.as_slice().into()),
            other => unreachable!("a submit comes to {other:?}"),
        };
        let until = now.plus(self.core.settings.requests_kept);
        let (page, done) =
            (self.state().requests.next_page(now), DoneRequest { request, answer, until, user });
        self.emit(RowEvent::RequestDone { page, done: done.into() });
        Ok(outcome)
    }

    /// Forgets the oldest page of submits, if none in it is remembered any more.
    pub(super) fn forget_requests(&mut self) {
        if let Some((page, due)) = self.state().requests.next_due()
            && due <= self.moment.now
        {
            self.emit(RowEvent::RequestsForgotten { page });
        }
    }
}
