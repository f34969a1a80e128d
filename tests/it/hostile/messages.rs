//! Messages that disagree with themselves, with their header, or with their era.

use cortex_tests::client::modern_meta;
use serde_json::{Value, json};

use super::attempt::Attempt;
use super::case::Case;

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
