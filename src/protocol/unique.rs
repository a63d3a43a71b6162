//! What a submit says of unique keys, and what it is answered: for each job, whether it is new. Since version 2.

use super::tagged::{self, MUST, Value};
use super::wire::{Malformed, Reader};
use bytes::BufMut;

// Options of a group of jobs. Whoever does not know one must not take the jobs: there would be more than there should be.
const KEY: u8 = 10;
const WHILE_WAITING: u8 = 11;
const FOR: u8 = 12;
const ON_CONFLICT: u8 = 13;
const DEBOUNCE_MAX: u8 = 14;

/// A unique key: of the jobs of a queue that hold the same one there is only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// Its text.
    pub key: String,
    /// How long the job holds it.
    pub held: Held,
    /// What happens if another job does.
    pub on_conflict: OnConflict,
}

/// How long a job holds its unique key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// Until its first attempt begins.
    Waiting,
    /// Until it has ended.
    #[default]
    Unfinished,
    /// Until so many milliseconds after its end.
    For(u64),
}

/// What becomes of a job whose unique key another one holds. It is not enqueued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing: the answer says which one it is.
    #[default]
    Existing,
    /// The other one, if it has not begun, gets body, priority and start of this one; it keeps its id and its place.
    Replace,
    /// The other one, if it waits, gets the higher priority of both.
    Raise,
    /// The other one, if it has not begun, runs as late as this one would, but not later than so many milliseconds after its
    /// arrival.
    Debounce {
        /// If there is such a limit.
        max_ms: Option<u64>,
    },
    /// The whole submit is refused.
    Reject,
}

impl OnConflict {
    const EXISTING: u8 = 0;
    const RAISE: u8 = 1;
    const DEBOUNCE: u8 = 2;
    const REJECT: u8 = 3;
    const REPLACE: u8 = 4;
}

/// What became of one job of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The job that is there now: the new one, or the one that holds its unique key.
    pub id: u64,
    /// Which of them.
    pub what: Received,
}

/// Whether a job is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is.
    New,
    /// Another one holds its unique key, and is as it was.
    Existing,
    /// Another one holds its unique key, and has changed.
    Changed,
}

pub(super) fn put_unique(out: &mut Vec<u8>, unique: &Unique) {
    tagged::put_bytes(out, KEY | MUST, unique.key.as_bytes());
    match unique.held {
        Held::Waiting => tagged::put_bytes(out, WHILE_WAITING | MUST, &[]),
        Held::Unfinished => {}
        Held::For(ms) => tagged::put_number(out, FOR | MUST, ms),
    }
    let (number, max_ms) = match unique.on_conflict {
        OnConflict::Existing => return,
        OnConflict::Replace => (OnConflict::REPLACE, None),
        OnConflict::Raise => (OnConflict::RAISE, None),
        OnConflict::Debounce { max_ms } => (OnConflict::DEBOUNCE, max_ms),
        OnConflict::Reject => (OnConflict::REJECT, None),
    };
    tagged::put_number(out, ON_CONFLICT | MUST, number.into());
    if let Some(ms) = max_ms {
        tagged::put_number(out, DEBOUNCE_MAX | MUST, ms);
    }
}

/// Reads an option, if it is one of these. The key comes first.
pub(super) fn get_unique(
    unique: &mut Option<Unique>,
    number: u8,
    value: Value<'_>,
) -> Result<bool, Malformed> {
    if number == KEY {
        let key = value.text("the unique key")?;
        *unique = Some(Unique { key, held: Held::default(), on_conflict: OnConflict::default() });
        return Ok(true);
    }
    if !(WHILE_WAITING..=DEBOUNCE_MAX).contains(&number) {
        return Ok(false);
    }
    let Some(unique) = unique else {
        return Err(Malformed(format!("option {number} of a job is for one with a unique key")));
    };
    match (number, unique.on_conflict) {
        (WHILE_WAITING, _) => unique.held = Held::Waiting,
        (FOR, _) if unique.held == Held::Waiting => {
            return Err(Malformed("a key that is held while its job waits is not held after its end".into()));
        }
        (FOR, _) => unique.held = Held::For(value.u64("how long the key is held")?),
        (ON_CONFLICT, _) => {
            unique.on_conflict = match value.u8("what a conflict comes to")? {
                OnConflict::EXISTING => OnConflict::Existing,
                OnConflict::RAISE => OnConflict::Raise,
                OnConflict::DEBOUNCE => OnConflict::Debounce { max_ms: None },
                OnConflict::REJECT => OnConflict::Reject,
                OnConflict::REPLACE => OnConflict::Replace,
                number => return Err(Malformed(format!("way {number} of a conflict: 0 to 4 are known"))),
            }
        }
        (_, OnConflict::Debounce { .. }) => {
            let max_ms = Some(value.u64("the longest delay")?);
            unique.on_conflict = OnConflict::Debounce { max_ms };
        }
        _ => return Err(Malformed("a longest delay is for jobs that are debounced".into())),
    }
    Ok(true)
}

pub(super) fn put_receipts(out: &mut Vec<u8>, receipts: &[Receipt]) {
    out.put_u32_le(receipts.len() as u32);
    for receipt in receipts {
        out.put_u64_le(receipt.id);
        out.put_u8(receipt.what as u8);
    }
}

pub(super) fn get_receipts(reader: &mut Reader) -> Result<Vec<Receipt>, Malformed> {
    let receipt = |reader: &mut Reader| {
        let id = reader.u64("an id")?;
        let what = match reader.u8("what became of a job")? {
            0 => Received::New,
            1 => Received::Existing,
            2 => Received::Changed,
            what => {
                return Err(Malformed(format!(
                    "job {id} is in a way there (number {what}) that is not known here"
                )));
            }
        };
        Ok(Receipt { id, what })
    };
    let count = reader.count(8 + 1, "receipts")?;
    (0..count).map(|_| receipt(reader)).collect()
}
