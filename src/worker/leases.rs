//! The leases of a pool's jobs, running or about to run: when each must be extended, and how to send its attempt an
//! order. Plain bookkeeping: no requests are sent here.

use super::supervise::Order;
use crate::client::ClientError;
use crate::protocol::{LeaseFault, LeaseRef};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The longest time between two extends, also of longer leases.
const EXTEND_WAIT_MAX_MS: u64 = 3_600_000;
/// The shortest, so that a lease of no length causes no endless extends.
const EXTEND_WAIT_MIN_MS: u64 = 10;

/// All leases of jobs that run or are about to.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<LeaseRef, Held>,
    /// No lease is to be extended before this time. It may be too early, never too late.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    orders: watch::Sender<Order>,
    /// The length to ask for; the queue's setting if not given.
    asked_ms: Option<u64>,
    /// A third of the lease's length.
    third: Duration,
    /// When to extend it; `None` once it is lost.
    extend_at: Option<Instant>,
}

impl Leases {
    /// Takes charge of a new lease; what its attempt is to listen to, and hears first.
    pub(super) fn insert(
        &mut self,
        lease: LeaseRef,
        lease_ms: u64,
        asked_ms: Option<u64>,
        first: Order,
    ) -> watch::Receiver<Order> {
        let (orders, receiver) = watch::channel(first);
        let third = Duration::from_millis((lease_ms / 3).clamp(EXTEND_WAIT_MIN_MS, EXTEND_WAIT_MAX_MS));
        let extend_at = Instant::now() + third;
        self.next = Some(self.next.map_or(extend_at, |next| next.min(extend_at)));
        self.held.insert(lease, Held { orders, asked_ms, third, extend_at: Some(extend_at) });
        receiver
    }

    pub(super) fn remove(&mut self, lease: LeaseRef) {
        self.held.remove(&lease);
        if self.held.is_empty() {
            self.next = None;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Gives an attempt an order, if it has not ended.
    pub(super) fn order(&mut self, lease: LeaseRef, order: Order) {
        if let Some(held) = self.held.get_mut(&lease) {
            held.order(order);
        }
    }

    pub(super) fn order_all(&mut self, order: Order) {
        self.held.values_mut().for_each(|held| held.order(order));
    }

    /// When [`Leases::take_due`] is to be asked.
    pub(super) fn next_extend(&self) -> Option<Instant> {
        self.next
    }

    /// The leases to extend now, by the length to ask for. Those that would be due soon go along, so that many
    /// jobs make few requests.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeMap<Option<u64>, Vec<LeaseRef>> {
        let mut due = BTreeMap::<_, Vec<_>>::new();
        if self.next.is_none_or(|next| now < next) {
            return due;
        }
        for (lease, held) in &mut self.held {
            if held.extend_at.is_some_and(|at| at <= now + held.third / 2) {
                held.extend_at = Some(now + held.third);
                due.entry(held.asked_ms).or_default().push(*lease);
            }
        }
        self.next = self.held.values().filter_map(|held| held.extend_at).min();
        due
    }

    /// Takes the answer to an extend: who has lost the lease must stop. If the request as a whole failed, the
    /// next one comes in good time.
    pub(super) fn extended(
        &mut self,
        leases: &[LeaseRef],
        answer: Result<Vec<Result<u64, LeaseFault>>, ClientError>,
    ) {
        match answer {
            Ok(results) => {
                for (lease, result) in leases.iter().zip(results) {
                    if let Err(fault) = result
                        && self.held.get(lease).is_some_and(|held| held.extend_at.is_some())
                    {
                        // It may run elsewhere by now.
                        tracing::warn!("job {} is killed: {fault}", lease.id);
                        self.order(*lease, Order::Kill);
                    }
                }
            }
            Err(error) if error.is_disconnect() => {}
            Err(error) => tracing::warn!("{} leases are not extended: {error}", leases.len()),
        }
    }
}

impl Held {
    fn order(&mut self, order: Order) {
        if order >= Order::Abandon {
            self.extend_at = None;
        }
        self.orders.send_if_modified(|current| {
            let raised = *current < order;
            *current = order.max(*current);
            raised
        });
    }
}

/// Logs which results came too late.
pub(super) fn report_lost(leases: &[LeaseRef], answer: Result<Vec<Result<(), LeaseFault>>, ClientError>) {
    match answer {
        Ok(results) => {
            for (lease, fault) in leases.iter().zip(results).filter_map(|(lease, r)| Some((lease, r.err()?)))
            {
                tracing::warn!(
                    "the result of job {}, attempt {}, came too late: {fault}",
                    lease.id,
                    lease.attempt
                );
            }
        }
        Err(error) if error.is_disconnect() => {}
        Err(error) => tracing::error!("the results of {} jobs are lost: {error}", leases.len()),
    }
}
