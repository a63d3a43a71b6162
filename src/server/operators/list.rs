//! A page of jobs: which of them somebody asks for, and may see.

use super::commands;
use super::jobs::view;
use crate::core::{IdRange, Job, JobId, QueueName, State, StateKind};
use crate::server::fault::Fault;
use crate::server::hub::Hub;
use crate::server::peer::Peer;
use crate::server::permissions::Permissions;
use crate::server::requests::{queue_name, state_name};
use crate::store::Store;
use crate::views::{JobView, JobsView, ListQuery};

/// The most jobs of one page of a list.
const PAGE_MAX: u32 = 1_000;
/// The most jobs that one list looks at; a filter that finds few goes on with the next page.
const SCAN_MAX: u64 = 20_000;
/// The most jobs of one page that says what commands are.
const COMMANDS_MAX: u32 = 100;
/// A page ends behind the job with which it has read so much of their bodies.
const COMMANDS_BYTES_MAX: usize = 1 << 20;

/// Which jobs a list shows.
struct Filter {
    queue: Option<QueueName>,
    state: Option<StateKind>,
    tags: Vec<(String, String)>,
}

impl Filter {
    fn takes(&self, job: &Job) -> bool {
        let has = |(name, value): &(String, String)| {
            job.spec.tags.iter().any(|(n, v)| **n == **name && **v == **value)
        };
        self.queue.as_ref().is_none_or(|queue| *queue == job.spec.queue)
            && self.state.is_none_or(|state| state == job.state.kind())
            && self.tags.iter().all(has)
    }
}

/// The jobs that somebody asks for and may see.
pub(crate) fn list<S: Store + 'static>(
    hub: &Hub<S>,
    peer: &Peer,
    query: ListQuery,
) -> Result<JobsView, Fault> {
    let ListQuery { queue, state, tags, after, before, newest, commands, limit } = query;
    let queue = queue.as_deref().map(queue_name).transpose()?;
    let filter = Filter { queue, state: state.as_deref().map(state_name).transpose()?, tags };
    let permissions = hub.permissions(peer);
    let limit = limit.clamp(1, if commands { COMMANDS_MAX } else { PAGE_MAX });
    let (found, next) =
        find(hub, &permissions, &filter, after..before.unwrap_or(u64::MAX), newest, limit as usize);
    let mut page = JobsView { jobs: Vec::with_capacity(found.len()), next };
    let mut read = 0;
    for (id, job) in found {
        if read > COMMANDS_BYTES_MAX {
            page.next = page.jobs.last().map(|job| job.id);
            break;
        }
        let (command, length) = if commands { commands::of(hub, id, &job) } else { (None, 0) };
        read += length;
        let command = command.map(commands::cut);
        page.jobs.push(JobView { command, ..view(hub, id, &job) });
    }
    Ok(page)
}

/// The jobs among which those are that fit, by id: as few as can be told without looking at each.
fn runs<'s>(
    state: &'s State,
    filter: &Filter,
    range: IdRange,
) -> Box<dyn DoubleEndedIterator<Item = (IdRange, &'s Job)> + 's> {
    let queue = filter.queue.as_ref().map(|queue| state.queue(queue));
    match (queue, filter.state) {
        (Some(None), _) => Box::new(std::iter::empty()),
        // Ready jobs are in the order in which they are given out.
        (Some(Some(queue)), Some(kind)) if kind != StateKind::Ready => {
            Box::new(queue.in_state_within(kind, range).flat_map(|part| state.iter(part)))
        }
        _ => Box::new(state.iter(range)),
    }
}

/// The jobs with ids inside of the bounds, which are not among them, and where to go on if there may be more.
fn find<S: Store + 'static>(
    hub: &Hub<S>,
    permissions: &Permissions<'_>,
    filter: &Filter,
    bounds: std::ops::Range<u64>,
    newest: bool,
    limit: usize,
) -> (Vec<(JobId, Job)>, Option<u64>) {
    let engine = hub.engine.borrow();
    let state = &engine.core().state;
    let (first, end) = (bounds.start.saturating_add(1), bounds.end.min(state.next_id().0));
    let mut found = Vec::new();
    if first >= end {
        return (found, None);
    }
    let range = IdRange::new(JobId(first), end - first);
    let mut runs = runs(state, filter, range);
    let mut looked_at = 0;
    while let Some((run, job)) = if newest { runs.next_back() } else { runs.next() } {
        looked_at += 1;
        if filter.takes(job) && permissions.reads(&job.spec) {
            let room = (limit - found.len()).min(run.len as usize);
            let nth = |n: usize| if newest { run.end().0 - 1 - n as u64 } else { run.first.0 + n as u64 };
            found.extend((0..room).map(|n| (JobId(nth(n)), job.clone())));
            if found.len() == limit {
                let next = found.last().map(|(id, _)| id.0);
                return (found, next);
            }
        }
        if looked_at == SCAN_MAX {
            return (found, Some(if newest { run.first.0 } else { run.end().0 - 1 }));
        }
    }
    (found, None)
}
