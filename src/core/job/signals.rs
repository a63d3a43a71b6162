//! Signals: what others tell a job by name, and its workers take one at a time. The core knows their names and numbers; what
//! they say is stored beside the job.

use super::{BadQueueName, Job, QueueName, State};
use crate::core::time::Time;
use std::fmt;

/// The name of a signal. The rule is that of queues, but it is shorter: rows of jobs hold several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalName(QueueName);

/// A name of a signal that breaks the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name of a signal: use 1 to {max} of the characters A-Z a-z 0-9 . _ - / : +, not beginning with -",
    max = SignalName::MAX
)]
pub struct BadSignalName(String);

impl SignalName {
    /// The longest, in bytes.
    pub const MAX: usize = 32;

    /// Checks a name.
    ///
    /// # Errors
    /// [`BadSignalName`], with the name cut to a length that can be shown.
    pub fn new(name: &str) -> Result<SignalName, BadSignalName> {
        match QueueName::new(name) {
            Ok(name) if name.as_str().len() <= SignalName::MAX => Ok(SignalName(name)),
            Ok(name) => Err(BadSignalName(name.to_string())),
            Err(BadQueueName(name)) => Err(BadSignalName(name)),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signal that has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signal {
    /// Its name.
    pub name: SignalName,
    /// Its number among those of its job, by which its body is found.
    pub no: u32,
}

/// The signals of a job that has any, or waits for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signals {
    /// Which it waits for. Only a job that is scheduled does: until then, or until it is due.
    pub awaited: Option<SignalName>,
    /// The one that its attempts get, until it waits for the next one.
    pub taken: Option<Signal>,
    /// Those that have come before it waited for them, oldest first, each name once.
    pub kept: Vec<Signal>,
    /// How many have come.
    pub count: u32,
}

impl Signals {
    /// The most that wait for one job to take them.
    pub const KEPT_MAX: usize = 8;

    /// Those of which the bodies are of use.
    pub fn of_use(&self) -> impl Iterator<Item = &Signal> {
        self.taken.iter().chain(&self.kept)
    }

    /// Whether one more of this name may come: the newest of each name is kept.
    pub fn has_room_for(&self, name: &SignalName) -> bool {
        let others = self.kept.iter().filter(|kept| kept.name != *name).count();
        self.awaited.as_ref() == Some(name) || others < Signals::KEPT_MAX
    }

    /// One comes. Returns whether the job has waited for it.
    pub(super) fn come(&mut self, name: &SignalName) -> bool {
        self.count = self.count.wrapping_add(1);
        let signal = Signal { name: name.clone(), no: self.count };
        if self.awaited.as_ref() == Some(name) {
            (self.awaited, self.taken) = (None, Some(signal));
            return true;
        }
        self.kept.retain(|kept| kept.name != *name);
        self.kept.push(signal);
        false
    }

    /// The job waits for one. Returns whether that has come already.
    pub(super) fn wait_for(&mut self, name: &SignalName) -> bool {
        let came = self.kept.iter().position(|kept| kept.name == *name);
        self.taken = came.map(|at| self.kept.remove(at));
        self.awaited = self.taken.is_none().then(|| name.clone());
        self.taken.is_some()
    }
}

impl Job {
    /// Its signals, if it has any or waits for one.
    pub fn signals(&self) -> Option<&Signals> {
        self.history.as_deref()?.signals.as_deref()
    }

    /// Says which they are.
    pub(crate) fn set_signals(&mut self, signals: Signals) {
        let signals = (signals != Signals::default()).then(|| Box::new(signals));
        if self.signals() != signals.as_deref() {
            self.history_mut().signals = signals;
        }
    }

    /// A signal has come: it goes on with it, or keeps it.
    pub(in crate::core) fn take_signal(&mut self, name: &SignalName) {
        let mut signals = self.signals().cloned().unwrap_or_default();
        let goes_on = signals.come(name);
        self.set_signals(signals);
        if goes_on {
            self.set_state(State::Ready);
        }
    }

    /// It goes on with the next signal of this name, which may have come already, or when it is due.
    pub(in crate::core) fn wait_for_signal(&mut self, name: &SignalName, due: Time) {
        let mut signals = self.signals().cloned().unwrap_or_default();
        let came = signals.wait_for(name);
        self.set_state(if came { State::Ready } else { State::Scheduled { due } });
        self.set_signals(signals);
    }

    /// It goes on without.
    pub(super) fn await_no_signal(&mut self) {
        if let Some(signals) = self.signals().filter(|signals| signals.awaited.is_some()) {
            self.set_signals(Signals { awaited: None, ..signals.clone() });
        }
    }
}
