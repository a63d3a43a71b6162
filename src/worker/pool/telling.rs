//! What a pool tells the daemon of its leases: how attempts have ended, and that the others go on.

use super::{Event, Pool, tell};
use crate::client::{ClientError, report_lost, results_of, send_now};
use crate::protocol::{LeaseFault, LeaseRef, Settle, Verdict};
use crate::worker::keeping::complete_with;
use tokio::time::Instant;

/// How many extends wait for their answers: a daemon that stands still gets no more.
const EXTENDS_MAX: usize = 64;

impl Pool {
    pub(super) fn give_back(&mut self, lease: LeaseRef) {
        self.settles.push(Settle { lease, verdict: Verdict::Release { delay_ms: 0 } });
    }

    pub(super) fn settle(&mut self) {
        if !self.unsent.is_empty()
            && let Some(open) = self.line.now()
        {
            // Before the verdict, after which no more is taken. Usually it was sent on this connection, and this does nothing.
            for item in &self.settles {
                if let Some(unsent) = self.unsent.get_mut(&item.lease) {
                    unsent.send_on(&open);
                }
            }
        }
        // One that is refused for its length must not take others with it.
        let with_result = |item: &mut Settle| matches!(item.verdict, Verdict::CompleteWith(_));
        for item in self.settles.extract_if(.., with_result).collect::<Vec<_>>() {
            let (client, events) = (self.client.clone(), self.events.clone());
            self.settling += 1;
            send_now(async move {
                let answer = complete_with(&client, item.clone()).await;
                tell(&events, Event::Settled(vec![item], answer));
            });
        }
        while !self.settles.is_empty() {
            let rest = self.settles.split_off(self.settles.len().min(self.client.limits().batch.max(1)));
            let items = std::mem::replace(&mut self.settles, rest);
            let (client, events) = (self.client.clone(), self.events.clone());
            self.settling += 1;
            send_now(async move {
                let answer = client.settle(items.clone()).await;
                tell(&events, Event::Settled(items, answer));
            });
        }
    }

    pub(super) fn settled(
        &mut self,
        mut items: Vec<Settle>,
        answer: Result<Vec<Result<(), LeaseFault>>, ClientError>,
    ) {
        self.settling -= 1;
        if self.back.is_some() && answer.as_ref().is_err_and(ClientError::is_disconnect) {
            // Whether the daemon has it, the next one says.
            return self.settles.append(&mut items);
        }
        items.iter().for_each(|item| drop(self.unsent.remove(&item.lease)));
        report_lost(&results_of(&items), answer);
    }

    pub(super) fn extend(&mut self, now: Instant) {
        for (lease_ms, leases) in self.leases.take_due(now) {
            for leases in leases.chunks(self.client.limits().batch.max(1)) {
                // Behind so many that nobody answers one more would only wait.
                if self.extending >= EXTENDS_MAX {
                    return;
                }
                let (client, events, leases) = (self.client.clone(), self.events.clone(), leases.to_vec());
                self.extending += 1;
                send_now(async move {
                    let answer = client.extend(leases.clone(), lease_ms).await;
                    tell(&events, Event::Extended(leases, answer));
                });
            }
        }
    }
}
