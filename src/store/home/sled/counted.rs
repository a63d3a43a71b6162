//! A tree of rows of blobs whose bytes are counted. Knows no blobs.

use super::HomeError;
use super::live::Live;
use crate::store::blob::Blob;
use crate::store::home::blobs::{BlobKey, BlobTree, Blobs};
use sled::{Db, IVec, Tree};
use std::ops::RangeBounds;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct CountedTree {
    tree: Tree,
    live: Arc<Live>,
}

impl CountedTree {
    /// The blobs of a kind.
    pub(super) fn open(database: &Db, kind: Blob, live: Arc<Live>) -> Result<Blobs<CountedTree>, HomeError> {
        Ok(Blobs::new(kind, CountedTree { tree: database.open_tree(kind.tree())?, live }))
    }

    /// All rows.
    pub(super) fn rows(&self) -> &Tree {
        &self.tree
    }
}

impl BlobTree for CountedTree {
    type Bytes = IVec;

    fn range(
        &self,
        keys: impl RangeBounds<BlobKey>,
    ) -> impl DoubleEndedIterator<Item = Result<(IVec, IVec), HomeError>> {
        self.tree.range(keys).map(|row| Ok(row?))
    }

    fn insert(&self, key: BlobKey, row: Vec<u8>) -> Result<(), HomeError> {
        let before = self.tree.insert(key, row.as_slice())?;
        self.live.count(&key, before.as_deref(), Some(&row));
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), HomeError> {
        self.live.count(key, self.tree.remove(key)?.as_deref(), None);
        Ok(())
    }
}
