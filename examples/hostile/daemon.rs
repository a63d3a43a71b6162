//! The daemon under attack: a process of its own with a directory of its own, and what the kernel knows of it.

use crate::Error;
use musher::client::Client;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// Connections that the daemon takes: fewer than `crowd` opens.
pub(crate) const CONNECTIONS: u64 = 4096;
/// The longest body, so that answers are as large as they get.
pub(crate) const BODY: usize = 1 << 20;

/// The bound of `docs/reliability.md` for the settings of [`config`].
pub(crate) fn memory_bound() -> u64 {
    let (daemon, cache, commit, output) = (96 * MIB, 2 * 64 * MIB, 8 * MIB, 64 * MIB);
    let (buffers, frame) = (256 * MIB, 32 * MIB);
    let unread_and_unsent = buffers + CONNECTIONS * (40 << 10);
    let waiting = buffers;
    let read = 13 * frame;
    let written = 2 * (commit + frame);
    daemon + cache + output + unread_and_unsent + waiting + read + written + web_bound(frame)
}

/// What HTTP adds to it.
fn web_bound(frame: u64) -> u64 {
    let (bodies, answers, streams, connections) = (3 * 64 * MIB, 64 * MIB + frame, 64 * MIB, 16 * MIB);
    bodies + answers + streams + connections
}

/// What the good client and the attackers have for HTTP.
pub(crate) const TOKENS: [&str; 2] =
    ["good-client-0123456789abcdef0123456789", "hostile-0123456789abcdef0123456789abcdef"];
/// Whose the attackers' token is: they may do what everybody may, and all of their requests are one user's.
const HOSTILE_USER: u32 = 4_242;

fn config(home: &Path) -> String {
    format!(
        "[daemon]\nhttp = \"127.0.0.1:0\"\nhttp_tokens = {:?}\n[storage]\nballast = \"0B\"\n[limits]\ndisk_reserve = \"0B\"\nconnections = {CONNECTIONS}\n\
         [queues.flood]\nbacklog = 10000\n[queues.commands]\nworkers = 0\n",
        home.join("tokens")
    )
}

/// A running daemon. It is killed, and its directory removed, when this goes.
pub(crate) struct Daemon {
    home: PathBuf,
    child: Child,
}

impl Daemon {
    pub(crate) async fn start() -> Result<Daemon, Error> {
        let home = std::env::temp_dir().join(format!("musher-hostile-{}", std::process::id()));
        fs::create_dir(&home)?;
        fs::write(home.join("musher.toml"), config(&home))?;
        let tokens = OpenOptions::new().write(true).create_new(true).mode(0o600).open(home.join("tokens"))?;
        writeln!(&tokens, "{} {}\n{HOSTILE_USER} {}", rustix::process::geteuid(), TOKENS[0], TOKENS[1])?;
        let child = spawn(&home)?;
        let daemon = Daemon { home, child };
        daemon.until_it_answers().await?;
        Ok(daemon)
    }

    pub(crate) async fn kill_and_start(mut self) -> Result<Daemon, Error> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&self.home)?;
        self.until_it_answers().await?;
        Ok(self)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("socket")
    }

    /// Where HTTP is served.
    pub(crate) fn web(&self) -> Result<String, Error> {
        let log = fs::read_to_string(self.home.join("log.txt"))?;
        let said = log.rsplit("serving HTTP at ").next().and_then(|rest| rest.split(',').next());
        Ok(said.filter(|said| said.len() < log.len()).ok_or("HTTP is not served")?.to_owned())
    }

    async fn until_it_answers(&self) -> Result<(), Error> {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = Client::connect(self.socket()).await {
            if Instant::now() > deadline {
                return Err(error.into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }

    /// The most memory that it has had at a time, in bytes.
    pub(crate) fn peak(&self) -> Result<u64, Error> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak of memory")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Sets the peak to what it has now.
    pub(crate) fn forget_peak(&self) -> Result<(), Error> {
        Ok(fs::write(self.proc("clear_refs"), "5")?)
    }

    /// How many file descriptors it has open.
    pub(crate) fn descriptors(&self) -> Result<usize, Error> {
        Ok(fs::read_dir(self.proc("fd"))?.count())
    }

    /// Waits until no more than `count` are open, and says how many are at last.
    pub(crate) async fn until_descriptors(&self, count: usize) -> Result<usize, Error> {
        // Files of the log come and go.
        const SOME: usize = 4;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let open = self.descriptors()?;
            if open <= count + SOME || Instant::now() > deadline {
                return Ok(if open <= count + SOME { open.min(count) } else { open });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, and the directory may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn spawn(home: &Path) -> Result<Child, Error> {
    let log = fs::File::options().append(true).create(true).open(home.join("log.txt"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--config").arg(home.join("musher.toml"));
    command.arg("--data").arg(home.join("data")).arg("--socket").arg(home.join("socket"));
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?)
}
