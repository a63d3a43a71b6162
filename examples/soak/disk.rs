//! A small ext4 of one's own on a loop device, and what can be done to it. Needs root. Whatever is mounted is unmounted when
//! it is forgotten, and what a former run has left because it was killed is cleared at the start.

use crate::world::Failure;
use musher::clock::monotonic;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Directories of runs begin with this, followed by the process.
pub(crate) const RUN: &str = "musher-soak-";

/// How long a file system that nobody uses any more may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`, and the flag that keeps it from flushing its journal first: everything that
/// was not synced is lost, and nothing more reaches the device.
const EXT4_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
const NO_LOG_FLUSH: u32 = 2;

/// Runs a tool of the system; what it said if it fails.
pub(crate) fn tool(program: &str, arguments: &[&OsStr]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("{program} {arguments:?}: {}", said.trim())))
        }
    }
}

/// Says why no disk can be made here, if so.
pub(crate) fn refuse_without_root() -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::Skipped("mounting needs root".into()));
    }
    for needed in ["/dev/loop-control"] {
        if !Path::new(needed).exists() {
            return Err(Failure::Skipped(format!("there is no {needed}")));
        }
    }
    for needed in ["mkfs.ext4", "losetup", "mount", "umount"] {
        if Command::new(needed).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
        {
            return Err(Failure::Skipped(format!("the tool {needed} is missing")));
        }
    }
    Ok(())
}

/// A loop device over a file; gone when it is forgotten.
pub(crate) struct Loop {
    pub(crate) device: PathBuf,
}

impl Loop {
    /// With `direct`, writes and flushes reach the file as they come, and nothing is cached in between.
    pub(crate) fn over(file: &Path, direct: bool) -> io::Result<Loop> {
        let mut arguments: Vec<&OsStr> = ["--find", "--show"].map(OsStr::new).to_vec();
        if direct {
            arguments.push("--direct-io=on".as_ref());
        }
        arguments.push(file.as_os_str());
        let device = tool("losetup", &arguments)
            .map_err(|error| io::Error::other(format!("no loop device over {}: {error}", file.display())))?;
        Ok(Loop { device: device.into() })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = tool("losetup", &["-d".as_ref(), self.device.as_os_str()]); // the next start clears it
    }
}

/// Makes a small file system.
pub(crate) fn format(device: &Path) -> io::Result<()> {
    let options = "lazy_itable_init=0,lazy_journal_init=0";
    let arguments = ["-q", "-F", "-b", "4096", "-J", "size=4", "-E", options].map(OsStr::new);
    tool("mkfs.ext4", &[&arguments[..], &[device.as_os_str()]].concat()).map(drop)
}

/// A mounted file system; unmounted when it is forgotten.
pub(crate) struct Mount {
    at: PathBuf,
}

impl Mount {
    pub(crate) fn new(device: &Path, at: &Path) -> io::Result<Mount> {
        tool("mount", &["-t".as_ref(), "ext4".as_ref(), device.as_os_str(), at.as_os_str()])?;
        Ok(Mount { at: at.to_owned() })
    }

    /// One in memory, with nothing in it.
    pub(crate) fn in_memory(at: &Path, size: &str) -> io::Result<Mount> {
        tool(
            "mount",
            &["-t", "tmpfs", "-o", size, "tmpfs"]
                .map(OsStr::new)
                .into_iter()
                .chain([at.as_os_str()])
                .collect::<Vec<_>>(),
        )?;
        Ok(Mount { at: at.to_owned() })
    }

    /// The power goes.
    pub(crate) fn cut(&self) -> io::Result<()> {
        let (dir, flags) = (File::open(&self.at)?, NO_LOG_FLUSH);
        // SAFETY: the descriptor is open, and the third argument is a valid pointer to the u32 that this call reads.
        let done = unsafe { libc::ioctl(dir.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const flags) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The file system finds an error in itself and takes no more writes.
    pub(crate) fn turn_read_only(&self) -> io::Result<()> {
        tool("mount", &["-o".as_ref(), "remount,abort".as_ref(), self.at.as_os_str()]).map(drop)
    }

    /// Waits for those who still use it.
    pub(crate) async fn unmount(self) -> io::Result<()> {
        let deadline = monotonic() + PATIENCE;
        while let Err(error) = tool("umount", &[self.at.as_os_str()]) {
            if monotonic() > deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = tool("umount", &["--lazy".as_ref(), self.at.as_os_str()]); // the next start clears it
    }
}

/// Clears what runs have left under a directory whose processes are dead.
pub(crate) fn clear_former_runs(under: &Path) -> io::Result<()> {
    for entry in fs::read_dir(under)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUN)?.split('-').next());
        let Some(pid) = pid.filter(|pid| pid.parse::<u32>().is_ok()) else { continue };
        if Path::new("/proc").join(pid).exists() {
            continue;
        }
        let (dir, loops) = (entry.path(), loops()?);
        for (_, place) in mounts()?.iter().rev().filter(|(_, place)| place.starts_with(&dir)) {
            tool("umount", &["--lazy".as_ref(), place.as_os_str()])?;
        }
        for (device, _) in loops.iter().filter(|(_, file)| file.starts_with(&dir)) {
            tool("losetup", &["-d".as_ref(), device.as_os_str()])?;
        }
        fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

/// What is mounted, and where.
fn mounts() -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let text = fs::read_to_string("/proc/self/mounts")?;
    let pair = |line: &str| {
        let mut words = line.split_whitespace().map(PathBuf::from);
        Some((words.next()?, words.next()?))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// Loop devices and the files under them.
fn loops() -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        if let Ok(file) = fs::read_to_string(entry.path().join("loop/backing_file")) {
            found.push((Path::new("/dev").join(entry.file_name()), PathBuf::from(file.trim())));
        }
    }
    Ok(found)
}
