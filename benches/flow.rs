//! What jobs that wait for others cost a daemon, and those who use it meanwhile, at the limits: `cargo bench --bench flow
//! [-- DIRECTORY]`. It starts a daemon of its own, on the disk of that directory. First: how long others wait for their submits while
//! a group of 10,000 jobs ends for 10,000 that wait for it. Then graphs of 100,000 jobs: how long it takes to submit them in one
//! commit, to find them again after a SIGKILL, to work them off, and to cancel them from their root.

use bytes::Bytes;
use musher::client::Client;
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, EditView, GroupEndView, PurgeView, QueueView, WaitForGroups};
use musher::protocol::{After, AfterWhat, Claim, Condition, JobOptions, Settle, SubmitGroup, Ties, Verdict};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Jobs of a large graph.
const JOBS: u32 = 100_000;
/// Jobs of the group, and jobs that wait for it.
const MEMBERS: u32 = 10_000;
/// How many such groups end.
const ENDS: u32 = 20;
/// Those who submit one job after the other meanwhile.
const OTHERS: usize = 4;
const WORKERS: usize = 4;
/// Jobs of one claim.
const BATCH: u32 = 100;
/// Jobs of one layer of a graph, and of how many of the layer before each waits for.
const LAYER: u32 = 1_000;
const NEEDS: u32 = 3;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let place = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_else(|| ".".to_owned());
    end_of_a_group(Path::new(&place)).await?;
    println!("graphs of {JOBS} jobs, s:    submit    start  work off    cancel");
    for graph in [Graph::Fan, Graph::Layers, Graph::Chain] {
        graph.measure(Path::new(&place)).await?;
    }
    Ok(())
}

/// A daemon, and its directory.
struct Daemon {
    home: TempDir,
    process: Child,
}

impl Daemon {
    async fn start(place: &Path) -> Result<(Daemon, Client), Error> {
        let home = tempfile::tempdir_in(place)?;
        let process = Daemon::run(home.path())?;
        let daemon = Daemon { home, process };
        let client = daemon.client().await?;
        Ok((daemon, client))
    }

    fn run(home: &Path) -> Result<Child, Error> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musher"));
        command.arg("serve").arg("--data").arg(home.join("data")).arg("--socket").arg(home.join("socket"));
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    /// Connects, as soon as it answers.
    async fn client(&self) -> Result<Client, Error> {
        let begun = monotonic();
        loop {
            match Client::connect(self.socket()).await {
                Ok(client) => return Ok(client),
                Err(error) if monotonic() - begun > Duration::from_secs(60) => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Kills it, and starts it again.
    async fn kill(&mut self) -> Result<Client, Error> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = Daemon::run(self.home.path())?;
        self.client().await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is left of it that anybody wants.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A job with these ties that is like no other.
fn job(queue: &str, nth: u32, ties: Ties) -> SubmitGroup {
    let tags = vec![("nth".to_owned(), nth.to_string())];
    let options = JobOptions { queue: queue.into(), tags, ties: Some(ties), ..JobOptions::default() };
    SubmitGroup { options, bodies: vec![Bytes::from(vec![b'x'; 100])] }
}

fn after(on: AfterWhat) -> After {
    After { on, when: Condition::Done }
}

/// Several times, as one lasts a few milliseconds only.
async fn end_of_a_group(place: &Path) -> Result<(), Error> {
    let (daemon, client) = Daemon::start(place).await?;
    let mut quiet = Others::start(&daemon, |count| count < 5_000).await?;
    print("alone", quiet.latencies().await?);
    let (mut latencies, mut longest) = (Vec::new(), Duration::ZERO);
    for nth in 0..ENDS {
        let (took, others) = one_end(&daemon, &client, &format!("album-{nth}")).await?;
        longest = longest.max(took);
        latencies.extend(others);
    }
    print("meanwhile", latencies);
    let longest = longest.as_secs_f64() * 1e3;
    println!(
        "{MEMBERS} jobs that waited for a group of {MEMBERS} are ready after {longest:.1} ms, the longest of {ENDS}"
    );
    Ok(())
}

/// How long it takes until all who wait for a group are ready, and how long the submits of others took meanwhile.
async fn one_end(daemon: &Daemon, client: &Client, name: &str) -> Result<(Duration, Vec<Duration>), Error> {
    let of_group = |seal| Ties { group: Some(name.into()), seal, ..Ties::default() };
    let members = (0..MEMBERS).map(|nth| job("members", nth, of_group(nth + 1 == MEMBERS)));
    client.submit(members.collect()).await?;
    let waits = || Ties { after: vec![after(AfterWhat::Group(name.into()))], ..Ties::default() };
    client.submit((0..MEMBERS).map(|nth| job("waiters", nth, waits())).collect()).await?;
    let claimed = client.claim(Claim { max: MEMBERS, ..claim("members") }).await?;
    let mut settles: Vec<_> =
        claimed.iter().map(|job| Settle { lease: job.lease, verdict: Verdict::Complete }).collect();
    let last = settles.pop().ok_or("no members")?;
    client.settle(settles).await?;

    let (ended, is_over) = watch::channel(false);
    let mut others = Others::start(daemon, move |_| !*is_over.borrow()).await?;
    let begun = monotonic();
    client.settle(vec![last]).await?;
    while ready(client, "waiters").await? < MEMBERS.into() {}
    let took = monotonic() - begun;
    ended.send(true)?;
    let latencies = others.latencies().await?;
    while client.ask::<PurgeView>(AdminRequest::Purge { queue: "waiters".into() }).await?.more {}
    Ok((took, latencies))
}

/// How many jobs of a queue can run.
async fn ready(client: &Client, queue: &str) -> Result<u64, Error> {
    let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await?;
    Ok(queues.iter().find(|view| view.queue == queue).map_or(0, |view| view.ready))
}

/// Those who submit to another queue.
struct Others(JoinSet<Result<Vec<Duration>, Error>>);

impl Others {
    async fn start(
        daemon: &Daemon,
        go_on: impl Fn(usize) -> bool + Clone + Send + Sync + 'static,
    ) -> Result<Others, Error> {
        let mut others = JoinSet::new();
        for _ in 0..OTHERS {
            let (client, go_on) = (daemon.client().await?, go_on.clone());
            others.spawn(async move {
                let mut took = Vec::new();
                while go_on(took.len()) {
                    let begun = monotonic();
                    client.submit(vec![job("others", 0, Ties::default())]).await?;
                    took.push(monotonic() - begun);
                }
                Ok(took)
            });
        }
        Ok(Others(others))
    }

    /// How long each of their submits took.
    async fn latencies(&mut self) -> Result<Vec<Duration>, Error> {
        let mut all = Vec::new();
        while let Some(took) = self.0.join_next().await {
            all.extend(took??);
        }
        Ok(all)
    }
}

fn print(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |thousandth: usize| took[(took.len() - 1) * thousandth / 1000].as_secs_f64() * 1000.0;
    let (p50, p99, max) = (at(500), at(990), at(1000));
    println!(
        "submits of others, {what}, ms: median {p50:.2}, 99 % {p99:.2}, longest {max:.2}, of {}",
        took.len()
    );
}

fn claim(queue: &str) -> Claim {
    Claim { queues: vec![queue.into()], max: BATCH, lease_ms: None, wait_ms: 0, bound: true }
}

/// A shape of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Graph {
    /// All wait for one.
    Fan,
    /// Each job of a layer waits for some of the layer before.
    Layers,
    /// Each waits for the one before.
    Chain,
}

impl Graph {
    /// What a job waits for.
    fn after(self, nth: u32) -> Vec<After> {
        let on = |place: u32| after(AfterWhat::Place(place));
        match self {
            _ if nth == 0 => Vec::new(),
            Graph::Fan => vec![on(0)],
            Graph::Chain => vec![on(nth - 1)],
            Graph::Layers if nth <= LAYER => vec![on(0)],
            Graph::Layers => {
                let (layer, within) = ((nth - 1) / LAYER, (nth - 1) % LAYER);
                (0..NEEDS).map(|n| on(1 + (layer - 1) * LAYER + (within * 7 + n * 331) % LAYER)).collect()
            }
        }
    }

    async fn submit(self, client: &Client) -> Result<(u64, Duration), Error> {
        let ties = |nth| Ties {
            after: self.after(nth),
            group: Some("graph".into()),
            seal: nth + 1 == JOBS,
            ..Ties::default()
        };
        let jobs = (0..JOBS).map(|nth| job("steps", nth, ties(nth))).collect();
        let begun = monotonic();
        let receipts = client.submit(jobs).await?;
        Ok((receipts.first_id(), monotonic() - begun))
    }

    async fn measure(self, place: &Path) -> Result<(), Error> {
        let (mut daemon, client) = Daemon::start(place).await?;
        let (_, submit) = self.submit(&client).await?;
        let begun = monotonic();
        let client = daemon.kill().await?;
        let start = monotonic() - begun;
        // One step at a time shows how long a job takes, not what the graph costs.
        let work = if self == Graph::Chain { None } else { Some(work_off(&daemon, &client).await?) };
        drop(daemon);

        let (daemon, client) = Daemon::start(place).await?;
        let (root, _) = self.submit(&client).await?;
        let begun = monotonic();
        let cancel = AdminRequest::Edit {
            edit: "cancel".into(),
            ids: vec![root],
            state: None,
            queue: None,
            to: None,
            priority: None,
        };
        client.ask::<Vec<EditView>>(cancel).await?;
        let end = end(&client).await?;
        let cancel = monotonic() - begun;
        if end.counts.cancelled != u64::from(JOBS) {
            return Err(format!("not all are cancelled: {end:?}").into());
        }
        drop(daemon);
        let secs = |took: Duration| format!("{:.2}", took.as_secs_f64());
        let (name, work) = (format!("{self:?}"), work.map_or_else(|| "-".to_owned(), secs));
        println!("{name:<25} {:>8} {:>8} {work:>9} {:>9}", secs(submit), secs(start), secs(cancel));
        Ok(())
    }
}

/// Waits until all jobs of the graph have ended.
async fn end(client: &Client) -> Result<GroupEndView, Error> {
    let groups = vec!["graph".to_owned()];
    let wait = WaitForGroups { groups, first_error: false, timeout_ms: None };
    Ok(client.wait_for_groups(wait).await?.pop().ok_or("one answer a group")?)
}

/// Claims and completes all jobs.
async fn work_off(daemon: &Daemon, client: &Client) -> Result<Duration, Error> {
    let begun = monotonic();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(daemon.client().await?));
    }
    let end = end(client).await?;
    let took = monotonic() - begun;
    workers.shutdown().await;
    match end.counts.done == u64::from(JOBS) {
        true => Ok(took),
        false => Err(format!("not all are done: {end:?}").into()),
    }
}

/// Claims and completes jobs without end.
async fn work(client: Client) -> Result<Infallible, Error> {
    loop {
        let jobs = client.claim(Claim { wait_ms: u64::MAX, ..claim("steps") }).await?;
        let settles = jobs.iter().map(|job| Settle { lease: job.lease, verdict: Verdict::Complete });
        client.settle(settles.collect()).await?;
    }
}
