//! Requests about groups of jobs.

use super::{Client, ClientError};
use crate::protocol::admin::{AdminRequest, GroupEndView, WaitForGroups};

impl Client {
    /// Waits until groups have ended, or the time is over: how each is, in the order of their names. A group has ended when it
    /// is sealed and all of its jobs have.
    ///
    /// # Errors
    /// There is no such group; the daemon is too old; or the connection ended.
    pub async fn wait_for_groups(&self, wait: WaitForGroups) -> Result<Vec<GroupEndView>, ClientError> {
        let answer = self.ask(AdminRequest::WaitForGroups(wait)).await;
        answer.map_err(|error| error.of_new("waiting for groups"))
    }
}
