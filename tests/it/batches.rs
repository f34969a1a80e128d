//! Several messages in one POST, where the revision has that.

use cortex_tests::client::GATEWAY_TOOLS;
use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use serde_json::{Value, json};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const OLD: (&str, &str) = ("mcp-protocol-version", "2025-03-26");

/// The answer to a message, by its id.
fn to(answers: &Value, id: &Value) -> Value {
    let answers = answers.as_array().expect("an array");
    let mut found = answers.iter().filter(|answer| answer["id"] == *id);
    let answer = found.next().cloned();
    assert!(found.next().is_none(), "two answers to {id}");
    answer.unwrap_or_else(|| panic!("no answer to {id}: {answers:?}"))
}

#[tokio::test]
async fn each_message_of_a_batch_is_answered_and_recorded_by_itself() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!("hello")));
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let client = gateway.client.clone();
    let session = client.initialize("2025-03-26").await;
    let call = |id: Value| {
        json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": "docs_echo", "arguments": {} },
        })
    };
    let initialize = json!({
        "jsonrpc": "2.0", "id": "i", "method": "initialize",
        "params": { "protocolVersion": "2025-03-26", "capabilities": {} },
    });
    let batch = json!([
        call(json!(1)),
        call(json!("1")),
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": 2, "method": "tools/list" },
        { "jsonrpc": "2.0", "id": 3, "method": "tools/eat" },
        { "jsonrpc": "2.0", "id": 4, "result": {} },
        initialize,
        7,
    ]);
    let headers = [("mcp-session-id", session.as_str())];
    let reply = client.post(batch.to_string(), &headers).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("mcp-session-id"), "", "no session was begun");
    let answers = reply.json();
    assert_eq!(answers.as_array().map(Vec::len), Some(6), "{answers}");
    for id in [json!(1), json!("1")] {
        assert_eq!(to(&answers, &id)["result"]["content"][0]["text"], "hello");
    }
    let listed = &to(&answers, &json!(2))["result"]["tools"];
    assert_eq!(
        listed.as_array().map(Vec::len),
        Some(1 + GATEWAY_TOOLS.len())
    );
    for (id, code) in [
        (json!(3), -32601),
        (json!("i"), -32600),
        (json!(null), -32600),
    ] {
        assert_eq!(to(&answers, &id)["error"]["code"], code, "{answers}");
    }

    let records = gateway.audit(9).await;
    assert_eq!(records.len(), 9, "initialize, and one for each message");
    let mut told: Vec<_> = records[1..]
        .iter()
        .map(|r| {
            assert_eq!(r["request_id"], records[1]["request_id"]);
            assert_eq!(r["session_id"], records[0]["session_id"]);
            assert_eq!(r["protocol_version"], "2025-03-26");
            let word = |name: &str| r[name].as_str().unwrap_or("-").to_owned();
            format!("{} {}", word("method"), word("error_code"))
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "- -",
            "- invalid_request",
            "- invalid_request",
            "notifications/initialized -",
            "tools/call -",
            "tools/call -",
            "tools/list -",
            "unknown method_not_found",
        ]
    );
}

#[tokio::test]
async fn batches_of_other_shapes_and_other_revisions_are_refused() {
    let mut gateway = GatewayBuilder::new().start().await;
    let client = gateway.client.clone();
    let many = |n: usize| format!("[{}]", vec![PING; n].join(","));
    let newer = client.initialize("2025-06-18").await;
    let newer = ("mcp-session-id", newer.as_str());
    let one = many(1);
    for (what, body, headers, status, code) in [
        ("empty", "[]".to_owned(), vec![OLD], 400, -32600),
        ("too many", many(51), vec![OLD], 400, -32600),
        ("not JSON", "[{]".to_owned(), vec![OLD], 400, -32700),
        (
            "a newer version",
            one.clone(),
            vec![("mcp-protocol-version", "2025-06-18")],
            400,
            -32600,
        ),
        ("a newer session", one.clone(), vec![newer], 400, -32600),
        (
            "the modern era",
            one.clone(),
            vec![("mcp-protocol-version", "2026-07-28")],
            400,
            -32600,
        ),
        (
            "an unknown session",
            one.clone(),
            vec![OLD, ("mcp-session-id", "x")],
            404,
            -32001,
        ),
        (
            "nobody",
            one.clone(),
            vec![OLD, ("x-dev-mode", "wrong")],
            401,
            -32000,
        ),
    ] {
        let reply = client.post(body, &headers).await;
        let told = (reply.status.as_u16(), reply.error().0);
        assert_eq!(told, (status, code), "{what}: {}", reply.text());
    }
    // Who names no version speaks the oldest one.
    let reply = client.post(one, &[]).await;
    assert_eq!(
        reply.json(),
        json!([{ "jsonrpc": "2.0", "id": 1, "result": {} }])
    );
    let reply = client.post(many(50), &[OLD]).await;
    assert_eq!(reply.json().as_array().map(Vec::len), Some(50));
    let reply = client.post(format!("[[{PING}]]"), &[OLD]).await;
    assert_eq!(to(&reply.json(), &json!(null))["error"]["code"], -32600);
    for nothing in [format!("[{NOTE}]"), format!("[{NOTE},{NOTE}]")] {
        let reply = client.post(nothing, &[OLD]).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (202, 0));
    }
    // initialize, eight that were refused whole, 1, 50, 1, 1 and 2.
    assert_eq!(gateway.audit(64).await.len(), 64);
}
