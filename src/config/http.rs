//! `daemon.http` and the keys beside it: where HTTP is served, the file that says for whom, and the certificate. What is in these
//! files, the front knows.

use super::place::Place;
use super::problem::Report;
use super::raw::Section;
use std::path::PathBuf;

/// Where HTTP is served, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `http`: where.
    pub place: Place,
    /// `http_tokens`: the file of tokens. There is one unless the place is a socket, where the kernel says who asks.
    pub tokens: Option<PathBuf>,
    /// `http_certificate` and `http_key`: with them, TLS is spoken, and nothing else.
    pub tls: Option<HttpTls>,
}

/// The files that TLS needs, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    /// The certificate, and those between it and one that is known.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Http {
    /// Whether a front that serves by one of these serves by the other as well, once it has read the files again.
    pub fn is_same_front(&self, other: &Http) -> bool {
        self.place == other.place && self.tls.is_some() == other.tls.is_some()
    }
}

/// Places as they are written.
const EXAMPLES: (&str, &str) = ("127.0.0.1:7890", "/run/musher/http.sock");

/// What is of no use without `http`.
const BESIDE: [&str; 3] = ["http_tokens", "http_certificate", "http_key"];

/// Reads the four keys.
pub(super) fn http(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Http> {
    let tokens = section.path(report, "http_tokens");
    let certificate = section.path(report, "http_certificate");
    let key = section.path(report, "http_key");
    let Some(text) = section.text(report, "http") else {
        let alone = BESIDE.into_iter().filter(|key| !section.has("http") && section.has(key));
        for key in alone.collect::<Vec<_>>() {
            section.fault(report, key, "is of no use without daemon.http: set that, or remove it");
        }
        return None;
    };
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(HttpTls { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            section.fault(report, "http_certificate", "needs daemon.http_key: the file with its private key");
            None
        }
        (None, Some(_)) => {
            section.fault(report, "http_key", "needs daemon.http_certificate: the file with its certificate");
            None
        }
    };
    let place = Place::read(text, EXAMPLES).inspect_err(|why| section.fault(report, "http", why)).ok()?;
    match &place {
        Place::Socket(_) if tls.is_some() => {
            let message =
                "is of no use on a Unix socket, which no network reaches: remove it and daemon.http_key";
            section.fault(report, "http_certificate", message);
        }
        Place::Address(_) if tokens.is_none() && !section.has("http_tokens") => {
            section.fault(report, "http", "needs daemon.http_tokens: the file that says who may ask");
        }
        Place::Address(address) if !address.ip().is_loopback() && tls.is_none() => {
            let message = "must be an address of this machine's own, such as 127.0.0.1, as long as TLS is not spoken: what goes over a \
                           network could be read by others, tokens too; set daemon.http_certificate and daemon.http_key";
            section.fault(report, "http", message);
        }
        _ => {}
    }
    Some(Http { place, tokens, tls })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, parse};

    fn served(lines: &str) -> Http {
        config(&format!("[daemon]\n{lines}\n")).daemon.http.unwrap()
    }

    #[test]
    fn an_address_needs_tokens_and_a_network_tls() {
        let http = served("http = \"127.0.0.1:7890\"\nhttp_tokens = \"/etc/t\"");
        assert_eq!(
            (http.place.to_string(), http.tokens.unwrap().to_str()),
            ("127.0.0.1:7890".into(), Some("/etc/t"))
        );
        assert_eq!(config("").daemon.http, None);
        let tls = "http_tokens = \"/t\"\nhttp_certificate = \"/c\"\nhttp_key = \"/k\"";
        let http = served(&format!("http = \"0.0.0.0:443\"\n{tls}"));
        assert_eq!(http.tls, Some(HttpTls { certificate: "/c".into(), key: "/k".into() }));
        assert!(served(&format!("http = \"[::1]:443\"\n{tls}")).tls.is_some());
    }

    #[test]
    fn a_socket_needs_nothing_else() {
        let http = served("http = \"/run/musher/http.sock\"");
        assert_eq!(
            http,
            Http { place: Place::Socket("/run/musher/http.sock".into()), tokens: None, tls: None }
        );
        assert!(served("http = \"/run/h\"\nhttp_tokens = \"/t\"").tokens.is_some());
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let long = format!("http = \"/{}\"", "x".repeat(200));
        for (lines, told) in [
            ("http = \"127.0.0.1:7890\"", "needs daemon.http_tokens"),
            ("http_tokens = \"/t\"", "of no use without daemon.http"),
            ("http_key = \"/t\"", "of no use without daemon.http"),
            ("http = \"0.0.0.0:80\"\nhttp_tokens = \"/t\"", "as long as TLS is not spoken"),
            ("http = \"localhost:80\"\nhttp_tokens = \"/t\"", "must be an address and a port"),
            ("http = \"run/h.sock\"", "or the whole path of a Unix socket"),
            (&long, "107"),
            ("http = \"/h\"\nhttp_certificate = \"/c\"\nhttp_key = \"/k\"", "of no use on a Unix socket"),
            ("http = \"/h\"\nhttp_certificate = \"/c\"", "needs daemon.http_key"),
            ("http = \"/h\"\nhttp_key = \"/c\"", "needs daemon.http_certificate"),
            ("http = \"/h\"\nhttp_key = \"c\"", "must be the whole path"),
            ("http = 7890\nhttp_tokens = \"/t\"", "http"),
            ("socket = \"/h\"\nhttp = \"/h\"", "is daemon.socket too"),
        ] {
            let error = parse(&format!("[daemon]\n{lines}\n")).unwrap_err().to_string();
            assert!(error.contains(told), "{lines}: {error}");
        }
    }
}
