//! A pattern of names: `*` matches any characters, or none. It must not know what the names are of.

use super::job::QueueName;

/// A pattern of names that follow the rule of [`QueueName`](super::QueueName).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// The longest, in bytes.
    pub const MAX: usize = QueueName::MAX;

    /// Takes what a name can hold, and `*`; `None` for anything else.
    ///
    /// ```
    /// use musher::core::Pattern;
    /// assert!(Pattern::new("reports.*").unwrap().matches("reports.daily"));
    /// assert!(Pattern::new("two words").is_none());
    /// ```
    pub fn new(text: &str) -> Option<Pattern> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/:+;$()*".contains(&b);
        (!text.is_empty() && text.len() <= Pattern::MAX && text.bytes().all(allowed))
            .then(|| Pattern(text.into()))
    }

    /// The pattern of all names.
    pub fn everything() -> Pattern {
        Pattern("*".into())
    }

    /// Whether every name there can be matches.
    pub fn is_everything(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether a name matches as a whole.
    pub fn matches(&self, name: &str) -> bool {
        let Some((front, last)) = self.0.rsplit_once('*') else { return *self.0 == *name };
        let Some(name) = name.strip_suffix(last) else { return false };
        let mut parts = front.split('*');
        // The first part must begin the name; each of the others is taken where it comes first.
        let rest = name.strip_prefix(parts.next().unwrap_or(""));
        let after = |rest: &'_ str, part: &str| rest.find(part).map(|at| at + part.len());
        parts.try_fold(rest.unwrap_or(""), |rest, part| after(rest, part).map(|at| &rest[at..])).is_some()
            && rest.is_some()
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn names_match_as_a_whole() {
        for (pattern, yes, no) in [
            ("mails", &["mails"][..], &["mail", "mails2", "amails", ""][..]),
            ("*", &["", "a", "a.b"], &[]),
            ("**", &["", "a"], &[]),
            ("mails*", &["mails", "mails.eu"], &["mail", "amails"]),
            ("*mails", &["mails", "eu.mails"], &["mails2", "mail"]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab", "ba"]),
            ("a*b*c", &["abc", "axbxc", "abbc", "abcbc"], &["ac", "acb", "bac", "abcd", "xabc"]),
            ("*.eu.*", &["m.eu.x", ".eu."], &["m.eu", "eu.x", "m.us.x"]),
            ("a*bc*bc", &["abcbc", "abcxbc"], &["abc", "abcb"]),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            for name in yes {
                assert!(compiled.matches(name), "{pattern} {name}");
            }
            for name in no {
                assert!(!compiled.matches(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn what_no_name_can_hold_is_no_pattern() {
        for text in ["", "a b", "a?", "ä", "a\n", &"x".repeat(201)] {
            assert!(Pattern::new(text).is_none(), "{text:?}");
        }
        assert!(Pattern::everything().is_everything() && !Pattern::new("a*").unwrap().is_everything());
    }
}
