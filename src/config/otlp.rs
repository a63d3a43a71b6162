//! `daemon.otlp`: the collector of OpenTelemetry that spans are sent to.

use super::problem::Report;
use super::push::is_url;
use super::raw::Section;
use hyper::Uri;

/// What is added to it: the place of spans.
const OF_SPANS: &str = "/v1/traces";

/// Reads it.
pub(super) fn otlp(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = section.text(report, "otlp")?;
    if let Err(why) = check(text) {
        section.fault(report, "otlp", why);
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn check(text: &str) -> Result<(), String> {
    is_url(text, "http://127.0.0.1:4318", "; send to a collector of your own, which has it")?;
    if text.contains('?') {
        return Err("must not have a query (`?…`)".into());
    }
    let base = text.trim_end_matches('/');
    if let Some(base) = base.strip_suffix(OF_SPANS) {
        return Err(format!("is the collector's URL, such as \"{base}\": {OF_SPANS} is added to it"));
    }
    // It is longer then.
    format!("{base}{OF_SPANS}").parse::<Uri>().map_err(|error| format!("is no URL: {error}")).map(drop)
}

/// Where spans are sent: as the specification of OTLP's exporters has it.
pub(super) fn url(otlp: &str) -> Uri {
    format!("{otlp}{OF_SPANS}").parse().expect("it was checked with the configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_urls_of_a_collector() {
        for (good, url_of) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
            ("https://collector.example.org/otlp", "https://collector.example.org/otlp/v1/traces"),
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
            assert_eq!(url(good).to_string(), url_of);
        }
        assert_eq!(check("http://h/"), Ok(()));
        for (bad, why) in [
            ("", "no URL"),
            ("127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("grpc://h:4317", "http or https"),
            ("http://u:p@h", "must not have a user or a password"),
            ("http://h?a=b", "query"),
            ("http://h#x", "fragment"),
            ("http://h/v1/traces", "such as \"http://h\""),
            ("http://h/v1/traces/", "such as \"http://h\""),
        ] {
            let found = check(bad).unwrap_err();
            assert!(found.contains(why), "{bad}: {found}");
        }
        assert!(check(&format!("http://h/{}", "x".repeat(65_520))).unwrap_err().contains("no URL"));
    }
}
