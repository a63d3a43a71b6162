//! The thread of the front: its socket, its connections, and their end. What a request has in front of its body is bounded here, and how
//! long that takes.

use super::answer::ApiError;
use super::bodies::Bodies;
use super::link::{Calls, Link};
use super::listener::{Arrived, Listener};
use super::places::{Held, Places, Wire};
use super::secrets::{Current, Secrets};
use super::streams::{Stream, Streams};
use super::tls::Identity;
use super::unread::Read;
use super::{api, dashboard, guard, health, metrics};
use crate::access::Caller;
use crate::client::{Client, ClientError};
use crate::protocol as wire;
use crate::protocol::admin::ClusterView;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// How long a request may take to come, up to its body.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How many bytes of it that may be.
const HEAD_MAX: usize = 16 << 10;
/// How long answers may take to leave at the end.
const END_TIME: Duration = Duration::from_secs(1);
/// So many are accepted before the others are looked at: far fewer than there may be.
const IN_A_ROW: usize = 16;
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How this daemon is reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Site {
    /// By an address of this machine's own.
    Plain(SocketAddr),
    /// By TLS, under any name that the certificate has.
    Tls,
    /// By a Unix socket.
    Unix,
}

/// What all requests share.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) site: Site,
    link: Link,
    secrets: Current,
    /// Who the daemon itself is.
    own: Caller,
    pub(super) readiness: health::Readiness,
    streams: Streams,
    pub(super) bodies: Bodies,
    /// How the cluster looks from this node, if it is one.
    pub(super) sight: Option<Sight>,
}

/// Says at any time how the cluster looks from this node.
pub(crate) type Sight = Arc<dyn Fn() -> Vec<ClusterView> + Send + Sync>;

impl Front {
    /// Whose token that is.
    pub(super) fn caller(&self, token: &[u8]) -> Option<Caller> {
        self.secrets.get().tokens.find(token).cloned()
    }

    pub(super) async fn client(&self, caller: &Caller) -> Result<Client, ClientError> {
        self.link.client(caller).await
    }

    /// Asks for an answer that goes on.
    pub(super) async fn open_stream(
        &self,
        caller: &Caller,
        request: &wire::Request,
        patience: Duration,
    ) -> Result<(Option<wire::Response>, Stream), ApiError> {
        self.streams.open(&self.link, caller, request, patience).await
    }

    /// The daemon's own connection, for what is no secret.
    pub(super) async fn own(&self) -> Result<Client, ClientError> {
        self.link.client(&self.own).await
    }
}

/// A front that runs. Dropped, it ends, with all of its connections.
#[derive(Debug)]
pub(crate) struct Serving {
    secrets: Current,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// From now on these hold: with an identity if there was one before, and only then.
    pub(crate) fn set_secrets(&self, secrets: Secrets) {
        self.secrets.set(secrets);
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

/// Serves in a thread of its own, which asks the loop for connections. `body_max`: the most bytes of a request's body.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn serve(
    listener: Listener,
    secrets: Secrets,
    own: Caller,
    body_max: usize,
    sight: Option<Sight>,
) -> io::Result<(Serving, Calls)> {
    let (link, calls) = Link::new();
    let site = match listener.address() {
        _ if secrets.identity.is_some() => Site::Tls,
        Some(address) => Site::Plain(address),
        None => Site::Unix,
    };
    let secrets = Current::new(secrets);
    let front = Front {
        site,
        link,
        secrets: secrets.clone(),
        own,
        readiness: health::Readiness::default(),
        streams: Streams::default(),
        bodies: Bodies::new(body_max),
        sight,
    };
    let (end, ended) = oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| {
            let served = runtime.block_on(accept(listener, front, ended));
            // What is read in the background is of no use any more.
            runtime.shutdown_background();
            served
        });
        if let Err(error) = served {
            tracing::error!("nothing is served by HTTP any more: {error}");
        }
    };
    let thread = std::thread::Builder::new().name("http".into()).spawn(run)?;
    Ok((Serving { secrets, end: Some(end), thread: Some(thread) }, calls))
}

fn routes(front: Front) -> Router {
    let with_token = api::routes().and(metrics::routes()).into_router();
    Router::new()
        .merge(with_token.route_layer(from_fn_with_state(front.clone(), guard::token)))
        .merge(dashboard::routes())
        .merge(health::routes().into_router())
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
        .layer(from_fn_with_state(front.clone(), guard::length))
        .layer(from_fn_with_state(front.clone(), guard::place))
        .layer(map_response(for_browsers))
        .with_state(front)
}

/// Nothing is to be kept that does not say so itself, or taken for something else than it says.
async fn for_browsers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Serves all who come, until the end.
async fn accept(listener: Listener, front: Front, ended: oneshot::Receiver<()>) -> io::Result<()> {
    let (listener, routes) = (listener.into_async()?, routes(front.clone()));
    let (places, end) = (Places::default(), watch::Sender::new(false));
    let (mut ended, mut in_a_row) = (pin!(ended), 0);
    loop {
        let arrived = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(arrived) => arrived,
                // No descriptors left, say.
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            _ = &mut ended => break,
        };
        // Only now, that there is somebody for whom another has to give way.
        let place = tokio::select! {
            place = places.enter() => Arc::new(place),
            _ = &mut ended => break,
        };
        let identity = front.secrets.get().identity.clone();
        tokio::spawn(serve_one(arrived, identity, routes.clone(), place, end.subscribe()));
        // Its request may be there already, and is looked at before many others come: in a crowd it would have to give way to them
        // unread.
        in_a_row += 1;
        if in_a_row == IN_A_ROW {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }
    // Whoever is being answered still gets that, if it does not take long.
    drop(listener);
    let _ = end.send(true);
    let _ = timeout(END_TIME, end.closed()).await;
    Ok(())
}

/// Serves one connection until it ends, has to give way, or the daemon ends.
async fn serve_one(
    arrived: Arrived,
    identity: Option<Identity>,
    routes: Router,
    place: Arc<Held>,
    end: watch::Receiver<bool>,
) {
    let routes = TowerToHyperService::new(routes);
    let service = |peer| Placed { routes, place: place.clone(), peer };
    match (arrived, identity) {
        (Arrived::Unix(stream, caller), _) => {
            talk(Wire::new(stream, place.clone()), service(Some(Peer(caller))), &place, end).await;
        }
        (Arrived::Tcp(stream), None) => {
            talk(Wire::new(stream, place.clone()), service(None), &place, end).await;
        }
        (Arrived::Tcp(stream), Some(identity)) => {
            let greeting = identity.acceptor().accept(Wire::new(stream, place.clone()));
            let greeted = tokio::select! {
                greeted = timeout(HEAD_TIME, greeting) => greeted,
                () = place.gives_way() => return,
            };
            // Who does not speak TLS, or does not trust the certificate, has been told so.
            if let Ok(Ok(stream)) = greeted {
                talk(stream, service(None), &place, end).await;
            }
        }
    }
}

/// HTTP on a connection.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: Placed,
    place: &Held,
    mut end: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // What goes wrong on a connection concerns its client alone.
    tokio::select! {
        _ = &mut connection => {}
        () = place.gives_way() => {}
        _ = end.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Who is at the other end of a connection, by the kernel's word.
#[derive(Clone)]
pub(super) struct Peer(pub(super) Caller);

/// Routes that learn on which connection a request has come.
struct Placed {
    routes: TowerToHyperService<Router>,
    place: Arc<Held>,
    peer: Option<Peer>,
}

impl hyper::service::Service<Request<Incoming>> for Placed {
    type Response = <TowerToHyperService<Router> as hyper::service::Service<Request<Read>>>::Response;
    type Error = <TowerToHyperService<Router> as hyper::service::Service<Request<Read>>>::Error;
    type Future = <TowerToHyperService<Router> as hyper::service::Service<Request<Read>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let known = request.extensions_mut();
        known.insert(self.place.clone());
        if let Some(peer) = &self.peer {
            known.insert(peer.clone());
        }
        self.routes.call(request.map(|body| Read::new(body, self.place.clone())))
    }
}
