//! `musher top`: a screen of the daemon as it runs. This puts the parts together: keys, what is heard of the daemon and
//! signals go to the model, its orders to the link, and what it has come to is drawn. What it all means is the model's.

mod ask;
mod keys;
mod link;
mod model;
mod tail;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use super::ask::Target;
use super::exit::{End, Failure};
use super::interrupt;
use crate::client::Client;
use crate::clock::{monotonic, wall};
use ask::{Ask, Heard};
use clap::Args;
use keys::Typed;
use model::{Model, Order};
use signal_hook::consts::SIGINT;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use terminal::{Cut, Screen};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use view::Palette;

/// How often it looks, at most; and if a key has brought something else onto the screen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_SOON: Duration = Duration::from_millis(250);
/// A look that takes long is not repeated before so many times as long, so that it stays a small part of what the daemon
/// does.
const LOOK_SHARE: u32 = 10;
/// From when on it is said that the daemon does not answer.
const LATE: Duration = Duration::from_secs(3);
/// The least time from one picture to the next.
const DRAW_EVERY: Duration = Duration::from_millis(40);
/// How many answers, and pieces of output, wait for the screen; then their connections do.
const WAITING_MAX: usize = 64;
/// The exit code of Ctrl-C.
const INTERRUPTED: u8 = 128 + SIGINT as u8;

const EXAMPLES: &str = "\
Screens: 1 queues, 2 running jobs, 3 dead jobs, 4 schedules. Keys: arrows or j and k move, Tab or 1 to 4 change the screen, Enter shows a job and follows \
its output, p pauses or resumes, c cancels, r runs a dead job again, / filters, ? shows all keys, q leaves. Each change is asked back.

Without colours if NO_COLOR is set. For scripts there are `musher status --json` and `musher list --json`.

Examples:
  musher top
  ssh -t server musher top";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Top {}

impl Top {
    /// Says why there can be no screen, before anything is asked.
    pub(super) fn check() -> Result<(), Failure> {
        let why = if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            "standard input and output are not both terminals"
        } else if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
            "TERM says that this one has no screen"
        } else {
            return Ok(());
        };
        Err(Failure::usage(format!(
            "`musher top` needs a terminal, and {why}; for scripts there are `musher status --json` and `musher list \
             --json`"
        )))
    }

    pub(super) async fn run(&self, to: &Target, client: Client) -> End {
        let socket = to.path();
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        let (tell, heard) = mpsc::channel(WAITING_MAX);
        let (_listener, cut) = terminal::listen()?;
        let screen = Screen::enter()?;
        let model = Model::new(screen.size()?);
        let palette = Palette { has_colours: std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) };
        let show = Show {
            screen,
            model,
            palette,
            asks,
            tell: tell.clone(),
            socket: socket.clone(),
            follows: None,
            looked: Looked::default(),
        };
        // Both in one task: if the link panics, the screen goes with it.
        tokio::select! {
            end = show.run(heard, cut) => end,
            () = link::run(&socket, client, asked, tell) => Err(Failure::failed("nothing is heard of the daemon any more")),
        }
    }
}

/// When it looked, by the monotonic clock.
#[derive(Debug, Default)]
struct Looked {
    /// Since when a look is on its way.
    since: Option<Duration>,
    /// When the next one is due.
    next: Duration,
    /// When the last one was sent.
    last: Duration,
}

/// The screen and what goes to it.
struct Show {
    screen: Screen,
    model: Model,
    palette: Palette,
    asks: mpsc::Sender<Ask>,
    tell: mpsc::Sender<Heard>,
    socket: PathBuf,
    /// Follows the output of a job.
    follows: Option<Pin<Box<dyn Future<Output = ()>>>>,
    looked: Looked,
}

/// What has come.
enum Come {
    Typed(Option<Typed>),
    Heard(Option<Heard>),
    Cut(Cut),
    Time,
}

impl Show {
    async fn run(mut self, mut heard: mpsc::Receiver<Heard>, mut cut: watch::Receiver<Option<Cut>>) -> End {
        let mut typed = keys::listen()?;
        let mut drawn = None;
        loop {
            let now = monotonic();
            self.look_if_due(now).await;
            let (is_due, wait) = self.times(now, drawn);
            if is_due {
                self.draw()?;
                drawn = Some(monotonic());
            }
            let come = tokio::select! {
                biased;
                cut = wait_for_cut(&mut cut) => Come::Cut(cut),
                said = typed.recv() => Come::Typed(said),
                said = heard.recv() => Come::Heard(said),
                () = follow(&mut self.follows) => Come::Time,
                () = sleep(wait) => Come::Time,
            };
            let orders = match come {
                Come::Cut(Cut::Panic) => return Err(Failure::silent(super::exit::FAILED)),
                Come::Cut(Cut::Signal(signal)) => return Ok(ExitCode::from(interrupt::code(signal))),
                Come::Typed(Some(Typed::Key(key))) => self.model.press(key),
                Come::Typed(Some(Typed::Resized)) | Come::Time => Vec::new(),
                Come::Typed(Some(Typed::Gone(error))) => return Err(error.into()),
                Come::Heard(Some(said)) => {
                    self.note(&said);
                    self.model.hear(said)
                }
                Come::Typed(None) | Come::Heard(None) => {
                    return Err(Failure::failed("nothing is heard of the terminal any more"));
                }
            };
            for order in orders {
                if let Some(code) = self.obey(order).await? {
                    return Ok(ExitCode::from(code));
                }
            }
        }
    }

    /// Whether to draw now, and how long to wait if nothing comes.
    fn times(&self, now: Duration, drawn: Option<Duration>) -> (bool, Duration) {
        let since = drawn.map_or(Duration::MAX, |drawn| now.saturating_sub(drawn));
        match DRAW_EVERY.checked_sub(since) {
            Some(left) if !left.is_zero() => (false, left),
            // Ages change with the time alone.
            _ => {
                let next = self.looked.since.is_none().then(|| self.looked.next.saturating_sub(now));
                (true, next.filter(|next| !next.is_zero()).unwrap_or(LOOK_EVERY).min(LOOK_EVERY))
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let Show { screen, model, palette, .. } = self;
        screen.draw(|buffer| {
            model.resize((buffer.area.width, buffer.area.height));
            view::draw(model, wall(), *palette, buffer);
        })
    }

    async fn look_if_due(&mut self, now: Duration) {
        let Looked { since, next, .. } = self.looked;
        if let Some(since) = since {
            self.model.is_late = now.saturating_sub(since) > LATE;
        } else if self.model.away.is_none() && now >= next {
            self.looked = Looked { since: Some(now), next: now + LOOK_EVERY, last: now };
            // The link hears as long as we do.
            let _ = self.asks.send(Ask::Look(Box::new(self.model.look(now)))).await;
        }
    }

    /// Notes what it says of looks.
    fn note(&mut self, said: &Heard) {
        match said {
            Heard::Seen(_) | Heard::Refused(_) => {
                if let Some(since) = self.looked.since.take() {
                    let took = monotonic().saturating_sub(since);
                    self.looked.next = since + (took * LOOK_SHARE).max(LOOK_EVERY);
                }
            }
            Heard::Away(_) => self.looked.since = None,
            Heard::Back | Heard::Changed(..) | Heard::Output(_) => {}
        }
    }

    /// Carries out what the model wants; the exit code if it is to end.
    async fn obey(&mut self, order: Order) -> Result<Option<u8>, Failure> {
        match order {
            Order::Look => self.looked.next = self.looked.next.min(self.looked.last + LOOK_SOON),
            Order::Change(change) => match self.asks.try_send(Ask::Change(change)) {
                Ok(()) => {}
                Err(_) => self.model.refuse("the daemon has not answered what was asked before"),
            },
            Order::Follow(id) => {
                let (socket, tell) = (self.socket.clone(), self.tell.clone());
                self.follows = Some(Box::pin(async move { link::follow(&socket, id, &tell).await }));
            }
            Order::Unfollow => self.follows = None,
            Order::Leave(code) => return Ok(Some(code)),
            Order::Suspend => self.screen.suspend()?,
            Order::Redraw => self.screen.forget()?,
        }
        Ok(None)
    }
}

async fn wait_for_cut(cut: &mut watch::Receiver<Option<Cut>>) -> Cut {
    match cut.wait_for(Option::is_some).await.map(|cut| *cut) {
        Ok(Some(cut)) => cut,
        // Nobody hears any more, so none will come.
        _ => std::future::pending().await,
    }
}

/// Goes on with what follows the output of a job, which does not end.
async fn follow(follows: &mut Option<Pin<Box<dyn Future<Output = ()>>>>) {
    match follows {
        Some(follows) => follows.await,
        None => std::future::pending().await,
    }
}
