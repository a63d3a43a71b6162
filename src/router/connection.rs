//! One client: its greeting, its requests one after the other, and whatever is under way for it. Its connections to shards are opened when
//! they are first needed. When one of them breaks, so does this one: whoever was connected to a shard's owner that has gone connects
//! again, as everywhere.

use super::Router;
use super::claims::claim;
use super::frames::{Frame, Queue, greet, next_frame, queue};
use super::list::list;
use super::merge::unexpected;
use super::questions::gather;
use super::route::{Route, route};
use super::shard::{Asked, Joined, Link};
use crate::access::Caller;
use crate::protocol::admin::AdminRequest;
use crate::protocol::{ErrorCode, Fault, FrameError, HEADER, Header, Request, Response, Version};
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout;

/// How long a connection may take to greet.
const GREETING_TIME: Duration = Duration::from_secs(10);
/// How long a client that has said all may wait for answers. It may as well have gone, and others wait for what it has.
const ANSWERS_TIME: Duration = Duration::from_millis(200);
/// How long one that reads slowly may take for the last ones.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// The number of what no request of the client's has asked for.
pub(super) const UNASKED: u32 = 0;
/// How many questions to several shards may be under way, and how many claims on queues of several.
const QUESTIONS: usize = 64;
const CLAIMS: usize = 256;

/// Serves a client until it has gone.
pub(crate) async fn serve(router: Rc<Router>, stream: Stream, caller: Caller) {
    let stream = Rc::new(stream);
    let mut buffer = BytesMut::new();
    let limits = router.limits.get();
    let greeted = timeout(GREETING_TIME, greet(&limits, &stream, &mut buffer)).await;
    let Ok(Some(version)) = greeted else { return };
    let (out, mut answers) = queue();
    let links = RefCell::new((0..router.shards.count()).map(|_| None).collect());
    let connection = Rc::new(Connection {
        router,
        caller,
        version,
        out,
        links,
        under_way: RefCell::default(),
        claims: RefCell::default(),
        questions: Arc::new(Semaphore::new(QUESTIONS)),
        worker: RefCell::default(),
        next: Cell::new(0),
        is_idle: Notify::new(),
        is_breaking: Cell::new(false),
        end: watch::Sender::new(false),
    });
    let read = async {
        connection.read_all(&stream, &mut buffer).await;
        // It has said all, and may wait for answers.
        let _ = timeout(ANSWERS_TIME, connection.until_idle()).await;
    };
    let write = async {
        // What was answered leaves before the connection ends.
        while let Some(Ok(())) = answers.write_next(&stream, connection.ended()).await {}
    };
    let mut has_written = false;
    tokio::pin!(write);
    tokio::select! {
        () = read => {}
        () = &mut write => has_written = true,
        () = connection.ended() => {}
    }
    // What is under way for it ends with it.
    connection.close();
    if !has_written {
        let _ = timeout(LAST_ANSWERS, write).await;
    }
}

/// Which shards are asked for a request of the client's, and under which numbers. Mostly that is one.
type UnderWay = SmallVec<[(usize, u32); 1]>;

/// A client that has greeted.
pub(super) struct Connection {
    pub(super) router: Rc<Router>,
    pub(super) caller: Caller,
    pub(super) version: Version,
    out: Queue,
    pub(super) links: RefCell<Vec<Option<Rc<Link>>>>,
    /// What is under way for each of its requests.
    under_way: RefCell<FxHashMap<u32, UnderWay>>,
    /// Its claims on queues of several shards, and whether each is to be answered at once.
    claims: RefCell<FxHashMap<u32, Rc<Cell<bool>>>>,
    /// So many questions to several shards are under way at a time.
    questions: Arc<Semaphore>,
    /// Who it is, if it is a worker that has said so.
    pub(super) worker: RefCell<Option<(String, [u8; 16])>>,
    /// The newest number of a request to a shard.
    next: Cell<u32>,
    /// Rings when nothing is under way any more.
    is_idle: Notify,
    /// A shard's connection has broken: nothing more is taken.
    pub(super) is_breaking: Cell<bool>,
    end: watch::Sender<bool>,
}

fn too_many_claims() -> Fault {
    let message = format!("{CLAIMS} claims on queues of several shards wait on this connection already");
    Fault { code: ErrorCode::Busy, message }
}

impl Connection {
    async fn read_all(self: &Rc<Connection>, stream: &Stream, buffer: &mut BytesMut) {
        loop {
            match next_frame(stream, buffer, self.router.limits.get().frame).await {
                Ok(Some(_)) if self.is_breaking.get() => {}
                Ok(Some(frame)) => self.handle(frame).await,
                Ok(None) => return,
                Err(error) => {
                    let code = match error {
                        FrameError::TooShort(_) => ErrorCode::Malformed,
                        FrameError::TooLong { .. } => ErrorCode::TooLarge,
                    };
                    let fault = Fault { code, message: error.to_string() };
                    return self.answer(UNASKED, &Response::Error(fault)).await;
                }
            }
        }
    }

    /// Passes a request on. What is sent to a shard is sent in the order in which it came.
    async fn handle(self: &Rc<Connection>, frame: Frame) {
        let Header { kind, request: client } = frame.header;
        let batch = self.router.limits.get().batch;
        // It may be sent on as it is, so it gets its number before anything points into it.
        let number = self.next_number();
        let frame = frame.renumbered(number);
        let request = self.version.decode_request(kind, frame.slice(HEADER..), batch);
        let routed = request.and_then(|request| Ok((route(self.router.shards, &request)?, request)));
        let (route, request) = match routed {
            Ok(routed) => routed,
            Err(fault) => return self.answer(client, &Response::Error(fault)).await,
        };
        match (route, request) {
            (Route::One(shard), _) => {
                self.begins(client, shard, number);
                self.link(shard).ask(self, number, Asked::Pass { client, kind }, frame).await;
            }
            (Route::Joined(parts), _) => self.join(client, kind, parts).await,
            (Route::Divided(parts, how), _) => {
                let place = if how.is_long() { self.question().await } else { None };
                let mut answers = Vec::with_capacity(parts.len());
                for (shard, request) in parts {
                    answers.push((shard, self.begin(client, shard, &request).await));
                }
                self.spawn(async move |connection| {
                    if let Some(answer) = gather(&connection, client, &how, answers).await {
                        connection.answer(client, &answer).await;
                    }
                    drop(place);
                });
            }
            (Route::Claim(parts, wanted), _) => {
                let Some(is_unwaited) = self.begin_claim(client) else {
                    return self.answer(client, &Response::Error(too_many_claims())).await;
                };
                self.spawn(async move |connection| {
                    let answer = claim(&connection, client, (parts, wanted), &is_unwaited).await;
                    connection.claims.borrow_mut().remove(&client);
                    if let Some(answer) = answer {
                        connection.answer(client, &answer).await;
                    }
                });
            }
            (Route::List, Request::Admin(AdminRequest::List(query))) => {
                let place = self.question().await;
                self.spawn(async move |connection| {
                    if let Some(answer) = list(&connection, client, query).await {
                        connection.answer(client, &answer).await;
                    }
                    drop(place);
                });
            }
            (Route::TakeUp, Request::TakeUp { name, token, leases }) => {
                self.take_up(client, (name, token), leases).await;
            }
            (Route::Leave, _) => {
                let answer = self.leave(None).await;
                self.answer(client, &answer).await;
            }
            (Route::Unwait(waiting), _) => {
                self.unwait_all(waiting).await;
                self.answer(client, &Response::Ok).await;
            }
            (Route::List | Route::TakeUp, _) => self.answer(client, &Response::Error(unexpected())).await,
        }
    }

    /// A place for a question to several shards, whose answers are held until all have come.
    async fn question(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.questions.clone().acquire_owned().await.ok()
    }

    /// A claim on queues of several shards begins. Returns what says whether it is to be answered at once; `None` if there are too many.
    fn begin_claim(&self, client: u32) -> Option<Rc<Cell<bool>>> {
        let mut claims = self.claims.borrow_mut();
        (claims.len() < CLAIMS).then(|| claims.entry(client).or_default().clone())
    }

    /// Runs something beside the requests that follow, until the connection ends.
    pub(super) fn spawn<F: AsyncFnOnce(Rc<Connection>) + 'static>(self: &Rc<Connection>, work: F) {
        let connection = self.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = work(connection.clone()) => {}
                () = connection.ended() => {}
            }
        });
    }

    /// The connection to a shard, which is opened if there is none.
    pub(super) fn link(self: &Rc<Connection>, shard: usize) -> Rc<Link> {
        let known = self.links.borrow()[shard].clone();
        known.unwrap_or_else(|| {
            let link = Link::open(self, shard, self.worker.borrow().clone());
            self.links.borrow_mut()[shard] = Some(link.clone());
            link
        })
    }

    /// There is no connection to a shard any more: the next request opens another one.
    pub(super) fn forget(&self, shard: usize) {
        self.links.borrow_mut()[shard] = None;
    }

    /// A number under which a shard can be asked something.
    fn next_number(&self) -> u32 {
        let number = self.next.get().wrapping_add(1).max(1);
        self.next.set(number);
        number
    }

    /// A shard is asked something under this number, for a request of the client's.
    fn begins(&self, client: u32, shard: usize, number: u32) {
        self.under_way.borrow_mut().entry(client).or_default().push((shard, number));
    }

    /// A shard has answered all that it was asked under this number.
    pub(super) fn done(&self, client: u32, number: u32) {
        let mut under_way = self.under_way.borrow_mut();
        if let Some(numbers) = under_way.get_mut(&client) {
            numbers.retain(|(_, known)| *known != number);
            if numbers.is_empty() {
                under_way.remove(&client);
            }
        }
        if under_way.is_empty() {
            self.is_idle.notify_waiters();
        }
    }

    /// Returns when shards have answered all that they were asked.
    pub(super) async fn until_idle(&self) {
        while !self.under_way.borrow().is_empty() {
            self.is_idle.notified().await;
        }
    }

    /// Asks a shard for something that has one answer.
    pub(super) async fn begin(
        self: &Rc<Connection>,
        client: u32,
        shard: usize,
        request: &Request,
    ) -> oneshot::Receiver<Response> {
        let (say, answer) = oneshot::channel();
        self.send(client, shard, request, Asked::One { client, say }).await;
        answer
    }

    async fn send(self: &Rc<Connection>, client: u32, shard: usize, request: &Request, asked: Asked) {
        let number = self.next_number();
        let mut frame = Vec::new();
        self.version.encode_request(request, number, &mut frame);
        self.begins(client, shard, number);
        self.link(shard).ask(self, number, asked, frame.into()).await;
    }

    /// Has everything that waits at shards for a request of the client's answered at once.
    pub(super) async fn unwait_all(self: &Rc<Connection>, client: u32) {
        if let Some(is_unwaited) = self.claims.borrow().get(&client) {
            is_unwaited.set(true);
        }
        let under_way = self.under_way.borrow().get(&client).cloned().unwrap_or_default();
        for (shard, request) in under_way {
            // Nobody waits for the answer.
            drop(self.begin(UNASKED, shard, &Request::Unwait { request }).await);
        }
    }

    /// Asks several for something that goes on: what they say is passed on as it comes.
    async fn join(self: &Rc<Connection>, client: u32, kind: u8, parts: Vec<(usize, Request)>) {
        let joined = Rc::new(Joined::new(client, kind, parts.len()));
        for (shard, request) in parts {
            self.send(client, shard, &request, Asked::Joined(joined.clone())).await;
        }
    }

    pub(super) async fn answer(&self, client: u32, response: &Response) {
        let mut frame = Vec::new();
        self.version.encode_response(response, client, &mut frame);
        self.say(frame.into()).await;
    }

    /// Says something to the client, which waits while there is much that it has not read.
    pub(super) async fn say(&self, frame: Bytes) {
        self.out.push_in_turn(frame).await;
    }

    pub(super) fn close(&self) {
        self.end.send_replace(true);
    }

    pub(super) async fn ended(&self) {
        // It has its sender itself.
        let _ = self.end.subscribe().wait_for(|ended| *ended).await;
    }
}
