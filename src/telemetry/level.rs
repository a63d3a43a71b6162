//! What is logged, changed while the process runs. It holds until the next change or start.

use std::sync::{Mutex, OnceLock, PoisonError};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::reload::{Handle, Layer};

/// The filter of this process's log, once that is set up.
static FILTER: OnceLock<Filter> = OnceLock::new();

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// The longest filter.
const TEXT_MAX: usize = 1_000;

struct Filter {
    handle: Handle<EnvFilter, Registry>,
    at_start: String,
    now: Mutex<String>,
}

/// What is logged, and what was from the start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel {
    /// The filter that holds.
    pub filter: String,
    /// The one of the start, from `MUSHER_LOG`.
    pub at_start: String,
}

/// Why the filter of the log is not changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// A part of it cannot be read.
    #[error(
        "`{0}` is no level and no MODULE=LEVEL: levels are off, error, warn, info, debug and trace; a filter is written like `debug` or \
         `info,musher::store=trace`"
    )]
    Bad(String),
    /// It is too long.
    #[error("a filter of {0} bytes: at most {TEXT_MAX} are allowed")]
    TooLong(usize),
    /// The log is not this process's.
    #[error("the log is that of the program that the queue is part of: it says what is logged")]
    NotOurs,
}

/// Filters by `filter`, which `text` says, from now on; once for a process. Returns the layer that does it.
pub(super) fn changeable(filter: EnvFilter, text: String) -> Layer<EnvFilter, Registry> {
    let (layer, handle) = Layer::new(filter);
    // The first log of a process counts.
    let _ = FILTER.set(Filter { handle, now: Mutex::new(text.clone()), at_start: text });
    layer
}

/// What is logged now.
///
/// # Errors
/// The log is not this process's.
pub fn log_level() -> Result<LogLevel, LevelError> {
    let filter = FILTER.get().ok_or(LevelError::NotOurs)?;
    let now = filter.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(LogLevel { filter: now, at_start: filter.at_start.clone() })
}

/// Logs by another filter from now on; by that of the start if it is empty.
///
/// # Errors
/// It cannot be read; then nothing has changed. Or the log is not this process's.
pub fn set_log_level(text: &str) -> Result<LogLevel, LevelError> {
    let filter = FILTER.get().ok_or(LevelError::NotOurs)?;
    let new = match text.trim() {
        "" => filter.at_start.clone(),
        text => checked(text)?,
    };
    let read = EnvFilter::try_new(&new).map_err(|_| LevelError::Bad(shown(&new)))?;
    let mut now = filter.now.lock().unwrap_or_else(PoisonError::into_inner);
    // It fails where the log is gone.
    filter.handle.reload(read).map_err(|_| LevelError::NotOurs)?;
    *now = new;
    drop(now);
    log_level()
}

/// The filter without blanks. A word that is no level would be taken for a module, of which there is none, and nothing would be
/// logged.
fn checked(text: &str) -> Result<String, LevelError> {
    if text.len() > TEXT_MAX {
        return Err(LevelError::TooLong(text.len()));
    }
    let is_level = |level: &str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
    let is_module = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    let is_good = |part: &str| match part.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(part),
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts.iter().find(|part| !is_good(part)) {
        Some(bad) => Err(LevelError::Bad(shown(bad))),
        None => Ok(parts.join(",")),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_levels_and_modules_with_levels() {
        for good in ["debug", "INFO", "off", "info,musher::store=trace", "warn, musher=debug , sled=error"] {
            let filter = checked(good).unwrap();
            assert_eq!(filter, good.replace(' ', ""));
            assert!(EnvFilter::try_new(&filter).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("loud", "loud"),
            ("info,musher::store", "musher::store"),
            ("musher=loud", "musher=loud"),
            ("info,,debug", ""),
            ("=info", "=info"),
            ("info[span]=debug", "info[span]=debug"),
            ("a=b", "a=b"),
        ] {
            let error = checked(bad).unwrap_err();
            assert_eq!(error, LevelError::Bad(part.into()), "{bad}");
            assert!(error.to_string().contains("info,musher::store=trace"));
        }
        assert_eq!(checked(&"debug,".repeat(1_000)), Err(LevelError::TooLong(6_000)));
    }
}
