//! The dashboard: pages for browsers, served at `/`. They hold no data, so they need no token; what they show they ask the API for, with
//! the token of whoever looks. Their sources are in `dashboard/` of the repository, and `dashboard/build` makes the files here, which are
//! part of the program: it needs no other place, and no network.

use super::serving::Front;
use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The pages run nothing, load nothing and ask nothing but what is here, stand in no frame, and send no form anywhere. What is written
/// into them is never taken for markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the dashboard.
#[derive(Clone, Copy)]
struct Page {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const PAGES: [Page; 4] = [
    Page { path: "/", kind: "text/html; charset=utf-8", bytes: include_bytes!("index.html") },
    Page {
        path: "/dashboard.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("dashboard.js"),
    },
    Page { path: "/dashboard.css", kind: "text/css; charset=utf-8", bytes: include_bytes!("dashboard.css") },
    Page { path: "/icon.svg", kind: "image/svg+xml", bytes: include_bytes!("icon.svg") },
];

pub(super) fn routes() -> Router<Front> {
    PAGES.into_iter().fold(Router::new(), |router, page| {
        let tag = format!("\"{:08x}-{:x}\"", crc32c::crc32c(page.bytes), page.bytes.len());
        router.route(page.path, get(async move |headers: HeaderMap| answer(page, &tag, &headers)))
    })
}

/// The file, unless the browser has it.
fn answer(page: Page, tag: &str, asked: &HeaderMap) -> Response {
    let has = |tags: &str| tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
    let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|tags| tags.to_str().is_ok_and(has));
    let head = [
        (CONTENT_TYPE, page.kind),
        (ETAG, tag),
        // It is kept, and asked for each time whether it is another by now: after an update no page is an old one.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, head).into_response(),
        false => (head, page.bytes).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let status = |tags: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(tags));
            answer(PAGES[0], "\"1-2\"", &headers).status().as_u16()
        };
        for (tags, expected) in
            [("\"1-2\"", 304), ("\"0-0\", W/\"1-2\"", 304), ("\"1-3\"", 200), ("1-2", 200)]
        {
            assert_eq!(status(tags), expected, "{tags}");
        }
        assert_eq!(answer(PAGES[0], "\"1-2\"", &HeaderMap::new()).status(), StatusCode::OK);
    }

    #[test]
    fn pages_load_nothing_from_elsewhere_and_have_nothing_inside_that_the_policy_forbids() {
        let whole: usize = PAGES.iter().map(|page| page.bytes.len()).sum();
        assert!(whole < 300_000, "{whole} bytes are in each copy of the program");
        let html = std::str::from_utf8(PAGES[0].bytes).unwrap();
        for forbidden in ["http://", "https://", "style=", "onclick", "<style", "<script>"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        let links = html.split(['"', '=']).collect::<Vec<_>>();
        let links = links.windows(3).filter(|part| part[0].ends_with("href") || part[0].ends_with("src"));
        let known = |path: &str| PAGES.iter().any(|page| page.path.strip_prefix('/') == Some(path));
        assert_eq!(links.filter(|part| known(part[2])).count(), PAGES.len() - 1);
    }
}
