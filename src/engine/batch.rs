//! Requests on many jobs at a time. Items that name a job which whoever asks must not learn of are not decided on, and
//! are answered for as if there were no such job; who may learn of what is decided elsewhere.

use super::{Answer, Engine, Origin, finished};
use crate::core::{
    Command, Edit, EditRejection, JobId, LeaseId, LeaseRejection, QueueName, State, StateKind, Time, Verdict,
};
use crate::store::Store;
use std::time::Duration;

/// The items of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    pub(super) items: Vec<T>,
    /// For each item that was asked for, in order, the job if it is hidden. Empty if none is.
    hidden: Vec<Option<JobId>>,
}

impl<T> From<Vec<T>> for Batch<T> {
    fn from(items: Vec<T>) -> Batch<T> {
        Batch { items, hidden: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// Hides the items that name a job which `is_hidden` says.
    pub fn hide(mut self, job: impl Fn(&T) -> JobId, is_hidden: impl Fn(JobId) -> bool) -> Batch<T> {
        let hidden = |item: &T| Some(job(item)).filter(|id| is_hidden(*id));
        self.hidden = self.items.iter().map(hidden).collect();
        let mut places = self.hidden.iter();
        self.items.retain(|_| places.next().is_some_and(Option::is_none));
        self
    }

    /// The items, and how to complete the answer on them.
    pub(super) fn split(self) -> (Vec<T>, Gaps) {
        (self.items, Gaps(self.hidden))
    }
}

/// Where answers are missing.
pub(super) struct Gaps(Vec<Option<JobId>>);

impl Gaps {
    /// Puts an answer into each gap.
    pub(super) fn fill<R>(self, results: Vec<R>, not_found: impl Fn(JobId) -> R) -> Vec<R> {
        if self.0.is_empty() {
            return results;
        }
        let mut results = results.into_iter();
        self.0
            .into_iter()
            .filter_map(|hidden| hidden.map_or_else(|| results.next(), |id| Some(not_found(id))))
            .collect()
    }
}

impl<S: Store> Engine<S> {
    /// Ends leases.
    pub fn settle(&mut self, origin: Origin, items: impl Into<Batch<(LeaseId, Verdict)>>, now: Time) {
        let (items, gaps) = items.into().split();
        let answer = match finished(self.decide(&Command::Settle { items }, now)) {
            Answer::Settled(r) => Answer::Settled(gaps.fill(r, |id| Err(LeaseRejection::NotFound { id }))),
            other => other,
        };
        self.answer(origin, answer);
    }

    /// Prolongs leases.
    pub fn extend(
        &mut self,
        origin: Origin,
        items: impl Into<Batch<LeaseId>>,
        lease: Option<Duration>,
        now: Time,
    ) {
        let (items, gaps) = items.into().split();
        let answer = match finished(self.decide(&Command::Extend { items, lease }, now)) {
            Answer::Extended(r) => Answer::Extended(gaps.fill(r, |id| Err(LeaseRejection::NotFound { id }))),
            other => other,
        };
        self.answer(origin, answer);
    }

    /// Changes jobs by hand, those alone that are as `only` says.
    pub fn edit(&mut self, origin: Origin, edit: Edit, ids: impl Into<Batch<JobId>>, only: &Only, now: Time) {
        let (ids, gaps) = ids.into().split();
        let (meant, others) = Batch::from(ids).hide(|id| *id, |id| !only.fits(&self.core.state, id)).split();
        let answer = match finished(self.decide(&Command::Edit { edit, ids: meant }, now)) {
            Answer::Edited(results) => {
                let results = others.fill(results, |id| Err(EditRejection::MovedOn { id }));
                Answer::Edited(gaps.fill(results, |id| Err(EditRejection::NotFound { id })))
            }
            other => other,
        };
        self.answer(origin, answer);
    }
}

/// What jobs must be like that a change is meant for. Whoever has chosen them by that may be told of another moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// In this state.
    pub state: Option<StateKind>,
    /// Of this queue.
    pub queue: Option<QueueName>,
}

impl Only {
    fn fits(&self, state: &State, id: JobId) -> bool {
        if *self == Only::default() {
            return true;
        }
        state.job(id).is_some_and(|job| {
            self.state.is_none_or(|kind| kind == job.state.kind())
                && self.queue.as_ref().is_none_or(|queue| *queue == job.spec.queue)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items_with_those_that_are_hidden_between_them() {
        let batch = Batch::from([1, 2, 3, 2, 4].map(JobId).to_vec());
        let (items, gaps) = batch.hide(|id| *id, |id| id.0 % 2 == 0).split();
        assert_eq!(items, [1, 3].map(JobId));
        let answers = gaps.fill(vec!["one", "three"], |_| "hidden");
        assert_eq!(answers, ["one", "hidden", "three", "hidden", "hidden"]);
    }

    #[test]
    fn without_anything_hidden_answers_stay_as_they_are() {
        let batch = Batch::from([1, 2].map(JobId).to_vec());
        let (items, gaps) = batch.split();
        assert_eq!((items.len(), gaps.fill(vec![1, 2], |_| 0)), (2, vec![1, 2]));
    }
}
