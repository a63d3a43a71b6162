//! The loop of a worker, over all its connections: it owns the slots and the handlers, and says when all stops. Claims, answers and
//! attempts are tasks that send it events; a round takes all events there are, then sends one settle for all that has ended
//! and a claim for each queue that has slots free.

use super::WorkerError;
use super::attempt::{self, END_TIME};
use super::lanes::{LaneId, Lanes};
use super::session::{Event, GRACE_MAX, Note, Session};
use super::shared::Shared;
use crate::client::resuming::{Dial, NextStep, Return, done};
use crate::client::{Again, Client, ClientError, next_notice, uneven};
use crate::protocol::ClaimedJob;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How many events make one round.
const ROUND_MAX: usize = 256;
/// How long after the last handler was ended the worker waits for it and for the daemon's answers.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// How often the socket may be closed to us before we believe it: a daemon that starts opens it a moment after it has made it.
const DENIED_MAX: u32 = 5;

/// What a worker calls itself.
const NAME: &str = "worker";

/// A worker at work.
pub(super) struct Run {
    lanes: Lanes,
    grace: Duration,
    dial: Dial,
    /// Whether its leases may outlive the daemon.
    outlives: bool,
    /// Those that run, of all connections. They are aborted when this is dropped.
    attempts: JoinSet<()>,
    notes: mpsc::UnboundedSender<Note>,
    inbox: mpsc::UnboundedReceiver<Note>,
    sessions: u64,
    /// When the worker leaves, whatever is still open; set when it begins to stop.
    leave_at: Option<Instant>,
    refused: Option<ClientError>,
    /// The jobs of which nobody could be told how they have ended, when the worker stopped.
    untold: Vec<u64>,
}

/// When the worker is to stop: a future that is not polled after its end.
struct Shutdown<'a, F> {
    asked: Pin<&'a mut F>,
    is_over: bool,
}

impl<F: Future<Output = ()>> Shutdown<'_, F> {
    async fn comes(&mut self) {
        if self.is_over {
            return std::future::pending().await;
        }
        self.asked.as_mut().await;
        self.is_over = true;
    }
}

/// How a session ended.
enum End {
    /// The worker has stopped.
    Stopped,
    Disconnected,
}

impl Run {
    pub(super) fn new(lanes: Lanes, grace: Duration, (dial, outlives): (Dial, bool)) -> Run {
        let (notes, inbox) = mpsc::unbounded_channel();
        Run {
            lanes,
            grace,
            dial,
            outlives,
            attempts: JoinSet::new(),
            notes,
            inbox,
            sessions: 0,
            leave_at: None,
            refused: None,
            untold: Vec::new(),
        }
    }

    pub(super) async fn work<F: Future<Output = ()>>(mut self, shutdown: F) -> Result<(), WorkerError> {
        let mut shutdown = Shutdown { asked: pin!(shutdown), is_over: false };
        let mut was_there = false;
        while let Some(connected) = self.connect(&mut shutdown, was_there).await {
            was_there = true;
            let end = self.serve(connected, &mut shutdown).await;
            if matches!(end, End::Stopped) || self.leave_at.is_some() {
                break;
            }
        }
        self.leave().await;
        match (self.refused, self.untold) {
            (Some(error), _) => Err(error.into()),
            (None, untold) if untold.is_empty() => Ok(()),
            (None, jobs) => Err(WorkerError::Untold { jobs }),
        }
    }

    /// Calls the daemon until it answers. Nothing, if the worker is to stop, or it is of no use.
    async fn connect<F: Future<Output = ()>>(
        &mut self,
        shutdown: &mut Shutdown<'_, F>,
        was_there: bool,
    ) -> Option<(Client, Option<Return>)> {
        let (mut again, mut denied, mut is_said) = (Again::default(), 0, was_there);
        if was_there {
            tracing::warn!("the daemon is gone; waiting for it to come back");
        }
        // Not at once where there was one: a daemon that closes connections is not helped by more of them.
        let mut waits = was_there;
        loop {
            let dialed = async {
                if waits {
                    sleep(uneven(again.wait())).await;
                }
                let client = (self.dial)().await?;
                let back = match self.outlives {
                    true => Return::announce(&client, NAME, self.dial.clone()).await,
                    false => None,
                };
                Ok((client, back))
            };
            let dialed = tokio::select! {
                biased;
                () = shutdown.comes() => return None,
                dialed = dialed => dialed,
            };
            let error = match dialed {
                Ok(connected) => {
                    if is_said {
                        tracing::info!("the daemon is there");
                    }
                    return Some(connected);
                }
                Err(error) => error,
            };
            denied = if is_denied(&error) { denied + 1 } else { 0 };
            if !error.heals() || denied >= DENIED_MAX {
                self.refused = Some(error);
                return None;
            }
            if !std::mem::replace(&mut is_said, true) {
                tracing::warn!("{error}; waiting for it");
            }
            waits = true;
        }
    }

    /// Works until the worker has stopped, or the connection ends for good.
    async fn serve<F: Future<Output = ()>>(
        &mut self,
        connected: (Client, Option<Return>),
        shutdown: &mut Shutdown<'_, F>,
    ) -> End {
        self.sessions += 1;
        let mut session = Session::new(connected, self.sessions, self.notes.clone());
        let mut next_step: Option<NextStep> = None;
        let mut round = Vec::with_capacity(ROUND_MAX);
        loop {
            let now = Instant::now();
            session.act(now);
            if !session.is_stopping() && !session.is_away() {
                session.claim(&mut self.lanes, now);
            }
            if self.is_over(&session, now) {
                self.untold = session.untold();
                return End::Stopped;
            }
            if next_step.is_none() {
                next_step = session.call(self.lanes.is_claiming());
            }
            let wake = self.next_wake(&session);
            tokio::select! {
                biased;
                () = &mut session.closed, if !session.is_away() => if !session.lose(now) {
                    return self.disconnected(&mut session);
                },
                step = done(&mut next_step) => match session.step(step) {
                    Ok(next) => next_step = next,
                    Err(()) => return self.disconnected(&mut session),
                },
                () = shutdown.comes() => self.stop(&mut session),
                notice = next_notice(&mut session.notices) => session.heed(notice, &self.lanes),
                _ = self.inbox.recv_many(&mut round, ROUND_MAX) => {
                    round.drain(..).for_each(|note| self.take(&mut session, note));
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    fn disconnected(&mut self, session: &mut Session) -> End {
        session.give_up();
        self.lanes.disconnected();
        End::Disconnected
    }

    fn next_wake(&self, session: &Session) -> Option<Instant> {
        let claims = !session.is_stopping() && !session.is_away();
        let retry = self.lanes.next_retry().filter(|_| claims);
        [retry, session.next_wake(), self.leave_at].into_iter().flatten().min()
    }

    fn is_over(&self, session: &Session, now: Instant) -> bool {
        let Some(leave_at) = self.leave_at else { return false };
        let is_quiet = session.is_quiet() && !self.lanes.is_claiming();
        // For a daemon that is away it waits no longer than handlers have time.
        let is_alone = session.is_away() && session.has_stopped();
        (self.lanes.running() == 0 && (is_quiet || is_alone)) || leave_at <= now
    }

    /// No more claims from here on; what runs has the grace.
    fn stop(&mut self, session: &mut Session) {
        session.stop_after(self.grace, &self.lanes);
        let longest = self.grace.min(GRACE_MAX) + END_TIME + LAST_WAIT;
        self.leave_at.get_or_insert(Instant::now() + longest);
    }

    fn take(&mut self, session: &mut Session, note: Note) {
        let is_of_this = session.is_about(&note);
        match note.event {
            // A slot is free, whatever connection its job came from.
            Event::Ended(lane, lease, verdict) => {
                self.lanes.ended(lane);
                while self.attempts.try_join_next().is_some() {}
                if is_of_this {
                    session.ended(lease, verdict);
                }
            }
            _ if !is_of_this => {}
            Event::Claimed(lane, answer) => self.take_jobs(session, lane, answer),
            Event::Settled(items, answer) => session.settled(items, answer),
            Event::Extended(leases, asked_at, answer) => session.extended((&leases, asked_at), answer),
        }
    }

    fn take_jobs(
        &mut self,
        session: &mut Session,
        lane: LaneId,
        answer: Result<Vec<ClaimedJob>, ClientError>,
    ) {
        match answer {
            Ok(jobs) => {
                let free = self.lanes.claimed(lane, jobs.len(), Instant::now());
                let free = if session.is_stopping() { 0 } else { free };
                for (at, job) in jobs.into_iter().enumerate() {
                    if at < free {
                        self.start(session, lane, job);
                    } else {
                        session.give_back(job.lease);
                    }
                }
            }
            // The loop sees the end of the connection by itself.
            Err(error) if error.is_disconnect() => self.lanes.unanswered(lane),
            Err(error) if error.heals() => {
                let wait = self.lanes.claim_again_later(lane, Instant::now());
                tracing::info!("no jobs for now: {error}; asking again in {wait:?}");
            }
            Err(error) => {
                tracing::error!("{error}; the worker stops");
                // So that it is not asked again while what runs has its grace.
                self.lanes.claim_again_later(lane, Instant::now());
                self.refused.get_or_insert(error);
                self.stop(session);
            }
        }
    }

    fn start(&mut self, session: &mut Session, lane: LaneId, mut job: ClaimedJob) {
        let (handler, asked_ms) = self.lanes.occupy(lane);
        let (lease, body) = (job.lease, std::mem::take(&mut job.body));
        let shared = Arc::new(Shared::new(session.line.clone(), job));
        session.keep(&shared, asked_ms);
        let reporter = session.reporter.clone();
        self.attempts.spawn(async move {
            let verdict = attempt::run(shared, handler, body).await;
            reporter.tell(Event::Ended(lane, lease, verdict));
        });
    }

    /// Waits for handlers that have been told to end. One that blocks its thread cannot be ended: its lease is
    /// not extended any more.
    async fn leave(&mut self) {
        let gone = async { while self.attempts.join_next().await.is_some() {} };
        if timeout(END_TIME + LAST_WAIT, gone).await.is_err() {
            tracing::warn!(
                "{} handlers have not ended: they block the threads that they run on",
                self.attempts.len()
            );
        }
    }
}

fn is_denied(error: &ClientError) -> bool {
    matches!(error, ClientError::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}
