//! What is on the disk, as bytes: the only user of bincode. Each thing has a number in front that says its form;
//! `docs/storage-format.md` lists them. Encoding takes the core's types apart field by field, so that a change
//! there is never by accident a change here. No bytes make decoding panic.

mod event;
mod job;

pub(super) use job::{BlockRow, decode_block, encode_block};

use super::Commit;
use crate::core::{Books, JobId, QueueBooks, QueueName, Time, Totals};
use bincode::config::{Configuration, Limit};
use bincode::de::{Decode, Decoder, DecoderImpl, read::SliceReader};
use bincode::enc::{Encode, EncoderImpl, write::Writer};
use bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;

/// The form of a commit.
const COMMIT_V1: u8 = 1;
/// The form of the row of books.
const BOOKS_V1: u8 = 1;

/// No single thing on the disk decodes to more than this.
const DECODED_MAX: usize = 512 << 20;

type Config = Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<DECODED_MAX>>;

fn config() -> Config {
    bincode::config::standard().with_limit::<DECODED_MAX>()
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Undecodable(pub(super) String);

impl From<DecodeError> for Undecodable {
    fn from(error: DecodeError) -> Undecodable {
        Undecodable(error.to_string())
    }
}

struct Out<'a>(&'a mut Vec<u8>);

impl Writer for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Encodes into memory, which cannot fail: there is room, and every type has a form.
fn encode_to(
    out: &mut Vec<u8>,
    put: impl FnOnce(&mut EncoderImpl<Out<'_>, Config>) -> Result<(), EncodeError>,
) {
    put(&mut EncoderImpl::new(Out(out), config())).expect("encoding into memory does not fail");
}

fn decode_from<'a, T>(
    bytes: &'a [u8],
    get: impl FnOnce(&mut DecoderImpl<SliceReader<'a>, Config, ()>) -> Result<T, DecodeError>,
) -> Result<T, Undecodable> {
    Ok(get(&mut DecoderImpl::new(SliceReader::new(bytes), config(), ()))?)
}

fn wrong<T>(what: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError::OtherString(what.into()))
}

fn get<T: Decode<()>, D: Decoder<Context = ()>>(decoder: &mut D) -> Result<T, DecodeError> {
    T::decode(decoder)
}

/// Appends a commit: form, length of the first part, first part (time, events, lengths of the bodies), bodies.
pub(super) fn encode_commit(commit: &Commit, out: &mut Vec<u8>) {
    out.push(COMMIT_V1);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_to(out, |e| {
        commit.time.0.encode(e)?;
        (commit.events.len() as u64).encode(e)?;
        commit.events.iter().try_for_each(|event| event::put(e, event))?;
        (commit.bodies.len() as u64).encode(e)?;
        commit.bodies.iter().try_for_each(|body| (body.len() as u32).encode(e))
    });
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
    commit.bodies.iter().for_each(|body| out.extend_from_slice(body));
}

/// Reads a commit. The bodies are slices of `bytes`.
pub(super) fn decode_commit(mut bytes: Bytes) -> Result<Commit, Undecodable> {
    let short = || Undecodable("the commit is cut off".into());
    if bytes.len() < 5 {
        return Err(short());
    }
    let form = bytes.split_to(1)[0];
    if form != COMMIT_V1 {
        return Err(Undecodable(format!("commits of form {form} are not known")));
    }
    let len = bytes.split_to(4);
    let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
    if len > bytes.len() {
        return Err(short());
    }
    let first = bytes.split_to(len);
    let (time, events, lengths) = decode_from(&first, |d| {
        let time = Time(get(d)?);
        let count: u64 = get(d)?;
        let mut events = Vec::with_capacity((count as usize).min(len));
        for _ in 0..count {
            events.push(event::get_event(d)?);
        }
        let lengths: Vec<u32> = get(d)?;
        Ok((time, events, lengths))
    })?;
    let mut bodies = Vec::with_capacity(lengths.len());
    for len in lengths {
        if len as usize > bytes.len() {
            return Err(short());
        }
        bodies.push(bytes.split_to(len as usize));
    }
    if !bytes.is_empty() {
        return Err(Undecodable("bytes follow the commit's end".into()));
    }
    Ok(Commit { time, events, bodies })
}

/// What a checkpoint says of itself and of what is not about single jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything up to this commit is in the rows.
    pub(super) checkpoint: u64,
    /// The id that the next job got after that commit.
    pub(super) first_later_id: u64,
    /// The commit that the books reflect.
    pub(super) books_at: u64,
    /// The time of that commit.
    pub(super) time: u64,
    /// The books.
    pub(super) books: Books,
}

pub(super) fn encode_position(position: &Position) -> Vec<u8> {
    let mut out = vec![BOOKS_V1];
    encode_to(&mut out, |e| {
        let Position { checkpoint, first_later_id, books_at, time, books } = position;
        (*checkpoint, *first_later_id, *books_at, *time, books.next_id.0).encode(e)?;
        (books.queues.len() as u64).encode(e)?;
        for QueueBooks { name, paused, totals: t } in &books.queues {
            name.as_str().encode(e)?;
            paused.encode(e)?;
            (t.submitted, t.claimed, t.completed, t.failed, t.died, t.cancelled, t.expired).encode(e)?;
        }
        Ok(())
    });
    out
}

pub(super) fn decode_position(bytes: &[u8]) -> Result<Position, Undecodable> {
    let Some((&BOOKS_V1, rest)) = bytes.split_first() else {
        return Err(Undecodable("the row of books has an unknown form".into()));
    };
    decode_from(rest, |d| {
        let (checkpoint, first_later_id, books_at, time, next_id) = get(d)?;
        let count: u64 = get(d)?;
        let mut queues = Vec::new();
        for _ in 0..count {
            let (name, paused) = (queue_name(d)?, get(d)?);
            let (submitted, claimed, completed, failed, died, cancelled, expired) = get(d)?;
            let totals = Totals { submitted, claimed, completed, failed, died, cancelled, expired };
            queues.push(QueueBooks { name, paused, totals });
        }
        let books = Books { next_id: JobId(next_id), queues };
        Ok(Position { checkpoint, first_later_id, books_at, time, books })
    })
}

fn queue_name<D: Decoder<Context = ()>>(d: &mut D) -> Result<QueueName, DecodeError> {
    let name: String = get(d)?;
    QueueName::new(&name).or_else(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests;
