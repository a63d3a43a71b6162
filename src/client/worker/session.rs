//! What a worker has of the daemon: the leases of what runs, claims and settles under way. It outlasts the connection if the
//! daemon knows the worker (`away`), and ends with it if not. It decides nothing of when the worker stops.

use super::context::Reason;
use super::lanes::{LaneId, Lanes};
use super::shared::Shared;
use crate::client::line::{Line, Switch, line};
use crate::client::resuming::Return;
use crate::client::{Client, ClientError, Leases, report_lost, results_of, send_now};
use crate::protocol::{ClaimedJob, LeaseFault, LeaseRef, Notice, Revocation, Settle, Verdict};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many extends wait for their answers: a daemon that stands still gets no more.
const EXTENDS_MAX: usize = 64;
/// About how many bytes a settle takes beside its error.
const SETTLE_BYTES: usize = 64;
/// A grace is never longer.
pub(super) const GRACE_MAX: Duration = Duration::from_secs(365 * 86_400);

/// What the tasks of a worker report.
pub(super) enum Event {
    Claimed(LaneId, Result<Vec<ClaimedJob>, ClientError>),
    /// A handler has ended; what the daemon is to be told.
    Ended(LaneId, LeaseRef, Option<Verdict>),
    Settled(Vec<Settle>, Result<Vec<Result<(), LeaseFault>>, ClientError>),
    /// With when it was asked for.
    Extended(Vec<LeaseRef>, Instant, Result<Vec<Result<u64, LeaseFault>>, ClientError>),
}

/// An event, and the session that it is about, by its number.
pub(super) struct Note {
    pub(super) session: u64,
    pub(super) event: Event,
}

/// Where tasks report to.
#[derive(Clone)]
pub(super) struct Reporter {
    session: u64,
    // Bounded without a bound of its own: an event a slot, and one a request under way.
    notes: mpsc::UnboundedSender<Note>,
}

impl Reporter {
    pub(super) fn tell(&self, event: Event) {
        // The worker may have ended before the answer came; then it is not needed.
        let _ = self.notes.send(Note { session: self.session, event });
    }
}

/// Returns when a connection has ended.
type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) fn closed(client: &Client) -> Closed {
    let client = client.clone();
    Box::pin(async move { client.closed().await })
}

/// A worker as the daemon knows it.
pub(super) struct Session {
    /// The newest connection.
    pub(super) client: Client,
    pub(super) closed: Closed,
    pub(super) notices: Option<mpsc::UnboundedReceiver<Notice>>,
    /// The same connection, for handlers.
    pub(super) line: Line,
    pub(super) switch: Switch,
    /// How to come back when it has ended; nothing, if all ends with it.
    pub(super) back: Option<Return>,
    /// Set while it has ended and there is no other yet: before this time no lease ends.
    pub(super) away: Option<Instant>,
    pub(super) reporter: Reporter,
    pub(super) leases: Leases<Arc<Shared>>,
    /// Verdicts that are to be sent.
    pub(super) settles: Vec<Settle>,
    /// Settle requests without an answer.
    pub(super) settling: usize,
    /// Extends without an answer.
    pub(super) extending: usize,
    stop: Stop,
    /// Whether it is the daemon that wants that.
    pub(super) daemon_stops: bool,
}

/// Whether what runs is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// At this time; until then nothing is claimed any more.
    At(Instant),
    /// It has been told to.
    Told,
}

impl Session {
    pub(super) fn new(
        (client, back): (Client, Option<Return>),
        number: u64,
        notes: mpsc::UnboundedSender<Note>,
    ) -> Session {
        let (switch, line) = line(client.clone());
        Session {
            closed: closed(&client),
            notices: client.notices(),
            client,
            line,
            switch,
            back,
            away: None,
            reporter: Reporter { session: number, notes },
            leases: Leases::default(),
            settles: Vec::new(),
            settling: 0,
            extending: 0,
            stop: Stop::No,
            daemon_stops: false,
        }
    }

    pub(super) fn is_about(&self, note: &Note) -> bool {
        note.session == self.reporter.session
    }

    /// What follows from the time: what runs is told to end, and leases are extended. Then the settles of this round leave.
    pub(super) fn act(&mut self, now: Instant) {
        if let Stop::At(at) = self.stop
            && at <= now
        {
            self.stop = Stop::Told;
            self.end_all(Reason::Stopping);
        }
        if self.is_away() {
            return self.end_overdue(now);
        }
        self.extend(now);
        self.settle();
    }

    /// When [`Session::act`] is to be called at the latest.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let stop = if let Stop::At(at) = self.stop { Some(at) } else { None };
        let lease = match self.away {
            None => self.leases.next_extend(),
            Some(earliest) => self.leases.next_end(earliest),
        };
        [stop, lease].into_iter().flatten().min()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop != Stop::No
    }

    /// Whether what runs has been told to.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop == Stop::Told
    }

    /// Whether nothing is to be sent or waited for but what handlers say.
    pub(super) fn is_quiet(&self) -> bool {
        self.settles.is_empty() && self.settling == 0
    }

    /// The jobs of which the daemon was not told how they have ended, since it is away.
    pub(super) fn untold(&self) -> Vec<u64> {
        // What is given back has come to nothing, and is given out again in any case.
        let is_result = |item: &&Settle| !matches!(item.verdict, Verdict::Release { .. });
        let settles = self.settles.iter().filter(|_| self.is_away());
        settles.filter(is_result).map(|item| item.lease.id).collect()
    }

    /// Nothing is claimed any more, and what runs is told to end after the grace.
    pub(super) fn stop_after(&mut self, grace: Duration, lanes: &Lanes) {
        let at = Instant::now() + grace.min(GRACE_MAX);
        self.stop = match self.stop {
            Stop::Told => Stop::Told,
            Stop::At(earlier) => Stop::At(earlier.min(at)),
            Stop::No => {
                for number in lanes.claims_under_way() {
                    let client = self.client.clone();
                    // If it fails the connection is gone, and with it the claim.
                    send_now(async move { drop(client.unwait(number).await) });
                }
                Stop::At(at)
            }
        };
    }

    /// Tells all handlers to end.
    pub(super) fn end_all(&self, why: Reason) {
        self.leases.holders().for_each(|shared| shared.end(why));
    }

    pub(super) fn claim(&self, lanes: &mut Lanes, now: Instant) {
        for (lane, claim) in lanes.claims(self.client.limits().batch, now) {
            // If it fails the connection is gone, which the loop sees by itself.
            let Ok(pending) = self.client.start_claim(claim) else { return };
            lanes.claiming(lane, pending.number);
            let reporter = self.reporter.clone();
            send_now(async move { reporter.tell(Event::Claimed(lane, pending.answer.await)) });
        }
    }

    /// Keeps the lease of a job that begins.
    pub(super) fn keep(&mut self, shared: &Arc<Shared>, asked_ms: Option<u64>) {
        self.leases.insert(shared.job.lease, shared.job.lease_ms, asked_ms, shared.clone());
    }

    /// A handler has ended.
    pub(super) fn ended(&mut self, lease: LeaseRef, verdict: Option<Verdict>) {
        self.leases.remove(lease);
        self.settles.extend(verdict.map(|verdict| Settle { lease, verdict }));
    }

    /// A job does not begin.
    pub(super) fn give_back(&mut self, lease: LeaseRef) {
        self.settles.push(Settle { lease, verdict: Verdict::Release { delay_ms: 0 } });
    }

    pub(super) fn settled(
        &mut self,
        mut items: Vec<Settle>,
        answer: Result<Vec<Result<(), LeaseFault>>, ClientError>,
    ) {
        self.settling -= 1;
        if self.back.is_some() && answer.as_ref().is_err_and(ClientError::is_disconnect) {
            // Whether the daemon has it, the next one says.
            return self.settles.append(&mut items);
        }
        report_lost(&results_of(&items), answer);
    }

    pub(super) fn extended(
        &mut self,
        (leases, asked_at): (&[LeaseRef], Instant),
        answer: Result<Vec<Result<u64, LeaseFault>>, ClientError>,
    ) {
        self.extending -= 1;
        for (lease, _) in leases.iter().zip(answer.iter().flatten()).filter(|(_, result)| result.is_ok()) {
            self.leases.was_extended(*lease, asked_at);
        }
        for (lease, fault) in self.leases.extended(leases, answer) {
            self.lose_lease(lease, &fault);
        }
    }

    /// The daemon says that a lease is not in force.
    pub(super) fn lose_lease(&mut self, lease: LeaseRef, fault: &LeaseFault) {
        match self.leases.holder(lease).map(|shared| shared.may_be_complete()) {
            None => {}
            Some(true) => self.leases.give_up(lease),
            Some(false) => {
                tracing::warn!("the handler of job {} is told to end: {fault}", lease.id);
                self.revoke(lease, if fault.is_cancelled() { Reason::Cancelled } else { Reason::LeaseLost });
            }
        }
    }

    pub(super) fn heed(&mut self, notice: Notice, lanes: &Lanes) {
        match notice {
            Notice::Revoked { lease, why: Revocation::Cancelled } => self.revoke(lease, Reason::Cancelled),
            Notice::Revoked { lease, why: Revocation::Expired } => self.revoke(lease, Reason::LeaseLost),
            Notice::Stopping { grace_ms } => {
                tracing::info!("the daemon is stopping: its jobs are told to end in {grace_ms} ms");
                self.daemon_stops = true;
                self.stop_after(Duration::from_millis(grace_ms), lanes);
            }
            Notice::Reconfigured => {}
        }
    }

    pub(super) fn revoke(&mut self, lease: LeaseRef, why: Reason) {
        self.leases.give_up(lease);
        if let Some(shared) = self.leases.holder(lease) {
            shared.end(why);
        }
    }

    fn extend(&mut self, now: Instant) {
        for (lease_ms, leases) in self.leases.take_due(now) {
            for leases in leases.chunks(self.client.limits().batch.max(1)) {
                // Behind so many that nobody answers one more would only wait.
                if self.extending >= EXTENDS_MAX {
                    return;
                }
                let (client, reporter, leases) =
                    (self.client.clone(), self.reporter.clone(), leases.to_vec());
                self.extending += 1;
                send_now(async move {
                    let answer = client.extend(leases.clone(), lease_ms).await;
                    reporter.tell(Event::Extended(leases, now, answer));
                });
            }
        }
    }

    fn settle(&mut self) {
        while !self.settles.is_empty() {
            let limits = self.client.limits();
            let rest = self.settles.split_off(fitting(&self.settles, limits.batch, limits.frame / 2));
            let items = std::mem::replace(&mut self.settles, rest);
            let (client, reporter) = (self.client.clone(), self.reporter.clone());
            self.settling += 1;
            send_now(async move {
                let answer = client.settle(items.clone()).await;
                reporter.tell(Event::Settled(items, answer));
            });
        }
    }
}

/// How many of these fit in one request; at least one.
fn fitting(settles: &[Settle], batch: usize, bytes: usize) -> usize {
    let mut left = bytes;
    let fits = |settle: &&Settle| {
        let size = SETTLE_BYTES + error(&settle.verdict).len();
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    };
    settles.iter().take(batch).take_while(fits).count().max(1)
}

fn error(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Fail { error, .. }
        | Verdict::FailRetryAfter { error, .. }
        | Verdict::FailDead { error, .. }
        | Verdict::Exited { error, .. }
        | Verdict::Later { error, .. } => error,
        // Results go by themselves: `Context::complete_with`.
        Verdict::Complete | Verdict::CompleteWith(_) | Verdict::Await { .. } | Verdict::Release { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_no_more_settles_than_it_may_and_at_least_one() {
        let settle = |error: &str| Settle {
            lease: LeaseRef { id: 1, attempt: 1 },
            verdict: Verdict::Fail { error: error.into(), exit: None },
        };
        let settles = vec![settle(&"x".repeat(936)); 5];
        assert_eq!(fitting(&settles, 1_000, 1 << 20), 5);
        assert_eq!(fitting(&settles, 3, 1 << 20), 3);
        assert_eq!(fitting(&settles, 1_000, 2_999), 2);
        assert_eq!(fitting(&settles, 1_000, 3_000), 3);
        assert_eq!((fitting(&settles, 1_000, 0), fitting(&settles, 0, 9_999)), (1, 1));
    }
}
