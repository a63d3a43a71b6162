//! The thread of the front: its socket, its connections, and their end. How much there may be at a time is bounded here: connections,
//! what a request has in front of its body, and how long that takes.

use super::answer::ApiError;
use super::link::{Calls, Link};
use super::tokens::Tokens;
use super::{api, guard, health};
use crate::access::Caller;
use crate::client::{Client, ClientError};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// The most connections at a time; the next ones wait.
const CONNECTIONS_MAX: usize = 256;
/// How long a request may take to come, up to its body.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How many bytes of it that may be.
const HEAD_MAX: usize = 16 << 10;
/// How long its body may take to come.
pub(super) const BODY_TIME: Duration = Duration::from_secs(30);
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all requests share.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) address: SocketAddr,
    link: Link,
    tokens: Arc<RwLock<Tokens>>,
    /// Who the daemon itself is.
    own: Caller,
    pub(super) readiness: health::Readiness,
}

impl Front {
    /// Whose token that is.
    pub(super) fn caller(&self, token: &[u8]) -> Option<Caller> {
        // Nobody panics while it is locked.
        self.tokens.read().unwrap_or_else(|poisoned| poisoned.into_inner()).find(token).cloned()
    }

    pub(super) async fn client(&self, caller: &Caller) -> Result<Client, ClientError> {
        self.link.client(caller).await
    }

    /// The daemon's own connection, for what is no secret.
    pub(super) async fn own(&self) -> Result<Client, ClientError> {
        self.link.client(&self.own).await
    }
}

/// A front that runs. Dropped, it ends, with all of its connections.
#[derive(Debug)]
pub(crate) struct Serving {
    tokens: Arc<RwLock<Tokens>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// From now on these hold.
    pub(crate) fn set_tokens(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = tokens;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// Takes the address.
///
/// # Errors
/// It is taken, or not this machine's.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves in a thread of its own, which asks the loop for connections. `body_max`: the most bytes of a request's body.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn serve(
    listener: TcpListener,
    tokens: Tokens,
    own: Caller,
    body_max: usize,
) -> io::Result<(Serving, Calls)> {
    let (link, calls) = Link::new();
    let tokens = Arc::new(RwLock::new(tokens));
    let address = listener.local_addr()?;
    let front = Front { address, link, tokens: tokens.clone(), own, readiness: health::Readiness::default() };
    let (end, ended) = oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| {
            runtime.block_on(async {
                tokio::select! {
                    served = accept(listener, routes(front, body_max)) => served,
                    _ = ended => Ok(()),
                }
            })
        });
        if let Err(error) = served {
            tracing::error!("nothing is served by HTTP any more: {error}");
        }
    };
    let thread = std::thread::Builder::new().name("http".into()).spawn(run)?;
    Ok((Serving { tokens, end: Some(end), thread: Some(thread) }, calls))
}

fn routes(front: Front, body_max: usize) -> Router {
    let with_token = Router::new()
        .nest("/api/v1", api::routes())
        .route_layer(from_fn_with_state(front.clone(), guard::token));
    Router::new()
        .merge(with_token)
        .route("/healthz", axum::routing::get(health::healthz))
        .route("/readyz", axum::routing::get(health::readyz))
        .fallback(async || {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this address: see docs/http.md",
            )
        })
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this address has other methods: see docs/http.md",
            )
        })
        .layer(DefaultBodyLimit::max(body_max))
        .layer(from_fn_with_state(body_max, guard::length))
        .layer(from_fn_with_state(front.clone(), guard::place))
        .layer(map_response(for_browsers))
        .with_state(front)
}

/// Nothing here is to be kept, or taken for something else than it says.
async fn for_browsers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Serves all who come, without end.
async fn accept(listener: TcpListener, routes: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // No descriptors left, say.
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small answers leave at once. Without it they are slower, and right.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(routes.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // What goes wrong on a connection concerns its client alone.
            let _ = connection.await;
            drop(place);
        });
    }
}
