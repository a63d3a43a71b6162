//! Which records of a stream count. Every node reads every record in the order of the stream, by the same rules, so all
//! of them agree on who the owner is and on what was committed. Knows neither time nor how records travel.
//!
//! 1. A takeover counts if it begins the next epoch. The stream takes it only behind the record that its sender has read
//!    last (compare and append), so it ends the epoch before it at one place, for everybody.
//! 2. A part of a commit counts if it is of the epoch that is under way, and the next one of it: the next part of the next
//!    commit. Every other one is void: sent by a former owner, before another part that was to be before it, or twice.
//! 3. A commit counts with its last part. A takeover between two parts ends what was begun.
//! 4. What is no record at all is void: somebody else has written to the stream.

use super::record::{Epoch, NodeLife, Record, RecordError, What};
use crate::store::commit::{CommitNo, StreamMark};
use crate::store::log::files::PAYLOAD_MAX;
use bytes::{Bytes, BytesMut};

/// The place of a record in the stream, from 1. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seq(pub(crate) u64);

impl Seq {
    pub(crate) fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// Where a reader stands: what is needed to read on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The newest record that was read.
    pub(crate) seq: Seq,
    /// The epoch that is under way.
    pub(crate) epoch: Epoch,
    /// The newest commit.
    pub(crate) number: CommitNo,
}

impl Position {
    /// The same in the stream that was made then.
    pub(crate) fn mark(self, created: u64) -> StreamMark {
        StreamMark { created, seq: self.seq.0, epoch: self.epoch.0, number: self.number }
    }

    /// Where a mark is.
    pub(crate) fn of(mark: StreamMark) -> Position {
        Position { seq: Seq(mark.seq), epoch: Epoch(mark.epoch), number: mark.number }
    }
}

/// A reader of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    position: Position,
    /// The newest position that is not within a commit.
    from: Position,
    /// The parts so far of the commit that comes next, and what they have.
    parts: (u16, BytesMut),
}

/// What a record means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The next commit is there, whole.
    Commit(CommitNo, Bytes),
    /// It has begun, or goes on.
    Part,
    /// Another owner from here on.
    Takeover(NodeLife),
    /// It does not count.
    Void,
}

/// Why a record cannot be read. The node cannot go on: it would not know what the others know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// Records were trimmed, or lost.
    #[error("record {} of the stream is the next one needed, but record {} comes next: those between were trimmed", wanted.0, found.0)]
    Gap { wanted: Seq, found: Seq },
    /// It was emptied, or is another one of the same name.
    #[error("the stream ends with record {}, but record {} was read from it: it is not the same one any more", last.0, read.0)]
    Short { last: Seq, read: Seq },
    #[error("record {} of the stream: {error}", seq.0)]
    Record { seq: Seq, error: RecordError },
    /// Its sender has read another stream, or has not obeyed the rules.
    #[error("record {} of the stream contradicts those before it: {detail}", seq.0)]
    Contradiction { seq: Seq, detail: String },
}

impl Rules {
    /// To read on from a position.
    pub(crate) fn from(position: Position) -> Rules {
        Rules { position, from: position, parts: (0, BytesMut::new()) }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The newest position from which somebody else may read on: not within a commit.
    pub(crate) fn resumable(&self) -> Position {
        self.from
    }

    /// The record with which a node takes over behind what was read.
    pub(super) fn takeover(&self, owner: NodeLife) -> Record {
        let Position { epoch, number, .. } = self.position;
        Record { epoch: Epoch(epoch.0 + 1), number, what: What::Takeover { owner } }
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// See [`ReadError`]; nothing has changed.
    pub(crate) fn read(&mut self, seq: Seq, message: &Bytes) -> Result<Meaning, ReadError> {
        let wanted = self.position.seq.next();
        if seq != wanted {
            return Err(ReadError::Gap { wanted, found: seq });
        }
        let meaning = match Record::decode(message) {
            Ok(record) => self.meaning(seq, record)?,
            Err(RecordError::Foreign) => Meaning::Void,
            Err(error) => return Err(ReadError::Record { seq, error }),
        };
        self.position.seq = seq;
        if self.parts.0 == 0 {
            self.from = self.position;
        }
        Ok(meaning)
    }

    fn meaning(&mut self, seq: Seq, record: Record) -> Result<Meaning, ReadError> {
        let Position { epoch, number, .. } = self.position;
        let contradiction = |detail| Err(ReadError::Contradiction { seq, detail });
        match record.what {
            _ if record.epoch < epoch => Ok(Meaning::Void),
            What::Takeover { owner } => {
                if record.epoch == epoch {
                    return Ok(Meaning::Void);
                }
                if (record.epoch.0, record.number) != (epoch.0 + 1, number) {
                    let (found, last) = (record.epoch.0, record.number.0);
                    let detail = format!(
                        "it begins epoch {found} behind commit {last}, where epoch {} is under way and commit {} is the last",
                        epoch.0, number.0
                    );
                    return contradiction(detail);
                }
                self.position.epoch = record.epoch;
                self.parts = (0, BytesMut::new());
                Ok(Meaning::Takeover(owner))
            }
            What::Part { .. } if record.epoch > epoch => {
                contradiction(format!("it is of epoch {}, which nobody has begun", record.epoch.0))
            }
            What::Part { nth, .. } if (record.number, nth) != (number.next(), self.parts.0) => {
                Ok(Meaning::Void)
            }
            What::Part { is_last: false, payload, .. } => {
                let next = self.parts.0.checked_add(1).filter(|_| self.parts.1.len() <= PAYLOAD_MAX);
                let Some(next) = next else {
                    return contradiction("its commit is longer than one may be".to_owned());
                };
                self.parts.0 = next;
                self.parts.1.extend_from_slice(&payload);
                Ok(Meaning::Part)
            }
            What::Part { payload, .. } => {
                let (before, mut whole) = std::mem::take(&mut self.parts);
                self.position.number = record.number;
                let payload = match before {
                    0 => payload,
                    _ => {
                        whole.extend_from_slice(&payload);
                        whole.freeze()
                    }
                };
                Ok(Meaning::Commit(record.number, payload))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeLife = NodeLife(1);
    const TWO: NodeLife = NodeLife(2);

    fn takeover(epoch: u64, number: u64, owner: NodeLife) -> Bytes {
        Record { epoch: Epoch(epoch), number: CommitNo(number), what: What::Takeover { owner } }.encode()
    }

    fn part(epoch: u64, number: u64, nth: u16, is_last: bool) -> Bytes {
        let payload = Bytes::from(format!("{number}.{nth} "));
        Record { epoch: Epoch(epoch), number: CommitNo(number), what: What::Part { nth, is_last, payload } }
            .encode()
    }

    fn commit(epoch: u64, number: u64) -> Bytes {
        part(epoch, number, 0, true)
    }

    fn whole(number: u64, payload: &'static str) -> Meaning {
        Meaning::Commit(CommitNo(number), Bytes::from_static(payload.as_bytes()))
    }

    /// One stream from its beginning, record by record, and what each of them means.
    #[test]
    fn every_reader_says_the_same_of_every_record() {
        use Meaning::{Part, Takeover, Void};
        let stream = [
            (takeover(1, 0, ONE), Takeover(ONE)),
            (commit(1, 1), whole(1, "1.0 ")),
            // Sent twice, since there was no answer.
            (commit(1, 1), Void),
            // Two were under way, and the second came first.
            (commit(1, 3), Void),
            (commit(1, 2), whole(2, "2.0 ")),
            (commit(1, 3), whole(3, "3.0 ")),
            // A long one, with a part twice, and one before its turn.
            (part(1, 4, 0, false), Part),
            (part(1, 4, 0, false), Void),
            (part(1, 4, 2, true), Void),
            (part(1, 4, 1, false), Part),
            (part(1, 4, 2, true), whole(4, "4.0 4.1 4.2 ")),
            // One that another node ends in its middle.
            (part(1, 5, 0, false), Part),
            (takeover(2, 4, TWO), Takeover(TWO)),
            // The former owner was paused, and does not know.
            (part(1, 5, 1, true), Void),
            (commit(1, 5), Void),
            (takeover(2, 4, ONE), Void),
            (takeover(1, 0, ONE), Void),
            (commit(2, 5), whole(5, "5.0 ")),
            (commit(1, 6), Void),
            (Bytes::from_static(b"hello"), Void),
            (commit(2, 6), whole(6, "6.0 ")),
        ];
        let mut rules = Rules::from(Position::default());
        for (seq, (message, meaning)) in (1..).zip(&stream) {
            assert_eq!(rules.read(Seq(seq), message).as_ref(), Ok(meaning), "record {seq}");
        }
        let position = Position { seq: Seq(21), epoch: Epoch(2), number: CommitNo(6) };
        assert_eq!(rules.position(), position);

        // From any position on, but within a commit, it is the same.
        let mut first = Rules::from(Position::default());
        for (begun, (message, _)) in (1..).zip(&stream) {
            first.read(Seq(begun), message).unwrap();
            let from = first.resumable();
            assert!(from == first.position() || (7..=10).contains(&begun) || begun == 12, "{from:?}");
            let mut later = Rules::from(from);
            for (seq, (message, meaning)) in (1..).zip(&stream).skip(from.seq.0 as usize) {
                assert_eq!(
                    later.read(Seq(seq), message).as_ref(),
                    Ok(meaning),
                    "record {seq}, from {begun} on"
                );
            }
            assert_eq!(later.position(), position);
        }
    }

    #[test]
    fn what_contradicts_the_stream_is_an_error_and_changes_nothing() {
        let mut rules = Rules::from(Position::default());
        rules.read(Seq(1), &takeover(1, 0, ONE)).unwrap();
        rules.read(Seq(2), &commit(1, 1)).unwrap();
        let before = rules.position();
        for message in [takeover(3, 1, TWO), takeover(2, 0, TWO), takeover(2, 2, TWO), commit(2, 2)] {
            let read = rules.read(Seq(3), &message);
            assert!(matches!(read, Err(ReadError::Contradiction { seq: Seq(3), .. })), "{read:?}");
            assert_eq!(rules.position(), before);
        }
        let gap = rules.read(Seq(4), &commit(1, 2));
        assert_eq!(gap, Err(ReadError::Gap { wanted: Seq(3), found: Seq(4) }));
        let newer = rules.read(Seq(3), &Bytes::from_static(b"mur\x09"));
        assert_eq!(newer, Err(ReadError::Record { seq: Seq(3), error: RecordError::Version(9) }));
        assert_eq!(rules.read(Seq(3), &commit(1, 2)), Ok(whole(2, "2.0 ")));
    }
}
