//! Jobs to which nothing has happened yet, by the run: consecutive ids with the same wishes that arrived in the
//! same second are one entry, however many they are.

use super::ids::{IdRange, JobId};
use super::job::{Job, Spec};
use super::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    len: u64,
    spec: Arc<Spec>,
    submitted_at: Time,
}

/// All plain jobs: first id → run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plain(BTreeMap<JobId, Run>);

impl Plain {
    /// Adds jobs; joins the run that they continue, and the one that continues them.
    pub(super) fn insert(&mut self, range: IdRange, spec: &Arc<Spec>, submitted_at: Time) {
        let alike = |run: &Run| {
            run.submitted_at == submitted_at && (Arc::ptr_eq(&run.spec, spec) || run.spec == *spec)
        };
        let mut len = range.len;
        if self.0.get(&range.end()).is_some_and(alike) {
            len += self.0.remove(&range.end()).expect("found above").len;
        }
        if let Some((first, run)) = self.0.range_mut(..range.first).next_back()
            && first.plus(run.len) == range.first
            && alike(run)
        {
            run.len += len;
            return;
        }
        self.0.insert(range.first, Run { len, spec: spec.clone(), submitted_at });
    }

    fn run_at(&self, id: JobId) -> Option<(JobId, &Run)> {
        let (first, run) = self.0.range(..=id).next_back()?;
        (id < first.plus(run.len)).then_some((*first, run))
    }

    /// The job, if it is plain.
    pub(super) fn get(&self, id: JobId) -> Option<Job> {
        self.run_at(id).map(|(_, run)| Job::fresh(run.spec.clone(), run.submitted_at))
    }

    /// What was asked for, if the job is plain.
    pub(super) fn spec(&self, id: JobId) -> Option<&Arc<Spec>> {
        self.run_at(id).map(|(_, run)| &run.spec)
    }

    /// Takes one job out.
    pub(super) fn take(&mut self, id: JobId) -> Option<Job> {
        let (first, run) = self.run_at(id)?;
        let (len, job) = (run.len, Job::fresh(run.spec.clone(), run.submitted_at));
        self.cut(first, len, id.into());
        Some(job)
    }

    /// Takes a part out of the run that begins at `first`.
    fn cut(&mut self, first: JobId, len: u64, part: IdRange) {
        let end = first.plus(len);
        let run = if part.first == first {
            self.0.remove(&first).expect("the caller found the run")
        } else {
            let run = self.0.get_mut(&first).expect("the caller found the run");
            run.len = part.first.0 - first.0;
            run.clone()
        };
        if part.end() < end {
            self.0.insert(part.end(), Run { len: end.0 - part.end().0, ..run });
        }
    }

    /// Takes all plain jobs of a range out and says which there were.
    pub(super) fn take_range(&mut self, range: IdRange) -> Vec<(IdRange, Job)> {
        let job = |run: &Run| Job::fresh(run.spec.clone(), run.submitted_at);
        let found: Vec<_> =
            self.overlapping(range).map(|(whole, part, run)| (whole, part, job(run))).collect();
        for (whole, part, _) in &found {
            self.cut(whole.first, whole.len, *part);
        }
        found.into_iter().map(|(_, part, job)| (part, job)).collect()
    }

    /// The runs within a range, cut to it, in order.
    pub(super) fn runs(&self, range: IdRange) -> impl DoubleEndedIterator<Item = (IdRange, Job)> + '_ {
        self.overlapping(range).map(|(_, part, run)| (part, Job::fresh(run.spec.clone(), run.submitted_at)))
    }

    fn overlapping(&self, range: IdRange) -> impl DoubleEndedIterator<Item = (IdRange, IdRange, &Run)> + '_ {
        let from = self.run_at(range.first).map_or(range.first, |(first, _)| first);
        self.0.range(from..range.end()).filter_map(move |(first, run)| {
            let whole = IdRange::new(*first, run.len);
            Some((whole, whole.overlap(range)?, run))
        })
    }

    /// How many runs there are: what this costs in memory.
    pub(super) fn entries(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::QueueName;

    #[test]
    fn arrivals_of_one_second_are_one_entry_until_one_is_taken_from_the_middle() {
        let spec = Arc::new(Spec::plain(QueueName::new("q").unwrap()));
        let mut plain = Plain::default();
        for n in 1..=10 {
            plain.insert(JobId(n).into(), &spec, Time(5000));
        }
        assert_eq!(plain.entries(), 1);
        assert!(plain.take(JobId(4)).is_some());
        assert!(plain.take(JobId(4)).is_none());
        assert_eq!(plain.entries(), 2);
        let all = IdRange::new(JobId(1), 100);
        let parts: Vec<_> = plain.runs(all).map(|(range, _)| (range.first.0, range.len)).collect();
        assert_eq!(parts, [(1, 3), (5, 6)]);
        let taken: Vec<_> =
            plain.take_range(IdRange::new(JobId(2), 5)).iter().map(|(r, _)| (r.first.0, r.len)).collect();
        assert_eq!(taken, [(2, 2), (5, 2)]);
        let left: Vec<_> = plain.runs(all).map(|(range, _)| (range.first.0, range.len)).collect();
        assert_eq!(left, [(1, 1), (7, 4)]);
    }
}
