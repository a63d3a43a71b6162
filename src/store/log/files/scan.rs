//! Reads all of a log and reports everything that is wrong with it. Where a start stops at the first damaged record,
//! this goes on at the next whole one; nothing is changed. What a crash leaves is no defect: a torn end, and records of
//! a file's former use, whose commits are in the home already.

use super::file::{self, FILE_HEADER};
use super::mark;
use super::window::Window;
use crate::store::log::Place;
use crate::store::{CommitNo, Defect};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a scan finds, in no particular order.
pub(crate) enum Found<'a> {
    /// A whole record that is not in the home yet.
    Record(Place<'a>, &'a [u8]),
    Defect(Defect),
}

/// What there is in all.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// The newest commit that can be read, or that is in the home.
    pub(crate) last: CommitNo,
    /// Bytes in its files.
    pub(crate) bytes: u64,
}

/// Reads every file. `home` is the newest commit that needs no log; `None` if that is not known.
pub(crate) fn scan(dir: &Path, home: Option<CommitNo>, on_found: &mut dyn FnMut(Found<'_>)) -> Scanned {
    let floor = home.unwrap_or_default();
    let mut scan = Scan { salt: 0, home, seen: Vec::new(), unreadable: Vec::new(), bytes: 0, on_found };
    let files = match file::list(dir) {
        Ok(files) => files.whole,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            scan.defect(dir, None, format!("it cannot be read: {error}"));
            Vec::new()
        }
    };
    let files = scan.headers(files.into_iter().map(|(_, path)| path).collect());
    // Where the first record is not whole the file may be free, and what it holds old: the others say what is newer.
    let headless: Vec<_> = files.into_iter().filter(|path| !scan.read(path, floor, true)).collect();
    let floor = home.unwrap_or_else(|| scan.last());
    for path in headless {
        scan.read(&path, floor, false);
    }
    scan.missing(dir);
    Scanned { last: scan.last(), bytes: scan.bytes }
}

struct Scan<'a> {
    salt: u64,
    home: Option<CommitNo>,
    /// From and to which number there are whole records.
    seen: Vec<(u64, u64)>,
    /// The same of those that were told; from 0 if it is not known where they begin.
    unreadable: Vec<(u64, u64)>,
    bytes: u64,
    on_found: &'a mut dyn FnMut(Found<'_>),
}

impl Scan<'_> {
    fn defect(&mut self, path: &Path, at: Option<usize>, detail: String) {
        let at = at.map(|at| format!(" at byte {at}")).unwrap_or_default();
        (self.on_found)(Found::Defect(Defect { place: format!("{}{at}", path.display()), detail }));
    }

    fn last(&self) -> CommitNo {
        let seen = self.seen.iter().map(|(_, last)| CommitNo(*last));
        seen.chain(self.home).max().unwrap_or_default()
    }

    /// Looks at each file's header. Returns the files that belong to the log; one with a broken header is taken for one.
    fn headers(&mut self, paths: Vec<PathBuf>) -> Vec<PathBuf> {
        let (mut files, mut salts) = (Vec::new(), HashMap::<u64, usize>::new());
        for path in paths {
            match read_header(&path) {
                Ok((head, len)) => {
                    let salt = head.map(|(salt, _)| salt);
                    *salts.entry(salt.unwrap_or_default()).or_default() += usize::from(salt.is_some());
                    files.push((path, head, len));
                }
                Err(error) => self.defect(&path, None, format!("it cannot be read: {error}")),
            }
        }
        let most = salts.into_iter().max_by_key(|(salt, files)| (*files, *salt));
        self.salt = most.map_or(0, |(salt, _)| salt);
        let mut ours = Vec::new();
        for (path, head, len) in files {
            self.bytes += len;
            match head {
                None => self.defect(&path, Some(0), "the file's header is broken".to_owned()),
                Some((salt, _)) if salt != self.salt => {
                    self.defect(&path, Some(0), "the file belongs to another log".to_owned());
                    continue;
                }
                Some((_, least)) if len < least => {
                    let detail = format!("the file was cut off: it has {len} of its {least} bytes");
                    self.defect(&path, None, detail);
                }
                Some(_) => {}
            }
            ours.push(path);
        }
        ours
    }

    /// Reads one file to its end. With `has_head` only if it begins with a whole record: returns whether it does.
    fn read(&mut self, path: &Path, floor: CommitNo, has_head: bool) -> bool {
        match self.read_through(path, floor, has_head) {
            Ok(whole) => whole,
            Err(error) => {
                self.defect(path, None, format!("it cannot be read: {error}"));
                true
            }
        }
    }

    fn read_through(&mut self, path: &Path, floor: CommitNo, has_head: bool) -> io::Result<bool> {
        let file = File::open(path)?;
        let mut window = Window::new(&file, self.salt);
        if has_head && window.record(FILE_HEADER)?.is_none() {
            return Ok(false);
        }
        let (mut at, mut last) = (FILE_HEADER, None::<CommitNo>);
        loop {
            let next = window.record(at)?;
            if let Some(found) = next.filter(|next| last.is_none_or(|last| next.number == last.next())) {
                let place = Place { path, payload: None, offset: at as u64, number: found.number };
                self.take(place, found.payload);
                (at, last) = (found.end, Some(found.number));
                continue;
            }
            // Lower ones are of a former use, and what is in the home may be overwritten at any time.
            let above = last.unwrap_or_default().max(floor);
            let Some((offset, number)) = window.find_above(at, above)? else {
                return Ok(true);
            };
            self.broken(path, (at, last), (offset, number));
            (at, last) = (offset, Some(CommitNo(number.0 - 1)));
        }
    }

    fn take(&mut self, place: Place<'_>, payload: &[u8]) {
        let number = place.number.0;
        match self.seen.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.seen.push((number, number)),
        }
        if self.home.is_none_or(|home| place.number > home) {
            (self.on_found)(Found::Record(place, payload));
        }
    }

    /// What stands at a place is not what comes next, and a later commit follows.
    fn broken(&mut self, path: &Path, at: (usize, Option<CommitNo>), next: (usize, CommitNo)) {
        let ((at, last), (offset, number)) = (at, next);
        let (from, to) = (last.map(|last| last.next().0), number.0 - 1);
        let what = match from {
            Some(from) if from == to => format!("commit {from} is"),
            Some(from) if from < to => format!("commits {from} to {to} are"),
            Some(_) => "the bytes there are".to_owned(),
            None => format!("the bytes before commit {} are", number.0),
        };
        self.unreadable.push((from.unwrap_or(0), to));
        self.defect(path, Some(at), format!("{what} not readable; commit {} is, at byte {offset}", number.0));
    }

    /// Reports commits that no file has.
    fn missing(&mut self, dir: &Path) {
        let (last, durable) = (self.last(), mark::read(dir, self.salt));
        if let Some(durable) = durable.filter(|durable| *durable > last) {
            let (durable, last) = (durable.0, last.0);
            let detail = format!("commits up to {durable} were on disk, but the log ends with commit {last}");
            self.defect(&mark::path(dir), None, detail);
        }
        let Some(home) = self.home else { return };
        let mut parts: Vec<_> = self.seen.iter().chain(&self.unreadable).copied().collect();
        parts.sort_by_key(|(_, to)| *to);
        let mut next = home.next().0;
        for (from, to) in parts {
            if from > next {
                let detail = format!("commits {next} to {} are missing: files are not there", from - 1);
                self.defect(dir, None, detail);
            }
            next = next.max(to + 1);
        }
    }
}

/// What a file's header says, if it is whole, and how long the file is.
fn read_header(path: &Path) -> io::Result<(Option<(u64, u64)>, u64)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(FILE_HEADER as u64).read_to_end(&mut bytes)?;
    Ok((file::read_header(&bytes), len))
}
