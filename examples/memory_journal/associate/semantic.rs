//! Nearness in meaning: texts as vectors of their terms, each weighted by how rare it is (TF-IDF), compared by the cosine of
//! their angle.

use super::super::memory::{Link, Memory, strongest};
use super::terms::terms;
use super::{GoingOn, Missing};
use std::collections::BTreeMap;
use std::sync::Arc;

const MOST: usize = 3;

type Counts = BTreeMap<String, u32>;

pub(super) fn find(
    memory: &Memory,
    earlier: &[Arc<Memory>],
    going_on: GoingOn<'_>,
) -> Result<Vec<Link>, Missing> {
    let mut texts = Vec::with_capacity(earlier.len());
    // In how many texts a term is.
    let mut spread: BTreeMap<String, u32> = BTreeMap::new();
    let own = terms(&memory.text);
    for other in earlier {
        going_on()?;
        texts.push(terms(&other.text));
    }
    for text in texts.iter().chain([&own]) {
        text.keys().for_each(|term| *spread.entry(term.clone()).or_default() += 1);
    }
    let all = texts.len() as f64 + 1.0;
    let rarity = |term: &String| (1.0 + all / f64::from(spread[term])).ln();
    let length = |text: &Counts| {
        text.iter().map(|(term, n)| (f64::from(*n) * rarity(term)).powi(2)).sum::<f64>().sqrt()
    };
    let own_length = length(&own);
    let mut links = Vec::new();
    for (other, text) in earlier.iter().zip(&texts) {
        going_on()?;
        let product = |(term, n): (&String, &u32)| {
            text.get(term).map_or(0.0, |m| f64::from(*n) * f64::from(*m) * rarity(term).powi(2))
        };
        let dot: f64 = own.iter().map(product).sum();
        // A text without terms has no direction; it is like none.
        let cosine = if dot > 0.0 { dot / (own_length * length(text)) } else { 0.0 };
        links.push(Link { to: other.number, weight: (cosine * 1_000.0).round() as u32 });
    }
    Ok(strongest(links, MOST))
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::Kind::Semantic;
    use super::super::tests::to;

    #[test]
    fn what_shares_rare_words_is_near_and_what_shares_none_is_not_there() {
        let earlier = [
            "the white rabbit ran",
            "species vary in nature",
            "a rabbit hole, and a rabbit",
            "life in the woods",
        ];
        assert_eq!(to(Semantic, "down the rabbit hole", &earlier), [2, 0]);
        assert!(to(Semantic, "", &earlier).is_empty());
    }
}
