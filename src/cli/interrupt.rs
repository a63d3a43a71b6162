//! Ctrl-C and SIGTERM, in verbs that must say what they leave behind. A thread of its own waits for signals, so they
//! are noticed even while nobody reads what the verb prints. A signal that was ignored when the program started stays
//! ignored, as for `nohup` and background jobs.

use crate::process::ignored_signals;
use crate::signals::{Listener, listen_to};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use std::io;
use tokio::sync::watch;

/// A signal ends the program as it always does, but this message is printed first.
pub(super) fn message_on_signal(message: String) -> io::Result<Listener> {
    listen(move |signal| {
        eprintln!("musher: {message}");
        end_by(signal);
    })
}

/// The first signal is reported, as its number; a second one ends the program.
pub(super) fn first_signal() -> io::Result<(Listener, watch::Receiver<Option<i32>>)> {
    let (tell, told) = watch::channel(None);
    let heard = listen(move |signal| {
        if tell.send_replace(Some(signal)).is_some() {
            end_by(signal);
        }
    })?;
    Ok((heard, told))
}

/// Signals that end the program, also that its terminal is gone, are handed over; those for which that returns true end it at
/// once.
pub(super) fn listen_for_end(mut ends: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<Listener> {
    listen_to(&[SIGINT, SIGTERM, SIGHUP], move |signal| {
        if ends(signal) {
            end_by(signal);
        }
    })
}

/// Waits for the signal that is reported.
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

/// So the parent process sees that it was a signal, as a shell must to end its script.
fn end_by(signal: i32) {
    // There is nothing else to do if the system does not let us.
    let _ = emulate_default_handler(signal);
}

fn listen(hear: impl FnMut(i32) + Send + 'static) -> io::Result<Listener> {
    let ignored = ignored_signals().unwrap_or(0);
    let heard: Vec<i32> =
        [SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0).collect();
    listen_to(&heard, hear)
}
