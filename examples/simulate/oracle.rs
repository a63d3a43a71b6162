//! What clients were told, and what follows from it. The oracle knows no more than they do: requests that were sent,
//! answers that arrived. Whatever it is told or shown that contradicts an earlier answer ends the run.

use crate::beside::Stored;
use crate::bodies::{self, Bodies, which};
use crate::bounds::drops;
use crate::chains::Chains;
use crate::circuits::Circuits;
use crate::clients::LEASE;
use crate::exits::End;
use crate::expiry::{self, Progress};
use crate::flows::Flows;
use crate::kept::Kept;
use crate::known::{Batch, Held, Known, Sent};
use crate::limits::{Given, limited};
use crate::overrides::SetAtRunTime;
use crate::paces::{Paces, paced};
use crate::pauses::Pauses;
use crate::places::Places;
use crate::schedules::Schedules;
use crate::signals::Signals;
use crate::topics::BoundByCommand;
use crate::turns::Turns;
use crate::weights::Shares;
use crate::workers::Awaited;
use bytes::Bytes;
use musher::core::{
    Attempt, Edit, Expiry, IdRange, JobId, Key, LeaseId, Priority, QueueName, Receipt, State, StateKind, Time,
};
use musher::engine::Claimed;
use musher::store::Envelope;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that was told.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    batches: Vec<Batch>,
    known: BTreeMap<JobId, Known>,
    /// Told to be gone. Only the newest are remembered.
    gone: BTreeSet<JobId>,
    highest: JobId,
    /// How many requests were sent that change leases.
    asked: u64,
    /// With which submits jobs with unique keys came, and their places in these, told or not.
    asked_as: BTreeMap<JobId, (usize, usize)>,
    /// When all was done last that was due.
    turned: Time,
    /// The newest job that was given out in turn.
    in_turn: BTreeMap<(QueueName, Option<Key>, Priority), JobId>,
    /// Leases of the queue that has limits.
    given: Given,
    /// Bodies that were replaced.
    pub(crate) bodies: Bodies,
    /// What workers have stored.
    pub(crate) stored: Stored,
    /// What jobs were told.
    pub(crate) signals: Signals,
    /// What was set at run time.
    pub(crate) settings: SetAtRunTime,
    /// Which queues were paused.
    pub(crate) pauses: Pauses,
    /// What was bound to topics.
    pub(crate) topics: BoundByCommand,
    pub(crate) schedules: Schedules,
    pub(crate) circuits: Circuits,
    pub(crate) chains: Chains,
    pub(crate) flows: Flows,
    pub(crate) kept: Kept,
    pub(crate) places: Places,
    pub(crate) shares: Shares,
    pub(crate) paces: Paces,
    pub(crate) turns: Turns,
    pub(crate) awaited: Awaited,
}

impl Oracle {
    /// How many jobs are known and not gone.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// How much was asked so far, to be said of a claim when it is answered.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// A known job, at random.
    pub(crate) fn any(&self, random: u64) -> Option<JobId> {
        let (first, last) = (self.known.first_key_value()?.0.0, self.known.last_key_value()?.0.0);
        let from = JobId(first + random % (last - first + 1));
        self.known.range(from..).next().map(|(id, _)| *id)
    }

    /// The queue that a job was submitted to.
    pub(crate) fn submitted_to(&self, id: JobId) -> Option<&QueueName> {
        let known = self.known.get(&id)?;
        Some(&self.batches[known.batch].jobs[known.index].queue)
    }

    /// A known job as it was sent.
    fn sent(&self, id: JobId) -> Option<&Sent> {
        let known = self.known.get(&id)?;
        Some(&self.batches[known.batch].jobs[known.index])
    }

    /// Whether a known job may be gone.
    fn may_be_gone(&self, id: JobId, now: Time) -> bool {
        let (Some(known), Some(sent)) = (self.known.get(&id), self.sent(id)) else { return true };
        known.enders > 0 || known.progress.may_expire(sent.expiry, now)
    }

    /// Whether a known job that is not there any more is done, if its end was asked for once only, and nothing else may have
    /// taken it away.
    pub(crate) fn goes_by_its_end(&self, id: JobId, now: Time) -> bool {
        let (Some(known), Some(sent)) = (self.known.get(&id), self.sent(id)) else { return false };
        known.enders == 1 && !known.edited && !known.progress.may_expire(sent.expiry, now)
    }

    /// Whether a job that was done may be to run again.
    pub(crate) fn may_be_revived(&self, id: JobId) -> bool {
        self.known.get(&id).is_some_and(|known| known.edited)
    }

    /// Whether of the new jobs of a submit, of which nobody was told, none may be there though it was done.
    pub(crate) fn may_lack(&self, batch: usize, now: Time) -> bool {
        let batch = &self.batches[batch];
        batch.new == 0 || batch.seen || batch.may_lack(now)
    }

    /// The submit with which a job came that has this body.
    pub(crate) fn came_with(&self, id: JobId, body: &Bytes) -> Option<usize> {
        let known = self.known.get(&id).map(|known| known.batch);
        let own = || self.bodies.own(id).map(|(batch, _)| batch);
        known.or_else(own).or_else(|| which(body).map(|(batch, ..)| batch))
    }

    /// A turn was made: all that was due at this time is done. There is none yet in a life that has just begun.
    pub(crate) fn turned(&mut self, now: Time) {
        self.turned = now;
    }

    pub(crate) fn last_turn(&self) -> Time {
        self.turned
    }

    /// Nothing is due any more at this time.
    pub(crate) fn check_expired(&self, state: &State, now: Time) {
        for (id, known) in &self.known {
            if let Some(job) = state.job(*id) {
                let expiry = self.batches[known.batch].jobs[known.index].expiry;
                known.progress.check(expiry, *id, job, now);
            }
        }
    }

    /// The jobs of a submit.
    pub(crate) fn jobs_of(&self, batch: usize) -> &[Sent] {
        &self.batches[batch].jobs
    }

    /// The submit that a known job came with, and its place in it.
    pub(crate) fn place_of(&self, id: JobId) -> (usize, usize) {
        let known = &self.known[&id];
        (known.batch, known.index)
    }

    /// A submit is sent. Returns its number.
    pub(crate) fn submits(&mut self, jobs: Vec<Sent>) -> usize {
        self.batches.push(Batch::new(jobs));
        self.batches.len() - 1
    }

    /// A submit was refused, and is not sent again: none of its jobs is ever seen.
    pub(crate) fn refused(&mut self, batch: usize) {
        self.batches[batch].refused = true;
    }

    pub(crate) fn submitted(&mut self, batch: usize, ids: IdRange) {
        assert_eq!(ids.len, self.batches[batch].jobs.len() as u64, "a submit got another number of ids");
        assert!(
            ids.first > self.highest,
            "job {} is told as new, but {} was before",
            ids.first,
            self.highest
        );
        for (index, id) in ids.iter().enumerate() {
            // One that is dropped at once is told gone at once.
            let is_gone = drops(&self.batches[batch].jobs[index].queue) && self.gone.contains(&id);
            if !is_gone {
                self.learn(id, batch, index);
            }
        }
    }

    /// The number that the next submit gets.
    pub(crate) fn next_batch(&self) -> usize {
        self.batches.len()
    }

    /// A submit of jobs with unique keys will come to this, if nothing goes wrong.
    pub(crate) fn comes_to(&mut self, batch: usize, receipts: &[Receipt]) {
        self.batches[batch].new = 0;
        for (index, receipt) in receipts.iter().enumerate() {
            if let Receipt::New(id) = receipt {
                self.asked_as.insert(*id, (batch, index));
                self.batches[batch].new += 1;
            }
        }
    }

    /// The submit with which a job with a unique key came, and its place in it, told or not.
    pub(crate) fn asked_as(&self, id: JobId) -> (usize, usize) {
        self.asked_as[&id]
    }

    pub(crate) fn sent_as(&self, id: JobId) -> &Sent {
        let (batch, index) = self.asked_as(id);
        &self.batches[batch].jobs[index]
    }

    /// A submit of jobs with unique keys has an answer: each time the same. If one of its jobs is not new, another one has its
    /// unique key; and if it is, no other one has that for sure.
    pub(crate) fn done_once(&mut self, batch: usize, receipts: Vec<Receipt>, now: Time) {
        let of = &mut self.batches[batch];
        assert_eq!(receipts.len(), of.jobs.len(), "one receipt a job");
        if let Some(before) = &of.receipts {
            return assert_eq!(receipts, *before, "a submit that is sent again gets another answer");
        }
        of.receipts = Some(receipts.clone());
        for (index, receipt) in receipts.into_iter().enumerate() {
            self.received(batch, index, receipt, now);
        }
    }

    fn received(&mut self, batch: usize, index: usize, receipt: Receipt, now: Time) {
        let Sent { queue, unique, .. } = &self.batches[batch].jobs[index];
        let sent = |known: &Known| &self.batches[known.batch].jobs[known.index];
        let has_key =
            |known: &Known| unique.is_some() && (&sent(known).queue, &sent(known).unique) == (queue, unique);
        let id = receipt.id();
        if !matches!(receipt, Receipt::New(_)) {
            let holder = self.known.get(&id);
            return assert!(
                holder.is_none_or(|known| known.edited || has_key(known)),
                "job {id} has another unique key"
            );
        }
        let untouched = |known: &Known| {
            let may_be_over =
                !sent(known).unique_in_work || known.progress.may_expire(sent(known).expiry, now);
            known.attempt == Attempt(0) && known.touched == 0 && known.enders == 0 && !may_be_over
        };
        let other =
            self.known.iter().find(|(other, known)| **other < id && untouched(known) && has_key(known));
        assert!(
            other.is_none(),
            "job {id} is new, but {:?} has its unique key",
            other.map(|(other, _)| other)
        );
        // Its answer may have been lost, and it may be long gone.
        if id > self.highest && !self.gone.contains(&id) {
            self.learn(id, batch, index);
        } else {
            self.batches[batch].has_id(index, id);
        }
    }

    fn learn(&mut self, id: JobId, batch: usize, index: usize) -> &mut Known {
        assert!(!self.gone.contains(&id), "job {id} was told gone, and is here again");
        self.highest = self.highest.max(id);
        let sent = &mut self.batches[batch];
        sent.has_id(index, id);
        assert!(!sent.refused, "job {id} is of a submit that was refused");
        let enders = u32::from(sent.purged || drops(&sent.jobs[index].queue));
        let known = self.known.entry(id).or_insert(Known {
            batch,
            index,
            attempt: Attempt(0),
            lease: None,
            settled: None,
            ended: None,
            done: false,
            cancelled: false,
            enders,
            progress: Progress::default(),
            edited: false,
            touched: 0,
        });
        assert_eq!((known.batch, known.index), (batch, index), "the id {id} was given twice");
        known
    }

    /// The body of a job was read.
    pub(crate) fn body(&mut self, id: JobId, body: &Bytes) {
        let is_new = !self.known.contains_key(&id);
        let (batch, _) = self.read(id, body);
        self.batches[batch].seen |= is_new;
    }

    /// Returns the submit with which it came, and its place in it.
    fn read(&mut self, id: JobId, body: &Bytes) -> (usize, usize) {
        let found = which(body).filter(|(batch, index, _)| {
            self.batches.get(*batch).is_some_and(|sent| *index < sent.jobs.len())
        });
        let Some(found) = found else { panic!("the body of job {id} is not one that was sent") };
        assert_eq!(*body, bodies::body(found), "the body of job {id} is not as it was sent");
        let known = self.known.get(&id).map(|known| (known.batch, known.index));
        let own = known.or_else(|| self.bodies.own(id)).unwrap_or((found.0, found.1));
        self.learn(id, own.0, own.1);
        self.bodies.seen(id, own, found);
        own
    }

    /// A job was given out, as is heard now; `session` holds it, or anyone. The claim was sent when so much was `asked`.
    pub(crate) fn granted(
        &mut self,
        Claimed { grant, body, envelope, .. }: &Claimed,
        (session, claim): (Option<u64>, expiry::Sent),
        now: Time,
        asked: u64,
    ) {
        let id = grant.id;
        let given = claim.given(grant.until, grant.deadline, now);
        let (Ok(at) | Err(at)) = given;
        self.body(id, body);
        if grant.spec.queue == limited() {
            let in_force = self.known.values().filter_map(|known| {
                known.lease.filter(|lease| lease.sure && lease.until > at)?;
                Some(&self.batches[known.batch].jobs[known.index]).filter(|sent| sent.queue == limited())
            });
            let keys: Vec<_> = in_force.map(|sent| sent.key).collect();
            self.given.check(given, grant.spec.key, &keys);
        }
        if grant.spec.queue == paced() {
            self.paces.told(given, grant.spec.key);
        }
        let known = self.known.get_mut(&id).expect("its body has just told of it");
        let Sent { queue, key, unique, priority, at_once, envelope: sent, expiry, .. } =
            &self.batches[known.batch].jobs[known.index];
        known.progress.granted(*expiry, grant, claim, given);
        assert_eq!((grant.spec.key, envelope), (*key, sent), "job {id} is not as it was sent");
        assert_eq!(grant.spec.unique, *unique, "job {id} has another unique key");
        self.places.seen(id, (queue, *priority), (&grant.spec.queue, grant.spec.priority));
        assert!(!known.done, "job {id} was told done, and is given out again");
        let runs_again = known.cancelled && !known.progress.revived;
        assert!(!runs_again, "job {id} was told cancelled, and is given out again");
        let before = known.attempt;
        assert!(grant.attempt > before, "job {id} has attempt {} after {before}", grant.attempt);
        if let Some(lease) = known.lease {
            let over = !lease.sure || lease.until <= at;
            assert!(over, "job {id} is given out at {at}, but is leased until {}", lease.until);
        }
        if *at_once && grant.attempt == Attempt(1) && !known.edited {
            let last = self.in_turn.entry((queue.clone(), *key, *priority)).or_default();
            assert!(id > *last, "job {id} of {queue} is given out after {last}");
            *last = id;
        }
        known.attempt = grant.attempt;
        known.lease = Some(Held {
            attempt: grant.attempt,
            until: grant.until,
            told: grant.until,
            session,
            sure: known.touched <= asked,
            extends: 0,
        });
    }

    /// Whether a lease is in force for sure.
    pub(crate) fn holds(&self, lease: LeaseId, now: Time) -> bool {
        let held = self.known.get(&lease.id).and_then(|known| known.lease);
        held.is_some_and(|held| held.attempt == lease.attempt && held.sure && held.until > now)
    }

    /// A settle is sent. Returns whether it must succeed.
    pub(crate) fn settles(&mut self, lease: LeaseId, completes: bool, now: Time) -> bool {
        let Some(known) = self.touch(lease.id) else { return false };
        known.enders += u32::from(completes);
        let held = known.lease.as_mut().filter(|held| held.attempt == lease.attempt);
        held.is_some_and(|held| std::mem::take(&mut held.sure) && held.until > now)
    }

    pub(crate) fn settled(&mut self, lease: LeaseId, end: End, result: Result<(), String>, must: bool) {
        let completed = end == End::Done;
        if let (true, Err(error)) = (must, &result) {
            panic!("a lease in force was refused: {error}");
        }
        let Some(known) = self.known.get_mut(&lease.id) else { return };
        match result {
            Ok(()) => {
                assert!(
                    known.attempt <= lease.attempt,
                    "attempt {} of job {} was settled though {} is newer",
                    lease.attempt,
                    lease.id,
                    known.attempt
                );
                assert!(
                    known.settled != Some(lease.attempt),
                    "a lease of job {} was settled twice",
                    lease.id
                );
                known.settled = Some(lease.attempt);
                known.ended = Some((lease.attempt, end));
                known.progress.settled();
                known.done |= completed && !known.edited;
            }
            Err(_) => known.enders = known.enders.saturating_sub(u32::from(completed)),
        }
    }

    /// An extend is sent, by which the lease may become shorter. Returns whether it must succeed, and until when the lease
    /// lasts then, as far as that is known.
    pub(crate) fn extends(&mut self, lease: LeaseId, until: Time, now: Time) -> (bool, Option<Time>) {
        let Some(known) = self.touch(lease.id) else { return (false, None) };
        let progress = known.progress;
        let expiry = self.sent(lease.id).map_or_else(Expiry::default, |sent| sent.expiry);
        let lasts = progress.lease_until(expiry, until);
        let until = until.min(expiry.end_by.plus(LEASE));
        self.awaited.shorten(lease, until);
        let must = self.lease(lease).is_some_and(|held| {
            let must = held.sure && held.until > now;
            (held.until, held.told, held.extends) =
                (held.until.min(until), held.told.min(until), held.extends + 1);
            must
        });
        (must, lasts)
    }

    pub(crate) fn extended(
        &mut self,
        lease: LeaseId,
        result: Result<Time, String>,
        (must, lasts): (bool, Option<Time>),
    ) {
        if let (true, Err(error)) = (must, &result) {
            panic!("a lease in force was refused: {error}");
        }
        if let (Ok(until), Some(lasts)) = (&result, lasts) {
            assert_eq!(*until, lasts, "how long a lease of job {} lasts", lease.id);
        }
        let newer = self.known.get(&lease.id).is_some_and(|known| known.attempt > lease.attempt);
        assert!(!newer || result.is_err(), "an old lease of job {} was extended", lease.id);
        let Some(held) = self.lease(lease) else { return };
        held.extends = held.extends.saturating_sub(1);
        if let (Ok(until), 0) = (result, held.extends) {
            let lasts = self.awaited.extended(lease, until);
            self.lease(lease).into_iter().for_each(|held| (held.until, held.told) = (lasts, until));
        }
    }

    fn touch(&mut self, id: JobId) -> Option<&mut Known> {
        self.asked += 1;
        let known = self.known.get_mut(&id)?;
        known.touched = self.asked;
        Some(known)
    }

    fn lease(&mut self, lease: LeaseId) -> Option<&mut Held> {
        self.known.get_mut(&lease.id)?.lease.as_mut().filter(|held| held.attempt == lease.attempt)
    }

    /// Each lease of which somebody was told, and until when its job is of use.
    pub(crate) fn held(&mut self) -> impl Iterator<Item = (LeaseId, &mut Held, Expiry)> {
        let batches = &self.batches;
        self.known.iter_mut().filter_map(|(id, known)| {
            let expiry = batches[known.batch].jobs[known.index].expiry;
            let held = known.lease.as_mut()?;
            Some((LeaseId { id: *id, attempt: held.attempt }, held, expiry))
        })
    }

    /// A lease has ended. Returns until when it was in force at least, if nobody has asked for another end.
    pub(crate) fn ends(&mut self, lease: LeaseId) -> Option<Time> {
        let known = self.known.get_mut(&lease.id).filter(|known| !known.edited)?;
        let held = known.lease.as_mut().filter(|held| held.attempt == lease.attempt)?;
        std::mem::take(&mut held.sure).then_some(held.until)
    }

    /// Whether somebody was told that this attempt has ended, or that the job has.
    pub(crate) fn has_ended(&self, lease: LeaseId) -> bool {
        let known = self.known.get(&lease.id);
        known.is_some_and(|known| known.done || known.settled == Some(lease.attempt))
    }

    /// A change by hand is sent.
    pub(crate) fn edits(&mut self, edit: &Edit, id: JobId) {
        let Some(known) = self.touch(id) else { return };
        known.edited = true;
        match edit {
            Edit::Cancel | Edit::Bury => {
                known.lease = None;
                known.enders += u32::from(*edit == Edit::Cancel);
            }
            Edit::Delete => known.enders += 1,
            Edit::Retry | Edit::Kick => (known.done, known.progress.revived) = (false, true),
            Edit::Move(_) | Edit::ReplaceBody(_) | Edit::Prioritize(_) => {}
        }
    }

    /// A job was told cancelled: it runs no more, however it was at that time.
    pub(crate) fn cancelled(&mut self, id: JobId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.cancelled = true;
        }
    }

    /// A purge is sent.
    pub(crate) fn purges(&mut self, queue: &QueueName) {
        for known in self.known.values_mut() {
            // One that was changed may have been moved.
            let was_there = self.batches[known.batch].jobs[known.index].queue == *queue;
            known.enders += u32::from(was_there || known.edited);
        }
        for batch in &mut self.batches {
            batch.purged |= batch.jobs.iter().any(|sent| sent.queue == *queue);
        }
    }

    /// Leases of one connection, or of all, may be over.
    pub(crate) fn lets_go(&mut self, session: Option<u64>) {
        for held in self.known.values_mut().filter_map(|known| known.lease.as_mut()) {
            if held.session.is_some() && (session.is_none() || session == held.session) {
                held.sure = false;
            }
        }
    }

    /// A holder was told that its lease is over.
    pub(crate) fn revoked(&mut self, lease: LeaseId, expired: bool, now: Time) {
        if let Some(held) = self.lease(lease) {
            assert!(
                !(expired && held.sure && held.until > now),
                "job {} was taken before its time",
                lease.id
            );
            held.sure = false;
        }
        if let Some(known) = self.known.get_mut(&lease.id).filter(|_| expired) {
            known.progress.begun = true;
        }
    }

    /// Jobs were told gone.
    pub(crate) fn forgotten(&mut self, jobs: IdRange, now: Time) {
        for id in jobs.iter() {
            let may_be_gone = self.may_be_gone(id, now);
            if self.known.remove(&id).is_some() {
                assert!(may_be_gone, "job {id} is gone, and nobody has asked for that");
                self.bodies.forget(id);
                self.places.forget(id);
            }
            self.gone.insert(id);
        }
        while self.gone.len() > 4_096 {
            self.gone.pop_first();
        }
    }

    /// Each job that was told is in the state, unless it may be gone; none that was told gone is; none that was told
    /// done is to run.
    pub(crate) fn check(&mut self, state: &State, now: Time) {
        let known = &self.known;
        self.kept.check(state, |id| known.get(&id).is_none_or(|known| known.edited));
        assert!(
            state.next_id() > self.highest,
            "job {} was told, but the next is {}",
            self.highest,
            state.next_id()
        );
        for (id, known) in &self.known {
            let Some(job) = state.job(*id) else {
                assert!(self.may_be_gone(*id, now), "job {id} was told, and is lost");
                continue;
            };
            let expiry = self.batches[known.batch].jobs[known.index].expiry;
            if let musher::core::JobState::Expired(end) = job.state() {
                assert!(
                    known.progress.may_expire(expiry, end.at),
                    "job {id} has expired too soon: {expiry:?}"
                );
            }
            let sure = known.lease.filter(|held| held.sure && held.until > now && !known.edited);
            assert!(
                sure.is_none_or(|held| job.lease().is_some_and(|(attempt, _)| attempt == held.attempt)),
                "job {id} has no lease any more, and nobody has ended it: {sure:?} {job:?}"
            );
            assert!(
                job.attempt() >= known.attempt,
                "job {id}: attempt {} after {}",
                job.attempt(),
                known.attempt
            );
            let ended = known.ended.filter(|(attempt, _)| *attempt == job.attempt() && !known.edited);
            assert!(
                ended.is_none_or(|(_, end)| end.allows(job)),
                "job {id}, an attempt of which has ended so: {ended:?}, is {:?}",
                job.state()
            );
            assert!(
                !known.done || job.kind() == StateKind::Done,
                "job {id} was told done: {:?}",
                job.state()
            );
        }
        for id in &self.gone {
            assert!(!state.contains(*id), "job {id} was told gone, and is here again");
        }
    }

    /// After a start: each job has its contents whole, and of a submit that was not answered all jobs are there or none.
    pub(crate) fn found(&mut self, jobs: &[(JobId, Bytes, Option<Envelope>)], state: &State, now: Time) {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for (id, body, envelope) in jobs {
            let is_new = !self.known.contains_key(id);
            let (batch, index) = self.read(*id, body);
            if is_new {
                *counts.entry(batch).or_default() += 1;
            }
            let sent = &self.batches[batch].jobs[index];
            assert_eq!(sent.envelope, *envelope, "what is written on job {id}");
            let spec = state.job(*id).map(|job| job.spec.clone()).expect("it was found there");
            self.places.seen(*id, (&sent.queue, sent.priority), (&spec.queue, spec.priority));
            let found = which(body).expect("it was read just now");
            self.bodies.found(*id, (batch, index), found);
        }
        self.places.settle();
        for (batch, count) in counts {
            let (batch, new) = (&self.batches[batch], self.batches[batch].new);
            let may_lack = batch.seen || batch.may_lack(now);
            assert!(may_lack || count == new, "{count} of the {new} jobs of a submit are there");
        }
    }

    /// What was in flight when the process ended may have happened: what is not there any more is not known any more.
    pub(crate) fn drop_missing(&mut self, state: &State) {
        // Their ids are given again.
        self.bodies.begin_anew(state.next_id());
        self.places.begin_anew(state.next_id());
        self.asked_as.retain(|id, _| *id < state.next_id());
        let (gone, bodies, places) = (&mut self.gone, &mut self.bodies, &mut self.places);
        self.known.retain(|id, _| {
            let is_there = state.contains(*id) || !gone.insert(*id);
            if !is_there {
                bodies.forget(*id);
                places.forget(*id);
            }
            is_there
        });
    }
}
