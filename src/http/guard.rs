//! Which requests are let through, and whose they are. A page of another site in somebody's browser must reach nothing, not by a
//! name that it lets point here (`Host`), nor from its own place (`Origin`); everybody else needs a token.

use super::answer::ApiError;
use super::places::{Held, OF_USER_MAX, Serving};
use super::serving::{Front, Peer, Site};
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Lets through what comes by a name of ours, and not from another site.
pub(super) async fn place(State(front): State<Front>, request: Request, next: Next) -> Response {
    match check_place(request.headers(), front.site) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Refuses a body that is too long by what it says of itself, before it comes.
pub(super) async fn length(State(front): State<Front>, request: Request, next: Next) -> Response {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    match length.is_some_and(|length| length > front.bodies.most) {
        true => ApiError::too_long().into_response(),
        false => next.run(request).await,
    }
}

/// Lets through what has a token, or comes by a socket where the kernel says whose it is, and notes that.
pub(super) async fn token(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let caller = match request.headers().contains_key(AUTHORIZATION) {
        true => bearer(request.headers()).and_then(|token| front.caller(token)),
        false => request.extensions().get::<Peer>().map(|Peer(caller)| caller.clone()),
    };
    let Some(caller) = caller else {
        let message = "this needs a token of daemon.http_tokens: `Authorization: Bearer TOKEN`";
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        let mut response = error.into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    };
    let place = request.extensions().get::<Arc<Held>>().cloned();
    let serving = place.as_ref().map(|place| place.serve(caller.uid));
    if matches!(serving, Some(None)) {
        let message =
            format!("{OF_USER_MAX} requests of this user are being served at a time: try again later");
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).into_response();
    }
    request.extensions_mut().insert(caller);
    // Then nothing leaves of the answer's body.
    let is_head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    if let (Some(place), Some(bytes)) = (place, response.body().size_hint().exact().filter(|_| !is_head)) {
        place.owe(bytes as usize);
    }
    // He is being served until the answer has left.
    response.map(|body| Body::new(Attended { body, _serving: serving.flatten() }))
}

/// An answer that somebody waits for.
struct Attended {
    body: Body,
    _serving: Option<Serving>,
}

impl HttpBody for Attended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

/// Pages of other sites get nothing: neither by a name that leads here, nor from their own place. By TLS the certificate has proved the
/// name, and no page leads a browser to a Unix socket but by a proxy, which has names of its own.
fn check_place(headers: &HeaderMap, site: Site) -> Result<(), ApiError> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if let Site::Plain(address) = site
        && !is_ours(host, address)
    {
        let message =
            "the host of this request is none of this daemon's: use localhost, or the address of daemon.http";
        return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message));
    }
    let schemes: &[&str] = match site {
        Site::Plain(_) => &["http://"],
        Site::Tls => &["https://"],
        Site::Unix => &["http://", "https://"],
    };
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        !host.is_empty() && schemes.iter().any(|scheme| origin.strip_prefix(scheme) == Some(host))
    };
    match headers.get(ORIGIN).is_none_or(is_own) {
        true => Ok(()),
        false => {
            Err(ApiError::new(StatusCode::FORBIDDEN, "wrong_origin", "pages of other sites may ask nothing"))
        }
    }
}

/// Whether a host names this daemon: an address of this machine's own, or localhost, with the port if it has one.
fn is_ours(host: &str, address: SocketAddr) -> bool {
    let without_port = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && (!name.contains(':') || name.ends_with(']')) => {
            (port.parse() == Ok(address.port())).then(|| name.to_owned())
        }
        _ => Some(host.to_owned()),
    };
    let Some(name) = without_port(host) else { return false };
    let number = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || number.is_ok_and(|ip| ip.is_loopback() || ip == address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_ours_by_address_or_as_localhost() {
        let address = "127.0.0.1:7890".parse().unwrap();
        for host in
            ["localhost", "LOCALHOST:7890", "127.0.0.1:7890", "127.0.0.1", "[::1]:7890", "[::1]", "127.0.0.2"]
        {
            assert!(is_ours(host, address), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7890",
            "localhost:80",
            "127.0.0.1.evil.example",
            "10.0.0.1:7890",
            "localhost.",
            ":",
            "[::1]:80",
        ] {
            assert!(!is_ours(host, address), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let plain = Site::Plain("127.0.0.1:7890".parse().unwrap());
        let check_at = |site, host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            origin
                .into_iter()
                .for_each(|origin| drop(headers.insert(ORIGIN, HeaderValue::from_static(origin))));
            check_place(&headers, site).map_err(|error| error.into_response().status().as_u16())
        };
        let check = |host, origin| check_at(plain, host, origin);
        assert_eq!(check("localhost:7890", None), Ok(()));
        assert_eq!(check("localhost:7890", Some("http://localhost:7890")), Ok(()));
        for origin in ["http://evil.example", "http://localhost:3000", "https://localhost:7890", "null", ""] {
            assert_eq!(check("localhost:7890", Some(origin)), Err(403), "{origin}");
        }
        assert_eq!(check("evil.example", Some("http://evil.example")), Err(421));
        let (own, other) = ("https://jobs.example.org", "https://evil.example");
        for (site, origin, found) in [
            (Site::Tls, None, Ok(())),
            (Site::Tls, Some(own), Ok(())),
            (Site::Tls, Some("http://jobs.example.org"), Err(403)),
            (Site::Tls, Some(other), Err(403)),
            (Site::Unix, None, Ok(())),
            (Site::Unix, Some(own), Ok(())),
            (Site::Unix, Some(other), Err(403)),
        ] {
            assert_eq!(check_at(site, "jobs.example.org", origin), found, "{site:?} {origin:?}");
        }
        assert_eq!(check_at(Site::Unix, "", Some("http://")), Err(403));
    }

    #[test]
    fn a_token_is_what_follows_bearer() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(of("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(of("bearer  abc "), Some(b"abc".to_vec()));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("Bear"), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
