//! A client that is a worker whose leases outlive the daemon: each shard is told who it is, with what it has there; and that it comes back,
//! if the connection ends for a reason of another shard's.

use super::connection::{Connection, UNASKED};
use super::merge::unexpected;
use super::route::leases;
use crate::protocol::{ErrorCode, Fault, LeaseRef, Request, Response};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a worker's former connection may take to end, and how often it is looked whether it has.
const TAKE_UP_TIME: Duration = Duration::from_secs(10);
const TAKE_UP_PAUSE: Duration = Duration::from_millis(20);
/// How long shards may take to hear that a worker leaves.
const LEAVE_TIME: Duration = Duration::from_millis(500);

impl Connection {
    /// A worker says who it is. The shards that it has leases of are told at once, the others with their first request.
    pub(super) async fn take_up(
        self: &Rc<Connection>,
        client: u32,
        name: String,
        token: [u8; 16],
        all: Vec<LeaseRef>,
    ) {
        if self.worker.borrow().is_some() {
            let message = "this connection has said already which worker it is".to_owned();
            return self.answer(client, &Response::Error(Fault { code: ErrorCode::Invalid, message })).await;
        }
        let (parts, count) = (leases(self.router.shards, &all), all.len());
        // Those that are opened later say who it is and that it has nothing; these must not.
        parts.keys().for_each(|shard| drop(self.link(*shard)));
        *self.worker.borrow_mut() = Some((name.clone(), token));
        self.spawn(async move |connection| {
            let mut all = vec![None; count];
            let mut within = connection.router.limits.resume_within.as_millis() as u64;
            for (shard, (leases, places)) in parts {
                let request = Request::TakeUp { name: name.clone(), token, leases };
                match connection.until_taken_up(client, shard, &request).await {
                    Some(Response::TakenUp { resume_within_ms, leases }) => {
                        within = resume_within_ms;
                        places.into_iter().zip(leases).for_each(|(place, lease)| all[place] = Some(lease));
                    }
                    Some(refusal @ Response::Error(_)) => {
                        // Some shards have taken it up, and others not: it is to begin anew.
                        connection.answer(client, &refusal).await;
                        return connection.close();
                    }
                    _ => return,
                }
            }
            let answer = all.into_iter().collect::<Option<Vec<_>>>().map_or_else(
                || Response::Error(unexpected()),
                |leases| Response::TakenUp { resume_within_ms: within, leases },
            );
            connection.answer(client, &answer).await;
        });
    }

    /// Asks a shard to take a worker up, whose former connection may not have ended there yet.
    async fn until_taken_up(
        self: &Rc<Connection>,
        client: u32,
        shard: usize,
        request: &Request,
    ) -> Option<Response> {
        let end = Instant::now() + TAKE_UP_TIME;
        loop {
            match self.begin(client, shard, request).await.await.ok()? {
                Response::Error(fault) if fault.code == ErrorCode::Busy && Instant::now() < end => {
                    sleep(TAKE_UP_PAUSE).await;
                }
                answer => return Some(answer),
            }
        }
    }

    /// The connection to a shard has broken, and so the client's ends. What its worker has elsewhere is not lost by that.
    pub(super) async fn break_at(self: &Rc<Connection>, shard: usize) {
        if !*self.end.borrow() {
            self.leave(Some(shard)).await;
            self.close();
        }
    }

    /// Tells the shards to which the worker has come, but for one that is gone, that it comes back.
    pub(super) async fn leave(self: &Rc<Connection>, gone: Option<usize>) {
        if self.worker.borrow().is_none() {
            return;
        }
        let is_open = |shard: &usize| self.links.borrow()[*shard].is_some() && Some(*shard) != gone;
        let open: Vec<_> = (0..self.router.shards.count()).filter(is_open).collect();
        let mut told = Vec::with_capacity(open.len());
        for shard in open {
            told.push(self.begin(UNASKED, shard, &Request::Leave).await);
        }
        // One that is away as well has nothing that it would lose.
        let all = async {
            for told in told {
                let _ = told.await;
            }
        };
        let _ = timeout(LEAVE_TIME, all).await;
    }
}
