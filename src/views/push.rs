//! Where the daemon's own workers send the jobs of a queue, as plain data: the daemon tells its pool. The secret itself
//! is never part of it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where jobs are sent, and what answers mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushView {
    /// The URL, of `http` or `https`.
    pub url: String,
    /// What the body is said to be.
    pub content_type: String,
    /// The file with the secret that signs requests.
    pub secret_file: Option<PathBuf>,
    /// The certificates that are trusted in the place of the system's.
    pub ca_file: Option<PathBuf>,
    /// What statuses mean that do not mean what they usually do.
    pub on_status: Vec<StatusRule>,
}

/// What statuses of an answer mean, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRule {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// What they mean.
    pub means: StatusMeaning,
}

/// What a status means for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusMeaning {
    /// It is done.
    Done,
    /// The attempt has failed.
    Failed,
    /// Again later; no attempt is used up.
    Later,
    /// It is dead: no other attempt.
    Dead,
}
