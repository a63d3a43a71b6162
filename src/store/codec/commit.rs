//! A commit: format byte, time, events, bodies. Bodies are written straight from where they lie, and read as slices
//! of the one buffer that the record was read into.

use super::event::EventV1;
use super::{DecodeError, FORMAT, Reader, put};
use crate::core::Time;
use crate::store::Commit;
use bytes::Bytes;

/// Adds a commit at the end of `out`.
pub(crate) fn encode_commit(commit: &Commit, out: &mut Vec<u8>) {
    out.push(FORMAT);
    put(commit.time.0, out);
    put(commit.events.len() as u64, out);
    for event in &commit.events {
        put(EventV1::from(event), out);
    }
    put(commit.bodies.len() as u64, out);
    for body in &commit.bodies {
        put(body.len() as u64, out);
        out.extend_from_slice(body);
    }
}

/// Reads a commit. Its bodies are slices of `bytes`.
pub(crate) fn decode_commit(bytes: &Bytes) -> Result<Commit, DecodeError> {
    let mut reader = Reader::new(bytes)?;
    let time = Time(reader.take()?);
    let count = reader.count()?;
    let mut events = Vec::with_capacity(count.min(1 << 16));
    for _ in 0..count {
        events.push(reader.take::<EventV1<'_>>()?.try_into()?);
    }
    let count = reader.count()?;
    let mut bodies = Vec::with_capacity(count);
    for _ in 0..count {
        bodies.push(bytes.slice_ref(reader.bytes()?));
    }
    reader.end()?;
    Ok(Commit { time, events, bodies })
}
