//! One turn of the engine: what is due, claims that wait, one commit, and the answers that it allows.

use super::listener::Listener;
use super::{Answer, Claimed, Delivery, Engine, Fact, Refusal, Waiter};
use crate::core::{
    Claim, Command, Grant, Ids, JobId, LeaseId, Outcome, Rejection, Then, Time, Verdict, Visibility,
};
use crate::store::{AppendError, Blob, BlobError, Commit, Envelope, Store};
use bytes::Bytes;
use std::time::Duration;

/// How many jobs a claim gets before their bodies are measured.
const GRANT_STEP: u32 = 64;
/// How many ticks one turn makes at most: what is due beyond them waits for the next.
const TICKS_MAX: usize = 8;

/// What came of a turn.
#[derive(Debug, Default)]
pub struct Turned {
    /// What may leave now, in this order.
    pub deliveries: Vec<Delivery>,
    /// What the log should say.
    pub facts: Vec<Fact>,
    /// How long the disk was waited for.
    pub waited: Duration,
}

impl<S: Store> Engine<S> {
    /// Ends a turn: appends all that was decided, and gives what may leave now that so much is durable. While the log takes
    /// no more, what was decided stays where it is, and what is due is done only up to the bounds of a commit.
    ///
    /// # Errors
    /// Final: nothing may be acknowledged any more, and the process must end.
    pub fn turn(&mut self, now: Time) -> Result<Turned, AppendError> {
        if !self.is_stalled(now) {
            self.make_up_for_a_pause(now);
            self.give_up_the_absent(self.now.max(now));
            self.note_the_absent();
            self.do_what_is_due(now);
            self.fire_schedules(self.now.max(now));
            self.forget_idle_queues(now);
            self.serve_parked(now);
            self.serve_waiting(now);
            self.end_claims(now);
        }
        let waited = if self.store.can_append() { self.commit()? } else { Duration::ZERO };
        self.count_limits_hit();
        self.hold_back();
        Ok(Turned { waited, ..self.let_go() })
    }

    /// Appends what was decided. Returns how long the disk was waited for.
    pub(super) fn commit(&mut self) -> Result<Duration, AppendError> {
        if self.notes.events.is_empty() {
            return Ok(Duration::ZERO);
        }
        let mut commit = Commit {
            time: self.now,
            events: std::mem::take(&mut self.notes.events),
            bodies: std::mem::take(&mut self.bodies),
            replaced: self.replaced.take(),
            attached: self.attached.take(),
            envelopes: std::mem::take(&mut self.envelopes),
        };
        let waited = self.store.append(self.last.next(), &commit)?;
        self.last = self.last.next();
        self.plan_sweep();
        // The vectors' room is used again.
        commit.events.clear();
        commit.bodies.clear();
        commit.envelopes.clear();
        (self.notes.events, self.bodies, self.envelopes) = (commit.events, commit.bodies, commit.envelopes);
        self.new_ids = Ids::new();
        self.content_bytes = 0;
        Ok(waited)
    }

    /// A slice of the store's housekeeping. Returns when the engine wants its next turn even if nothing arrives.
    ///
    /// # Errors
    /// Final, as for [`Engine::turn`].
    pub fn housekeep(&mut self, now: Time) -> Result<Option<Time>, AppendError> {
        if !self.notes.events.is_empty() {
            // Decided since the turn, or still not taken: a checkpoint now would bring home what no commit has.
            let next = if self.awaits_log() { self.next_due_in_memory() } else { Some(now) };
            self.rest.begin(now, next);
            return Ok(next);
        }
        let store = self.store.maintain(&self.core.state, self.now.max(now))?;
        let unserved = (!self.notes.woken.is_empty() && !self.core.draining)
            || (self.notes.room_made && !self.parked.is_empty());
        let unserved = unserved.then_some(now);
        let next = [unserved, store, self.next_due(), self.next_schedule(now)].into_iter().flatten().min();
        self.rest.begin(now, next);
        Ok(next)
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        let due = [
            self.core.state.next_due(),
            self.waiting.next_deadline(),
            self.parked.next_deadline(),
            self.notes.limited.next_due(),
            self.notes.watching.next_deadline(),
            self.notes.watching_groups.next_deadline(),
            self.sweep_at,
            self.resuming.over_at(),
        ];
        due.into_iter().flatten().min()
    }

    /// Decides a command of one who sees all jobs, and notes what follows from it.
    pub(super) fn decide(&mut self, command: &Command, now: Time) -> Result<Outcome, Rejection> {
        self.decide_for(Visibility::ALL, command, now)
    }

    /// The same of one who may see some only.
    pub(super) fn decide_for(
        &mut self,
        visibility: Visibility<'_>,
        command: &Command,
        now: Time,
    ) -> Result<Outcome, Rejection> {
        let moment = self.moment(now);
        self.end_steps(moment.now);
        let claims_wait = self.waiting.len() > 0;
        let (notes, tally, now) = (&mut self.notes, &mut self.numbers.tally, moment.now);
        let spans = self.traces.as_deref_mut();
        let mut listener = Listener { notes, tally, spans, command, claims_wait, now };
        self.core.decide(command, visibility, moment, &mut listener)
    }

    fn do_what_is_due(&mut self, now: Time) {
        let now = self.now.max(now);
        for _ in 0..TICKS_MAX {
            if !self.tick_if_due(now) {
                break;
            }
        }
        self.wake_limited(now);
        for (origin, ends) in self.notes.watching.over(now) {
            self.end_wait(origin, ends);
        }
        for ended in self.notes.watching_groups.over(now) {
            self.end_group_wait(ended);
        }
    }

    /// Answers the claims that have waited long enough: what has become ready at the same moment, they have got.
    fn end_claims(&mut self, now: Time) {
        for waiter in self.waiting.over(self.now.max(now)) {
            self.answer(waiter.origin, Answer::Jobs(Vec::new()));
        }
    }

    /// Gives new work to the claims that wait for it, first come, first served. What would be too much for one
    /// turn is left for the next, queue after queue.
    pub(super) fn serve_waiting(&mut self, now: Time) {
        if self.core.draining {
            return;
        }
        let most = self.notes.said_bytes + self.bounds.commit_bytes;
        while let Some(queue) = self.notes.woken.pop() {
            while self.core.gives(&queue, now)
                && let Some((place, waiter)) = self.waiting.first_for(&queue)
            {
                let claim = waiter.claim.clone();
                let Some(Waiter { origin, .. }) = self.waiting.remove(place) else { break };
                let answer = self.grant(&claim, now).map_or_else(Answer::Refused, Answer::Jobs);
                self.answer(origin, answer);
                if self.notes.said_bytes >= most {
                    return self.notes.woken.push(&queue);
                }
            }
            if self.waiting.len_for(&queue) > 0 {
                self.note_limited(&queue, now);
            }
        }
    }

    /// Before a claim that comes between two turns, so that it gets no job whose time is over. It may be the first to come after a
    /// pause, which nobody's lease ends for.
    pub(super) fn catch_up(&mut self, now: Time) {
        self.make_up_for_a_pause(now);
        self.tick_if_due(now);
    }

    /// A step of what is due, if anything is. Returns whether it was.
    fn tick_if_due(&mut self, now: Time) -> bool {
        let now = self.now.max(now);
        let is_due = self.core.state.next_due().is_some_and(|due| due <= now);
        if is_due {
            self.command(&Command::Tick, now);
        }
        is_due
    }

    /// Leases jobs and fetches what is stored of them, up to about the bytes that one answer may have.
    pub(super) fn grant(&mut self, claim: &Claim, now: Time) -> Result<Vec<Claimed>, Refusal> {
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        // Until sizes are known, only so many are leased at once as would fit at their largest.
        let careful = (self.bounds.claim_bytes / self.bounds.body.max(1)).max(1) as u32;
        let mut step = Claim { max: claim.max.min(careful.min(GRANT_STEP)), ..claim.clone() };
        while step.max > 0 {
            let Outcome::Claimed(grants) = self.decide(&Command::Claim(step.clone()), now)? else {
                unreachable!("a claim is answered with grants")
            };
            let got = grants.len();
            jobs.reserve(got);
            let mut grants = grants.into_iter();
            while let Some(grant) = grants.next() {
                match self.claimed(grant, now) {
                    Ok(Some(job)) => {
                        bytes += job.bytes();
                        jobs.push(job);
                        // How many fit was reckoned by those before them: of larger ones it may be fewer.
                        if bytes >= self.bounds.claim_bytes {
                            self.give_back(grants.as_slice().iter(), now);
                            return Ok(jobs);
                        }
                    }
                    Ok(None) => {}
                    Err(refusal) => {
                        self.give_back(grants.as_slice().iter(), now);
                        return if jobs.is_empty() { Err(refusal) } else { Ok(jobs) };
                    }
                }
            }
            let left = (claim.max as usize).saturating_sub(jobs.len());
            if got == 0 || left == 0 || bytes >= self.bounds.claim_bytes {
                break;
            }
            let average = bytes / jobs.len().max(1) + 1;
            let fit = (self.bounds.claim_bytes - bytes) / average.max(self.bounds.claim_bytes / 4096);
            step.max = left.min(fit.max(1)).min(jobs.len().max(1) * 4) as u32;
        }
        Ok(jobs)
    }

    /// A job that was just leased, with what is stored of it; none if a part of that is lost, and the job is set aside. One that
    /// cannot be read now is given back.
    pub(super) fn claimed(&mut self, grant: Grant, now: Time) -> Result<Option<Claimed>, Refusal> {
        match self.fetch(&grant) {
            Ok(Fetched { body, envelope, checkpoint, signal }) => {
                self.trace_claim(&grant, envelope.as_ref());
                Ok(Some(Claimed { grant, body, envelope, checkpoint, signal }))
            }
            Err(error @ BlobError::Failed { .. }) => {
                self.give_back(std::iter::once(&grant), now);
                Err(error.into())
            }
            Err(error @ (BlobError::Missing { .. } | BlobError::Damaged { .. })) => {
                self.set_aside(grant.id, &error, now);
                Ok(None)
            }
        }
    }

    /// Jobs were leased for somebody who is not there any more: gives them back.
    pub fn undo_claim(&mut self, jobs: &[Claimed], now: Time) {
        self.give_back(jobs.iter().map(|job| &job.grant), now);
    }

    /// Ends leases of which nobody has learnt.
    fn give_back<'a>(&mut self, grants: impl ExactSizeIterator<Item = &'a Grant>, now: Time) {
        if grants.len() == 0 {
            return;
        }
        let release = |grant: &Grant| {
            (LeaseId { id: grant.id, attempt: grant.attempt }, Verdict::Release { delay: Duration::ZERO })
        };
        self.command(&Command::Settle { items: grants.map(release).collect() }, now);
    }

    /// What a worker needs of a job.
    fn fetch(&mut self, grant: &Grant) -> Result<Fetched, BlobError> {
        let body = self.find(Blob::Body, grant.id)?;
        let envelope = grant.spec.has_envelope.then(|| self.envelope(grant.id)).transpose()?;
        let checkpoint = grant.has_checkpoint.then(|| self.find(Blob::Checkpoint, grant.id)).transpose()?;
        let signal = grant.signal.as_ref().map(|signal| self.signal_body(grant.id, signal.no)).transpose()?;
        Ok(Fetched { body, envelope, checkpoint, signal })
    }

    /// A job of which a part is lost is nobody's work: it is set aside, with the reason. One that cannot be read just now
    /// is not lost.
    fn set_aside(&mut self, id: JobId, why: &BlobError, now: Time) {
        let Some((attempt, _)) = self.core.state.lease(id) else { return };
        let verdict = Verdict::Fail { error: why.to_string().into(), exit: None, then: Then::Bury };
        self.command(&Command::Settle { items: vec![(LeaseId { id, attempt }, verdict)] }, now);
    }
}

/// What is stored of a job that is handed out.
struct Fetched {
    body: Bytes,
    envelope: Option<Envelope>,
    checkpoint: Option<Bytes>,
    signal: Option<Bytes>,
}
