//! Power cuts at any point of a disk's life: a load runs once, on a disk that remembers every block written and every flush in
//! their order; then the disk is made again as a power cut would have left it, at a thousand points, with none, some or all of
//! what had not been flushed, and the daemon must have everything that it had acknowledged by then.

use crate::account::{Account, Entry};
use crate::disk::{Loop, Mount, format, refuse_without_root, tool};
use crate::image::{Disk, Image, Op, Replay, Unflushed};
use crate::recorder::Recorder;
use crate::world::{Failure, World};
use clap::ValueEnum;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

const IMAGE_BYTES: usize = 256 << 20;
/// Lives of the daemon in one record, and how long each of them is.
const LIVES: u64 = 4;
const LIFE_MS: u64 = 1_500;
/// Points that are played of one record.
const POINTS: usize = 250;

/// A precaution that is taken away, so that jobs must be lost.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Break {
    /// The log is not synced.
    LogSync,
    /// The database is not synced.
    HomeSync,
}

/// What happened on a disk, and what was promised meanwhile.
struct Record {
    start: Image,
    ops: Vec<Op>,
    entries: Vec<(usize, Entry)>,
}

pub(crate) async fn run(world: &mut World, points: usize, broken: Option<Break>) -> Result<String, Failure> {
    refuse_without_root()?;
    if !Path::new("/dev/fuse").exists() {
        return Err(Failure::Skipped("there is no /dev/fuse".into()));
    }
    fs::create_dir(&world.place.data)?;
    let served = world.place.dir.join("disk");
    fs::create_dir(&served)?;
    let mut disk = Disk::new(&served, Image::empty(IMAGE_BYTES))?;
    let (mut played, mut writes, mut flushes, mut promises) = (0, 0, 0, 0);
    while played < points {
        let record = record(world, &mut disk, broken).await?;
        promises += world.recorder.account().acknowledged;
        writes += record.ops.len();
        flushes += record.ops.iter().filter(|op| matches!(op, Op::Flush)).count();
        played += play(world, &mut disk, &record, (points - played).min(POINTS)).await?;
    }
    Ok(format!(
        "{played} power cuts in a record of {writes} writes, {flushes} of them flushes, and {promises} acknowledgements; \
         {} checks of {} jobs",
        world.checks, world.looked_at
    ))
}

/// Lets several daemons live and die on the disk, and remembers everything.
async fn record(world: &mut World, disk: &mut Disk, broken: Option<Break>) -> Result<Record, Failure> {
    disk.insert(Image::empty(IMAGE_BYTES));
    let device = Loop::over(&disk.file(), true)?;
    format(&device.device)?;
    let start = disk.start_record();
    world.record(Rc::new(disk.position()));
    let mount = Mount::new(&device.device, &world.place.data)?;
    let files = broken.map(|broken| match broken {
        Break::LogSync => "log:unsynced",
        Break::HomeSync => "sled:unsynced",
    });
    let library = world.place.programs.faulty.clone().into_os_string();
    let env: Vec<_> = files
        .into_iter()
        .flat_map(|files| [("LD_PRELOAD", library.clone()), ("FAULTY", OsString::from(files))])
        .collect();
    for _ in 0..LIVES {
        world.place.configure(&mut world.rng, "")?;
        let mut daemon = world.place.start(&env)?;
        world.started(&mut daemon).await?;
        let moment = Duration::from_millis(world.rng.u64(LIFE_MS / 4..LIFE_MS));
        let killing = async {
            tokio::time::sleep(moment).await;
            daemon.kill()
        };
        let ((), killed) = tokio::join!(world.load(), killing);
        killed?;
        world.died()?;
    }
    let record = Record { start, ops: disk.end_record(), entries: world.recorder.take_entries() };
    mount.unmount().await?;
    Ok(record)
}

/// Plays power cuts; how many.
async fn play(world: &mut World, disk: &mut Disk, record: &Record, points: usize) -> Result<usize, Failure> {
    let mut places: Vec<usize> = (0..points).map(|_| world.rng.usize(1..=record.ops.len())).collect();
    places.sort_unstable();
    let mut replay = Replay::new(record.start.clone(), &record.ops);
    let mut account = Account::new(world.seed);
    let mut entries = record.entries.iter().peekable();
    for (n, place) in places.iter().enumerate() {
        while let Some((_, entry)) = entries.next_if(|(position, _)| position <= place) {
            account.apply(entry)?;
        }
        let unflushed = [Unflushed::Lost, Unflushed::Written, Unflushed::Mixed][n % 3];
        disk.insert(replay.cut(*place, unflushed, &mut world.rng));
        world.recorder = Recorder::new(account.clone(), None);
        world.recorder.note(Entry::Died);
        let total = record.ops.len();
        let at = format!("power cut after {place} of {total} writes, the unflushed ones {unflushed:?}");
        cut(world, disk).await.map_err(|failure| failure.within(&at))?;
    }
    Ok(places.len())
}

/// The daemon starts on what a power cut has left, and has everything.
async fn cut(world: &mut World, disk: &Disk) -> Result<(), Failure> {
    let device = Loop::over(&disk.file(), true)?;
    let mount = Mount::new(&device.device, &world.place.data)?;
    let mut daemon = world.place.start(&[])?;
    let held = async {
        let client = world.started(&mut daemon).await?;
        world.check_calmly(&client).await
    };
    let held = held.await;
    daemon.kill()?;
    if let Err(failure) = held {
        // The disk goes with this program.
        let copy = world.place.dir.join("data-after-the-cut");
        tool("cp", &["-a".as_ref(), world.place.data.as_os_str(), copy.as_os_str()])?;
        return Err(failure);
    }
    mount.unmount().await?;
    Ok(())
}
