//! A tool that asks back: modern clients repeat their request, legacy clients are asked on its
//! stream. And messages for the client, on the same stream.

use cortex_tests::client::modern_meta;
use cortex_tests::{Client, Gateway, GatewayBuilder, Stream};
use serde_json::{Value, json};

async fn start() -> Gateway {
    let gateway = GatewayBuilder::new()
        .plugin("mischief")
        .backend("bad", "http://127.0.0.1:9")
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:mischief:use")
        .start()
        .await;
    gateway.ready().await;
    gateway
}

async fn message(stream: &mut Stream) -> Value {
    stream.message().await.expect("not the end yet").json()
}

fn form() -> Value {
    json!({ "who": { "method": "elicitation/create", "params": {
        "mode": "form", "message": "Who?", "requestedSchema": { "type": "object", "properties": {} } } } })
}

/// A modern call of `bad_ask` by a client that can be asked for forms.
async fn modern(client: &Client, arguments: Value, extra: Value) -> cortex_tests::Reply {
    let capabilities = json!({ "elicitation": {} });
    client
        .modern_call(capabilities, "bad_ask", arguments, &extra)
        .await
}

#[tokio::test]
async fn a_modern_client_is_asked_and_repeats_its_request() {
    let gateway = start().await;
    let client = &gateway.client;
    let arguments = json!({ "requests": form(), "state": "S3cret" });
    let asked = modern(client, arguments.clone(), json!({})).await.result();
    assert_eq!(asked["resultType"], "input_required");
    assert_eq!(asked["inputRequests"], form());
    let state = asked["requestState"].as_str().expect("a state").to_owned();
    assert!(!state.contains("S3cret"), "sealed: {state}");

    let responses = json!({ "who": { "action": "accept", "content": {} }, "extra": {} });
    let answers = json!({ "requestState": state, "inputResponses": responses });
    let done = modern(client, arguments.clone(), answers.clone()).await;
    let (text, failed) = done.tool_text();
    assert!(!failed && text.starts_with("S3cret {"), "{text}");
    assert_eq!(done.result()["resultType"], "complete");
    // Written in another order it is the same request.
    let reordered = json!({ "state": "S3cret", "requests": form() });
    assert!(
        !modern(client, reordered, answers.clone())
            .await
            .tool_text()
            .1
    );

    // Another request, a changed state, answers that are none.
    let other = json!({ "requests": form(), "state": "other" });
    let mut tampered = state.clone();
    let last = if tampered.pop() == Some('A') {
        'B'
    } else {
        'A'
    };
    tampered.push(last);
    for (arguments, extra) in [
        (other, answers.clone()),
        (arguments.clone(), json!({ "requestState": tampered })),
        (arguments.clone(), json!({ "requestState": "x" })),
        (arguments.clone(), json!({ "requestState": 7 })),
        (arguments.clone(), json!({ "inputResponses": null })),
        (arguments.clone(), json!({ "inputResponses": [] })),
        (
            arguments.clone(),
            json!({ "inputResponses": { "who": 12345 } }),
        ),
    ] {
        let refused = modern(client, arguments, extra.clone()).await;
        assert_eq!(refused.error().0, -32602, "{extra}");
    }
}

#[tokio::test]
async fn a_state_belongs_to_its_caller_and_survives_a_restart_of_nothing_else() {
    let gateway = start().await;
    let arguments = json!({ "state": "only state" });
    let asked = modern(&gateway.client, arguments.clone(), json!({}))
        .await
        .result();
    assert!(asked.get("inputRequests").is_none(), "{asked}");
    let extra = json!({ "requestState": asked["requestState"] });
    // The other gateway has another key.
    let other = start().await;
    let refused = modern(&other.client, arguments.clone(), extra.clone()).await;
    assert_eq!(refused.error().0, -32602);
    let (text, _) = modern(&gateway.client, arguments, extra).await.tool_text();
    assert_eq!(text, "only state {}");
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_is_told_what_it_needs() {
    let gateway = start().await;
    let sampling = json!({ "q": { "method": "sampling/createMessage", "params": { "messages": [], "maxTokens": 1 } } });
    let refused = modern(&gateway.client, json!({ "requests": sampling }), json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.error().0), (400, -32021));
    assert_eq!(
        refused.json()["error"]["data"],
        json!({ "requiredCapabilities": { "sampling": {} } })
    );
    // Never by that code in the legacy era.
    let legacy = gateway
        .client
        .call("bad_ask", json!({ "requests": sampling }))
        .await;
    let (text, failed) = legacy.tool_text();
    assert!(failed && text.contains("sampling"), "{text}");
    // What nobody may ask is the plugin's fault.
    let wrong = json!({ "q": { "method": "tools/call", "params": {} } });
    let fault = modern(&gateway.client, json!({ "requests": wrong }), json!({})).await;
    assert_eq!(fault.error().0, -32603);
}

#[tokio::test]
async fn a_legacy_client_is_asked_on_the_stream_of_its_request() {
    let gateway = start().await;
    let client = &gateway.client;
    for version in ["2025-06-18", "2025-11-25"] {
        let session = client
            .initialize_as(version, json!({ "elicitation": {} }))
            .await;
        let headers = [
            ("mcp-protocol-version", version),
            ("mcp-session-id", session.as_str()),
        ];
        let params =
            json!({ "name": "bad_ask", "arguments": { "requests": form(), "state": "again:S" } });
        let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params });
        let mut stream = Stream::post(client, body.to_string(), &headers).await;
        for _round in 0..2 {
            let question = message(&mut stream).await;
            assert_eq!(question["method"], "elicitation/create");
            assert_eq!(question["params"]["message"], "Who?");
            assert_eq!(
                question["params"].get("mode").is_some(),
                version == "2025-11-25"
            );
            let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "decline" } });
            // From another session it is nobody's answer.
            let stranger = client.initialize(version).await;
            let elsewhere = [headers[0], ("mcp-session-id", stranger.as_str())];
            client.post(answer.to_string(), &elsewhere).await;
            let taken = client.post(answer.to_string(), &headers).await;
            assert_eq!(taken.status, 202);
        }
        let result = message(&mut stream).await;
        assert_eq!(result["id"], 9);
        assert_eq!(
            result["result"]["content"][0]["text"],
            r#"S {"who":{"action":"decline"}}"#
        );
        assert_eq!(stream.frame().await, None, "then it ends");
    }
}

#[tokio::test]
async fn a_legacy_client_may_refuse() {
    let gateway = start().await;
    let client = &gateway.client;
    let session = client
        .initialize_as("2025-11-25", json!({ "elicitation": {} }))
        .await;
    let headers = [("mcp-session-id", session.as_str())];
    let params = json!({ "name": "bad_ask", "arguments": { "requests": form() } });
    let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params });
    let mut stream = Stream::post(client, body.to_string(), &headers).await;
    let question = message(&mut stream).await;
    let error = json!({ "jsonrpc": "2.0", "id": question["id"], "error": { "code": -1, "message": "not today" } });
    client.post(error.to_string(), &headers).await;
    let result = message(&mut stream).await["result"].clone();
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains("not today"), "{text}");

    // Without a session there is no way back, and the capabilities are not known.
    let params = json!({ "name": "bad_ask", "arguments": { "requests": form() } });
    let (text, failed) = client.legacy("tools/call", params).await.tool_text();
    assert!(failed && text.contains("elicitation"), "{text}");
}

#[tokio::test]
async fn messages_reach_who_wants_them() {
    let gateway = start().await;
    let client = &gateway.client;
    // Legacy: what the session has set; information and worse before that.
    let session = client.initialize("2025-11-25").await;
    let headers = [("mcp-session-id", session.as_str())];
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "bad_say" } });
    let mut stream = Stream::post(client, call.to_string(), &headers).await;
    let told = message(&mut stream).await;
    assert_eq!(
        told,
        json!({ "jsonrpc": "2.0", "method": "notifications/message",
                "params": { "level": "warning", "logger": "mischief", "data": { "low": true } } })
    );
    assert_eq!(
        message(&mut stream).await["result"]["content"][0]["text"],
        "info"
    );
    let set = json!({ "jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": { "level": "error" } });
    client.post(set.to_string(), &headers).await.result();
    let quiet = client.post(call.to_string(), &headers).await;
    assert_eq!(quiet.tool_text().0, "error", "a plain answer");

    // Modern: only what the request asks for.
    let say = async |level: Option<&str>| {
        let mut params = json!({ "name": "bad_say", "_meta": modern_meta() });
        if let Some(level) = level {
            params["_meta"]["io.modelcontextprotocol/logLevel"] = json!(level);
        }
        let body = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params });
        let headers = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "bad_say"),
        ];
        client.post(body.to_string(), &headers).await
    };
    assert_eq!(say(None).await.tool_text().0, "none");
    assert_eq!(say(Some("loud")).await.error().0, -32602);
    let all = say(Some("debug")).await.text();
    assert_eq!(all.matches("notifications/message").count(), 2, "{all}");
}
