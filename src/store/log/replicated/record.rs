//! A record of a replicated log: one message of its stream. Either a node takes over with it, or it is a commit, or a
//! part of one that is too long for one message. It says its epoch, so that every reader can tell what a former owner has
//! sent too late. Knows bytes, not which records count.

use crate::store::CommitNo;
use bytes::Bytes;

/// The number of an ownership: each takeover begins the next one. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Epoch(pub(crate) u64);

/// One life of a node: a random number, so that a node that was started again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeLife(pub(crate) u128);

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(super) epoch: Epoch,
    /// Of the commit; of a takeover that of the newest commit before it.
    pub(super) number: CommitNo,
    pub(super) what: What,
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// From here on `owner` is the owner, in the record's epoch.
    Takeover { owner: NodeLife },
    /// A part of a commit, from 0; the last one completes it.
    Part { nth: u16, is_last: bool, payload: Bytes },
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Somebody else has written it: it does not begin as records do.
    #[error("it is no record")]
    Foreign,
    /// A newer version of this program has written it.
    #[error(
        "it is of version {0}, and this program knows version {VERSION} only: a newer one has written it; upgrade this node"
    )]
    Version(u8),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// How every record begins, whatever its version.
const MAGIC: &[u8; 3] = b"mur";

const VERSION: u8 = 1;

/// Magic (3 bytes), version, kind, a zero, number of the part (2 bytes), checksum of all other bytes (4), epoch (8), commit number
/// (8); numbers are little-endian.
pub(crate) const HEADER: usize = 28;

const TAKEOVER: u8 = 1;
const LAST_PART: u8 = 2;
const PART: u8 = 3;

impl Record {
    /// Whose it is, and the newest commit before it, if it is a takeover.
    pub(super) fn takeover(&self) -> Option<(NodeLife, CommitNo)> {
        match self.what {
            What::Takeover { owner } => Some((owner, self.number)),
            What::Part { .. } => None,
        }
    }

    /// The message.
    pub(super) fn encode(&self) -> Bytes {
        let (kind, nth, payload) = match &self.what {
            What::Takeover { owner } => (TAKEOVER, 0, &owner.0.to_le_bytes()[..]),
            What::Part { nth, is_last, payload } => {
                (if *is_last { LAST_PART } else { PART }, *nth, &payload[..])
            }
        };
        let mut out = Vec::with_capacity(HEADER + payload.len());
        out.extend(MAGIC);
        out.extend([VERSION, kind, 0]);
        out.extend(nth.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.epoch.0.to_le_bytes());
        out.extend(self.number.0.to_le_bytes());
        out.extend_from_slice(payload);
        let sum = sum(&out);
        out[8..12].copy_from_slice(&sum.to_le_bytes());
        out.into()
    }

    /// What a message says.
    pub(super) fn decode(message: &Bytes) -> Result<Record, RecordError> {
        match message.split_first_chunk() {
            Some((MAGIC, [VERSION, ..])) => {}
            Some((MAGIC, [version, ..])) => return Err(RecordError::Version(*version)),
            _ => return Err(RecordError::Foreign),
        }
        let (head, payload) = message
            .split_first_chunk::<HEADER>()
            .ok_or(RecordError::Damaged("it is shorter than a header"))?;
        let word =
            |from: usize| -> [u8; 8] { *head[from..].first_chunk().expect("the header has as many bytes") };
        let stored = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if stored != sum(message) {
            return Err(RecordError::Damaged("its checksum is not that of its bytes"));
        }
        let what = match head[4] {
            TAKEOVER => {
                let owner =
                    payload.try_into().map_err(|_| RecordError::Damaged("its owner has another length"))?;
                What::Takeover { owner: NodeLife(u128::from_le_bytes(owner)) }
            }
            kind @ (PART | LAST_PART) => What::Part {
                nth: u16::from_le_bytes([head[6], head[7]]),
                is_last: kind == LAST_PART,
                payload: message.slice(HEADER..),
            },
            _ => return Err(RecordError::Damaged("it is of no kind")),
        };
        let (epoch, number) = (u64::from_le_bytes(word(12)), u64::from_le_bytes(word(20)));
        Ok(Record { epoch: Epoch(epoch), number: CommitNo(number), what })
    }
}

/// Of all bytes but those of the checksum.
fn sum(message: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&message[..8]), &message[12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> [Record; 4] {
        let part = |nth, is_last, payload: &'static [u8]| What::Part {
            nth,
            is_last,
            payload: Bytes::from_static(payload),
        };
        [
            Record {
                epoch: Epoch(1),
                number: CommitNo(0),
                what: What::Takeover { owner: NodeLife(7 << 100) },
            },
            Record { epoch: Epoch(3), number: CommitNo(1 << 40), what: part(0, true, b"commit") },
            Record { epoch: Epoch(u64::MAX), number: CommitNo(9), what: part(515, false, b"part") },
            Record { epoch: Epoch(2), number: CommitNo(4), what: part(0, true, b"") },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for record in samples() {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    /// Other nodes have these on their disks.
    #[test]
    fn the_bytes_stay_what_they_are() {
        let bytes = samples()[2].encode();
        assert_eq!(bytes[..8], *b"mur\x01\x03\0\x03\x02");
        assert_eq!(bytes[12..], *b"\xff\xff\xff\xff\xff\xff\xff\xff\x09\0\0\0\0\0\0\0part");
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283, "the checksum is CRC-32C");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        for record in samples() {
            let whole = record.encode();
            for bit in 0..8 * whole.len() {
                let mut bytes = whole.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(Record::decode(&bytes.into()).is_err(), "bit {bit} of {record:?}");
            }
            for len in 0..whole.len() {
                assert!(Record::decode(&whole.slice(..len)).is_err(), "{len} bytes of {record:?}");
            }
        }
        assert_eq!(Record::decode(&Bytes::from_static(b"mur\x02new")), Err(RecordError::Version(2)));
        assert_eq!(Record::decode(&Bytes::from_static(b"hello")), Err(RecordError::Foreign));
    }
}
