//! Damage at random places: whatever is flipped, cut off or zeroed, a start gives correct data or an error with the
//! place, and never panics; and what a start refuses, a verification reports, without changing anything.
//! `MUSHER_DAMAGE=20000 MUSHER_DAMAGE_SEED=7` tries more, or other, places.

use super::workload::{Draw, Workload, options, same};
use super::*;
use crate::core::{JobId, Time};
use crate::store::log::Log;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A directory as a SIGKILL leaves it: jobs of every kind in several segments of the database, a checkpoint cut off in
/// the middle, and a tail of the log; and what it holds.
struct Sound {
    files: BTreeMap<PathBuf, Vec<u8>>,
    work: Workload,
}

/// `commits` of them; the newest `tail` only in the log. With `cut`, a checkpoint of some was cut off before the last.
fn sound(commits: u32, tail: u32, cut: bool) -> Sound {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut work) = (DiskStore::open(dir.path(), &options()).unwrap().0, Workload::default());
    for seed in 0..commits {
        let commit = work.random(seed);
        store.append(CommitNo(work.commits), &commit).unwrap();
        if seed + tail < commits && (seed % 40 == 0 || seed + tail + 1 == commits) {
            store.close(&work.state).unwrap();
        }
        if seed == commits / 2 {
            // The database makes a snapshot when it is opened.
            drop(store);
            store = DiskStore::open(dir.path(), &options()).unwrap().0;
        }
        if cut && seed + tail / 2 == commits {
            store.home.cut_after(12);
            assert!(store.close(&work.state).is_err());
        }
    }
    // As the loop does when its answers have left, and some time later.
    let again = store.log.maintain(Time(0)).unwrap();
    store.log.maintain(again.unwrap()).unwrap();
    let mut files = BTreeMap::new();
    collect(dir.path(), dir.path(), &mut files);
    let sound = Sound { files, work };
    assert_eq!(verify_untouched(sound.copy(|_, _| {}).path()), []);
    sound
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(root, &path, files),
            // What is gone meanwhile was an unfinished file of the log.
            false => {
                if let Ok(bytes) = fs::read(&path) {
                    files.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
                }
            }
        }
    }
}

/// Damages one of the files that `wanted` picks, some hundred times, and says what came of each kind.
fn try_places(sound: &Sound, cases: u64, wanted: impl Fn(&str) -> bool) {
    let number = |name: &str, or: u64| std::env::var(name).map_or(or, |text| text.parse().unwrap());
    let (cases, seed) = (number("MUSHER_DAMAGE", cases), number("MUSHER_DAMAGE_SEED", 1));
    println!("MUSHER_DAMAGE_SEED={seed} MUSHER_DAMAGE={cases}");
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for case in 0..cases {
        let mut draw = Draw(seed << 32 | case);
        let (dir, what) = damage(sound, &mut draw, &wanted);
        let defects = verify_untouched(dir.path());
        let judged = std::panic::catch_unwind(|| judge(dir.path(), sound));
        let outcome = judged.unwrap_or_else(|_| panic!("case {case}, {what}: it panicked"));
        let outcome = outcome.unwrap_or_else(|wrong| panic!("case {case}, {what}: {wrong}"));
        assert!(
            outcome == "no matter" || !defects.is_empty(),
            "case {case}, {what}: {outcome}, but not told"
        );
        *outcomes.entry(outcome).or_default() += 1;
        if outcome == "no matter" && !defects.is_empty() {
            *outcomes.entry("of these told").or_default() += 1;
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes["refused"] > 0 && outcomes["no matter"] > 0, "both happen: {outcomes:?}");
}

/// What a verification says, which must leave everything as it is.
pub(super) fn verify_untouched(dir: &Path) -> Vec<Defect> {
    let scratch = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let (before, mut defects) = (everything(dir), Vec::new());
    let mut copy = Scratch::create(scratch.path()).unwrap();
    match verify_directory(dir, &mut copy, |defect| defects.push(defect)) {
        // A number that damage has made higher is that of a later version, for all that anybody can tell.
        Err(VerifyError::Newer(error)) => {
            defects.push(Defect { place: "FORMAT".to_owned(), detail: error.to_string() })
        }
        found => assert_eq!(found.unwrap().defects, defects.len() as u64),
    }
    assert!(everything(dir) == before, "it has changed the directory");
    drop(copy);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the copy is gone");
    defects
}

/// Every file and directory, with its bytes and when it was changed.
pub(super) fn everything(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Option<Vec<u8>>)> {
    let (mut found, mut todo) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(path) = todo.pop() {
        let bytes = match path.is_dir() {
            true => {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                None
            }
            false => Some(fs::read(&path).unwrap()),
        };
        found.insert(path.clone(), (fs::metadata(&path).unwrap().modified().unwrap(), bytes));
    }
    found
}

/// A copy of the directory with one thing wrong, and what that is.
fn damage(sound: &Sound, draw: &mut Draw, wanted: impl Fn(&str) -> bool) -> (tempfile::TempDir, String) {
    let names: Vec<&PathBuf> = sound.files.keys().filter(|name| wanted(name.to_str().unwrap())).collect();
    let victim = names[draw.below(names.len() as u64) as usize];
    let mut what = String::new();
    let dir = sound.copy(|name, bytes| {
        if name == victim {
            what = format!("{} {}", name.display(), spoil(bytes, draw));
        }
    });
    (dir, what)
}

impl Sound {
    /// The directory once more, each file as `change` leaves it.
    fn copy(&self, mut change: impl FnMut(&Path, &mut Vec<u8>)) -> tempfile::TempDir {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        fs::create_dir_all(dir.path().join("sled/blobs")).unwrap();
        fs::create_dir_all(dir.path().join("log")).unwrap();
        for (name, bytes) in &self.files {
            let mut bytes = bytes.clone();
            change(name, &mut bytes);
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }
}

/// A flipped bit as a rule; else cut off, or a page blank. Seldom where there were only zeros.
fn spoil(bytes: &mut Vec<u8>, draw: &mut Draw) -> String {
    let mut at = draw.below(bytes.len() as u64) as usize;
    while bytes[at] == 0 && draw.below(32) != 0 {
        at = draw.below(bytes.len() as u64) as usize;
    }
    match draw.below(8) {
        0 => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        1 => {
            let page = at / 4096 * 4096;
            let end = bytes.len().min(page + 4096);
            bytes[page..end].fill(0);
            format!("blank from {page} to {end}")
        }
        _ => {
            let bit = draw.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} at {at}")
        }
    }
}

/// What a start makes of it: `Err` if that is wrong.
fn judge(dir: &Path, sound: &Sound) -> Result<&'static str, String> {
    let (mut store, found) = match DiskStore::open(dir, &options()) {
        Ok(opened) => opened,
        Err(error) => {
            let error = error.to_string();
            let says_where = error.contains(dir.to_str().unwrap()) || error.contains("tree `");
            return if says_where { Ok("refused") } else { Err(error) };
        }
    };
    let work = &sound.work;
    if !same(&found.state, &work.state) {
        return Err(format!("another state, up to commit {}", found.last.0));
    }
    for id in (1..work.state.next_id().0).map(JobId).filter(|id| work.state.contains(*id)) {
        let job = work.state.job(id).expect("it is known");
        for kind in Blob::ALL {
            let Some(wanted) = work.blob(kind, id, job) else { continue };
            match store.blob(kind, id) {
                Ok(blob) if blob != wanted => return Err(format!("another {kind} of job {id}")),
                Ok(_) => {}
                Err(error) if error.to_string().contains(&id.to_string()) => return Ok("a blob refused"),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok("no matter")
}

#[test]
fn damage_of_the_log_is_an_error_or_no_matter() {
    try_places(&sound(60, 30, true), 400, |name| name.starts_with("log/") && name != "log/mark");
}

#[test]
fn damage_of_the_database_is_an_error_or_no_matter() {
    try_places(&sound(60, 20, true), 200, |name| name.starts_with("sled/") || name == "FORMAT");
}

#[test]
fn damage_of_a_large_database_is_an_error_or_no_matter() {
    try_places(&sound(640, 4, false), 200, |name| name == "sled/db");
}

#[test]
fn damage_of_a_large_database_after_a_cut_checkpoint_is_an_error_or_no_matter() {
    try_places(&sound(640, 20, true), 200, |name| name == "sled/db");
}
