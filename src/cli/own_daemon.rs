//! A temporary daemon for the demo and the benchmark, in a temporary directory. It ends with the verb.

use super::exit::Failure;
use crate::client::Client;
use crate::clock;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long any step may take.
pub(super) const STEP_TIME_MAX: Duration = Duration::from_secs(120);

/// A temporary directory with a configuration; it goes with everything in it.
pub(super) struct Home(PathBuf);

impl Home {
    /// Makes it in `dir`, for a daemon with these queues (as the configuration has them).
    pub(super) fn make(dir: &Path, queues: impl FnOnce(&Path) -> String) -> io::Result<Home> {
        let path = dir.join(format!("musher-own-{}-{}", std::process::id(), clock::wall().0));
        std::fs::create_dir(&path)?;
        let home = Home(path);
        let config = format!(
            "[daemon]\ndata = {:?}\nsocket = {:?}\ndrain_timeout = \"5s\"\n[limits]\ndisk_reserve = \"0B\"\n{}",
            home.path().join("data"),
            home.socket(),
            queues(home.path())
        );
        std::fs::write(home.config(), config)?;
        Ok(home)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("musher.sock")
    }

    fn config(&self) -> PathBuf {
        self.0.join("musher.toml")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What stays behind is in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A daemon; it dies with this.
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts it and connects; says how long that took.
    pub(super) async fn start(home: &Home) -> Result<(Daemon, Client, Duration), Failure> {
        let begun = clock::monotonic();
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", "--config"])
            .arg(home.config())
            .env_remove("MUSHER_SOCKET")
            .env("MUSHER_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut daemon = Daemon(child);
        let client = connect(&home.socket(), &mut daemon).await?;
        Ok((daemon, client, clock::monotonic() - begun))
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.0.id() as i32) {
            // One that is gone already needs no signal.
            let _ = kill_process(pid, signal);
        }
    }

    pub(super) async fn ended(&mut self) -> Result<(), Failure> {
        let look = async {
            while self.0.try_wait()?.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
            io::Result::Ok(())
        };
        timeout(STEP_TIME_MAX, look).await.map_err(|_| Failure::failed("the daemon does not end"))??;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; then both say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn connect(socket: &Path, daemon: &mut Daemon) -> Result<Client, Failure> {
    let look = async {
        loop {
            if let Ok(client) = Client::connect(socket).await {
                return Ok(client);
            }
            if let Some(status) = daemon.0.try_wait()? {
                return Err(Failure::failed(format!("the daemon did not start: {status}")));
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(STEP_TIME_MAX, look).await.map_err(|_| Failure::failed("the daemon does not answer"))?
}
