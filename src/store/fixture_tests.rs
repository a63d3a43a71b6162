//! A directory written by each format opens, with every job and body in it. `tests/fixtures/v1/` holds the files
//! without the zeros at their ends, and `lengths`, which says how long each was; `expected` says what must be found.

use super::damage_tests::{everything, verify_untouched};
use super::workload::Workload;
use super::*;
use crate::core::{
    AfterFailure, CatchUp, Event, Exit, HandlingCounts, Holder, IdRange, Job, JobId, JobState, Overlap,
    Rhythm, Row, Schedule, State, StateKind, Time, Worker,
};
use crate::migrations::NEWEST;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn fixture(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{format}"))
}

fn options() -> Options {
    Options { log_file_bytes: 64 << 10, disk_reserve_bytes: 0, ballast_bytes: 0, ..Options::default() }
}

#[test]
fn a_directory_of_each_format_opens_with_all_that_is_in_it() {
    for format in 1..=NEWEST {
        let dir = tempfile::tempdir().unwrap();
        unpack(&fixture(format), dir.path());
        let (mut store, found) = DiskStore::open(dir.path(), &options()).unwrap();
        assert!(found.report.rows > 0 && found.report.commits > 0, "both parts have something in them");
        let expected = fs::read_to_string(fixture(format).join("expected")).unwrap();
        assert!(expected.contains(" tags [\""), "and some jobs have tags");
        assert_eq!(describe(&mut store, &found), expected, "format {format}");
        // The same is in it when all was written anew.
        store.bring_home(&found.state).unwrap();
        let (mut with, mut tagged) = (false, false);
        let look = |_, row: codec::BlockRow| {
            let all = row.runs.iter().any(|(_, job)| job.spec.has_envelope);
            (with, tagged) = (with | all, tagged | !row.tags.is_empty());
        };
        home::Rows::blocks(&store.home, look).unwrap();
        assert!(with && !tagged, "what was in a row is beside the body now");
        drop(store);
        let (mut store, found) = DiskStore::open(dir.path(), &options()).unwrap();
        assert_eq!(describe(&mut store, &found), expected, "format {format}, brought home");
    }
}

/// What has a format of its own byte by byte is read as it is, works, and is written anew when it changes.
#[test]
fn a_directory_of_an_older_format_works_and_becomes_one_of_todays() {
    (1..NEWEST).for_each(works_and_becomes_one_of_todays);
}

fn works_and_becomes_one_of_todays(format: u32) {
    let dir = tempfile::tempdir().unwrap();
    unpack(&fixture(format), dir.path());
    let (mut store, found) = DiskStore::open(dir.path(), &options()).unwrap();
    let written = fs::read_to_string(dir.path().join("FORMAT")).unwrap();
    assert_eq!(written, format!("musher data format {NEWEST}\n"));
    let (mut state, at, due) = (found.state, Time(1 << 40), Time(1 << 41));
    let of_state = |state: &State, kind| -> Vec<JobId> {
        let all = IdRange::new(JobId(1), state.next_id().0);
        let runs = state.runs(all).into_iter().filter(|(_, job)| job.kind() == kind);
        runs.flat_map(|(range, _)| range.iter().collect::<Vec<_>>()).collect()
    };
    let mut last = found.last;
    let mut happens = |store: &mut DiskStore, state: &mut State, events: Vec<Event>| {
        events.iter().for_each(|event| state.apply(event));
        last = last.next();
        store.append(last, &Commit { time: at, events, ..Commit::default() }).unwrap();
    };
    let ready = of_state(&state, StateKind::Ready);
    let jobs = ready.iter().copied().collect();
    happens(
        &mut store,
        &mut state,
        vec![Event::Claimed { jobs, holder: Holder::Anyone, worker: None, at, until: due }],
    );
    let ends = ready.iter().enumerate().map(|(nth, id)| match nth % 2 {
        0 => Event::Deferred { job: (*id).into(), at, error: "later".into(), exit: None, due },
        _ => {
            let (exit, next) = (Some(Exit::Signal(9)), AfterFailure::Retry(due));
            Event::Failed { job: (*id).into(), at, error: "no".into(), exit, next }
        }
    });
    happens(&mut store, &mut state, ends.collect());
    let seen = |state: &State| (state.runs(IdRange::new(JobId(1), state.next_id().0)), state.rows());
    let before = seen(&state);
    assert!(before.0.iter().any(|(_, job)| job.later() > 0) && ready.len() > 1);
    drop(store);
    // From the log of both formats, then from rows of both.
    for _ in 0..2 {
        let (mut store, found) = DiskStore::open(dir.path(), &options()).unwrap();
        assert_eq!(seen(&found.state), before);
        store.close(&found.state).unwrap();
    }
}

/// The steps to the newest format rewrite nothing but the number. A migration locks the directory, and
/// changes nothing else in one that is of today.
#[test]
fn a_migration_leaves_todays_format_and_a_newer_one_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    unpack(&fixture(1), dir.path());
    assert_eq!(verify_untouched(dir.path()), [], "it can be read before it is migrated");
    let bytes = |dir: &Path| -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let files: BTreeMap<PathBuf, (SystemTime, Option<Vec<u8>>)> = everything(dir);
        let files = files.into_iter().filter(|(path, _)| !path.ends_with("lock"));
        files.map(|(path, (_, bytes))| (path, bytes)).collect()
    };
    let mut before = bytes(dir.path());
    for from in [1, NEWEST] {
        assert_eq!(migrate(dir.path()).unwrap(), (from, NEWEST));
        let after = bytes(dir.path());
        let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
        let changed: Vec<_> = after.keys().chain(before.keys()).filter(differs).collect();
        assert!(if from == 1 {
            changed.iter().all(|path| path.ends_with("FORMAT"))
        } else {
            changed.is_empty()
        });
        before = after;
    }
    fs::remove_file(dir.path().join("lock")).unwrap();

    let newer = NEWEST + 1;
    fs::write(dir.path().join("FORMAT"), format!("musher data format {newer}\n")).unwrap();
    let before = everything(dir.path());
    let error = migrate(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("has format {newer}")), "{error}");
    assert!(error.contains(&format!("up to {NEWEST}")), "{error}");
    assert!(everything(dir.path()) == before, "not even locked");
}

/// Everything that a recovery gives back, as text that no later change of a `Debug` touches.
fn describe(store: &mut DiskStore, found: &Recovered) -> String {
    let mut text = format!("last {} at {}\n", found.last.0, found.time.0);
    let next_id = found.state.next_id();
    writeln!(text, "next id {}", next_id).unwrap();
    for row in found.state.rows() {
        match row {
            Row::Queue(queue) => {
                let t = queue.totals;
                let totals = [t.submitted, t.claimed, t.completed, t.failed, t.died, t.cancelled, t.expired];
                let until = queue.paused_until.filter(|until| *until != Time::NEVER);
                writeln!(
                    text,
                    "queue {} paused {} totals {totals:?}{}",
                    queue.name,
                    queue.paused_until.is_some(),
                    until.map_or_else(String::new, |until| format!(" until {}", until.0)),
                )
                .unwrap();
            }
            Row::Requests(row) => {
                let done = row.done.iter().map(|done| format!("{done:?}"));
                writeln!(text, "requests {} {:?}", row.page, done.collect::<Vec<_>>()).unwrap();
            }
            Row::Keys(row) => {
                let rate = row.rate.map(|rate| rate.to_string());
                let keys = row
                    .keys
                    .iter()
                    .map(|it| (it.key, it.used.0, it.turn.newest.0, it.turn.leases))
                    .collect::<Vec<_>>();
                writeln!(text, "keys {} of {} under {rate:?} {keys:?}", row.page, row.queue).unwrap();
            }
            Row::Topic(row) => writeln!(text, "topic {:?} {:?}", row.pattern, row.queues).unwrap(),
            Row::Group(row) => writeln!(text, "group {:?} {:?}", row.no, row.group).unwrap(),
            Row::Schedule(row) => {
                writeln!(text, "schedule {} {}", row.name, describe_schedule(&row.schedule)).unwrap();
            }
        }
    }
    for (range, job) in found.state.runs(IdRange::new(JobId(1), next_id.0)) {
        for id in range.iter() {
            let body = store.blob(Blob::Body, id).unwrap();
            let sum = crc32c::crc32c(&body);
            let envelope = job.spec.has_envelope.then(|| store.blob(Blob::Envelope, id).unwrap());
            let envelope = envelope.map_or_else(Envelope::default, |bytes| Envelope::decode(&bytes).unwrap());
            let described = describe_job(&job, &envelope);
            let mut beside = String::new();
            for kind in Blob::BESIDE.into_iter().filter(|kind| kind.is_of(&job)) {
                let blob = store.blob(kind, id).unwrap();
                write!(beside, " {kind} {} {:08x}", blob.len(), crc32c::crc32c(&blob)).unwrap();
            }
            writeln!(text, "job {id} {described} body {} {sum:08x}{beside}", body.len()).unwrap();
        }
    }
    text
}

fn describe_schedule(schedule: &Schedule) -> String {
    let Schedule { plan, paused, since, next, waits, fired, skipped, runs } = schedule;
    let rhythm = match &plan.rhythm {
        Rhythm::Cron { fields, zone } => format!("cron {fields} in {zone}"),
        Rhythm::Every(time) => format!("every {} ms", time.as_millis()),
    };
    let catch_up = CatchUp::ALL.iter().find(|(_, it)| *it == plan.catch_up).unwrap().0;
    let overlap = Overlap::ALL.iter().find(|(_, it)| *it == plan.overlap).unwrap().0;
    let runs: Vec<String> = runs.iter().map(|run| format!("{}@{}", run.job, run.at.0)).collect();
    let envelope = plan.payload.envelope.as_ref().map(|envelope| crc32c::crc32c(envelope));
    format!(
        "{rhythm} catch up {catch_up} overlap {overlap} jitter {} ms ttl {:?}{} to {} usual priority {} configured {} body {} \
         envelope {envelope:?} paused {paused} since {} next {} waits {waits} fired {fired} skipped {skipped} runs {runs:?}",
        plan.jitter.as_millis(),
        plan.ttl.map(|ttl| ttl.as_millis()),
        plan.deadline.map_or_else(String::new, |deadline| format!(" deadline {}", deadline.as_millis())),
        plan.spec.queue,
        plan.usual_priority,
        plan.configured,
        plan.payload.body.len(),
        since.0,
        next.0,
    )
}

fn by(worker: Option<Worker>) -> String {
    worker.map_or_else(String::new, |Worker { uid, pid }| format!(" by {pid} of {uid}"))
}

fn describe_job(job: &Job, envelope: &Envelope) -> String {
    let (spec, expiry) = (&job.spec, job.expiry());
    let due = match job.state() {
        JobState::Scheduled { due } => due.min(expiry.begin_by),
        JobState::Ready => expiry.begin_by,
        _ => job.next_due(),
    };
    let deadline = match expiry.end_by {
        Time::NEVER => String::new(),
        time => format!(" deadline {}", time.0),
    };
    let tags: Vec<String> = envelope.tags().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let failures: Vec<String> = job
        .failures()
        .iter()
        .map(|f| format!("{}@{}:{}{}", f.attempt, f.at.0, f.error, by(f.worker)))
        .collect();
    let unique = match (spec.unique, spec.unique_while) {
        (None, _) => String::new(),
        (Some(key), held) => format!(" unique {key:?} {held:?} priority {}", spec.priority.0),
    };
    let waits = job.waits_for().map_or_else(String::new, |waits| format!(" waits {waits:?}"));
    let group = spec.group.map_or_else(String::new, |group| format!(" of group {}", group.0));
    let HandlingCounts { delay, releases, timeouts, buries, kicks, no } = job.handled();
    let handled = match job.handled() == HandlingCounts::default() {
        true => String::new(),
        false => format!(" handled {delay} {releases} {timeouts} {buries} {kicks} {no}"),
    };
    format!(
        "{} in {} tags {tags:?} at {} expires {} due {} attempt {} failed {} crashes {} failures {failures:?}{unique}{deadline}{}{waits}{group}{handled}",
        job.kind(),
        spec.queue,
        job.submitted_at().0,
        expiry.begin_by.0,
        due.0,
        job.attempt(),
        job.failed(),
        job.crashes(),
        by(job.worker()),
    )
}

fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("sled/blobs")).unwrap();
    fs::create_dir_all(to.join("log")).unwrap();
    for line in fs::read_to_string(from.join("lengths")).unwrap().lines() {
        let (name, len) = line.rsplit_once(' ').unwrap();
        fs::copy(from.join("data").join(name), to.join(name)).unwrap();
        let file = fs::OpenOptions::new().write(true).open(to.join(name)).unwrap();
        file.set_len(len.parse().unwrap()).unwrap();
    }
}

/// Writes the fixture of today's format. Run once for each format, when it is released:
/// `cargo test --lib write_the_fixture -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_fixture() {
    let (dir, to) = (tempfile::tempdir().unwrap(), fixture(NEWEST));
    let (mut store, _) = DiskStore::open(dir.path(), &options()).unwrap();
    let mut work = Workload::default();
    for seed in 0..24 {
        let commit = work.random(seed);
        store.append(CommitNo(work.commits), &commit).unwrap();
        if seed % 10 == 9 {
            let commit = work.handle(seed);
            store.append(CommitNo(work.commits), &commit).unwrap();
        }
        if seed == 14 {
            store.close(&work.state).unwrap();
        }
    }
    drop(store);
    let _ = fs::remove_dir_all(&to);
    let mut lengths = String::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(name) = todo.pop() {
        let path = dir.path().join(&name);
        if path.is_dir() {
            fs::create_dir_all(to.join("data").join(&name)).unwrap();
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| name.join(entry.unwrap().file_name())));
            continue;
        }
        if name.ends_with("lock") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        fs::write(to.join("data").join(&name), &bytes[..end]).unwrap();
        writeln!(lengths, "{} {}", name.display(), bytes.len()).unwrap();
    }
    fs::write(to.join("lengths"), lengths).unwrap();
    let (mut store, found) = DiskStore::open(dir.path(), &options()).unwrap();
    fs::write(to.join("expected"), describe(&mut store, &found)).unwrap();
}
