//! The lists: queues, running jobs, dead jobs, schedules. Each is laid out as the tables of other verbs are, and as wide as the
//! screen is.

use super::{BOLD, Canvas, DIM, Part, SELECTED};
use crate::cli::look::circuit;
use crate::cli::output::safe;
use crate::cli::schedule::times;
use crate::cli::stats::plot;
use crate::cli::table::Layout;
use crate::cli::top::link::PAST_MS;
use crate::cli::top::model::{Model, Tab};
use crate::core::Time;
use crate::protocol::admin::{JobView, QueueView, ScheduleView};
use crate::words::{age, count, short, span, when};
use ratatui::style::Style;

/// What stands before a line, and before that which is selected.
const PLAIN: &str = "  ";
const POINTED: &str = "> ";

/// How many bars the past of a queue has, at most and at least.
const BARS: [usize; 4] = [60, 30, 20, BARS_LEAST];
const BARS_LEAST: usize = 10;

/// A list as it is drawn: of all lines only those on the screen.
struct List {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Those that are to be seen at once.
    odd: Vec<Oddness>,
    /// Columns that are left out where there is no room, the first first.
    optional: &'static [&'static str],
    /// Which of the rows is selected.
    selected: Option<usize>,
    /// What is said if there are none.
    none: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddness {
    Plain,
    Odd,
    Bad,
}

pub(super) fn draw(canvas: &mut Canvas<'_>, part: Part, model: &Model, now: Time) {
    let list = match model.tab {
        Tab::Queues => queues_within(model, canvas.width()),
        Tab::Running => running(model, now),
        Tab::Dead => dead(model, now),
        Tab::Schedules => schedules(model, now),
    };
    let room = canvas.width() - PLAIN.len();
    if list.rows.is_empty() {
        canvas.line(PLAIN.len(), part.top, &list.none, DIM);
        return;
    }
    let layout = Layout::new(&list.head, &list.rows, list.optional, Some(room));
    let lines: Vec<String> = layout.lines(&list.head, &list.rows).collect();
    for (nth, (line, y)) in lines.iter().zip(part.top..part.top + part.height).enumerate() {
        let Some(nth) = nth.checked_sub(1) else {
            canvas.line(PLAIN.len(), y, line, BOLD);
            continue;
        };
        let style = match list.odd[nth] {
            Oddness::Plain => Style::new(),
            Oddness::Odd => canvas.palette.odd(),
            Oddness::Bad => canvas.palette.bad(),
        };
        let is_selected = list.selected == Some(nth);
        canvas.line(0, y, if is_selected { POINTED } else { PLAIN }, style);
        canvas.line(PLAIN.len(), y, line, style);
        if is_selected {
            canvas.paint(y, SELECTED);
        }
    }
}

/// How the list begins where nothing is known yet, or nothing is there.
fn none(model: &Model, is_known: bool, nothing: &str) -> String {
    match (is_known, model.filter()) {
        (false, _) => "asking the daemon…".to_owned(),
        (true, "") => nothing.to_owned(),
        (true, filter) => format!("none here with “{}”", safe(filter)),
    }
}

/// With as many bars as there is room for: none of them is cut off, and least of all the newest.
fn queues_within(model: &Model, width: usize) -> List {
    let room = width - PLAIN.len();
    let list = |bars| {
        let list = queues(model, bars);
        (Layout::new(&list.head, &list.rows, &[], None).width() <= room).then_some(list)
    };
    BARS.into_iter().find_map(list).unwrap_or_else(|| queues(model, BARS_LEAST))
}

fn queues(model: &Model, bars: usize) -> List {
    let all = model.listed_queues();
    let shown = model.queues.shown(&all, model.rows());
    // Most have none.
    let have_waiting = shown.iter().any(|queue| queue.waiting > 0);
    let head =
        ["QUEUE", "READY", "SCHED", "WAIT", "RUN", "DEAD", "OLDEST", "DONE/S", "WORK", "10 MIN", "STATE"];
    let head: Vec<_> = head.into_iter().filter(|column| have_waiting || *column != "WAIT").collect();
    let row = |queue: &&&QueueView| {
        let name = &queue.queue;
        let past = model
            .numbers
            .past(name)
            .map_or_else(String::new, |steps| plot::bars(&plot::summed(steps, steps.len().div_ceil(bars))));
        let waiting = have_waiting.then(|| count(queue.waiting));
        let workers = if queue.workers > 0 { count(queue.workers.into()) } else { "-".to_owned() };
        [safe(name), count(queue.ready), count(queue.scheduled)]
            .into_iter()
            .chain(waiting)
            .chain([
                count(queue.leased),
                count(queue.dead),
                age(queue.oldest_ready_ms),
                model.numbers.rate(name).map_or_else(|| "-".to_owned(), short),
                workers,
                past,
                state(queue, model.numbers.limits(name)),
            ])
            .collect()
    };
    debug_assert_eq!(PAST_MS, 600_000, "as the head of the column says");
    List {
        head,
        rows: shown.iter().collect::<Vec<_>>().iter().map(row).collect(),
        odd: shown.iter().map(|queue| oddness(queue)).collect(),
        optional: &["SCHED", "DONE/S", "WORK", "OLDEST", "10 MIN"],
        selected: model.queues.at().checked_sub(model.queues.top()),
        none: none(model, model.status.is_some(), "no queues yet: a queue is created with its first job"),
    }
}

fn is_open(queue: &QueueView) -> bool {
    queue.circuit.as_ref().is_some_and(|circuit| circuit.open_since.is_some())
}

/// What is to be known of a queue beside its numbers.
fn state(queue: &QueueView, limits: &str) -> String {
    let mut parts = Vec::new();
    parts.extend(queue.paused.then_some("paused"));
    parts.extend(is_open(queue).then_some("circuit open"));
    parts.extend(queue.held.is_some().then_some("held"));
    parts.extend((!limits.is_empty()).then_some(limits));
    parts.join(", ")
}

fn oddness(queue: &QueueView) -> Oddness {
    match () {
        () if is_open(queue) || queue.held.is_some() => Oddness::Bad,
        () if queue.paused => Oddness::Odd,
        () => Oddness::Plain,
    }
}

/// Why the queue that is selected does not go on, for the last line.
pub(super) fn why(model: &Model, _now: Time) -> Option<String> {
    if model.tab != Tab::Queues || model.job.is_some() {
        return None;
    }
    let selected = model.queues.selected()?;
    let queues = model.listed_queues();
    let queue = queues.iter().find(|queue| queue.queue == *selected)?;
    let open = queue.circuit.as_ref().and_then(circuit);
    let why = open.or_else(|| queue.held.as_ref().map(|why| safe(why)))?;
    Some(format!("{}: {why}", safe(selected)))
}

fn running(model: &Model, now: Time) -> List {
    let all = model.running.listed(model.filter());
    let shown = model.running.cursor.shown(&all, model.rows());
    let row = |(job, worker): &(&JobView, &str)| {
        let elapsed = job.leased_at.map_or_else(|| "-".to_owned(), |at| span(now.0.saturating_sub(at)));
        let (far, said) = match &job.progress {
            Some(far) => (format!("{} %", far.percent), safe(&far.text)),
            None => ("-".to_owned(), String::new()),
        };
        let cancelling = job.cancelling.then(|| "cancelling".to_owned());
        let tags = job.tags.iter().map(|(name, value)| format!("{}={}", safe(name), safe(value)));
        let what: Vec<String> =
            cancelling.into_iter().chain(Some(said).filter(|said| !said.is_empty())).chain(tags).collect();
        vec![
            job.id.to_string(),
            safe(&job.queue),
            elapsed,
            format!("{} of {}", job.attempt, job.attempts),
            far,
            (*worker).to_owned(),
            what.join("; "),
        ]
    };
    List {
        head: vec!["ID", "QUEUE", "ELAPSED", "ATTEMPT", "PROGRESS", "WORKER", "WHAT"],
        rows: shown.iter().map(row).collect(),
        odd: shown
            .iter()
            .map(|(job, _)| if job.cancelling { Oddness::Odd } else { Oddness::Plain })
            .collect(),
        optional: &["ATTEMPT", "WORKER"],
        selected: model.running.cursor.at().checked_sub(model.running.cursor.top()),
        none: none(model, model.running.is_known(), "nothing runs"),
    }
}

fn dead(model: &Model, now: Time) -> List {
    let all = model.dead.listed(model.filter());
    let shown = model.dead.cursor.shown(&all, model.rows());
    let row = |(job, _): &(&JobView, &str)| {
        let ago = |at| when(Time(at), now);
        let error = job.failures.last().map_or_else(|| "-".to_owned(), |failure| safe(&failure.error));
        vec![
            job.id.to_string(),
            safe(&job.queue),
            job.ended_at.map_or_else(|| "-".to_owned(), ago),
            format!("{} of {}", job.failed, job.attempts),
            error,
        ]
    };
    List {
        head: vec!["ID", "QUEUE", "WHEN", "FAILED", "ERROR"],
        rows: shown.iter().map(row).collect(),
        odd: vec![Oddness::Plain; shown.len()],
        optional: &["FAILED", "WHEN"],
        selected: model.dead.cursor.at().checked_sub(model.dead.cursor.top()),
        none: none(model, model.dead.is_known(), "no job is dead"),
    }
}

fn schedules(model: &Model, now: Time) -> List {
    let all = model.listed_schedules();
    let shown = model.schedules.shown(&all, model.rows());
    let row = |schedule: &&ScheduleView| {
        let (next, state) = match schedule.next_at {
            _ if schedule.paused => ("-".to_owned(), "paused"),
            Some(at) if schedule.waits => (when(Time(at), now), "one waits"),
            None if schedule.waits => ("-".to_owned(), "one waits"),
            Some(at) => (when(Time(at), now), "runs"),
            None => ("never".to_owned(), "over"),
        };
        let last = schedule.runs.first().map_or_else(
            || "-".to_owned(),
            |run| format!("{} {}", run.job, run.state.as_deref().map_or_else(|| "gone".into(), safe)),
        );
        vec![
            safe(&schedule.name),
            next,
            state.to_owned(),
            safe(&times(schedule)),
            safe(&schedule.queue),
            last,
            count(schedule.fired),
        ]
    };
    List {
        head: vec!["SCHEDULE", "NEXT", "STATE", "TIMES", "QUEUE", "LAST JOB", "FIRED"],
        rows: shown.iter().map(row).collect(),
        odd: shown.iter().map(|one| if one.paused { Oddness::Odd } else { Oddness::Plain }).collect(),
        optional: &["FIRED", "LAST JOB", "QUEUE", "TIMES"],
        selected: model.schedules.at().checked_sub(model.schedules.top()),
        none: none(
            model,
            model.schedules_seen.is_some(),
            "no schedule yet: see `musher schedule add --help`",
        ),
    }
}
