//! What a configuration sets for the loop, and may change while the daemon runs. Plain data, and the checks of its
//! limits.

use super::fault::{Fault, Kind};
use crate::access::Access;
use crate::core::{QueueName, QueueSettings, Settings};
use crate::engine::Bounds;
use crate::views::HandlerView;
use bytes::Bytes;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The limits of connections and requests. `docs/` names the key of each.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections at a time.
    pub connections: usize,
    /// The longest request, in bytes.
    pub frame: usize,
    /// The longest body, in bytes.
    pub body: usize,
    /// The longest checkpoint, in bytes.
    pub checkpoint: usize,
    /// The longest signal, in bytes.
    pub signal: usize,
    /// The longest result, in bytes.
    pub result: usize,
    /// The most jobs of one request.
    pub batch: usize,
    /// The bytes of output kept of one job.
    pub output: u64,
    /// What all connections together may have unread and unsent, in bytes.
    pub buffers: usize,
    /// The engine's own bounds.
    pub bounds: Bounds,
}

impl Limits {
    /// Refuses a request of more jobs than one may be about.
    pub(crate) fn check_batch(&self, len: usize) -> Result<(), Fault> {
        let max = self.batch;
        if len > max {
            let message = format!("{len} jobs in one request: at most {max} (limits.batch)");
            return Err(Fault::new(Kind::TooLarge, message));
        }
        Ok(())
    }

    /// Refuses bodies that are too long.
    pub(crate) fn check_bodies(&self, bodies: &[Bytes]) -> Result<(), Fault> {
        self.check_body(bodies.iter().map(Bytes::len).max().unwrap_or(0))
    }

    /// Refuses one of so many bytes, if that is too long.
    pub(crate) fn check_body(&self, len: usize) -> Result<(), Fault> {
        let max = self.body;
        if len <= max {
            return Ok(());
        }
        let message = format!("a body of {len} bytes: at most {max} are allowed (limits.body)");
        Err(Fault::new(Kind::TooLarge, message))
    }
}

/// What a configuration says that may change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Service {
    /// Of queues, and for decisions; what is set at run time goes over them.
    pub settings: Settings,
    /// Of each queue in the configuration, if its table said nothing.
    pub usual: HashMap<QueueName, QueueSettings>,
    /// Of connections and requests.
    pub limits: Limits,
    /// Who may do what.
    pub access: Rc<Access>,
    /// What the daemon's own workers run.
    pub handlers: Vec<HandlerView>,
    /// How long a stop waits for running attempts.
    pub drain_timeout: Duration,
    /// Whether jobs are taken while the daemon stops.
    pub accept_while_draining: bool,
}
