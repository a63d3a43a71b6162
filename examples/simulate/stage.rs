//! The stage: a disk that lasts, one life of the daemon on it after the other, and what ends a life. Plays the part of
//! the loop and the hub: turns, delivers, keeps house, and begins anew.

use crate::bounds::{self, Limits};
use crate::circuits::Before;
use crate::clients::{Clients, LEASE};
use crate::faults::Fault;
use crate::flows::tied;
use crate::oracle::Oracle;
use crate::queues::settings;
use crate::schedules::{Schedules, nightly};
use crate::shadow;
use fastrand::Rng;
use musher::core::{Groups, Holder, IdRange, JobId, Settings, Time, Verdict, Visibility};
use musher::engine::{Answer, Bounds, Contents, Delivery, Engine, Origin, Step, SubmitOptions};
use musher::store::simulated::{SimulatedDisk, SimulatedStore};
use musher::store::{Blob, CommitNo, Envelope, Room, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

/// More turns than it ever takes until all is done.
const TURNS_TO_REST: u32 = 5_000;

/// The most turns that the loop makes while nobody asks for anything.
const TURNS_OF_A_PAUSE: u32 = 64;

/// As long as there are jobs whose keys take turns, these are looked at now and then, after times that grow without end: what
/// is due later than this from now on is only that.
const FAR: Duration = Duration::from_secs(10 * 86_400);

/// As many records as the simulated log keeps of what is home.
const RECORDS_AT_REST: usize = 16;

/// One life of the daemon.
pub(crate) struct Life {
    pub(crate) engine: Engine<SimulatedStore>,
    pub(crate) now: Time,
    pub(crate) bounds: Bounds,
    /// The bounds over all queues.
    pub(crate) totals: Limits,
    /// By how many milliseconds its clock is ahead of the wall clock.
    pub(crate) ahead: i64,
    /// Whether anything was asked since the turn.
    pub(crate) is_between: bool,
    fault: Option<Fault>,
}

impl Life {
    /// What the daemon is configured with.
    pub(crate) fn settings(&self) -> Settings {
        configured(self.fault, self.totals)
    }

    /// Whether it takes no submit just now.
    pub(crate) fn refuses(&self) -> bool {
        let core = self.engine.core();
        (core.draining && !core.accept_while_draining) || self.engine.room() != Room::Enough
    }

    /// What it is told of how long a lease shall last.
    pub(crate) fn lease(&self, wanted: Option<Duration>) -> Option<Duration> {
        wanted.or_else(|| self.fault.and_then(Fault::lease))
    }

    /// Asks it to enqueue jobs.
    pub(crate) fn submit(&mut self, origin: Origin, groups: impl Into<Groups>, contents: Contents) {
        self.submit_with(SubmitOptions::default(), origin, (groups.into(), contents));
    }

    /// The same with options.
    pub(crate) fn submit_with(
        &mut self,
        options: SubmitOptions,
        origin: Origin,
        (mut groups, contents): (Groups, Contents),
    ) {
        let mut options = options;
        if let Some(fault) = self.fault {
            groups.iter_mut().for_each(|group| fault.group(group));
            if let Some(lease) = options.completes.take_if(|_| fault == Fault::Chain) {
                let nobody = Origin { session: 0, request: 0 };
                let items = vec![(lease, Verdict::Complete)];
                self.engine.settle(nobody, items, Visibility::ALL, self.now);
            }
        }
        self.engine.submit_with(options, origin, (groups, contents), Visibility::ALL, self.now);
    }
}

/// The settings, as far as no fault is planted there.
fn configured(fault: Option<Fault>, totals: Limits) -> Settings {
    let settings = Settings { total_backlog: totals.jobs, total_backlog_bytes: totals.bytes, ..settings() };
    fault.map_or(settings.clone(), |fault| fault.settings(settings))
}

/// How a life ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    Kill,
    PowerCut,
}

/// Rung by the log.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct Stage {
    pub(crate) disk: SimulatedDisk,
    pub(crate) late: bool,
    fault: Option<Fault>,
    /// How many commits the log takes before it has confirmed any of them.
    window: usize,
    bell: Arc<Bell>,
    /// The newest commit of the last life, if nothing was decided after it.
    left: Option<CommitNo>,
    /// Whether the loop has stood still for long just now.
    stood_still: bool,
    /// How long workers may take to come back.
    resume_within: Duration,
    pub(crate) lives: u64,
    pub(crate) told: u64,
}

impl Stage {
    pub(crate) fn new(seed: u64, fault: Option<Fault>, resume_within: Duration) -> Stage {
        let disk = SimulatedDisk::new(seed);
        fault.and_then(Fault::of_disk).into_iter().for_each(|fault| disk.plant(fault));
        let (bell, window) = (Arc::default(), usize::MAX);
        let (late, left, stood_still) = (false, None, false);
        Stage { disk, late, fault, window, bell, left, stood_still, resume_within, lives: 0, told: 0 }
    }

    /// A daemon starts at what the wall clock says, or at the newest commit if that is later.
    pub(crate) fn start(&mut self, rng: &mut Rng, wall: Time, oracle: &mut Oracle) -> Life {
        self.window = if rng.bool() { 1 + rng.usize(..3) } else { usize::MAX };
        self.disk.bound_unconfirmed(self.window);
        self.disk.bound_memory(if rng.bool() { rng.usize(..4_000) } else { usize::MAX });
        let (mut store, found) = self.disk.open().expect("what is on the disk makes sense");
        self.lives += 1;
        musher::core::check::check(&found.state);
        let mut jobs = Vec::new();
        for (range, job) in found.state.iter(IdRange::new(JobId(1), found.state.next_id().0)) {
            for id in range.iter() {
                let body = store.blob(Blob::Body, id).expect("each job has a body");
                if job.spec.queue == tied() {
                    continue;
                }
                if job.spec.queue == nightly() {
                    Schedules::check_body(&found.state, &body);
                    continue;
                }
                let envelope = job.spec.has_envelope.then(|| {
                    let envelope = store.blob(Blob::Envelope, id).expect("it has an envelope");
                    Envelope::decode(&envelope).expect("it is one that was sent")
                });
                bounds::check_size(job, &body);
                jobs.push((id, body, envelope));
            }
        }
        oracle.kept.begin_anew();
        oracle.turned(Time(0));
        oracle.check(&found.state, found.time);
        oracle.flows.check(&found.state);
        oracle.check_chains(&jobs, &found.state, found.time);
        oracle.drop_missing(&found.state);
        oracle.found(&jobs, &found.state, found.time);
        oracle.settings.found(&found.state);
        oracle.pauses.found(&found.state, found.time);
        oracle.topics.found(&found.state);
        oracle.schedules.found(&found.state);
        oracle.circuits.found(&found.state);
        oracle.paces.found(&found.state);
        oracle.turns.found(&found.state, self.left.take() == Some(found.last));
        let now = wall.max(found.time);
        let resume_within = self.resume_within;
        let bounds = Bounds { claim_bytes: 8 << 10, body: 4 << 10, resume_within, ..Bounds::default() };
        let small = Bounds { commit_bytes: 16 << 10, commit_events: 30, ..bounds };
        let bounds = if rng.bool() { small } else { bounds };
        let mut engine = Engine::new(
            found.state,
            found.last,
            store,
            configured(self.fault, Limits::default()),
            bounds,
            rng.u64(..),
            now,
        );
        engine.ring(&self.bell.clone().into());
        let state = &engine.core().state;
        assert!(
            state.sessions_from(0).all(Holder::is_resumable),
            "a connection of the former life holds a job"
        );
        oracle.starts(state, now, resume_within);
        let ahead = (now.0 - wall.0) as i64;
        let mut life = Life {
            engine,
            now,
            bounds,
            ahead,
            is_between: true,
            totals: Limits::default(),
            fault: self.fault,
        };
        oracle.schedules.set_clock(&mut life, ahead);
        oracle.schedules.configure(&mut life);
        life
    }

    /// A turn of the loop, and what comes of it. `false` if the disk has failed and the life is over.
    pub(crate) fn turn(&mut self, life: &mut Life, clients: &mut Clients, oracle: &mut Oracle) -> bool {
        life.is_between = true;
        let (before, all_home) = (Schedules::snapshot(life), self.disk.unconfirmed() == 0);
        let leases = Before::of(life);
        let is_stalled = life.engine.is_stalled(life.now);
        let turned = life.engine.turn(life.now);
        if !is_stalled {
            oracle.turned(life.now);
        }
        oracle.circuits.claimed(&leases, life);
        oracle.paces.claimed(life);
        oracle.turns.look(&life.engine.core().state);
        oracle.look_after_workers(&life.engine.core().state, life.now);
        oracle.schedules.turned(&before, life, all_home);
        let Ok(turned) = turned else { return false };
        assert!(self.disk.unconfirmed() <= self.window, "the log takes more than its bound");
        life.is_between = life.engine.awaits_log();
        for delivery in turned.deliveries {
            self.told += 1;
            match delivery {
                Delivery::Answer(origin, answer) if clients.is_connected(origin.session) => {
                    clients.answered(origin, answer, oracle, life.now);
                }
                // As the hub does: nobody is there any more to run these.
                Delivery::Answer(_, Answer::Jobs(jobs)) if !jobs.is_empty() => {
                    life.engine.undo_claim(&jobs, life.now);
                    life.is_between = true;
                }
                Delivery::Answer(..) => {}
                Delivery::Revoked { lease, expired, .. } => {
                    assert!(
                        !(expired && self.stood_still),
                        "a pause has ended the lease of job {}",
                        lease.id
                    );
                    oracle.revoked(lease, expired, life.now);
                }
                Delivery::Forgotten(jobs) => oracle.forgotten(jobs, life.now),
                Delivery::Changed(_) => unreachable!("nobody follows jobs here"),
            }
        }
        if !self.late && !self.disk.has_failed() {
            clients.check(life.now);
        }
        true
    }

    /// The log confirms some commits, and rings for it.
    pub(crate) fn confirm(&self, commits: usize) {
        let before = self.disk.unconfirmed();
        self.bell.0.store(false, Ordering::Relaxed);
        self.disk.confirm(commits);
        let rung = self.bell.0.load(Ordering::Relaxed);
        assert_eq!(rung, self.disk.unconfirmed() < before, "the loop is rung when something was confirmed");
    }

    /// Time passes, and the loop turns whenever the engine has asked for it. `false` if the disk has failed.
    pub(crate) fn turns_until(
        &mut self,
        life: &mut Life,
        until: Time,
        clients: &mut Clients,
        oracle: &mut Oracle,
    ) -> bool {
        for _ in 0..TURNS_OF_A_PAUSE {
            let next = life.engine.housekeep(life.now);
            let sleeps = next.as_ref().is_ok_and(|next| next.is_none_or(|next| next > life.now));
            if sleeps && !life.is_between && !life.engine.is_stalled(life.now) {
                check_still(oracle, life);
            }
            match next {
                Err(_) => return false,
                Ok(Some(next)) if next <= until => life.now = life.now.max(next),
                Ok(_) => break,
            }
            if !self.turn(life, clients, oracle) {
                return false;
            }
        }
        life.now = until;
        true
    }

    /// The loop stands still, and goes on: no lease ends for that. `false` if the disk has failed.
    pub(crate) fn stand_still(
        &mut self,
        life: &mut Life,
        until: Time,
        clients: &mut Clients,
        oracle: &mut Oracle,
    ) -> bool {
        if !self.turn(life, clients, oracle) || life.engine.housekeep(life.now).is_err() {
            return false;
        }
        // A short one harms no lease that its holder extends in time.
        self.stood_still = !self.late && until.since(life.now) >= LEASE / 4;
        life.now = until;
        let is_well = self.turn(life, clients, oracle);
        self.stood_still = false;
        is_well
    }

    /// The next step on the way down. `true` if the life has ended well.
    pub(crate) fn step_down(&mut self, life: &mut Life, oracle: &mut Oracle) -> bool {
        match life.engine.stop_step(life.now) {
            Some(Step::Finish) => true,
            Some(Step::Evict) => {
                oracle.lets_go(None);
                life.is_between = true;
                false
            }
            Some(Step::Wait(_)) | None => false,
        }
    }

    /// Nobody asks for anything, the disk is well, and the loop turns only when the engine has asked for it: all that is due
    /// happens, everything comes home, and then it is still. `false` if the disk has failed.
    pub(crate) fn rest(
        &mut self,
        life: &mut Life,
        clients: &mut Clients,
        oracle: &mut Oracle,
        rng: &mut Rng,
    ) -> bool {
        clients.pause_schedules(rng, oracle, life);
        self.make_well();
        self.confirm(usize::MAX);
        for _ in 0..TURNS_TO_REST {
            if !self.turn(life, clients, oracle) {
                return false;
            }
            let Ok(next) = life.engine.housekeep(life.now) else { return false };
            self.disk.write_rows(usize::MAX);
            if next.is_none_or(|next| next > life.now) {
                check_still(oracle, life);
            }
            match next {
                Some(next) if next.since(life.now) < FAR => life.now = life.now.max(next),
                _ => {
                    self.check_rest(life);
                    oracle.waits_for_no_worker();
                    return true;
                }
            }
        }
        panic!("it turns and turns, and nobody has asked for anything");
    }

    fn check_rest(&self, life: &Life) {
        assert!(self.disk.records() <= RECORDS_AT_REST, "{} records are not home", self.disk.records());
        let due = life.engine.core().state.next_due().filter(|due| due.since(life.now) < FAR);
        assert_eq!(due, None, "something is due, and nobody is asked for a turn");
    }

    /// Ends a life against its will. If nothing was asked since the turn and all of it was synced, the next life
    /// must begin with the very state that this one had.
    pub(crate) fn end(&mut self, life: Life, death: Death) {
        let Life { engine, is_between, .. } = life;
        self.left = (!is_between).then(|| engine.last_commit());
        match death {
            Death::Kill => self.disk.kill(),
            Death::PowerCut => self.disk.cut_power(),
        }
        let (_, found) = self.disk.open().expect("what is on the disk makes sense");
        // A fault is to be noticed by what clients see.
        if !is_between && found.last == engine.last_commit() && self.fault.is_none() {
            shadow::compare(&engine.core().state, &found.state);
        }
        self.make_well();
    }

    /// Ends a life in order: everything comes home.
    pub(crate) fn close(&mut self, life: Life) {
        let before = life.engine.last_commit();
        self.left = (!life.is_between).then_some(before);
        if life.engine.close().is_ok() {
            assert!(self.disk.last() >= before, "commits disappear");
            assert!(self.disk.last() <= CommitNo(before.0 + 1), "a close is one commit at most");
        }
        self.make_well();
    }

    fn make_well(&mut self) {
        self.late = false;
        self.disk.confirm_late(false);
        self.disk.hang(false);
        self.disk.fail_home(false, false);
        self.disk.set_room(Room::Enough);
    }
}

/// Between two turns nothing is overdue, nobody waits for room that is there, and no claim for work.
fn check_still(oracle: &Oracle, life: &mut Life) {
    Clients::check_room(oracle, life);
    oracle.check_expired(&life.engine.core().state, life.now);
    oracle.paces.check_still(life);
    let queues: Vec<_> = life.engine.core().state.queues().map(|(name, _)| name.clone()).collect();
    for name in &queues {
        let unserved = life.engine.gives(name, life.now) && life.engine.waiting_claims(Some(name)) > 0;
        assert!(!unserved, "claims wait for {name}, and it has work");
    }
}
