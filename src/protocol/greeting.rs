//! The greeting, in which both sides agree on a version. Its form is the same in all versions, now and later: two bytes
//! name the highest and the lowest version that a client speaks. In version 1 the second byte was always zero, so zero
//! means "no other". A daemon of version 1 reads both bytes as one number, and so refuses a range as a version that it
//! does not know.

use super::request::Request;
use super::response::{ErrorCode, Fault, Response};
use super::tagged;
use super::version::Version;
use super::wire::{Malformed, Reader, put_text};
use bytes::BufMut;
use std::fmt;

/// What a daemon of this program calls itself.
const OWN_NAME: &str = concat!("musher ", env!("CARGO_PKG_VERSION"));

/// What every connection sends first, so that a stranger is told from a client.
pub const MAGIC: [u8; 4] = *b"MUSH";

/// Versions of the protocol, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    lowest: u8,
    highest: u8,
}

impl Versions {
    /// Those that this program speaks.
    pub const OWN: Versions = Versions { lowest: 1, highest: 2 };

    /// From the lowest to the highest of them; `None` where that is empty or begins before 1.
    pub const fn new(lowest: u8, highest: u8) -> Option<Versions> {
        if lowest == 0 || highest < lowest { None } else { Some(Versions { lowest, highest }) }
    }

    /// This one alone.
    ///
    /// # Panics
    /// If it is 0, which is no version.
    pub const fn only(version: u8) -> Versions {
        assert!(version > 0);
        Versions { lowest: version, highest: version }
    }

    /// Whether this is one of them.
    pub fn have(self, version: u16) -> bool {
        (u16::from(self.lowest)..=u16::from(self.highest)).contains(&version)
    }

    /// The lowest.
    pub fn lowest(self) -> u8 {
        self.lowest
    }

    /// The highest that both have.
    pub fn highest_common(self, other: Versions) -> Option<u8> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }

    /// Whether all of them are lower than all of the others.
    pub fn are_older_than(self, other: Versions) -> bool {
        self.highest < other.lowest
    }
}

impl Version {
    /// Of what a client asks first, which must be its greeting: the highest version that both speak.
    ///
    /// # Errors
    /// It is none, or there is none: what is said to the client.
    pub fn greeted(asked: Result<Request, Fault>) -> Result<Version, Fault> {
        let Request::Hello { versions, .. } = asked? else {
            let message = "the first request must be the greeting".to_owned();
            return Err(Fault { code: ErrorCode::Malformed, message });
        };
        let common = Versions::OWN.highest_common(versions).and_then(|number| Version::of(number.into()));
        common.ok_or_else(|| {
            let what_to_do = match versions.are_older_than(Versions::OWN) {
                true => "update the client",
                false => "update the daemon, or use an older client",
            };
            let message = format!(
                "the client speaks {versions} of the protocol, this daemon ({OWN_NAME}) {}: {what_to_do}",
                Versions::OWN
            );
            Fault { code: ErrorCode::Version, message }
        })
    }
}

impl Response {
    /// The answer to it, with the limits of frames and bodies in bytes, and of the jobs of a request.
    pub fn welcome(version: Version, frame: usize, body: usize, batch: usize) -> Response {
        Response::Welcome {
            version: version.number(),
            frame_max: frame as u32,
            body_max: body as u32,
            batch_max: batch as u32,
            name: OWN_NAME.to_owned(),
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions { lowest, highest } = self;
        if lowest == highest {
            write!(f, "version {highest}")
        } else {
            write!(f, "versions {lowest} to {highest}")
        }
    }
}

pub(super) fn put_hello(out: &mut Vec<u8>, versions: Versions, name: &str) {
    out.extend_from_slice(&MAGIC);
    out.put_u8(versions.highest);
    out.put_u8(if versions.lowest == versions.highest { 0 } else { versions.lowest });
    put_text(out, name);
}

pub(super) fn get_hello(reader: &mut Reader) -> Result<(Versions, String), tagged::Error> {
    if reader.bytes(MAGIC.len(), "the greeting")? != MAGIC[..] {
        return Err(Malformed("it does not begin with MUSH: this is Musher's own protocol".into()).into());
    }
    let (highest, lowest) = (reader.u8("the highest version")?, reader.u8("the lowest version")?);
    let versions = Versions::new(if lowest == 0 { highest } else { lowest }, highest)
        .ok_or_else(|| Malformed(format!("versions {lowest} to {highest}: there are none")))?;
    let name = reader.text("the client's name")?;
    tagged::skip_at_end(reader, "a greeting")?;
    Ok((versions, name))
}
