//! What it makes of results.

use super::*;

#[test]
fn json_passes_as_it_is() {
    let check = |status: u16, body: &str, text: &str| {
        let plain = call(Ok(response(status, body)), false);
        assert_eq!(plain, Ok(Reply::text(text)), "{body}");
        let structured = call(Ok(response(status, body)), true);
        assert_eq!(structured, Ok(Reply::text(text).structured(body)), "{body}");
    };
    check(200, r#"{"b":1.0,"a":1e2}"#, r#"{"b":1.0,"a":1e2}"#);
    check(200, "[1, 2]\n", "[1, 2]\n");
    check(200, "null", "null");
    check(200, "0.10", "0.10");
    check(
        201,
        r#"{"error":"is only a word here"}"#,
        r#"{"error":"is only a word here"}"#,
    );
    check(200, r#""a \"line\"\nü""#, "a \"line\"\nü");
    check(200, r#" "x" "#, "x");
    check(200, r#""""#, "");
    // Not a text at all, but JSON.
    check(200, r#""\ud800""#, r#""\ud800""#);
}
