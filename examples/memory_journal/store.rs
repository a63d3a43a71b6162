//! The journal's own disk: small files in JSON, each written once and as a whole. Jobs run at least once; here that becomes once
//! in effect, as the second writer of a file finds it there and leaves it as it is. It knows no queue.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What there are files of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// Memories, by number.
    Memories,
    /// Ends of associations, by memory and kind.
    Ends,
    /// Memories that are closed, by number.
    Closed,
    /// Which consolidation has a memory, by its number.
    Taken,
    /// Consolidations, by their jobs.
    Consolidations,
}

impl Shelf {
    const ALL: [Shelf; 5] =
        [Shelf::Memories, Shelf::Ends, Shelf::Closed, Shelf::Taken, Shelf::Consolidations];

    fn name(self) -> &'static str {
        match self {
            Shelf::Memories => "memories",
            Shelf::Ends => "ends",
            Shelf::Closed => "closed",
            Shelf::Taken => "taken",
            Shelf::Consolidations => "consolidations",
        }
    }
}

/// A directory. Clones are of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: Arc<Path>,
    written: Arc<AtomicU64>,
}

/// Files under way to their names are here. What a killed program has left of them is of no use.
const UNFINISHED: &str = "unfinished";

impl Store {
    /// Opens it; it is made if it is not there.
    pub(crate) fn open(root: &Path) -> io::Result<Store> {
        match fs::remove_dir_all(root.join(UNFINISHED)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(root.join(UNFINISHED))?,
        }
        for shelf in Shelf::ALL {
            fs::create_dir_all(root.join(shelf.name()))?;
        }
        File::open(root)?.sync_all()?;
        Ok(Store { root: root.into(), written: Arc::default() })
    }

    fn path(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.root.join(shelf.name()).join(format!("{name}.json"))
    }

    /// Writes a file, unless it is there already; returns whether this call has. After that it is on disk either way.
    pub(crate) fn put_once_now<T: Serialize>(&self, shelf: Shelf, name: &str, value: &T) -> io::Result<bool> {
        let (path, number) = (self.path(shelf, name), self.written.fetch_add(1, Ordering::Relaxed));
        if path.try_exists()? {
            return Ok(false);
        }
        let unfinished = self.root.join(UNFINISHED).join(number.to_string());
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        // A name is given once: of two who do this at a time, one is told that it exists.
        let given = fs::hard_link(&unfinished, &path);
        fs::remove_file(&unfinished)?;
        match given {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                File::open(self.root.join(shelf.name()))?.sync_all()?;
                Ok(true)
            }
        }
    }

    /// The same, while this thread does something else.
    pub(crate) async fn put_once<T>(&self, shelf: Shelf, name: String, value: T) -> io::Result<bool>
    where
        T: Serialize + Send + 'static,
    {
        let store = self.clone();
        let put = tokio::task::spawn_blocking(move || store.put_once_now(shelf, &name, &value));
        put.await.map_err(io::Error::other)?
    }

    /// What is in a file, if it is there.
    pub(crate) fn get<T: DeserializeOwned>(&self, shelf: Shelf, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.path(shelf, name)) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of all files of a kind, in their order.
    pub(crate) fn names(&self, shelf: Shelf) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(shelf.name()))? {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }
}

/// The name of a file that is about a memory.
pub(crate) fn numbered(number: u32) -> String {
    format!("{number:05}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.put_once_now(Shelf::Ends, "a", &1).unwrap());
        assert!(!store.put_once_now(Shelf::Ends, "a", &2).unwrap());
        fs::write(dir.path().join(UNFINISHED).join("9"), "{").unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.get::<u32>(Shelf::Ends, "a").unwrap(), Some(1));
        assert_eq!(store.get::<u32>(Shelf::Ends, "b").unwrap(), None);
        assert_eq!(store.names(Shelf::Ends).unwrap(), ["a"]);
        assert_eq!(
            fs::read_dir(dir.path().join(UNFINISHED)).unwrap().count(),
            0,
            "what was not finished is gone"
        );
    }

    #[test]
    fn of_many_who_write_the_same_one_has() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let write = |n: u32| store.put_once_now(Shelf::Taken, "a", &n).unwrap();
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || write(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}
