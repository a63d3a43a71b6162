//! Reading the log: which files belong together, which records come next, and whether what does not come next is
//! the torn end of a crash or damage. A crash can only tear the newest record. So if any whole record lies behind a
//! broken one, something else has happened, and nothing is changed.

use super::file::{self, FILE_HEADER};
use super::window::Window;
use super::{LogError, Place, mark, record};
use crate::store::CommitNo;
use crate::store::log::Segment;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file whose records were read.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// Behind its last record.
    pub(super) end: u64,
    pub(super) last: CommitNo,
}

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) salt: Option<u64>,
    pub(super) used: Vec<Used>,
    /// Files with nothing in them that is needed, and their lengths.
    pub(super) free: Vec<(PathBuf, u64)>,
    pub(super) unfinished: Vec<PathBuf>,
    pub(super) last: CommitNo,
    pub(super) next_file: u64,
}

/// One file before it is read through.
struct Candidate {
    path: PathBuf,
    len: u64,
    first: Option<CommitNo>,
}

/// Reads every commit after `home`, in order, and changes nothing.
pub(super) fn replay<E: From<LogError>>(
    dir: &Path,
    home: CommitNo,
    mut on_record: impl FnMut(Place<'_>, &[u8]) -> Result<(), E>,
) -> Result<Found, E> {
    let files = file::list(dir).map_err(LogError::io(dir))?;
    let next_file = files.whole.last().map_or(0, |(id, _)| id + 1);
    let mut found = Found { unfinished: files.unfinished, next_file, last: home, ..Found::default() };
    let mut files = candidates(files.whole, &mut found.salt)?;
    let Some(salt) = found.salt else {
        // The file that is written to is never deleted.
        let missing = LogError::Missing { dir: dir.to_owned(), home };
        return if home > CommitNo(0) { Err(missing.into()) } else { Ok(found) };
    };

    let start = files.iter().rposition(|file| file.first.is_some_and(|first| first <= home.next()));
    let chain = files.split_off(start.unwrap_or_else(|| files.partition_point(|file| file.first.is_none())));
    let mut expected = None;
    for file in &chain {
        let first = file.first.expect("files without a record come first");
        let wanted = expected.unwrap_or(first.min(home.next()));
        if first > wanted {
            return Err(LogError::Gap { wanted, path: file.path.clone(), found: first }.into());
        }
        if first < wanted {
            // What is left of a former life: a free file.
            found.free.push((file.path.clone(), file.len));
            continue;
        }
        let used = read_file(file, salt, first, home, &mut on_record)?;
        expected = Some(used.last.next());
        found.used.push(used);
    }
    found.last = found.used.last().map_or(home, |used| used.last.max(home));
    if found.used.last().is_some_and(|used| used.last < home) {
        // The newest file is gone, but all that was in it is in the home.
        found.free.extend(found.used.drain(..).map(|used| (used.path, used.len)));
    }
    found.free.extend(files.iter().map(|file| (file.path.clone(), file.len)));
    refuse_later(&found, salt)?;
    match mark::read(dir, salt).filter(|durable| *durable > found.last) {
        Some(durable) => {
            let end = found.used.last().map(|used| (used.path.clone(), used.end));
            let (path, offset) = end.unwrap_or_else(|| (dir.to_owned(), 0));
            Err(LogError::Short { path, offset, last: found.last, durable, mark: mark::path(dir) }.into())
        }
        None => Ok(found),
    }
}

/// The files in the order of their first records, those without one first.
fn candidates(files: Vec<(u64, PathBuf)>, salt: &mut Option<u64>) -> Result<Vec<Candidate>, LogError> {
    let mut candidates = Vec::new();
    for (_, path) in files {
        let (mut bytes, len) = read_head(&path).map_err(LogError::io(&path))?;
        let damaged = |detail: &str| {
            Place { path: &path, payload: None, offset: 0, number: CommitNo(1) }.damaged(detail.to_owned())
        };
        let (own, least) = file::read_header(&bytes).ok_or_else(|| damaged("the file's header is broken"))?;
        if *salt.get_or_insert(own) != own {
            return Err(damaged("the file belongs to another log"));
        }
        if len < least {
            return Err(damaged(&format!("the file was cut off: it has {len} of its {least} bytes")));
        }
        if record::promises_more(own, &bytes, FILE_HEADER) {
            bytes = fs::read(&path).map_err(LogError::io(&path))?;
        }
        let first = record::read(own, &bytes, FILE_HEADER).map(|record| record.number);
        candidates.push(Candidate { path, len, first });
    }
    candidates.sort_by_key(|file| file.first);
    Ok(candidates)
}

/// The beginning of a file, in which nearly every first record lies, and how long the file is.
fn read_head(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(64 << 10).read_to_end(&mut bytes)?;
    Ok((bytes, len))
}

/// Reads the records of one file up to the first that does not come next.
fn read_file<E: From<LogError>>(
    file: &Candidate,
    salt: u64,
    first: CommitNo,
    home: CommitNo,
    on_record: &mut impl FnMut(Place<'_>, &[u8]) -> Result<(), E>,
) -> Result<Used, E> {
    let open = Arc::new(File::open(&file.path).map_err(LogError::io(&file.path))?);
    let segment: Arc<dyn Segment> = open.clone();
    let (mut window, mut at, mut expected) = (Window::new(&open, salt), FILE_HEADER, first);
    loop {
        let record = window.record(at).map_err(LogError::io(&file.path))?;
        let Some(record) = record.filter(|record| record.number == expected) else { break };
        if expected > home {
            let payload = Some((&segment, (at + record::HEADER) as u64));
            let place = Place { path: &file.path, offset: at as u64, number: expected, payload };
            on_record(place, record.payload)?;
        }
        (at, expected) = (record.end, expected.next());
    }
    let (path, len) = (file.path.clone(), file.len);
    Ok(Used { path, len, end: at as u64, last: CommitNo(expected.0 - 1) })
}

/// Any whole record above the last one that was read means damage. Full files but the newest are not searched:
/// the file after them begins with what comes next.
fn refuse_later(found: &Found, salt: u64) -> Result<(), LogError> {
    let tail = found.used.last().map(|used| (&used.path, used.end as usize));
    let free = found.free.iter().map(|(path, _)| (path, FILE_HEADER));
    for (path, from) in tail.into_iter().chain(free) {
        let file = File::open(path).map_err(LogError::io(path))?;
        let later = Window::new(&file, salt).find_above(from, found.last).map_err(LogError::io(path))?;
        if let Some((offset, number)) = later {
            let (missing, number) = (found.last.next(), number.0);
            let place = match &tail {
                Some((path, end)) => Place { path, payload: None, offset: *end as u64, number: missing },
                None => Place { path, payload: None, offset: FILE_HEADER as u64, number: missing },
            };
            return Err(place.damaged(format!(
                "commit {} is not readable there, but commit {number} is whole ({} at byte {offset})",
                missing.0,
                path.display()
            )));
        }
    }
    Ok(())
}
