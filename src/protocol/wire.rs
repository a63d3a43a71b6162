//! The primitives of the wire: little-endian numbers, and text and bytes with their length before them. Every read is
//! checked; bytes from outside never cause a panic.

use bytes::{Buf, BufMut, Bytes};
use std::sync::Arc;

/// The most tags of a job.
pub const TAGS_MAX: u16 = 64;
/// The most bytes that their names and values may have together.
pub const TAG_BYTES_MAX: usize = 512;

/// Bytes that do not have the form that the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed request: {0}")]
pub struct Malformed(pub String);

impl Malformed {
    pub(super) fn short(what: &str) -> Malformed {
        Malformed(format!("it ends before {what} does"))
    }

    pub(super) fn behind(bytes: usize) -> Malformed {
        Malformed(format!("{bytes} bytes follow its end"))
    }
}

/// Reads one payload from front to back.
#[derive(Debug)]
pub struct Reader {
    data: Bytes,
}

macro_rules! number {
    ($name:ident, $type:ty, $get:ident) => {
        /// The next number.
        ///
        /// # Errors
        /// [`Malformed`] if the payload ends first.
        pub fn $name(&mut self, what: &str) -> Result<$type, Malformed> {
            if self.data.len() < size_of::<$type>() {
                return Err(Malformed::short(what));
            }
            Ok(self.data.$get())
        }
    };
}

impl Reader {
    /// Reads `data`.
    pub fn new(data: Bytes) -> Reader {
        Reader { data }
    }

    number!(u8, u8, get_u8);
    number!(u16, u16, get_u16_le);
    number!(u32, u32, get_u32_le);
    number!(u64, u64, get_u64_le);

    /// The next `len` bytes, as a slice of the frame.
    ///
    /// # Errors
    /// [`Malformed`] if the payload ends first.
    pub fn bytes(&mut self, len: usize, what: &str) -> Result<Bytes, Malformed> {
        if self.data.len() < len {
            return Err(Malformed::short(what));
        }
        Ok(self.data.split_to(len))
    }

    /// Text behind its length (two bytes).
    ///
    /// # Errors
    /// [`Malformed`] if the payload ends first or it is not UTF-8.
    pub fn text(&mut self, what: &str) -> Result<String, Malformed> {
        let (text, rest) = split_text(&self.data, what)?;
        let (text, read) = (text.to_owned(), self.data.len() - rest.len());
        self.data.advance(read);
        Ok(text)
    }

    /// Reads text, and shares what `last` has if it is the same.
    ///
    /// # Errors
    /// As for [`Reader::text`].
    pub fn shared_text(&mut self, last: Option<Arc<str>>, what: &str) -> Result<Arc<str>, Malformed> {
        let (text, rest) = split_text(&self.data, what)?;
        let (text, read) = (
            last.filter(|last| **last == *text).unwrap_or_else(|| text.into()),
            self.data.len() - rest.len(),
        );
        self.data.advance(read);
        Ok(text)
    }

    /// Lets the next `len` bytes be looked at.
    ///
    /// # Errors
    /// [`Malformed`] if the payload ends first.
    pub(super) fn with<T>(
        &mut self,
        len: usize,
        what: &str,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Malformed> {
        let found = look(self.data.get(..len).ok_or_else(|| Malformed::short(what))?);
        self.data.advance(len);
        Ok(found)
    }

    /// A count of things that take at least `least` bytes each: one that cannot fit is refused before anything
    /// is set aside for it.
    ///
    /// # Errors
    /// [`Malformed`] if the payload ends first or cannot hold so many.
    pub fn count(&mut self, least: usize, what: &str) -> Result<usize, Malformed> {
        let count = self.u32(what)? as usize;
        if count.saturating_mul(least) > self.data.len() {
            return Err(Malformed(format!("it announces {count} {what}, more than it holds")));
        }
        Ok(count)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// All that is left.
    pub fn rest(&mut self) -> Bytes {
        self.data.split_off(0)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`Malformed`] if something is.
    pub fn end(&self) -> Result<(), Malformed> {
        match self.data.len() {
            0 => Ok(()),
            n => Err(Malformed::behind(n)),
        }
    }
}

/// The text at the front of `data`, behind its length, and what follows it.
pub(super) fn split_text<'a>(data: &'a [u8], what: &str) -> Result<(&'a str, &'a [u8]), Malformed> {
    let short = || Malformed::short(what);
    let (len, rest) = data.split_first_chunk::<2>().ok_or_else(short)?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))).ok_or_else(short)?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed(format!("{what} is not UTF-8")))?;
    Ok((text, rest))
}

/// Writes text behind its length; cut at a character's edge where it is longer than the length can say.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    out.put_u16_le(text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

/// How many bytes that takes.
pub(super) fn text_len(text: &str) -> usize {
    2 + cut(text).len()
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Writes names and values.
pub(super) fn put_tags(out: &mut Vec<u8>, tags: &[(String, String)]) {
    out.put_u16_le(tags.len().min(usize::from(u16::MAX)) as u16);
    for (name, value) in tags.iter().take(usize::from(u16::MAX)) {
        put_text(out, name);
        put_text(out, value);
    }
}

/// Reads names and values.
pub(super) fn get_tags(reader: &mut Reader) -> Result<Vec<(String, String)>, Malformed> {
    let count = reader.u16("the number of tags")?;
    if count > TAGS_MAX {
        return Err(Malformed(format!("{count} tags: a job has at most {TAGS_MAX}")));
    }
    (0..count).map(|_| Ok((reader.text("a tag's name")?, reader.text("a tag's value")?))).collect()
}
