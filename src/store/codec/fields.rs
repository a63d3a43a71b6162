//! Optional fields, each with a number: how many there are, then of each its number, length and value. A field with its
//! usual value is left out, old data reads with the usual value for newer fields, and a new field needs no new version.
//! A field that the reader does not know is an error: its meaning must not get lost.

use super::{DecodeError, Reader, put};
use bincode::{BorrowDecode, Encode};

/// The longest length, and the most fields, that one byte of a varint holds.
const SHORT_MAX: usize = 250;

/// Adds fields to `out`: those that `write` puts.
pub(super) fn put_fields(out: &mut Vec<u8>, write: impl FnOnce(&mut FieldWriter<'_>)) {
    let begin = out.len();
    out.push(0);
    let mut fields = FieldWriter { out, count: 0 };
    write(&mut fields);
    let count = fields.count;
    set_number(count, begin, out);
}

/// Writes fields, one after the other.
pub(super) struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    count: usize,
}

impl FieldWriter<'_> {
    /// Adds a field.
    pub(super) fn put(&mut self, number: u8, value: impl Encode) {
        self.count += 1;
        self.out.push(number);
        let begin = self.out.len();
        self.out.push(0);
        put(value, self.out);
        set_number(self.out.len() - begin - 1, begin, self.out);
    }

    /// Adds a field if there is a value.
    pub(super) fn put_some(&mut self, number: u8, value: Option<impl Encode>) {
        if let Some(value) = value {
            self.put(number, value);
        }
    }
}

/// Sets the number for which a byte was left before what follows it. Nearly all are short.
fn set_number(number: usize, at: usize, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(short) if number <= SHORT_MAX => out[at] = short,
        _ => {
            let mut long = Vec::new();
            put(number as u64, &mut long);
            drop(out.splice(at..=at, long));
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
