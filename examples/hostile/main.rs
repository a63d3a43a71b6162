//! Attacks a real daemon over its socket, and over HTTP, while a good client works there, and says what that cost:
//! `cargo run --profile soak --example hostile -- [--seconds N] [--attack NAME] [--check]`
//!
//! For each attack it prints the good client's median and 99th percentile before and during it, the daemon's peak
//! of memory against the bound of `docs/reliability.md`, and whether its file descriptors went back. At the end
//! the daemon is killed, started again, and must have every job that the good client has submitted. With
//! `--check` it fails if the good client became more than [`SLACK`] times slower too: more than the goal, since a
//! machine that does other things is noisy.
//!
//! Daemon and attackers are this program, started again: the daemon as `musher` itself, attackers at a
//! lower priority, so that it is the daemon that is measured and not the fight for a processor.

mod attacks;
mod daemon;
mod good;
mod good_web;
mod watchers;
mod web;

use daemon::Daemon;
use good::{Good, Latency};
use good_web::GoodWeb;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

type Error = Box<dyn std::error::Error>;

/// How many times slower the good client may become: the goal.
const GOAL: f64 = 5.0;
/// And what `--check` lets pass; below [`NOISE`] any ratio does.
const SLACK: f64 = 40.0;
const NOISE: Duration = Duration::from_millis(250);
/// So often an attack is played before `--check` calls the good client slow: what other programs do to it, they do not do each time.
const PLAYS: u32 = 3;

struct Options {
    seconds: u64,
    attack: Option<String>,
    check: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve" | "pool") => return musher::cli::run(),
        Some("attack") => attacks::run(&args[2..]),
        _ => {}
    }
    let ended = options(&args[1..]).and_then(|options| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(show(&options))
    });
    match ended {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("FAILED: {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options, Error> {
    let mut options = Options { seconds: 5, attack: None, check: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--seconds" => options.seconds = value()?.parse()?,
            "--attack" => options.attack = Some(value()?.clone()),
            "--check" => options.check = true,
            _ => return Err(format!("unknown: {arg}; --seconds N, --attack NAME, --check").into()),
        }
    }
    if let Some(name) = &options.attack
        && !names().any(|known| known == name)
    {
        return Err(format!("no attack `{name}`: one of {}", names().collect::<Vec<_>>().join(", ")).into());
    }
    Ok(options)
}

/// Those on the socket, then those on HTTP, then those who only look.
fn names() -> impl Iterator<Item = &'static str> {
    attacks::NAMES.into_iter().chain(web::NAMES).chain([watchers::NAME])
}

/// Runs the attacks; returns what was not as promised.
async fn show(options: &Options) -> Result<Vec<String>, Error> {
    let span = Duration::from_secs(options.seconds);
    let daemon = Daemon::start().await?;
    let good = Good::start(&daemon.socket()).await?;
    let good_web = GoodWeb::new(daemon.web()?, daemon::TOKENS[0]);
    let mut faults = Vec::new();
    let bound = daemon::memory_bound();
    println!("bound of the memory: {} MiB; goal: p99 at most {GOAL} times that before", bound >> 20);
    println!(
        "{:<14}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>10}  descriptors",
        "attack", "p50 ms", "p99 ms", "p50 ms", "p99 ms", "max ms", "ratio", "peak MiB"
    );
    let mut scene = Scene { daemon, good, good_web, span, bound };
    for name in names().filter(|name| options.attack.as_ref().is_none_or(|one| one == name)) {
        for play in 1..=PLAYS {
            let seen = scene.play(name).await?;
            faults.extend(seen.faults);
            let Some(slow) = seen.too_slow.filter(|_| options.check) else { break };
            if play == PLAYS {
                faults.push(format!("{name}: the good client was far too slow, {PLAYS} times: {slow:?}"));
            }
        }
    }
    let Scene { daemon, good, .. } = scene;
    faults.extend(account(daemon, good).await?);
    Ok(faults)
}

/// Who is attacked, and who works there.
struct Scene {
    daemon: Daemon,
    good: Good,
    good_web: GoodWeb,
    /// How long an attack takes.
    span: Duration,
    /// How much memory the daemon may have, in bytes.
    bound: u64,
}

/// What an attack has come to.
struct Seen {
    /// What was not as promised.
    faults: Vec<String>,
    /// The good client's 99th percentile, if that is more than a busy machine explains.
    too_slow: Option<Duration>,
}

impl Scene {
    async fn play(&mut self, name: &str) -> Result<Seen, Error> {
        let (daemon, span) = (&self.daemon, self.span);
        // Where the attack is.
        let is_web = web::NAMES.contains(&name);
        let mut work = async |span| match is_web {
            true => self.good_web.work(span).await,
            false => self.good.work(span).await,
        };
        work(span / 5).await?; // warm again
        let quiet = work(span).await?;
        let descriptors = daemon.descriptors()?;
        daemon.forget_peak()?;
        let mut attack = start_attack(name, daemon, span)?;
        let during = work(span).await?;
        let status = attack.wait()?;
        let peak = daemon.peak()?;
        let left = daemon.until_descriptors(descriptors).await?;
        print_row(name, &quiet, &during, peak, (descriptors, left));
        let mut faults = Vec::new();
        if !status.success() {
            faults.push(format!("{name}: the attack itself failed"));
        }
        if peak > self.bound {
            faults.push(format!("{name}: {} MiB is over the bound", peak >> 20));
        }
        if left > descriptors {
            faults.push(format!("{name}: {left} file descriptors are open, {descriptors} were"));
        }
        let is_slow = during.p99 > NOISE && during.p99.div_duration_f64(quiet.p99) > SLACK;
        Ok(Seen { faults, too_slow: is_slow.then_some(during.p99) })
    }
}

/// The attackers run only while daemon and good client leave a processor alone. What is asked is what the daemon does under
/// attack; how long the good client waits for a processor that attackers have is between them and the scheduler.
fn start_attack(name: &str, daemon: &Daemon, span: Duration) -> Result<Child, Error> {
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(std::env::current_exe()?).args(["attack", name]);
    // Who looks sees all.
    let token = daemon::TOKENS[usize::from(name != watchers::NAME)];
    command.arg(daemon.socket()).arg(daemon.web()?).arg(token);
    command.arg(span.as_millis().to_string()).stdin(Stdio::null());
    Ok(command.spawn()?)
}

fn print_row(name: &str, quiet: &Latency, during: &Latency, peak: u64, descriptors: (usize, usize)) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{name:<14}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>8.1}{:>10}  {} → {}",
        ms(quiet.p50),
        ms(quiet.p99),
        ms(during.p50),
        ms(during.p99),
        ms(during.max),
        during.p99.div_duration_f64(quiet.p99),
        peak >> 20,
        descriptors.0,
        descriptors.1
    );
}

/// Kills the daemon, starts it again, and looks for all that was acknowledged.
async fn account(daemon: Daemon, good: Good) -> Result<Vec<String>, Error> {
    let expected = good.into_kept();
    let daemon = daemon.kill_and_start().await?;
    let found = good::all_of(&daemon.socket()).await?;
    println!("after a SIGKILL: {} jobs of the good client expected, {} found", expected.len(), found.len());
    let same = found == expected;
    Ok(if same { Vec::new() } else { vec!["the good client's jobs are not those that it submitted".into()] })
}
