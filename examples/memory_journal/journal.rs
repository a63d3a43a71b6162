//! The journal: captures memories, and does the jobs that follow. All it keeps is in its store and its queue; what it has in
//! memory is made of these at each start.

use super::Error;
use super::archive::Archive;
use super::associate::{self, Missing};
use super::consolidate::Digest;
use super::events::Events;
use super::jobs::{self, CLOSE, CONSOLIDATE, Close, Consolidate};
use super::memory::{End, Kind, Memory};
use super::shelf::Passage;
use super::stats::Stats;
use super::store::{Shelf, Store, numbered};
use super::trouble::{PANIC, Trouble, trouble};
use musher::client::Client;
use musher::client::worker::{Context, Job, Outcome, QueueOptions, Reason, Worker};
use musher::protocol::admin::{AdminRequest, JobsView, ListQuery};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// So many memories are consolidated at a time, or more.
const BATCH: usize = 10;

/// At which memory the first consolidation stands still, if it is to.
const STANDSTILL: usize = 3;

/// What happens, for whoever wants to see it. Nothing depends on it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Captured(u32),
    Ended(u32, Kind),
    Closed(u32),
    Consolidated(Vec<u32>),
}

/// That a memory is closed, and by which job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) by: u64,
    pub(crate) failed: Vec<Kind>,
}

pub(crate) struct Journal {
    pub(crate) store: Store,
    pub(crate) archive: Archive,
    pub(crate) stats: Stats,
    pub(crate) events: Events<Event>,
    /// Whether consolidations stop at a certain place and wait to be killed there.
    pub(crate) stands_still: bool,
}

/// The name of the file of an end.
pub(crate) fn end_of(memory: u32, kind: Kind) -> String {
    format!("{}.{kind}", numbered(memory))
}

impl Journal {
    /// Captures a passage: when this returns, the memory and all that is to follow from it are on disk. To capture it again is to do
    /// nothing, whether or not the first time was acknowledged.
    pub(crate) async fn capture(&self, passage: &Passage, client: &Client) -> Result<u32, Error> {
        let memory = self.archive.remember(passage).await?;
        let number = memory.number;
        if self.store.get::<Closed>(Shelf::Closed, &numbered(number))?.is_none() {
            client.submit_once(jobs::group(number), jobs::captured(&memory)).await?;
        }
        self.stats.change(|now| now.captured = now.captured.max(number + 1));
        self.events.publish(Event::Captured(number)).await;
        Ok(number)
    }

    /// The worker for all of its jobs.
    pub(crate) fn serve(self: &Arc<Self>, mut worker: Worker) -> Worker {
        for kind in Kind::ALL {
            let journal = self.clone();
            let handler = move |job: Job<Memory>, cx: Context| journal.clone().associate(kind, job.body, cx);
            worker = worker.handle(QueueOptions::new(kind.name()).concurrency(4), handler);
        }
        let (closes, consolidates) = (self.clone(), self.clone());
        worker
            .handle(QueueOptions::new(CLOSE).concurrency(4), move |job: Job<Close>, cx| {
                closes.clone().close(job.body.memory, cx)
            })
            .handle(CONSOLIDATE, move |job: Job<Consolidate>, cx| {
                consolidates.clone().consolidate(job.body.by_hand, cx)
            })
    }

    /// One kind of association. Its end is in the store before its job has ended, so whoever waits for the job finds it there.
    async fn associate(self: Arc<Self>, kind: Kind, memory: Memory, cx: Context) -> Result<Outcome, Error> {
        let number = memory.number;
        let looking = async {
            match trouble(kind, &memory) {
                Some(Trouble::Once) if cx.attempt() == 1 => {
                    return Err("the calendar is away for a moment".into());
                }
                Some(Trouble::Panic) => panic!("{PANIC}"),
                Some(Trouble::Endless) => std::future::pending().await,
                Some(Trouble::Once) | None => {}
            }
            let (earlier, token) = (self.archive.before(number), cx.token().clone());
            // It computes, so it has a thread of its own; there it looks at the token between two memories.
            let look = move || associate::find(kind, &memory, &earlier, &|| token.is_cancelled());
            Ok::<_, Error>(tokio::task::spawn_blocking(look).await?)
        };
        let found = tokio::select! {
            biased;
            () = cx.cancelled() => Err(Missing::Stopped),
            found = looking => found?,
        };
        let end = match (found, cx.reason()) {
            (Ok(links), _) => End::Linked(links),
            (Err(Missing::Refused(why)), _) => End::Failed(why),
            (Err(Missing::Stopped), Some(Reason::TimedOut | Reason::Deadline)) => {
                End::Failed("timed out".into())
            }
            // It is given back, or somebody else has it: that is no end.
            (Err(stopped), _) => return Err(stopped.to_string().into()),
        };
        let outcome = match &end {
            End::Linked(_) => Outcome::Done,
            // The same would come of another attempt.
            End::Failed(why) => Outcome::dead(why),
        };
        let well = outcome == Outcome::Done;
        if self.store.put_once(Shelf::Ends, end_of(number, kind), end).await? {
            self.stats.has_ended(kind, number, well);
        }
        self.events.publish(Event::Ended(number, kind)).await;
        Ok(outcome)
    }

    /// Closes a memory, all four of whose jobs have ended. Those that died without a word have left none in the store; the queue knows
    /// why.
    async fn close(self: Arc<Self>, number: u32, cx: Context) -> Result<(), Error> {
        let mut failed = Vec::new();
        for kind in Kind::ALL {
            let end = match self.store.get(Shelf::Ends, &end_of(number, kind))? {
                Some(end) => end,
                None => {
                    let end = End::Failed(why_dead(&cx.client().await?, number, kind).await?);
                    if self.store.put_once(Shelf::Ends, end_of(number, kind), end.clone()).await? {
                        self.stats.has_ended(kind, number, false);
                    }
                    end
                }
            };
            if let End::Failed(_) = end {
                failed.push(kind);
            }
        }
        let closed = Closed { by: cx.id(), failed };
        if self.store.put_once(Shelf::Closed, numbered(number), closed).await? {
            self.stats.change(|now| now.closed += 1);
            self.events.publish(Event::Closed(number)).await;
        }
        let waiting = self.store.names(Shelf::Closed)?.len() - self.store.names(Shelf::Taken)?.len();
        if waiting >= BATCH {
            // In one commit: there is no moment in which enough are closed and nothing is under way for them.
            cx.complete_and_submit(jobs::consolidation(false)).await?;
        }
        Ok(())
    }

    /// Consolidates what is closed and not taken. Where an earlier attempt has stored a checkpoint it goes on there.
    async fn consolidate(self: Arc<Self>, by_hand: bool, cx: Context) -> Result<(), Error> {
        let mut digest = match cx.last_checkpoint() {
            Some(checkpoint) => serde_json::from_slice::<Digest>(checkpoint)?,
            None => Digest::new(self.take(by_hand, cx.id()).await?),
        };
        if digest.members.is_empty() {
            return Ok(());
        }
        if digest.at > 0 {
            say(&format!(
                "consolidation {} goes on after memory {} of {}",
                cx.id(),
                digest.at,
                digest.members.len()
            ));
        }
        digest.begun_at.push(digest.at);
        let archive = self.archive.all();
        while let Some(number) = digest.next() {
            let memory = archive.get(number as usize).ok_or("a closed memory is not in the archive")?;
            let mut ends = Vec::new();
            for kind in Kind::ALL {
                ends.extend(self.store.get::<End>(Shelf::Ends, &end_of(number, kind))?);
            }
            digest.add(memory, &ends);
            // If the lease is lost this fails, so of two attempts only the younger one goes on.
            cx.checkpoint(serde_json::to_vec(&digest)?).await?;
            if self.stands_still && digest.at == STANDSTILL {
                say(&format!(
                    "consolidation {} stands still at memory {} of {}",
                    cx.id(),
                    digest.at,
                    digest.members.len()
                ));
                std::future::pending::<()>().await;
            }
        }
        let members = digest.members.clone();
        if self.store.put_once(Shelf::Consolidations, cx.id().to_string(), digest.finish()).await? {
            self.stats.change(|now| now.consolidated += members.len() as u32);
            self.events.publish(Event::Consolidated(members)).await;
        }
        Ok(())
    }

    /// What this consolidation is of: whatever it has taken before, and what is closed and free. Each memory is taken by one, as a
    /// file is written once.
    async fn take(&self, by_hand: bool, job: u64) -> Result<Vec<u32>, Error> {
        let (closed, mut members, mut free) = (self.store.names(Shelf::Closed)?, Vec::new(), Vec::new());
        for name in closed {
            match self.store.get::<u64>(Shelf::Taken, &name)? {
                None => free.push(name),
                Some(by) if by == job => members.push(name.parse()?),
                Some(_) => {}
            }
        }
        if members.len() + free.len() < if by_hand { 1 } else { BATCH } {
            return Ok(Vec::new());
        }
        for name in free {
            if self.store.put_once(Shelf::Taken, name.clone(), job).await? {
                members.push(name.parse()?);
            }
        }
        members.sort_unstable();
        Ok(members)
    }
}

/// The last error of a job that is dead.
async fn why_dead(client: &Client, memory: u32, kind: Kind) -> Result<String, Error> {
    let query = ListQuery {
        group: Some(jobs::group(memory)),
        queue: Some(kind.name().into()),
        limit: 1,
        ..ListQuery::default()
    };
    let found: JobsView = client.ask(AdminRequest::List(query)).await?;
    let error = found.jobs.into_iter().next().and_then(|mut job| Some(job.failures.pop()?.error));
    Ok(error.unwrap_or_else(|| "its job has ended without a word".to_owned()))
}

/// Says something to whoever has started this program.
pub(crate) fn say(what: &str) {
    println!("journal: {what}");
}
