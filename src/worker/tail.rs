//! What is kept of a job's output: all of it up to the limit; beyond that the beginning, which is passed on at once,
//! and the end, which is held here until the job has ended. The reason for a failure is usually at the end.

use bytes::Bytes;
use std::collections::VecDeque;

/// About what a piece takes besides its bytes where it is kept. It counts, or many short lines would take a multiple
/// of the limit.
const PIECE_COST: usize = 9;
/// The longest piece; shorter ones in a row become one.
const PIECE_MAX: usize = 32 << 10;
/// The end gets this part of the limit, but at most this many bytes: it is held in memory.
const END_SHARE: usize = 4;
const END_MOST: usize = 1 << 20;
/// What the note between the two takes.
const NOTE: usize = 64;

/// The output of one attempt.
#[derive(Debug)]
pub(super) struct Kept {
    /// What is left for the beginning; nothing, once something has been held back.
    beginning: usize,
    end_max: usize,
    end: VecDeque<(u8, Vec<u8>)>,
    /// What `end` takes.
    end_cost: usize,
    left_out: u64,
    /// Whether nothing is to be kept, not even a note of what is left out.
    nothing: bool,
}

impl Kept {
    pub(super) fn new(max: u64) -> Kept {
        let nothing = max == 0;
        let max = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(NOTE);
        let end_max = (max / END_SHARE).min(END_MOST);
        Kept { beginning: max - end_max, end_max, end: VecDeque::new(), end_cost: 0, left_out: 0, nothing }
    }

    /// Gives back what of a piece belongs to the beginning, and holds the rest back.
    pub(super) fn take(&mut self, stream: u8, piece: Bytes) -> Option<Bytes> {
        if self.nothing {
            return None;
        }
        let cost = piece.len() + PIECE_COST;
        if cost <= self.beginning {
            self.beginning -= cost;
            return Some(piece);
        }
        // What still fits goes there, or output that is kept as a whole would lose its middle.
        let mut first = piece;
        let rest = first.split_off(self.beginning.saturating_sub(PIECE_COST).min(first.len()));
        self.beginning = 0;
        if !rest.is_empty() {
            self.hold(stream, &rest);
        }
        Some(first).filter(|first| !first.is_empty())
    }

    fn hold(&mut self, stream: u8, piece: &[u8]) {
        match self.end.back_mut() {
            Some((last, bytes)) if *last == stream && bytes.len() + piece.len() <= PIECE_MAX => {
                bytes.extend_from_slice(piece);
                self.end_cost += piece.len();
            }
            _ => {
                self.end.push_back((stream, piece.to_vec()));
                self.end_cost += piece.len() + PIECE_COST;
            }
        }
        while self.end_cost > self.end_max
            && let Some((_, first)) = self.end.front_mut()
        {
            let over = (self.end_cost - self.end_max).min(first.len());
            first.drain(..over);
            self.left_out += over as u64;
            self.end_cost -= over;
            if first.is_empty() {
                self.end.pop_front();
                self.end_cost -= PIECE_COST;
            }
        }
    }

    /// How many bytes are missing behind the beginning, and what follows them.
    pub(super) fn end(&mut self) -> (u64, impl Iterator<Item = (u8, Bytes)> + use<>) {
        self.end_cost = 0;
        let end = std::mem::take(&mut self.end);
        (std::mem::take(&mut self.left_out), end.into_iter().map(|(stream, bytes)| (stream, bytes.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of a text that is printed in pieces of so many bytes.
    fn kept(text: &str, piece: usize, max: u64) -> (String, u64, String) {
        let mut kept = Kept::new(max);
        let pieces = text.as_bytes().chunks(piece).map(Bytes::copy_from_slice);
        let beginning: Vec<u8> = pieces.filter_map(|piece| kept.take(1, piece)).flatten().collect();
        let (left_out, end) = kept.end();
        let end: Vec<u8> = end.flat_map(|(_, bytes)| bytes).collect();
        (String::from_utf8(beginning).unwrap(), left_out, String::from_utf8(end).unwrap())
    }

    #[test]
    fn of_much_the_beginning_and_the_end_are_kept_and_what_is_missing_is_counted() {
        let text: String = (0..100_000).map(|n| format!("{n}\n")).collect();
        for (piece, max) in
            [(1, 50_000), (7, 50_000), (4096, 50_000), (32 << 10, 200_000), (4096, 100), (10, 1)]
        {
            let (beginning, left_out, end) = kept(&text, piece, max);
            assert!(text.starts_with(&beginning) && text.ends_with(&end));
            assert_eq!(beginning.len() + left_out as usize + end.len(), text.len());
            assert!(beginning.len() + end.len() <= max as usize, "{piece} {max}");
            if max >= 50_000 {
                assert!(end.len() as u64 > max / 5 && end.ends_with("99999\n"), "{}", end.len());
            }
        }
    }

    #[test]
    fn what_fits_is_all_there() {
        let text = "x".repeat(60_000);
        for piece in [1000, 32 << 10] {
            let (beginning, left_out, end) = kept(&text, piece, 64 << 10);
            assert_eq!((beginning + &end, left_out), (text.clone(), 0));
        }
    }

    #[test]
    fn with_a_limit_of_0_nothing_is_kept_and_nothing_is_said_to_be_missing() {
        assert_eq!(kept("hello", 2, 0), (String::new(), 0, String::new()));
        assert!(kept("hello", 2, 1).1 > 0);
    }
}
