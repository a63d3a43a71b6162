//! Sets up the log: to the journal with fields when our standard error is connected to it, else to standard
//! error for people; or as `MUSHER_LOG_FORMAT` says. The lines themselves are in `events`.
//!
//! Fields keep their names in the journal, without the usual prefix `F_`: `job` and `queue` become `JOB=42` and
//! `QUEUE=mails`, so `journalctl JOB=42` tells a job's story. Therefore no field of ours may be named like one
//! of the journal's own (`systemd.journal-fields(7)`: `priority`, `unit`, `errno`, …).

use super::events;
use super::journal::{self, Journal};
use super::json::{self, Json};
use super::level;
use super::writer::{LogWriter, write_patiently};
use crate::clock;
use jiff::{Timestamp, tz::TimeZone};
use rustix::fs::fstat;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use tracing::subscriber::set_global_default;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;

/// What is logged unless `MUSHER_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";
/// The same for the filter. What the client of NATS says of its connections operators need not know: nodes of a cluster say what matters.
const DEFAULT_DIRECTIVES: &str = "info,async_nats=warn";

/// Fields that every message already holds in words; people need not read them twice.
const IN_MESSAGE: [&str; 3] = ["job", "queue", "attempt"];

/// `MUSHER_LOG` cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("MUSHER_LOG: `{0}` is not a filter; write it like `debug` or `info,musher::store=trace`")]
pub struct BadFilter(String);

/// `MUSHER_LOG_FORMAT` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadFormat {
    /// It is none that is known.
    #[error("MUSHER_LOG_FORMAT: `{0}` is not known; write `text`, `json` or `journal`, or leave it away")]
    Unknown(String),
    /// The journal is to get the log, and does not listen.
    #[error("MUSHER_LOG_FORMAT: there is no journal at {socket}: {0}", socket = journal::SOCKET)]
    NoJournal(io::Error),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `MUSHER_LOG` cannot be read.
    #[error(transparent)]
    Filter(#[from] BadFilter),
    /// `MUSHER_LOG_FORMAT` cannot be used.
    #[error(transparent)]
    Format(#[from] BadFormat),
    /// The system has no thread for it.
    #[error("the log cannot be set up: {0}")]
    Thread(#[from] io::Error),
}

/// The log; what was said last is written when this is dropped, unless nobody takes it.
#[derive(Debug)]
#[must_use]
pub struct Log(LogWriter);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Where the log goes, and how.
enum Form {
    Journal(UnixDatagram),
    Json,
    Text,
}

impl Form {
    /// What `MUSHER_LOG_FORMAT` says; without it the journal, if our standard error is connected to it, else text.
    fn of(env: &impl Fn(&str) -> Option<OsString>) -> Result<Form, BadFormat> {
        let connect = || journal::connect(Path::new(journal::SOCKET));
        let wanted = env("MUSHER_LOG_FORMAT").unwrap_or_default();
        match &*wanted.to_string_lossy() {
            "" if env("JOURNAL_STREAM").is_some_and(|stream| is_stderr(&stream)) => {
                Ok(connect().map_or(Form::Text, Form::Journal))
            }
            "" | "text" => Ok(Form::Text),
            "json" => Ok(Form::Json),
            "journal" => connect().map(Form::Journal).map_err(BadFormat::NoJournal),
            other => Err(BadFormat::Unknown(other.escape_debug().to_string())),
        }
    }
}

/// Sets the log up for this process. The first call counts; later ones change nothing.
///
/// # Errors
/// If `MUSHER_LOG` or `MUSHER_LOG_FORMAT` cannot be used, or there is no thread for the log.
pub fn init(env: impl Fn(&str) -> Option<OsString>) -> Result<Log, LogError> {
    let wanted = wanted(env("MUSHER_LOG"));
    let filter = filter(&wanted)?;
    let form = Form::of(&env)?;
    let filter = level::changeable(filter, wanted);
    let to_stderr = |missing| LogWriter::start(|line| write_patiently(io::stderr(), line), missing);
    let (log, set) = match form {
        Form::Journal(socket) => {
            // What the journal does not take is gone: it is who would be told.
            let log = LogWriter::start(move |entry| drop(socket.send(entry)), journal::missing)?;
            let subscriber = tracing_subscriber::registry().with(filter).with(Journal(log.clone()));
            (log, set_global_default(subscriber))
        }
        Form::Json => {
            let log = to_stderr(json::missing)?;
            let subscriber = tracing_subscriber::registry().with(filter).with(Json(log.clone()));
            (log, set_global_default(subscriber))
        }
        Form::Text => {
            let log = to_stderr(missing)?;
            let colours = io::stderr().is_terminal() && env("NO_COLOR").is_none_or(|value| value.is_empty());
            let subscriber = people(filter, colours, log.clone());
            (log, set_global_default(subscriber))
        }
    };
    let _ = set; // it fails only when a log is set up already
    Ok(Log(log))
}

/// The line for people that says how many are missing.
fn missing(count: u64) -> Vec<u8> {
    let now = LocalTime(TimeZone::system()).now();
    format!("{now}  WARN {}\n", events::lines_dropped(count)).into_bytes()
}

/// What `MUSHER_LOG` says, or what holds without it.
fn wanted(variable: Option<OsString>) -> String {
    let variable = variable.filter(|text| !text.is_empty()).unwrap_or_else(|| DEFAULT_FILTER.into());
    variable.to_string_lossy().into_owned()
}

fn filter(wanted: &str) -> Result<EnvFilter, BadFilter> {
    let directives = if wanted == DEFAULT_FILTER { DEFAULT_DIRECTIVES } else { wanted };
    EnvFilter::try_new(directives).map_err(|_: ParseError| BadFilter(wanted.escape_debug().to_string()))
}

/// Whether `JOURNAL_STREAM` (`device:inode`, `systemd.exec(5)`) names our standard error. A process may inherit
/// the variable from a service and yet write elsewhere.
fn is_stderr(stream: &OsStr) -> bool {
    let numbers = stream.to_str().and_then(|text| text.split_once(':'));
    let numbers = numbers.and_then(|(dev, ino)| Some((dev.parse::<u64>().ok()?, ino.parse::<u64>().ok()?)));
    let stderr = fstat(io::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    numbers.is_some() && numbers == stderr
}

/// Time, level, message, and the fields that the message does not hold.
fn people<F, W>(filter: F, colours: bool, writer: W) -> impl tracing::Subscriber
where
    F: tracing_subscriber::Layer<Registry> + Send + Sync + 'static,
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let fields = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name if IN_MESSAGE.contains(&name) => Ok(()),
        name => write!(writer, " {name}={value:?}"),
    });
    let layer = tracing_subscriber::fmt::layer()
        .compact()
        .with_target(false)
        .with_timer(LocalTime(TimeZone::system()))
        .with_ansi(colours)
        .fmt_fields(fields)
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(layer)
}

/// The wall clock in the time zone of this machine, to the millisecond.
struct LocalTime(TimeZone);

impl LocalTime {
    fn now(&self) -> String {
        let now = i64::try_from(clock::wall().0).unwrap_or(0);
        let now = Timestamp::from_millisecond(now).unwrap_or_default();
        self.0.to_datetime(now).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
    }
}

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Attempt, JobId, QueueName};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics in it").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(say: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber =
            people(filter(&wanted(None)).expect("the default is one"), false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, say);
        let bytes = buffer.0.lock().expect("no test panics in it").clone();
        String::from_utf8(bytes).expect("the log is UTF-8")
    }

    #[test]
    fn people_read_time_level_and_message_once() {
        let queue = QueueName::new("mails").expect("a name");
        let line = logged(|| events::job_dead(JobId(42), &queue, Attempt(3), "exit 1"));
        assert!(line.ends_with("ERROR job 42 of mails is dead after attempt 3: exit 1\n"), "{line}");
        let (time, _) = line.split_once("ERROR").expect("checked above");
        assert_eq!(time.trim().len(), "2026-12-24 18:00:00.000".len(), "{line}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_with_an_example() {
        let message = filter("musher=loud=1").expect_err("no such level").to_string();
        assert!(message.contains("`musher=loud=1`") && message.contains("like `debug`"), "{message}");
        assert!(filter(&wanted(Some("".into()))).is_ok());
    }

    #[test]
    fn a_format_that_is_not_known_is_refused_with_those_that_are() {
        let of = |format: &str| Form::of(&|name: &str| (name == "MUSHER_LOG_FORMAT").then(|| format.into()));
        assert!(matches!((of(""), of("text"), of("json")), (Ok(Form::Text), Ok(Form::Text), Ok(Form::Json))));
        let message = of("xml\n").err().expect("no such format").to_string();
        assert!(message.contains("`xml\\n` is not known") && message.contains("`json`"), "{message}");
    }

    #[test]
    fn only_a_journal_stream_that_is_our_stderr_counts() {
        let stat = fstat(io::stderr()).expect("it is open");
        let ours = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_stderr(OsStr::new(&ours)));
        for other in ["", "1", "x:y", "1:18446744073709551615"] {
            assert!(!is_stderr(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn no_text_from_outside_can_forge_a_line() {
        let line = logged(|| {
            events::worker_pool_restarted("boom\n2026-12-24 18:00:00.000  INFO stopped\x1b[2J\r\u{202e}");
        });
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains("boom\\n2026") && !line.trim_end().chars().any(char::is_control), "{line:?}");
    }
}
