//! Jobs that wait for others, in a queue of their own: chains, fans, and groups, each job of which is to be done before what waits
//! for it. None is handed out before all that it waits for was to be completed; and once that was told done, it does not wait any
//! more, whatever has died.

use crate::clients::{Asked, Clients};
use crate::oracle::Oracle;
use crate::queues::named;
use crate::stage::Life;
use bytes::Bytes;
use fastrand::Rng;
use musher::core::{
    After, AfterWhat, Claim, ClaimOrder, Condition, Group, GroupName, Groups, Holder, IdRange, JobId,
    LeaseId, QueueName, QueueSettings, Spec, State, StateKind, Ties, Verdict, Visibility,
};
use musher::engine::{Claimed, Contents};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// At most so many of them.
const JOBS_MAX: usize = 60;

pub(crate) fn tied() -> QueueName {
    named("tied")
}

/// None of them ends but by being completed.
pub(crate) fn with_ties(settings: QueueSettings) -> QueueSettings {
    QueueSettings { crashes: u32::MAX, later_max: u32::MAX, ..settings }
}

/// What was told of them.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// The jobs that are not told done, with all that each waits for.
    open: BTreeMap<JobId, Vec<JobId>>,
    /// Those that were to be completed, and those of which it was told.
    asked: BTreeSet<JobId>,
    done: BTreeSet<JobId>,
    leases: Vec<LeaseId>,
    groups: u64,
}

/// A submit, job by job: by their places in it those that each waits for, and jobs that were there.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    jobs: Vec<(Vec<usize>, Vec<JobId>)>,
}

impl Flows {
    pub(crate) fn submitted(&mut self, graph: Graph, ids: IdRange) {
        for (id, (places, others)) in ids.iter().zip(graph.jobs) {
            let places = places.into_iter().map(|place| ids.first.plus(place as u64));
            self.open.insert(id, places.chain(others).collect());
        }
    }

    pub(crate) fn claimed(&mut self, jobs: &[Claimed]) {
        for Claimed { grant, .. } in jobs {
            let waits = self.open.get(&grant.id).map(Vec::as_slice).unwrap_or_default();
            let open = waits.iter().find(|id| !self.asked.contains(id));
            assert!(open.is_none(), "job {} is handed out, and waits for {open:?}", grant.id);
            assert!(!self.done.contains(&grant.id), "job {} was told done, and is handed out", grant.id);
            self.leases.push(LeaseId { id: grant.id, attempt: grant.attempt });
        }
    }

    pub(crate) fn completed(&mut self, lease: LeaseId, is_done: bool) {
        if is_done {
            self.done.insert(lease.id);
            self.open.remove(&lease.id);
        }
    }

    /// Whatever was told holds in this state, if nobody waits for an answer or the daemon has just started.
    pub(crate) fn check(&self, state: &State) {
        for (id, waits) in self.open.iter().filter(|(id, _)| !self.asked.contains(id)) {
            let Some(job) = state.job(*id) else { panic!("job {id} is lost") };
            let is_waiting = job.kind() == StateKind::Waiting;
            let may_go_on = waits.iter().all(|id| self.asked.contains(id));
            assert!(is_waiting || may_go_on, "job {id} is {}, and waits for {waits:?}", job.kind());
            let must_go_on = waits.iter().all(|id| self.done.contains(id));
            // They are told within the same commit, and few of them.
            assert!(!is_waiting || !must_go_on, "job {id} waits for {waits:?}, which are done");
        }
    }
}

impl Clients {
    /// Submits, claims or completes some of them.
    pub(crate) fn play_flows(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        match rng.u32(..4) {
            0 if oracle.flows.open.len() < JOBS_MAX => self.submit_flow(rng, oracle, life),
            0 | 1 => {
                let (lease, holder) = (Some(Duration::from_secs(rng.u64(1..100))), Holder::Anyone);
                let claim = Claim {
                    queues: vec![tied()],
                    max: 1 + rng.u32(..3),
                    lease,
                    holder,
                    worker: None,
                    order: ClaimOrder::AsNamed,
                };
                let origin = self.ask(rng, Asked::FlowClaim);
                life.engine.claim(origin, claim, life.now, life.now);
            }
            _ if oracle.flows.leases.is_empty() => {}
            _ => {
                let lease = oracle.flows.leases.swap_remove(rng.usize(..oracle.flows.leases.len()));
                let is_over = rng.u32(..4) > 0;
                if is_over {
                    oracle.flows.asked.insert(lease.id);
                }
                let delay = Duration::from_millis(rng.u64(..2) * 500);
                let verdict = if is_over { Verdict::Complete } else { Verdict::Release { delay } };
                let asked = if is_over { Asked::FlowSettle(lease) } else { Asked::Other };
                let origin = self.ask(rng, asked);
                life.engine.settle(origin, vec![(lease, verdict)], Visibility::ALL, life.now);
            }
        }
    }

    fn submit_flow(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let (mut graph, mut groups, mut contents) = (Graph::default(), Groups::new(), Contents::default());
        let flows = &mut oracle.flows;
        flows.groups += 1;
        let name = GroupName::new(&format!("flow-{}", flows.groups)).expect("it is a name");
        let (has_group, mut members) = (rng.bool(), Vec::new());
        for place in 0..1 + rng.usize(..5) {
            let is_last = has_group && place > 0 && rng.bool();
            let (mut after, mut places, mut others) = (Vec::new(), Vec::new(), Vec::new());
            let when = Condition::Done;
            for before in (0..place).filter(|_| rng.u32(..3) == 0) {
                places.push(before);
                after.push(After { on: AfterWhat::Place(before as u32), when });
            }
            if let Some(id) = flows.open.keys().nth(rng.usize(..JOBS_MAX)) {
                others.push(*id);
                after.push(After { on: AfterWhat::Job(*id), when });
            }
            let mut ties = Ties { after, ..Ties::default() };
            if is_last {
                // It waits for those that are in the group when it is sealed, with this submit: also later ones.
                ties.after.push(After { on: AfterWhat::Group(name.clone()), when });
                members.push(place);
            } else if has_group {
                (ties.group, ties.seals) = (Some(name.clone()), true);
            }
            graph.jobs.push((places, others));
            let spec = Spec::plain(tied());
            groups.push(Group { ties: Some(ties.into()), ..Group::new(spec, 1) });
            contents.add(None, [Bytes::from_static(b"tied")]);
        }
        for waiting in &members {
            let others = (0..graph.jobs.len()).filter(|place| !members.contains(place));
            let others: Vec<usize> = others.collect();
            graph.jobs[*waiting].0.extend(others);
        }
        // Two may not wait for each other: one of the group for the other, and that for the group.
        let waits_back = |place: &usize| graph.jobs[*place].0.iter().any(|on| members.contains(on));
        if (0..graph.jobs.len()).filter(|place| !members.contains(place)).any(|place| waits_back(&place)) {
            return;
        }
        let origin = self.ask(rng, Asked::Flow(graph));
        life.submit(origin, groups, contents);
    }
}
