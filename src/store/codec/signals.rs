//! The signals of a job on disk: which they are, in its row; what they say, in a blob beside it.

use super::event::signal_name;
use super::{DecodeError, Reader, put};
use crate::core::{Signal, SignalName, Signals};
use bincode::{BorrowDecode, Encode};
use bytes::Bytes;

const VERSION: u8 = 1;

/// Its name, its number.
type SignalV1<'a> = (&'a str, u32);

/// Which one is awaited, which one is taken, those that are kept, how many have come.
#[derive(Encode, BorrowDecode)]
pub(super) struct SignalsV1<'a>(Option<&'a str>, Option<SignalV1<'a>>, Vec<SignalV1<'a>>, u32);

impl<'a> From<&'a Signals> for SignalsV1<'a> {
    fn from(signals: &'a Signals) -> SignalsV1<'a> {
        let signal = |signal: &'a Signal| (signal.name.as_str(), signal.no);
        let Signals { awaited, taken, kept, count } = signals;
        let awaited = awaited.as_ref().map(SignalName::as_str);
        SignalsV1(awaited, taken.as_ref().map(signal), kept.iter().map(signal).collect(), *count)
    }
}

impl TryFrom<SignalsV1<'_>> for Signals {
    type Error = DecodeError;

    fn try_from(SignalsV1(awaited, taken, kept, count): SignalsV1<'_>) -> Result<Signals, DecodeError> {
        if kept.len() > Signals::KEPT_MAX {
            return Err(DecodeError::Value("the signals of a job"));
        }
        let signal = |(name, no): SignalV1<'_>| Ok(Signal { name: signal_name(name)?, no });
        Ok(Signals {
            awaited: awaited.map(signal_name).transpose()?,
            taken: taken.map(signal).transpose()?,
            kept: kept.into_iter().map(signal).collect::<Result<_, DecodeError>>()?,
            count,
        })
    }
}

/// What the signals of a job say, by their numbers.
pub(crate) fn encode_signals(bodies: &[(u32, Bytes)]) -> Bytes {
    let mut out = vec![VERSION];
    put(bodies.len() as u64, &mut out);
    for (no, body) in bodies {
        put((*no, &**body), &mut out);
    }
    out.into()
}

/// Reads what they say.
///
/// # Errors
/// It is damaged, or of a newer version.
pub(crate) fn decode_signals(blob: &Bytes) -> Result<Vec<(u32, Bytes)>, DecodeError> {
    let mut reader = Reader::of("the signals of a job", VERSION, blob)?;
    let count = reader.count()?;
    let mut bodies = Vec::with_capacity(count.min(Signals::KEPT_MAX + 1));
    for _ in 0..count {
        let (no, body): (u32, &[u8]) = reader.take()?;
        bodies.push((no, blob.slice_ref(body)));
    }
    reader.end()?;
    Ok(bodies)
}
