//! Values that may be there or not, each with a number: how many they are, and of each its number, its length, and what
//! it is. What is as usual takes no room, old values read with what is usual for fields that are newer, and a new field
//! needs no new version. A field that the reader does not know is an error: what it says must not get lost.

use super::{DecodeError, Reader, put};
use bincode::{BorrowDecode, Encode};

/// Writes fields, one after the other.
pub(super) struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where in `out` their count is: one byte.
    count_at: usize,
}

/// The most fields of one list, and the longest short one: what one byte of a varint holds.
const COUNT_MAX: u8 = 250;

impl<'a> FieldWriter<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> FieldWriter<'a> {
        let count_at = out.len();
        out.push(0);
        FieldWriter { out, count_at }
    }

    /// Adds a field.
    pub(super) fn put(&mut self, number: u8, value: impl Encode) {
        assert!(
            number <= COUNT_MAX && self.out[self.count_at] < COUNT_MAX,
            "fields and their numbers are few"
        );
        self.out[self.count_at] += 1;
        self.out.push(number);
        let begin = self.out.len();
        put(value, self.out);
        let len = self.out.len() - begin;
        // Nearly all lengths are one byte.
        match u8::try_from(len) {
            Ok(short) if short <= COUNT_MAX => self.out.insert(begin, short),
            _ => {
                let mut long = Vec::new();
                put(len as u64, &mut long);
                drop(self.out.splice(begin..begin, long));
            }
        }
    }

    /// Adds a field if there is a value.
    pub(super) fn put_some(&mut self, number: u8, value: Option<impl Encode>) {
        if let Some(value) = value {
            self.put(number, value);
        }
    }
}

/// One field as it is read.
pub(super) struct Field<'a> {
    pub(super) number: u8,
    value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Its value, which is all of it.
    pub(super) fn value<T: BorrowDecode<'a, ()>>(&self) -> Result<T, DecodeError> {
        let mut reader = Reader { rest: self.value };
        let value = reader.take()?;
        reader.end()?;
        Ok(value)
    }

    /// The error for a field that nobody knows. `of` says what has it.
    pub(super) fn unknown(&self, of: &'static str) -> DecodeError {
        DecodeError::Field { of, number: self.number }
    }
}

/// Reads fields, and hands each over.
pub(super) fn read_fields<'a>(
    reader: &mut Reader<'a>,
    mut on_field: impl FnMut(Field<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    for _ in 0..reader.count()? {
        let number = reader.take::<u8>()?;
        on_field(Field { number, value: reader.bytes()? })?;
    }
    Ok(())
}
