//! The play: the program starts itself, kills itself in the middle, starts itself again, tells itself to end, starts itself once more,
//! and then makes up the account.

use super::Error;
use super::account::{self, Account};
use super::life::Life;
use super::queue::Queue;
use super::shelf::passages;
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, QueueView};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Within what time the process has to end when it is told to.
const DRAIN: Duration = Duration::from_secs(30);

/// With fewer memories too few are closed for a consolidation when the first life is killed.
const LEAST: usize = 30;

/// A process that goes with whoever forgets it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a life may take before it is killed for it.
const LIFE_MAX: Duration = Duration::from_secs(180);

/// Kills a process that takes too long. Ends with this value, which must be dropped before the process is waited for.
struct Watchdog {
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn of(child: &Child) -> Watchdog {
        let (over, is_over) = mpsc::channel();
        let pid = Pid::from_child(child);
        let watch = move || {
            if is_over.recv_timeout(LIFE_MAX) == Err(RecvTimeoutError::Timeout) {
                println!("this life takes longer than {LIFE_MAX:?}: SIGKILL");
                // It is not reaped yet, so the number is its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        };
        Watchdog { over: Some(over), thread: Some(std::thread::spawn(watch)) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.over.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What a life has shown.
#[derive(Default)]
struct Shown {
    acknowledged: BTreeSet<u32>,
    stood_still: bool,
    went_on: bool,
    status: Option<ExitStatus>,
    /// From the signal to its end.
    ended_in: Duration,
}

/// Runs one life, whose command `start` makes, and sends it this signal when it has shown enough.
fn run(start: &mut Command, signal: Option<Signal>, enough: impl Fn(&Shown) -> bool) -> Result<Shown, Error> {
    let mut running = Running(start.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let output = running.0.stdout.take().ok_or("it has no output")?;
    let watchdog = Watchdog::of(&running.0);
    let (mut shown, mut signal, mut sent) = (Shown::default(), signal, None);
    for line in BufReader::new(output).lines() {
        let line = line?;
        let Some((_, said)) = line.split_once("journal: ") else { continue };
        match said.strip_prefix("acknowledged ") {
            Some(number) => drop(shown.acknowledged.insert(number.parse()?)),
            None => println!("  {said}"),
        }
        shown.stood_still |= said.contains("stands still");
        shown.went_on |= said.contains("goes on after");
        if enough(&shown)
            && let Some(signal) = signal.take()
        {
            let name = if signal == Signal::KILL { "SIGKILL" } else { "SIGTERM" };
            println!("{} memories are acknowledged: {name}", shown.acknowledged.len());
            sent = Some(monotonic());
            kill_process(Pid::from_child(&running.0), signal)?;
        }
    }
    // All of its output was read, so it has ended.
    drop(watchdog);
    shown.status = Some(running.0.wait()?);
    shown.ended_in = sent.map_or(Duration::ZERO, |sent| monotonic() - sent);
    Ok(shown)
}

/// Plays all of it. `start` makes the command of a life.
pub(crate) fn play(life: &Life, start: impl Fn(&Life) -> Command) -> Result<Account, Error> {
    let memories = life.memories.min(passages().len());
    if memories < LEAST {
        return Err(format!("{memories} memories are too few to show all of it: take {LEAST} or more").into());
    }
    println!("The first life, which is killed while a consolidation stands still:");
    // However quick it is, it is killed before it has read all of them.
    let first = Life { stands_still: true, memories: memories * 2 / 3, ..life.clone() };
    let first = run(&mut start(&first), Some(Signal::KILL), |shown| shown.stood_still)?;
    let so_far = first.acknowledged.len();
    println!("The second life, which is told to end:");
    let most = memories * 5 / 6;
    let second = run(&mut start(life), Some(Signal::TERM), |shown| {
        shown.went_on && first.acknowledged.union(&shown.acknowledged).count() >= most
    })?;
    println!("The third life, which ends when all is done:");
    let third = run(&mut start(life), None, |_| false)?;

    let acknowledged = [&first, &second, &third].into_iter().flat_map(|shown| &shown.acknowledged);
    let mut account =
        account::check(&life.directory, &acknowledged.copied().collect(), memories, &queues(life)?)?;
    let mut check = |is_so: bool, fault: String| account.faults.extend((!is_so).then_some(fault));
    check(
        first.stood_still && so_far < memories,
        format!("it was not killed in the middle, but after {so_far}"),
    );
    check(!first.status.is_some_and(|status| status.success()), "the first life was not killed".into());
    check(second.went_on, "the second life did not go on with a consolidation".into());
    for (name, shown) in [("second", &second), ("third", &third)] {
        check(shown.status.is_some_and(|it| it.success()), format!("the {name} life: {:?}", shown.status));
    }
    check(second.ended_in <= DRAIN, format!("the second life took {:?} to end", second.ended_in));
    account.lines.push(format!("killed once, and drained once in {} ms", second.ended_in.as_millis()));
    Ok(account)
}

/// What the queues say in the end.
pub(crate) fn queues(life: &Life) -> Result<Vec<QueueView>, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let queue = Queue::open(&life.directory, life.socket.as_deref()).await?;
        let client = queue.client().await?;
        let queues = client.ask(AdminRequest::Queues {}).await?;
        drop(client);
        queue.close().await?;
        Ok(queues)
    })
}
