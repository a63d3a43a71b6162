//! All memories, on disk and in this process, for whoever looks for associations. A memory is on disk before it has a job, so
//! no job ever looks for one in vain; and they get their numbers one after the other, so whoever has one has all before it.

use super::memory::Memory;
use super::shelf::Passage;
use super::store::{Shelf, Store, numbered};
use musher::clock::wall;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

type Place = (String, u32);

pub(crate) struct Archive {
    store: Store,
    /// Never held across an `await`.
    memories: RwLock<Vec<Arc<Memory>>>,
    /// The numbers of passages that are known. Who has this is the only one who numbers memories; it is held across the write.
    known: Mutex<HashMap<Place, u32>>,
}

impl Archive {
    /// Reads what is there.
    pub(crate) fn open(store: Store) -> io::Result<Archive> {
        let mut memories: Vec<Arc<Memory>> = Vec::new();
        for name in store.names(Shelf::Memories)? {
            let memory: Memory = store.get(Shelf::Memories, &name)?.ok_or(io::ErrorKind::NotFound)?;
            if memory.number as usize != memories.len() {
                return Err(io::Error::other(format!("memory {} is missing in the archive", memories.len())));
            }
            memories.push(memory.into());
        }
        let known = memories.iter().map(|it| ((it.source.clone(), it.place), it.number)).collect();
        Ok(Archive { store, memories: memories.into(), known: Mutex::new(known) })
    }

    /// Writes a memory down, if it is not there yet; returns it as it is on disk.
    pub(crate) async fn remember(&self, passage: &Passage) -> io::Result<Arc<Memory>> {
        let mut known = self.known.lock().await;
        let place = (passage.source.to_owned(), passage.place);
        if let Some(number) = known.get(&place) {
            return Ok(self.all()[*number as usize].clone());
        }
        let (number, at_ms) = (known.len() as u32, wall().0);
        let (source, place_in_it, text) = (place.0.clone(), passage.place, passage.text.clone());
        let memory = Memory { number, at_ms, source, place: place_in_it, text };
        self.store.put_once(Shelf::Memories, numbered(number), memory.clone()).await?;
        let memory = Arc::new(memory);
        self.memories.write().unwrap_or_else(PoisonError::into_inner).push(memory.clone());
        known.insert(place, number);
        Ok(memory)
    }

    /// All there are.
    pub(crate) fn all(&self) -> Vec<Arc<Memory>> {
        // Whoever panicked with it has left it whole: a push is its only change.
        self.memories.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All with lower numbers.
    pub(crate) fn before(&self, number: u32) -> Vec<Arc<Memory>> {
        let mut all = self.all();
        all.truncate(number as usize);
        all
    }
}
