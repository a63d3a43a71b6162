//! After a start: everything that the daemon has, read through its socket, held against the account. What was in doubt is
//! settled by what is found, and must have happened wholly or not at all.

use crate::account::{Account, Broken, End, Job, Sent, Submit};
use crate::load::lasts;
use crate::plan::{ATTEMPTS, Expected, KEPT, Plan, submit_of};
use crate::recorder::Recorder;
use musher::client::{Client, ClientError};
use musher::protocol::admin::{AdminRequest, JobView, JobsView, ListQuery, QueueView, StatusView};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Jobs asked for at once.
const PAGE: u32 = 500;

/// Why a check did not end well.
#[derive(Debug)]
pub(crate) enum CheckError {
    Broken(Broken),
    /// The daemon went away meanwhile.
    Gone(ClientError),
}

impl From<ClientError> for CheckError {
    fn from(error: ClientError) -> CheckError {
        match error.is_disconnect() {
            true => CheckError::Gone(error),
            false => CheckError::Broken(Broken(format!("the daemon refused a question: {error}"))),
        }
    }
}

impl From<Broken> for CheckError {
    fn from(broken: Broken) -> CheckError {
        CheckError::Broken(broken)
    }
}

/// Holds everything against the account; how many jobs there are.
pub(crate) async fn check(recorder: &Recorder, client: &Client) -> Result<u64, CheckError> {
    recorder.sound()?;
    let views = list(client).await?;
    recorder.change(|account| account.settle_submits(&views))?;
    let expected = expectations(&recorder.account(), &views)?;
    recorder.change(|account| account.settle_jobs(&views, &expected))?;
    bodies(client, &expected).await?;
    let highest = recorder.account().highest;
    counts(client, views.len() as u64, highest).await?;
    Ok(views.len() as u64)
}

async fn list(client: &Client) -> Result<BTreeMap<u64, JobView>, CheckError> {
    let (mut views, mut after) = (BTreeMap::new(), 0);
    loop {
        let question = AdminRequest::List(ListQuery { after, limit: PAGE, ..ListQuery::default() });
        let page: JobsView = client.ask(question).await?;
        for job in page.jobs {
            let id = job.id;
            if views.insert(id, job).is_some() {
                return Err(Broken(format!("job {id} is listed twice")).into());
            }
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(views),
        }
    }
}

/// What each job that there is must look like.
fn expectations(account: &Account, views: &BTreeMap<u64, JobView>) -> Result<HashMap<u64, Expected>, Broken> {
    let mut expected = HashMap::new();
    for (id, view) in views {
        let submit =
            submit_of(&view.tags).ok_or_else(|| Broken(format!("job {id} has lost its tag: {view:?}")))?;
        let Some(Submit::There { first }) = account.submits.get(&submit) else {
            return Err(Broken(format!(
                "job {id} is of submit {submit}, which nobody sent or which was refused"
            )));
        };
        let job = id.checked_sub(*first).and_then(|place| Plan::of(account.seed, submit).expected(place));
        let job =
            job.ok_or_else(|| Broken(format!("submit {submit} began at {first} and has no job {id}")))?;
        expected.insert(*id, job);
    }
    Ok(expected)
}

impl Account {
    /// Submits in doubt are there with all of their jobs, or with none.
    fn settle_submits(&mut self, views: &BTreeMap<u64, JobView>) -> Result<(), Broken> {
        let mut found: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (id, view) in views {
            found.entry(submit_of(&view.tags).unwrap_or(0)).or_default().insert(*id);
        }
        let doubt = self.submits.iter().filter_map(|(submit, answer)| match answer {
            Submit::Doubt { seen } => Some((*submit, seen.clone())),
            Submit::There { .. } => None,
        });
        for (submit, mut ids) in doubt.collect::<Vec<_>>() {
            let listed = found.remove(&submit).unwrap_or_default();
            ids.extend(&listed);
            let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else {
                self.submits.remove(&submit);
                continue;
            };
            let planned = Plan::of(self.seed, submit).jobs();
            if ids.len() as u64 != planned || last - first + 1 != planned {
                let count = ids.len();
                return Err(Broken(format!(
                    "a part of a submit: {count} of the {planned} jobs of submit {submit} are there: {ids:?}"
                )));
            }
            self.there(submit, first, planned)?;
        }
        Ok(())
    }

    /// Every job is in one of the states that it may be in.
    fn settle_jobs(
        &mut self,
        views: &BTreeMap<u64, JobView>,
        expected: &HashMap<u64, Expected>,
    ) -> Result<(), Broken> {
        for id in views.keys() {
            if let Some(submit) = self.gone.get(id) {
                return Err(Broken(format!("job {id} of submit {submit} is back after its end")));
            }
        }
        let mut gone = Vec::new();
        for (id, job) in &mut self.jobs {
            let found = views.get(id).zip(expected.get(id));
            match found {
                Some((view, expected)) => job.settle(view, expected).map_err(|why| {
                    Broken(format!("job {id} of submit {}: {why}; found {view:?}, known {job:?}", job.submit))
                })?,
                None if job.may_be_gone(self.seed, *id, &self.submits) => gone.push(*id),
                None => {
                    return Err(Broken(format!("job {id} of submit {} is LOST: known {job:?}", job.submit)));
                }
            }
        }
        gone.into_iter().for_each(|id| self.go(id));
        Ok(())
    }
}

impl Job {
    fn may_be_gone(&self, seed: u64, id: u64, submits: &HashMap<u64, Submit>) -> bool {
        let has = |verdict| self.doubt.iter().any(|(_, sent)| *sent == verdict);
        let kept = || {
            let Some(Submit::There { first }) = submits.get(&self.submit) else { return false };
            Plan::of(seed, self.submit).expected(id - first).is_some_and(|job| job.queue == KEPT)
        };
        has(Sent::Delete) || has(Sent::Complete) && !kept()
    }

    /// Takes over what is found; `Err` says why it cannot be.
    fn settle(&mut self, view: &JobView, expected: &Expected) -> Result<(), String> {
        let has = |verdict| self.doubt.iter().any(|(_, sent)| *sent == verdict);
        let must = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        must(view.queue == expected.queue && view.priority == expected.priority, "other queue or priority")?;
        must(view.attempts == ATTEMPTS && view.tags.len() == 1, "other options")?;
        must(view.attempt >= self.attempt, "its attempt went back")?;
        must(view.failed >= self.failed, "a failure is forgotten")?;
        must(!expected.waits || self.end.is_some() || view.state == "scheduled", "it is not due for days")?;
        let lasting = self.lease.filter(|lease| !lease.bound && self.doubt.is_empty() && lasts(lease.until));
        if let Some(lease) = lasting {
            must(view.state == "leased" && view.attempt == lease.attempt, "its lease was in force")?;
            let until = view.leased_until.unwrap_or(0);
            must(
                until == lease.until || lease.extending && until > lease.until,
                "its lease has another end",
            )?;
        }
        let state_fits = match (self.end, view.state.as_str()) {
            (Some(End::Done), state) => state == "done",
            (Some(End::Dead), state) => state == "dead",
            (None, "done") => has(Sent::Complete) && expected.queue == KEPT,
            (None, "dead") => has(Sent::FailDead) || view.failed >= ATTEMPTS,
            (None, state) => ["ready", "scheduled", "leased"].contains(&state),
        };
        must(state_fits, "it cannot be in this state")?;
        self.kept = expected.queue == KEPT;
        (self.attempt, self.failed) = (view.attempt, view.failed);
        self.lease = self.lease.filter(|lease| view.state == "leased" && lease.attempt == view.attempt);
        if let (Some(lease), Some(until)) = (&mut self.lease, view.leased_until) {
            (lease.extending, lease.until) = (false, until);
        }
        self.doubt.clear();
        self.end = match view.state.as_str() {
            "done" => Some(End::Done),
            "dead" => Some(End::Dead),
            _ => None,
        };
        Ok(())
    }
}

async fn bodies(client: &Client, expected: &HashMap<u64, Expected>) -> Result<(), CheckError> {
    for (id, job) in expected {
        let body = client.body(*id).await?;
        if body != job.body {
            let at = body.iter().zip(&job.body).position(|(a, b)| a != b);
            let (len, should) = (body.len(), job.body.len());
            return Err(Broken(format!(
                "the body of job {id} has changed: {len} bytes of {should}, from {at:?}"
            ))
            .into());
        }
    }
    Ok(())
}

async fn counts(client: &Client, listed: u64, highest: u64) -> Result<(), CheckError> {
    let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await?;
    let all = |q: &QueueView| q.ready + q.scheduled + q.leased + q.done + q.dead + q.cancelled + q.expired;
    let counted: u64 = queues.iter().map(all).sum();
    if counted != listed {
        return Err(Broken(format!("{listed} jobs are listed and {counted} counted")).into());
    }
    let next = client.ask::<StatusView>(AdminRequest::Status {}).await?.next_id;
    if next <= highest {
        return Err(Broken(format!("id {next} would be given out again: {highest} was given already")).into());
    }
    Ok(())
}
