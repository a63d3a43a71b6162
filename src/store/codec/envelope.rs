//! What only people and workers read of a job: its tags, the texts of its keys. It is stored beside the body, so it takes no memory while the
//! job waits.

use super::fields::{put_fields, read_fields};
use super::{DecodeError, Reader};
use bytes::Bytes;

/// The version in which envelopes are written.
const VERSION: u8 = 1;

const TAG: u8 = 1;
const KEY: u8 = 2;
const UNIQUE: u8 = 3;

/// What is written on a job for people and workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    tags: Vec<(Box<str>, Box<str>)>,
    key: Option<Box<str>>,
    unique: Option<Box<str>>,
}

/// An envelope that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// There are too many tags.
    #[error("{count} tags, at most {max} are allowed: put the rest into the body", max = Envelope::TAG_COUNT_MAX)]
    TooManyTags {
        /// How many there are.
        count: usize,
    },
    /// The tags are too long.
    #[error("the tags have {len} bytes together, at most {max} are allowed: put the rest into the body", max = Envelope::TAGS_MAX)]
    TagsTooLong {
        /// How many bytes they have.
        len: usize,
    },
    /// A key is too long.
    #[error("a key has {len} bytes, at most {max} are allowed: use a hash of it", max = Envelope::KEY_MAX)]
    KeyTooLong {
        /// How many bytes it has.
        len: usize,
    },
}

impl Envelope {
    /// The most bytes that the names and values of a job's tags may have together.
    pub const TAGS_MAX: usize = 512;
    /// The most tags that a job may have: empty ones take room on the disk as well.
    pub const TAG_COUNT_MAX: usize = 64;

    /// The longest key, in bytes.
    pub const KEY_MAX: usize = 256;

    /// An envelope with these tags: names and values, in the order in which they are shown.
    ///
    /// # Errors
    /// They are too many, or too long.
    ///
    /// ```
    /// use musher::store::Envelope;
    /// let envelope = Envelope::new(vec![("customer".into(), "7".into())]).unwrap();
    /// let bytes = envelope.encode();
    /// assert_eq!(Envelope::decode(&bytes).unwrap(), envelope);
    /// ```
    pub fn new(tags: Vec<(Box<str>, Box<str>)>) -> Result<Envelope, EnvelopeError> {
        let count = tags.len();
        if count > Self::TAG_COUNT_MAX {
            return Err(EnvelopeError::TooManyTags { count });
        }
        let len = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
        if len > Self::TAGS_MAX {
            return Err(EnvelopeError::TagsTooLong { len });
        }
        Ok(Envelope { tags, ..Envelope::default() })
    }

    /// The same with the texts of the job's key and of its unique key, if it has them.
    ///
    /// # Errors
    /// One is too long.
    pub fn with_keys(
        self,
        key: Option<Box<str>>,
        unique: Option<Box<str>>,
    ) -> Result<Envelope, EnvelopeError> {
        match [&key, &unique].into_iter().flatten().map(|key| key.len()).max() {
            Some(len) if len > Self::KEY_MAX => Err(EnvelopeError::KeyTooLong { len }),
            _ => Ok(Envelope { key, unique, ..self }),
        }
    }

    /// One that an older version of this program has taken.
    pub(super) fn of_old(tags: Vec<(Box<str>, Box<str>)>) -> Envelope {
        Envelope { tags, ..Envelope::default() }
    }

    /// Whether nothing is written on it: a job without tags and keys has no envelope.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.key.is_none() && self.unique.is_none()
    }

    /// Names and values.
    pub fn tags(&self) -> &[(Box<str>, Box<str>)] {
        &self.tags
    }

    /// The text of the job's key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The same, where nothing else of it is needed any more.
    pub fn into_key(self) -> Option<Box<str>> {
        self.key
    }

    /// The text of the job's unique key.
    pub fn unique(&self) -> Option<&str> {
        self.unique.as_deref()
    }

    /// How many bytes it has when it is stored; more, if it is long.
    fn about_bytes(&self) -> usize {
        // Its number and its length; the length of each text of it.
        let field = |texts: &[&str]| 2 + texts.iter().map(|text| 1 + text.len()).sum::<usize>();
        let tags = self.tags.iter().map(|(name, value)| field(&[name, value]));
        let keys = [&self.key, &self.unique].into_iter().flatten().map(|key| field(&[key]));
        2 + tags.chain(keys).sum::<usize>()
    }

    /// As it is stored.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.about_bytes());
        out.push(VERSION);
        put_fields(&mut out, |fields| {
            for (name, value) in &self.tags {
                fields.put(TAG, (&**name, &**value));
            }
            fields.put_some(KEY, self.key.as_deref());
            fields.put_some(UNIQUE, self.unique.as_deref());
        });
        out.into()
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// That are not the bytes of an envelope, or of a newer version's.
    pub fn decode(bytes: &[u8]) -> Result<Envelope, DecodeError> {
        let mut reader = Reader::of("an envelope", VERSION, bytes)?;
        let mut envelope = Envelope::default();
        read_fields(&mut reader, |field| match field.number {
            TAG => {
                let (name, value) = field.value::<(&str, &str)>()?;
                envelope.tags.push((name.into(), value.into()));
                Ok(())
            }
            KEY => {
                envelope.key = Some(field.value::<&str>()?.into());
                Ok(())
            }
            UNIQUE => {
                envelope.unique = Some(field.value::<&str>()?.into());
                Ok(())
            }
            _ => Err(field.unknown("an envelope")),
        })?;
        reader.end()?;
        Ok(envelope)
    }
}
