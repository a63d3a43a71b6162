//! Which shards a request concerns, and what of it. It decides by names and ids alone.

use super::merge::Merge;
use crate::protocol::admin::{AdminRequest, WaitForGroups};
use crate::protocol::{AfterWhat, Claim, ErrorCode, Fault, JobOptions, LeaseRef, Request, SubmitGroup, Ties};
use crate::shards::{Shards, namespace};
use std::collections::BTreeMap;

/// Where a request goes.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    /// As it is, to one shard.
    One(usize),
    /// Something to each of these shards; their answers are made one.
    Divided(Vec<(usize, Request)>, Merge),
    /// The same, whose answers go on, and are passed on as they come.
    Joined(Vec<(usize, Request)>),
    /// A claim on queues of several shards, in the order in which they are looked at.
    Claim(Vec<(usize, Vec<String>)>, Claim),
    /// A list of jobs of all shards, one after the other.
    List,
    /// Who a worker is: for all shards that it comes to.
    TakeUp,
    /// That it leaves: to those that it has come to.
    Leave,
    /// An answer is wanted at once.
    Unwait(u32),
}

/// Finds it.
///
/// # Errors
/// It reaches over what is not one step, or names a job that cannot be.
pub(super) fn route(shards: Shards, request: &Request) -> Result<Route, Fault> {
    let route = Finder { shards };
    match request {
        Request::Hello { .. } => Err(fault(ErrorCode::Malformed, "the greeting comes once, and first")),
        Request::Submit(groups)
        | Request::SubmitOnce { groups, .. }
        | Request::SubmitAndWait { groups, .. } => Ok(Route::One(route.submit(groups, None)?)),
        Request::CompleteAndSubmit { lease, groups, .. } => {
            Ok(Route::One(route.submit(groups, Some(route.job(lease.id)?))?))
        }
        Request::Claim(claim) => Ok(route.claim(claim)),
        Request::Settle(settles) => {
            Ok(route.divide(settles, |settle| settle.lease.id, Request::Settle, Merge::Settled))
        }
        Request::Extend { leases, lease_ms } => {
            let of = |leases| Request::Extend { leases, lease_ms: *lease_ms };
            Ok(route.divide(leases, |lease| lease.id, of, Merge::Extended))
        }
        Request::Output { lease, .. }
        | Request::Progress { lease, .. }
        | Request::Checkpoint { lease, .. } => Ok(Route::One(route.job(lease.id)?)),
        Request::Body { id }
        | Request::Beside { id, .. }
        | Request::Signal { id, .. }
        | Request::ReplaceBody { id, .. }
        | Request::Logs { id, .. } => Ok(Route::One(route.job(*id)?)),
        Request::Changes { queue, job } => match (queue, job) {
            (_, Some(id)) => Ok(Route::One(route.job(*id)?)),
            (Some(queue), None) => Ok(Route::One(shards.of_name(queue))),
            (None, None) => Ok(Route::Joined(route.each(request))),
        },
        Request::TakeUp { .. } => Ok(Route::TakeUp),
        Request::Leave => Ok(Route::Leave),
        Request::Unwait { request } => Ok(Route::Unwait(*request)),
        Request::Backup { shard } => route.backup(*shard),
        Request::Admin(admin) => route.admin(admin, request),
    }
}

fn fault(code: ErrorCode, message: impl Into<String>) -> Fault {
    Fault { code, message: message.into() }
}

struct Finder {
    shards: Shards,
}

impl Finder {
    fn job(&self, id: u64) -> Result<usize, Fault> {
        self.shards.of_job(id).ok_or_else(|| {
            fault(ErrorCode::NotFound, format!("job {id} not found: no job of this cluster has such an id"))
        })
    }

    /// The same request for all.
    fn each(&self, request: &Request) -> Vec<(usize, Request)> {
        (0..self.shards.count()).map(|shard| (shard, request.clone())).collect()
    }

    fn all(&self, request: &Request, merge: Merge) -> Route {
        Route::Divided(self.each(request), merge)
    }

    fn backup(&self, shard: Option<u32>) -> Result<Route, Fault> {
        let count = self.shards.count();
        match shard.map(|shard| shard as usize) {
            // It is asked for all that it has: of shards it knows nothing.
            Some(shard) if shard < count => Ok(Route::Joined(vec![(shard, Request::Backup { shard: None })])),
            _ => {
                let message = format!(
                    "this cluster has {count} shards, and a backup is of one of them: say which, from 0 to {}",
                    count - 1
                );
                Err(fault(ErrorCode::Invalid, message))
            }
        }
    }

    /// All or nothing is taken: so all of it must be of one namespace.
    fn submit(&self, groups: &[SubmitGroup], completes: Option<usize>) -> Result<usize, Fault> {
        let Some(first) = groups.first() else { return Ok(completes.unwrap_or(0)) };
        let first = &first.options.queue;
        let shard = self.shards.of_name(first);
        for SubmitGroup { options: JobOptions { queue, ties, .. }, .. } in groups {
            self.same_namespace(first, "queue", queue)?;
            let Some(Ties { after, group, .. }) = ties else { continue };
            if let Some(group) = group {
                self.same_namespace(first, "group", group)?;
            }
            for after in after {
                match &after.on {
                    AfterWhat::Group(group) => self.same_namespace(first, "group", group)?,
                    AfterWhat::Job(id) => self.same_shard(first, shard, self.job(*id)?, *id)?,
                    AfterWhat::Place(_) => {}
                }
            }
        }
        if let Some(completes) = completes.filter(|completes| *completes != shard) {
            let message = format!(
                "the job that is completed is in shard {completes}, and `{first}` in shard {shard}: both are done in one step only \
                 within a namespace; complete and submit one after the other"
            );
            return Err(fault(ErrorCode::Invalid, message));
        }
        Ok(shard)
    }

    fn same_namespace(&self, first: &str, what: &str, name: &str) -> Result<(), Fault> {
        let own = namespace(first);
        if namespace(name) == own {
            return Ok(());
        }
        let message = format!(
            "{what} `{name}` is not in the namespace `{own}` of queue `{first}`: this cluster has {} shards, and what is done in one \
             step is in one namespace, which is what stands before the first `/` of a name; call it `{own}/{name}`, or send two \
             requests",
            self.shards.count()
        );
        Err(fault(ErrorCode::Invalid, message))
    }

    fn same_shard(&self, first: &str, shard: usize, other: usize, id: u64) -> Result<(), Fault> {
        if shard == other {
            return Ok(());
        }
        let message = format!(
            "job {id} is in shard {other}, and queue `{first}` in shard {shard}: jobs wait only for those of their own namespace"
        );
        Err(fault(ErrorCode::Invalid, message))
    }

    fn claim(&self, claim: &Claim) -> Route {
        let mut parts: Vec<(usize, Vec<String>)> = Vec::new();
        for queue in &claim.queues {
            let shard = self.shards.of_name(queue);
            match parts.iter_mut().find(|(known, _)| *known == shard) {
                Some((_, queues)) => queues.push(queue.clone()),
                None => parts.push((shard, vec![queue.clone()])),
            }
        }
        match &parts[..] {
            [] => Route::One(0),
            [(shard, _)] => Route::One(*shard),
            _ => Route::Claim(parts, claim.clone()),
        }
    }

    /// To each shard what is its own.
    fn divide<T: Clone>(
        &self,
        all: &[T],
        id: impl Fn(&T) -> u64,
        request: impl Fn(Vec<T>) -> Request,
        merge: impl Fn(Vec<Vec<usize>>) -> Merge,
    ) -> Route {
        // One that cannot be is nobody's: any shard says so.
        divided(by_shard(all, |one| self.shards.of_job(id(one)).unwrap_or(0)), request, merge)
    }

    fn admin(&self, admin: &AdminRequest, request: &Request) -> Result<Route, Fault> {
        use AdminRequest as A;
        let of_name = |name: &str| Ok(Route::One(self.shards.of_name(name)));
        let all = |merge| Ok(self.all(request, merge));
        match admin {
            A::Status {} => all(Merge::Status),
            A::Metrics { shards: only, .. } => {
                let wanted = |shard: &usize| only.is_empty() || only.contains(&(*shard as u32));
                let parts = (0..self.shards.count()).filter(wanted).map(|shard| (shard, request.clone()));
                Ok(Route::Divided(parts.collect(), Merge::Metrics))
            }
            A::Stats { queue: Some(queue), .. } => of_name(queue),
            A::Stats { .. } => all(Merge::Stats),
            A::LogLevel { .. } => all(Merge::First),
            A::Queues {} => all(Merge::ByName("queue")),
            A::List(query) => match &query.queue {
                Some(queue) => of_name(queue),
                None => Ok(Route::List),
            },
            A::Show { id } | A::Explain { id } => Ok(Route::One(self.job(*id)?)),
            A::Wait { ids, timeout_ms } => {
                let of = |ids| Request::Admin(A::Wait { ids, timeout_ms: *timeout_ms });
                Ok(self.divide(ids, |id| *id, of, Merge::Places))
            }
            A::WaitForGroups(wait) => {
                let parts = by_shard(&wait.groups, |name| self.shards.of_name(name));
                let of = |groups| Request::Admin(A::WaitForGroups(WaitForGroups { groups, ..wait.clone() }));
                Ok(divided(parts, of, Merge::Places))
            }
            A::Edit { edit, ids, state, queue, to, priority } => {
                let (state, queue, to) = (state.clone(), queue.clone(), to.clone());
                if let Some(to) = &to {
                    self.moves(ids, to)?;
                }
                let of = |ids| {
                    let (edit, state, queue, to) = (edit.clone(), state.clone(), queue.clone(), to.clone());
                    Request::Admin(A::Edit { edit, ids, state, queue, to, priority: *priority })
                };
                Ok(self.divide(ids, |id| *id, of, Merge::Places))
            }
            A::Pause { queue, .. }
            | A::Resume { queue }
            | A::ResetCircuit { queue }
            | A::DeleteQueue { queue }
            | A::QueueSet { queue, .. }
            | A::QueueShow { queue }
            | A::Purge { queue } => of_name(queue),
            A::Drain {} | A::Undrain {} => all(Merge::Drain),
            A::Hold { queues, error, retry_ms } => {
                let parts = by_shard(queues, |name| self.shards.of_name(name));
                let of =
                    |queues| Request::Admin(A::Hold { queues, error: error.clone(), retry_ms: *retry_ms });
                Ok(divided(parts, of, |_| Merge::Ok))
            }
            A::ScheduleAdd(add) => {
                self.same_namespace(&add.queue, "schedule", &add.name)?;
                of_name(&add.queue)
            }
            A::Schedules {} => all(Merge::ByName("name")),
            // One of the configuration may be called as it likes, and is where its queue is.
            A::ScheduleShow { .. }
            | A::ScheduleNext { .. }
            | A::ScheduleTrigger { .. }
            | A::SchedulePause { .. }
            | A::ScheduleResume { .. }
            | A::ScheduleRemove { .. } => all(Merge::WhoeverHas),
            A::Topics {} => all(Merge::ByName("topic")),
            A::TopicBind { topic, queues } | A::TopicUnbind { topic, queues } => {
                if namespace(topic).contains('*') {
                    let message = format!(
                        "`{topic}` is of no one namespace: this cluster has {} shards, and a topic is in the one of what stands before \
                         its first `/`, where no `*` may be",
                        self.shards.count()
                    );
                    return Err(fault(ErrorCode::Invalid, message));
                }
                queues.iter().try_for_each(|queue| self.same_namespace(topic, "queue", queue))?;
                of_name(topic)
            }
            A::Groups {} => all(Merge::ByTime("made_at")),
            A::GroupShow { name } | A::GroupSeal { name } | A::GroupDelete { name } => of_name(name),
            // Only a pool may ask, and that is at its shard.
            A::Handlers {} => Ok(Route::One(0)),
        }
    }

    fn moves(&self, ids: &[u64], to: &str) -> Result<(), Fault> {
        let shard = self.shards.of_name(to);
        for id in ids {
            // One that cannot be is refused by itself.
            if let Some(own) = self.shards.of_job(*id).filter(|own| *own != shard) {
                let message = format!(
                    "job {id} is in shard {own}, and `{to}` in shard {shard}: jobs move only within their namespace"
                );
                return Err(fault(ErrorCode::Invalid, message));
            }
        }
        Ok(())
    }
}

/// What of these is each shard's, and where it stands among all.
pub(super) type Parts<T> = BTreeMap<usize, (Vec<T>, Vec<usize>)>;

fn by_shard<T: Clone>(all: &[T], shard: impl Fn(&T) -> usize) -> Parts<T> {
    let mut parts = Parts::new();
    for (place, one) in all.iter().enumerate() {
        let (own, places) = parts.entry(shard(one)).or_default();
        own.push(one.clone());
        places.push(place);
    }
    parts
}

/// To each shard what is its own; where that is one, the request as it is.
fn divided<T>(
    parts: Parts<T>,
    request: impl Fn(Vec<T>) -> Request,
    merge: impl Fn(Vec<Vec<usize>>) -> Merge,
) -> Route {
    if parts.len() <= 1 {
        return Route::One(parts.into_keys().next().unwrap_or(0));
    }
    let (parts, places): (Vec<_>, Vec<_>) =
        parts.into_iter().map(|(shard, (own, places))| ((shard, request(own)), places)).unzip();
    Route::Divided(parts, merge(places))
}

/// What of a worker's leases is each shard's.
pub(super) fn leases(shards: Shards, all: &[LeaseRef]) -> Parts<LeaseRef> {
    by_shard(all, |lease| shards.of_job(lease.id).unwrap_or(0))
}
