//! What happens to jobs that belong to a trace, as the spans of it: that they were submitted, how long each of their attempts was waited
//! for, and how long it ran and how it ended. It is told where the core tells of changes, and by whoever reads what stands on a job
//! anyway; somebody fetches what is finished now and then. Nothing depends on it, and where no traces are wanted there is none. It must
//! not know clocks, nor who is sent what it has, and of ours only `core` and `traceparent`.

#[cfg(test)]
mod tests;

use crate::core::{Attempt, Change, Event, IdRange, JobId, QueueName, Time};
use crate::traceparent::Traceparent;
use rustc_hash::FxHashMap;

/// So many finished spans wait for whoever fetches them; more are lost, and counted.
pub const KEPT_MAX: usize = 8_192;

/// A part of a trace that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: u128,
    /// The span that it is a part of: the one that has submitted the job.
    pub parent: u64,
    /// Its own number; never 0.
    pub id: u64,
    /// When it began and ended, in microseconds since 1970, as the core has the time.
    pub begun: u64,
    /// See `begun`.
    pub ended: u64,
    /// The queue.
    pub queue: QueueName,
    /// The job, or the first one of them.
    pub job: JobId,
    /// What has happened.
    pub what: What,
}

/// What a span is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// So many jobs were submitted, until they were on disk.
    Submit {
        /// How many, with ids in a row.
        jobs: u64,
    },
    /// A job waited for an attempt: since it was ready.
    Wait {
        /// The number of the attempt.
        attempt: Attempt,
    },
    /// An attempt: from its lease to the end of it.
    Run {
        /// Its number.
        attempt: Attempt,
        /// How it ended, in a word.
        end: &'static str,
        /// If that was not as it should be, why.
        error: Option<Box<str>>,
    },
}

/// An attempt that goes on, of a job that may belong to a trace.
#[derive(Debug)]
struct Running {
    attempt: Attempt,
    ready_since: Time,
    began: Time,
    /// Its trace, once it is known that there is one.
    place: Option<Traceparent>,
}

/// What is known of traces.
#[derive(Debug)]
pub struct Spans {
    /// What the numbers of spans are made from.
    seed: u64,
    running: FxHashMap<JobId, Running>,
    /// What ends when the turn's commit is on disk.
    committing: Vec<Span>,
    finished: Vec<Span>,
    /// How many were sent, and lost: for people.
    sent: u64,
    lost: u64,
}

impl Spans {
    /// Nothing has happened. `seed`: a random number, so that no other program's spans have the numbers of these.
    pub fn new(seed: u64) -> Spans {
        let (running, committing, finished) = Default::default();
        Spans { seed, running, committing, finished, sent: 0, lost: 0 }
    }

    /// Jobs have changed. `ready_since` says since when one of them was ready, as far as that is known.
    pub fn changed(&mut self, change: &Change<'_>, ready_since: impl Fn(JobId) -> Option<Time>, now: Time) {
        let Change { jobs, job, forgotten, .. } = *change;
        if matches!(change.event, Event::Claimed { .. }) {
            // Only then something is written on it.
            if job.spec.has_envelope {
                for id in jobs.iter() {
                    let ready_since = ready_since(id).unwrap_or(now);
                    let running = Running { attempt: job.attempt(), ready_since, began: now, place: None };
                    self.running.insert(id, running);
                }
            }
        } else if change.lease.is_some() && (forgotten || job.lease().is_none()) && !self.running.is_empty() {
            self.ended(change, now);
        }
    }

    /// A job that was just leased belongs to this trace, or to none that is recorded.
    pub(crate) fn belongs_to(&mut self, id: JobId, queue: &QueueName, place: Option<Traceparent>) {
        let Some(place) = place.filter(|place| place.is_sampled) else {
            self.running.remove(&id);
            return;
        };
        let Some(running) = self.running.get_mut(&id) else { return };
        running.place = Some(place);
        let (begun, ended) = (micros(running.ready_since), micros(running.began));
        let what = What::Wait { attempt: running.attempt };
        let span = self.span(place, (begun, ended), (queue, id), what);
        self.finish(span);
    }

    /// New jobs of a trace, which will be on disk with the commit of this turn.
    pub(crate) fn submitted(&mut self, jobs: IdRange, queue: &QueueName, place: Traceparent, now: Time) {
        if place.is_sampled {
            let (at, what) = (micros(now), What::Submit { jobs: jobs.len });
            let span = self.span(place, (at, at), (queue, jobs.first), what);
            self.committing.push(span);
        }
    }

    /// The commit of a turn that began at `now` is on disk, so many microseconds later.
    pub fn committed(&mut self, now: Time, took: u64) {
        for mut span in std::mem::take(&mut self.committing) {
            span.ended = span.begun.max(micros(now) + took);
            self.finish(span);
        }
    }

    /// What is finished.
    pub fn take(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.finished)
    }

    /// What has become of spans that were taken.
    pub fn note(&mut self, sent: u64, lost: u64) {
        self.sent += sent;
        self.lost += lost;
    }

    /// How many were sent, and how many lost.
    pub fn sent_and_lost(&self) -> (u64, u64) {
        (self.sent, self.lost)
    }

    fn ended(&mut self, change: &Change<'_>, now: Time) {
        let jobs = change.jobs;
        // There are as many leases as workers, and a change may be of millions of jobs.
        let ids: Vec<JobId> = match jobs.len as usize > self.running.len() {
            true => self.running.keys().copied().filter(|id| jobs.contains(*id)).collect(),
            false => jobs.iter().collect(),
        };
        for id in ids {
            if let Some(Running { attempt, began, place: Some(place), .. }) = self.running.remove(&id) {
                let (end, error) = end_of(change);
                let what = What::Run { attempt, end, error };
                let queue = &change.job.spec.queue;
                let span = self.span(place, (micros(began), micros(now)), (queue, id), what);
                self.finish(span);
            }
        }
    }

    fn span(
        &mut self,
        place: Traceparent,
        (begun, ended): (u64, u64),
        (queue, job): (&QueueName, JobId),
        what: What,
    ) -> Span {
        let (trace, parent, id) = (place.trace, place.span, self.next_id());
        Span { trace, parent, id, begun, ended, queue: queue.clone(), job, what }
    }

    fn finish(&mut self, span: Span) {
        match self.finished.len() < KEPT_MAX {
            true => self.finished.push(span),
            false => self.lost += 1,
        }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), whose numbers come again after 2^64 only.
    fn next_id(&mut self) -> u64 {
        loop {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.seed;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            if mixed != 0 {
                return mixed;
            }
        }
    }
}

fn micros(time: Time) -> u64 {
    time.0.saturating_mul(1_000)
}

/// How an attempt ended.
fn end_of(change: &Change<'_>) -> (&'static str, Option<Box<str>>) {
    let why = |text: &str| Some(text.into());
    match change.event {
        Event::Completed { .. } => ("completed", None),
        Event::Failed { error, .. } => ("failed", Some(error.clone())),
        Event::Deferred { .. } => ("later", None),
        Event::Awaits { .. } => ("awaits_signal", None),
        Event::Released { .. } => ("released", None),
        Event::Interrupted { .. } => {
            ("interrupted", why("its worker vanished, or said nothing for too long"))
        }
        Event::Expired { .. } => ("expired", why("its deadline has passed")),
        Event::Cancelled { .. } => ("cancelled", why("it was cancelled")),
        Event::Buried { .. } => ("buried", why("it was set aside by hand")),
        Event::Deleted { .. } => ("deleted", why("it was deleted")),
        // They end no leases.
        _ => ("ended", None),
    }
}
