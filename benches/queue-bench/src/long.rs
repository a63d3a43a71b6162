//! A long run in slices: short-lived jobs through 16 producers and 16 consumers, beside a standing backlog in a queue
//! of its own that slowly turns over (its oldest are worked off, new ones come), so that checkpoints write jobs to
//! the database and remove others all the while. Is the last slice as fast as the first, and how long did anybody wait?

use crate::load::{self, Plan};
use crate::net::Client;
use crate::results::Latency;
use crate::target::{Event, Id};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What runs before the first slice.
const WARM_UP: Duration = Duration::from_secs(5);
/// Jobs of one step of the turn-over, and how long it rests after each.
const TURNED: usize = 10;
const REST: Duration = Duration::from_millis(5);
/// How far producers may be ahead of consumers, so that jobs stay short-lived.
const AHEAD: usize = 1_000;

pub struct Slice {
    pub rate: f64,
    pub latency: Latency,
    /// The longest time in which no request at all was answered, in milliseconds.
    pub pause: f64,
    /// Jobs of the standing backlog that were replaced, a second.
    pub turned: f64,
}

/// Fills the standing backlog: `jobs` of them.
pub fn fill(plan: &Plan, jobs: usize) -> io::Result<()> {
    let plan = Plan {
        protocol: format!("{}:standing", plan.protocol),
        jobs,
        secs: 300.0,
        producers: 4,
        consumers: 0,
        window: 1000,
        batch: 100,
        ..plan.clone()
    };
    let out = load::run(&plan, &mut || ())?;
    if out.stored < jobs {
        return Err(io::Error::other(format!(
            "only {} of {jobs} jobs of the backlog were taken",
            out.stored
        )));
    }
    Ok(())
}

/// Runs `count` slices of `length`, and tells of each as it ends.
pub fn run(plan: &Plan, count: usize, length: Duration, tell: &mut dyn FnMut(Slice)) -> io::Result<()> {
    let turned = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let standing = {
        let (plan, turned, stop) = (plan.clone(), turned.clone(), stop.clone());
        std::thread::spawn(move || turn_over(&plan, &turned, &stop))
    };
    let plan = Plan {
        jobs: usize::MAX,
        secs: (WARM_UP + length * count as u32).as_secs_f64() + 0.5,
        producers: 16,
        consumers: 16,
        window: 1,
        batch: 1,
        ahead: AHEAD,
        ..plan.clone()
    };
    let (mut begun, mut acked, mut turned_before, mut slices) = (None, 0, 0, 0);
    let out = load::run_watched(&plan, &mut || (), &mut |out, now| {
        let end = begun.map_or(WARM_UP, |begun: Duration| begun + length);
        if now < end || slices >= count {
            return;
        }
        let (ns, pause) = (std::mem::take(&mut out.put_ns), std::mem::take(&mut out.pause));
        let turned_now = turned.load(Ordering::Relaxed);
        if let Some(begun) = begun {
            let secs = (now - begun).as_secs_f64();
            slices += 1;
            tell(Slice {
                rate: (out.acked - acked) as f64 / secs,
                latency: Latency::of(ns),
                pause: pause.as_secs_f64() * 1000.0,
                turned: (turned_now - turned_before) as f64 / secs,
            });
        }
        (begun, acked, turned_before) = (Some(now), out.acked, turned_now);
    });
    stop.store(true, Ordering::Relaxed);
    let over = standing.join().expect("the turn-over does not panic");
    if out?.broken {
        return Err(io::Error::other("the server closed a connection"));
    }
    over
}

fn turn_over(plan: &Plan, turned: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    let mut client = Client::open(&plan.addr, &format!("{}:standing", plan.protocol), 0, false)?;
    let bodies: Vec<_> = (0..TURNED).map(|i| load::payload(i, plan.size)).collect();
    while !stop.load(Ordering::Relaxed) {
        client.call(|t, out| t.put(&bodies, out))?;
        if let Event::Jobs(jobs) = client.call(|t, out| t.take(TURNED, 0, out))? {
            let ids: Vec<Id> = jobs.into_iter().map(|job| job.id).collect();
            turned.fetch_add(ids.len() as u64, Ordering::Relaxed);
            client.call(|t, out| t.ack(&ids, out))?;
        }
        std::thread::sleep(REST);
    }
    Ok(())
}
