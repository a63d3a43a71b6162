//! Real servers of NATS for tests, each on an address of its own, gone with the test. Whoever includes this file has a function `skipped`
//! beside it, which says that a test cannot run here.

use super::skipped;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// Of the sets of servers in this process.
static SETS: AtomicU16 = AtomicU16::new(0);

/// Where nobody listens: a server that is told to be there is not found by others on a way of their own.
const NOWHERE: &str = "127.0.0.1:1";

pub(crate) struct Servers {
    dir: PathBuf,
    _temporary: Option<TempDir>,
    program: PathBuf,
    set: u16,
    running: Vec<Option<Child>>,
    /// By which addresses one gets to another, where that is not its own: `[from][to]`.
    links: Option<Vec<Vec<SocketAddr>>>,
    /// The configuration of the first one, for 10.0.0.1 to 10.0.0.3, if it is not one of tests.
    example: Option<String>,
    /// What is in the configuration of each besides.
    more: String,
}

impl Servers {
    /// Starts so many, or says that they cannot be had here.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn start(count: usize) -> Option<Servers> {
        let dir = tempfile::tempdir().unwrap();
        let mut servers = Servers::within(dir.path(), count)?;
        servers._temporary = Some(dir);
        (0..count).for_each(|nth| servers.start_again(nth));
        Some(servers)
    }

    /// So many, of which none runs yet, with everything in this directory; or says that they cannot be had here.
    pub(crate) fn within(dir: &Path, count: usize) -> Option<Servers> {
        let Some(program) = program() else {
            skipped("there is no nats-server");
            return None;
        };
        let set = SETS.fetch_add(1, Ordering::Relaxed);
        let running = (0..count).map(|_| None).collect();
        Some(Servers {
            dir: dir.to_owned(),
            _temporary: None,
            program,
            set,
            running,
            links: None,
            example: None,
            more: String::new(),
        })
    }

    /// From their next start on one gets to another by `links[from][to]` only, and clients are told of no other addresses either.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn go_by(&mut self, links: Vec<Vec<SocketAddr>>) {
        self.links = Some(links);
    }

    /// From their next start on they have the configuration of an example for three machines.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn configure_as(&mut self, example: String) {
        self.example = Some(example);
    }

    /// From their next start on this is in the configuration of each besides.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn configure_besides(&mut self, more: String) {
        self.more = more;
    }

    /// What an example says of three machines, of these.
    pub(crate) fn moved_here(&self, example: &str) -> String {
        let moved = (0..self.running.len()).fold(example.to_owned(), |text, nth| {
            text.replace(&format!("10.0.0.{}:4222", nth + 1), &self.for_clients(nth).to_string())
                .replace(&format!("10.0.0.{}:6222", nth + 1), &self.for_servers(nth).to_string())
        });
        assert!(!moved.contains("10.0.0."), "{moved}");
        moved
    }

    /// Where one listens for clients.
    pub(crate) fn for_clients(&self, nth: usize) -> SocketAddr {
        (host(nth), 4_000 + self.set).into()
    }

    /// Where one listens for the other servers.
    pub(crate) fn for_servers(&self, nth: usize) -> SocketAddr {
        (host(nth), 6_000 + self.set).into()
    }

    /// Where one has the stream.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn store(&self, nth: usize) -> PathBuf {
        self.dir.join(Servers::name(nth))
    }

    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn urls(&self) -> Vec<String> {
        (0..self.running.len()).map(|nth| format!("nats://{}", self.for_clients(nth))).collect()
    }

    /// The name of one, as the servers say it.
    pub(crate) fn name(nth: usize) -> String {
        format!("server-{nth}")
    }

    pub(crate) fn start_again(&mut self, nth: usize) {
        let config = self.dir.join(format!("{nth}.conf"));
        std::fs::write(&config, self.config(nth)).unwrap();
        let log = self.dir.join(format!("{nth}.log"));
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
        let store = self.store(nth);
        if let Some(example) = &self.example {
            let own = example
                .replace("server_name: one", &format!("server_name: {}", Servers::name(nth)))
                .replace("listen: \"10.0.0.1:", &format!("listen: \"10.0.0.{}:", nth + 1))
                .replace("\"/var/lib/nats\"", &format!("{store:?}"))
                .replace("\"127.0.0.1:8222\"", &format!("\"{}:{}\"", host(nth), 8_000 + self.set));
            return self.moved_here(&own);
        }
        // Small messages, so that commits have parts.
        let mut config = format!(
            "server_name: {}\nlisten: \"{}\"\nmax_payload: 65536\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n{}\n",
            Servers::name(nth),
            self.for_clients(nth),
            self.more,
        );
        let count = self.running.len();
        if count > 1 {
            let (routes, more): (Vec<SocketAddr>, _) = match &self.links {
                None => ((0..count).map(|nth| self.for_servers(nth)).collect(), String::new()),
                Some(links) => (
                    (0..count).filter(|to| *to != nth).map(|to| links[nth][to]).collect(),
                    format!(", no_advertise: true, advertise: \"{NOWHERE}\""),
                ),
            };
            let routes: Vec<String> = routes.iter().map(|at| format!("\"nats-route://{at}\"")).collect();
            let (listen, routes) = (self.for_servers(nth), routes.join(", "));
            writeln!(config, "cluster {{ name: tests, listen: \"{listen}\", routes: [{routes}]{more} }}")
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
fn host(nth: usize) -> Ipv4Addr {
    let [high, low] = (std::process::id() as u16).to_be_bytes(); // the lower half is enough to tell neighbours apart
    Ipv4Addr::new(127, high, low, nth as u8 + 1)
}

fn program() -> Option<PathBuf> {
    let installed = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).map(|dir| dir.join("nats-server")).collect::<Vec<_>>());
    let of_benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/queue-bench/venv/bin/nats-server");
    let of_tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/nats/bin/nats-server");
    installed.chain([of_benches, of_tests]).find(|program| program.is_file())
}
