//! The requests about what is stored beside jobs: limits and rights are checked here, and the engine is called.

use super::fault::{Fault, Kind};
use super::hub::Hub;
use super::requests::{RequestContext, not_found, settle as settle_plain};
use crate::core::{BadSignalName, Beside, Edit, JobId, LeaseId, SignalName, Verdict, Visibility};
use crate::store::Store;
use bytes::Bytes;
use std::time::Duration;

/// Stores a checkpoint of a leased job, and lets its lease last longer.
pub(crate) fn checkpoint<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    lease: LeaseId,
    (checkpoint, extend): (Bytes, Option<Duration>),
) -> Result<(), Fault> {
    check_size(hub, Beside::Checkpoint, checkpoint.len())?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    permissions.work(&engine.core().state, std::iter::once(lease.id))?;
    let sees = |spec: &_| permissions.works(spec);
    engine.checkpoint(context.origin, lease, (checkpoint, extend), Visibility::of(&sees), context.now);
    Ok(())
}

/// A signal comes for a job: from its workers, or from whoever may run it again.
pub(crate) fn signal<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
    (name, body): (&str, Bytes),
) -> Result<(), Fault> {
    check_size(hub, Beside::Signals, body.len())?;
    let name =
        SignalName::new(name).map_err(|error: BadSignalName| Fault::new(Kind::Invalid, error.to_string()))?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    let works = engine.core().state.spec_of(id).is_some_and(|spec| permissions.works(spec));
    if !works {
        permissions.edit(&engine.core().state, std::iter::once(id), &Edit::Kick)?;
    }
    let sees = |spec: &_| permissions.works(spec) || permissions.reads(spec);
    engine.signal(context.origin, id, (name, body), Visibility::of(&sees), context.now);
    Ok(())
}

/// Ends leases, some of them with results: by their place in the list, in its order. One that is too long is refused with all
/// of them.
pub(crate) fn settle<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    items: Vec<(LeaseId, Verdict)>,
    results: Vec<(usize, Bytes)>,
) -> Result<(), Fault> {
    if results.is_empty() {
        return settle_plain(hub, context, items);
    }
    hub.check_batch(items.len())?;
    results.iter().try_for_each(|(_, result)| check_size(hub, Beside::Result, result.len()))?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    permissions.work(&engine.core().state, items.iter().map(|(lease, _)| lease.id))?;
    let sees = |spec: &_| permissions.works(spec);
    engine.settle_with_results(context.origin, items, results, Visibility::of(&sees), context.now);
    Ok(())
}

/// Reads what a job has beside it, for whoever may read its body.
pub(crate) fn read<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
    what: Beside,
) -> Result<(), Fault> {
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    if permissions.hides(&engine.core().state, id) {
        return Err(not_found(id));
    }
    engine.beside(context.origin, id, what);
    Ok(())
}

fn check_size<S: Store + 'static>(hub: &Hub<S>, what: Beside, len: usize) -> Result<(), Fault> {
    let limits = hub.service.borrow().limits;
    let (name, key, max) = match what {
        Beside::Checkpoint => ("checkpoint", "limits.checkpoint", limits.checkpoint),
        Beside::Result => ("result", "limits.result", limits.result),
        Beside::Signals => ("signal", "limits.signal", limits.signal),
    };
    if len <= max {
        return Ok(());
    }
    let message = format!(
        "a {name} of {len} bytes: at most {max} are allowed ({key} in the daemon's configuration); keep large things in \
         files, and their names in the {name}"
    );
    Err(Fault::new(Kind::TooLarge, message))
}
