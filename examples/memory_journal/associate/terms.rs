//! The words of a text that say what it is about.

use std::collections::BTreeMap;

/// Words that are in every text.
const COMMON: &str = " about after again all also and any are because been before but can cannot could did does doth down for from \
                      had hath has have having her here him his how into its like man may might more most much must \
                      never not nothing now off one only other our out over own she should some such than that the their them \
                      themselves then there therefore these they thing things this those though thou through thus too \
                      under unto upon very was well were what when where which while who whom why will with would you your ";

/// How often each term is in a text. A term is a word of three letters or more, in lower case, that is not a common one.
pub(crate) fn terms(text: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for word in text.split(|letter: char| !letter.is_alphabetic()).filter(|word| word.len() > 2) {
        let word = word.to_lowercase();
        if !COMMON.contains(&format!(" {word} ")) {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

/// How many terms two texts have in common.
pub(super) fn shared(one: &BTreeMap<String, u32>, other: &BTreeMap<String, u32>) -> u32 {
    one.keys().filter(|term| other.contains_key(*term)).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_words_are_no_terms() {
        let counts = terms("The Rabbit, and THE rabbit-hole; it was there!");
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [("hole".to_owned(), 1), ("rabbit".to_owned(), 2)]
        );
    }
}
