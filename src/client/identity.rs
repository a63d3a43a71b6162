//! Who a worker is whose leases outlive the daemon: a name, for people, and a secret that only it knows. A session begins with
//! both on its first connection, and goes on with both on the next one.

use super::{Client, ClientError};
use crate::protocol::{ErrorCode, Fault, LeaseFault, LeaseRef, Request, Response, Version};
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

/// Who a worker is.
#[derive(Clone)]
pub(crate) struct Identity {
    name: String,
    token: [u8; 16],
}

/// What a worker has of the daemon that knows it.
#[derive(Debug)]
pub(crate) struct TakenUp {
    /// How long it may take to come back after a start of the daemon.
    pub(crate) resume_within: Duration,
    /// Whether each of the leases that it has is in force.
    pub(crate) leases: Vec<Result<(), LeaseFault>>,
}

impl Identity {
    /// One that nobody has had.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn new(name: &str) -> io::Result<Identity> {
        let mut token = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut token)?;
        Ok(Identity { name: format!("{name} {}", std::process::id()), token })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is nobody's business.
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Client {
    /// Says who this worker is and which leases it has. `None`: the daemon is too old to know such workers, and leases end
    /// with this connection.
    ///
    /// # Errors
    /// Refused, or the connection ended.
    pub(crate) async fn take_up(
        &self,
        worker: &Identity,
        leases: Vec<LeaseRef>,
    ) -> Result<Option<TakenUp>, ClientError> {
        if self.connection.version() == Version::One {
            return Ok(None);
        }
        let Identity { name, token } = worker.clone();
        match self.connection.ask(&Request::TakeUp { name, token, leases }).await {
            Ok(Response::TakenUp { resume_within_ms, leases }) => {
                Ok(Some(TakenUp { resume_within: Duration::from_millis(resume_within_ms), leases }))
            }
            Ok(_) => Err(ClientError::Unexpected),
            Err(ClientError::Refused(Fault { code: ErrorCode::Unsupported, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
