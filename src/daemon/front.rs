//! The HTTP front of a daemon: its start, and its files at a reload. The connections that it asks for somebody else makes.

use super::ServeError;
use crate::access::Caller;
use crate::config::{Config, Http, Place};
use crate::http::{self, Calls, Listener, Secrets, SecretsError, Serving, Sight};
use crate::server::{self, Listening};
use crate::telemetry::events;
use rustix::process::{getegid, geteuid};

/// Reads the files that it needs.
fn secrets(http: &Http) -> Result<Secrets, SecretsError> {
    let identity = http.tls.as_ref().map(|tls| (&*tls.certificate, &*tls.key));
    Secrets::read(http.tokens.as_deref(), identity)
}

/// Reads the files, takes the place and serves, if that is configured: with connections to the loop, for which it calls.
pub(super) fn start(config: &Config, sight: Option<Sight>) -> Result<(HttpFront, Option<Calls>), ServeError> {
    let Some(http) = &config.daemon.http else { return Ok((HttpFront(None), None)) };
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
    let own = Caller { uid: geteuid().as_raw(), groups: vec![getegid().as_raw()] };
    let (address, count) = (listener.address(), secrets.tokens.len());
    let (serving, calls) = http::serve(listener, secrets, own, config.limits.frame, sight)?;
    // The port may be the system's choice.
    let place = address.map_or_else(|| http.place.clone(), Place::Address);
    events::http_started(&place, http.tls.is_some(), count);
    Ok((HttpFront(Some(Front { serving, http: http.clone(), _socket: socket })), Some(calls)))
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
    /// There is none.
    #[cfg(any(test, feature = "cluster"))]
    pub(super) fn none() -> HttpFront {
        HttpFront(None)
    }

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
