//! The server with a front that is not its own: everything that the server does for any front. The loop, the engine and
//! the sockets are real; only the disk is in memory.

mod lines;

use super::Native;
use crate::access::Access;
use crate::client::Client;
use crate::clock::Clock;
use crate::core::{JobId, Settings};
use crate::engine::{Bounds, Engine};
use crate::protocol::admin::AdminRequest;
use crate::protocol::{JobOptions, SubmitGroup};
use crate::server::{self, Hub, Limits, OutputStore, Service, Wiring};
use crate::store::Blob;
use crate::store::simulated::{SimulatedDisk, SimulatedStore};
use crate::views::{EditView, EndView, JobView, JobsView, ListQuery};
use lines::Lines;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(60);
/// The longest line.
const LINE_MAX: usize = 64 << 10;

fn hub(disk: &SimulatedDisk, dir: &Path) -> Rc<Hub<SimulatedStore>> {
    let (store, found) = disk.open().unwrap();
    let (settings, bounds, clock) = (Settings::default(), Bounds::default(), Clock::start());
    let engine = Engine::new(found.state, found.last, store, settings.clone(), bounds, 1, clock.now());
    let limits = Limits {
        connections: 8,
        frame: LINE_MAX,
        body: LINE_MAX,
        checkpoint: 9,
        signal: 9,
        result: 9,
        batch: 100,
        output: 1 << 20,
        buffers: 1 << 20,
        bounds,
    };
    let service = Service {
        settings,
        usual: Default::default(),
        limits,
        access: Rc::new(Access::new(rustix::process::geteuid().as_raw(), None)),
        handlers: Vec::new(),
        drain_timeout: Duration::ZERO,
        accept_while_draining: false,
    };
    let (outputs, _) = OutputStore::open(&dir.join("output"), |_| false).unwrap();
    Hub::new(Wiring { engine, service, clock, outputs, data: String::new(), node: None, socket_stays: false })
}

/// Runs a test against a loop that takes connections that speak lines, and stops that in the end.
fn with_lines(test: impl AsyncFnOnce(Rc<Hub<SimulatedStore>>, &Path)) {
    with_lines_over(&SimulatedDisk::new(1), test);
}

/// The same over a disk that the test has.
fn with_lines_over(disk: &SimulatedDisk, test: impl AsyncFnOnce(Rc<Hub<SimulatedStore>>, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = async {
        let (hub, socket) = (hub(disk, dir.path()), dir.path().join("lines.sock"));
        let listening = server::listen(&socket).unwrap();
        let accepting = listening.accept_into(&hub, Lines::default).unwrap();
        let turns = async {
            server::run(&hub).await.unwrap();
            server::close_connections(&hub, vec![accepting]).await.unwrap();
        };
        tokio::join!(turns, async {
            test(hub.clone(), &socket).await;
            hub.stop();
        });
    };
    tokio::task::LocalSet::new().block_on(&runtime, async { timeout(DEADLINE, all).await.unwrap() });
}

struct Talk(BufReader<UnixStream>);

impl Talk {
    async fn to(socket: &Path) -> Talk {
        Talk(BufReader::new(UnixStream::connect(socket).await.unwrap()))
    }

    async fn say(&mut self, lines: &str) {
        self.0.get_mut().write_all(lines.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line
    }
}

#[test]
fn a_job_is_submitted_claimed_and_settled_in_lines() {
    with_lines(async |_, socket| {
        let mut talk = Talk::to(socket).await;
        // All at once, and without numbers: each is taken when the one before it has its answer.
        talk.say("submit mails hello world\nclaim mails\ndone 1 1\ndone 1 1\n").await;
        for said in ["id 1\n", "job 1 1 hello world\n", "ok\n", "error job 1 not found"] {
            let heard = talk.hear().await;
            assert!(heard.starts_with(said), "{heard}");
        }
        talk.say("what\nsubmit mails again\nclaim no such\n").await;
        for said in ["error Malformed: ", "id 2\n", "error Invalid: "] {
            let heard = talk.hear().await;
            assert!(heard.starts_with(said), "{heard}");
        }
        talk.say(&"x".repeat(LINE_MAX + 1)).await;
        assert!(talk.hear().await.starts_with("error TooLarge: "));
        assert_eq!(talk.0.read(&mut [0]).await.unwrap(), 0, "then it ends");
    });
}

#[test]
fn fronts_share_the_jobs() {
    with_lines(async |hub, socket| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        server::serve_pool::<Native, _>(&hub, ours.into_std().unwrap(), 1).unwrap();
        let native = Client::greet(theirs).await.unwrap();
        let mut worker = Talk::to(socket).await;
        worker.say("claim mails\n").await;
        let options = JobOptions { queue: "mails".into(), ..JobOptions::default() };
        let submitted = native.submit(vec![SubmitGroup { options, bodies: vec!["hello".into()] }]).await;
        assert_eq!(submitted.unwrap(), crate::client::Receipts::New { first: 1, count: 1 });
        assert_eq!(worker.hear().await, "job 1 1 hello\n");
        worker.say("done 1 1\n").await;
        assert_eq!(worker.hear().await, "ok\n");
        let ends = native.ask(AdminRequest::Wait { ids: vec![1], timeout_ms: None }).await;
        let ends: Vec<EndView> = ends.unwrap();
        assert_eq!(ends.len(), 1);
    });
}

#[test]
fn who_goes_away_while_he_waits_holds_nothing() {
    with_lines(async |_, socket| {
        let (mut first, mut second) = (Talk::to(socket).await, Talk::to(socket).await);
        first.say("submit mails one\nclaim mails\nclaim mails\n").await;
        assert_eq!((first.hear().await, first.hear().await), ("id 1\n".into(), "job 1 1 one\n".into()));
        // His lease ends with him, and so does his second claim, which waits.
        drop(first);
        second.say("claim mails\n").await;
        assert_eq!(second.hear().await, "job 1 2 one\n");
    });
}

#[test]
fn a_stop_answers_who_waits() {
    with_lines(async |hub, socket| {
        let mut talk = Talk::to(socket).await;
        talk.say("submit mails one\nclaim other\n").await;
        assert_eq!(talk.hear().await, "id 1\n");
        hub.stop();
        assert!(talk.hear().await.starts_with("error Draining: "));
    });
}

/// Lets all other tasks go on until that holds.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_log_that_confirms_later_is_waited_for() {
    let disk = SimulatedDisk::new(1);
    with_lines_over(&disk, async |hub, socket| {
        disk.confirm_late(true);
        disk.bound_unconfirmed(1);
        let (mut first, mut second) = (Talk::to(socket).await, Talk::to(socket).await);
        first.say("submit mails one\n").await;
        until(|| disk.unconfirmed() == 1).await;
        second.say("submit mails two\n").await;
        until(|| hub.engine.borrow().core().state.next_id().0 == 3).await;
        // The log takes no second commit: its bell ends the wait.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        disk.confirm(1);
        assert_eq!(first.hear().await, "id 1\n");
        // A stop waits for what is owed.
        until(|| disk.unconfirmed() == 1).await;
        hub.stop();
        disk.confirm_late(false);
        disk.confirm(1);
        assert_eq!(second.hear().await, "id 2\n");
    });
}

/// Whoever copies jobs out must not take one without its tags for one that has none.
#[test]
fn tags_that_cannot_be_read_are_told() {
    let disk = SimulatedDisk::new(1);
    with_lines_over(&disk, async |hub, _| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        server::serve_pool::<Native, _>(&hub, ours.into_std().unwrap(), 1).unwrap();
        let native = Client::greet(theirs).await.unwrap();
        let submit = |tag: &str| {
            let tags = vec![("nth".to_owned(), tag.to_owned())];
            let options = JobOptions { queue: "mails".into(), tags, ..JobOptions::default() };
            vec![SubmitGroup { options, bodies: vec!["hello".into()] }]
        };
        for tag in ["1", "2"] {
            native.submit(submit(tag)).await.unwrap();
        }
        let list = async |tags: &[(&str, &str)]| {
            let tags = tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let query = ListQuery { tags, limit: 10, ..ListQuery::default() };
            native.ask::<JobsView>(AdminRequest::List(query)).await
        };
        // Once it is at home only.
        let jobs = loop {
            disk.write_rows(usize::MAX);
            disk.lose(Blob::Envelope, JobId(1));
            let jobs = list(&[]).await.unwrap().jobs;
            if jobs[0].tags_unread {
                break jobs;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let seen: Vec<_> = jobs.iter().map(|job| (job.id, job.tags.len(), job.tags_unread)).collect();
        assert_eq!(seen, [(1, 0, true), (2, 1, false)]);
        let shown: JobView = native.ask(AdminRequest::Show { id: 1 }).await.unwrap();
        assert!(shown.tags_unread);
        let refused = list(&[("nth", "2")]).await.unwrap_err().to_string();
        assert!(refused.contains("the tags of job 1 cannot be read"), "{refused}");
        let delete = AdminRequest::Edit {
            edit: "delete".into(),
            ids: vec![1],
            state: None,
            queue: None,
            to: None,
            priority: None,
        };
        native.ask::<Vec<EditView>>(delete).await.unwrap();
        let jobs = list(&[("nth", "2")]).await.unwrap().jobs;
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [2]);
    });
}
