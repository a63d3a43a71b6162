//! Signals become events. A thread of its own waits for them and hands each to a function that the caller gave;
//! what they mean is decided elsewhere. SIGKILL needs no code: start is recovery.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::thread::{self, JoinHandle};

/// What somebody asks of the daemon by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT: end what runs, then exit. A second one cuts the wait short.
    Drain,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: write the state to the log.
    Dump,
}

impl Signal {
    fn of(number: i32) -> Option<Signal> {
        match number {
            SIGTERM | SIGINT => Some(Signal::Drain),
            SIGHUP => Some(Signal::Reload),
            SIGUSR1 => Some(Signal::Dump),
            _ => None,
        }
    }
}

/// The thread that waits for signals. It ends when this is dropped; from then on the signals are ignored, for
/// when it is dropped, the process is about to exit.
#[derive(Debug)]
pub struct Listener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Catches the signals from now on and hands each to `deliver`, in a thread of its own.
///
/// # Errors
/// If the handlers cannot be installed or the thread cannot be started.
pub fn listen(mut deliver: impl FnMut(Signal) + Send + 'static) -> io::Result<Listener> {
    let deliver = move |number| Signal::of(number).into_iter().for_each(&mut deliver);
    listen_to(&[SIGTERM, SIGINT, SIGHUP, SIGUSR1], deliver)
}

/// The same for any signals, by their numbers.
///
/// # Errors
/// If the handlers cannot be installed or the thread cannot be started.
pub fn listen_to(numbers: &[i32], deliver: impl FnMut(i32) + Send + 'static) -> io::Result<Listener> {
    let mut signals = Signals::new(numbers)?;
    let handle = signals.handle();
    let wait = move || signals.forever().for_each(deliver);
    let thread = thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(Listener { handle, thread: Some(thread) })
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // A panic in `deliver` has been reported by its thread already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn each_signal_becomes_its_event_and_the_listener_can_be_stopped() {
        let (sender, events) = mpsc::channel();
        let listener = listen(move |signal| sender.send(signal).expect("the test listens")).unwrap();
        for (number, event) in [
            (SIGTERM, Signal::Drain),
            (SIGINT, Signal::Drain),
            (SIGHUP, Signal::Reload),
            (SIGUSR1, Signal::Dump),
        ] {
            raise(number).unwrap();
            assert_eq!(events.recv_timeout(Duration::from_secs(10)), Ok(event), "signal {number}");
        }
        drop(listener);
        assert_eq!(events.recv(), Err(mpsc::RecvError), "the thread has ended");
    }
}
