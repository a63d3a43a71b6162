//! How far work is that takes long: a line on standard error, as long as that is a terminal. It knows numbers, not what they are of.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{Read, Write};
use std::time::Duration;

/// How often it is drawn anew where nothing else moves it.
const TICK: Duration = Duration::from_millis(100);

/// The line. It goes when this is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of so many bytes, if that is known.
    pub(super) fn of_bytes(what: &'static str, total: Option<u64>) -> Progress {
        let known = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}";
        Progress::new(what, total, known, "{spinner} {msg}: {bytes}, {bytes_per_sec}")
    }

    /// The same of jobs.
    pub(super) fn of_jobs(what: &'static str, total: Option<u64>) -> Progress {
        Progress::new(what, total, "{msg} {wide_bar} {percent} %", "{spinner} {msg}: {human_pos} jobs")
    }

    /// Of something that says nothing of how far it is.
    pub(super) fn of_time(what: &'static str) -> Progress {
        Progress::new(what, None, "", "{spinner} {msg}: {elapsed}")
    }

    fn new(what: &'static str, total: Option<u64>, known: &str, unknown: &str) -> Progress {
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), known),
            None => (ProgressBar::new_spinner(), unknown),
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a fixed template"));
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        Progress(bar)
    }

    /// So far.
    pub(super) fn is(&self, so_far: u64) {
        self.0.set_position(so_far);
    }

    /// Counts what is read.
    pub(super) fn reads<R: Read>(&self, from: R) -> impl Read + use<R> {
        self.0.wrap_read(from)
    }

    /// Counts what is written.
    pub(super) fn writes<W: Write>(&self, to: W) -> impl Write + use<W> {
        self.0.wrap_write(to)
    }

    /// Says something in its place.
    pub(super) fn aside<T>(&self, say: impl FnOnce() -> T) -> T {
        self.0.suspend(say)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
