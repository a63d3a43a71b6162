//! One run: from a seed to a number of steps, each chosen at random, each followed by the oracle.

use crate::clients::Clients;
use crate::faults::Fault;
use crate::oracle::Oracle;
use crate::stage::{Death, Life, Stage};
use crate::workers;
use fastrand::Rng;
use musher::core::Time;
use musher::store::Room;
use musher::store::simulated::WriteFault;
use std::time::Duration;

/// More jobs make a run slow and show nothing new.
const JOBS_MAX: usize = 250;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Lives of the daemon.
    pub(crate) lives: u64,
    /// Answers and notices.
    pub(crate) told: u64,
    /// Commits.
    pub(crate) commits: u64,
    /// A sum over everything that was written to the log.
    pub(crate) digest: u32,
}

struct World {
    rng: Rng,
    stage: Stage,
    oracle: Oracle,
    clients: Clients,
    wall: Time,
    /// How rarely lives end.
    calm: u32,
}

/// Runs it.
///
/// # Panics
/// With what contradicts what was told before.
pub(crate) fn run(seed: u64, steps: u64, planted: Option<Fault>) -> Summary {
    let mut rng = Rng::with_seed(seed);
    let (calm, resume_within) = (1 + rng.u32(..8), workers::within(&mut rng));
    let mut world = World {
        rng,
        calm,
        stage: Stage::new(seed, planted, resume_within),
        oracle: Oracle::default(),
        clients: Clients::default(),
        wall: Time(1_000_000_000),
    };
    let mut life = None;
    for step in 0..steps {
        let begun = life.take().unwrap_or_else(|| world.start());
        life = world.step(begun);
        if let (Some(life), 0) = (&life, step % 64) {
            world.oracle.check(&life.engine.core().state, life.now);
            world.oracle.settings.check(life.engine.core(), &life.settings());
            world.oracle.pauses.check(life.engine.core(), life.now);
            world.oracle.topics.check(life.engine.core());
            Clients::check_bounds(life);
        }
    }
    let Stage { disk, lives, told, .. } = &world.stage;
    Summary { lives: *lives, told: *told, commits: disk.last().0, digest: disk.digest() }
}

impl World {
    fn start(&mut self) -> Life {
        let World { rng, stage, oracle, clients, wall, .. } = self;
        let mut life = stage.start(rng, *wall, oracle);
        clients.lose_pools(rng, oracle, &mut life);
        life
    }

    /// One step. `None` if the life has ended.
    fn step(&mut self, life: Life) -> Option<Life> {
        let life = self.do_step(life)?;
        self.oracle.turns.look(&life.engine.core().state);
        Some(life)
    }

    fn do_step(&mut self, mut life: Life) -> Option<Life> {
        let World { rng, stage, oracle, clients, calm, .. } = self;
        let mut choice = rng.u32(..1_000);
        if clients.workers.are_away() && rng.u32(..40) == 0 {
            choice = 405;
        }
        if choice < 420 && life.engine.is_stalled(life.now) {
            // Nobody is read, and a turn changes nothing.
            choice = 420;
        }
        life.is_between |= choice < 420;
        match choice {
            0..55 if oracle.len() < JOBS_MAX => clients.submit(rng, oracle, &mut life),
            55..70 if oracle.len() < JOBS_MAX => clients.submit_once(rng, oracle, &mut life, None),
            // Bounded they are by themselves.
            70..85 => {
                for _ in 0..1 + rng.u32(..5) {
                    clients.submit_bounded(rng, oracle, &mut life);
                }
            }
            85..105 if oracle.len() < JOBS_MAX => clients.play_weights(rng, oracle, &mut life),
            135..150 if oracle.len() < JOBS_MAX => clients.submit_fair(rng, oracle, &mut life),
            125..127 => clients.set_totals(rng, oracle, &mut life),
            127..135 if oracle.len() < JOBS_MAX => clients.submit_mixed(rng, oracle, &mut life),
            105..125 if oracle.len() < JOBS_MAX => clients.play_paces(rng, oracle, &mut life),
            150..170 => clients.play_flows(rng, oracle, &mut life),
            0..190 => clients.claim(rng, oracle, &mut life),
            190..215 => {
                let is_full = oracle.len() >= JOBS_MAX;
                clients.complete_and_submit(rng, oracle, &mut life, is_full);
                if oracle.chains.are_open() && rng.u32(..10) == 0 {
                    return self.interrupt(life);
                }
            }
            215..300 => clients.settle(rng, oracle, &mut life),
            300..308 => clients.signal(rng, oracle, &mut life),
            308..318 => clients.extend(rng, oracle, &mut life),
            318..330 => clients.checkpoint(rng, oracle, &mut life),
            330..348 => clients.edit(rng, oracle, &mut life),
            348..360 => clients.replace_body(rng, oracle, &mut life),
            360..374 => clients.change_queue(rng, oracle, &mut life),
            374..380 => clients.set_queue(rng, oracle, &mut life),
            380..388 if !life.totals.is_set() => clients.change_schedule(rng, oracle, &mut life),
            388..391 => clients.bind_topic(rng, oracle, &mut life),
            391..395 if oracle.len() < JOBS_MAX => clients.submit_to_topic(rng, oracle, &mut life),
            380..400 => clients.look(rng, oracle, &mut life),
            400..405 => clients.read_result(rng, oracle, &mut life),
            405..410 => clients.play_workers(rng, oracle, &mut life),
            410..420 => clients.vanish(rng, oracle, &mut life),
            420..620 => {
                if !stage.turn(&mut life, clients, oracle) {
                    return self.end(life, Death::PowerCut);
                }
                if stage.step_down(&mut life, oracle) {
                    return self.close(life);
                }
            }
            620..750 => {
                if life.engine.housekeep(life.now).is_err() {
                    return self.end(life, Death::PowerCut);
                }
            }
            750..850 => {
                let rows = if rng.bool() { rng.usize(..4) } else { rng.usize(..80) };
                stage.disk.write_rows(rows);
                if stage.late && rng.bool() {
                    stage.confirm(rng.usize(..4));
                }
            }
            850..970 => {
                // As a rule the loop makes its turns in time; now and then it stands still.
                let (until, is_still) = (life.now.plus(pause(rng)), rng.u32(..3) == 0);
                let is_well = match is_still {
                    true => stage.stand_still(&mut life, until, clients, oracle),
                    false => stage.turns_until(&mut life, until, clients, oracle),
                };
                if !is_well {
                    return self.end(life, Death::PowerCut);
                }
            }
            970..989 => self.trouble(&mut life),
            989 if rng.u32(..4) == 0 => {
                if !stage.rest(&mut life, clients, oracle, rng) {
                    return self.end(life, Death::PowerCut);
                }
            }
            989.. if rng.u32(..*calm) > 0 => {}
            989..994 => return self.end(life, Death::Kill),
            994..998 => return self.end(life, Death::PowerCut),
            998 => {
                life.engine.stop(Duration::from_secs(rng.u64(..30)), rng.bool(), life.now);
                life.is_between = true;
            }
            _ => return self.close(life),
        }
        Some(life)
    }

    /// The disk or the operator does something.
    fn trouble(&mut self, life: &mut Life) {
        let World { rng, stage, oracle, .. } = self;
        match rng.u32(..10) {
            9 => {
                // By minutes as a rule, by hours now and then.
                let most = if rng.u32(..8) == 0 { 6 * 3_600_000 } else { 600_000 };
                let ahead = life.ahead + rng.i64(-most..most);
                oracle.schedules.set_clock(life, ahead.min(life.now.0 as i64 / 2));
            }
            8 => life.engine.configure(life.settings(), life.bounds),
            0 if rng.bool() => stage.disk.fail_next_append(WriteFault::FailsLater),
            0 => stage.disk.fail_next_append(WriteFault::SyncFails),
            1 if rng.bool() => stage.disk.fail_next_append(WriteFault::Full),
            1 | 2 => {
                let full = rng.bool();
                let low = Room::DiskLow { free: 1, reserve: 2 };
                stage.disk.set_room(if full { low } else { Room::Enough });
            }
            3 => stage.disk.fail_home(rng.bool(), rng.bool()),
            4 => {
                stage.late = !stage.late;
                stage.disk.confirm_late(stage.late);
                stage.disk.hang(stage.late && rng.u32(..3) == 0);
                stage.confirm(usize::MAX);
            }
            5 => life.engine.drain_by_hand(rng.u32(..3) == 0, life.now),
            _ => {
                stage.disk.hang(false);
                stage.confirm(usize::MAX);
                stage.disk.fail_home(false, false);
                life.engine.drain_by_hand(false, life.now);
            }
        }
    }

    /// The life ends while something is on its way to the disk, of which nobody is told.
    fn interrupt(&mut self, mut life: Life) -> Option<Life> {
        let World { rng, stage, oracle, clients, .. } = self;
        oracle.turns.look(&life.engine.core().state);
        stage.late = true;
        stage.disk.confirm_late(true);
        let death = if rng.bool() { Death::Kill } else { Death::PowerCut };
        stage.turn(&mut life, clients, oracle);
        self.end(life, death)
    }

    fn end(&mut self, life: Life, death: Death) -> Option<Life> {
        self.leave(&life);
        self.stage.end(life, death);
        None
    }

    fn close(&mut self, life: Life) -> Option<Life> {
        self.leave(&life);
        self.stage.close(life);
        match self.rng.u32(..2) {
            0 => self.stage.disk.cut_power(),
            _ => self.stage.disk.kill(),
        }
        None
    }

    /// Connections are lost, and somebody may set the clock.
    fn leave(&mut self, life: &Life) {
        self.clients.hang_up(&mut self.rng);
        self.oracle.dies(life.now);
        let (forth, back) = (pause(&mut self.rng), self.rng.u64(..20_000));
        self.wall = match self.rng.u32(..4) {
            0 => Time(life.now.0 - back),
            _ => life.now.plus(forth),
        };
    }
}

/// Milliseconds as a rule, seconds often, minutes now and then.
fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(match rng.u32(..40) {
        0 => rng.u64(..600_000),
        1..8 => rng.u64(..15_000),
        _ => rng.u64(..100),
    })
}
