//! The shelf: books that came with the program, cut into passages of a few sentences. It knows text and nothing of memories.

/// What stands on it, with the names by which sources are cited.
const BOOKS: [(&str, &str); 4] = [
    ("alice", include_str!("shelf/alice.txt")),
    ("aurelius", include_str!("shelf/aurelius.txt")),
    ("darwin", include_str!("shelf/darwin.txt")),
    ("walden", include_str!("shelf/walden.txt")),
];

/// A passage ends with the first sentence that makes it as long as this, in bytes, or with its paragraph.
const LONG_ENOUGH: usize = 200;

/// A few sentences of a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) source: &'static str,
    /// Which one of its book it is, from 0 on.
    pub(crate) place: u32,
    pub(crate) text: String,
}

/// All passages, as somebody reads who has four books open: one of each in turn.
pub(crate) fn passages() -> Vec<Passage> {
    let mut all: Vec<Passage> = BOOKS.iter().flat_map(|(source, text)| cut(source, text)).collect();
    all.sort_by_key(|passage| (passage.place, passage.source));
    all
}

fn cut(source: &'static str, text: &str) -> Vec<Passage> {
    let mut texts = Vec::new();
    for paragraph in text.split("\n\n") {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        let mut passage = String::new();
        for word in words {
            if !passage.is_empty() {
                passage.push(' ');
            }
            passage += word;
            if passage.len() >= LONG_ENOUGH && ends_a_sentence(word) {
                texts.push(std::mem::take(&mut passage));
            }
        }
        if !passage.is_empty() {
            texts.push(passage);
        }
    }
    (0..).zip(texts).map(|(place, text)| Passage { source, place, text }).collect()
}

/// Titles and initials (`Mr.`, `H.M.S.`) end none.
fn ends_a_sentence(word: &str) -> bool {
    let bare = word.trim_end_matches(['\'', '"', ')']);
    bare.ends_with(['!', '?'])
        || bare.strip_suffix('.').is_some_and(|bare| bare.len() > 3 && !bare.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_cut_at_sentences_and_nothing_is_lost() {
        let all = passages();
        assert!(all.len() > 100, "{}", all.len());
        for (source, text) in BOOKS {
            let mut of_it = all.iter().filter(|passage| passage.source == source);
            let joined: Vec<&str> = of_it.by_ref().flat_map(|passage| passage.text.split(' ')).collect();
            assert_eq!(joined, text.split_whitespace().collect::<Vec<_>>(), "{source}");
        }
        assert_eq!((all[0].source, all[1].source, all[0].place, all[4].place), ("alice", "aurelius", 0, 1));
    }

    #[test]
    fn titles_end_no_sentence() {
        for (word, ends) in
            [("Mr.", false), ("H.M.S.", false), ("species.", true), ("cats?'", true), ("bats,", false)]
        {
            assert_eq!(ends_a_sentence(word), ends, "{word}");
        }
    }
}
