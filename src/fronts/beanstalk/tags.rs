//! What a put may say behind its four numbers: the tags of [tuber](https://github.com/tuberq/tuber), a server of this protocol that knows
//! more than it. Those that mean the same here are taken (`docs/beanstalkd.md` says which, and why not the others). It knows text only.

/// What follows the four numbers of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum More {
    Nothing,
    /// Keys of the job.
    Keys(Box<Keys>),
    /// A tag that is not taken, or no whole one. The body comes all the same, since its sender knows of tags.
    NotTaken,
    /// What no server of this protocol knows. beanstalkd takes the body that follows for commands.
    Unknown,
}

/// The keys of a job; at least one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// The unique key, and for how many seconds it is held after the job's end.
    pub(super) unique: Option<(String, u32)>,
    /// The concurrency key, and how many jobs of it may be reserved at a time; at least one.
    pub(super) concurrency: Option<(String, u32)>,
}

/// The longest key, in bytes: as long as a name of a tube.
const KEY_MAX: usize = 200;

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn has_tag(line: &[u8]) -> bool {
    let is_tag = |word: &[u8]| [b"idp:", b"con:", b"grp:", b"aft:"].iter().any(|tag| word.starts_with(*tag));
    words(line).any(is_tag)
}

/// How long the body is that follows the line of a put which is not taken, whatever is wrong with it. With a tag only: for others beanstalkd
/// takes what follows for commands.
pub(super) fn lost_body(line: &[u8]) -> Option<u32> {
    let is_put = words(line).next() == Some(b"put");
    let len = words(line).nth(4).filter(|_| is_put && has_tag(line))?;
    std::str::from_utf8(len).ok()?.parse().ok()
}

/// Reads what follows the numbers.
pub(super) fn parse(rest: &[u8]) -> More {
    if rest.is_empty() {
        return More::Nothing;
    }
    if !rest[0].is_ascii_whitespace() || !has_tag(rest) {
        return More::Unknown;
    }
    let mut keys = Keys::default();
    for word in rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let (name, text) = word.split_at_checked(4).unwrap_or((word, b""));
        let (place, number) = match name {
            b"idp:" => (&mut keys.unique, 0),
            b"con:" => (&mut keys.concurrency, 1),
            _ => return More::NotTaken,
        };
        *place = key(text, number);
        if place.is_none() {
            return More::NotTaken;
        }
    }
    match keys.concurrency {
        Some((_, 0)) => More::NotTaken,
        _ => More::Keys(keys.into()),
    }
}

/// A key, and the number behind its last colon: this one if there is none.
fn key(text: &[u8], usual: u32) -> Option<(String, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (key, number) = match text.rsplit_once(':') {
        Some((key, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            (key, number.parse().ok()?)
        }
        Some(_) => return None,
        None => (text, usual),
    };
    let is_key = (1..=KEY_MAX).contains(&key.len()) && !key.starts_with('-') && key.bytes().all(is_of_name);
    is_key.then(|| (key.to_owned(), number))
}

/// Whether a name may have this byte. One of ours may have a colon besides, which no client of this protocol can say.
pub(super) fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-+/;.$_()".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_keys_of_the_job() {
        let keys = |unique: Option<(&str, u32)>, concurrency: Option<(&str, u32)>| {
            let own = |(key, number): (&str, u32)| (key.to_owned(), number);
            More::Keys(Keys { unique: unique.map(own), concurrency: concurrency.map(own) }.into())
        };
        let (not_taken, unknown) = (More::NotTaken, More::Unknown);
        let longest = "k".repeat(KEY_MAX);
        for (rest, expected) in [
            ("", More::Nothing),
            (" idp:a", keys(Some(("a", 0)), None)),
            (" idp:a:300", keys(Some(("a", 300)), None)),
            ("  con:user-42  ", keys(None, Some(("user-42", 1)))),
            (" con:api:3 idp:x/1", keys(Some(("x/1", 0)), Some(("api", 3)))),
            (" idp:a idp:b:1", keys(Some(("b", 1)), None)),
            (&format!(" idp:{longest}:4294967295"), keys(Some((&longest, u32::MAX)), None)),
            (&format!(" idp:{longest}k"), not_taken.clone()),
            (" con:api:0", not_taken.clone()),
            (" idp:", not_taken.clone()),
            (" idp:-a", not_taken.clone()),
            (" idp:a:", not_taken.clone()),
            (" idp:a:x", not_taken.clone()),
            (" idp:a:+1", not_taken.clone()),
            (" idp:a:4294967296", not_taken.clone()),
            (" idp:a:b:1", not_taken.clone()),
            (" idp:é", not_taken.clone()),
            (" grp:g", not_taken.clone()),
            (" idp:a aft:g", not_taken.clone()),
            (" idp:a x", not_taken.clone()),
            (" x", unknown.clone()),
            (" ", unknown.clone()),
            ("x idp:a", unknown.clone()),
            ("\tidp:a", not_taken.clone()),
            (" idp:a\tcon:b", not_taken.clone()),
        ] {
            assert_eq!(parse(rest.as_bytes()), expected, "{rest:?}");
        }
    }
}
