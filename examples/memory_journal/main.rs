//! A journal of memories on Musher: what somebody reads is captured, associated in four ways at a time, closed and consolidated, by a
//! program that may be killed at any moment. `cargo run --release --example memory_journal` plays three lives of it, and says
//! at the end whether all came to what it should; README.md beside this file has the whole story.

pub(crate) mod account;
mod archive;
mod associate;
mod consolidate;
mod events;
mod jobs;
mod journal;
pub(crate) mod life;
mod memory;
pub(crate) mod play;
pub(crate) mod queue;
mod shelf;
mod stats;
mod store;
mod trouble;

use account::Account;
use life::{Life, live};
use play::play;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::Path;
use std::process::{Command, ExitCode};
use tokio::net::UnixStream;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The first argument of a process that is one life.
const LIVE: &str = "live";

/// Ready at the first SIGINT or SIGTERM.
pub(crate) fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    let (ours, signals) = std::os::unix::net::UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, signals.try_clone()?)?;
    }
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    Ok(async move { drop(ours.readable().await) })
}

/// One life, in this process.
pub(crate) fn live_here(life: &Life) -> Result<(), Error> {
    // Some panic on purpose: a line for each is enough.
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", panic.to_string().replace('\n', " "))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { live(life, interrupted()?).await })
}

fn print(account: &Account) {
    println!("The account:");
    account.lines.iter().for_each(|line| println!("  {line}"));
    account.faults.iter().for_each(|fault| println!("  WRONG: {fault}"));
    println!(
        "{}",
        if account.faults.is_empty() { "All is as it should be." } else { "That is not as it should be." }
    );
}

fn main() -> Result<ExitCode, Error> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == LIVE) {
        live_here(&Life::from_args(args.split_off(1), Path::new("."))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let own = tempfile::tempdir()?;
    let life = Life::from_args(args, own.path())?;
    let program = std::env::current_exe()?;
    let account = play(&life, |life| {
        let mut command = Command::new(&program);
        command.arg(LIVE).args(life.to_args());
        command
    })?;
    print(&account);
    Ok(if account.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
