//! What may be stored beside a job while it lives: by its workers, or for them. The core never sees the bytes; it knows
//! only that they are there.

/// What a job may have beside its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// How far its work is, for the next attempt: it goes when the job is done, or gets another body.
    Checkpoint,
    /// What its work has come to: only a job that is done and kept has it.
    Result,
    /// What the signals say that have come, and that its workers have not done with.
    Signals,
}
