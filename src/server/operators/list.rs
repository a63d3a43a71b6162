//! A page of jobs: those that match the request, and that the caller may see.

use super::commands;
use super::groups::group_name;
use super::jobs::{Written, view};
use crate::core::{GroupNo, IdRange, Job, JobId, Key, QueueName, State, StateKind, Time};
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::peer::Peer;
use crate::server::permissions::Permissions;
use crate::server::requests::{queue_name, state_name};
use crate::server::submit;
use crate::store::{Envelope, Store};
use crate::views::{JobView, JobsView, ListQuery};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The most jobs of one page of a list.
const PAGE_MAX: u32 = 1_000;
/// The most jobs that one list looks at; a filter that finds few goes on with the next page.
const SCAN_MAX: u64 = 20_000;
/// The most jobs whose envelopes are read for a page: about two milliseconds of the loop to find them.
const ENVELOPES_MAX: u64 = 8_000;
/// The most jobs of one page that says what commands are.
const COMMANDS_MAX: u32 = 100;
/// A page ends after the job with which it has read this many bytes of bodies.
const COMMANDS_BYTES_MAX: usize = 1 << 20;

/// Which jobs a list shows.
struct Filter {
    queue: Option<QueueName>,
    state: Option<StateKind>,
    key: Option<Key>,
    group: Option<GroupNo>,
    /// They arrived before this.
    before: Option<Time>,
    /// Their newest failure has this in its error.
    error: Option<String>,
    /// Tags that a job must have all of: they are not in memory.
    tags: Vec<(String, String)>,
}

impl Filter {
    /// As far as can be told without reading.
    fn may_take(&self, job: &Job) -> bool {
        self.queue.as_ref().is_none_or(|queue| *queue == job.spec.queue)
            && self.state.is_none_or(|state| state == job.kind())
            && self.group.is_none_or(|group| job.spec.group == Some(group))
            && self.key.is_none_or(|key| job.spec.key == Some(key))
            && self.before.is_none_or(|before| job.submitted_at() < before)
            && self.error.as_ref().is_none_or(|text| {
                job.failures().last().is_some_and(|failure| failure.error.contains(text.as_str()))
            })
            && (self.tags.is_empty() || job.spec.has_envelope)
    }

    /// Whether it takes a job that it may take.
    fn takes(&self, tags: &Written) -> bool {
        match tags {
            Written::Read(envelope) => self.tags.iter().all(|(name, value)| {
                envelope.tags().iter().any(|(own, of_it)| (&**own, &**of_it) == (&**name, &**value))
            }),
            Written::Unread => self.tags.is_empty(),
        }
    }
}

/// What of a page is known without reading.
struct Found {
    /// Runs of jobs that are alike, in the order in which they are shown.
    runs: Vec<(IdRange, Job)>,
    newest: bool,
    /// Where to go on if there may be more.
    next: Option<u64>,
}

impl Found {
    /// The jobs, in order.
    fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.runs.iter().flat_map(|(range, job)| {
            let nth = |n| if self.newest { range.end().0 - 1 - n } else { range.first.0 + n };
            (0..range.len).map(move |n| (JobId(nth(n)), job))
        })
    }
}

/// The jobs that somebody asks for and may see.
pub(crate) async fn list<S: Store + 'static>(
    hub: &Hub<S>,
    peer: &Peer,
    query: ListQuery,
) -> Result<JobsView, Fault> {
    let ListQuery { queue, state, tags, key, group, older_ms, error, after, before, newest, commands, limit } =
        query;
    let group = group.as_deref().map(group_name).transpose()?;
    let no = group.as_ref().map(|name| {
        let engine = hub.engine.borrow();
        engine.core().state.groups().named(name).map(|(no, _)| no)
    });
    if no == Some(None) {
        // There is no such group, and so no job of it.
        return Ok(JobsView { jobs: Vec::new(), next: None });
    }
    let filter = Filter {
        group: no.flatten(),
        queue: queue.as_deref().map(queue_name).transpose()?,
        state: state.as_deref().map(state_name).transpose()?,
        key: key.as_deref().map(submit::key),
        before: older_ms.map(|ms| Time(hub.clock.now().0.saturating_sub(ms))),
        error,
        tags,
    };
    let limit = limit.clamp(1, if commands { COMMANDS_MAX } else { PAGE_MAX }) as usize;
    let most = if filter.tags.is_empty() { limit as u64 } else { ENVELOPES_MAX };
    let bounds = after..before.unwrap_or(u64::MAX);
    let found = find(hub, &hub.permissions(peer), &filter, bounds, newest, most);
    let (found, next) = read(hub, filter, found, limit).await?;
    let mut page = JobsView { jobs: Vec::with_capacity(found.len()), next };
    let mut bytes = 0;
    for (id, job, tags) in found {
        if bytes > COMMANDS_BYTES_MAX {
            page.next = page.jobs.last().map(|job| job.id);
            break;
        }
        let (command, length) = if commands { commands::of(hub, id, &job) } else { (None, 0) };
        bytes += length;
        let command = command.map(commands::cut);
        page.jobs.push(JobView { command, ..view(hub, id, &job, tags) });
    }
    Ok(page)
}

/// A page: jobs with their tags, and where to go on.
type Page = (Vec<(JobId, Job, Written)>, Option<u64>);

/// Reads the envelopes, on another thread since they may be on the disk, and takes the first jobs that fit.
async fn read<S: Store + 'static>(
    hub: &Hub<S>,
    filter: Filter,
    found: Found,
    limit: usize,
) -> Result<Page, Fault> {
    let with: Vec<_> = found.jobs().filter(|(_, job)| job.spec.has_envelope).map(|(id, _)| id).collect();
    if with.is_empty() {
        let jobs = found.jobs().map(|(id, job)| (id, job.clone(), Written::default()));
        return Ok((jobs.collect(), found.next));
    }
    let reads = hub.engine.borrow().envelopes(with);
    let work = move || {
        let envelopes = reads.read(|error| tracing::warn!("a list: {error}"));
        fitting(&filter, &found, &envelopes, limit)
    };
    let done = hub.reading.run::<_, ()>(work).await;
    let ((page, unread), _) = done.ok_or(Fault::new(Kind::Internal, "the tags of jobs could not be read"))?;
    // Whether such a job has a tag is not known; unless it has gone meanwhile.
    let engine = hub.engine.borrow();
    match unread.into_iter().find(|id| engine.core().state.contains(*id)) {
        Some(id) => {
            let message = format!("the tags of job {id} cannot be read: the daemon's log says why");
            Err(Fault::new(Kind::Internal, message))
        }
        None => Ok(page),
    }
}

/// The first jobs that fit; and those of which that cannot be told, if it has to be.
fn fitting(
    filter: &Filter,
    found: &Found,
    envelopes: &BTreeMap<JobId, Bytes>,
    limit: usize,
) -> (Page, Vec<JobId>) {
    let (mut page, mut unread) = (Vec::new(), Vec::new());
    for (id, job) in found.jobs() {
        let tags = match envelopes.get(&id) {
            _ if !job.spec.has_envelope => Written::default(),
            Some(bytes) => Envelope::decode(bytes).map_or(Written::Unread, Written::Read),
            None => Written::Unread,
        };
        if !filter.tags.is_empty() && matches!(tags, Written::Unread) {
            unread.push(id);
        } else if filter.takes(&tags) {
            page.push((id, job.clone(), tags));
            if page.len() == limit {
                return ((page, Some(id.0)), unread);
            }
        }
    }
    ((page, found.next), unread)
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

/// The jobs with ids inside of the bounds, which are not among them: about `most` at most.
fn find<S: Store + 'static>(
    hub: &Hub<S>,
    permissions: &Permissions<'_>,
    filter: &Filter,
    bounds: std::ops::Range<u64>,
    newest: bool,
    most: u64,
) -> Found {
    let engine = hub.engine.borrow();
    let state = &engine.core().state;
    let (first, end) = (bounds.start.saturating_add(1), bounds.end.min(state.next_id().0));
    let mut found = Found { runs: Vec::new(), newest, next: None };
    if first >= end {
        return found;
    }
    let range = IdRange::new(JobId(first), end - first);
    let mut runs = runs(state, filter, range);
    let (mut looked_at, mut left) = (0, most);
    while let Some((run, job)) = if newest { runs.next_back() } else { runs.next() } {
        looked_at += 1;
        if filter.may_take(job) && permissions.reads(&job.spec) {
            let len = run.len.min(left);
            let part = IdRange::new(if newest { JobId(run.end().0 - len) } else { run.first }, len);
            found.runs.push((part, job.clone()));
            left -= len;
        }
        if left == 0 || looked_at == SCAN_MAX {
            let last = found.runs.last().filter(|_| left == 0).map_or(run, |(part, _)| *part);
            found.next = Some(if newest { last.first.0 } else { last.end().0 - 1 });
            return found;
        }
    }
    found
}
