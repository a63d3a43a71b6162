//! Log lines for programs that collect logs: an object of JSON on each line of standard error. It makes them; `writer.rs` writes them.

use super::events;
use super::writer::LogWriter;
use crate::clock;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::fmt;
use std::io::Write as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::Context;

/// The members of each line; fields of these names get an underscore behind them.
const OWN: [&str; 4] = ["time", "level", "target", "message"];

/// The line that says how many are missing.
pub(super) fn missing(count: u64) -> Vec<u8> {
    let mut line = head("WARN", module_path!());
    line.insert("message".into(), events::lines_dropped(count).into());
    written(line)
}

/// Makes a line of each event.
pub(super) struct Json(pub(super) LogWriter);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        let mut line = head(about.level().as_str(), about.target());
        event.record(&mut Fields(&mut line));
        // The queue takes it or counts it; it never fails.
        let _ = self.0.clone().write(&written(line));
    }
}

fn head(level: &str, target: &str) -> Map<String, Value> {
    let now = Timestamp::from_millisecond(i64::try_from(clock::wall().0).unwrap_or(0)).unwrap_or_default();
    let mut line = Map::new();
    line.insert("time".into(), format!("{now:.3}").into());
    line.insert("level".into(), level.into());
    line.insert("target".into(), target.into());
    line
}

fn written(line: Map<String, Value>) -> Vec<u8> {
    let mut text = Value::Object(line).to_string();
    text.push('\n');
    text.into_bytes()
}

/// What an event says, under its names; numbers as numbers.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            name if name != "message" && OWN.contains(&name) => format!("{name}_"),
            name => name.to_owned(),
        };
        self.0.insert(name, value);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // Ours are told by how they are displayed.
        let number = text.parse::<u64>().ok().filter(|_| field.name() != "message");
        self.put(field, number.map_or(Value::String(text), Value::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Attempt, JobId, QueueName};
    use std::sync::mpsc::channel;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_line_is_an_object_with_its_fields_and_nothing_from_outside_ends_it() {
        let (said, lines) = channel();
        let log = LogWriter::start(move |line| said.send(line.to_vec()).unwrap(), missing).unwrap();
        let subscriber = tracing_subscriber::registry().with(Json(log));
        let queue = QueueName::new("mails").unwrap();
        tracing::subscriber::with_default(subscriber, || {
            events::job_dead(JobId(42), &queue, Attempt(3), "exit 1\n{\"level\": \"INFO\"}");
        });
        let line = String::from_utf8(lines.recv().unwrap()).unwrap();
        assert_eq!((line.lines().count(), line.ends_with('\n')), (1, true), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["level"], &line["job"], &line["queue"]),
            (&"ERROR".into(), &42.into(), &"mails".into())
        );
        let message = line["message"].as_str().unwrap();
        assert!(message.starts_with("job 42 of mails is dead after attempt 3: exit 1"), "{message}");
        let time = line["time"].as_str().unwrap();
        assert!(
            time.parse::<Timestamp>().is_ok() && time.len() == "2026-12-24T18:00:00.000Z".len(),
            "{time}"
        );
    }

    #[test]
    fn what_is_missing_is_told_as_a_line() {
        let line: Value = serde_json::from_slice(&missing(7)).unwrap();
        assert_eq!(line["level"], "WARN");
        assert!(line["message"].as_str().unwrap().contains('7'), "{line}");
    }
}
