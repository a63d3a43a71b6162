//! A daemon that does what a test says: it gives out the jobs that the test puts in, and records what the worker asks
//! for.

use crate::client::Client;
use crate::protocol::admin::{AdminRequest, HandlerView};
use crate::protocol::{
    ClaimedJob, LeaseFault, LeaseRef, Notice, Request, Response, Settle, Verdict, split_frame,
};
use crate::worker::{Handler, Plan, Source, Surroundings, WorkerEnd, serve};
use bytes::{Bytes, BytesMut};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a test waits for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// What the worker said, in its order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Claim {
        max: u32,
    },
    /// A claim that does not wait.
    ClaimAhead {
        max: u32,
    },
    Output {
        lease: LeaseRef,
        stream: u8,
        data: Bytes,
    },
    Extend(LeaseRef),
    Settle(Vec<Settle>),
    /// It cannot begin jobs, or can again.
    Hold(Option<String>),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) said: Vec<Said>,
    pub(super) handlers: Vec<HandlerView>,
    /// Leases that an extend does not find any more.
    pub(super) lost: HashSet<LeaseRef>,
    jobs: VecDeque<ClaimedJob>,
    waiting: VecDeque<(u32, u32)>,
    out: Vec<u8>,
    closed: bool,
}

impl State {
    /// When only this had been said.
    pub(super) fn after(said: &[Said]) -> State {
        State { said: said.to_vec(), ..State::default() }
    }

    pub(super) fn verdicts(&self) -> Vec<(u64, Verdict)> {
        let settles = self.said.iter().filter_map(|said| match said {
            Said::Settle(items) => Some(items),
            _ => None,
        });
        settles.flatten().map(|item| (item.lease.id, item.verdict.clone())).collect()
    }

    /// Puts jobs in, all at once.
    pub(super) fn put(&mut self, jobs: impl IntoIterator<Item = ClaimedJob>) {
        self.jobs.extend(jobs);
        self.give();
    }

    /// How many jobs nobody has got yet.
    pub(super) fn jobs_left(&self) -> usize {
        self.jobs.len()
    }

    /// How many claims did not wait.
    pub(super) fn claims_ahead(&self) -> usize {
        self.said.iter().filter(|said| matches!(said, Said::ClaimAhead { .. })).count()
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.verdicts().pop().map(|(_, verdict)| verdict)
    }

    /// All that a job has printed.
    pub(super) fn printed(&self, id: u64, wanted: u8) -> String {
        let mut all = Vec::new();
        for said in &self.said {
            if let Said::Output { lease, stream, data } = said
                && (lease.id, *stream) == (id, wanted)
            {
                all.extend_from_slice(data);
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The numbers in the first line that a job has printed, once the line is there.
    pub(super) fn numbers(&self, id: u64) -> Option<Vec<i32>> {
        let printed = self.printed(id, 1);
        let (line, _) = printed.split_once('\n')?;
        Some(line.split_whitespace().map(|word| word.parse().unwrap()).collect())
    }

    fn answer(&mut self, number: u32, request: Request) {
        let answer = match request {
            Request::Hello { .. } => {
                let (frame_max, body_max, batch_max) = (8 << 20, 4 << 20, 1000);
                Response::Welcome { version: 2, frame_max, body_max, batch_max, name: "fake".into() }
            }
            Request::Claim(claim) => {
                assert!(claim.bound);
                if claim.wait_ms == 0 {
                    self.said.push(Said::ClaimAhead { max: claim.max });
                    return self.give_at_most(number, claim.max);
                }
                assert_eq!(claim.wait_ms, u64::MAX);
                self.said.push(Said::Claim { max: claim.max });
                self.waiting.push_back((number, claim.max));
                return self.give();
            }
            Request::Unwait { request } => {
                let before = self.waiting.len();
                self.waiting.retain(|(waiting, _)| *waiting != request);
                if self.waiting.len() < before {
                    Response::Jobs(Vec::new()).encode(request, &mut self.out);
                }
                Response::Ok
            }
            Request::Settle(items) => {
                let results = vec![Ok(()); items.len()];
                self.said.push(Said::Settle(items));
                Response::Settled(results)
            }
            Request::Extend { leases, .. } => {
                self.said.extend(leases.iter().map(|lease| Said::Extend(*lease)));
                Response::Extended(leases.iter().map(|lease| self.extended(*lease)).collect())
            }
            Request::Output { lease, stream, data, .. } => {
                self.said.push(Said::Output { lease, stream, data });
                Response::Ok
            }
            Request::Admin(AdminRequest::Hold { error, .. }) => {
                self.said.push(Said::Hold(error));
                Response::Ok
            }
            Request::Admin(AdminRequest::Handlers {}) => {
                Response::Json(serde_json::to_vec(&self.handlers).unwrap().into())
            }
            other => panic!("a worker does not ask for {other:?}"),
        };
        answer.encode(number, &mut self.out);
    }

    fn extended(&self, lease: LeaseRef) -> Result<u64, LeaseFault> {
        if self.lost.contains(&lease) { Err(LeaseFault::NotFound { id: lease.id }) } else { Ok(1) }
    }

    fn give(&mut self) {
        while !self.jobs.is_empty()
            && let Some((number, max)) = self.waiting.pop_front()
        {
            self.give_at_most(number, max);
        }
    }

    fn give_at_most(&mut self, number: u32, max: u32) {
        let jobs = self.jobs.drain(..self.jobs.len().min(max as usize)).collect();
        Response::Jobs(jobs).encode(number, &mut self.out);
    }
}

/// A worker and the daemon that it believes in.
pub(super) struct Rig {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    stop: watch::Sender<Option<Duration>>,
    worker: JoinHandle<WorkerEnd>,
}

impl Rig {
    pub(super) async fn start(source: Source, handlers: Vec<HandlerView>) -> Rig {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let state = Arc::new(Mutex::new(State { handlers, ..State::default() }));
        let changed = Arc::new(Notify::new());
        tokio::spawn(answer_all(ours, state.clone(), changed.clone()));
        let client = Client::greet(theirs).await.unwrap();
        let (stop, asked) = watch::channel(None);
        let around = Surroundings::of_this_process(Some("/run/some.sock".into()));
        let worker = tokio::spawn(async move { serve(&client, source, around, None, asked).await });
        Rig { state, changed, stop, worker }
    }

    /// A worker that runs shell scripts, in so many slots.
    pub(super) async fn shell(script: &str, slots: u32) -> Rig {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Rig::start(Source::Fixed(vec![plan(Handler::Exec(argv), slots)]), Vec::new()).await
    }

    pub(super) fn submit(&self, job: ClaimedJob) {
        self.change(|state| state.put([job]));
    }

    pub(super) fn say(&self, notice: Notice) {
        self.change(|state| Response::Notice(notice).encode(0, &mut state.out));
    }

    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    pub(super) fn stop(&self, grace: Duration) {
        self.stop.send(Some(grace)).unwrap();
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Waits until the state gives an answer.
    pub(super) async fn until<T>(&self, mut question: impl FnMut(&State) -> Option<T>) -> T {
        let answered = async {
            loop {
                if let Some(answer) = question(&self.state.lock().unwrap()) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match timeout(DEADLINE, answered).await {
            Ok(answer) => answer,
            Err(_) => panic!("not in time; so far: {:?}", self.state.lock().unwrap().said),
        }
    }

    /// Runs one job; its verdict.
    pub(super) async fn run(&self, job: ClaimedJob) -> Verdict {
        self.submit(job);
        self.until(State::verdict).await
    }

    pub(super) async fn ended(self) -> (WorkerEnd, Arc<Mutex<State>>) {
        (timeout(DEADLINE, self.worker).await.unwrap().unwrap(), self.state)
    }
}

async fn answer_all(mut stream: UnixStream, state: Arc<Mutex<State>>, changed: Arc<Notify>) {
    let mut buffer = BytesMut::new();
    loop {
        let out = {
            let mut state = state.lock().unwrap();
            while let Some((header, payload)) = split_frame(&mut buffer, 64 << 20).unwrap() {
                let request = Request::decode(header.kind, payload, 1_000).unwrap();
                state.answer(header.request, request);
            }
            if state.closed {
                return;
            }
            std::mem::take(&mut state.out)
        };
        if stream.write_all(&out).await.is_err() {
            return;
        }
        tokio::select! {
            read = stream.read_buf(&mut buffer) => {
                if !read.is_ok_and(|len| len > 0) {
                    return;
                }
            }
            () = changed.notified() => {}
        }
    }
}

pub(super) fn plan(handler: Handler, slots: u32) -> Plan {
    let queues = vec!["mails".to_owned()];
    Plan { queues, slots, handler, lease_ms: None, output_max: 1 << 20, echo: false, result_max: 1000 }
}

pub(super) fn job(id: u64, body: impl Into<Bytes>) -> ClaimedJob {
    ClaimedJob {
        checkpoint: None,
        signal: None,
        lease: LeaseRef { id, attempt: 2 },
        attempts: 5,
        timeout_ms: 0,
        lease_ms: 60_000,
        until_ms: 1_700_000_000_000,
        queue: "mails".into(),
        priority: 0,
        owner: rustix::process::geteuid().as_raw(),
        tags: vec![("order-no".into(), "12".into())],
        key: None,
        deadline_ms: None,
        body: body.into(),
    }
}

/// Whether a process runs. A dead one that nobody has reaped does not.
pub(super) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

pub(super) async fn all_dead(pids: &[i32]) {
    let dead = async {
        while pids.iter().any(|pid| is_alive(*pid)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, dead).await.expect("the processes are killed");
}
