//! Lanes whose handler cannot be started: they claim no jobs, try again from time to time, and report it to the daemon,
//! for people to see.

use super::Pool;
use crate::client::send_now;
use crate::protocol::admin::AdminRequest;
use crate::worker::Handler;
use crate::worker::exec;
use crate::worker::lanes::LaneId;
use std::time::Duration;
use tokio::time::Instant;

impl Pool {
    /// Sees whether what kept lanes from beginning jobs is gone, as far as that can be seen without a job.
    pub(super) fn look_at_handlers(&mut self, now: Instant) {
        for (lane, plan) in self.lanes.to_try(now) {
            let obstacle = match &plan.handler {
                Handler::Http(push) => self.targets.open(push).err().map(|error| error.to_string()),
                handler => exec::obstacle(handler, &self.around).map(|error| error.to_string()),
            };
            match obstacle {
                Some(obstacle) => self.hold(lane, obstacle),
                None => {
                    self.lanes.try_one(lane);
                    self.tell_held(plan.queues.clone(), None, Duration::ZERO);
                }
            }
        }
    }

    /// A lane cannot begin jobs: they go back, and it tries again later.
    pub(super) fn hold(&mut self, lane: LaneId, why: String) {
        let Some(wait) = self.lanes.hold(lane, Instant::now()) else { return };
        if let Some((plan, outdated)) = self.lanes.held(lane) {
            self.give_up(outdated);
            tracing::warn!("{why}; jobs of {} are left alone, next try in {wait:?}", plan.queues.join(", "));
            self.tell_held(plan.queues.clone(), Some(why), wait);
        }
    }

    pub(super) fn tell_held(&self, queues: Vec<String>, error: Option<String>, wait: Duration) {
        let client = self.client.clone();
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // An older daemon does not know this request; nothing depends on it.
        send_now(async move { drop(client.done(AdminRequest::Hold { queues, error, retry_ms }).await) });
    }
}
