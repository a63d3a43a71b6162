//! All invariants of the state, checked the slow way. Tests run it after every command; the daemon never does.

use super::groups::GroupNo;
use super::ids::{IdRange, JobId, RangeSet};
use super::job::{Beside, Holder, Key, Priority, QueueName, State as JobState, StateKind};
use super::keyed::Keyed;
use super::kickable::Kickable;
use super::lanes::Lanes;
use super::queue::{Queue, URGENT};
use super::state::State;
use super::time::Time;
use super::unique::UniqueKeys;
use super::waiters::TargetState;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Panics, naming the broken invariant, if the state contradicts itself.
pub fn check(state: &State) {
    let all = IdRange::new(JobId(0), u64::MAX);
    let mut counts: HashMap<_, [u64; StateKind::ALL.len()]> = HashMap::new();
    let mut ready = BTreeSet::new();
    let mut leased: BTreeMap<(QueueName, Key), u64> = BTreeMap::new();
    let mut due = BTreeSet::new();
    let mut held = BTreeSet::new();
    let mut in_state: BTreeMap<(QueueName, StateKind), Vec<JobId>> = BTreeMap::new();
    let mut unique: HashMap<QueueName, BTreeSet<(Key, Time, JobId)>> = HashMap::new();
    let mut waiting: BTreeMap<QueueName, BTreeSet<(Priority, JobId)>> = BTreeMap::new();
    let mut last = JobId(0);
    for (range, job) in state.iter(all) {
        assert!(range.first > last, "job {} is in two places", range.first);
        last = JobId(range.end().0 - 1);
        assert!(range.end() <= state.next_id(), "job {last} exists, but the next id is {}", state.next_id());
        counts.entry(job.spec.queue.clone()).or_default()[job.kind() as usize] += range.len;
        for id in range.iter() {
            match job.state() {
                JobState::Ready => {
                    let spec = &job.spec;
                    ready.insert((spec.queue.clone(), spec.key, spec.priority, id, job.returned()));
                }
                JobState::Leased(lease) => {
                    if let Some(key) = job.spec.key {
                        *leased.entry((job.spec.queue.clone(), key)).or_insert(0) += 1;
                    }
                    assert!(job.attempt().0 > 0, "job {id} is leased at no attempt");
                    if let Holder::Session(session) = lease.holder {
                        held.insert((session, id));
                    }
                }
                _ => {}
            }
            let is_done = job.kind() == StateKind::Done;
            assert!(is_done || !job.has(Beside::Result), "job {id} has a result and is not done");
            assert!(!is_done || !job.has(Beside::Checkpoint), "job {id} is done and has a checkpoint");
            if job.kind().waits() {
                waiting.entry(job.spec.queue.clone()).or_default().insert((job.spec.priority, id));
            }
            in_state.entry((job.spec.queue.clone(), job.kind())).or_default().push(id);
            if let Some((key, until)) = job.spec.unique.zip(job.holds_unique_until()) {
                unique.entry(job.spec.queue.clone()).or_default().insert((key, until, id));
            }
            if job.next_due() != Time::NEVER {
                due.insert((job.next_due(), id));
            }
        }
    }
    assert_eq!(due, each(&state.due), "what is due");
    assert_eq!(held, each(&state.held), "who holds what");
    let mut listed = Listed::new();
    for (name, queue) in state.queues() {
        let counted = counts.remove(name).unwrap_or_default();
        assert_eq!(StateKind::ALL.map(|kind| queue.counts().of(kind)), counted, "counts of queue {name}");
        for (priority, ready) in queue.ready_sets() {
            assert!(!ready.is_empty(), "queue {name} keeps an empty priority");
            let (fresh, returned, tried) = ready.parts();
            let ids = |set: &RangeSet| -> Vec<JobId> {
                set.ranges().flat_map(|(first, len)| IdRange::new(JobId(first), len).iter()).collect()
            };
            listed.extend(ids(fresh).into_iter().map(|id| (name.clone(), None, *priority, id, None)));
            let tried = each(tried);
            listed.extend(tried.iter().map(|(at, id)| (name.clone(), None, *priority, *id, Some(*at))));
            let mut by_id: Vec<JobId> = tried.iter().map(|(_, id)| *id).collect();
            by_id.sort_unstable();
            assert_eq!(by_id, ids(returned), "both indexes of what has come back in queue {name}");
        }
        if let Some(lanes) = queue.lanes() {
            check_lanes(name, lanes, &mut leased, &mut listed);
        }
        check_by_priority(name, queue, &waiting);
        check_kickable(state, name, queue);
        for kind in StateKind::ALL {
            let mut ids: Vec<JobId> = queue.in_state(kind).flat_map(IdRange::iter).collect();
            ids.sort_unstable();
            let found = in_state.remove(&(name.clone(), kind)).unwrap_or_default();
            assert_eq!(ids, found, "the jobs of queue {name} that are {kind}");
        }
        check_unique(state, name, queue, unique.remove(name).unwrap_or_default());
        queue.kept().check(
            state.iter(all).filter(|(_, job)| job.spec.queue == *name).map(|(ids, job)| (ids, job.clone())),
        );
    }
    check_load(state);
    check_beside_jobs(state);
    assert!(counts.is_empty(), "jobs in queues that do not exist: {counts:?}");
    assert_eq!(listed, ready, "the ready sets");
    assert!(leased.is_empty(), "leased jobs with keys in queues without lanes: {leased:?}");
}

/// What the jobs of a queue hold of unique keys is what is known of it, and no two hold one without end.
fn check_unique(state: &State, name: &QueueName, queue: &Queue, wanted: BTreeSet<(Key, Time, JobId)>) {
    assert!(queue.unique_keys().is_none_or(|keys| !keys.is_empty()), "queue {name} keeps empty unique keys");
    let mut held: Vec<_> = queue.unique_keys().into_iter().flat_map(UniqueKeys::ids).collect();
    held.sort_unstable();
    let mut holders: Vec<_> = wanted.iter().map(|(.., id)| *id).collect();
    holders.sort_unstable();
    assert_eq!(held, holders, "who holds unique keys of queue {name}");
    for (key, ..) in &wanted {
        let last = wanted.iter().rfind(|(other, ..)| other == key).map(|(.., id)| *id);
        assert_eq!(state.unique_holder(name, *key, Time(0)), last, "{key:?} of queue {name}");
    }
    let live = wanted.iter().filter(|(_, until, _)| *until == Time::NEVER).map(|(key, ..)| key);
    let different: BTreeSet<_> = live.clone().collect();
    assert_eq!(live.count(), different.len(), "a unique key of queue {name} is held twice");
}

fn check_beside_jobs(state: &State) {
    state.schedules.check();
    state.requests.check();
    state.topics.check();
    state.check_looks();
    check_flow(state);
}

/// Who waits for what is what the jobs say, and so is how many of a group are left to run.
fn check_flow(state: &State) {
    let all = || state.iter(IdRange::new(JobId(0), u64::MAX));
    for (_, job) in all() {
        assert_eq!(job.waits_for().is_some(), job.kind() == StateKind::Waiting, "{job:?} waits");
    }
    state.waiters.check(all(), |target| TargetState::of(target, &state.jobs, &state.groups));
    state.groups.check();
    let mut live: BTreeMap<GroupNo, u64> = BTreeMap::new();
    for (range, job) in all().filter(|(_, job)| !job.kind().is_final()) {
        if let Some(group) = job.spec.group {
            *live.entry(group).or_default() += range.len;
        }
    }
    for (no, group) in state.groups.iter() {
        assert_eq!(
            group.counts.live,
            live.remove(&no).unwrap_or(0),
            "jobs of group {} that are left",
            group.name
        );
    }
}

/// What waits is counted, jobs and bytes, of each queue and in all.
fn check_load(state: &State) {
    let mut load: HashMap<&QueueName, (u64, u64)> = HashMap::new();
    for (range, job) in state.iter(IdRange::new(JobId(0), u64::MAX)).filter(|(_, job)| job.kind().waits()) {
        let (jobs, bytes) = load.entry(&job.spec.queue).or_default();
        (*jobs, *bytes) = (*jobs + range.len, *bytes + range.len * job.size().bytes());
    }
    let all = load.values().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    assert_eq!((state.waiting(), state.waiting_bytes()), all, "what waits in all");
    for (name, queue) in state.queues() {
        let counted = (queue.counts().waiting(), queue.waiting_bytes());
        assert_eq!(counted, load.remove(name).unwrap_or_default(), "what waits in queue {name}");
    }
}

/// The index by priority, where there is one, has all jobs that wait.
fn check_by_priority(
    name: &QueueName,
    queue: &Queue,
    waiting: &BTreeMap<QueueName, BTreeSet<(Priority, JobId)>>,
) {
    let Some(index) = queue.by_priority() else { return };
    let mut found = BTreeSet::new();
    for (priority, ids) in index {
        assert!(!ids.is_empty(), "queue {name} keeps an empty priority");
        let ids = ids.ranges().flat_map(|(first, len)| IdRange::new(JobId(first), len).iter());
        found.extend(ids.map(|id| (*priority, id)));
    }
    let waiting = waiting.get(name).cloned().unwrap_or_default();
    assert_eq!(found, waiting, "those that wait in queue {name} by priority");
}

/// So has the one of those that can be kicked, and those that are urgent are counted; paused queues are known.
fn check_kickable(state: &State, name: &QueueName, queue: &Queue) {
    let jobs = || state.iter(IdRange::new(JobId(0), u64::MAX)).filter(|(_, job)| job.spec.queue == *name);
    if let Some(found) = queue.kickable() {
        let mut wanted = Kickable::default();
        jobs().for_each(|(range, job)| wanted.enter(range, job));
        assert_eq!(*found, wanted, "those of queue {name} that can be kicked");
    }
    let urgent = jobs().filter(|(_, job)| job.kind() == StateKind::Ready && job.spec.priority < URGENT);
    assert_eq!(
        queue.urgent(),
        urgent.map(|(range, _)| range.len).sum::<u64>(),
        "urgent ones of queue {name}"
    );
    let ends = queue.paused_until().filter(|until| *until != Time::NEVER);
    let known = state.pauses.iter().filter(|(_, paused)| paused == name).map(|(until, _)| *until);
    assert_eq!(known.collect::<Vec<_>>(), Vec::from_iter(ends), "until when queue {name} is paused");
}

/// A ready job: its queue, key and priority, and when it was tried if it has come back.
type Listed = BTreeSet<(QueueName, Option<Key>, Priority, JobId, Option<Time>)>;

/// Takes what is leased of a queue's keys out of `leased`, and adds what is ready to `listed`.
fn check_lanes(
    name: &QueueName,
    lanes: &Lanes,
    leased: &mut BTreeMap<(QueueName, Key), u64>,
    listed: &mut Listed,
) {
    assert!(!lanes.is_empty(), "queue {name} keeps empty lanes");
    lanes.check();
    let (ready, counted) = lanes.parts();
    for (key, priority, range, tried) in ready {
        let returned = (tried != Time::NEVER).then_some(tried);
        listed.extend(range.iter().map(|id| (name.clone(), Some(key), priority, id, returned)));
    }
    let of_queue = leased.extract_if(.., |(queue, _), _| queue == name);
    let found: BTreeMap<Key, u64> = of_queue.map(|((_, key), count)| (key, count)).collect();
    let counted: BTreeMap<Key, u64> = counted.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, found, "leased in {name}");
}

fn each<K: Ord + Copy>(keyed: &Keyed<K>) -> BTreeSet<(K, JobId)> {
    keyed.iter().flat_map(|(key, range)| range.iter().map(move |id| (key, id))).collect()
}
