//! What the ends of processes mean, told once more; and how a job must be after an attempt of it has ended so.

use fastrand::Rng;
use musher::core::{Exit, ExitMeaning, Exits, Job, OnExit, StateKind, Then, Verdict};

/// What an end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Done,
    Failed,
    Later,
    Dead,
}

/// The rules of all queues.
pub(crate) fn on_exit() -> OnExit {
    OnExit::new(vec![
        (Exits::Statuses(100, 110), ExitMeaning::Dead),
        (Exits::Statuses(24, 24), ExitMeaning::Done),
        (Exits::Statuses(105, 105), ExitMeaning::Failed),
        (Exits::Signal(9), ExitMeaning::Later),
    ])
}

/// The same.
pub(crate) fn meaning(exit: Exit) -> Meaning {
    match exit {
        Exit::Status(0 | 24) => Meaning::Done,
        Exit::Status(105) => Meaning::Failed,
        Exit::Status(65 | 100..=110) => Meaning::Dead,
        Exit::Status(75) | Exit::Signal(9) => Meaning::Later,
        Exit::Status(_) | Exit::Signal(_) => Meaning::Failed,
    }
}

/// An end of a process, of one kind or the other.
pub(crate) fn exited(rng: &mut Rng) -> Verdict {
    let statuses = [0, 1, 24, 65, 75, 100, 105, 110, 111];
    let exit = match rng.usize(..statuses.len() + 2) {
        0 => Exit::Signal(9),
        1 => Exit::Signal(15),
        nth => Exit::Status(statuses[nth - 2]),
    };
    Verdict::Exited { error: "its process has ended".into(), exit }
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    /// With the end of its process, if it had one.
    Dead(Option<Exit>),
    /// It may come again, or be dead because that was too often.
    Back,
    /// Given back without a verdict: it comes again.
    Returned,
}

impl End {
    pub(crate) fn of(verdict: &Verdict) -> End {
        match verdict {
            Verdict::Complete => End::Done,
            Verdict::Fail { then: Then::Bury, exit, .. } => End::Dead(*exit),
            Verdict::Exited { exit, .. } => match meaning(*exit) {
                Meaning::Done => End::Done,
                Meaning::Dead => End::Dead(Some(*exit)),
                Meaning::Failed | Meaning::Later => End::Back,
            },
            Verdict::Fail { .. } | Verdict::Later { .. } => End::Back,
            Verdict::Await { .. } | Verdict::Release { .. } => End::Returned,
        }
    }

    /// Whether a job may be so whose newest attempt has ended like this.
    pub(crate) fn allows(self, job: &Job) -> bool {
        match self {
            End::Done => job.kind() == StateKind::Done,
            End::Dead(exit) => job.kind() == StateKind::Dead && job.exit() == exit,
            End::Returned => {
                matches!(job.kind(), StateKind::Scheduled | StateKind::Ready | StateKind::Expired)
            }
            End::Back => {
                let too_often = job.spec.attempts.is_none_or(|most| job.failed() >= most) || job.later() > 0;
                match job.kind() {
                    StateKind::Scheduled | StateKind::Ready | StateKind::Expired => true,
                    StateKind::Dead => too_often,
                    StateKind::Leased | StateKind::Done | StateKind::Cancelled | StateKind::Waiting => false,
                }
            }
        }
    }
}
