//! Writes and syncs that fail: the nth of them, on the log or on the database, with an I/O error or for want of space, by way of
//! a library that is loaded before the daemon (`examples/faulty.rs`); and a file system that turns read-only. The daemon ends
//! loudly where it must, answers nothing after the failure, and its next start finds everything that it acknowledged.

use crate::daemon::tail;
use crate::disk::{Loop, Mount, format, refuse_without_root};
use crate::world::{Failure, World};
use fastrand::Rng;
use std::ffi::OsString;
use std::fs::{self, File};
use std::process::ExitStatus;
use std::time::Duration;

/// How long the fault may take to strike: a number may be too high for one life.
const STRIKE: Duration = Duration::from_millis(1_500);
/// How long the daemon may take to end after it.
const END: Duration = Duration::from_secs(20);
/// One life in so many is on a file system that turns read-only.
const READ_ONLY: u64 = 10;

/// The file that says that the fault struck.
const HIT: &str = "hit";

struct Fault {
    files: &'static str,
    call: &'static str,
    nth: u64,
    errno: i32,
}

impl Fault {
    fn random(rng: &mut Rng) -> Fault {
        let files =
            ["log", "log", "log", "new", "mark", "logdir", "sled", "sled", "copy", "copy"][rng.usize(..10)];
        let call = match files {
            "mark" => "write",
            "logdir" => "sync",
            _ => ["write", "sync"][rng.usize(..2)],
        };
        let most = if files == "logdir" || files == "new" { 8 } else { 1 << rng.u32(1..9) };
        let errno = [libc::EIO, libc::ENOSPC][rng.usize(..2)];
        Fault { files, call, nth: rng.u64(..most), errno }
    }

    /// Whether nobody can go on after it. Where space is missing for a write, there may be some the next time; a file made in
    /// advance is not needed; the mark is a help only; and of a copy of the database there is the original.
    fn is_final(&self) -> bool {
        let full = self.errno == libc::ENOSPC;
        match (self.files, self.call) {
            ("log", "sync") => true,
            ("log" | "sled", _) => !full,
            _ => false,
        }
    }

    fn shown(&self) -> String {
        let Fault { files, call, nth, errno } = self;
        let error = std::io::Error::from_raw_os_error(*errno);
        format!("{call} number {nth} on {files} fails: {error}")
    }
}

pub(crate) async fn run(world: &mut World, rounds: u64) -> Result<String, Failure> {
    let (mut struck, mut ended) = (0, 0);
    let disk = refuse_without_root();
    let mut read_only = 0;
    for round in 0..rounds {
        if round % READ_ONLY == READ_ONLY - 1 && disk.is_ok() {
            turned_read_only(world)
                .await
                .map_err(|failure| failure.within(&format!("round {round}, read-only")))?;
            read_only += 1;
            continue;
        }
        let fault = Fault::random(&mut world.rng);
        let (hit, end) = life(world, &fault)
            .await
            .map_err(|failure| failure.within(&format!("round {round}, {}", fault.shown())))?;
        struck += u64::from(hit);
        ended += u64::from(end);
        restart(world)
            .await
            .map_err(|failure| failure.within(&format!("round {round}, after {}", fault.shown())))?;
    }
    if let Err(why) = disk {
        println!("without file systems that turn read-only: {why}");
    }
    let count = format!(
        "{struck} errors of {} planned ({ended} ended the daemon), {read_only} times read-only",
        rounds - read_only
    );
    Ok(format!("{count}, {}", world.summary()))
}

/// Without a fault everything is there.
async fn restart(world: &mut World) -> Result<(), Failure> {
    let mut daemon = world.place.start(&[])?;
    let client = world.started(&mut daemon).await?;
    world.check_calmly(&client).await?;
    daemon.kill()?;
    world.died()
}

/// Whether the fault struck, and whether the daemon ended by it.
async fn life(world: &mut World, fault: &Fault) -> Result<(bool, bool), Failure> {
    world.place.configure(&mut world.rng, "")?;
    let hit = world.place.dir.join(HIT);
    let _ = fs::remove_file(&hit); // there is none from a life that was not struck
    let Fault { files, call, nth, errno } = fault;
    let env = [
        ("LD_PRELOAD", world.place.programs.faulty.clone().into_os_string()),
        ("FAULTY", OsString::from(format!("{files}:{call}:{nth}:{errno}"))),
        ("FAULTY_HIT", hit.clone().into_os_string()),
    ];
    let mut daemon = world.place.start(&env)?;
    let ended = match daemon.answers().await? {
        Err(status) => Some(status),
        Ok(_) => {
            let load = world.load();
            let watching = async move {
                let ended = match daemon.ended_within(STRIKE).await {
                    Ok(None) if hit.exists() && fault.is_final() => daemon.ended_within(END).await,
                    ended => ended,
                };
                // The load ends with the daemon, which ends here at the latest.
                drop(daemon);
                ended
            };
            let ((), ended) = tokio::join!(load, watching);
            ended?
        }
    };
    let struck = world.place.dir.join(HIT).exists();
    match ended {
        Some(status) => loud_end(world, status, struck)?,
        None if struck && fault.is_final() => {
            return Err(Failure::Broken("the daemon went on after it".into()));
        }
        None => {}
    }
    world.died()?;
    Ok((struck, ended.is_some()))
}

/// The end is told by an exit code and in words.
fn loud_end(world: &World, status: ExitStatus, struck: bool) -> Result<(), Failure> {
    let said = world.place.log();
    let last = tail(&said, 1);
    if !struck || status.code() != Some(1) || !last.starts_with("musher: ") || said.contains("panicked") {
        return Err(Failure::Broken(format!(
            "the daemon ended with {status}, and said:\n{}",
            tail(&said, 12)
        )));
    }
    Ok(())
}

/// A life on a file system that finds an error in itself.
async fn turned_read_only(world: &mut World) -> Result<(), Failure> {
    let mut other = world.aside()?;
    let image = other.place.dir.join("image");
    File::create(&image)?.set_len(256 << 20)?;
    let device = Loop::over(&image, false)?;
    format(&device.device)?;
    fs::create_dir_all(&other.place.data)?;
    let mount = Mount::new(&device.device, &other.place.data)?;
    let ended = {
        other.place.configure(&mut other.rng, "")?;
        let mut daemon = other.place.start(&[])?;
        other.started(&mut daemon).await?;
        let moment = Duration::from_millis(other.rng.u64(..500));
        let recorder = other.recorder.clone();
        let turning = async {
            tokio::time::sleep(moment).await;
            // While it turns, ext4 may answer a sync with success and lose it: a mere loop of write and fdatasync lost one at one
            // of 30 turns (Linux 6.18). Later ones fail.
            recorder.stop();
            mount.turn_read_only()?;
            daemon.ended_within(END).await
        };
        let ((), ended) = tokio::join!(other.load(), turning);
        ended?
    };
    let Some(status) = ended else { return Err(Failure::Broken("the daemon went on".into())) };
    loud_end(&other, status, true)?;
    other.died()?;
    mount.unmount().await?;
    let mount = Mount::new(&device.device, &other.place.data)?;
    restart(&mut other).await?;
    mount.unmount().await?;
    Ok(world.took(&other)?)
}
