//! The front of beanstalkd's protocol of a daemon: its place, and who comes there.

use super::ServeError;
use crate::config::{BeanstalkPlace, Config, Place};
use crate::credentials;
use crate::fronts::{Beanstalk, Tubes};
use crate::server::{self, Hub, Listening};
use crate::store::Store;
use crate::telemetry::events;
use std::net::TcpListener;
use std::rc::Rc;
use tokio::task::JoinHandle;

/// A front that has its place, and serves nobody yet.
pub(super) struct BeanstalkBound(Option<Listener>);

enum Listener {
    /// For all who connect, as this user.
    Tcp(TcpListener, u32),
    Unix(Listening),
}

impl BeanstalkBound {
    /// There is none.
    #[cfg(any(test, feature = "cluster"))]
    pub(super) fn none() -> BeanstalkBound {
        BeanstalkBound(None)
    }

    /// Takes the place, if one is configured.
    pub(super) fn new(config: &Config) -> Result<BeanstalkBound, ServeError> {
        let Some(BeanstalkPlace { place, user }) = &config.daemon.beanstalk else {
            return Ok(BeanstalkBound(None));
        };
        let listener = match (place, user) {
            (Place::Address(address), Some(user)) => {
                let unbound = |error| ServeError::Beanstalk { address: *address, error };
                Listener::Tcp(TcpListener::bind(address).map_err(unbound)?, *user)
            }
            (Place::Socket(path), _) => Listener::Unix(server::listen_at(path, "daemon.beanstalk")?),
            // The configuration was refused.
            (Place::Address(_), None) => return Ok(BeanstalkBound(None)),
        };
        Ok(BeanstalkBound(Some(listener)))
    }

    /// Accepts connections, until the task is aborted.
    pub(super) fn serve<S: Store + 'static>(
        &self,
        hub: &Rc<Hub<S>>,
        tubes: &Rc<Tubes>,
    ) -> Result<Option<JoinHandle<()>>, ServeError> {
        let Some(listener) = &self.0 else { return Ok(None) };
        let tubes = tubes.clone();
        let make = move || Beanstalk::new(tubes.clone());
        Ok(Some(match listener {
            Listener::Tcp(listener, user) => {
                // The port may be the system's choice.
                events::beanstalk_started(&Place::Address(listener.local_addr()?), Some(*user));
                server::accept_tcp(hub, listener.try_clone()?, credentials::of_user(*user)?, make)?
            }
            Listener::Unix(listening) => {
                if let Some(path) = listening.path() {
                    events::beanstalk_started(&Place::Socket(path.to_path_buf()), None);
                }
                listening.accept_into(hub, make)?
            }
        }))
    }

    /// Takes connections for another node, until the task is aborted.
    #[cfg(any(test, feature = "cluster"))]
    pub(super) fn pass_on(&self, to: super::cluster::PassOn) -> Result<Option<JoinHandle<()>>, ServeError> {
        Ok(match &self.0 {
            None => None,
            Some(Listener::Tcp(listener, user)) => {
                Some(to.accept_tcp(listener, credentials::of_user(*user)?)?)
            }
            Some(Listener::Unix(listening)) => Some(listening.accept(to)?),
        })
    }
}
