//! What goes wrong on purpose. It is decided by what a memory is, so that the account can say beforehand what should have failed,
//! and so that the same goes wrong however often the program starts.

use super::memory::{Kind, Memory};

/// What an associating task does in the place of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It fails at its first attempt, as a service does that is away for a moment.
    Once,
    /// It panics, each time.
    Panic,
    /// It goes on for ever.
    Endless,
}

/// The text of a panic.
pub(crate) const PANIC: &str = "this passage cannot be thought of";

pub(crate) fn trouble(kind: Kind, memory: &Memory) -> Option<Trouble> {
    let shape = memory.text.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    match kind {
        Kind::Temporal => (memory.number % 7 == 3).then_some(Trouble::Once),
        Kind::Semantic => (shape % 23 == 5).then_some(Trouble::Panic),
        // It has troubles of its own, with questions.
        Kind::Causal => None,
        Kind::Contextual => (shape % 29 == 2).then_some(Trouble::Endless),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shelf::passages;
    use super::*;

    /// Of how many among the first of the shelf it is so.
    fn among_first(count: usize, kind: Kind) -> usize {
        let memories = (0..).zip(passages().into_iter().take(count)).map(|(number, passage)| Memory {
            number,
            at_ms: 0,
            source: passage.source.to_owned(),
            place: passage.place,
            text: passage.text,
        });
        memories.filter(|memory| trouble(kind, memory).is_some()).count()
    }

    /// Otherwise the short form of the program would show less.
    #[test]
    fn each_trouble_is_met_early_and_not_often() {
        for kind in [Kind::Temporal, Kind::Semantic, Kind::Contextual] {
            let met = among_first(60, kind);
            assert!((1..=12).contains(&met), "{kind}: {met}");
        }
    }
}
