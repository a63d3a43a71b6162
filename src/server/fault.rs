//! Why a request is refused: a kind of error for programs, and a text for people. Each front encodes it in its own way.
//! It knows the refusals of the engine, and no front.

use crate::core::{
    Beside, EditRejection, FlowRejection, LeaseRejection, Rejection, ScheduleRejection, SignalRejection,
    TopicRejection,
};
use crate::engine::Refusal;
use crate::store::BlobError;

/// What kind of wrong it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It does not have the form that the protocol says.
    Malformed,
    /// A value is not allowed.
    Invalid,
    /// Something is larger than a limit.
    TooLarge,
    /// No such job or queue.
    NotFound,
    /// The caller may not do this.
    Forbidden,
    /// The job's state does not allow it.
    WrongState,
    /// The daemon does not know it: it is older than the client.
    Unsupported,
    /// Another job has the unique key.
    NotUnique,
    /// The daemon is draining.
    Draining,
    /// The queue is full.
    QueueFull,
    /// The disk, or the log, is nearly full.
    DiskFull,
    /// There are too many of something, or the disk does not answer.
    Busy,
    /// The daemon failed.
    Internal,
}

/// A refusal, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// For programs.
    pub(crate) kind: Kind,
    /// For people: what, where, what to do.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into() }
    }
}

impl From<&Refusal> for Fault {
    fn from(refusal: &Refusal) -> Fault {
        Fault::new(kind_of(refusal), refusal.to_string())
    }
}

/// The one table from the engine's refusals to what programs see.
fn kind_of(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::Core(Rejection::Draining) => Kind::Draining,
        Refusal::Core(Rejection::QueueFull { .. }) => Kind::QueueFull,
        Refusal::Core(
            Rejection::TooManyQueues { .. }
            | Rejection::TooManyOwnQueues { .. }
            | Rejection::TooManyRequests { .. }
            | Rejection::TooManyOwnRequests { .. },
        )
        | Refusal::TooManyWaiting { .. }
        | Refusal::CrowdWaiting { .. }
        | Refusal::Blob(BlobError::Failed { .. }) => Kind::Busy,
        Refusal::Core(Rejection::NoSuchQueue { .. } | Rejection::Lease(LeaseRejection::NotFound { .. })) => {
            Kind::NotFound
        }
        Refusal::Core(Rejection::Lease(LeaseRejection::LeaseLost { .. })) => Kind::WrongState,
        Refusal::Core(Rejection::QueueHasJobs { .. }) => Kind::WrongState,
        Refusal::Core(Rejection::Schedule(refusal)) => match refusal {
            ScheduleRejection::NotFound { .. } => Kind::NotFound,
            ScheduleRejection::Exists { .. }
            | ScheduleRejection::Configured { .. }
            | ScheduleRejection::MadeByHand { .. } => Kind::WrongState,
            ScheduleRejection::TooMany { .. } => Kind::Busy,
        },
        Refusal::Core(
            Rejection::NotUnique { .. } | Rejection::NotUniqueAmongThem { .. } | Rejection::OtherRequest,
        ) => Kind::NotUnique,
        Refusal::Core(Rejection::Flow(refusal)) => match refusal {
            FlowRejection::NoSuchJob { .. } | FlowRejection::NoSuchGroup { .. } => Kind::NotFound,
            FlowRejection::NotBefore { .. }
            | FlowRejection::TooManyEdges { .. }
            | FlowRejection::WaitsForItself { .. } => Kind::Invalid,
            FlowRejection::Sealed { .. }
            | FlowRejection::HasJobs { .. }
            | FlowRejection::IsWaitedFor { .. } => Kind::WrongState,
            FlowRejection::NotYours { .. } => Kind::Forbidden,
            FlowRejection::TooManyGroups { .. } | FlowRejection::TooManyOwnGroups { .. } => Kind::Busy,
        },
        Refusal::Core(Rejection::Signal(refusal)) => match refusal {
            SignalRejection::NotFound { .. } => Kind::NotFound,
            SignalRejection::Ended { .. } => Kind::WrongState,
            SignalRejection::TooMany { .. } => Kind::Busy,
        },
        Refusal::Core(Rejection::Topic(refusal)) => match refusal {
            TopicRejection::NotBound { .. } => Kind::NotFound,
            TopicRejection::Configured { .. } => Kind::WrongState,
            TopicRejection::TooManyQueues { .. } | TopicRejection::TooManyPatterns { .. } => Kind::Busy,
        },
        Refusal::Core(Rejection::NothingToSubmit) => Kind::Invalid,
        Refusal::Core(Rejection::OutOfIds) | Refusal::Blob(_) => Kind::Internal,
        Refusal::NoRoom(_) => Kind::DiskFull,
        // There will be one, perhaps.
        Refusal::NothingBeside { what: Beside::Result, state, .. } if !state.is_final() => Kind::WrongState,
        Refusal::NothingBeside { .. } => Kind::NotFound,
        Refusal::NotFound(_) | Refusal::Edit(EditRejection::NotFound { .. }) => Kind::NotFound,
        Refusal::Edit(_) => Kind::WrongState,
        Refusal::Rhythm(_) => Kind::Invalid,
    }
}
