//! A checkpoint writes the rows that have changed, in parts, and those that are left out of its events too.

use super::*;
use crate::core::{DoneRequest, RequestKey};
use crate::core::{IdRange, JobId, Key, RateUsed, RequestAnswer, RowEvent, ServedKey, State, Time, Turn};
use crate::store::commit::CommitNo;

const PAGES: u64 = 100;

fn key(n: u64) -> Key {
    Key::new(u128::from(n + 1).to_be_bytes())
}

fn served(page: u64, keys: impl Iterator<Item = u64>) -> Event {
    let keys =
        keys.map(|n| ServedKey { key: key(n), used: RateUsed::default(), turn: Turn::default() }).collect();
    RowEvent::KeysServed { queue: QueueName::new("q").unwrap(), page, rate: None, keys }.into()
}

fn remembered(page: u64) -> Event {
    let request = RequestKey { key: key(page), content: key(page) };
    let answer = RequestAnswer::Submitted(IdRange::new(JobId(1), 1));
    RowEvent::RequestDone {
        page,
        done: Box::new(DoneRequest { request, answer, until: Time(9), user: None }),
    }
    .into()
}

/// A state with many pages, and what a checkpoint of it knows.
#[derive(Default)]
struct Many {
    state: State,
    rows: ChangedRows,
}

impl Many {
    fn new() -> Many {
        let mut many = Many::default();
        for page in 0..PAGES {
            many.happens(&served(page, page * 256..page * 256 + 256));
        }
        many
    }

    fn happens(&mut self, event: &Event) {
        self.state.apply(event);
        self.rows.note(event);
    }

    /// The parts of the next checkpoint, but for queues.
    fn parts(&mut self) -> Vec<Vec<RowChange>> {
        let Many { state, rows } = self;
        let last = CommitNo(7);
        let view = View { state, last, time: Time(0), confirmed: last, mark: None };
        rows.begin(view);
        std::iter::from_fn(|| (!rows.is_done()).then(|| rows.next(view))).collect()
    }

    fn written(&mut self) -> Vec<RowKey> {
        let key = |change| match change {
            RowChange::Written(row) => row.row.key(),
            RowChange::Gone(key) => key,
        };
        self.parts().into_iter().flatten().map(key).collect()
    }
}

fn page(number: u64) -> RowKey {
    RowKey::Keys(QueueName::new("q").unwrap(), number)
}

#[test]
fn it_costs_what_has_changed() {
    let mut many = Many::new();
    assert_eq!(many.written().len(), PAGES as usize);
    many.rows.end();
    many.happens(&served(3, 3 * 256..3 * 256 + 2));
    many.happens(&remembered(5));
    assert_eq!(many.written(), [RowKey::Requests(5), page(3)]);
    many.rows.end();
    many.happens(&RowEvent::RequestsForgotten { page: 5 }.into());
    assert_eq!(many.written(), [RowKey::Requests(5)]);
    many.rows.end();
    assert_eq!(many.written(), []);
}

/// It is not named by the event.
#[test]
fn a_page_that_a_key_has_left_is_written_too() {
    let mut many = Many::new();
    many.written();
    many.rows.end();
    many.happens(&served(PAGES, 256..258));
    assert_eq!(many.written(), [page(1), page(PAGES)]);
    many.rows.end();
    assert_eq!(many.written(), [], "once");
    many.happens(&served(PAGES, 258..259));
    assert_eq!(many.written(), [page(1), page(PAGES)]);
}

#[test]
fn no_part_is_large() {
    let mut many = Many::new();
    let parts = many.parts();
    assert!(parts.len() > 2, "{} parts", parts.len());
    for part in parts {
        let bytes = part.iter().map(|change| match change {
            RowChange::Written(row) => row.encode().len(),
            RowChange::Gone(_) => 0,
        });
        assert!(bytes.sum::<usize>() < BYTES + (16 << 10));
    }
}

/// Nothing of a checkpoint that met a full disk may be there, and some of it was not even handed over.
#[test]
fn one_that_failed_is_done_again_as_a_whole() {
    let mut many = Many::new();
    let last = CommitNo(7);
    let view = View { state: &many.state, last, time: Time(0), confirmed: last, mark: None };
    many.rows.begin(view);
    many.rows.next(view);
    assert_eq!(many.rows.queues(view).len(), 1);
    many.rows.again();
    assert_eq!(many.rows.queues(view).len(), 1);
    assert_eq!(many.rows.queues(view).len(), 0);
    assert_eq!(many.written().len(), PAGES as usize);
}
