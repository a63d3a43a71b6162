//! Ctrl-C, and SIGTERM, in verbs whose end leaves something behind that people want to know of. Signals come to a
//! thread of their own, so that they are heard even while nobody reads what the verb prints. A signal that was ignored
//! when the program began stays so, as for `nohup` and jobs in the background.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Signals are heard as long as this lives.
#[derive(Debug)]
pub(super) struct Heard {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// A signal ends the program as it always does, but these words are said first.
pub(super) fn last_words(words: String) -> io::Result<Heard> {
    listen(move |signal| {
        eprintln!("musher: {words}");
        end_by(signal);
    })
}

/// The first signal is told, as its number; a second one ends the program.
pub(super) fn first_told() -> io::Result<(Heard, watch::Receiver<Option<i32>>)> {
    let (tell, told) = watch::channel(None);
    let heard = listen(move |signal| {
        if tell.send_replace(Some(signal)).is_some() {
            end_by(signal);
        }
    })?;
    Ok((heard, told))
}

/// Waits for the signal that is told.
pub(super) async fn signal(told: &mut watch::Receiver<Option<i32>>) -> i32 {
    match told.wait_for(Option::is_some).await.map(|signal| *signal) {
        Ok(Some(signal)) => signal,
        // Nobody hears any more, so none will come.
        _ => std::future::pending().await,
    }
}

/// The exit code that says which signal it was.
pub(super) fn code(signal: i32) -> u8 {
    128 + signal as u8
}

/// So whoever started us sees that it was a signal, as a shell must to end its script.
fn end_by(signal: i32) {
    // There is nothing else to do if the system does not let us.
    let _ = emulate_default_handler(signal);
}

fn listen(mut hear: impl FnMut(i32) + Send + 'static) -> io::Result<Heard> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut signals =
        Signals::new([SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(&status, *signal)))?;
    let handle = signals.handle();
    let wait = move || signals.forever().for_each(&mut hear);
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(Heard { handle, thread: Some(thread) })
}

/// Whether a process with this status, as in proc(5), ignores a signal.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_says_which_signals_are_ignored() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000000003\nSigCgt:\t0\n";
        assert!(is_ignored(status, 1) && is_ignored(status, SIGINT) && !is_ignored(status, SIGTERM));
        assert!(!is_ignored("", SIGINT));
    }
}
