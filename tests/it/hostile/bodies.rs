//! Bodies that are not what they seem, and JSON that is no message.

use super::attempt::Attempt;
use super::case::Case;

/// Bodies that are not what their header says.
pub(super) fn bodies(good: &Attempt) -> Vec<Case> {
    let says = "expected one `Content-Type: application/json`";
    let mut cases = Vec::new();
    for value in [
        "text/plain",
        "text/plain;application/json",
        "application/json-patch+json",
        "application/jsonx",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "",
        "*/*",
    ] {
        let attempt = good.clone().set("Content-Type", value);
        cases.push(Case::unread(
            &format!("type {value}"),
            attempt,
            415,
            -32600,
            says,
        ));
    }
    let json = "application/json";
    for (what, attempt) in [
        ("no type", good.clone().without("Content-Type")),
        ("two types", good.clone().with("Content-Type", "text/plain")),
        ("one type, twice", good.clone().with("Content-Type", json)),
        ("zipped", good.clone().with("Content-Encoding", "gzip")),
        (
            "zipped, perhaps",
            good.clone().with("Content-Encoding", "identity, br"),
        ),
    ] {
        cases.push(Case::unread(what, attempt, 415, -32600, says));
    }
    for value in ["APPLICATION/JSON", "application/json; charset=latin1"] {
        let attempt = good.clone().set("Content-Type", value);
        cases.push(Case::served(value, attempt));
    }
    let large = good.clone().body("").with("Content-Length", "65537");
    let says = "the body is larger than 65536 bytes";
    cases.push(Case::unread(
        "a body of 64 KiB and one",
        large,
        413,
        -32600,
        says,
    ));
    cases
}

/// Bodies that are not JSON, or only to some readers.
pub(super) fn not_json(good: &Attempt) -> Vec<Case> {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let utf16 = ping.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let with_id = |id: &[u8]| {
        let mut body = br#"{"jsonrpc":"2.0","method":"ping","id":"#.to_vec();
        body.extend_from_slice(id);
        body.push(b'}');
        body
    };
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{open}{close}}}}}"#)
    };
    let mut cases = Vec::new();
    for (what, body) in [
        ("nothing", Vec::new()),
        ("blanks", b" \r\n\t".to_vec()),
        ("a byte order mark", format!("\u{feff}{ping}").into_bytes()),
        ("UTF-16", utf16),
        ("two texts", format!("{ping}{ping}").into_bytes()),
        ("a NUL at the end", format!("{ping}\0").into_bytes()),
        ("a comment", format!("{ping}// as you were").into_bytes()),
        ("JSON lines", format!("{ping}\n{ping}\n").into_bytes()),
        ("127 levels in two objects", nested(127).into_bytes()),
        ("brackets without end", vec![b'['; 60_000]),
        ("objects without end", br#"{"a":"#.repeat(10_000)),
        ("not UTF-8", with_id(b"\"\xff\"")),
        ("UTF-8, longer than need be", with_id(b"\"\xc0\xaf\"")),
        ("half a pair in UTF-8", with_id(b"\"\xed\xa0\x80\"")),
        ("a raw line break", with_id(b"\"a\nb\"")),
        ("a raw NUL", with_id(b"\"a\0b\"")),
        ("an escape that is none", with_id(br#""\x41""#)),
        ("single quotes", with_id(b"'1'")),
        ("NaN", with_id(b"NaN")),
        ("Infinity", with_id(b"-Infinity")),
        ("undefined", with_id(b"undefined")),
        ("a hexadecimal", with_id(b"0x1")),
        ("an octal", with_id(b"01")),
        ("a plus", with_id(b"+1")),
        ("half a fraction", with_id(b"1.")),
        ("a number with blanks", with_id(b"1 000")),
        ("a comma too many", with_id(b"1,")),
        (
            "an XML document",
            b"<?xml version=\"1.0\"?><!DOCTYPE a SYSTEM \"file:///etc/passwd\">".to_vec(),
        ),
    ] {
        cases.push(Case::unread(what, good.clone().body(body), 400, -32700, ""));
    }
    cases.push(Case::served(
        "126 levels in two objects",
        good.clone().body(nested(126)),
    ));
    cases
}

/// JSON that is no request.
pub(super) fn not_a_request(good: &Attempt) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, body) in [
        ("a text", r#""ping""#),
        ("id null", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
        (
            "id object",
            r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#,
        ),
        ("id list", r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#),
        ("id true", r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#),
        (
            "id of thirty digits",
            r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}"#,
        ),
        (
            "id beyond numbers",
            r#"{"jsonrpc":"2.0","id":1e999,"method":"ping"}"#,
        ),
        (
            "id less than nothing",
            r#"{"jsonrpc":"2.0","id":-0,"method":"ping"}"#,
        ),
        (
            "id with half a pair",
            r#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#,
        ),
        (
            "jsonrpc twice",
            r#"{"jsonrpc":"1.0","jsonrpc":"2.0","id":1,"method":"ping"}"#,
        ),
        (
            "id twice",
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#,
        ),
        (
            "method twice",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        ),
        (
            "method twice, escaped",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
        ),
        (
            "params twice",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#,
        ),
        ("no jsonrpc", r#"{"id":1,"method":"ping"}"#),
        (
            "jsonrpc a number",
            r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
        ),
        (
            "jsonrpc with a blank",
            r#"{"jsonrpc":"2.0 ","id":1,"method":"ping"}"#,
        ),
        (
            "method a list",
            r#"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#,
        ),
        ("method null", r#"{"jsonrpc":"2.0","id":1,"method":null}"#),
        (
            "method with half a pair",
            r#"{"jsonrpc":"2.0","id":1,"method":"\udc00"}"#,
        ),
        (
            "params a list",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[{}]}"#,
        ),
        (
            "request and result",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        ),
        (
            "request and error",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#,
        ),
        (
            "result and error",
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        ),
        (
            "a result of nothing",
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        ),
    ] {
        cases.push(Case::unread(what, good.clone().body(body), 400, -32600, ""));
    }
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    for version in ["2025-06-18", "2025-11-25", "2026-07-28"] {
        let attempt = good.clone().set("MCP-Protocol-Version", version);
        let what = format!("a batch in {version}");
        cases.push(Case::unread(
            &what,
            attempt.clone().body(batch),
            400,
            -32600,
            "batches",
        ));
        cases.push(Case::unread(
            &what,
            attempt.body("[]"),
            400,
            -32600,
            "batches",
        ));
    }
    // Nothing comes of these, and nobody is told.
    for (what, body) in [
        (
            "a call that wants no answer",
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"docs_danger"}}"#,
        ),
        (
            "an answer to nothing",
            r#"{"jsonrpc":"2.0","id":99,"result":{"action":"accept"}}"#,
        ),
        (
            "somebody else's request, cancelled",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        ),
    ] {
        cases.push(Case::plain(what, good.clone().body(body), 202, ""));
    }
    cases
}
