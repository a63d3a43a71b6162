//! Real servers of NATS for tests, each on an address of its own, gone with the test. Whoever includes this file has a function `skipped`
//! beside it, which says that a test cannot run here.

use super::skipped;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// Of the sets of servers in this process.
static SETS: AtomicU16 = AtomicU16::new(0);

pub(crate) struct Servers {
    dir: TempDir,
    program: PathBuf,
    set: u16,
    running: Vec<Option<Child>>,
}

impl Servers {
    /// Starts so many, or says that they cannot be had here.
    pub(crate) fn start(count: usize) -> Option<Servers> {
        let Some(program) = program() else {
            skipped("there is no nats-server");
            return None;
        };
        let (dir, set) = (tempfile::tempdir().unwrap(), SETS.fetch_add(1, Ordering::Relaxed));
        let mut servers = Servers { dir, program, set, running: (0..count).map(|_| None).collect() };
        (0..count).for_each(|nth| servers.start_again(nth));
        Some(servers)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        (0..self.running.len()).map(|nth| format!("nats://{}:{}", host(nth), 4_000 + self.set)).collect()
    }

    /// The name of one, as the servers say it.
    pub(crate) fn name(nth: usize) -> String {
        format!("server-{nth}")
    }

    pub(crate) fn start_again(&mut self, nth: usize) {
        let config = self.dir.path().join(format!("{nth}.conf"));
        std::fs::write(&config, self.config(nth)).unwrap();
        let log = self.dir.path().join(format!("{nth}.log"));
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(config)
            .arg("-l")
            .arg(log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running[nth] = Some(child);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, nth: usize) {
        if let Some(mut child) = self.running[nth].take() {
            let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            child.wait().unwrap();
        }
    }

    /// SIGSTOP, SIGCONT.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn signal(&self, nth: usize, signal: Signal) {
        if let Some(child) = &self.running[nth] {
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    fn config(&self, nth: usize) -> String {
        let (host, set, store) = (host(nth), self.set, self.dir.path().join(Servers::name(nth)));
        // Small messages, so that commits have parts.
        let mut config = format!(
            "server_name: {}\nlisten: \"{host}:{}\"\nmax_payload: 65536\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n",
            Servers::name(nth),
            4_000 + set
        );
        if self.running.len() > 1 {
            let routes: Vec<String> = (0..self.running.len())
                .map(|nth| format!("\"nats-route://{}:{}\"", self::host(nth), 6_000 + set))
                .collect();
            let (port, routes) = (6_000 + set, routes.join(", "));
            writeln!(config, "cluster {{ name: tests, listen: \"{host}:{port}\", routes: [{routes}] }}")
                .unwrap();
        }
        config
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        (0..self.running.len()).for_each(|nth| self.kill(nth));
    }
}

/// All of 127/8 is this machine: what runs at the same time has another address.
fn host(nth: usize) -> String {
    let [high, low] = (std::process::id() as u16).to_be_bytes(); // the lower half is enough to tell neighbours apart
    format!("127.{high}.{low}.{}", nth + 1)
}

fn program() -> Option<PathBuf> {
    let installed = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).map(|dir| dir.join("nats-server")).collect::<Vec<_>>());
    let of_benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/queue-bench/venv/bin/nats-server");
    let of_tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/nats/bin/nats-server");
    installed.chain([of_benches, of_tests]).find(|program| program.is_file())
}
