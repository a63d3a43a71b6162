//! Options: fields that may be left out, or that one of the two sides may not know yet. Each is a byte with its number
//! (1 to 127), the length of its value, and the value; a zero byte ends them, so no options at all are one byte.
//! Numbers rise, so none occurs twice. A reader skips a number that it does not know, unless the highest bit of the
//! number says that it must be understood: then everything that the options belong to is refused.
//!
//! The length is a byte; 255 means that the length follows as a u32. A number takes as many bytes as it needs, at most
//! eight. Reading allocates nothing, and an absent option costs nothing.

use super::wire::{Malformed, Reader};
use bytes::BufMut;

/// Set in the number of an option that must be understood.
pub(super) const MUST: u8 = 0x80;
/// Stands for a length that follows.
const LENGTH_FOLLOWS: u8 = 255;

/// Why options cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An option must be understood, and is not known here.
    #[error("option {number} of {what} must be understood, and is not known here")]
    Unknown { number: u8, what: &'static str },
}

impl From<Error> for Malformed {
    /// For a client: the answer is a newer daemon's.
    fn from(error: Error) -> Malformed {
        match error {
            Error::Malformed(error) => error,
            Error::Unknown { .. } => {
                Malformed(format!("{error}: the daemon is newer than this program, update it"))
            }
        }
    }
}

/// One option's value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    pub(super) fn u64(self, what: &str) -> Result<u64, Malformed> {
        if self.0.len() > 8 {
            return Err(Malformed(format!("{what} has {} bytes: a number has at most 8", self.0.len())));
        }
        Ok(self.0.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn u32(self, what: &str) -> Result<u32, Malformed> {
        let number = self.u64(what)?;
        u32::try_from(number)
            .map_err(|_| Malformed(format!("{what} is {number}: at most {} is allowed", u32::MAX)))
    }

    pub(super) fn u8(self, what: &str) -> Result<u8, Malformed> {
        let number = self.u64(what)?;
        u8::try_from(number)
            .map_err(|_| Malformed(format!("{what} is {number}: at most {} is allowed", u8::MAX)))
    }

    pub(super) fn text(self, what: &str) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.0).map_err(|_| Malformed(format!("{what} is not UTF-8")))?;
        Ok(text.to_owned())
    }

    /// Exactly so many bytes.
    pub(super) fn bytes<const N: usize>(self, what: &str) -> Result<[u8; N], Malformed> {
        self.0.try_into().map_err(|_| Malformed(format!("{what} has {} bytes instead of {N}", self.0.len())))
    }

    /// All of its bytes.
    pub(super) fn all(self) -> &'a [u8] {
        self.0
    }
}

/// Hands each option of `what` to `known`, which says whether it knows the number.
///
/// # Errors
/// They are malformed, or one must be understood and is not known.
pub(super) fn read(
    reader: &mut Reader,
    what: &'static str,
    mut known: impl FnMut(u8, Value<'_>) -> Result<bool, Malformed>,
) -> Result<(), Error> {
    let mut last = 0;
    loop {
        let tag = reader.u8("the options")?;
        if tag == 0 {
            return Ok(());
        }
        let number = tag & !MUST;
        if number <= last {
            return Err(
                Malformed(format!("option {number} of {what} follows option {last}: numbers rise")).into()
            );
        }
        last = number;
        let len = match reader.u8("an option's length")? {
            LENGTH_FOLLOWS => reader.u32("an option's length")? as usize,
            len => usize::from(len),
        };
        let is_known = reader.with(len, "an option", |value| known(number, Value(value)))??;
        if !is_known && tag & MUST != 0 {
            return Err(Error::Unknown { number, what });
        }
    }
}

/// The same at the end of a payload, where they may be missing altogether.
pub(super) fn read_at_end(
    reader: &mut Reader,
    what: &'static str,
    known: impl FnMut(u8, Value<'_>) -> Result<bool, Malformed>,
) -> Result<(), Error> {
    if reader.is_empty() { Ok(()) } else { read(reader, what, known) }
}

/// The same where no option is known yet.
pub(super) fn skip_at_end(reader: &mut Reader, what: &'static str) -> Result<(), Error> {
    read_at_end(reader, what, |_, _| Ok(false))
}

/// The same in the middle of a payload.
pub(super) fn skip(reader: &mut Reader, what: &'static str) -> Result<(), Error> {
    read(reader, what, |_, _| Ok(false))
}

/// Writes an option up to its value, of `len` bytes, which follows by itself.
pub(super) fn put_head(out: &mut Vec<u8>, number: u8, len: usize) {
    debug_assert!(number & !MUST != 0, "numbers begin with 1");
    out.put_u8(number);
    if len < usize::from(LENGTH_FOLLOWS) {
        out.put_u8(len as u8);
    } else {
        out.put_u8(LENGTH_FOLLOWS);
        out.put_u32_le(u32::try_from(len).expect("limits.frame keeps frames far below 4 GiB"));
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    let len = 8 - value.leading_zeros() as usize / 8;
    put_head(out, number, len);
    out.extend_from_slice(&value.to_le_bytes()[..len]);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    put_head(out, number, value.len());
    out.extend_from_slice(value);
}

/// Ends the options.
pub(super) fn put_end(out: &mut Vec<u8>) {
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// Numbers with their values, in order.
    type All = Vec<(u8, Vec<u8>)>;

    fn written(all: &All, must: impl Fn(u8) -> bool) -> Vec<u8> {
        let mut out = Vec::new();
        all.iter().for_each(|(number, value)| {
            put_bytes(&mut out, number | if must(*number) { MUST } else { 0 }, value);
        });
        put_end(&mut out);
        out
    }

    /// What is read of it by somebody who knows those numbers, and what is left.
    fn reading(bytes: &[u8], known: impl Fn(u8) -> bool) -> (Result<(), Error>, All, usize) {
        let (mut reader, mut all) = (Reader::new(Bytes::copy_from_slice(bytes)), All::new());
        let result = read(&mut reader, "a test", |number, value| {
            if known(number) {
                all.push((number, value.all().to_vec()));
            }
            Ok(known(number))
        });
        (result, all, reader.rest().len())
    }

    fn some() -> impl Strategy<Value = All> {
        prop::collection::btree_map(1u8..=127, prop::collection::vec(any::<u8>(), 0..600), 0..9)
            .prop_map(|all| all.into_iter().collect())
    }

    #[test]
    fn none_are_one_byte() {
        assert_eq!(written(&All::new(), |_| false), [0]);
        assert_eq!(reading(&[0, 9], |_| true), (Ok(()), All::new(), 1));
        let mut nothing = Reader::new(Bytes::new());
        assert_eq!(read_at_end(&mut nothing, "a test", |_, _| Ok(true)), Ok(()));
        assert!(read(&mut nothing, "a test", |_, _| Ok(true)).is_err(), "in the middle they have an end");
    }

    #[test]
    fn numbers_rise_and_a_zero_with_the_bit_is_none() {
        for bytes in [&[2, 0, 2, 0, 0][..], &[2, 0, 0x82, 0, 0], &[2, 0, 1, 0, 0], &[MUST, 0, 0]] {
            let (result, ..) = reading(bytes, |_| true);
            assert!(matches!(result, Err(Error::Malformed(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_what_it_should_be_is_refused() {
        assert!(Value(&[1; 9]).u64("it").is_err());
        assert!(Value(&[0, 0, 0, 0, 1]).u32("it").is_err());
        assert!(Value(&[0, 1]).u8("it").is_err());
        assert!(Value(&[0xff]).text("it").is_err());
        assert!(Value(&[1, 2, 3]).bytes::<2>("it").is_err());
        assert_eq!(Value(&[7, 0, 0, 0, 0]).u8("it"), Ok(7), "zeros at the end say nothing");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in some(), must: u8) {
            let bytes = written(&all, |number| number & must != 0);
            prop_assert_eq!(reading(&bytes, |_| true), (Ok(()), all, 0));
        }

        #[test]
        fn numbers_read_as_written_in_as_few_bytes_as_they_need(value: u64, shift in 0u32..64) {
            let (value, mut out) = (value >> shift, Vec::new());
            put_number(&mut out, 5, value);
            prop_assert_eq!(out.len(), 2 + (64 - value.leading_zeros() as usize).div_ceil(8));
            prop_assert_eq!(Value(&out[2..]).u64("it"), Ok(value));
        }

        /// Whoever does not know some of them reads the others, unless those must be understood.
        #[test]
        fn what_is_not_known_is_passed_over_unless_it_must_be_understood(all in some(), known: u8, must: u8) {
            let (is_known, is_must) = (|number: u8| number & known != 0, |number: u8| number & must != 0);
            let (result, read, _) = reading(&written(&all, is_must), is_known);
            match all.iter().find(|(number, _)| is_must(*number) && !is_known(*number)) {
                None => {
                    let expected: All = all.into_iter().filter(|(number, _)| is_known(*number)).collect();
                    prop_assert_eq!((result, read), (Ok(()), expected));
                }
                Some((number, _)) => prop_assert_eq!(result, Err(Error::Unknown { number: *number, what: "a test" })),
            }
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), known: u8) {
            let (result, read, left) = reading(&bytes, |number| number & known != 0);
            prop_assert!(result.is_err() || left < bytes.len());
            prop_assert!(read.iter().map(|(_, value)| value.len()).sum::<usize>() <= bytes.len());
        }
    }
}
