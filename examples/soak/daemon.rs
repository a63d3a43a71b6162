//! The daemon as a child process: the program of the same profile as this one, with a directory of its own. It is killed
//! when it is forgotten.

use fastrand::Rng;
use musher::client::Client;
use musher::clock::monotonic;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What this program starts; built if it was started by cargo, so that it is never an old one.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    daemon: PathBuf,
    pub(crate) faulty: PathBuf,
}

impl Programs {
    pub(crate) fn find() -> io::Result<Programs> {
        let this = std::env::current_exe()?;
        let examples = this.parent().ok_or_else(|| io::Error::other("this program is nowhere"))?;
        let dir = examples.parent().ok_or_else(|| io::Error::other("this program is nowhere"))?;
        if let Some(cargo) = std::env::var_os("CARGO") {
            let profile = match dir.file_name().and_then(|name| name.to_str()) {
                None | Some("debug") => "dev",
                Some(name) => name,
            };
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--locked", "--bin", "musher", "--example", "faulty"]);
            if !build.args(["--profile", profile]).status()?.success() {
                return Err(io::Error::other("the daemon cannot be built"));
            }
        }
        Ok(Programs { daemon: dir.join("musher"), faulty: examples.join("libfaulty.so") })
    }
}

/// Where a daemon lives.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) programs: Programs,
    /// Configuration, socket, what the daemon says.
    pub(crate) dir: PathBuf,
    pub(crate) data: PathBuf,
}

impl Place {
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// A verb of the program, with this configuration.
    pub(crate) fn verb(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.daemon);
        command.args(args).arg("--config").arg(self.dir.join("musher.toml"));
        command
    }

    fn said(&self) -> PathBuf {
        self.dir.join("said")
    }

    /// Everything that the last daemon has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.said()).unwrap_or_default()
    }

    /// Small log files and quick checkpoints, so that much of it happens in a short life. Their size changes from life
    /// to life.
    pub(crate) fn configure(&self, rng: &mut Rng, more: &str) -> io::Result<()> {
        let log_file = ["64KiB", "256KiB", "1MiB"][rng.usize(..3)];
        let checkpoint = ["10ms", "50ms", "300ms"][rng.usize(..3)];
        // Written anew after every checkpoint, or as users have it.
        let shrink_above = ["0B", "0B", "32MiB"][rng.usize(..3)];
        let queue = "crashes = 1000000\nbackoff = { base = \"20ms\", max = \"100ms\" }\n";
        let text = format!(
            "[storage]\nlog_file = \"{log_file}\"\ncheckpoint = \"{checkpoint}\"\nballast = \"0B\"\n\
             shrink_above = \"{shrink_above}\"\n\
             [limits]\ndisk_reserve = \"0B\"\n\
             [queues.first]\n{queue}[queues.second]\n{queue}\
             [queues.kept]\nkeep = {{ done = \"forever\" }}\n{queue}{more}"
        );
        fs::write(self.dir.join("musher.toml"), text)
    }

    /// Starts a daemon with more in its environment.
    pub(crate) fn start(&self, env: &[(&str, OsString)]) -> io::Result<Daemon> {
        let mut command = Command::new(&self.programs.daemon);
        command.args(["serve", "--config"]).arg(self.dir.join("musher.toml"));
        command.arg("--data").arg(&self.data).arg("--socket").arg(self.socket());
        command
            .env("NO_COLOR", "1")
            .env_remove("MUSHER_LOG")
            .envs(env.iter().map(|(name, value)| (name, value)));
        // What the one before it has said is kept, for whoever wants to know why it has ended.
        let _ = fs::rename(self.said(), self.dir.join("said.before"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(self.said())?);
        Ok(Daemon { child: command.spawn()?, socket: self.socket() })
    }
}

/// A daemon that runs.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Waits until it answers; `Err` if it has ended before.
    pub(crate) async fn answers(&mut self) -> io::Result<Result<Client, ExitStatus>> {
        let deadline = monotonic() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Err(status));
            }
            if let Ok(client) = Client::connect(&self.socket).await {
                return Ok(Ok(client));
            }
            if monotonic() > deadline {
                return Err(io::Error::other(format!("the daemon does not answer within {PATIENCE:?}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits for its end, for so long.
    pub(crate) async fn ended_within(&mut self, time: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = monotonic() + time;
        loop {
            match self.child.try_wait()? {
                None if monotonic() < deadline => tokio::time::sleep(LOOK_AGAIN).await,
                ended => return Ok(ended),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        Ok(rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)?)
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Stops it as an operator does.
    pub(crate) async fn stop(mut self) -> io::Result<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = self.ended_within(PATIENCE).await?;
        ended.ok_or_else(|| io::Error::other(format!("the daemon does not stop within {PATIENCE:?}")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of what a daemon said.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
