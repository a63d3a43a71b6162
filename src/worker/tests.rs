//! What can be told without a daemon; the rest is tested end to end.

use super::exec::tag_variable;
use super::output::last_line;

#[test]
fn a_tag_becomes_a_variable() {
    assert_eq!(tag_variable("order-id"), "MUSHER_TAG_ORDER_ID");
}

#[test]
fn the_last_line_that_says_something_is_the_errors_text() {
    assert_eq!(last_line(b"one\ntwo\x1b[31m\n\n  \n").as_deref(), Some("two[31m"));
    assert_eq!(last_line(b"\n\n"), None);
}
