//! Which requests are let through, and whose they are. A page of another site in somebody's browser must reach nothing, not by a
//! name that it lets point here (`Host`), nor from its own place (`Origin`); everybody else needs a token.

use super::answer::ApiError;
use super::serving::Front;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};

/// Lets through what comes by a name of ours, and not from another site.
pub(super) async fn place(State(front): State<Front>, request: Request, next: Next) -> Response {
    match check_place(request.headers(), front.address) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Refuses a body that is too long by what it says of itself, before it comes.
pub(super) async fn length(State(most): State<usize>, request: Request, next: Next) -> Response {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    match length.is_some_and(|length| length > most) {
        true => ApiError::too_long().into_response(),
        false => next.run(request).await,
    }
}

/// Lets through what has a token, and notes whose it is.
pub(super) async fn token(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let caller = bearer(request.headers()).and_then(|token| front.caller(token));
    let Some(caller) = caller else {
        let message = "this needs a token of daemon.http_tokens: `Authorization: Bearer TOKEN`";
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        let mut response = error.into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

fn check_place(headers: &HeaderMap, address: SocketAddr) -> Result<(), ApiError> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_ours(host, address) {
        let message =
            "the host of this request is none of this daemon's: use localhost, or the address of daemon.http";
        return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message));
    }
    let is_own = |origin: &HeaderValue| {
        origin.to_str().ok().and_then(|text| text.strip_prefix("http://")).is_some_and(|from| from == host)
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
        let address = "127.0.0.1:7890".parse().unwrap();
        let check = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            origin
                .into_iter()
                .for_each(|origin| drop(headers.insert(ORIGIN, HeaderValue::from_static(origin))));
            check_place(&headers, address).map_err(|error| error.into_response().status().as_u16())
        };
        assert_eq!(check("localhost:7890", None), Ok(()));
        assert_eq!(check("localhost:7890", Some("http://localhost:7890")), Ok(()));
        for origin in ["http://evil.example", "http://localhost:3000", "https://localhost:7890", "null", ""] {
            assert_eq!(check("localhost:7890", Some(origin)), Err(403), "{origin}");
        }
        assert_eq!(check("evil.example", Some("http://evil.example")), Err(421));
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
