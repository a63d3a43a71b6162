//! Consolidation: what many memories have in common. It is computed memory by memory, and can be stored after each and gone on
//! with, which comes to the same. It knows neither jobs nor files.

use super::associate::terms;
use super::memory::{End, Memory};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many terms are themes.
const THEMES: usize = 8;

/// A consolidation that has come so far: the checkpoint of its job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    /// The memories of it, in their order.
    pub(crate) members: Vec<u32>,
    /// How many of these are in what follows.
    pub(crate) at: usize,
    /// At which place each attempt has begun.
    pub(crate) begun_at: Vec<usize>,
    terms: BTreeMap<String, u32>,
    links: u32,
    failures: u32,
}

/// What is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consolidation {
    pub(crate) members: Vec<u32>,
    pub(crate) begun_at: Vec<usize>,
    /// The terms that most of its memories are about, the commonest first.
    pub(crate) themes: Vec<String>,
    pub(crate) links: u32,
    pub(crate) failures: u32,
}

impl Digest {
    pub(crate) fn new(members: Vec<u32>) -> Digest {
        Digest { members, ..Digest::default() }
    }

    /// The memory that is next.
    pub(crate) fn next(&self) -> Option<u32> {
        self.members.get(self.at).copied()
    }

    /// Takes in the next memory.
    pub(crate) fn add(&mut self, memory: &Memory, ends: &[End]) {
        // In how many memories a term is: one that repeats itself is not more of a theme.
        terms(&memory.text).into_keys().for_each(|term| *self.terms.entry(term).or_default() += 1);
        for end in ends {
            match end {
                End::Linked(links) => self.links += links.len() as u32,
                End::Failed(_) => self.failures += 1,
            }
        }
        self.at += 1;
    }

    /// All of it.
    pub(crate) fn finish(self) -> Consolidation {
        let Digest { members, begun_at, terms, links, failures, .. } = self;
        let mut terms: Vec<(String, u32)> = terms.into_iter().collect();
        terms.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        let themes = terms.into_iter().take(THEMES).map(|(term, _)| term).collect();
        Consolidation { members, begun_at, themes, links, failures }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Link;
    use super::*;

    fn memory(number: u32) -> Memory {
        let text = format!(
            "The rabbit number{number} ran; rabbit again. Woods{}.",
            ["", " and ponds"][number as usize % 2]
        );
        Memory { number, at_ms: 0, source: String::new(), place: number, text }
    }

    #[test]
    fn one_that_was_interrupted_comes_to_the_same() {
        let ends = [End::Linked(vec![Link { to: 0, weight: 1 }]), End::Failed("no".into())];
        let mut whole = Digest::new(vec![3, 4, 7]);
        let mut parts = whole.clone();
        while let Some(number) = whole.next() {
            whole.add(&memory(number), &ends);
            let stored = serde_json::to_vec(&parts).unwrap();
            parts = serde_json::from_slice(&stored).unwrap();
            parts.add(&memory(number), &ends);
        }
        assert_eq!(whole, parts);
        let it = whole.finish();
        assert_eq!((it.links, it.failures), (3, 3));
        assert_eq!(it.themes[..5], ["number", "rabbit", "ran", "woods", "ponds"]);
    }
}
