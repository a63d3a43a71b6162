//! What keys do. Each goes to what is on the screen: a list, a job, a text, a question, the page about keys.

use super::super::INTERRUPTED;
use super::super::ask::Change;
use super::super::keys::Key;
use super::{FILTER_MAX, JobScreen, Mode, Model, Order, Tab, UNCHANGED_AWAY};

impl Model {
    /// Takes a key.
    pub(in crate::cli::top) fn press(&mut self, key: Key) -> Vec<Order> {
        match key {
            Key::Control('c') => return vec![Order::Leave(INTERRUPTED)],
            Key::Control('z') => return vec![Order::Suspend],
            Key::Control('l') => return vec![Order::Redraw],
            _ => {}
        }
        self.message = None;
        match self.mode.clone() {
            Mode::Plain if self.job.is_some() => self.press_on_job(key),
            Mode::Plain => self.press_on_list(key),
            Mode::Filter => self.press_on_filter(key),
            Mode::Question(change) => match key {
                Key::Char('y' | 'Y') if self.away.is_some() => {
                    self.mode = Mode::Plain;
                    // It would be done whenever the daemon is back, when nobody thinks of it any more.
                    self.say(UNCHANGED_AWAY, true);
                    Vec::new()
                }
                Key::Char('y' | 'Y') => {
                    self.mode = Mode::Plain;
                    self.say("the daemon is asked…", false);
                    vec![Order::Change(change)]
                }
                Key::Char('n' | 'N' | 'q') | Key::Escape | Key::Enter => {
                    self.mode = Mode::Plain;
                    self.say("nothing was changed", false);
                    Vec::new()
                }
                _ => Vec::new(),
            },
            Mode::Help(from) => {
                self.mode = match key {
                    Key::Down | Key::Char('j') => Mode::Help(from + 1),
                    Key::Up | Key::Char('k') => Mode::Help(from.saturating_sub(1)),
                    _ => Mode::Plain,
                };
                Vec::new()
            }
        }
    }

    fn press_on_list(&mut self, key: Key) -> Vec<Order> {
        match key {
            Key::Char('q') => return vec![Order::Leave(0)],
            Key::Escape if self.filter().is_empty() => return vec![Order::Leave(0)],
            Key::Escape => return self.filter_by(String::new()),
            Key::Next => return self.show((self.tab as usize + 1) % 4),
            Key::Previous => return self.show((self.tab as usize + 3) % 4),
            Key::Char(c @ '1'..='4') => return self.show(c as usize - '1' as usize),
            Key::Char('/') => {
                self.mode = Mode::Filter;
                self.filter_before = self.filter().to_owned();
            }
            Key::Enter => return self.open(),
            Key::Char('p') => self.ask_for_pause(),
            Key::Char('?' | 'c' | 'r') => self.press_on_any(key),
            _ => return self.move_by(key),
        }
        Vec::new()
    }

    /// What means the same in lists and on a job.
    fn press_on_any(&mut self, key: Key) {
        let of_job = self.selected_job().map(|job| (job.id, job.state.clone()));
        match (key, of_job) {
            (Key::Char('?'), _) => self.mode = Mode::Help(0),
            (Key::Char('c'), Some((id, state))) => self.mode = Mode::Question(Change::Cancel(id, state)),
            (Key::Char('r'), Some((id, state))) if state == "dead" => {
                self.mode = Mode::Question(Change::Retry(id, state));
            }
            (Key::Char('r'), Some((id, state))) => {
                self.say(&format!("job {id} is {state}: only a dead one is run again here"), true);
            }
            (Key::Char('c' | 'r'), None) => self.say("no job is selected", true),
            _ => {}
        }
    }

    fn show(&mut self, tab: usize) -> Vec<Order> {
        self.tab = Tab::ALL[tab % 4];
        self.settle();
        vec![Order::Look]
    }

    /// Shows what is selected: a job alone, of a queue what runs.
    fn open(&mut self) -> Vec<Order> {
        if self.tab == Tab::Queues {
            let Some(queue) = self.queues.selected().cloned() else { return Vec::new() };
            self.tab = Tab::Running;
            return self.filter_by(queue);
        }
        let Some(id) = self.selected_job().map(|job| job.id) else { return Vec::new() };
        self.job = Some(JobScreen { id, ..JobScreen::default() });
        vec![Order::Follow(id), Order::Look]
    }

    fn ask_for_pause(&mut self) {
        let change = match self.tab {
            Tab::Queues => self.queues.selected().and_then(|name| {
                let is_paused = self.listed_queues().iter().find(|queue| queue.queue == *name)?.paused;
                let change = if is_paused { Change::ResumeQueue } else { Change::PauseQueue };
                Some(change(name.clone()))
            }),
            Tab::Schedules => self.schedules.selected().and_then(|name| {
                let is_paused = self.listed_schedules().iter().find(|one| one.name == *name)?.paused;
                let change = if is_paused { Change::ResumeSchedule } else { Change::PauseSchedule };
                Some(change(name.clone()))
            }),
            Tab::Running | Tab::Dead => None,
        };
        match change {
            Some(change) => self.mode = Mode::Question(change),
            None => self.say("queues and schedules are paused: screens 1 and 4", true),
        }
    }

    fn move_by(&mut self, key: Key) -> Vec<Order> {
        let (rows, filter) = (self.rows(), self.filter().to_owned());
        if let Some(pages) = self.pages_mut() {
            let turned = pages.press(key, &filter, rows);
            return if turned { vec![Order::Look] } else { Vec::new() };
        }
        let is_queues = self.tab == Tab::Queues;
        let names: Vec<String> = if is_queues {
            self.listed_queues().iter().map(|queue| queue.queue.clone()).collect()
        } else {
            self.listed_schedules().iter().map(|one| one.name.clone()).collect()
        };
        let cursor = if is_queues { &mut self.queues } else { &mut self.schedules };
        cursor.press(key, &names, rows);
        Vec::new()
    }

    fn press_on_filter(&mut self, key: Key) -> Vec<Order> {
        let mut filter = self.filter().to_owned();
        match key {
            Key::Enter => {
                self.mode = Mode::Plain;
                return Vec::new();
            }
            Key::Escape => {
                self.mode = Mode::Plain;
                filter = std::mem::take(&mut self.filter_before);
            }
            Key::Backspace => drop(filter.pop()),
            Key::Control('u') => filter.clear(),
            Key::Char(c) if filter.chars().count() < FILTER_MAX => filter.push(c),
            _ => return Vec::new(),
        }
        self.filter_by(filter)
    }

    fn filter_by(&mut self, filter: String) -> Vec<Order> {
        self.filters[self.tab as usize] = filter;
        if let Some(pages) = self.pages_mut() {
            pages.begin();
        }
        self.settle();
        vec![Order::Look]
    }

    fn press_on_job(&mut self, key: Key) -> Vec<Order> {
        let step = usize::from(self.size.1 / 2).max(1);
        let Some(screen) = &mut self.job else { return Vec::new() };
        let last = screen.tail.len();
        let to = screen.output_to.unwrap_or(last);
        match key {
            Key::Char('q') | Key::Escape => {
                self.job = None;
                self.settle();
                return vec![Order::Unfollow, Order::Look];
            }
            Key::Char(c @ '1'..='4') => {
                self.job = None;
                let shown = self.show(c as usize - '1' as usize);
                return [vec![Order::Unfollow], shown].concat();
            }
            Key::Next | Key::Previous => screen.facts_first = !screen.facts_first,
            Key::Char('?' | 'c' | 'r') => self.press_on_any(key),
            _ => {
                let (back, on) = match key {
                    Key::Up | Key::Char('k') => (1, 0),
                    Key::Down | Key::Char('j') => (0, 1),
                    Key::PageUp => (step, 0),
                    Key::PageDown | Key::Char(' ') => (0, step),
                    Key::First | Key::Char('g') => (usize::MAX, 0),
                    Key::Last | Key::Char('G') => (0, usize::MAX),
                    _ => return Vec::new(),
                };
                if screen.facts_first {
                    // The view does not go behind the last one.
                    let most =
                        screen.seen.as_ref().map_or(0, |seen| 4 * (seen.facts.len() + seen.reasons.len()));
                    screen.facts_from = screen.facts_from.saturating_sub(back).saturating_add(on).min(most);
                } else {
                    let to = to.saturating_sub(back).saturating_add(on).max(1);
                    screen.output_to = (to < last).then_some(to);
                }
            }
        }
        Vec::new()
    }
}
