//! What is remembered: a memory, the four kinds of association that are looked for, and how looking has ended. It computes
//! nothing.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A passage that somebody has read, as one of many memories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Memories are numbered in the order in which they were captured, from 0 on: all with lower numbers are on disk before it.
    pub(crate) number: u32,
    /// When it was captured, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) source: String,
    pub(crate) place: u32,
    pub(crate) text: String,
}

/// How a memory is associated with earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Temporal,
    Semantic,
    Causal,
    Contextual,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Temporal, Kind::Semantic, Kind::Causal, Kind::Contextual];

    /// The name of its queue, and of its files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Temporal => "temporal",
            Kind::Semantic => "semantic",
            Kind::Causal => "causal",
            Kind::Contextual => "contextual",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A tie to an earlier memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) to: u32,
    /// How strong it is, in thousandths.
    pub(crate) weight: u32,
}

/// How one kind of association has ended for one memory. There is one of these for each, or none yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    Linked(Vec<Link>),
    Failed(String),
}

/// The strongest few, strongest first; of equal ones the latest memory first, so that the order is always the same.
pub(crate) fn strongest(mut links: Vec<Link>, most: usize) -> Vec<Link> {
    links.retain(|link| link.weight > 0);
    links.sort_by_key(|link| std::cmp::Reverse((link.weight, link.to)));
    links.truncate(most);
    links
}
