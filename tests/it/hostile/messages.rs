//! Bodies that are no message, and messages that disagree with themselves or with their header.

use cortex_tests::client::modern_meta;
use serde_json::{Value, json};

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

/// Requests whose parameters are not what they should be.
pub(super) fn params(good: &Attempt) -> Vec<Case> {
    let call = |params: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        good.clone().body(body)
    };
    let twice = "is there twice";
    let mut cases = Vec::new();
    for (what, params, says) in [
        (
            "name twice",
            r#"{"name":"docs_echo","name":"docs_danger"}"#,
            twice,
        ),
        (
            "arguments twice",
            r#"{"name":"docs_echo","arguments":{},"arguments":{"a":1}}"#,
            twice,
        ),
        (
            "an argument twice",
            r#"{"name":"docs_echo","arguments":{"text":"a","text":"b"}}"#,
            twice,
        ),
        (
            "an argument twice, deep",
            r#"{"name":"docs_echo","arguments":{"a":[{"b":{"c":1,"c":2}}]}}"#,
            twice,
        ),
        (
            "an argument twice, escaped",
            r#"{"name":"docs_echo","arguments":{"text":1,"te\u0078t":2}}"#,
            twice,
        ),
        (
            "_meta twice",
            r#"{"name":"docs_echo","_meta":{},"_meta":{}}"#,
            twice,
        ),
        (
            "in _meta twice",
            r#"{"name":"docs_echo","_meta":{"progressToken":1,"progressToken":2}}"#,
            twice,
        ),
        (
            "half a pair",
            r#"{"name":"docs_echo","arguments":{"text":"\ud83d"}}"#,
            "hex escape",
        ),
        (
            "beyond numbers",
            r#"{"name":"docs_echo","arguments":{"n":1e999}}"#,
            "number out of range",
        ),
        (
            "arguments a list",
            r#"{"name":"docs_echo","arguments":[]}"#,
            "`arguments` must be an object",
        ),
        (
            "arguments a text",
            r#"{"name":"docs_echo","arguments":"{}"}"#,
            "`arguments` must be an object",
        ),
        (
            "name an object",
            r#"{"name":{"a":1}}"#,
            "`name` must be a string",
        ),
        ("no name", "{}", "`name` must be a string"),
        (
            "_meta a list",
            r#"{"name":"docs_echo","_meta":[]}"#,
            "`_meta` must be an object",
        ),
        ("an empty name", r#"{"name":""}"#, "unknown tool: "),
        (
            "a name in capitals",
            r#"{"name":"DOCS_ECHO"}"#,
            "unknown tool: DOCS_ECHO",
        ),
        (
            "a name with a blank",
            r#"{"name":"docs_echo "}"#,
            "unknown tool: docs_echo ",
        ),
        (
            "a name with a NUL",
            r#"{"name":"docs_echo\u0000"}"#,
            "unknown tool: docs_echo ",
        ),
        (
            "a name with a path",
            r#"{"name":"docs_../danger"}"#,
            "unknown tool: docs_../danger",
        ),
        (
            "a name of look-alikes",
            r#"{"name":"docs_eсho"}"#,
            "unknown tool: docs_eсho",
        ),
        (
            "a name with line breaks",
            r#"{"name":"a\r\nSet-Cookie: b"}"#,
            "unknown tool: a  Set-Cookie: b",
        ),
    ] {
        cases.push(Case::refused(what, call(params), 200, -32602, says));
    }
    let long = json!({ "name": "x".repeat(50_000) }).to_string();
    cases.push(Case::refused(
        "a name of 50 kB",
        call(&long),
        200,
        -32602,
        "unknown tool: xxx",
    ));
    for (what, method, says) in [
        (
            "a method with line breaks",
            "tools/list\r\nX-Evil: 1".to_owned(),
            "method not found: tools/list  X-Evil: 1",
        ),
        (
            "a method of 50 kB",
            "y".repeat(50_000),
            "method not found: yyy",
        ),
        (
            "a method in capitals",
            "PING".to_owned(),
            "method not found: PING",
        ),
        ("an empty method", String::new(), "method not found: "),
        (
            "a method of the object",
            "__proto__".to_owned(),
            "method not found: __proto__",
        ),
    ] {
        let attempt = good.clone().request(&method, &json!({}));
        cases.push(Case::refused(what, attempt, 200, -32601, says));
    }
    let odd = r#"{"name":"docs_echo","arguments":{"__proto__":{"admin":true},"constructor":1,"":"\u0000"}}"#;
    cases.push(Case::served("arguments of the object", call(odd)));
    cases
}

/// Header and body of a modern request in disagreement.
pub(super) fn mirrors(good: &Attempt) -> Vec<Case> {
    let echo = || json!({ "name": "docs_echo", "arguments": {} });
    let call = good.clone().modern("tools/call", echo());
    let mut cases = vec![
        Case::served("nothing wrong, modern", call.clone()),
        Case::served(
            "a name that is encoded",
            call.clone().set("Mcp-Name", "=?base64?ZG9jc19lY2hv?="),
        ),
        Case::served(
            "blanks around a name",
            call.clone().set("MCP-NAME", " \tdocs_echo "),
        ),
        Case::served(
            "a session that is ignored",
            call.clone().with("Mcp-Session-Id", "none"),
        ),
        Case::served(
            "a stream that is ignored",
            call.clone().with("Last-Event-ID", "7"),
        ),
    ];
    let mismatch = |what: String, attempt| Case::refused(&what, attempt, 400, -32020, "");
    for (name, others) in [
        (
            "MCP-Protocol-Version",
            ["2025-11-25", "2099-01-01", "=?base64?MjAyNi0wNy0yOA==?="],
        ),
        (
            "Mcp-Method",
            ["tools/list", "TOOLS/CALL", "=?base64?dG9vbHMvY2FsbA==?="],
        ),
        (
            "Mcp-Name",
            ["docs_danger", "Docs_Echo", "=?base64?ZG9jc19lY2hv=?="],
        ),
    ] {
        for value in others.into_iter().chain(["", "docs_echo, docs_echo"]) {
            let attempt = call.clone().set(name, value);
            cases.push(mismatch(format!("{name}: {value}"), attempt));
        }
        let attempt = call.clone().without(name);
        cases.push(mismatch(format!("{name} is missing"), attempt));
        let attempt = call.clone().with(name, "2025-11-25");
        cases.push(mismatch(format!("{name} says two things"), attempt));
        let attempt = call.clone().set(name, b"\xe9");
        cases.push(mismatch(format!("{name} is not ASCII"), attempt));
    }
    for (method, params) in [
        ("prompts/get", json!({ "name": "docs_hello" })),
        ("resources/read", json!({ "uri": "docs://page/1" })),
    ] {
        let attempt = good.clone().modern(method, params);
        let other = attempt.clone().set("Mcp-Name", "other");
        cases.push(mismatch(format!("{method} of another name"), other));
        cases.push(mismatch(
            format!("{method} without a name"),
            attempt.without("Mcp-Name"),
        ));
    }

    let run = |arguments: Value| {
        let params = json!({ "name": "docs_run", "arguments": arguments });
        good.clone().modern("tools/call", params)
    };
    cases.push(Case::served(
        "a mirrored argument",
        run(json!({ "region": "eu" })).with("Mcp-Param-Region", "eu"),
    ));
    for (what, attempt) in [
        (
            "an argument that is not mirrored",
            run(json!({ "region": "eu" })),
        ),
        (
            "an argument that is mirrored wrong",
            run(json!({ "region": "eu" })).with("Mcp-Param-Region", "us"),
        ),
        (
            "an argument that is mirrored twice",
            run(json!({ "region": "eu" }))
                .with("Mcp-Param-Region", "eu")
                .with("mcp-param-region", "us"),
        ),
        (
            "a mirror of nothing",
            run(json!({})).with("Mcp-Param-Region", "eu"),
        ),
        (
            "a mirror of null",
            run(json!({ "region": null })).with("Mcp-Param-Region", "null"),
        ),
        (
            "a mirror in bad base64",
            run(json!({ "region": "eu" })).with("Mcp-Param-Region", "=?base64?ZXU?="),
        ),
        (
            "a mirror that is not ASCII",
            run(json!({ "region": "é" })).with("Mcp-Param-Region", "é"),
        ),
        (
            "a mirror of a list",
            run(json!({ "region": ["eu"] })).with("Mcp-Param-Region", "eu"),
        ),
    ] {
        cases.push(mismatch(what.to_owned(), attempt));
    }
    cases
}

/// Which era, and whose.
pub(super) fn eras(good: &Attempt) -> Vec<Case> {
    let meta = |key: &str, value: Value| {
        let mut meta = modern_meta();
        meta[key] = value;
        good.clone().modern("tools/list", json!({ "_meta": meta }))
    };
    let (version, capabilities) = (
        "io.modelcontextprotocol/protocolVersion",
        "io.modelcontextprotocol/clientCapabilities",
    );
    let bare = good.clone().modern("tools/list", json!({ "_meta": {} }));
    let mut cases = Vec::new();
    for (what, attempt) in [
        ("an empty _meta", bare),
        ("a version that is a number", meta(version, json!(20260728))),
        ("a version that is null", meta(version, Value::Null)),
        (
            "capabilities that are a list",
            meta(capabilities, json!([])),
        ),
        (
            "capabilities that are null",
            meta(capabilities, Value::Null),
        ),
    ] {
        cases.push(Case::refused(
            what,
            attempt,
            400,
            -32602,
            "`_meta` must carry",
        ));
    }
    let future = meta(version, json!("2099-01-01")).set("MCP-Protocol-Version", "2099-01-01");
    cases.push(Case::refused(
        "a version to come",
        future,
        400,
        -32022,
        "2099-01-01",
    ));
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "tasks/get",
    ] {
        let attempt = good.clone().modern(method, json!({}));
        cases.push(Case::refused(
            &format!("modern {method}"),
            attempt,
            404,
            -32601,
            method,
        ));
    }
    // Legacy paths never answer with modern codes.
    for (what, attempt) in [
        (
            "a version long gone",
            good.clone().set("MCP-Protocol-Version", "2024-11-05"),
        ),
        (
            "a version that is none",
            good.clone().set("MCP-Protocol-Version", "latest"),
        ),
        (
            "two versions",
            good.clone().with("MCP-Protocol-Version", "2025-06-18"),
        ),
        (
            "a version that is not ASCII",
            good.clone().set("MCP-Protocol-Version", b"\xff"),
        ),
    ] {
        cases.push(Case::refused(what, attempt, 400, -32600, ""));
    }
    for method in ["server/discover", "subscriptions/listen"] {
        let attempt = good.clone().request(method, &json!({}));
        cases.push(Case::refused(
            &format!("legacy {method}"),
            attempt,
            200,
            -32601,
            method,
        ));
    }
    cases
}
