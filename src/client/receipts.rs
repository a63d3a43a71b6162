//! What became of the jobs of a submit.

use crate::protocol::{Receipt, Received};

/// What became of each job of a submit, in the order given.
///
/// ```
/// use musher::client::Receipts;
/// let receipts = Receipts::New { first: 7, count: 2 };
/// assert_eq!(receipts.iter().map(|receipt| receipt.id).collect::<Vec<_>>(), [7, 8]);
/// assert_eq!((receipts.len(), receipts.new_jobs()), (2, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipts {
    /// All are new, and their ids follow each other.
    New {
        /// The first id.
        first: u64,
        /// How many there are.
        count: u64,
    },
    /// Some have unique keys, which other jobs may hold.
    Each(Vec<Receipt>),
}

impl Receipts {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Receipt> {
        let (new, each) = match self {
            Receipts::New { first, count } => (*first..*first + *count, &[][..]),
            Receipts::Each(receipts) => (0..0, &receipts[..]),
        };
        new.map(|id| Receipt { id, what: Received::New }).chain(each.iter().copied())
    }

    /// The id of the first job that is there now: of a submit of one, its id. A daemon has answered for at least one.
    pub fn first_id(&self) -> u64 {
        self.iter().next().map_or(0, |receipt| receipt.id)
    }

    /// How many jobs were asked for.
    pub fn len(&self) -> u64 {
        match self {
            Receipts::New { count, .. } => *count,
            Receipts::Each(receipts) => receipts.len() as u64,
        }
    }

    /// Whether no job was asked for; a daemon refuses that.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are new.
    pub fn new_jobs(&self) -> u64 {
        match self {
            Receipts::New { count, .. } => *count,
            Receipts::Each(receipts) => receipts.iter().filter(|it| it.what == Received::New).count() as u64,
        }
    }
}
