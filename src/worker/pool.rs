//! The loop that owns all slots, leases and deadlines of one connection. Claims, answers and attempts are tasks
//! that send it events; a round takes all events there are, then sends one settle for all that has ended and a
//! claim for each lane that has slots free. It knows jobs and leases, not processes (`attempt.rs`).

mod away;
mod held;
mod telling;

use super::attempt::{Attempt, Report};
use super::lanes::{LaneId, Lanes, Outdated, Room};
use super::leases::Leases;
use super::output::Unsent;
use super::push::Targets;
use super::supervise::{Order, STOP_GRACE};
use super::{Plan, Source, Surroundings, WorkerEnd};
use crate::client::line::{Line, Switch, line};
use crate::client::resuming::{NextStep, Return, done};
use crate::client::{Client, ClientError, next_notice, send_now};
use crate::protocol::admin::{AdminRequest, HandlerView};
use crate::protocol::{ClaimedJob, ErrorCode, LeaseFault, LeaseRef, Notice, Revocation, Settle};
pub(crate) use away::{Back, Finish};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// How many events make one round.
const ROUND_MAX: usize = 256;
/// How long after the last SIGKILL the pool waits for its processes and for the daemon's answers.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What the tasks of a pool report.
pub(super) enum Event {
    Handlers(Result<Vec<HandlerView>, ClientError>),
    Claimed(LaneId, Result<Vec<ClaimedJob>, ClientError>),
    /// An attempt has begun in a lane in which that was in doubt.
    Begun(LaneId),
    /// An attempt has ended, or will not begin.
    Ended(LaneId, LeaseRef, Report, Option<Unsent>),
    Settled(Vec<Settle>, Result<Vec<Result<(), LeaseFault>>, ClientError>),
    Extended(Vec<LeaseRef>, Result<Vec<Result<u64, LeaseFault>>, ClientError>),
}

/// Works until it is told to stop, or until the connection ends; with `back`, over one connection after the other, as long
/// as the daemon knows its jobs. `stop` is set to how long running jobs may go on;
/// setting it again can only shorten that. Must run on a current-thread runtime: jobs die with the thread that
/// started them (see `exec.rs`).
pub(super) async fn serve(
    client: &Client,
    source: Source,
    around: Surroundings,
    back: Option<Back>,
    mut stop: watch::Receiver<Option<Duration>>,
) -> WorkerEnd {
    let back = match back {
        Some(Back { name, dial, finish }) => (Return::announce(client, name, dial).await, finish),
        None => (None, None),
    };
    let mut pool = Pool::new(client.clone(), Arc::new(around), source, back);
    let end = pool.work(&mut stop).await;
    pool.switch.cut();
    pool.kill_all().await;
    end
}

/// Returns when a connection has ended.
type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

fn closed(client: &Client) -> Closed {
    let client = client.clone();
    Box::pin(async move { client.closed().await })
}

struct Pool {
    /// The newest connection.
    client: Client,
    closed: Closed,
    notices: Option<mpsc::UnboundedReceiver<Notice>>,
    /// Whether that has ended, and there is no other yet.
    away: bool,
    /// How to come back when it has ended; nothing, if the leases end with it.
    back: Option<Return>,
    /// If it then ends with its last job.
    finish: Option<Finish>,
    /// Whether it takes no more jobs, and ends with the last one.
    finishes: bool,
    switch: Switch,
    line: Line,
    around: Arc<Surroundings>,
    /// Where jobs are sent that have no process.
    targets: Arc<Targets>,
    lanes: Lanes,
    plans_are_fixed: bool,
    leases: Leases,
    /// Verdicts of this round.
    settles: Vec<Settle>,
    /// The last of what jobs have printed, until it is certain that the daemon has it: when it has the verdict.
    unsent: HashMap<LeaseRef, Unsent>,
    /// Settle requests without an answer.
    settling: usize,
    /// Extends that are not answered yet.
    extending: usize,
    stopping: Option<Stopping>,
    /// Whether it is the daemon that wants that.
    daemon_stops: bool,
    refused: Option<ClientError>,
    // Bounded without a bound of its own: an event a slot, and one a request under way.
    events: mpsc::UnboundedSender<Event>,
    inbox: mpsc::UnboundedReceiver<Event>,
}

/// How the pool stops.
#[derive(Clone, Copy)]
struct Stopping {
    /// When what still runs is told to end; `None` once it has been.
    tell_at: Option<Instant>,
    /// When the pool leaves, whatever is still open.
    leave_at: Instant,
}

impl Pool {
    fn new(
        client: Client,
        around: Arc<Surroundings>,
        source: Source,
        (back, finish): (Option<Return>, Option<Finish>),
    ) -> Pool {
        let (events, inbox) = mpsc::unbounded_channel();
        let (switch, line) = line(client.clone());
        let mut pool = Pool {
            closed: closed(&client),
            notices: client.notices(),
            client,
            away: false,
            finishes: false,
            back,
            finish,
            switch,
            line,
            around,
            targets: Arc::default(),
            lanes: Lanes::default(),
            plans_are_fixed: matches!(source, Source::Fixed(_)),
            leases: Leases::default(),
            settles: Vec::new(),
            unsent: HashMap::new(),
            settling: 0,
            extending: 0,
            stopping: None,
            daemon_stops: false,
            refused: None,
            events,
            inbox,
        };
        match source {
            Source::Daemon => pool.ask_for_plans(),
            Source::Fixed(plans) => drop(pool.lanes.replace(plans)),
        }
        pool
    }

    async fn work(&mut self, stop: &mut watch::Receiver<Option<Duration>>) -> WorkerEnd {
        let mut next_step: Option<NextStep> = None;
        let mut round = Vec::with_capacity(ROUND_MAX);
        loop {
            self.act(Instant::now());
            if let Some(end) = self.end(Instant::now()) {
                return end;
            }
            if next_step.is_none() {
                next_step = self.call();
            }
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = &mut self.closed, if !self.away => if !self.lose() {
                    return WorkerEnd::Disconnected;
                },
                step = done(&mut next_step) => match self.step(step) {
                    Ok(next) => next_step = next,
                    Err(()) => return WorkerEnd::Disconnected,
                },
                grace = next_stop(stop) => self.begin_to_stop(grace),
                notice = next_notice(&mut self.notices) => self.heed(notice),
                _ = self.inbox.recv_many(&mut round, ROUND_MAX) => {
                    round.drain(..).for_each(|event| self.handle(event));
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// What follows from the state and the time: the deadlines that are due, then a settle and claims, which leave
    /// together and share a commit; and while the daemon syncs that, the jobs that were claimed ahead begin.
    fn act(&mut self, now: Instant) {
        if let Some(Stopping { tell_at: Some(at), leave_at }) = self.stopping
            && at <= now
        {
            self.stopping = Some(Stopping { tell_at: None, leave_at });
            self.leases.order_all(Order::Stop);
        }
        for lease in self.lanes.overdue(now) {
            self.leases.order(lease, Order::Stop);
        }
        if self.away {
            return;
        }
        self.extend(now);
        self.settle();
        if self.stopping.is_none() {
            self.look_at_handlers(now);
            let next = self.lanes.begin_next(now);
            self.claim(now);
            for lease in next {
                self.leases.order(lease, Order::Run);
            }
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let stop = self.stopping.map(|stopping| stopping.tell_at.unwrap_or(stopping.leave_at));
        let is_here = !self.away;
        let retry = self.lanes.next_retry().filter(|_| is_here && self.stopping.is_none());
        let extend = self.leases.next_extend().filter(|_| is_here);
        [stop, retry, self.lanes.next_overdue(), extend].into_iter().flatten().min()
    }

    fn end(&mut self, now: Instant) -> Option<WorkerEnd> {
        if let Some(error) = self.refused.take() {
            return Some(WorkerEnd::Refused(error));
        }
        let is_quiet = self.leases.is_empty()
            && self.settles.is_empty()
            && self.settling == 0
            && !self.lanes.is_claiming();
        if self.finishes && is_quiet {
            return Some(WorkerEnd::Disconnected);
        }
        let stopping = self.stopping?;
        (is_quiet || stopping.leave_at <= now).then_some(WorkerEnd::Stopped)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Handlers(answer) => self.take_plans(answer),
            Event::Claimed(lane, answer) => self.take_jobs(lane, answer),
            Event::Begun(lane) => {
                if let Some(queues) = self.lanes.lift(lane) {
                    self.tell_held(queues, None, Duration::ZERO);
                }
            }
            Event::Ended(lane, lease, report, unsent) => {
                self.leases.remove(lease);
                if let (Report::Verdict(_), Some(unsent), Some(_)) = (&report, unsent, &self.back) {
                    self.unsent.insert(lease, unsent);
                }
                self.lanes.ended(lane, lease, Instant::now());
                match report {
                    Report::Verdict(verdict) => self.settles.push(Settle { lease, verdict }),
                    Report::Nothing => {}
                    Report::NotBegun(why) => {
                        self.give_back(lease);
                        self.hold(lane, why);
                    }
                }
            }
            Event::Settled(items, answer) => self.settled(items, answer),
            Event::Extended(leases, answer) => {
                self.extending -= 1;
                self.leases.extended(&leases, answer);
            }
        }
    }

    fn heed(&mut self, notice: Notice) {
        match notice {
            Notice::Revoked { lease, why: Revocation::Cancelled } => self.leases.order(lease, Order::Cancel),
            // It may run elsewhere by now.
            Notice::Revoked { lease, .. } => self.leases.order(lease, Order::Kill),
            Notice::Stopping { grace_ms } => {
                self.daemon_stops = true;
                self.begin_to_stop(Duration::from_millis(grace_ms));
            }
            Notice::Reconfigured if self.plans_are_fixed || self.finishes => {}
            Notice::Reconfigured => self.ask_for_plans(),
        }
    }

    /// No more claims from here on; what runs may go on for `grace`.
    fn begin_to_stop(&mut self, grace: Duration) {
        let at = Instant::now() + grace.min(Duration::from_secs(365 * 86_400));
        let at = match self.stopping {
            Some(Stopping { tell_at: None, .. }) => return,
            Some(Stopping { tell_at: Some(earlier), .. }) => at.min(earlier),
            None => at,
        };
        if self.stopping.is_none() {
            for number in self.lanes.claims_under_way() {
                self.unwait(number);
            }
            for lease in self.lanes.give_all_back() {
                self.leases.order(lease, Order::Stop);
            }
        }
        self.stopping = Some(Stopping { tell_at: Some(at), leave_at: at + STOP_GRACE + LAST_WAIT });
    }

    fn unwait(&self, number: u32) {
        let client = self.client.clone();
        // If it fails the connection is gone, and with it the claim.
        send_now(async move { drop(client.unwait(number).await) });
    }

    fn ask_for_plans(&mut self) {
        let (client, events) = (self.client.clone(), self.events.clone());
        send_now(async move {
            let answer = client.ask(AdminRequest::Handlers {}).await;
            tell(&events, Event::Handlers(answer));
        });
    }

    fn take_plans(&mut self, answer: Result<Vec<HandlerView>, ClientError>) {
        match answer {
            Ok(views) => {
                self.targets.renew(views.iter().filter_map(|view| view.http.as_ref()));
                let mut outdated = self.lanes.replace(views.into_iter().map(Plan::from).collect());
                let lifted = std::mem::take(&mut outdated.lifted);
                self.give_up(outdated);
                if !lifted.is_empty() {
                    self.tell_held(lifted, None, Duration::ZERO);
                }
            }
            // The loop sees the end of the connection by itself.
            Err(error) if error.is_disconnect() => {}
            Err(error) => self.refused = Some(error),
        }
    }

    /// Ends claims, and gives jobs back that have not begun.
    fn give_up(&mut self, outdated: Outdated) {
        for number in outdated.claims {
            self.unwait(number);
        }
        for lease in outdated.ahead {
            self.leases.order(lease, Order::Stop);
        }
    }

    fn claim(&mut self, now: Instant) {
        for (lane, claim) in self.lanes.claims(self.client.limits().batch, now) {
            // If it fails the connection is gone, which the loop sees by itself.
            let Ok(pending) = self.client.start_claim(claim) else { return };
            self.lanes.claiming(lane, pending.number, now);
            let events = self.events.clone();
            send_now(async move { tell(&events, Event::Claimed(lane, pending.answer.await)) });
        }
    }

    fn take_jobs(&mut self, lane: LaneId, answer: Result<Vec<ClaimedJob>, ClientError>) {
        match answer {
            Ok(jobs) => {
                let now = Instant::now();
                let room = self.lanes.claimed(lane, jobs.len(), now);
                let room = if self.stopping.is_some() { Room::default() } else { room };
                for (at, job) in jobs.into_iter().enumerate() {
                    if at < room.free {
                        self.start(lane, job, Order::Run, now);
                    } else if at < room.free + room.ahead {
                        self.start(lane, job, Order::Wait, now);
                    } else {
                        self.give_back(job.lease);
                    }
                }
            }
            Err(ClientError::Refused(fault)) if fault.code.try_again() => {
                let wait = self.lanes.claim_again_later(lane, Instant::now());
                // The daemon has said in its log that it drains, and its own workers write to the same.
                let is_known = !self.plans_are_fixed && fault.code == ErrorCode::Draining;
                if !is_known {
                    tracing::info!("no jobs for now: {fault}; asking again in {wait:?}");
                }
            }
            // The loop sees the end of the connection by itself.
            Err(error) if error.is_disconnect() => self.lanes.unanswered(lane),
            Err(error) => self.refused = Some(error),
        }
    }

    /// Starts an attempt; `first` says whether it begins at once or waits for a slot.
    fn start(&mut self, lane: LaneId, job: ClaimedJob, first: Order, now: Instant) {
        let (lease, events) = (job.lease, self.events.clone());
        let plan = match first {
            Order::Wait => self.lanes.queue_up(lane, lease, now),
            _ => self.lanes.occupy(lane, lease, now),
        };
        let Some(plan) = plan else { return self.give_back(lease) };
        let orders = self.leases.insert(lease, job.lease_ms, plan.lease_ms, first);
        let (line, around, targets) = (self.line.clone(), self.around.clone(), self.targets.clone());
        let attempt = Attempt { line, plan, around, targets, job, orders };
        let in_doubt = self.lanes.is_held(lane);
        tokio::spawn(async move {
            let begun = || {
                if in_doubt {
                    tell(&events, Event::Begun(lane))
                }
            };
            let (report, unsent) = attempt.run(begun).await;
            tell(&events, Event::Ended(lane, lease, report, unsent));
        });
    }

    /// Kills what still runs and waits until it is gone.
    async fn kill_all(&mut self) {
        self.leases.order_all(Order::Kill);
        let gone = async {
            while !self.leases.is_empty() {
                if let Some(Event::Ended(_, lease, ..)) = self.inbox.recv().await {
                    self.leases.remove(lease);
                }
            }
        };
        if timeout(LAST_WAIT, gone).await.is_err() {
            tracing::warn!("{} killed processes have not ended yet", self.leases.len());
        }
    }
}

/// The pool may have ended before the answer came; then it is not needed.
fn tell(events: &mpsc::UnboundedSender<Event>, event: Event) {
    let _ = events.send(event);
}

async fn next_stop(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    loop {
        if stop.changed().await.is_err() {
            // Nobody is left who could say it.
            return std::future::pending().await;
        }
        if let Some(grace) = *stop.borrow_and_update() {
            return grace;
        }
    }
}
