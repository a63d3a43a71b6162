//! What a node sends to the stream: its takeover first, then its commits. It may have a few appends under way, and answers
//! may be late, lost, or in another order. What is confirmed is what counts by the rules (`rules.rs`): an answer in
//! order says so at once, and where one is missing, or says that somebody else's record stands there, the stream is read.
//!
//! An append that was not answered may still arrive, even behind records of another node. That does no harm: the stream
//! takes each append only behind the record that it names, and what arrives twice or out of its order is void. So
//! everything that is not confirmed is simply sent again.
//!
//! Knows neither time nor servers: who holds it asks what is to be sent, and tells what came of it.

use super::record::{NodeLife, Record, What};
use super::rules::{Meaning, ReadError, Rules, Seq};
use crate::store::CommitNo;
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Append the message if `expected` is the newest record of the stream.
    Append { ticket: u64, expected: Seq, message: Bytes },
    /// Read a record. Whoever cannot tell whether there is one asks again, until it is known.
    Read(Seq),
}

/// What came of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is on so many servers that it stays there.
    Appended(Seq),
    /// Another record than the expected one was the newest.
    Refused,
    /// No answer came in time: it may have been appended, or may yet be.
    Unknown,
    /// The stream's leader does not take it: its disk is full, say. That is an answer; else it is as if there were none.
    NotTaken,
}

/// Why nothing more can be appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// Somebody else is the owner.
    #[error("another node has taken over, at record {} of the stream", .0.0)]
    Taken(Seq),
    /// The owner of before was not silent after all: the takeover came too late.
    #[error("the owner has appended more (record {} of the stream) before the takeover", .0.0)]
    Overtaken(Seq),
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// Its node hears nothing from the servers, not even itself.
    #[error("this node is cut off from the servers: another one takes over")]
    CutOff,
    /// Whoever carries the messages has ended.
    #[error("nothing carries what is appended to the stream any more")]
    Ended,
}

/// A node that takes over, and then owns.
#[derive(Debug)]
pub(crate) struct Writer {
    /// What is known of the stream.
    rules: Rules,
    life: NodeLife,
    is_owner: bool,
    /// What is not confirmed, in order. The first are under way.
    waiting: VecDeque<Bytes>,
    under_way: VecDeque<UnderWay>,
    under_way_max: usize,
    tickets: u64,
    reading: Reading,
    lost: Option<Lost>,
}

#[derive(Debug)]
struct UnderWay {
    ticket: u64,
    outcome: Option<Outcome>,
}

/// Whether the stream has to be read before more is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    /// The next record is to be asked for.
    Due,
    Asked,
}

impl Writer {
    /// Takes over behind what was read. At most so many appends are under way at a time.
    pub(crate) fn take_over(rules: Rules, life: NodeLife, under_way_max: usize) -> Writer {
        let takeover = rules.takeover(life).encode();
        Writer {
            rules,
            life,
            is_owner: false,
            waiting: VecDeque::from([takeover]),
            under_way: VecDeque::new(),
            under_way_max,
            tickets: 0,
            reading: Reading::No,
            lost: None,
        }
    }

    /// Whether its takeover counts.
    pub(crate) fn is_owner(&self) -> bool {
        self.is_owner
    }

    /// What is known of the stream, up to the newest record that is confirmed.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The newest commit that is confirmed.
    pub(crate) fn confirmed(&self) -> CommitNo {
        self.rules.position().number
    }

    /// Whether nothing is left to be confirmed.
    pub(crate) fn has_confirmed_all(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Why nothing more can be appended, if so.
    pub(crate) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// Sends the next commit, in messages with at most so many bytes of it each. Only an owner may.
    pub(crate) fn append(&mut self, number: CommitNo, payload: &Bytes, part_max: usize) {
        debug_assert!(self.is_owner && number > self.confirmed());
        let epoch = self.rules.position().epoch;
        let parts = payload.len().div_ceil(part_max).max(1);
        for nth in 0..parts {
            let (from, is_last) = (nth * part_max, nth + 1 == parts);
            let payload = payload.slice(from..payload.len().min(from + part_max));
            let nth = u16::try_from(nth).expect("the log bounds a commit to so many parts");
            let what = What::Part { nth, is_last, payload };
            self.waiting.push_back(Record { epoch, number, what }.encode());
        }
    }

    /// What is to be done next, if anything. To be asked until there is nothing, after each call that changes something.
    pub(crate) fn next_ask(&mut self) -> Option<Ask> {
        if self.lost.is_some() {
            return None;
        }
        let position = self.rules.position().seq;
        match self.reading {
            Reading::Asked => None,
            Reading::Due => {
                self.reading = Reading::Asked;
                Some(Ask::Read(position.next()))
            }
            Reading::No => {
                let nth = self.under_way.len();
                let message = self.waiting.get(nth).filter(|_| nth < self.under_way_max)?.clone();
                self.tickets += 1;
                self.under_way.push_back(UnderWay { ticket: self.tickets, outcome: None });
                // Behind those that are under way before it.
                Some(Ask::Append { ticket: self.tickets, expected: Seq(position.0 + nth as u64), message })
            }
        }
    }

    /// What came of an append. One that was given up in the meantime is of no interest any more.
    pub(crate) fn appended(&mut self, ticket: u64, outcome: Outcome) {
        if let Some(one) = self.under_way.iter_mut().find(|one| one.ticket == ticket) {
            one.outcome = Some(outcome);
        }
        while let Some(outcome) = self.under_way.front().and_then(|one| one.outcome) {
            match outcome {
                Outcome::Appended(seq) if seq == self.rules.position().seq.next() => {
                    self.under_way.pop_front();
                    let message = self.waiting.front().expect("what is under way is waiting").clone();
                    let left = self.waiting.len();
                    self.read(seq, &message);
                    if self.waiting.len() == left && self.lost.is_none() {
                        let detail =
                            "this node has sent it as the next one, and it does not count".to_owned();
                        self.lost = Some(ReadError::Contradiction { seq, detail }.into());
                    }
                }
                // What stands in its place, or whether it does, the stream says.
                Outcome::Appended(_) | Outcome::Refused | Outcome::Unknown | Outcome::NotTaken => {
                    self.under_way.clear();
                    self.reading = Reading::Due;
                }
            }
        }
    }

    /// What was found where a record was asked for; `None` if the stream ends before it.
    pub(crate) fn found(&mut self, seq: Seq, message: Option<&Bytes>) {
        if self.reading != Reading::Asked || seq != self.rules.position().seq.next() {
            return;
        }
        match message {
            None => self.reading = Reading::No,
            Some(message) => {
                self.reading = Reading::Due;
                self.read(seq, message);
            }
        }
    }

    /// Where a record was asked for, the stream has none any more, and why. One that ends before what was read is not the
    /// same one any more: what this node has appended since is nowhere.
    pub(crate) fn unreadable(&mut self, seq: Seq, why: ReadError) {
        if self.reading == Reading::Asked && seq == self.rules.position().seq.next() {
            self.lost = Some(why.into());
        }
    }

    /// The stream has a record that may be new. An owner that appends nothing learns by that that it is the owner no more.
    pub(crate) fn note_end(&mut self, last: Seq) {
        let read = self.rules.position().seq;
        if self.lost.is_some() || self.reading != Reading::No || !self.under_way.is_empty() {
            return;
        }
        match last.cmp(&read) {
            Ordering::Less => self.lost = Some(ReadError::Short { last, read }.into()),
            Ordering::Equal => {}
            Ordering::Greater => self.reading = Reading::Due,
        }
    }

    fn read(&mut self, seq: Seq, message: &Bytes) {
        self.lost = self.try_read(seq, message).err();
    }

    fn try_read(&mut self, seq: Seq, message: &Bytes) -> Result<(), Lost> {
        match self.rules.read(seq, message)? {
            Meaning::Void => return Ok(()),
            Meaning::Takeover(life) if life != self.life => return Err(Lost::Taken(seq)),
            Meaning::Takeover(_) => self.is_owner = true,
            _ if !self.is_owner => return Err(Lost::Overtaken(seq)),
            Meaning::Commit(..) | Meaning::Part => {}
        }
        // Nobody else may write in this epoch.
        match self.waiting.pop_front() {
            Some(own) if own == *message => Ok(()),
            _ => {
                let detail = "it is of this node's epoch, but this node has not sent it".to_owned();
                Err(ReadError::Contradiction { seq, detail }.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::replicated::rules::Position;

    const ONE: NodeLife = NodeLife(1);

    fn asks(writer: &mut Writer) -> Vec<Ask> {
        std::iter::from_fn(|| writer.next_ask()).collect()
    }

    fn appends(writer: &mut Writer) -> Vec<(u64, u64, Bytes)> {
        let each = |ask| match ask {
            Ask::Append { ticket, expected, message } => (ticket, expected.0, message),
            Ask::Read(seq) => panic!("it wants to read {seq:?}"),
        };
        asks(writer).into_iter().map(each).collect()
    }

    fn owner() -> Writer {
        let mut writer = Writer::take_over(Rules::from(Position::default()), ONE, 2);
        assert!(!writer.is_owner());
        let sent = appends(&mut writer);
        assert_eq!((sent[0].0, sent[0].1, sent.len()), (1, 0, 1));
        writer.appended(1, Outcome::Appended(Seq(1)));
        assert!(writer.is_owner());
        writer
    }

    fn append(writer: &mut Writer, number: u64) {
        writer.append(CommitNo(number), &Bytes::from(number.to_string()), 100);
    }

    #[test]
    fn answers_in_another_order_confirm_in_order() {
        let mut writer = owner();
        (1..=3).for_each(|number| append(&mut writer, number));
        let sent = appends(&mut writer);
        assert_eq!(
            sent.iter().map(|(_, expected, _)| *expected).collect::<Vec<_>>(),
            [1, 2],
            "two at a time"
        );
        writer.appended(sent[1].0, Outcome::Appended(Seq(3)));
        assert_eq!((writer.confirmed(), asks(&mut writer).len()), (CommitNo(0), 0));
        writer.appended(sent[0].0, Outcome::Appended(Seq(2)));
        assert_eq!(writer.confirmed(), CommitNo(2));
        let sent = appends(&mut writer);
        assert_eq!((sent[0].1, sent.len()), (3, 1));
    }

    /// A former owner's append stands between the takeover and the first commit, of which two are under way: the second of
    /// them was taken behind it, which is void.
    #[test]
    fn a_void_record_is_passed_over_and_the_rest_sent_again() {
        let mut writer = owner();
        (1..=2).for_each(|number| append(&mut writer, number));
        let sent = appends(&mut writer);
        let part = What::Part { nth: 0, is_last: true, payload: Bytes::from_static(b"old") };
        let old = Record { epoch: Default::default(), number: CommitNo(7), what: part }.encode();
        writer.appended(sent[0].0, Outcome::Refused);
        for (seq, message) in [(2, Some(&old)), (3, Some(&sent[1].2)), (4, None)] {
            assert_eq!(asks(&mut writer), [Ask::Read(Seq(seq))]);
            writer.found(Seq(seq), message);
        }
        // Of no interest any more.
        writer.appended(sent[1].0, Outcome::Appended(Seq(3)));
        assert_eq!(writer.confirmed(), CommitNo(0));
        let again = appends(&mut writer);
        assert_eq!(
            [(again[0].1, &again[0].2), (again[1].1, &again[1].2)],
            [(3, &sent[0].2), (4, &sent[1].2)]
        );
    }

    #[test]
    fn what_was_not_answered_is_looked_for_and_found_or_sent_again() {
        let mut writer = owner();
        append(&mut writer, 1);
        let sent = appends(&mut writer);
        writer.appended(sent[0].0, Outcome::Unknown);
        assert_eq!(asks(&mut writer), [Ask::Read(Seq(2))]);
        writer.found(Seq(2), None);
        let again = appends(&mut writer);
        assert_eq!((again[0].1, &again[0].2), (1, &sent[0].2));
        // The first one has arrived in the meantime.
        writer.appended(again[0].0, Outcome::Refused);
        assert_eq!(asks(&mut writer), [Ask::Read(Seq(2))]);
        writer.found(Seq(2), Some(&sent[0].2));
        assert_eq!(writer.confirmed(), CommitNo(1));
        assert_eq!(asks(&mut writer), [Ask::Read(Seq(3))]);
    }

    #[test]
    fn a_long_commit_is_confirmed_with_its_last_part() {
        let mut writer = owner();
        let payload = Bytes::from_static(b"0123456789");
        writer.append(CommitNo(1), &payload, 4);
        let mut sent = VecDeque::new();
        for (seq, confirmed) in [(2, 0), (3, 0), (4, 1)] {
            sent.extend(appends(&mut writer));
            let (ticket, expected, _) = sent.pop_front().unwrap();
            assert_eq!(expected, seq - 1);
            writer.appended(ticket, Outcome::Appended(Seq(seq)));
            assert_eq!(writer.confirmed(), CommitNo(confirmed));
        }
        assert!(sent.is_empty() && asks(&mut writer).is_empty());
    }

    #[test]
    fn who_is_not_the_owner_any_more_learns_it() {
        let other = Rules::from(Position { epoch: super::super::record::Epoch(1), ..Position::default() });
        let takeover = other.takeover(NodeLife(2)).encode();
        // By its next append, or, if it has none, by the end of the stream.
        for appends_more in [true, false] {
            let mut writer = owner();
            if appends_more {
                append(&mut writer, 1);
                let sent = appends(&mut writer);
                writer.appended(sent[0].0, Outcome::Refused);
            } else {
                writer.note_end(Seq(1));
                assert_eq!(asks(&mut writer), []);
                writer.note_end(Seq(2));
            }
            assert_eq!(asks(&mut writer), [Ask::Read(Seq(2))]);
            writer.found(Seq(2), Some(&takeover));
            assert_eq!(writer.lost(), Some(&Lost::Taken(Seq(2))));
            assert_eq!(asks(&mut writer), []);
        }
    }

    #[test]
    fn a_stream_that_was_trimmed_too_far_is_no_log_any_more() {
        let mut writer = owner();
        append(&mut writer, 1);
        let sent = appends(&mut writer);
        writer.appended(sent[0].0, Outcome::Refused);
        assert_eq!(asks(&mut writer), [Ask::Read(Seq(2))]);
        let gap = ReadError::Gap { wanted: Seq(2), found: Seq(9) };
        writer.unreadable(Seq(2), gap.clone());
        assert_eq!(writer.lost(), Some(&Lost::Unreadable(gap)));
        // Emptied, or made anew.
        let mut writer = owner();
        writer.note_end(Seq(0));
        assert_eq!(writer.lost(), Some(&Lost::Unreadable(ReadError::Short { last: Seq(0), read: Seq(1) })));
    }

    #[test]
    fn a_takeover_that_comes_too_late_is_none() {
        let mut first = owner();
        append(&mut first, 1);
        let commit = appends(&mut first)[0].2.clone();
        let mut second = Writer::take_over(first.rules().clone(), NodeLife(2), 2);
        let (ticket, expected, _) = appends(&mut second)[0];
        assert_eq!(expected, 1);
        second.appended(ticket, Outcome::Refused);
        assert_eq!(asks(&mut second), [Ask::Read(Seq(2))]);
        second.found(Seq(2), Some(&commit));
        assert_eq!(second.lost(), Some(&Lost::Overtaken(Seq(2))));
        assert!(!second.is_owner());
    }
}
