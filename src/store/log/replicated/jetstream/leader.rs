//! Which server leads the stream. What is appended goes from the server that has the connection to the leader, and the answer back: where
//! they are one server, that way is saved.

use super::connection::{Connection, StreamError};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{ClusterInfo, PeerInfo};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
struct LeftIt {
    success: bool,
}

impl Connection {
    /// The server that has this connection, if another one leads the stream and this one could as well: it has all of it.
    ///
    /// # Errors
    /// No server answers.
    pub(crate) async fn could_lead(&self) -> Result<Option<String>, StreamError> {
        let info = self.stream.get_info().await.map_err(|error| self.unusable(&error))?;
        let own = self.client().server_info().server_name;
        Ok(info.cluster.is_some_and(|cluster| has_all_and_follows(&cluster, &own)).then_some(own))
    }

    /// Asks the server that leads the stream to leave that to another one. Appends wait meanwhile.
    ///
    /// # Errors
    /// It does not want to, or nobody may ask for it, or no server answers.
    pub(crate) async fn let_lead(&self, server: &str) -> Result<(), StreamError> {
        let subject = format!("STREAM.LEADER.STEPDOWN.{}", self.name);
        let wish = json!({ "placement": { "preferred": server } });
        let asked = self.context.request::<_, _, Response<LeftIt>>(subject, &wish);
        match asked.await.map_err(|error| self.unusable(&error))? {
            Response::Ok(LeftIt { success: true }) => Ok(()),
            Response::Ok(LeftIt { success: false }) => Err(self.unusable(&"its leader goes on")),
            Response::Err { error } => Err(self.unusable(&error)),
        }
    }
}

fn has_all_and_follows(cluster: &ClusterInfo, own: &str) -> bool {
    let is_whole = |server: &PeerInfo| server.name == own && server.current && !server.offline;
    cluster.leader.as_deref().is_some_and(|leader| leader != own) && cluster.replicas.iter().any(is_whole)
}
