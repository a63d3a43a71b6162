//! Tables: what becomes of values and names that cannot stand in a header, and a signature that others have computed.

use super::request::{encoded_name, encoded_value, signature};
use super::target::Secret;
use hyper::header::{HeaderName, HeaderValue};

#[test]
fn what_cannot_stand_in_a_value_is_encoded() {
    let table = [
        ("", ""),
        ("plain text, \"quoted\"; a=b", "plain text, \"quoted\"; a=b"),
        (" a b ", "%20a b%20"),
        ("100%", "100%25"),
        ("%0D", "%250D"),
        ("a\r\nX-Injected: 1", "a%0D%0AX-Injected: 1"),
        ("\0\t\u{7f}", "%00%09%7F"),
        ("é", "%C3%A9"),
    ];
    for (text, expected) in table {
        assert_eq!(encoded_value(text), expected);
        assert!(HeaderValue::from_str(expected).is_ok());
    }
}

#[test]
fn what_cannot_stand_in_a_name_is_encoded() {
    let table = [
        ("size", "size"),
        ("a_b-c.d", "a_b-c.d"),
        ("a b:c", "a%20b%3Ac"),
        ("%", "%25"),
        ("x\r\ny", "x%0D%0Ay"),
        ("ä", "%C3%A4"),
        ("(/)", "%28%2F%29"),
    ];
    for (text, expected) in table {
        assert_eq!(encoded_name(text), expected);
        assert!(HeaderName::from_bytes(expected.as_bytes()).is_ok());
    }
}

/// The number is Python's: `hmac.new(b"secret", b"1700000000.hello", "sha256").hexdigest()`.
#[test]
fn a_signature_is_the_hmac_of_time_and_body() {
    let secret = |text: &str| Secret::of(text.into()).unwrap();
    let expected = "t=1700000000,v1=47b1df0ab12338b2685470b0d2b37033add7c3b2bc8172f313e77413f1bb78c8";
    for text in ["secret", "secret\n", "secret\r\n"] {
        assert_eq!(signature(&secret(text), 1_700_000_000, b"hello"), expected);
    }
    assert_ne!(signature(&secret("secret\n\n"), 1_700_000_000, b"hello"), expected);
    assert!(Secret::of(Vec::new()).is_none() && Secret::of(b"\n".to_vec()).is_none());
    assert!(Secret::of(vec![b'x'; 4096]).is_some() && Secret::of(vec![b'x'; 4097]).is_none());
}
