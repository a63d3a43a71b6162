//! `daemon.http` and `daemon.http_tokens`: where HTTP is served, and the file that says for whom. What is in that file, the front
//! knows.

use super::problem::Report;
use super::raw::Section;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where HTTP is served, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `http`: the address.
    pub address: SocketAddr,
    /// `http_tokens`: the file of tokens.
    pub tokens: PathBuf,
}

/// Neither is of use without the other.
pub(super) fn http(
    section: &mut Section<'_>,
    tokens: Option<PathBuf>,
    report: &mut Report<'_>,
) -> Option<Http> {
    let Some(text) = section.text(report, "http") else {
        if tokens.is_some() && !section.has("http") {
            section.fault(report, "http_tokens", "is of no use without daemon.http: set that, or remove it");
        }
        return None;
    };
    let Ok(address) = text.parse::<SocketAddr>() else {
        section.fault(report, "http", "must be an address and a port, such as \"127.0.0.1:7890\"");
        return None;
    };
    if !address.ip().is_loopback() {
        let message = "must be an address of this machine's own, such as 127.0.0.1: what goes over a network would be open to \
                       all on it; put a server that speaks TLS in front";
        section.fault(report, "http", message);
    }
    if !section.has("http_tokens") {
        section.fault(report, "http", "needs daemon.http_tokens: the file that says who may ask");
    }
    Some(Http { address, tokens: tokens? })
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{config, parse};

    #[test]
    fn an_address_needs_tokens_and_is_this_machines_own() {
        let http =
            config("[daemon]\nhttp = \"127.0.0.1:7890\"\nhttp_tokens = \"/etc/t\"\n").daemon.http.unwrap();
        assert_eq!((http.address.port(), http.tokens.to_str()), (7890, Some("/etc/t")));
        assert_eq!(config("").daemon.http, None);
        for (lines, told) in [
            ("http = \"127.0.0.1:7890\"", "needs daemon.http_tokens"),
            ("http_tokens = \"/t\"", "of no use without daemon.http"),
            ("http = \"0.0.0.0:80\"\nhttp_tokens = \"/t\"", "must be an address of this machine's own"),
            ("http = \"localhost:80\"\nhttp_tokens = \"/t\"", "must be an address and a port"),
            ("http = 7890\nhttp_tokens = \"/t\"", "http"),
        ] {
            let error = parse(&format!("[daemon]\n{lines}\n")).unwrap_err().to_string();
            assert!(error.contains(told), "{lines}: {error}");
        }
    }
}
