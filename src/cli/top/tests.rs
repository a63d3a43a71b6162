//! A daemon with three queues as the screen knows it, for tests of what keys come to and of what is drawn.

mod drawn;
mod pressed;

use super::ask::{Change, Heard, JobSeen, Look, Output, Seen};
use super::keys::Key;
use super::model::{Mode, Model, Order, Tab};
use super::view::{self, Palette};
use crate::core::Time;
use crate::protocol::admin::{EditView, JobView, JobsView, QueueStatsView, ScheduleView, StatusView};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};
use std::time::Duration;

const NOW: Time = Time(1_700_000_000_000);

fn queue(name: &str, more: Value) -> Value {
    let totals = ["submitted", "claimed", "completed", "failed", "died", "cancelled", "expired"];
    let mut queue = json!({ "queue": name, "paused": false, "workers": 2, "waiting_claims": 0, "ready": 3, "scheduled": 0,
        "leased": 1, "done": 0, "dead": 0, "cancelled": 0, "expired": 0,
        "totals": totals.iter().map(|name| (name.to_string(), json!(0))).collect::<serde_json::Map<_, _>>() });
    merge(&mut queue, more);
    queue
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("{more}") };
    for (key, value) in more {
        into[key] = value;
    }
}

fn status(queues: Vec<Value>) -> StatusView {
    let status = json!({ "version": "1.2.3", "pid": 7, "data": "/d", "uptime_ms": 7_200_000, "mode": "running", "connections": 1,
        "waiting_claims": 0, "commit": 9, "next_id": 9, "memory": 1, "schedules": 2, "queues": queues });
    serde_json::from_value(status).unwrap()
}

fn job(id: u64, state: &str, more: Value) -> JobView {
    let mut job = json!({ "id": id, "queue": "mails", "state": state, "priority": 1024, "attempt": 2, "failed": 1, "attempts": 25,
        "submitted_at": NOW.0 - 90_000, "owner": 0, "leased_at": NOW.0 - 65_000, "ended_at": NOW.0 - 5_000 });
    merge(&mut job, more);
    serde_json::from_value(job).unwrap()
}

fn schedule(name: &str, more: Value) -> ScheduleView {
    let mut schedule = json!({ "name": name, "cron": "0 3 * * *", "zone": "UTC", "queue": "mails", "owner": 0, "configured": true,
        "paused": false, "waits": false, "next_at": NOW.0 + 120_000, "fired": 12, "skipped": 0, "catch_up": "one",
        "overlap": "allow", "jitter_ms": 0, "body_bytes": 1, "runs": [] });
    merge(&mut schedule, more);
    serde_json::from_value(schedule).unwrap()
}

fn seen(look: Look, at: u64, status: StatusView) -> Seen {
    Seen {
        look,
        at: Duration::from_secs(at),
        status,
        past: Vec::new(),
        limits: Vec::new(),
        jobs: None,
        workers: Vec::new(),
        schedules: None,
        job: None,
        refused: None,
    }
}

/// Three queues, one with everything.
fn queues() -> Vec<Value> {
    vec![
        queue("images", json!({ "paused": true })),
        queue(
            "mails",
            json!({ "ready": 1_234, "oldest_ready_ms": 125_000, "dead": 2, "totals": { "submitted": 0, "claimed": 0, "completed": 100, "failed": 0,
            "died": 0, "cancelled": 0, "expired": 0 } }),
        ),
        queue(
            "reports",
            json!({ "workers": 0,
            "circuit": { "failed": 5, "failures": 5, "open_since": NOW.0 - 60_000, "next_probe_at": NOW.0 + 5_000 } }),
        ),
    ]
}

/// A screen that has been looked at twice.
fn model(size: (u16, u16)) -> Model {
    let mut model = Model::new(size);
    let look = model.look(Duration::ZERO);
    model.hear(Heard::Seen(Box::new(seen(look, 1, status(queues())))));
    let mut second = seen(model.look(Duration::from_secs(1)), 2, status(queues()));
    second.status.queues[1].totals.completed = 350;
    let steps = (0..60).map(|n| Some(n % 7)).collect();
    second.past =
        vec![("mails".into(), QueueStatsView { completed: steps, ..QueueStatsView::default() }, 10_000)];
    second.limits = vec![("mails".into(), "at most 3".into())];
    model.hear(Heard::Seen(Box::new(second)));
    model
}

/// The same on the page of dead jobs, or of those that run.
fn with_jobs(size: (u16, u16), key: char, jobs: Vec<JobView>, next: Option<u64>) -> Model {
    let mut model = model(size);
    press(&mut model, &[Key::Char(key)]);
    give_jobs(&mut model, jobs, next);
    model
}

fn give_jobs(model: &mut Model, jobs: Vec<JobView>, next: Option<u64>) {
    let mut seen = seen(model.look(Duration::from_secs(3)), 3, status(queues()));
    assert!(seen.look.jobs.is_some(), "{:?}", seen.look);
    seen.workers = jobs.iter().map(|_| "4711 of ann (1000)".to_owned()).collect();
    seen.jobs = Some(JobsView { jobs, next });
    model.hear(Heard::Seen(Box::new(seen)));
}

fn press(model: &mut Model, keys: &[Key]) -> Vec<Order> {
    keys.iter().flat_map(|key| model.press(*key)).collect()
}

fn drawn(model: &mut Model, has_colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(model.size.0, model.size.1)).unwrap();
    let draw =
        |frame: &mut ratatui::Frame<'_>| view::draw(model, NOW, Palette { has_colours }, frame.buffer_mut());
    terminal.draw(draw).unwrap();
    terminal.backend().buffer().clone()
}

/// What is on the screen, without what is empty at the ends of lines.
fn text(model: &mut Model) -> String {
    let cells = drawn(model, false);
    let width = usize::from(cells.area.width).max(1);
    let mut lines = Vec::new();
    for row in cells.content.chunks(width) {
        let (mut line, mut covered) = (String::new(), 0);
        for cell in row {
            if covered == 0 {
                line += cell.symbol();
                covered = unicode_width::UnicodeWidthStr::width(cell.symbol()).max(1);
            }
            covered -= 1;
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n").trim_end().to_owned()
}

/// One with a job of two on it, which has printed thirty lines.
fn with_job(size: (u16, u16)) -> Model {
    let mut model =
        with_jobs(size, '2', vec![job(41, "leased", json!({})), job(42, "leased", json!({}))], None);
    assert_eq!(press(&mut model, &[Key::Down, Key::Enter]), [Order::Follow(42), Order::Look]);
    let mut seen = seen(model.look(Duration::from_secs(4)), 4, status(queues()));
    assert_eq!((seen.look.job, &seen.look.jobs), (Some(42), &None));
    let facts = vec![("job", "42, leased".to_owned()), ("queue", "mails, priority 1024".to_owned())];
    let reasons = vec!["it is running: attempt 2, by a connected worker".to_owned()];
    seen.job = Some(Ok(JobSeen { job: job(42, "leased", json!({})), facts, reasons }));
    model.hear(Heard::Seen(Box::new(seen)));
    model.hear(Heard::Output(Output::Anew));
    for n in 1..=30 {
        let data = format!("\x1b[32mline {n}\x1b[0m\n").into();
        model.hear(Heard::Output(Output::Piece { attempt: 1, stream: 1, data }));
    }
    model
}
