//! The jobs of the journal, as they are submitted: what fans out, what waits for that, and what there is one of. It does none of
//! them.

use super::memory::{Kind, Memory};
use musher::protocol::{
    After, AfterWhat, Condition, Held, JobOptions, OnConflict, SubmitGroup, Ties, Unique,
};
use serde::{Deserialize, Serialize};

/// Whose queues are the four kinds of association (`musher.toml`).
const TOPIC: &str = "memory.captured";
pub(crate) const CLOSE: &str = "close";
pub(crate) const CONSOLIDATE: &str = "consolidate";

/// All queues of the journal.
pub(crate) fn queues() -> impl Iterator<Item = &'static str> {
    Kind::ALL.map(Kind::name).into_iter().chain([CLOSE, CONSOLIDATE])
}

/// Closes a memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Close {
    pub(crate) memory: u32,
}

/// Consolidates what is closed and is in no consolidation yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consolidate {
    /// Whether somebody has asked for it, so that it is done for a few as well.
    pub(crate) by_hand: bool,
}

fn json(value: &impl Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("texts and numbers have a form in JSON").into()
}

/// The group of the four jobs of a memory.
pub(crate) fn group(memory: u32) -> String {
    format!("memory-{memory}")
}

/// What follows from a memory, in one submit: one job in each queue of the topic, all of a group that takes no more, and the job
/// that waits until all of that group have ended, however they have.
pub(crate) fn captured(memory: &Memory) -> Vec<SubmitGroup> {
    let fan_out = JobOptions {
        queue: TOPIC.into(),
        to_topic: true,
        ties: Some(Ties { group: Some(group(memory.number)), seal: true, ..Ties::default() }),
        ..JobOptions::default()
    };
    let ended = After { on: AfterWhat::Group(group(memory.number)), when: Condition::Ended };
    let fan_in = JobOptions {
        queue: CLOSE.into(),
        ties: Some(Ties { after: vec![ended], ..Ties::default() }),
        ..JobOptions::default()
    };
    vec![
        SubmitGroup { options: fan_out, bodies: vec![json(memory)] },
        SubmitGroup { options: fan_in, bodies: vec![json(&Close { memory: memory.number })] },
    ]
}

/// A consolidation, unless one waits already. One that runs does not count: it may have looked before what this one is for was
/// closed.
pub(crate) fn consolidation(by_hand: bool) -> Vec<SubmitGroup> {
    // That it was asked for must not be lost to one that waits and was not.
    let on_conflict = if by_hand { OnConflict::Replace } else { OnConflict::Existing };
    let unique = Unique { key: CONSOLIDATE.into(), held: Held::Waiting, on_conflict };
    let options = JobOptions { queue: CONSOLIDATE.into(), unique: Some(unique), ..JobOptions::default() };
    vec![SubmitGroup { options, bodies: vec![json(&Consolidate { by_hand })] }]
}
