//! Draws the model into the cells of a screen. It must not change it, and knows no terminal: what is drawn is text and
//! styles.

mod job;
mod lists;

use super::model::{LEAST, Mode, Model, Tab};
use crate::cli::output::safe;
use crate::cli::table::{cut, wrap};
use crate::core::Time;
use crate::protocol::admin::StatusView;
use crate::words::{count, rate, span};
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// What parts of the screen look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) has_colours: bool,
}

impl Palette {
    fn coloured(self, colour: Color, otherwise: Modifier) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new().add_modifier(otherwise) }
    }

    fn bad(self) -> Style {
        self.coloured(Color::Red, Modifier::BOLD)
    }

    fn odd(self) -> Style {
        self.coloured(Color::Yellow, Modifier::BOLD)
    }

    fn good(self) -> Style {
        self.coloured(Color::Green, Modifier::empty())
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// A part of the screen that is as wide as all of it.
#[derive(Clone, Copy, Debug)]
struct Part {
    top: u16,
    height: u16,
}

/// The cells, and how they may look.
struct Canvas<'b> {
    cells: &'b mut Buffer,
    palette: Palette,
}

impl Canvas<'_> {
    fn width(&self) -> usize {
        self.cells.area.width.into()
    }

    /// Writes a line, cut where the screen ends; returns where it ends.
    fn line(&mut self, x: usize, y: u16, text: &str, style: Style) -> usize {
        let (width, area) = (self.width(), self.cells.area);
        let left = width.saturating_sub(x);
        if left == 0 || y >= area.height {
            return x;
        }
        let text = cut(text, left);
        // Where there is no room at all for what is cut off, not even for the sign of that.
        self.cells.set_stringn(area.x + x as u16, area.y + y, &text, left, style);
        x + text.width()
    }

    /// Gives a whole line a style.
    fn paint(&mut self, y: u16, style: Style) {
        let area = self.cells.area;
        if y < area.height {
            let line = ratatui::layout::Rect { y: area.y + y, height: 1, ..area };
            self.cells.set_style(line, style);
        }
    }
}

/// Draws all of it.
pub(super) fn draw(model: &Model, now: Time, palette: Palette, cells: &mut Buffer) {
    let (width, height) = (cells.area.width, cells.area.height);
    let mut canvas = Canvas { cells, palette };
    if width < LEAST.0 || height < LEAST.1 {
        return too_small(&mut canvas, (width, height));
    }
    header(&mut canvas, model);
    tabs(&mut canvas, model);
    let part = Part { top: 2, height: height - 3 };
    match (&model.mode, &model.job) {
        (Mode::Help(from), _) => help(&mut canvas, part, *from),
        (_, Some(screen)) => job::draw(&mut canvas, part, screen),
        (_, None) => lists::draw(&mut canvas, part, model, now),
    }
    last_line(&mut canvas, height - 1, model, now);
}

fn too_small(canvas: &mut Canvas<'_>, (width, height): (u16, u16)) {
    let text = format!(
        "{width}×{height} is too small: at least {}×{} are needed. Make it larger, or q leaves.",
        LEAST.0, LEAST.1
    );
    for (line, y) in wrap(&text, usize::from(width).max(1)).iter().zip(0..height) {
        canvas.line(0, y, line, Style::new());
    }
}

/// How the daemon is, in few words, and whether that is as it should be.
fn health(model: &Model) -> (String, bool) {
    match &model.status {
        _ if model.away.is_some() => ("away".to_owned(), false),
        None => ("asking…".to_owned(), true),
        Some(StatusView { mode, draining_ms: Some(ms), .. }) => {
            (format!("{} for {}", safe(mode), span(*ms)), false)
        }
        Some(StatusView { mode, .. }) if mode != "running" => (safe(mode), false),
        Some(StatusView { refusing: Some(_), .. }) => ("takes no new jobs".to_owned(), false),
        Some(_) => ("ok".to_owned(), true),
    }
}

fn header(canvas: &mut Canvas<'_>, model: &Model) {
    let (health, is_well) = health(model);
    // Each with how soon it gives way where there is no room for all.
    let mut parts: Vec<(u8, String)> = Vec::new();
    match &model.status {
        None => parts.push((1, "musher".to_owned())),
        Some(status) => {
            let sum =
                |of: fn(&crate::protocol::admin::QueueView) -> u64| status.queues.iter().map(of).sum::<u64>();
            parts.push((2, format!("musher {}", safe(&status.version))));
            parts.push((4, format!("up {}", span(status.uptime_ms))));
            parts.push((0, format!("{} ready", count(sum(|queue| queue.ready)))));
            parts.push((0, format!("{} running", count(sum(|queue| queue.leased)))));
            parts.push((1, format!("{} dead", count(sum(|queue| queue.dead)))));
            parts.extend(
                model.numbers.total_rate().map(|per_second| (3, format!("{} done", rate(per_second)))),
            );
        }
    }
    let room = canvas.width().saturating_sub(health.width() + 2);
    while parts.iter().map(|(_, part)| part.width() + 2).sum::<usize>() > room + 2 {
        let Some(first) = parts.iter().enumerate().max_by_key(|(_, (soon, _))| *soon).map(|(at, _)| at)
        else {
            break;
        };
        parts.remove(first);
    }
    let text = parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join("  ");
    canvas.line(0, 0, &text, BOLD);
    let style = if is_well { canvas.palette.good() } else { canvas.palette.bad() };
    canvas.line(canvas.width().saturating_sub(health.width()), 0, &health, style);
}

fn tabs(canvas: &mut Canvas<'_>, model: &Model) {
    const NAMES: [&str; 4] = ["Queues", "Running", "Dead", "Schedules"];
    let counts = model.status.as_ref().map(|status| {
        let queues = &status.queues;
        let running: u64 = queues.iter().map(|queue| queue.leased).sum();
        let dead = queues.iter().map(|queue| queue.dead).sum();
        [queues.len() as u64, running, dead, status.schedules]
    });
    let names = |with_counts: bool| {
        NAMES.iter().enumerate().map(move |(nth, name)| match counts {
            Some(counts) if with_counts => format!(" {} {name} {} ", nth + 1, count(counts[nth])),
            _ => format!("{} {name}", nth + 1),
        })
    };
    let width: usize = names(true).map(|name| name.width() + 1).sum();
    let with_counts = width <= canvas.width() + 1;
    let mut x = 0;
    for (name, tab) in names(with_counts).zip(Tab::ALL) {
        let style = if tab == model.tab { SELECTED } else { Style::new() };
        x = canvas.line(x, 1, &name, style) + usize::from(with_counts || canvas.width() > LEAST.0.into());
        if !with_counts && canvas.width() <= LEAST.0.into() {
            x += 1;
        }
    }
}

/// All keys.
const KEYS: [(&str, &str); 14] = [
    ("↑ ↓, k j", "move; over the end of a page of jobs to the next one"),
    ("PgUp PgDn, g G", "a screen up or down; to the beginning, to the end"),
    ("Tab, 1 to 4", "another screen"),
    ("Enter", "show a job with its output; of a queue what runs"),
    ("p", "pause or resume a queue, or a schedule"),
    ("c", "cancel a job"),
    ("r", "run a dead job again"),
    ("/", "filter by a text; Enter keeps it, Esc does not"),
    ("Esc", "back; show all again; leave"),
    ("q", "back; leave"),
    ("Ctrl-L, Ctrl-Z", "draw anew; stop, until the shell says `fg`"),
    ("On a job:", ""),
    ("↑ ↓, PgUp PgDn", "through its output; G follows it again"),
    ("Tab", "more room for what there is to know of it, or for its output"),
];

fn help(canvas: &mut Canvas<'_>, part: Part, from: usize) {
    let indent = 2 + KEYS.iter().map(|(key, _)| key.width()).max().unwrap_or(0);
    let room = canvas.width().saturating_sub(indent);
    let mut lines = Vec::new();
    for (key, what) in KEYS {
        let mut key = key;
        for line in wrap(what, room) {
            lines.push((key, line));
            key = "";
        }
    }
    let from = from.min(lines.len().saturating_sub(part.height.into()));
    for ((key, what), y) in lines.iter().skip(from).zip(part.top..part.top + part.height) {
        canvas.line(0, y, key, BOLD);
        canvas.line(indent, y, what, Style::new());
    }
}

/// What is asked or said, or else which keys there are.
fn last_line(canvas: &mut Canvas<'_>, y: u16, model: &Model, now: Time) {
    let palette = canvas.palette;
    match &model.mode {
        Mode::Question(change) => {
            let (question, answer) = (change.question(), " (y/n)");
            let room = canvas.width().saturating_sub(answer.width());
            let x = canvas.line(0, y, &cut(&question, room), palette.odd());
            canvas.line(x, y, answer, palette.odd());
            return;
        }
        Mode::Filter => {
            let x = canvas.line(0, y, &format!("/{}", safe(model.filter())), BOLD);
            canvas.line(x, y, " ", SELECTED);
            return;
        }
        Mode::Help(_) => {
            canvas.line(0, y, "any key goes back", DIM);
            return;
        }
        Mode::Plain => {}
    }
    // Before what was said: nobody would see that it is not so any more.
    if let Some(why) = &model.away {
        canvas.line(0, y, &format!("the daemon is away, trying again ({why})"), palette.bad());
    } else if model.is_late {
        canvas.line(0, y, "the daemon does not answer; this is how it was before", palette.bad());
    } else if let Some(message) = &model.message {
        let style = if message.is_error { palette.bad() } else { palette.good() };
        canvas.line(0, y, &message.text, style);
    } else if let Some(why) = model.status.as_ref().and_then(|status| status.refusing.as_ref()) {
        canvas.line(0, y, &format!("takes no new jobs: {}", safe(why)), palette.bad());
    } else if let Some(why) = lists::why(model, now) {
        canvas.line(0, y, &why, palette.odd());
    } else {
        canvas.line(0, y, &hints(model), DIM);
    }
}

/// What keys do here.
fn hints(model: &Model) -> String {
    if model.job.is_some() {
        return "q back  c cancel  r retry  ↑↓ output  Tab facts  ? help".to_owned();
    }
    let mut parts = Vec::new();
    if !model.filter().is_empty() {
        parts.push(format!("only “{}”, Esc for all", safe(model.filter())));
    }
    if let Some(pages) = model.pages() {
        match pages.page() {
            (1, false) => {}
            (page, more) => parts.push(format!("page {page}{}", if more { ", more below" } else { "" })),
        }
    }
    parts.push(
        match model.tab {
            Tab::Queues => "q leave  Tab screen  p pause  Enter what runs  / filter  ? help",
            Tab::Running => "q leave  Tab screen  Enter show  c cancel  / filter  ? help",
            Tab::Dead => "q leave  Tab screen  Enter show  r retry  c cancel  / filter  ? help",
            Tab::Schedules => "q leave  Tab screen  p pause  / filter  ? help",
        }
        .to_owned(),
    );
    parts.join("  ")
}
