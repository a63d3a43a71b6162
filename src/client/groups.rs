//! Requests about groups of jobs.

use super::{Client, ClientError};
use crate::protocol::admin::{AdminRequest, GroupEndView, JobView, JobsView, ListQuery, WaitForGroups};

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

    /// The first jobs of a group, about `most`, and whether there may be more.
    pub(crate) async fn jobs_of_group(
        &self,
        group: &str,
        most: usize,
    ) -> Result<(Vec<JobView>, bool), ClientError> {
        let (mut jobs, mut next) = (Vec::new(), Some(0));
        while let Some(after) = next {
            if jobs.len() >= most {
                return Ok((jobs, true));
            }
            let query =
                ListQuery { group: Some(group.to_owned()), after, limit: 1_000, ..ListQuery::default() };
            let page: JobsView = self.ask(AdminRequest::List(query)).await?;
            jobs.extend(page.jobs);
            next = page.next;
        }
        Ok((jobs, false))
    }
}
