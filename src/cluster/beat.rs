//! The signs of life that nodes give each other, by plain messages that may get lost.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a node counts as alive after its last sign of life.
pub(super) const ALIVE: Duration = Duration::from_secs(1);

/// A sign of life, and how long ago it came.
pub(super) type Heard = (Beat, Duration);

/// A sign of life, as JSON: a version that knows more has more fields, and others pass over those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    /// The node, by its name.
    pub(crate) node: String,
    /// This life of it: another one after each start.
    pub(crate) life: String,
    /// The version of its program.
    pub(crate) version: String,
    /// The newest ownership that it knows of.
    pub(crate) epoch: u64,
    /// What it is.
    pub(crate) role: Role,
    /// The newest commit that it has.
    pub(crate) commit: u64,
    /// The newest record of the stream of which it needs nothing any more.
    pub(crate) home: u64,
    /// The node that is to take over when this one goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heir: Option<String>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// It reads what it does not have yet.
    Starting,
    /// It has all that the owner has committed, and could take over.
    Standby,
    /// It runs the queue.
    Owner,
    /// It was the owner, and has given that up: another one may take over at once.
    Gone,
}

impl Role {
    /// For people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Starting => "starting",
            Role::Standby => "standby",
            Role::Owner => "owner",
            Role::Gone => "gone",
        }
    }
}

impl Beat {
    /// A newer ownership is known. Who is or was the owner speaks for its own only: else the others would take a former owner's end for that
    /// of the next one.
    pub(super) fn note_epoch(&mut self, epoch: u64) {
        if matches!(self.role, Role::Starting | Role::Standby) {
            self.epoch = self.epoch.max(epoch);
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are always JSON")
    }

    /// Nothing if it is none: others may write to the subject.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Beat> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_the_owner_does_not_speak_for_the_next_one() {
        let (node, life, version) = ("a".to_owned(), "a-1".to_owned(), String::new());
        let mut beat =
            Beat { node, life, version, epoch: 3, role: Role::Standby, commit: 0, home: 0, heir: None };
        beat.note_epoch(4);
        beat.note_epoch(2);
        assert_eq!(beat.epoch, 4);
        for role in [Role::Owner, Role::Gone] {
            beat.role = role;
            beat.note_epoch(5);
            assert_eq!(beat.epoch, 4, "{role:?}");
        }
    }
}
