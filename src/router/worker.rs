//! A client that is a worker whose leases outlive the daemon: each shard is told who it is, with what it has there; and that it comes back,
//! if the connection ends for a reason of another shard's.

use super::connection::{Connection, UNASKED};
use super::merge::unexpected;
use super::route::leases;
use crate::protocol::{ErrorCode, Fault, LeaseRef, Request, Response};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a worker's former connection may take to end, and how often it is looked whether it has.
const TAKE_UP_TIME: Duration = Duration::from_secs(10);
const TAKE_UP_PAUSE: Duration = Duration::from_millis(20);
/// How long shards may take to hear that a worker leaves.
const LEAVE_TIME: Duration = Duration::from_millis(500);

/// The longest name of a worker, in bytes.
const NAME_MAX: usize = 200;

/// What of a worker's leases is in one shard, and where each stands among all.
type Part = (usize, Vec<LeaseRef>, Vec<usize>);

impl Connection {
    /// A worker says who it is. The shards that it has leases of, or to which it has come already, are told at once, the others with their
    /// first request.
    pub(super) async fn take_up(
        self: &Rc<Connection>,
        client: u32,
        (name, token): (String, [u8; 16]),
        all: Vec<LeaseRef>,
    ) {
        let refused = |code, message| Response::Error(Fault { code, message });
        if self.worker.borrow().is_some() {
            let message = "this connection has said already which worker it is".to_owned();
            return self.answer(client, &refused(ErrorCode::Invalid, message)).await;
        }
        if name.len() > NAME_MAX {
            let message = format!("a worker's name has at most {NAME_MAX} bytes, this one {}", name.len());
            return self.answer(client, &refused(ErrorCode::TooLarge, message)).await;
        }
        let (mut of_shards, count) = (leases(self.router.shards, &all), all.len());
        let known = |shard: &usize| self.links.borrow()[*shard].is_some();
        let known: Vec<_> = (0..self.router.shards.count()).filter(known).collect();
        for shard in known {
            of_shards.entry(shard).or_default();
        }
        // Links that are opened later say who it is and that it has nothing; these must not.
        of_shards.keys().for_each(|shard| drop(self.link(*shard)));
        *self.worker.borrow_mut() = Some((name.clone(), token));
        let parts = of_shards.into_iter().map(|(shard, (leases, places))| (shard, leases, places)).collect();
        self.spawn(async move |connection| {
            match connection.take_up_all(client, (name, token), parts, count).await {
                Some(answer) => connection.answer(client, &answer).await,
                // Some shards have taken it up, and others not: it is to begin anew, on another connection.
                None => connection.close(),
            }
        });
    }

    /// Has all of these shards take it up. `None` if one does not, and may later.
    async fn take_up_all(
        self: &Rc<Connection>,
        client: u32,
        (name, token): (String, [u8; 16]),
        parts: Vec<Part>,
        count: usize,
    ) -> Option<Response> {
        let mut all = vec![None; count];
        let mut within = self.router.limits.get().resume_within.as_millis() as u64;
        let mut asked: FuturesUnordered<_> = parts
            .into_iter()
            .map(|(shard, leases, places)| {
                let request = Request::TakeUp { name: name.clone(), token, leases };
                async move { (places, self.until_taken_up(client, shard, &request).await) }
            })
            .collect();
        while let Some((places, answer)) = asked.next().await {
            match answer? {
                Response::TakenUp { resume_within_ms, leases } => {
                    within = resume_within_ms;
                    places.into_iter().zip(leases).for_each(|(place, lease)| all[place] = Some(lease));
                }
                Response::Error(fault) if fault.code.try_again() => return None,
                refusal => return Some(refusal),
            }
        }
        let leases = all.into_iter().collect::<Option<Vec<_>>>();
        Some(leases.map_or_else(
            || Response::Error(unexpected()),
            |leases| Response::TakenUp { resume_within_ms: within, leases },
        ))
    }

    /// Asks a shard to take a worker up, whose former connection may not have ended there yet.
    async fn until_taken_up(
        self: &Rc<Connection>,
        client: u32,
        shard: usize,
        request: &Request,
    ) -> Option<Response> {
        let (end, link) = (Instant::now() + TAKE_UP_TIME, self.link(shard));
        loop {
            let answer = self.begin(client, shard, request).await.await.ok()?;
            // Another link would have said that the worker has nothing there.
            let is_same = self.links.borrow()[shard].as_ref().is_some_and(|now| Rc::ptr_eq(now, &link));
            match answer {
                Response::Error(fault) if fault.code.try_again() && is_same && Instant::now() < end => {
                    sleep(TAKE_UP_PAUSE).await;
                }
                answer => return Some(answer),
            }
        }
    }

    /// The connection to a shard has broken, and so the client's ends. What its worker has elsewhere is not lost by that, nor are answers
    /// that are about to come.
    pub(super) async fn break_at(self: &Rc<Connection>, shard: usize) {
        if self.is_breaking.replace(true) {
            return;
        }
        self.leave(Some(shard)).await;
        let _ = timeout(LEAVE_TIME, self.until_idle()).await;
        self.close();
    }

    /// Tells the shards to which the worker has come, but for one that is gone, that it comes back.
    pub(super) async fn leave(self: &Rc<Connection>, gone: Option<usize>) -> Response {
        if self.worker.borrow().is_none() {
            let message = "a worker that has not said who it is cannot come back".to_owned();
            return Response::Error(Fault { code: ErrorCode::Invalid, message });
        }
        let is_open = |shard: &usize| {
            self.links.borrow()[*shard].as_ref().is_some_and(|link| link.is_open()) && Some(*shard) != gone
        };
        let open: Vec<_> = (0..self.router.shards.count()).filter(is_open).collect();
        let mut answer = Response::Ok;
        let all = async {
            for shard in open {
                // One that is away as well has nothing that it would lose.
                let told = self.begin(UNASKED, shard, &Request::Leave).await.await;
                if let Ok(refusal @ Response::Error(_)) = told {
                    answer = refusal;
                }
            }
        };
        let _ = timeout(LEAVE_TIME, all).await;
        answer
    }
}
