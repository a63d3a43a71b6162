//! Long random sequences with jobs that wait and groups. A plain account keeps what each job was to wait for, sees how jobs
//! that do not wait go on, and says from that alone what must have become of those that do; and it counts the groups by
//! going through all jobs.

use super::super::locality::fold_and_check;
use super::super::world::{World, name, secs, view};
use crate::core::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const GROUPS: [&str; 3] = ["a", "b", "c"];

/// What a job was submitted with, and how it is.
#[derive(Clone, Debug)]
struct Entry {
    ties: Ties,
    /// Where it is; `None` once nothing is known of it.
    kind: Option<StateKind>,
    /// How it ended, if it ended before it was forgotten.
    end: Option<StateKind>,
    /// What it waits for still, and whether that was told to be lost.
    edges: Vec<(AfterWhat, Condition)>,
}

#[derive(Default)]
struct Account {
    jobs: BTreeMap<u64, Entry>,
    sealed: Vec<GroupName>,
}

/// How a target ended: well, with a failure, at all. `None` while it may still end.
type End = Option<(bool, bool, bool)>;

impl Account {
    fn end_of_job(&self, id: JobId) -> End {
        let entry = self.jobs.get(&id.0)?;
        match (entry.kind, entry.end) {
            (_, Some(end)) => {
                let failed = matches!(end, StateKind::Dead | StateKind::Expired);
                Some((end == StateKind::Done, failed, true))
            }
            (None, None) => Some((false, false, false)),
            (Some(_), None) => None,
        }
    }

    fn end_of(&self, what: &AfterWhat) -> End {
        match what {
            AfterWhat::Job(id) => self.end_of_job(*id),
            AfterWhat::Place(_) => unreachable!("places are jobs here"),
            AfterWhat::Group(name) => {
                let members = self.jobs.iter().filter(|(_, entry)| entry.ties.group.as_ref() == Some(name));
                let ends: Option<Vec<_>> = members.map(|(id, _)| self.end_of_job(JobId(*id))).collect();
                let ends = ends.filter(|_| self.sealed.contains(name))?;
                Some((ends.iter().all(|(well, ..)| *well), ends.iter().any(|(_, failed, _)| *failed), true))
            }
        }
    }

    /// Takes over how jobs are that did not wait, or do not any more by hand; and says how those must be that wait.
    fn go_on(&mut self, world: &World, by_hand: &[u64]) {
        for (id, entry) in &mut self.jobs {
            if entry.kind != Some(StateKind::Waiting) || by_hand.contains(id) {
                let now = world.kind(*id);
                if let Some(kind) = now {
                    entry.end = kind.is_final().then_some(kind);
                } else if entry.end.is_none() && entry.kind.is_some() {
                    entry.end = world.core.state.recent_end(JobId(*id)).map(|end| end.kind);
                }
                entry.kind = now;
                if now != Some(StateKind::Waiting) {
                    entry.edges.clear();
                }
            }
        }
        let ids: Vec<u64> = self.jobs.keys().copied().collect();
        while ids.iter().any(|id| self.step(*id)) {}
    }

    /// One job that waits goes a step on, if it can. Those that are not held any more are `Ready` here, due or not.
    fn step(&mut self, id: u64) -> bool {
        let entry = &self.jobs[&id];
        if entry.kind != Some(StateKind::Waiting) {
            return false;
        }
        let ends: Vec<(usize, End, Condition)> =
            entry.edges.iter().enumerate().map(|(n, (on, when))| (n, self.end_of(on), *when)).collect();
        let meets = |(well, failed, ended): (bool, bool, bool), when| match when {
            Condition::Done => well,
            Condition::Ended => ended,
            Condition::Failed => failed,
        };
        let over = ends.iter().filter_map(|(n, end, when)| Some((*n, meets((*end)?, *when))));
        let over: Vec<(usize, bool)> = over.collect();
        let on_unmet = entry.ties.on_unmet;
        let entry = self.jobs.get_mut(&id).expect("it is there");
        if on_unmet == OnUnmet::Cancel && over.iter().any(|(_, met)| !met) {
            (entry.kind, entry.end) = (Some(StateKind::Cancelled), Some(StateKind::Cancelled));
            return true;
        }
        let before = entry.edges.len();
        let goes = |n: &usize| {
            over.contains(&(*n, true)) || (on_unmet == OnUnmet::Run && over.contains(&(*n, false)))
        };
        let mut n = 0;
        entry.edges.retain(|_| {
            n += 1;
            !goes(&(n - 1))
        });
        if entry.edges.is_empty() {
            entry.kind = Some(StateKind::Ready);
        }
        entry.edges.len() < before
    }

    fn compare(&mut self, world: &World) {
        for (id, entry) in &mut self.jobs {
            let kind = world.kind(*id);
            let is_same = match (entry.kind, kind) {
                // Not due yet, or expired as soon as it could have run.
                (Some(StateKind::Ready), Some(StateKind::Scheduled | StateKind::Expired)) => true,
                // Not kept.
                (Some(StateKind::Cancelled), None) => true,
                (wanted, found) => wanted == found,
            };
            assert!(is_same, "job {id} is {kind:?}: {entry:?}");
            entry.kind = kind;
        }
        for (_, group) in world.core.state.groups().iter() {
            let members = self.jobs.values().filter(|entry| entry.ties.group.as_ref() == Some(&group.name));
            let mut counts = GroupCounts::default();
            for entry in members {
                match (entry.kind.filter(|kind| !kind.is_final()), entry.end) {
                    (Some(_), _) => counts.live += 1,
                    (None, Some(StateKind::Done)) => counts.done += 1,
                    (None, Some(StateKind::Dead)) => counts.dead += 1,
                    (None, Some(StateKind::Cancelled)) => counts.cancelled += 1,
                    (None, Some(StateKind::Expired)) => counts.expired += 1,
                    (None, _) => counts.gone += 1,
                }
            }
            assert_eq!(group.counts, counts, "group {}", group.name);
        }
    }
}

/// What jobs wait for by numbers and conditions, and otherwise; their group, how many, whether they seal it.
type Wanted = (Vec<(u64, u8)>, OnUnmet, Option<u8>, u64, bool);

#[derive(Clone, Debug)]
enum Step {
    /// Jobs with ties to jobs by number, and how many.
    Submit(Vec<Wanted>),
    Claim(u32),
    Settle(usize, u8),
    Edit(u8, u64),
    Seal(u8),
    Keep(bool),
    Restart,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let on_unmet = prop::sample::select(vec![OnUnmet::Cancel, OnUnmet::Run, OnUnmet::Hold]);
    let edges = prop::collection::vec((0..16u64, 0..3u8), 0..3);
    let one = (edges, on_unmet, prop::option::weighted(0.4, 0..3u8), 1..4u64, prop::bool::weighted(0.2));
    prop_oneof![
        4 => prop::collection::vec(one, 1..4).prop_map(Step::Submit),
        3 => (1..4u32).prop_map(Step::Claim),
        5 => (0..6usize, 0..5u8).prop_map(|(n, how)| Step::Settle(n, how)),
        3 => (0..5u8, 0..40u64).prop_map(|(how, id)| Step::Edit(how, id)),
        2 => (0..3u8).prop_map(Step::Seal),
        1 => any::<bool>().prop_map(Step::Keep),
        1 => Just(Step::Restart),
        1 => Just(Step::Wait),
    ]
}

/// A number of a submit's edges: a group, or a job that is there, counted from the last one.
fn on(world: &World, account: &Account, number: u64) -> Option<AfterWhat> {
    if let Some(group) = GROUPS.get(number as usize) {
        return Some(AfterWhat::Group(GroupName::new(group).unwrap()));
    }
    let id = account.jobs.keys().rev().nth(number as usize - GROUPS.len())?;
    let known = world.kind(*id).is_some() || world.core.state.recent_end(JobId(*id)).is_some();
    known.then_some(AfterWhat::Job(JobId(*id)))
}

fn ties(world: &World, account: &Account, edges: &[(u64, u8)], on_unmet: OnUnmet, group: Option<u8>) -> Ties {
    let group = group.map(|n| GroupName::new(GROUPS[n as usize]).unwrap());
    let group = group.filter(|name| !account.sealed.contains(name));
    let conditions = [Condition::Done, Condition::Ended, Condition::Failed];
    let after = edges.iter().filter_map(|(number, when)| {
        let on = on(world, account, *number)?;
        // Groups wait for groups of later letters only, so that no two wait for each other for ever.
        let is_later = |name: &GroupName| group.as_ref().is_none_or(|own| own < name);
        let fine = !matches!(&on, AfterWhat::Group(name) if !is_later(name));
        fine.then_some(After { on, when: conditions[*when as usize] })
    });
    Ties { after: after.collect(), on_unmet, group, seals: false }
}

fn run(world: &mut World, account: &mut Account, command: Command, by_hand: &[u64]) -> Outcome {
    let state = world.core.state.clone();
    let outcome = world.run(command.clone()).unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let folded = fold_and_check(state, world.fresh());
    assert_eq!(view(&folded), view(&world.core.state), "what was decided is the fold of its events");
    if let (Outcome::Submitted(ids), Command::Submit { groups }) = (&outcome, &command) {
        let mut id = ids.first.0;
        for group in groups {
            for _ in 0..group.count {
                let ties = (**group.ties.as_ref().expect("all have some")).clone();
                if ties.seals {
                    account.sealed.extend(ties.group.clone());
                }
                let edges: Vec<_> = ties.after.iter().map(|after| (after.on.clone(), after.when)).collect();
                let kind = if edges.is_empty() { StateKind::Ready } else { StateKind::Waiting };
                account.jobs.insert(id, Entry { ties, kind: Some(kind), end: None, edges });
                id += 1;
            }
        }
    }
    if let Command::Group { name, .. } = &command {
        account.sealed.push(name.clone());
    }
    account.go_on(world, by_hand);
    account.compare(world);
    outcome
}

fn play(steps: Vec<Step>) {
    let (mut world, mut account, mut leases) = (World::new(), Account::default(), Vec::new());
    world.core.settings.groups_kept = secs(1 << 30);
    for step in steps {
        let (world, account) = (&mut world, &mut account);
        match step {
            Step::Submit(groups) => {
                let mut all = Vec::new();
                for (edges, on_unmet, group, count, seals) in groups {
                    let ties = ties(world, account, &edges, on_unmet, group);
                    // The last one of a submit seals, so that none of it comes too late.
                    let ties = Ties { seals: seals && all.is_empty(), ..ties };
                    let spec = Spec::plain(name("q"));
                    all.push(Group { ties: Some(Arc::new(ties)), ..Group::new(spec, count) });
                }
                run(world, account, Command::Submit { groups: all.into() }, &[]);
            }
            Step::Claim(max) => {
                let (queues, holder) = (vec![name("q")], Holder::Anyone);
                let claim =
                    Claim { queues, max, lease: None, holder, worker: None, order: ClaimOrder::AsNamed };
                let Outcome::Claimed(grants) = run(world, account, Command::Claim(claim), &[]) else {
                    panic!()
                };
                leases.extend(grants.iter().map(|grant| LeaseId { id: grant.id, attempt: grant.attempt }));
            }
            Step::Settle(n, how) if n < leases.len() => {
                let fail = |then| Verdict::Fail { error: "no".into(), exit: None, then };
                let verdict = match how {
                    0 | 1 => Verdict::Complete,
                    2 => fail(Then::Bury),
                    3 => fail(Then::RetryAfter(secs(1))),
                    _ => Verdict::Release { delay: secs(0) },
                };
                let items = vec![(leases.remove(n), verdict)];
                run(world, account, Command::Settle { items }, &[]);
            }
            Step::Edit(how, id) => {
                let edit =
                    [Edit::Cancel, Edit::Retry, Edit::Kick, Edit::Bury, Edit::Delete][how as usize].clone();
                let command = Command::Edit { edit, ids: vec![JobId(id)], only: Only::default() };
                run(world, account, command, &[id]);
            }
            Step::Seal(n) => {
                let name = GroupName::new(GROUPS[n as usize]).unwrap();
                if world.core.state.groups().named(&name).is_some() {
                    let action = GroupAction::Seal;
                    run(world, account, Command::Group { name, action, by: None }, &[]);
                }
            }
            Step::Keep(keeps) => {
                let keep = if keeps { Keep::Forever } else { Keep::No };
                (world.settings().keep_done, world.settings().keep_dead) = (keep, keep);
            }
            Step::Restart => {
                for state in [world.folded(), world.restored()] {
                    assert_eq!(view(&state), view(&world.core.state));
                    check::check(&state);
                    // How those ended that are not kept is not in the rows, but in the log.
                    if account.jobs.values().all(|entry| entry.kind.is_some()) {
                        world.core.state = state;
                    }
                }
            }
            Step::Wait => world.wait(secs(2)),
            Step::Settle(..) => {}
        }
        account.go_on(world, &[]);
        account.compare(world);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 4000, ..ProptestConfig::default() })]
    #[test]
    fn those_that_wait_go_on_as_what_they_wait_for_says(steps in prop::collection::vec(step(), 1..80)) {
        play(steps);
    }
}
