//! What the screen may ask of the daemon, and what it hears: plain values between the model, which knows no connection,
//! and the link, which knows no screen.

use crate::cli::output::safe;
use crate::protocol::admin::{
    AdminRequest, EditView, JobView, JobsView, ListQuery, QueueStatsView, ScheduleView, StatusView,
};
use bytes::Bytes;
use std::time::Duration;

/// One thing to ask.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ask {
    /// How it is.
    Look(Box<Look>),
    /// Change something.
    Change(Change),
}

/// What to look at: beside the daemon as a whole no more than is on the screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// Queues of which the last minutes are shown.
    pub(super) past: Vec<String>,
    /// Queues of which the limits are shown.
    pub(super) limits: Vec<String>,
    /// Jobs.
    pub(super) jobs: Option<ListQuery>,
    /// The schedules.
    pub(super) schedules: bool,
    /// One job.
    pub(super) job: Option<u64>,
}

/// What a look has shown.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// What was asked for.
    pub(super) look: Look,
    /// When the answer was there, by the monotonic clock.
    pub(super) at: Duration,
    /// The daemon.
    pub(super) status: StatusView,
    /// The past of queues, and how long its steps are, in milliseconds.
    pub(super) past: Vec<(String, QueueStatsView, u64)>,
    /// The limits of queues, in words; empty if there are none.
    pub(super) limits: Vec<(String, String)>,
    /// A page of jobs.
    pub(super) jobs: Option<JobsView>,
    /// Who works on each of them.
    pub(super) workers: Vec<String>,
    /// The schedules.
    pub(super) schedules: Option<Vec<ScheduleView>>,
    /// The job, or why it is not shown.
    pub(super) job: Option<Result<JobSeen, String>>,
    /// What was refused of the rest, in the daemon's words.
    pub(super) refused: Option<String>,
}

/// One job, ready to be shown.
#[derive(Clone, Debug)]
pub(super) struct JobSeen {
    /// The job.
    pub(super) job: JobView,
    /// What there is to know of it.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Why it is not running.
    pub(super) reasons: Vec<String>,
}

/// What is heard of the daemon.
#[derive(Debug)]
pub(super) enum Heard {
    /// What a look has shown.
    Seen(Box<Seen>),
    /// A look was refused, in the daemon's words.
    Refused(String),
    /// The daemon is away. What was asked and is not answered will not be.
    Away(String),
    /// It is back.
    Back,
    /// What became of a change: of a job, what the daemon says of it.
    Changed(Change, Result<Option<EditView>, String>),
    /// What a job has printed.
    Output(Output),
}

/// Of the output of the job that is followed.
#[derive(Debug)]
pub(super) enum Output {
    /// It comes from the beginning.
    Anew,
    /// A piece.
    Piece {
        /// Which attempt said it.
        attempt: u32,
        /// 1 for standard output, 2 for standard error.
        stream: u8,
        /// The piece.
        data: Bytes,
    },
    /// All of it has come.
    End,
    /// It cannot be read, in the daemon's words.
    Refused(String),
}

/// A change that a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    PauseQueue(String),
    ResumeQueue(String),
    PauseSchedule(String),
    ResumeSchedule(String),
    /// Of a job that was in this state when it was shown.
    Cancel(u64, String),
    /// Of a job that was in this state when it was shown.
    Retry(u64, String),
}

impl Change {
    /// What is asked before it is done.
    pub(super) fn question(&self) -> String {
        match self {
            Change::PauseQueue(name) => format!("Pause queue {}: give out none of its jobs?", safe(name)),
            Change::ResumeQueue(name) => format!("Resume queue {}?", safe(name)),
            Change::PauseSchedule(name) => format!("Pause schedule {}?", safe(name)),
            Change::ResumeSchedule(name) => format!("Resume schedule {}?", safe(name)),
            Change::Cancel(id, _) => format!("Cancel job {id} for good?"),
            Change::Retry(id, _) => format!("Run job {id} again?"),
        }
    }

    /// How the daemon is asked for it. Of jobs only as long as they are in the state that the person has seen.
    pub(super) fn request(&self) -> AdminRequest {
        let edit = |edit: &str, id: u64, state: &str| AdminRequest::Edit {
            edit: edit.to_owned(),
            ids: vec![id],
            state: Some(state.to_owned()),
            queue: None,
            to: None,
            priority: None,
        };
        match self {
            Change::PauseQueue(queue) => AdminRequest::Pause { queue: queue.clone(), for_ms: None },
            Change::ResumeQueue(queue) => AdminRequest::Resume { queue: queue.clone() },
            Change::PauseSchedule(name) => AdminRequest::SchedulePause { name: name.clone() },
            Change::ResumeSchedule(name) => AdminRequest::ScheduleResume { name: name.clone() },
            Change::Cancel(id, state) => edit("cancel", *id, state),
            Change::Retry(id, state) => edit("retry", *id, state),
        }
    }

    /// Whether it is answered job by job.
    pub(super) fn is_edit(&self) -> bool {
        matches!(self, Change::Cancel(..) | Change::Retry(..))
    }

    /// What became of it: in words, and whether it was done.
    pub(super) fn outcome(&self, result: Result<Option<EditView>, String>) -> (String, bool) {
        let edit = match result {
            Err(why) => return (why, false),
            Ok(edit) => edit.unwrap_or_default(),
        };
        if let Some(why) = edit.error {
            return (why, false);
        }
        let said = match self {
            Change::Cancel(id, state) | Change::Retry(id, state) if edit.moved_on => {
                return (
                    format!("job {id} has moved on: it is not {state} any more; nothing was changed"),
                    false,
                );
            }
            Change::PauseQueue(name) => format!("queue {} is paused: it gives out no jobs", safe(name)),
            Change::ResumeQueue(name) => format!("queue {} is resumed: it gives out jobs", safe(name)),
            Change::PauseSchedule(name) => format!("schedule {} is paused", safe(name)),
            Change::ResumeSchedule(name) => format!("schedule {} runs again", safe(name)),
            Change::Cancel(id, _) if edit.when_stopped => {
                format!("job {id}: its worker is told, and it is cancelled when that has stopped it")
            }
            Change::Cancel(id, _) => format!("job {id} is cancelled"),
            Change::Retry(id, _) => format!("job {id} runs again"),
        };
        (said, true)
    }
}
