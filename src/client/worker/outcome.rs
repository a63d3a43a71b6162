//! What a handler says of its job, and what that comes to for the daemon, once it is known how the attempt ended.

use super::context::Reason;
use crate::client::TimeLimit;
use crate::protocol::Verdict;
use std::fmt::Display;
use std::time::Duration;

/// The daemon remembers less of an error, so no more is sent.
const ERROR_MAX: usize = 1_000;

/// How a handler's attempt ended. Most handlers return `Result<(), E>` or `Result<Outcome, E>`: an error is a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Well: the job is done.
    Done,
    /// Badly: the next attempt is after `retry_after`, or when the queue's backoff says, if attempts are left.
    Failed {
        /// What to remember of it.
        error: String,
        /// How long to wait, if that is not to be the backoff's to say.
        retry_after: Option<Duration>,
    },
    /// Badly, and another attempt would not help: the job is dead at once.
    Dead {
        /// What to remember of it.
        error: String,
    },
    /// Not now, for a reason that is not the job's: again after `after`, or a wait of the queue's that grows each time. It counts as
    /// no attempt, within the queue's `later_max`.
    Later {
        /// Why.
        why: String,
        /// How long to wait, if that is not to be the queue's to say.
        after: Option<Duration>,
    },
    /// Not before this signal comes, which it may have already; or without it after `timeout`. Then [`Context::signal`](super::Context::signal)
    /// has it, or nothing. It counts as no attempt.
    Until {
        /// The signal's name.
        signal: String,
        /// How long it waits at most.
        timeout: Duration,
    },
}

impl Outcome {
    /// A failed attempt, and how long to wait for the next one. Without a time for it, return the error itself.
    pub fn retry_after(error: impl Display, wait: Duration) -> Outcome {
        Outcome::Failed { error: text(error), retry_after: Some(wait) }
    }

    /// Dead at once.
    pub fn dead(error: impl Display) -> Outcome {
        Outcome::Dead { error: text(error) }
    }

    /// Again later, when the queue says.
    pub fn later(why: impl Display) -> Outcome {
        Outcome::Later { why: text(why), after: None }
    }

    /// Again when this signal comes, or after so long.
    pub fn until_signal(signal: impl Into<String>, timeout: Duration) -> Outcome {
        Outcome::Until { signal: signal.into(), timeout }
    }

    /// Again later, after so long.
    pub fn later_in(why: impl Display, wait: Duration) -> Outcome {
        Outcome::Later { why: text(why), after: Some(wait) }
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Outcome {
        Outcome::Done
    }
}

impl<T: Into<Outcome>, E: Display> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Outcome {
        match result {
            Ok(outcome) => outcome.into(),
            Err(error) => Outcome::Failed { error: text(error), retry_after: None },
        }
    }
}

/// How the task of an attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The handler said this.
    Said(Outcome),
    /// It panicked, with this text.
    Panicked(String),
    /// It was told to end and did not.
    Cut,
}

/// What the daemon is to be told; nothing, if it does not listen any more.
pub(super) fn verdict(ended: Ended, told: Option<Reason>, limit: TimeLimit) -> Option<Verdict> {
    use Ended::{Cut, Panicked, Said};
    let given_back = Verdict::Release { delay_ms: 0 };
    Some(match (ended, told) {
        (_, Some(Reason::LeaseLost | Reason::Disconnected)) => return None,
        // That it has stopped; whatever it says does not count.
        (_, Some(Reason::Cancelled)) => given_back,
        (Cut, None | Some(Reason::Stopping)) => given_back,
        // It has ended early since it was told to.
        (Said(Outcome::Failed { .. }), Some(Reason::Stopping)) => given_back,
        (Cut, Some(Reason::TimedOut | Reason::Deadline)) => failed(limit.why_over()),
        (Said(Outcome::Failed { error, .. }), Some(Reason::TimedOut | Reason::Deadline)) => {
            failed(format!("{}: {error}", limit.why_over()))
        }
        (Panicked(text), _) => failed(format!("panicked: {text}")),
        (Said(Outcome::Done), _) => Verdict::Complete,
        (Said(Outcome::Failed { error, retry_after: None }), None) => failed(error),
        (Said(Outcome::Failed { error, retry_after: Some(wait) }), None) => {
            Verdict::FailRetryAfter { error: cut(error), exit: None, wait_ms: millis(wait) }
        }
        (Said(Outcome::Dead { error }), _) => Verdict::FailDead { error: cut(error), exit: None },
        (Said(Outcome::Until { signal, timeout }), _) => {
            Verdict::Await { signal, timeout_ms: millis(timeout) }
        }
        (Said(Outcome::Later { why, after }), _) => {
            Verdict::Later { error: cut(why), wait_ms: after.map(millis) }
        }
    })
}

fn failed(error: String) -> Verdict {
    Verdict::Fail { error: cut(error), exit: None }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The alternate form of what has causes has them all.
fn text(error: impl Display) -> String {
    format!("{error:#}")
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(ERROR_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: TimeLimit = TimeLimit::Timeout(2_000);

    fn said(outcome: impl Into<Outcome>, told: Option<Reason>) -> Option<Verdict> {
        verdict(Ended::Said(outcome.into()), told, LIMIT)
    }

    fn fail(error: &str) -> Option<Verdict> {
        Some(Verdict::Fail { error: error.into(), exit: None })
    }

    const GIVEN_BACK: Option<Verdict> = Some(Verdict::Release { delay_ms: 0 });

    #[test]
    fn what_a_handler_says_is_what_the_daemon_is_told() {
        assert_eq!(said((), None), Some(Verdict::Complete));
        assert_eq!(said(Ok::<_, String>(()), None), Some(Verdict::Complete));
        assert_eq!(said(Err::<(), _>("no"), None), fail("no"));
        let second = Duration::from_secs(1);
        let exit = None;
        let retry = Verdict::FailRetryAfter { error: "no".into(), exit, wait_ms: 1_000 };
        assert_eq!(said(Outcome::retry_after("no", second), None), Some(retry));
        assert_eq!(said(Outcome::dead("no"), None), Some(Verdict::FailDead { error: "no".into(), exit }));
        assert_eq!(
            said(Outcome::later("no"), None),
            Some(Verdict::Later { error: "no".into(), wait_ms: None })
        );
        let later = Verdict::Later { error: "no".into(), wait_ms: Some(1_000) };
        assert_eq!(said(Ok::<_, String>(Outcome::later_in("no", second)), None), Some(later));
        assert_eq!(verdict(Ended::Panicked("ouch".into()), None, LIMIT), fail("panicked: ouch"));
    }

    #[test]
    fn who_was_told_to_end_is_judged_by_why() {
        let error = || Err::<(), _>("stopped");
        for lost in [Reason::LeaseLost, Reason::Disconnected] {
            assert_eq!((said((), Some(lost)), verdict(Ended::Cut, Some(lost), LIMIT)), (None, None));
        }
        for ended in [Ended::Cut, Ended::Said(Outcome::Done), Ended::Panicked("ouch".into())] {
            assert_eq!(verdict(ended, Some(Reason::Cancelled), LIMIT), GIVEN_BACK, "it has stopped");
        }
        assert_eq!(said(error(), Some(Reason::Stopping)), GIVEN_BACK);
        assert_eq!(verdict(Ended::Cut, Some(Reason::Stopping), LIMIT), GIVEN_BACK);
        assert_eq!(said((), Some(Reason::Stopping)), Some(Verdict::Complete), "it made it");
        assert_eq!(said(error(), Some(Reason::TimedOut)), fail("timed out after 2s: stopped"));
        assert_eq!(verdict(Ended::Cut, Some(Reason::TimedOut), LIMIT), fail("timed out after 2s"));
        let over = verdict(Ended::Cut, Some(Reason::Deadline), TimeLimit::Deadline(9));
        assert_eq!(over, fail("the job's deadline was over"));
        assert_eq!(said((), Some(Reason::TimedOut)), Some(Verdict::Complete), "done is done");
    }

    #[test]
    fn an_error_without_end_is_cut_between_characters() {
        let Some(Verdict::Fail { error, .. }) =
            said(Err::<(), _>(format!("a{}", "é".repeat(1_000_000))), None)
        else {
            panic!("it failed")
        };
        assert_eq!(error.len(), ERROR_MAX - 1);
    }
}
