//! The jobs themselves. Neighbours that are alike in all but their id are one entry, whatever their state and however
//! many they are: ten million plain jobs take no more memory than one.

use super::ids::{IdRange, JobId};
use super::job::Job;
use super::sorted::Sorted;
use smallvec::SmallVec;

/// Jobs that are alike, beginning at the id under which the entry is stored.
#[derive(Clone, Debug)]
struct Run {
    len: u64,
    job: Job,
}

/// There is room for so many parts before they are found: as many as are often claimed at once.
const PARTS_FORESEEN: u64 = 64;

/// Parts of a range, each of jobs that are alike. Most ranges have one.
pub(super) type Parts = SmallVec<[(IdRange, Job); 1]>;

/// All known jobs: first id → run. Runs that touch differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(Sorted<JobId, Run>);

impl Runs {
    /// Adds jobs that are unknown so far, part by part in the order of their ids; those that are like their neighbours join them.
    /// No job is known that is between them.
    pub(super) fn insert(&mut self, parts: Parts) {
        let mut runs: SmallVec<[(JobId, Run); 1]> = SmallVec::with_capacity(parts.len());
        for (IdRange { first, len }, job) in parts {
            debug_assert!(self.iter(IdRange { first, len }).next().is_none(), "job {first} comes in twice");
            match runs.last_mut() {
                Some((before, run)) if before.plus(run.len) == first && run.job == job => run.len += len,
                _ => runs.push((first, Run { len, job })),
            }
        }
        if let Some((first, last)) = runs.last_mut()
            && let end = first.plus(last.len)
            && self.0.get(end).is_some_and(|run| run.job == last.job)
            && let Some(next) = self.0.remove(end)
        {
            last.len += next.len;
        }
        let joins = runs.first().is_some_and(|(first, next)| self.join(*first, next));
        self.0.insert_all(runs.into_iter().skip(usize::from(joins)));
    }

    /// Whether the run that ends where another begins is like it; then it goes on with it.
    fn join(&mut self, first: JobId, next: &Run) -> bool {
        let before = self.0.last_to_mut(first).filter(|(before, run)| before.plus(run.len) == first);
        let alike = before.filter(|(_, run)| run.job == next.job);
        alike.map(|(_, run)| run.len += next.len).is_some()
    }

    /// A job.
    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        self.from(id).map(|(_, job)| job)
    }

    /// A job, and those behind it that are like it.
    pub(super) fn from(&self, id: JobId) -> Option<(IdRange, &Job)> {
        let (first, run) = self.0.last_to(id)?;
        let left = first.plus(run.len).0.checked_sub(id.0).filter(|left| *left > 0)?;
        Some((IdRange::new(id, left), &run.job))
    }

    /// Looks jobs up as [`Runs::from`] does, from one on: quicker where each is right behind the one before.
    pub(super) fn following<'a>(&'a self, first: JobId) -> impl FnMut(JobId) -> Option<(IdRange, &'a Job)> {
        let mut rest = self.all_from(first);
        move |id| {
            let mut found = rest.by_ref().take(2).find(|(run, _)| run.contains(id));
            if found.is_none() {
                rest = self.all_from(id);
                found = rest.next().filter(|(run, _)| run.contains(id));
            }
            found.map(|(run, job)| (IdRange::new(id, run.end().0 - id.0), job))
        }
    }

    /// All runs from the one on that has an id, or would have it.
    fn all_from(&self, id: JobId) -> impl Iterator<Item = (IdRange, &Job)> {
        let from = self.0.last_to(id).map_or(id, |(first, _)| first);
        self.0.from(from).map(|(first, run)| (IdRange::new(first, run.len), &run.job))
    }

    /// Takes the jobs of a range out that are known.
    pub(super) fn take(&mut self, range: IdRange) -> Parts {
        // As nearly always: they are one run, or a part of one.
        if let Some((first, run)) = self.0.last_to(range.first)
            && range.end() <= first.plus(run.len)
        {
            let whole = IdRange::new(first, run.len);
            return SmallVec::from_buf([(range, self.cut(whole, range))]);
        }
        let mut parts = Parts::with_capacity(range.len.min(PARTS_FORESEEN) as usize);
        if let Some((first, run)) = self.0.last_to(range.first).filter(|(first, _)| *first < range.first) {
            let whole = IdRange::new(first, run.len);
            parts.extend(whole.overlap(range).map(|part| (part, self.cut(whole, part))));
        }
        let mut rest = None;
        self.0.take(range.first..range.end(), |first, run| {
            let len = run.len.min(range.end().0 - first.0);
            if len < run.len {
                rest = Some((first.plus(len), Run { len: run.len - len, job: run.job.clone() }));
            }
            parts.push((IdRange::new(first, len), run.job));
        });
        if let Some((first, run)) = rest {
            self.0.insert(first, run);
        }
        parts
    }

    /// Takes a part out of a run that is there.
    fn cut(&mut self, whole: IdRange, part: IdRange) -> Job {
        let mut run = if part.first == whole.first {
            self.0.remove(whole.first).expect("the caller found the run")
        } else {
            let (_, run) = self.0.last_to_mut(whole.first).expect("the caller found the run");
            run.len = part.first.0 - whole.first.0;
            run.clone()
        };
        if part.end() < whole.end() {
            run.len = whole.end().0 - part.end().0;
            let job = run.job.clone();
            self.0.insert(part.end(), run);
            return job;
        }
        run.job
    }

    /// The known jobs of a range, in order, neighbours that are alike as one.
    pub(super) fn iter(&self, range: IdRange) -> impl DoubleEndedIterator<Item = (IdRange, &Job)> + '_ {
        self.overlapping(range).map(|(_, part, run)| (part, &run.job))
    }

    fn overlapping(&self, range: IdRange) -> impl DoubleEndedIterator<Item = (IdRange, IdRange, &Run)> + '_ {
        let before = self.0.last_to(range.first);
        let from = before
            .filter(|(first, run)| range.first < first.plus(run.len))
            .map_or(range.first, |(first, _)| first);
        self.0.range(from..range.end()).filter_map(move |(first, run)| {
            let whole = IdRange::new(first, run.len);
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
    use crate::core::{JobState as State, QueueName, Spec, Time};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn job(kind: u8) -> Job {
        let spec = Spec::plain(QueueName::new("q").unwrap());
        let mut job = Job::fresh(spec.into(), Time(1_000 * u64::from(kind % 2)));
        if kind > 1 {
            job.set_state(State::Scheduled { due: Time(7) });
        }
        job
    }

    proptest! {
        #[test]
        fn runs_are_a_map_from_id_to_job(steps in prop::collection::vec((0u8..3, 1u64..40, 1u64..9, 0u8..4), 0..60)) {
            let (mut runs, mut model) = (Runs::default(), BTreeMap::new());
            for (what, first, len, kind) in steps {
                let range = IdRange::new(JobId(first), len);
                if what == 2 {
                    // Some of them change, and some are not there any more.
                    let mut parts = runs.take(range);
                    parts.retain(|(part, _)| part.first.0 % 5 != 0);
                    model.retain(|id, _| !range.contains(*id) || parts.iter().any(|(part, _)| part.contains(*id)));
                    for (part, changed) in parts.iter_mut().filter(|(part, _)| part.first.0 % 2 == 0) {
                        *changed = job(kind);
                        model.extend(part.iter().map(|id| (id, job(kind))));
                    }
                    runs.insert(parts);
                } else if what == 0 {
                    for id in range.iter().filter(|id| !model.contains_key(id)).collect::<Vec<_>>() {
                        runs.insert(Parts::from_buf([(id.into(), job(kind))]));
                        model.insert(id, job(kind));
                    }
                } else {
                    let taken: Vec<_> = runs.take(range).into_iter().flat_map(|(part, job)| part.iter().map(move |id| (id, job.clone()))).collect();
                    let expected: Vec<_> = range.iter().filter_map(|id| Some((id, model.remove(&id)?))).collect();
                    prop_assert_eq!(taken, expected);
                }
                let all = IdRange::new(JobId(0), 1_000);
                let flat: Vec<_> = runs.iter(all).flat_map(|(part, job)| part.iter().map(move |id| (id, job.clone()))).collect();
                prop_assert_eq!(&flat, &model.clone().into_iter().collect::<Vec<_>>());
                let list: Vec<_> = runs.iter(all).collect();
                let back: Vec<_> = runs.iter(all).rev().collect();
                prop_assert!(list.iter().rev().eq(back.iter()));
                prop_assert!(list.windows(2).all(|pair| pair[0].0.end() < pair[1].0.first || pair[0].1 != pair[1].1), "neighbours that are alike are one");
                for id in (0..60).map(JobId) {
                    prop_assert_eq!(runs.get(id), model.get(&id));
                    let alike = |(range, job): (IdRange, &Job)| range.iter().all(|id| model.get(&id) == Some(job)) && model.get(&range.end()) != Some(job);
                    prop_assert!(runs.from(id).is_none_or(alike));
                }
                let part: Vec<_> = runs.iter(range).flat_map(|(part, _)| part.iter()).collect();
                prop_assert_eq!(part, range.iter().filter(|id| model.contains_key(id)).collect::<Vec<_>>());
            }
        }
    }
}
