//! Reasons: a passage with a cue such as `because` gives a cause; it is tied to the earlier passages that speak of the same.

use super::super::memory::{Link, Memory, strongest};
use super::terms::{shared, terms};
use super::{GoingOn, Missing};
use std::sync::Arc;

const MOST: usize = 2;

/// What announces a cause or a consequence.
const CUES: [&str; 8] = ["because", "therefore", "hence", "since", "so that", "for the", "in order to", "if"];

pub(super) fn find(
    memory: &Memory,
    earlier: &[Arc<Memory>],
    going_on: GoingOn<'_>,
) -> Result<Vec<Link>, Missing> {
    if memory.text.trim_end_matches(['\'', '"', ')']).ends_with('?') {
        return Err(Missing::Refused("a question claims nothing, so it has no cause".to_owned()));
    }
    going_on()?;
    let Some(reason) = after_cue(&memory.text) else { return Ok(Vec::new()) };
    let reason = terms(&reason);
    let mut links = Vec::new();
    for other in earlier {
        going_on()?;
        // That a book goes on with what it said is likelier than that another one does.
        let same = if other.source == memory.source { 2 } else { 1 };
        links.push(Link { to: other.number, weight: 100 * same * shared(&reason, &terms(&other.text)) });
    }
    Ok(strongest(links, MOST))
}

/// What follows the first cue, in lower case.
fn after_cue(text: &str) -> Option<String> {
    let text = format!(" {} ", text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" "));
    let found = |cue: &&str| {
        let at = text.find(&format!(" {cue} ")).or_else(|| text.find(&format!(" {cue}, ")))?;
        Some((at, at + 1 + cue.len()))
    };
    let (_, end) = CUES.iter().filter_map(found).min()?;
    Some(text[end..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::Kind::Causal;
    use super::super::tests::{memory, to};
    use super::*;

    #[test]
    fn a_reason_is_tied_to_what_speaks_of_it() {
        let earlier = ["the well was deep", "a cat ate the bat", "the jar was empty"];
        assert_eq!(to(Causal, "She fell slowly, because the well was deep.", &earlier), [0]);
        assert!(to(Causal, "The well was deep.", &earlier).is_empty(), "it gives no reason");
        assert_eq!(after_cue("I go; therefore, it is late"), Some(", it is late ".to_owned()));
    }

    #[test]
    fn a_question_is_refused() {
        let asked = find(&memory(0, "`Do cats eat bats?'"), &[], &|| Ok(()));
        assert!(matches!(asked, Err(Missing::Refused(_))));
    }
}
