//! The HTTP front of a daemon: its start, the connections that it asks for, and its files at a reload.

use super::ServeError;
use crate::access::Caller;
use crate::config::{Config, Http, Place};
use crate::fronts::Native;
use crate::http::{self, Calls, Listener, Secrets, SecretsError, Serving};
use crate::server::{self, Hub, Listening};
use crate::store::DiskStore;
use crate::telemetry::events;
use rustix::process::{getegid, geteuid};
use std::rc::Rc;

/// A front that has its place, and serves nobody yet.
pub(super) struct Bound(Option<(Listener, Option<Listening>, Secrets)>);

/// Reads the files that it needs.
fn secrets(http: &Http) -> Result<Secrets, SecretsError> {
    let identity = http.tls.as_ref().map(|tls| (&*tls.certificate, &*tls.key));
    Secrets::read(http.tokens.as_deref(), identity)
}

impl Bound {
    /// Reads the files and takes the place, if one is configured.
    pub(super) fn new(config: &Config) -> Result<Bound, ServeError> {
        let Some(http) = &config.daemon.http else { return Ok(Bound(None)) };
        let secrets = secrets(http)?;
        let (listener, socket) = match &http.place {
            Place::Address(address) => {
                let unbound = |error| ServeError::Http { address: *address, error };
                (Listener::at(*address).map_err(unbound)?, None)
            }
            Place::Socket(path) => {
                let socket = server::listen_at(path, "daemon.http")?;
                (Listener::Unix(socket.listener()?), Some(socket))
            }
        };
        Ok(Bound(Some((listener, socket, secrets))))
    }

    /// Serves, with connections to this loop.
    pub(super) fn serve(self, hub: &Rc<Hub<DiskStore>>, config: &Config) -> Result<HttpFront, ServeError> {
        let (Some((listener, socket, secrets)), Some(http)) = (self.0, &config.daemon.http) else {
            return Ok(HttpFront(None));
        };
        let own = Caller { uid: geteuid().as_raw(), groups: vec![getegid().as_raw()] };
        let (address, count) = (listener.address(), secrets.tokens.len());
        let (serving, calls) = http::serve(listener, secrets, own, config.limits.frame)?;
        // The port may be the system's choice.
        let place = address.map_or_else(|| http.place.clone(), Place::Address);
        events::http_started(&place, http.tls.is_some(), count);
        drop(tokio::task::spawn_local(take(hub.clone(), calls)));
        Ok(HttpFront(Some(Front { serving, http: http.clone(), _socket: socket })))
    }
}

/// Takes on the connections that the front asks for, until it has ended.
async fn take(hub: Rc<Hub<DiskStore>>, mut calls: Calls) {
    while let Some(call) = calls.recv().await {
        if let Err(error) = server::serve_as::<Native, _>(&hub, call.stream, call.caller).await {
            tracing::warn!("a request by HTTP has no connection: {error}");
        }
    }
}

/// The front, if there is one. It ends with this.
pub(super) struct HttpFront(Option<Front>);

struct Front {
    serving: Serving,
    /// Where, and how.
    http: Http,
    /// Its socket, if it has one.
    _socket: Option<Listening>,
}

impl HttpFront {
    /// Reads the files again. If one is wrong, those of before hold; and if they are for another front than this, which comes with the
    /// next start.
    pub(super) fn reload(&self, config: &Config) {
        let (Some(front), Some(http)) = (&self.0, &config.daemon.http) else { return };
        if !front.http.is_same_front(http) {
            return;
        }
        match secrets(http) {
            Ok(secrets) => front.serving.set_secrets(secrets),
            Err(error) => events::secrets_refused(&error),
        }
    }
}
