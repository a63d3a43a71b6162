//! The HTTP front of a daemon: its start, the connections that it asks for, and its tokens at a reload.

use super::ServeError;
use crate::access::Caller;
use crate::config::Config;
use crate::fronts::Native;
use crate::http::{self, Calls, Serving, Tokens};
use crate::server::{self, Hub};
use crate::store::DiskStore;
use crate::telemetry::events;
use rustix::process::{getegid, geteuid};
use std::net::TcpListener;
use std::rc::Rc;

/// A front that has its address, and serves nobody yet.
pub(super) struct Bound(Option<(TcpListener, Tokens)>);

impl Bound {
    /// Reads the tokens and takes the address, if one is configured.
    pub(super) fn new(config: &Config) -> Result<Bound, ServeError> {
        let Some(http) = &config.daemon.http else { return Ok(Bound(None)) };
        let tokens = Tokens::read(&http.tokens)?;
        let unbound = |error| ServeError::Http { address: http.address, error };
        let listener = http::bind(http.address).map_err(unbound)?;
        Ok(Bound(Some((listener, tokens))))
    }

    /// Serves, with connections to this loop.
    pub(super) fn serve(self, hub: &Rc<Hub<DiskStore>>, config: &Config) -> Result<HttpFront, ServeError> {
        let Some((listener, tokens)) = self.0 else { return Ok(HttpFront(None)) };
        let (own, count) =
            (Caller { uid: geteuid().as_raw(), groups: vec![getegid().as_raw()] }, tokens.len());
        let address = listener.local_addr()?;
        let (serving, calls) = http::serve(listener, tokens, own, config.limits.frame)?;
        events::http_started(address, count);
        drop(tokio::task::spawn_local(take(hub.clone(), calls)));
        Ok(HttpFront(Some(serving)))
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
pub(super) struct HttpFront(Option<Serving>);

impl HttpFront {
    /// Reads the tokens again. If they are wrong, those of before hold.
    pub(super) fn reload(&self, config: &Config) {
        let (Some(serving), Some(http)) = (&self.0, &config.daemon.http) else { return };
        match Tokens::read(&http.tokens) {
            Ok(tokens) => serving.set_tokens(tokens),
            Err(error) => events::tokens_refused(&error),
        }
    }
}
