//! Log lines for the journal, with their fields, in its own protocol: a datagram for each, of `NAME=value` lines. It
//! makes them; `writer.rs` sends them.

use super::writer::LogWriter;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::Context;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// The name that the lines come from.
const IDENTIFIER: &str = "musher";
/// The journal's numbers for how grave a line is, as in syslog(3).
const WARNING: u8 = 4;

/// Opens the socket to the journal.
///
/// # Errors
/// It does not listen there.
pub(super) fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// The datagram that says how many are missing.
pub(super) fn missing(count: u64) -> Vec<u8> {
    let mut entry = head(WARNING, module_path!());
    put(&mut entry, "MESSAGE", &super::events::lines_dropped(count));
    entry
}

/// Makes a datagram of each event.
pub(super) struct Journal(pub(super) LogWriter);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        let mut entry = head(priority(about.level()), about.target());
        if let (Some(file), Some(line)) = (about.file(), about.line()) {
            put(&mut entry, "CODE_FILE", file);
            put(&mut entry, "CODE_LINE", &line.to_string());
        }
        event.record(&mut Fields(&mut entry));
        // The queue takes it or counts it; it never fails.
        let _ = self.0.clone().write(&entry);
    }
}

fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => WARNING,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn head(priority: u8, target: &str) -> Vec<u8> {
    let mut entry = Vec::with_capacity(512);
    put(&mut entry, "PRIORITY", &priority.to_string());
    put(&mut entry, "SYSLOG_IDENTIFIER", IDENTIFIER);
    put(&mut entry, "TARGET", target);
    entry
}

/// Adds a field. Its length comes before it, so nothing in it can end it.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

struct Fields<'a>(&'a mut Vec<u8>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        put(self.0, &name(field.name()), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(text, "{value:?}");
        put(self.0, &name(field.name()), &text);
    }
}

/// As the journal wants names: capitals, digits, `_`.
fn name(field: &str) -> String {
    field.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Attempt, JobId, QueueName};
    use crate::telemetry::events;
    use tracing_subscriber::layer::SubscriberExt;

    /// The fields of a datagram.
    fn fields(mut entry: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        while let Some(at) = entry.iter().position(|byte| *byte == b'\n') {
            let (name, rest) = (&entry[..at], &entry[at + 1..]);
            let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((text(name), text(&rest[8..8 + len])));
            assert_eq!(rest[8 + len], b'\n');
            entry = &rest[8 + len + 1..];
        }
        found
    }

    #[test]
    fn the_journal_has_what_is_said_and_its_fields_under_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let socket = connect(&path).unwrap();
        let log = LogWriter::start(move |entry| drop(socket.send(entry)), missing).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal(log));
        let queue = QueueName::new("mails").unwrap();
        tracing::subscriber::with_default(subscriber, || {
            events::job_dead(JobId(42), &queue, Attempt(3), "exit 1\nPRIORITY=0");
        });
        let mut buffer = [0; 4096];
        let length = journal.recv(&mut buffer).unwrap();
        let fields = fields(&buffer[..length]);
        let field = |name: &str| {
            let mut all = fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
            (all.next(), all.next())
        };
        assert_eq!(field("PRIORITY"), (Some("3"), None));
        assert_eq!(field("SYSLOG_IDENTIFIER"), (Some("musher"), None));
        assert_eq!((field("JOB"), field("QUEUE")), ((Some("42"), None), (Some("mails"), None)));
        let message = field("MESSAGE").0.unwrap();
        assert!(message.starts_with("job 42 of mails is dead after attempt 3: exit 1"), "{message}");
        assert!(field("CODE_FILE").0.unwrap().ends_with("events.rs"));
    }
}
