//! Submits jobs in batches, each all or nothing. Several batches are under way at once, their answers are counted in
//! order, and a summary says what was submitted.

use super::exit::Failure;
use super::output::{self, count};
use crate::client::{Client, ClientError, Receipts};
use crate::protocol::{JobOptions, Received, SubmitGroup};
use bytes::Bytes;
use indicatif::ProgressBar;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use tokio::task::{JoinError, JoinHandle};

/// The most jobs of one batch, and how many bytes of bodies about.
const BATCH_JOBS: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;
/// How many batches are under way at once.
const BATCHES_AHEAD: usize = 4;
/// What a frame has besides bodies, at most.
const FRAME_ROOM: usize = 64 << 10;
/// How many queues an account names.
const QUEUES_NAMED: usize = 10;

/// Jobs that will be submitted together.
pub(super) struct Batch {
    groups: Vec<SubmitGroup>,
    jobs: usize,
    bytes: usize,
    jobs_max: usize,
    bytes_max: usize,
    /// Of the first job.
    first_line: u64,
}

impl Batch {
    pub(super) fn new(client: &Client) -> Batch {
        let limits = client.limits();
        let jobs_max = BATCH_JOBS.min(limits.batch);
        let bytes_max = BATCH_BYTES.min(limits.frame.saturating_sub(FRAME_ROOM));
        Batch { groups: Vec::new(), jobs: 0, bytes: 0, jobs_max, bytes_max, first_line: 0 }
    }

    /// One job always fits: if it is too large, the daemon says so.
    pub(super) fn has_room_for(&self, body: &Bytes) -> bool {
        self.jobs == 0 || (self.jobs < self.jobs_max && self.bytes + body.len() <= self.bytes_max)
    }

    /// The first line that is not sent, if all up to `line` are read.
    pub(super) fn line_after(&self, line: u64) -> u64 {
        if self.jobs == 0 { line + 1 } else { self.first_line }
    }

    /// For whoever sends them in a way of his own.
    pub(super) fn into_groups(self) -> Vec<SubmitGroup> {
        self.groups
    }

    pub(super) fn add(&mut self, line: u64, options: JobOptions, body: Bytes) {
        if self.jobs == 0 {
            self.first_line = line;
        }
        self.bytes += body.len() + 4;
        self.jobs += 1;
        match self.groups.last_mut() {
            Some(group) if group.options == options => group.bodies.push(body),
            _ => self.groups.push(SubmitGroup { options, bodies: vec![body] }),
        }
    }
}

/// What was taken.
#[derive(Debug, Default, Serialize)]
pub(super) struct Account {
    /// How many jobs.
    submitted: u64,
    /// How many were not, since other jobs hold their unique keys.
    #[serde(skip_serializing_if = "is_zero")]
    existing: u64,
    /// Of them, in each queue.
    queues: BTreeMap<String, u64>,
    /// The lowest and the highest id.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    /// If not all were: the first line that was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_line: Option<u64>,
    /// How many of those taken come after that line.
    #[serde(skip_serializing_if = "is_zero")]
    behind: u64,
    /// Whether that line's batch may have been taken all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
}

pub(super) fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Account {
    /// Not all were taken: the first line that was not even sent.
    pub(super) fn ends_before(&mut self, line: u64) {
        self.next_line.get_or_insert(line);
    }

    /// The account of an input that went through.
    pub(super) fn all(&self, queue: &str) -> String {
        let jobs = jobs(self.submitted);
        let there = match self.existing {
            0 => String::new(),
            n => format!("; {} there already, by unique keys", were(n)),
        };
        let said = match self.queues.len() {
            0 if self.existing > 0 => format!("no job submitted to {queue}"),
            0 => "no job submitted: standard input was empty".into(),
            1 => format!("{jobs} submitted to {}", self.queues.keys().next().map_or(queue, String::as_str)),
            queues => {
                let named =
                    self.queues.iter().take(QUEUES_NAMED).map(|(name, n)| format!("{} to {name}", count(*n)));
                let mut text = format!("{jobs} submitted: {}", named.collect::<Vec<_>>().join(", "));
                if queues > QUEUES_NAMED {
                    text += &format!(", and to {} other queues", count((queues - QUEUES_NAMED) as u64));
                }
                text
            }
        };
        said + &there
    }

    /// The account of one that did not.
    pub(super) fn part(&self) -> String {
        let mut text = match (self.first, self.last) {
            (Some(first), Some(last)) if last - first + 1 == self.submitted => {
                format!("{} taken, ids {first} to {last}", were(self.submitted))
            }
            (Some(first), Some(last)) => {
                format!("{} taken, with ids between {first} and {last}", were(self.submitted))
            }
            _ => "no job was taken".into(),
        };
        if let Some(line) = self.next_line {
            let unknown =
                if self.unknown { "check whether its batch was taken all the same, or " } else { "" };
            text += &format!("; {unknown}go on with line {line}");
        }
        if self.behind > 0 {
            text += &format!(", but {} of those taken come after it", count(self.behind));
        }
        text
    }
}

fn jobs(n: u64) -> String {
    if n == 1 { "1 job".into() } else { format!("{} jobs", count(n)) }
}

fn were(n: u64) -> String {
    format!("{} {}", jobs(n), if n == 1 { "was" } else { "were" })
}

/// A batch that was sent.
struct UnderWay {
    answer: JoinHandle<Result<Receipts, ClientError>>,
    first_line: u64,
    /// How many jobs of each queue, in the order of the batch.
    queues: Vec<(String, u64)>,
}

/// What became of a batch.
pub(super) type Sent = Result<Result<Receipts, ClientError>, JoinError>;

/// Batches under way, and the account of those that have arrived.
pub(super) struct Batches {
    pub(super) account: Account,
    under_way: VecDeque<UnderWay>,
    print_ids: bool,
    bar: ProgressBar,
}

impl Batches {
    pub(super) fn new(print_ids: bool, bar: ProgressBar) -> Batches {
        Batches { account: Account::default(), under_way: VecDeque::new(), print_ids, bar }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends what there is to send, when there is room for one more.
    pub(super) async fn send(&mut self, client: &Client, batch: &mut Batch) -> Result<(), Failure> {
        if batch.jobs == 0 {
            return Ok(());
        }
        if let Err(failure) = self.finish(BATCHES_AHEAD - 1).await {
            self.account.ends_before(batch.first_line);
            return Err(failure);
        }
        (batch.jobs, batch.bytes) = (0, 0);
        let (client, groups) = (client.clone(), std::mem::take(&mut batch.groups));
        let mut queues: Vec<(String, u64)> = Vec::new();
        for SubmitGroup { options, bodies } in &groups {
            match queues.last_mut() {
                Some((queue, jobs)) if *queue == options.queue => *jobs += bodies.len() as u64,
                _ => queues.push((options.queue.clone(), bodies.len() as u64)),
            }
        }
        let answer = tokio::spawn(async move { client.submit(groups).await });
        self.under_way.push_back(UnderWay { answer, first_line: batch.first_line, queues });
        // Lines may never let up: give the connection its turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// What became of the first of those under way; never, if none is. It is to be counted, and is the first until then.
    pub(super) async fn oldest(&mut self) -> Sent {
        match self.under_way.front_mut() {
            Some(batch) => (&mut batch.answer).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until at most so many are under way.
    pub(super) async fn finish(&mut self, left: usize) -> Result<(), Failure> {
        while self.under_way.len() > left {
            let sent = self.oldest().await;
            self.count(sent)?;
        }
        Ok(())
    }

    /// Nobody waits any more for those under way.
    pub(super) fn give_up(&mut self) {
        if let Some(batch) = self.under_way.front() {
            self.account.ends_before(batch.first_line);
            self.account.unknown = true;
            self.under_way.clear();
        }
    }

    /// Counts what became of the oldest.
    pub(super) fn count(&mut self, sent: Sent) -> Result<(), Failure> {
        let Some(batch) = self.under_way.pop_front() else { return Ok(()) };
        let account = &mut self.account;
        let receipts = match sent {
            Ok(Ok(receipts)) => receipts,
            Ok(Err(error)) => {
                account.unknown |= account.next_line.is_none() && error.is_disconnect();
                account.ends_before(batch.first_line);
                return Err(error.into());
            }
            Err(error) => {
                account.ends_before(batch.first_line);
                return Err(Failure::failed(error));
            }
        };
        let taken = receipts.new_jobs();
        account.submitted += taken;
        account.existing += receipts.len() - taken;
        if account.next_line.is_some() {
            account.behind += taken;
        }
        let mut new =
            receipts.iter().filter(|receipt| receipt.what == Received::New).map(|receipt| receipt.id);
        if let Some(first) = new.next() {
            account.first = Some(account.first.map_or(first, |lowest| lowest.min(first)));
            account.last = account.last.max(new.last().or(Some(first)));
        }
        let mut each = receipts.iter();
        for (queue, jobs) in batch.queues {
            let of_queue = each.by_ref().take(jobs as usize);
            let new = of_queue.filter(|receipt| receipt.what == Received::New).count() as u64;
            if new > 0 {
                *account.queues.entry(queue).or_default() += new;
            }
        }
        self.bar.set_position(account.submitted);
        if self.print_ids {
            for receipt in receipts.iter() {
                output::line(&receipt.id.to_string())
                    .map_err(|error| Failure::failed(format!("the ids cannot be printed: {error}")))?;
            }
        }
        Ok(())
    }
}
