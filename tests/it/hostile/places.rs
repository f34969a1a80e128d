//! Other paths, other methods, other names, other people's tokens.

use serde_json::json;

use super::attempt::Attempt;
use super::case::Case;

const NOT_FOUND: &str = r#"{"error":"not_found"}"#;
const NOT_ALLOWED: &str = r#"{"error":"method_not_allowed"}"#;
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// Paths that look like one of ours.
pub(super) fn paths(good: &Attempt) -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "//mcp",
        "/mcp/",
        "/mcp//",
        "/MCP",
        "/Mcp",
        "/%6dcp",
        "/mcp%2f",
        "/mcp%00",
        "/mcp%20",
        "/mcp;v=1",
        "/./mcp",
        "/x/../mcp",
        "/%2e/mcp",
        "/mcp/..%2fhealthz",
        "/healthz/../mcp",
        "/mcp.json",
        "/.well-known/oauth-protected-resource/../../mcp",
        "/.well-known/oauth-protected-resource/mcp/x",
        "/.well-known/oauth-authorization-server",
        "/.git/config",
        "/api/admin/tool-integrity",
        "/metrics",
    ]
    .into_iter()
    .map(|path| Case::plain(path, good.clone().at("POST", path), 404, NOT_FOUND))
    .collect();
    cases.push(Case::served(
        "a query that nobody reads",
        good.clone().at("POST", "/mcp?method=tools/call&admin=true"),
    ));
    cases.push(Case::served(
        "a fragment",
        good.clone().at("POST", "/mcp#admin"),
    ));
    let attempt = good.clone().at("POST", "\\mcp");
    cases.push(Case::plain("a target that is no path", attempt, 400, ""));
    let attempt = good.clone().at("POST", "/mcp\u{e9}\\");
    cases.push(Case::plain("bytes beyond ASCII", attempt, 404, NOT_FOUND));
    cases
}

/// Methods that are none, or are somebody else's.
pub(super) fn methods(good: &Attempt) -> Vec<Case> {
    let mut cases = Vec::new();
    for method in ["PUT", "PATCH", "TRACE", "post", "PROPFIND", "GETX", "PURGE"] {
        let attempt = good.clone().at(method, "/mcp");
        cases.push(Case::plain(method, attempt, 405, NOT_ALLOWED));
    }
    let head = good.clone().at("HEAD", "/mcp");
    cases.push(Case::plain("HEAD", head, 405, ""));
    let get = good.clone().at("GET", "/mcp").without("Accept");
    cases.push(Case::plain("GET without a stream", get, 405, NOT_ALLOWED));
    for method in ["GET", "DELETE"] {
        let attempt = good.clone().at(method, "/mcp");
        let attempt = attempt.set("MCP-Protocol-Version", "2026-07-28");
        let what = format!("{method} of the modern era");
        cases.push(Case::plain(&what, attempt, 405, NOT_ALLOWED));
    }
    for (target, method) in [
        ("/healthz", "POST"),
        ("/readyz", "DELETE"),
        (METADATA, "POST"),
    ] {
        let attempt = good.clone().at(method, target);
        let what = format!("{method} {target}");
        cases.push(Case::plain(&what, attempt, 405, NOT_ALLOWED));
    }
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        cases.push(Case::served(name, good.clone().with(name, "DELETE")));
    }
    for name in ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"] {
        let attempt = good.clone().with(name, "/api/admin/tool-integrity");
        cases.push(Case::served(name, attempt));
    }
    cases
}

/// Pages that let their own name point here, and gateways that are somewhere else.
pub(super) fn names(good: &Attempt) -> Vec<Case> {
    let host = r#"{"error":"forbidden_host"}"#;
    let origin = r#"{"error":"forbidden_origin"}"#;
    let mut cases = Vec::new();
    for name in [
        "evil.example",
        "evil.example:3213",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xn--lcalhost-54a",
    ] {
        let attempt = good.clone().set("Host", name);
        cases.push(Case::plain(&format!("Host {name}"), attempt, 403, host));
    }
    let rebound = good.clone().set("Host", "evil.example");
    for (what, attempt) in [
        (
            "rebound, no token",
            rebound.clone().without("Authorization"),
        ),
        (
            "rebound, own origin",
            rebound.clone().with("Origin", "http://evil.example"),
        ),
        (
            "rebound, forwarded",
            rebound.clone().with("X-Forwarded-Host", "localhost"),
        ),
        (
            "rebound, Forwarded",
            rebound.clone().with("Forwarded", "host=localhost"),
        ),
        (
            "rebound, bad version",
            rebound.clone().set("MCP-Protocol-Version", "1"),
        ),
        ("rebound, GET", rebound.clone().at("GET", "/mcp")),
        ("rebound, DELETE", rebound.clone().at("DELETE", "/mcp")),
        ("rebound, metadata", rebound.clone().at("GET", METADATA)),
        ("rebound, anywhere", rebound.at("GET", "/nothing")),
    ] {
        cases.push(Case::plain(what, attempt, 403, host));
    }
    for value in [
        "http://evil.example",
        "null",
        "http://localhost.evil.example",
        "https://app.example.com.evil.example",
        "https://evilapp.example.com",
        "https://user@app.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://app.example.com,https://evil.example",
        "file://",
        "",
    ] {
        let attempt = good.clone().with("Origin", value);
        cases.push(Case::plain(
            &format!("Origin {value}"),
            attempt,
            403,
            origin,
        ));
    }
    let two = good.clone().with("Origin", "https://app.example.com");
    let two = two.with("Origin", "http://evil.example");
    cases.push(Case::plain("two origins", two, 403, origin));
    let first = good.clone().with("Origin", "http://evil.example");
    let first = first.set("Authorization", "Bearer x").body("{");
    cases.push(Case::plain("origin before all else", first, 403, origin));
    cases
}

/// Tokens where none is looked for, and people who say that they are somebody.
pub(super) fn callers(good: &Attempt, token: &str, session: &str) -> Vec<Case> {
    let nobody = || good.clone().without("Authorization");
    let with = |name: &str, value: &str| nobody().with(name, value);
    let bearer = format!("Bearer {token}");
    let form = format!("access_token={token}");
    let twice = "the header Authorization is there more than once";
    let none = "the header Authorization carries no token after Bearer";
    let mut cases = vec![
        Case::nobody("nothing", nobody()),
        Case::nobody(
            "a token in the query",
            nobody().at("POST", &format!("/mcp?access_token={token}")),
        ),
        Case::nobody(
            "a token in a form",
            nobody()
                .set("Content-Type", "application/x-www-form-urlencoded")
                .body(form.clone()),
        ),
        Case::nobody("a token in a cookie", with("Cookie", &form)),
        Case::nobody("a token for a proxy", with("Proxy-Authorization", &bearer)),
        Case::nobody(
            "another scheme",
            with("Authorization", &format!("DPoP {token}")),
        ),
        Case::nobody(
            "the dev bypass, which is off",
            with("X-Dev-Mode", super::DEV_SECRET),
        ),
        Case::nobody("an address from here", with("X-Forwarded-For", "127.0.0.1")),
        Case::nobody("a name on its own", with("X-Cortex-User-Id", "root")),
        Case::nobody("a proxy's word", with("X-Forwarded-User", "root")),
        Case::nobody(
            "another host in the challenge",
            with("X-Forwarded-Host", "evil.example")
                .with("Forwarded", "host=evil.example;proto=https"),
        ),
        Case::bad_token(
            "two tokens",
            good.clone().with("Authorization", "Bearer a.b.c"),
            400,
            twice,
        ),
        Case::bad_token(
            "one token, twice",
            good.clone().with("AUTHORIZATION", &bearer),
            400,
            twice,
        ),
        Case::bad_token(
            "two in one line",
            good.clone()
                .set("Authorization", format!("{bearer}, {bearer}")),
            400,
            none,
        ),
        Case::bad_token(
            "a token that is not ASCII",
            good.clone().set("Authorization", b"Bearer \xe9\xe9"),
            400,
            "the header Authorization is not ASCII",
        ),
        Case::bad_token(
            "a token of 20 KiB",
            good.clone()
                .set("Authorization", format!("Bearer {}", "a".repeat(20 * 1024))),
            401,
            "the access token is too long",
        ),
        Case::bad_token(
            "a token of three dots",
            good.clone().set("Authorization", "Bearer ..."),
            401,
            "the access token is malformed",
        ),
        Case::served(
            "a cookie besides",
            good.clone().with("Cookie", "admin=true"),
        ),
    ];
    for name in [
        "X-Cortex-User-Id",
        "X-Cortex-User-Role",
        "X-Cortex-Scopes",
        "X-Forwarded-User",
    ] {
        let attempt = good.clone().with(name, "root");
        let call = attempt.request("tools/call", &json!({ "name": "docs_echo" }));
        cases.push(Case::served(&format!("{name}, with a token"), call));
    }
    let danger = json!({ "name": "docs_danger", "arguments": { "scope": "mcp:danger:use" } });
    let call = good.clone().request("tools/call", &danger);
    for attempt in [
        call.clone(),
        call.clone().with("X-Cortex-Scopes", "mcp:danger:use"),
        call.with("X-Cortex-Backends", "docs"),
    ] {
        cases.push(Case::out_of_scope(
            "a tool of another scope",
            attempt,
            "mcp:danger:use",
        ));
    }
    let modern = good.clone().modern("tools/call", danger);
    cases.push(Case::out_of_scope(
        "the same, modern",
        modern,
        "mcp:danger:use",
    ));

    let unknown = |what, attempt: Attempt| {
        Case::refused(
            what,
            attempt,
            404,
            -32001,
            "session not found; initialize again",
        )
    };
    let cut = &session[..session.len() - 1];
    cases.extend([
        unknown(
            "another subject's session",
            good.clone().with("Mcp-Session-Id", session),
        ),
        unknown(
            "a session that is none",
            good.clone().with("Mcp-Session-Id", "1"),
        ),
        unknown(
            "a session cut short",
            good.clone().with("Mcp-Session-Id", cut),
        ),
        unknown("an empty session", good.clone().with("Mcp-Session-Id", "")),
        unknown(
            "two sessions",
            good.clone()
                .with("Mcp-Session-Id", session)
                .with("Mcp-Session-Id", "1"),
        ),
        unknown(
            "a session that is not ASCII",
            good.clone().with("Mcp-Session-Id", b"\xff"),
        ),
        Case::unread(
            "another subject's session to end",
            good.clone()
                .at("DELETE", "/mcp")
                .with("Mcp-Session-Id", session)
                .body(""),
            404,
            -32001,
            "session not found",
        ),
        Case::unread(
            "another subject's session to listen to",
            good.clone()
                .at("GET", "/mcp")
                .with("Mcp-Session-Id", session)
                .body(""),
            404,
            -32001,
            "session not found",
        ),
    ]);
    cases
}
