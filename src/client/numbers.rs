//! Requests about what the daemon has counted, and what it logs.

use super::{Client, ClientError};
use crate::protocol::admin::{AdminRequest, LogLevelView, StatsView};
use std::time::Duration;

impl Client {
    /// What happened lately, step by step: from so long ago on, of one queue or of all that may be seen.
    ///
    /// # Errors
    /// There is no such queue, or it is not for the caller; the daemon is too old; or the connection ended.
    pub async fn stats(&self, since: Duration, queue: Option<String>) -> Result<StatsView, ClientError> {
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let asked = self.ask(AdminRequest::Stats { since_ms, queue }).await;
        asked.map_err(|error| error.of_new("past of queues"))
    }

    /// What the daemon logs; with a filter (`debug`, `info,musher::store=trace`) from now on, until its next start. An empty one is that
    /// of the start.
    ///
    /// # Errors
    /// The filter cannot be read; the caller may not change the whole daemon; the daemon is too old; or the connection ended.
    pub async fn log_level(&self, filter: Option<String>) -> Result<LogLevelView, ClientError> {
        let asked = self.ask(AdminRequest::LogLevel { filter }).await;
        asked.map_err(|error| error.of_new("change of what is logged"))
    }
}
