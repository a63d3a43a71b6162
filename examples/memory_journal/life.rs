//! One life of the journal's process: it opens what is there, reads on where it was, works, watches itself, and ends when all is
//! done or when it is told to. Tasks are ended from the front to the back: who captures, who works, who watches, who is told of it;
//! then the queue closes.

use super::Error;
use super::archive::Archive;
use super::events::{Events, WhenFull};
use super::jobs;
use super::journal::{Event, Journal, say};
use super::queue::Queue;
use super::shelf::{Passage, passages};
use super::stats::{Snapshot, Stats};
use super::store::{Shelf, Store};
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, QueueView};
use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long what runs may go on when the process is told to end; all of the end is within 30 seconds.
const GRACE: Duration = Duration::from_secs(15);
/// How many passages are read at a time.
const READERS: usize = 4;
/// Reading waits when so many memories are captured and not closed, so that what follows keeps pace.
const LEAD: u32 = 24;
/// How many events may wait for the feed.
const EVENTS: usize = 16;
const MONITOR_EVERY: Duration = Duration::from_millis(500);
/// How often the last one looks whether nothing is left.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What a life is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) directory: PathBuf,
    /// Of a daemon; without it the queue is embedded.
    pub(crate) socket: Option<PathBuf>,
    /// How many passages to read.
    pub(crate) memories: usize,
    pub(crate) when_full: WhenFull,
    /// Whether its first consolidation stands still until the process is killed.
    pub(crate) stands_still: bool,
}

/// Lives until all is done, or until `told_to_end`.
pub(crate) async fn live(life: &Life, told_to_end: impl Future<Output = ()>) -> Result<(), Error> {
    let queue = Queue::open(&life.directory, life.socket.as_deref()).await?;
    let client = queue.client().await?;
    let journal = open(life)?;
    let [reading, working, watching] = [(); 3].map(|()| CancellationToken::new());

    let worker = journal.serve(queue.worker().grace(GRACE));
    let mut worker = tokio::spawn(worker.run_until(working.clone().cancelled_owned()));
    let mut watchers: JoinSet<Result<(), Error>> = JoinSet::new();
    watchers.spawn(monitor(client.clone(), watching.clone()));
    watchers.spawn(report(journal.stats.clone(), watching.clone()));
    watchers.spawn(feed(journal.events.clone(), life.directory.join("feed.jsonl")));
    let mut readers = tokio::spawn(read_all(journal.clone(), client.clone(), life.memories, reading.clone()));

    // Whatever comes first. Only readers end by themselves; the first error of any task is the error of this life.
    let mut ended: Result<(), Error> = tokio::select! {
        read = &mut readers => read?,
        () = told_to_end => {
            say("told to end");
            Ok(())
        }
        early = &mut worker => early?.map_err(Error::from).and(Err("the worker has ended early".into())),
        Some(early) = watchers.join_next() => early?.and(Err("a watcher has ended early".into())),
    };
    reading.cancel();
    if !readers.is_finished() {
        ended = ended.and(readers.await?);
    }
    working.cancel();
    if !worker.is_finished() {
        ended = ended.and(worker.await?.map_err(Error::from));
    }
    watching.cancel();
    journal.events.close();
    while let Some(watcher) = watchers.join_next().await {
        ended = ended.and(watcher?);
    }
    drop(client);
    queue.close().await?;
    let counts = journal.events.counts();
    say(&format!(
        "events: {} published, {} delivered, {} dropped",
        counts.published, counts.delivered, counts.dropped
    ));
    if counts.published != counts.delivered + counts.dropped {
        ended = ended.and(Err("an event is neither delivered nor counted as dropped".into()));
    }
    say(&format!("ends with: {}", journal.stats.snapshot().line()));
    ended
}

fn open(life: &Life) -> Result<Arc<Journal>, Error> {
    let store = Store::open(&life.directory.join("store"))?;
    let archive = Archive::open(store.clone())?;
    let consolidated =
        |name: &String| store.get::<super::consolidate::Consolidation>(Shelf::Consolidations, name);
    let mut in_consolidations = 0;
    for name in store.names(Shelf::Consolidations)? {
        in_consolidations += consolidated(&name)?.map_or(0, |it| it.members.len());
    }
    let closed = store.names(Shelf::Closed)?.len();
    let stats = Stats::starting_at(archive.all().len() as u32, closed as u32, in_consolidations as u32);
    say(&format!("begins with: {}", stats.snapshot().line()));
    let (events, stands_still) = (Events::new(EVENTS, life.when_full), life.stands_still);
    Ok(Arc::new(Journal { store, archive, stats, events, stands_still }))
}

/// Reads all passages, by a few readers at a time, and has what is closed then consolidated. The first reader that fails ends all.
async fn read_all(
    journal: Arc<Journal>,
    client: Client,
    memories: usize,
    stop: CancellationToken,
) -> Result<(), Error> {
    let shelf: VecDeque<Passage> = passages().into_iter().take(memories).collect();
    let (all, shelf) = (shelf.len() as u32, Arc::new(Mutex::new(shelf)));
    let mut readers: JoinSet<Result<(), Error>> = JoinSet::new();
    for _ in 0..READERS {
        readers.spawn(read(journal.clone(), client.clone(), shelf.clone(), stop.clone()));
    }
    while let Some(reader) = readers.join_next().await {
        // With the error the others are dropped, and so ended.
        reader??;
    }
    let done = async {
        journal.stats.until(|now| now.closed == all).await;
        client.submit(jobs::consolidation(true)).await?;
        journal.stats.until(|now| now.consolidated == all).await;
        // A memory that was closed while the last one began may have asked for another, which finds nothing to do.
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        while !depths(&client).await?.is_empty() {
            ticks.tick().await;
        }
        Ok(())
    };
    stop.run_until_cancelled(done).await.unwrap_or(Ok(()))
}

async fn read(
    journal: Arc<Journal>,
    client: Client,
    shelf: Arc<Mutex<VecDeque<Passage>>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let has_room = |now: &Snapshot| now.captured.saturating_sub(now.closed) < LEAD;
    while stop.run_until_cancelled(journal.stats.until(has_room)).await.is_some() {
        let next = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(passage) = next else { break };
        // Not cut short by `stop`: what was begun is acknowledged.
        let number = journal.capture(&passage, &client).await?;
        say(&format!("acknowledged {number}"));
    }
    Ok(())
}

/// The queues of the journal that have jobs which have not ended: how many wait, and how many run.
async fn depths(client: &Client) -> Result<Vec<(String, u64, u64)>, Error> {
    let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await?;
    let own = queues.into_iter().filter(|it| jobs::queues().any(|name| name == it.queue));
    let depths = own.map(|it| (it.queue, it.ready + it.scheduled + it.waiting, it.leased));
    Ok(depths.filter(|(_, waiting, running)| waiting + running > 0).collect())
}

/// Looks how long the queues are.
async fn monitor(client: Client, stop: CancellationToken) -> Result<(), Error> {
    let mut ticks = tokio::time::interval(MONITOR_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let depths = depths(&client).await?;
        let line: Vec<_> =
            depths.iter().map(|(queue, waiting, running)| format!("{queue} {waiting}+{running}")).collect();
        say(&format!(
            "monitor: {}",
            if line.is_empty() { "all is done".to_owned() } else { line.join(", ") }
        ));
    }
    Ok(())
}

/// Says what was done.
async fn report(stats: Stats, stop: CancellationToken) -> Result<(), Error> {
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        say(&format!("report: {}", stats.snapshot().line()));
    }
    Ok(())
}

/// Hands events on to a file. However it ends, the queue is closed then: nobody waits for a reader that is gone.
async fn feed(events: Events<Event>, path: PathBuf) -> Result<(), Error> {
    let ended = write_down(&events, path).await;
    events.close();
    ended
}

/// Writes each event to the disk before the next, which is slower than they come.
async fn write_down(events: &Events<Event>, path: PathBuf) -> Result<(), Error> {
    let file = std::fs::File::options().append(true).create(true).open(path)?;
    let file = Arc::new(file);
    let mut dropped = 0;
    while let Some(event) = events.next().await {
        let (file, mut line) = (file.clone(), serde_json::to_vec(&event)?);
        line.push(b'\n');
        let write = move || (&*file).write_all(&line).and_then(|()| file.sync_data());
        tokio::task::spawn_blocking(write).await??;
        let now = events.counts().dropped;
        if now / 100 > dropped / 100 {
            say(&format!("the feed does not keep pace: {now} events were dropped so far"));
        }
        dropped = now;
    }
    Ok(())
}

/// The words of a life on a command line.
impl Life {
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args = vec!["--dir".to_owned(), self.directory.display().to_string()];
        args.extend(["--memories".to_owned(), self.memories.to_string()]);
        let when_full = match self.when_full {
            WhenFull::DropNew => "drop-new",
            WhenFull::DropOld => "drop-old",
            WhenFull::Wait => "wait",
        };
        args.extend(["--full".to_owned(), when_full.to_owned()]);
        if let Some(socket) = &self.socket {
            args.extend(["--socket".to_owned(), socket.display().to_string()]);
        }
        if self.stands_still {
            args.push("--stand-still".to_owned());
        }
        args
    }

    pub(crate) fn from_args(args: impl IntoIterator<Item = String>, directory: &Path) -> Result<Life, Error> {
        let mut life = Life {
            directory: directory.to_owned(),
            socket: None,
            memories: usize::MAX,
            when_full: WhenFull::DropNew,
            stands_still: false,
        };
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} wants a value"));
            match name.as_str() {
                "--dir" => life.directory = value()?.into(),
                "--memories" => life.memories = value()?.parse().map_err(|_| "--memories wants a number")?,
                "--full" => life.when_full = value()?.parse()?,
                "--socket" => life.socket = Some(value()?.into()),
                "--stand-still" => life.stands_still = true,
                _ => {
                    return Err(format!(
                        "`{name}` is not known: --memories N, --dir DIRECTORY, --full WORD, --socket PATH"
                    )
                    .into());
                }
            }
        }
        Ok(life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_asked_for_in_words() {
        let life = Life {
            directory: "/x".into(),
            socket: Some("/y".into()),
            memories: 7,
            when_full: WhenFull::Wait,
            stands_still: true,
        };
        assert_eq!(Life::from_args(life.to_args(), Path::new("/z")).unwrap(), life);
        for bad in [&["--memories", "x"][..], &["--full", "maybe"], &["--dir"], &["more"]] {
            let refused = Life::from_args(bad.iter().map(|word| (*word).to_owned()), Path::new("/z"));
            assert!(
                refused.unwrap_err().to_string().contains(bad[0].trim_start_matches("--full")),
                "{bad:?}"
            );
        }
    }
}
