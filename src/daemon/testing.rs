//! A queue for tests of programs that use Musher: all of the real one, in a directory of its own, on a clock that stands still until
//! the test moves it. It knows nothing of jobs; [`Worker::run_ready`] runs those.

use super::embedded::{Embedded, EmbeddedError};
use crate::client::worker::Worker;
use crate::client::{Client, ClientError};
use crate::clock::{Clock, wall};
use crate::core::Time;
use crate::protocol::Claim;
use crate::protocol::admin::{AdminRequest, JobView, JobsView, ListQuery};
use bytes::Bytes;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A queue that no job is ever given to, for requests that only have the loop make a turn.
const NOBODY: &str = "musher-testing";

/// How many jobs are asked for at a time.
const PAGE: u32 = 500;

/// A job that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// What the queue knows of it.
    pub view: JobView,
    /// Its body.
    pub body: Bytes,
}

/// A queue for a test. It is dropped with all that is in it.
///
/// Nothing becomes ready by itself: a delay, a wait between attempts, a rate, a schedule and a deadline end when
/// [`TestQueue::advance`] says so, and jobs run when [`Worker::run_ready`] is called with the handlers of the program. So a test
/// of what happens within a day takes no longer than its handlers, and has the same end each time.
///
/// ```
/// use musher::client::worker::{Context, Job, Outcome};
/// use musher::protocol::{JobOptions, SubmitGroup};
/// use musher::testing::TestQueue;
/// use std::time::Duration;
///
/// async fn send(job: Job<String>, cx: Context) -> Result<(), String> {
///     if cx.attempt() == 1 { Err(format!("no way to {}", job.body)) } else { Ok(()) }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let queue = TestQueue::open("[queues.mails]\nbackoff = { kind = \"fixed\", base = \"1h\", jitter = 0.0 }\n").await?;
/// let worker = queue.worker().handle("mails", send);
/// let options = JobOptions { queue: "mails".into(), ..JobOptions::default() };
/// queue.client().await?.submit(vec![SubmitGroup { options, bodies: vec!["\"ada\"".into()] }]).await?;
///
/// let ran = worker.run_ready().await?;
/// assert_eq!(ran[0].outcome, Some(Outcome::Failed { error: "no way to ada".into(), retry_after: None }));
/// queue.advance(Duration::from_secs(59 * 60)).await?;
/// assert!(worker.run_ready().await?.is_empty());
/// queue.advance(Duration::from_secs(60)).await?;
/// assert_eq!(worker.run_ready().await?[0].outcome, Some(Outcome::Done));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # What goes by the real clock
/// Handlers, so an attempt's `timeout` too, and whatever they do. Workers that are run in the usual way ([`Worker::run_until`])
/// work as well.
#[derive(Debug)]
pub struct TestQueue {
    // Dropped in this order: the directory goes when nobody writes to it any more.
    queue: Embedded,
    clock: Clock,
    _directory: Directory,
}

impl TestQueue {
    /// Opens a queue with this configuration (as [`Embedded::open_with`]; where to store, and how much room that takes, is said
    /// here). Its clock stands at the present.
    ///
    /// # Errors
    /// The configuration cannot be used, or the system has no room for it.
    pub async fn open(configuration: &str) -> Result<TestQueue, EmbeddedError> {
        TestQueue::open_at(configuration, wall().0).await
    }

    /// The same with a clock that stands at this time, in milliseconds since 1970: for schedules that name times of a day.
    ///
    /// # Errors
    /// As for [`TestQueue::open`].
    pub async fn open_at(configuration: &str, now_ms: u64) -> Result<TestQueue, EmbeddedError> {
        let (directory, clock) = (Directory::new()?, Clock::manual(Time(now_ms)));
        let queue = Embedded::open_on(&directory.0, configuration, clock.clone()).await?;
        Ok(TestQueue { queue, clock, _directory: directory })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// Its disk has failed.
    pub async fn client(&self) -> Result<Client, ClientError> {
        self.queue.client().await
    }

    /// A worker on it, for [`Worker::run_ready`].
    pub fn worker(&self) -> Worker {
        self.queue.worker()
    }

    /// What its clock shows, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.clock.now().0
    }

    /// Moves its clock on. When this returns, what has become due is: jobs are ready, expired or submitted by their schedules.
    ///
    /// It is a leap, as if the machine had slept for so long. Leases outlast it, and of the times of a schedule that lie within it
    /// there are as many jobs as its `catch_up` says; take several steps to see each of them.
    ///
    /// # Errors
    /// Its disk has failed.
    pub async fn advance(&self, time: Duration) -> Result<(), ClientError> {
        self.clock.advance(time);
        let client = self.client().await?;
        // Each is answered at the end of a turn, and a turn does what is due: first what became due by the leap, and then what that
        // has led to.
        for _ in 0..2 {
            client.claim(Claim { queues: vec![NOBODY.into()], max: 1, ..Claim::default() }).await?;
        }
        Ok(())
    }

    /// The jobs of a queue with their bodies, by id: what a program has submitted and nobody has done. Those that have ended are there if
    /// the queue keeps them, as it keeps dead ones; `view.state` says how each is.
    ///
    /// # Errors
    /// The disk has failed.
    pub async fn jobs(&self, queue: &str) -> Result<Vec<Submitted>, ClientError> {
        let client = self.client().await?;
        let (mut jobs, mut after) = (Vec::new(), Some(0));
        while let Some(id) = after {
            let query =
                ListQuery { queue: Some(queue.into()), after: id, limit: PAGE, ..ListQuery::default() };
            let page: JobsView = client.ask(AdminRequest::List(query)).await?;
            for view in page.jobs {
                jobs.push(Submitted { body: client.body(view.id).await?, view });
            }
            after = page.next;
        }
        Ok(jobs)
    }

    /// Ends it, and says whether its disk has failed. Whoever still runs a job is not waited for.
    ///
    /// # Errors
    /// The disk has failed.
    pub async fn close(self) -> Result<(), EmbeddedError> {
        let TestQueue { queue, _directory, .. } = self;
        queue.close().await
    }
}

/// A directory that goes when it is forgotten.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Directory> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("musher-testing-{}-{number}", std::process::id()));
            // Another process with this number may have been killed and have left its own.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Directory(path)),
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::worker::{Context, Job, WorkerError};
    use crate::protocol::{JobOptions, SubmitGroup};

    fn job() -> Vec<SubmitGroup> {
        let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
        vec![SubmitGroup { options, bodies: vec!["1".into()] }]
    }

    async fn again(_: Job<u8>, cx: Context) -> Result<(), ClientError> {
        cx.complete_and_submit(job()).await.map(drop)
    }

    #[tokio::test]
    async fn jobs_that_bring_others_without_end_are_an_error_and_none_is_lost() {
        let queue = TestQueue::open("").await.unwrap();
        queue.client().await.unwrap().submit(job()).await.unwrap();
        let worker = queue.worker().handle("q", again);
        // It may be moved between threads, as all that is awaited.
        let task = tokio::spawn(async move {
            for _ in 0..2 {
                let endless = worker.run_ready_up_to(20).await.unwrap_err();
                assert!(matches!(endless, WorkerError::Endless { jobs: 20 }), "{endless}");
            }
        });
        task.await.unwrap();
    }
}
