//! A simulator: core, engine, records, checkpoints and recovery of Musher over a disk, a clock and clients that are
//! generated from one seed. Crashes between any two steps, torn and lost writes, full disks and clocks that jump are
//! common there; an oracle holds every answer against those before. What fails, fails again with the same seed.
//!
//! `cargo run --profile soak --example simulate -- --steps 1000000`

mod beside;
mod bodies;
mod bounds;
mod calendar;
mod chains;
mod circuits;
mod clients;
mod exits;
mod expiry;
mod faults;
mod flows;
mod kept;
mod known;
mod limits;
mod once;
mod oracle;
mod overrides;
mod paces;
mod pauses;
mod places;
mod queues;
mod schedules;
mod shadow;
mod signals;
mod stage;
mod topics;
mod totals;
mod turns;
mod unique;
mod weights;
mod workers;
mod world;

use clap::{Parser, ValueEnum};
use faults::Fault;
use musher::clock::monotonic;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use world::Summary;

/// So long is one seed's run.
const RUN: u64 = 20_000;

#[derive(Parser)]
#[command(about = "Simulates Musher on disks that fail, and checks what clients were told")]
struct Args {
    /// How many steps in all.
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Goes on for so long instead.
    #[arg(long)]
    hours: Option<f64>,
    /// Runs this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of the seeds.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many runs at a time.
    #[arg(short = 'j', default_value_t = 1)]
    jobs: usize,
    /// Runs each seed twice, and fails if that makes a difference.
    #[arg(long)]
    twice: bool,
    /// Plants a fault: the simulation must fail.
    #[arg(long = "break", hide = true)]
    planted: Option<Fault>,
}

/// All runs together.
struct Runs {
    args: Args,
    begun: Duration,
    next: AtomicU64,
    failed: AtomicBool,
    total: Mutex<(u64, Summary)>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let jobs = args.jobs.max(1);
    let next = AtomicU64::new(args.first_seed);
    let runs =
        Runs { args, begun: monotonic(), next, failed: AtomicBool::new(false), total: Mutex::default() };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| runs.work());
        }
    });
    let (seeds, total) = *runs.total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Summary { lives, told, commits, .. } = total;
    let took = (monotonic() - runs.begun).as_secs_f64();
    println!(
        "{seeds} seeds, {} steps, {lives} lives, {commits} commits, {told} answers in {took:.0} s",
        seeds * RUN
    );
    if runs.failed.load(Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Runs {
    /// Takes seed after seed, until one has failed or it is enough.
    fn work(&self) {
        while let Some(seed) = self.next_seed() {
            match self.run(seed) {
                Ok(summary) => self.add(summary),
                Err(why) => {
                    self.failed.store(true, Relaxed);
                    let planted = self
                        .args
                        .planted
                        .and_then(|fault| fault.to_possible_value())
                        .map_or_else(String::new, |fault| format!(" --break {}", fault.get_name()));
                    eprintln!(
                        "seed {seed} fails{why}; to see it again:\n    cargo run --profile soak --example simulate -- \
                         --seed {seed}{planted}"
                    );
                }
            }
        }
    }

    fn next_seed(&self) -> Option<u64> {
        if self.failed.load(Relaxed) {
            return None;
        }
        let nth = self.next.fetch_add(1, Relaxed) - self.args.first_seed;
        let goes_on = match (self.args.seed, self.args.hours) {
            (Some(_), _) => nth == 0,
            (None, Some(hours)) => (monotonic() - self.begun).as_secs_f64() < hours * 3600.0,
            (None, None) => nth * RUN < self.args.steps,
        };
        goes_on.then(|| self.args.seed.unwrap_or(self.args.first_seed + nth))
    }

    fn run(&self, seed: u64) -> Result<Summary, &'static str> {
        let planted = self.args.planted;
        let once = || catch_unwind(|| world::run(seed, RUN, planted)).map_err(|_| ", for the reason above");
        let first = once()?;
        if self.args.twice && once()? != first {
            return Err(" to be the same twice");
        }
        Ok(first)
    }

    fn add(&self, summary: Summary) {
        let mut total = self.total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (seeds, sum) = &mut *total;
        *seeds += 1;
        sum.lives += summary.lives;
        sum.told += summary.told;
        sum.commits += summary.commits;
    }
}
