//! The leases of a pool's jobs, running or about to run, and how to send an attempt an order. Plain bookkeeping: no
//! requests are sent here.

use super::supervise::Order;
use crate::client::{ClientError, Leases as Held};
use crate::protocol::{LeaseFault, LeaseRef};
use std::collections::BTreeMap;
use tokio::sync::watch;
use tokio::time::Instant;

/// All leases of jobs that run or are about to.
#[derive(Debug, Default)]
pub(super) struct Leases(Held<watch::Sender<Order>>);

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
        self.0.insert(lease, lease_ms, asked_ms, orders);
        receiver
    }

    pub(super) fn remove(&mut self, lease: LeaseRef) {
        self.0.remove(lease);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, lease: LeaseRef) -> bool {
        self.0.holder(lease).is_some()
    }

    /// All leases.
    pub(super) fn all(&self) -> impl Iterator<Item = LeaseRef> + '_ {
        self.0.all()
    }

    /// All are to be extended at once, as far as they are not given up.
    pub(super) fn extend_now(&mut self) {
        self.0.extend_now();
    }

    /// Gives an attempt an order, if it has not ended.
    pub(super) fn order(&mut self, lease: LeaseRef, order: Order) {
        if order >= Order::Cancel {
            self.0.give_up(lease);
        }
        if let Some(orders) = self.0.holder(lease) {
            give(orders, order);
        }
    }

    pub(super) fn order_all(&mut self, order: Order) {
        if order >= Order::Cancel {
            self.0.give_all_up();
        }
        self.0.holders().for_each(|orders| give(orders, order));
    }

    /// When [`Leases::take_due`] is to be asked.
    pub(super) fn next_extend(&self) -> Option<Instant> {
        self.0.next_extend()
    }

    /// The leases to extend now, by the length to ask for.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeMap<Option<u64>, Vec<LeaseRef>> {
        self.0.take_due(now)
    }

    /// Takes the answer to an extend: who has lost the lease must stop.
    pub(super) fn extended(
        &mut self,
        leases: &[LeaseRef],
        answer: Result<Vec<Result<u64, LeaseFault>>, ClientError>,
    ) {
        for (lease, fault) in self.0.extended(leases, answer) {
            if fault.is_cancelled() {
                // As the notice says, which may have come before the job.
                self.order(lease, Order::Cancel);
                continue;
            }
            // It may run elsewhere by now.
            tracing::warn!("job {} is killed: {fault}", lease.id);
            self.order(lease, Order::Kill);
        }
    }
}

/// Orders are only ever raised.
fn give(orders: &watch::Sender<Order>, order: Order) {
    orders.send_if_modified(|current| {
        let raised = *current < order;
        *current = order.max(*current);
        raised
    });
}
