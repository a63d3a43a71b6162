//! What is on the screen, as a pure model: keys and answers in, orders and what to look at out. It must not know the
//! terminal, the connection, or a clock: it is told the time.

mod lists;
mod pace;
mod press;

use super::ask::{Change, Heard, JobSeen, Look, Output, Seen};
use super::tail::Tail;
use crate::cli::output::safe;
use crate::protocol::admin::{JobView, QueueView, ScheduleView, StatusView};
use lists::{Cursor, Pages, matches};
use pace::Queues;
use std::time::Duration;

/// The smallest screen on which something can be shown.
pub(super) const LEAST: (u16, u16) = (40, 10);
/// The lines above and below those of a list: the header, the screens, the head of the table, the last line.
const AROUND: u16 = 4;
/// For how many looks what was said stands there, if no key is pressed.
const SAID_FOR: u32 = 15;
/// What became of a change while there is no daemon.
pub(super) const UNCHANGED_AWAY: &str = "the daemon is away: nothing was changed";
/// How long a text to filter by may be.
const FILTER_MAX: usize = 60;

/// The screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Queues,
    Running,
    Dead,
    Schedules,
}

impl Tab {
    pub(super) const ALL: [Tab; 4] = [Tab::Queues, Tab::Running, Tab::Dead, Tab::Schedules];
}

/// What keys go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// What is on the screen.
    Plain,
    /// The text to filter by.
    Filter,
    /// The answer to whether this is to be done.
    Question(Change),
    /// The page about keys, from this line on.
    Help(usize),
}

/// What the loop is to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    /// Look soon: something else is on the screen.
    Look,
    Change(Change),
    /// Follow the output of this job, and of no other.
    Follow(u64),
    Unfollow,
    /// End, with this exit code.
    Leave(u8),
    Suspend,
    Redraw,
}

/// What the last line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: String,
    pub(super) is_error: bool,
    /// For how many looks it stands there still.
    left: u32,
}

/// One job that is shown alone.
#[derive(Debug, Default)]
pub(super) struct JobScreen {
    pub(super) id: u64,
    pub(super) seen: Option<JobSeen>,
    /// Why it is not there any more, or never was.
    pub(super) gone: Option<String>,
    pub(super) tail: Tail,
    /// How the output has ended, if it has.
    pub(super) ended: Option<String>,
    /// Whether facts have the larger part of the screen.
    pub(super) facts_first: bool,
    /// How many lines of the facts are above the screen.
    pub(super) facts_from: usize,
    /// The last line of output that is shown; `None` follows it.
    pub(super) output_to: Option<usize>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) size: (u16, u16),
    pub(super) tab: Tab,
    pub(super) mode: Mode,
    pub(super) message: Option<Message>,
    pub(super) status: Option<StatusView>,
    /// Why the daemon is away, if it is.
    pub(super) away: Option<String>,
    /// Whether it takes long to answer.
    pub(super) is_late: bool,
    pub(super) numbers: Queues,
    pub(super) schedules_seen: Option<Vec<ScheduleView>>,
    pub(super) running: Pages,
    pub(super) dead: Pages,
    pub(super) queues: Cursor<String>,
    pub(super) schedules: Cursor<String>,
    pub(super) job: Option<JobScreen>,
    filters: [String; 4],
    /// The filter as it was before it was changed.
    filter_before: String,
}

impl Model {
    /// For a screen of this size.
    pub(super) fn new(size: (u16, u16)) -> Model {
        Model {
            size,
            tab: Tab::Queues,
            mode: Mode::Plain,
            message: None,
            status: None,
            away: None,
            is_late: false,
            numbers: Queues::default(),
            schedules_seen: None,
            running: Pages::of("leased", false),
            dead: Pages::of("dead", true),
            queues: Cursor::default(),
            schedules: Cursor::default(),
            job: None,
            filters: Default::default(),
            filter_before: String::new(),
        }
    }

    /// The screen has another size.
    pub(super) fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        self.settle();
    }

    /// How many lines of a list there is room for.
    pub(super) fn rows(&self) -> usize {
        usize::from(self.size.1.saturating_sub(AROUND)).max(1)
    }

    /// The text that the list on the screen is filtered by.
    pub(super) fn filter(&self) -> &str {
        &self.filters[self.tab as usize]
    }

    /// The queues that are listed.
    pub(super) fn listed_queues(&self) -> Vec<&QueueView> {
        let queues = self.status.iter().flat_map(|status| &status.queues);
        queues.filter(|queue| matches(&self.filters[0], [&*queue.queue])).collect()
    }

    /// The schedules that are listed.
    pub(super) fn listed_schedules(&self) -> Vec<&ScheduleView> {
        let all = self.schedules_seen.iter().flatten();
        all.filter(|one| matches(&self.filters[3], [&*one.name, &*one.queue])).collect()
    }

    /// The page of jobs on the screen, if one is.
    pub(super) fn pages(&self) -> Option<&Pages> {
        match self.tab {
            Tab::Running => Some(&self.running),
            Tab::Dead => Some(&self.dead),
            Tab::Queues | Tab::Schedules => None,
        }
    }

    fn pages_mut(&mut self) -> Option<&mut Pages> {
        match self.tab {
            Tab::Running => Some(&mut self.running),
            Tab::Dead => Some(&mut self.dead),
            Tab::Queues | Tab::Schedules => None,
        }
    }

    /// The job that keys are about.
    fn selected_job(&self) -> Option<&JobView> {
        match &self.job {
            Some(screen) if screen.gone.is_none() => screen.seen.as_ref().map(|seen| &seen.job),
            Some(_) => None,
            None => {
                let pages = self.pages()?;
                pages
                    .listed(self.filter())
                    .into_iter()
                    .find(|(job, _)| Some(&job.id) == pages.cursor.selected())
                    .map(|(job, _)| job)
            }
        }
    }

    /// What to look at now.
    pub(super) fn look(&self, now: Duration) -> Look {
        let mut look = Look { job: self.job.as_ref().map(|job| job.id), ..Look::default() };
        if self.job.is_some() {
            return look;
        }
        match self.tab {
            Tab::Queues => {
                let names = self.listed_queues();
                let shown: Vec<&str> =
                    self.queues.shown(&names, self.rows()).iter().map(|q| &*q.queue).collect();
                self.numbers.ask(&mut look, &shown, now);
            }
            Tab::Running | Tab::Dead => {
                let queue = self.status.iter().flat_map(|s| &s.queues).find(|q| q.queue == self.filter());
                let queue = queue.map(|queue| queue.queue.clone());
                look.jobs = self.pages().map(|pages| pages.query(self.rows(), self.filter(), queue));
            }
            Tab::Schedules => look.schedules = true,
        }
        look
    }

    /// Takes what was heard of the daemon.
    pub(super) fn hear(&mut self, heard: Heard) -> Vec<Order> {
        match heard {
            Heard::Seen(seen) => self.see(*seen),
            Heard::Refused(why) => self.say(&why, true),
            Heard::Away(why) => self.away = Some(safe(&why)),
            Heard::Back => {
                self.away = None;
                return vec![Order::Look];
            }
            Heard::Changed(change, result) => {
                let (text, is_done) = change.outcome(result);
                self.say(&text, !is_done);
                return vec![Order::Look];
            }
            Heard::Output(output) => self.hear_output(output),
        }
        Vec::new()
    }

    fn see(&mut self, seen: Seen) {
        self.is_late = false;
        self.message = self.message.take().and_then(|message| {
            let left = message.left.checked_sub(1)?;
            Some(Message { left, ..message })
        });
        self.numbers.take(&seen);
        self.status = Some(seen.status);
        if let (Some(query), Some(page)) = (&seen.look.jobs, seen.jobs) {
            let pages = [&mut self.running, &mut self.dead].into_iter().find(|pages| pages.is_about(query));
            if let Some(pages) = pages {
                pages.take(query, page, seen.workers);
            }
        }
        if seen.schedules.is_some() {
            self.schedules_seen = seen.schedules;
        }
        if let (Some(screen), Some(job)) = (&mut self.job, seen.job)
            && seen.look.job == Some(screen.id)
        {
            match job {
                Ok(job) => (screen.seen, screen.gone) = (Some(job), None),
                Err(why) => screen.gone = Some(safe(&why)),
            }
        }
        if let Some(why) = seen.refused {
            self.say(&why, true);
        }
        self.settle();
    }

    fn hear_output(&mut self, output: Output) {
        let Some(screen) = &mut self.job else { return };
        match output {
            Output::Anew => (screen.tail, screen.ended) = (Tail::default(), None),
            Output::Piece { attempt, stream, data } => screen.tail.push(attempt, stream, &data),
            Output::End => {
                screen.tail.end();
                screen.ended =
                    Some(if screen.tail.len() == 0 { "nothing was printed" } else { "end" }.to_owned());
            }
            Output::Refused(why) => {
                screen.tail.end();
                screen.ended = Some(safe(&why));
            }
        }
    }

    /// Says that something could not be done.
    pub(super) fn refuse(&mut self, why: &str) {
        self.say(why, true);
    }

    fn say(&mut self, text: &str, is_error: bool) {
        self.message = Some(Message { text: safe(text), is_error, left: SAID_FOR });
    }

    /// What was selected stays so as long as it is there.
    fn settle(&mut self) {
        let rows = self.rows();
        let names: Vec<String> = self.listed_queues().iter().map(|queue| queue.queue.clone()).collect();
        self.queues.settle(&names, rows);
        let names: Vec<String> = self.listed_schedules().iter().map(|one| one.name.clone()).collect();
        self.schedules.settle(&names, rows);
        self.running.settle(&self.filters[1], rows);
        self.dead.settle(&self.filters[2], rows);
    }
}
