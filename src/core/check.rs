//! All invariants of the state, checked the slow way. Tests run it after every command; the daemon never does.

use super::ids::{IdRange, JobId, RangeSet};
use super::job::{Holder, QueueName, State as JobState, StateKind};
use super::keyed::Keyed;
use super::state::State;
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Panics, naming the broken invariant, if the state contradicts itself.
pub fn check(state: &State) {
    let all = IdRange::new(JobId(0), u64::MAX);
    let mut counts: HashMap<_, [u64; StateKind::ALL.len()]> = HashMap::new();
    let mut ready = BTreeSet::new();
    let mut due = BTreeSet::new();
    let mut held = BTreeSet::new();
    let mut in_state: BTreeMap<(QueueName, StateKind), Vec<JobId>> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    let mut last = JobId(0);
    for (range, job) in state.iter(all) {
        assert!(range.first > last, "job {} is in two places", range.first);
        last = JobId(range.end().0 - 1);
        assert!(range.end() <= state.next_id(), "job {last} exists, but the next id is {}", state.next_id());
        counts.entry(job.spec.queue.clone()).or_default()[job.kind() as usize] += range.len;
        for id in range.iter() {
            match job.state() {
                JobState::Ready => {
                    ready.insert((job.spec.queue.clone(), job.spec.priority, id, job.returned()));
                }
                JobState::Leased(lease) => {
                    assert!(job.attempt().0 > 0, "job {id} is leased at no attempt");
                    if let Holder::Session(session) = lease.holder {
                        held.insert((session, id));
                    }
                }
                JobState::Done(end) | JobState::Cancelled(end) | JobState::Expired(end) => {
                    kept.insert((job.spec.queue.clone(), end.at, id));
                }
                JobState::Scheduled { .. } | JobState::Dead(_) => {}
            }
            in_state.entry((job.spec.queue.clone(), job.kind())).or_default().push(id);
            if job.next_due() != Time::NEVER {
                due.insert((job.next_due(), id));
            }
        }
    }
    assert_eq!(due, each(&state.due), "what is due");
    assert_eq!(held, each(&state.held), "who holds what");
    let mut listed = BTreeSet::new();
    for (name, queue) in state.queues() {
        let counted = counts.remove(name).unwrap_or_default();
        assert_eq!(StateKind::ALL.map(|kind| queue.counts().of(kind)), counted, "counts of queue {name}");
        for (priority, ready) in queue.ready_sets() {
            assert!(!ready.is_empty(), "queue {name} keeps an empty priority");
            let (fresh, returned, tried) = ready.parts();
            let ids = |set: &RangeSet| -> Vec<JobId> {
                set.ranges().flat_map(|(first, len)| IdRange::new(JobId(first), len).iter()).collect()
            };
            listed.extend(ids(fresh).into_iter().map(|id| (name.clone(), *priority, id, None)));
            let tried = each(tried);
            listed.extend(tried.iter().map(|(at, id)| (name.clone(), *priority, *id, Some(*at))));
            let mut by_id: Vec<JobId> = tried.iter().map(|(_, id)| *id).collect();
            by_id.sort_unstable();
            assert_eq!(by_id, ids(returned), "both indexes of what has come back in queue {name}");
        }
        for kind in StateKind::ALL {
            let mut ids: Vec<JobId> = queue.in_state(kind).flat_map(IdRange::iter).collect();
            ids.sort_unstable();
            let found = in_state.remove(&(name.clone(), kind)).unwrap_or_default();
            assert_eq!(ids, found, "the jobs of queue {name} that are {kind}");
        }
        let oldest: Vec<JobId> = queue.oldest_kept().flat_map(IdRange::iter).collect();
        let found = kept.iter().filter(|(queue, ..)| queue == name).map(|(.., id)| *id);
        assert_eq!(oldest, found.collect::<Vec<_>>(), "the kept jobs of queue {name}");
    }
    state.schedules.check();
    assert!(counts.is_empty(), "jobs in queues that do not exist: {counts:?}");
    assert_eq!(listed, ready, "the ready sets");
}

fn each<K: Ord + Copy>(keyed: &Keyed<K>) -> BTreeSet<(K, JobId)> {
    keyed.iter().flat_map(|(key, range)| range.iter().map(move |id| (key, id))).collect()
}
