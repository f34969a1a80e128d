//! Legacy servers that ask in the middle of a call, in front of clients of both eras: the question reaches the
//! client in its own era's way, and the call goes on where it was.

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::mcp_server::{Answer, Step};
use cortex_tests::stream::Stream;
use cortex_tests::{Client, Era, FakeMcp, Gateway, GatewayBuilder, Reply};
use serde_json::{Value, json};

/// A server whose tool asks for a name, and says what it was told only when the test lets it.
async fn asking() -> FakeMcp {
    let server = FakeMcp::start(Era::Legacy).await;
    server.events("tools/call", |message| {
        let question = json!({
            "jsonrpc": "2.0", "id": "q-1", "method": "elicitation/create",
            "params": { "mode": "form", "message": "Who?", "requestedSchema": { "type": "object" }, "_meta": { "progressToken": 1 } },
        });
        let done = message.result(json!({ "content": [{ "type": "text", "text": "done" }] }));
        vec![Step::Send(question), Step::Wait, Step::Send(done)]
    });
    server
}

/// A gateway in front of it, with an issuer whose tokens it takes.
async fn stand(server: &FakeMcp) -> (Gateway, Box<dyn Fn(&str) -> Client>, FakeIssuer) {
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("CORTEX_TECHNICAL_TOKEN", "")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .mcp_server("wiki", &server.url())
        .start()
        .await;
    gateway.ready().await;
    let (claims, client) = (issuer.claims(), gateway.client.clone());
    let of = Box::new(move |user: &str| {
        let mut claims = claims.clone();
        claims["sub"] = user.into();
        claims["jti"] = format!("token-of-{user}").into();
        client.with_token(&key.token(&claims))
    });
    (gateway, of, issuer)
}

async fn call(client: &Client, more: Value) -> Reply {
    let capabilities = json!({ "elicitation": {} });
    client
        .modern_call(capabilities, "wiki_act", json!({ "a": 1 }), &more)
        .await
}

/// What a client repeats its request with.
fn answer(asked: &Reply, responses: Value) -> Value {
    json!({ "requestState": asked.result()["requestState"], "inputResponses": responses })
}

fn accepted() -> Value {
    json!({ "question": { "action": "accept", "content": { "name": "Ada" } } })
}

/// Answers to its question that the server has got.
fn told(server: &FakeMcp) -> Vec<Value> {
    let answers = server.seen("").into_iter().map(|message| message.body);
    answers.filter(|body| body["id"] == "q-1").collect()
}

/// Lets the server go on once it was told.
async fn go_on(server: &FakeMcp, gateway: &Gateway) {
    eventually(|| told(server).len() == 1, || gateway.log()).await;
    server.go_on();
}

#[tokio::test]
async fn a_modern_client_answers_with_its_next_request_and_the_call_goes_on() {
    let server = asking().await;
    let (gateway, client, _issuer) = stand(&server).await;
    let ada = client("ada");
    let asked = call(&ada, json!({})).await;
    let result = asked.result();
    assert_eq!(result["resultType"], "input_required", "{result}");
    let expected = json!({
        "method": "elicitation/create",
        "params": { "mode": "form", "message": "Who?", "requestedSchema": { "type": "object" } },
    });
    assert_eq!(result["inputRequests"], json!({ "question": expected }));
    assert!(told(&server).is_empty() && server.closed() == 0, "it waits");

    // Without the answer, the question comes again, and the call still waits.
    let again = call(
        &ada,
        answer(&asked, json!({ "other": { "action": "accept" } })),
    )
    .await;
    assert_eq!(
        again.result()["inputRequests"],
        json!({ "question": expected })
    );
    let (done, ()) = tokio::join!(
        call(&ada, answer(&again, accepted())),
        go_on(&server, &gateway)
    );
    assert_eq!(
        done.tool_text(),
        ("done".to_owned(), false),
        "{}",
        done.text()
    );
    assert_eq!(
        told(&server)[0]["result"],
        json!({ "action": "accept", "content": { "name": "Ada" } })
    );
    assert_eq!(server.seen("tools/call").len(), 1, "one call for all of it");

    // It is over: nobody takes it up a second time.
    for state in [&asked, &again] {
        let late = call(&ada, answer(state, accepted())).await;
        assert_eq!(late.error().0, -32602, "{}", late.text());
    }
}

#[tokio::test]
async fn a_parked_call_is_its_callers_and_of_its_request() {
    let server = asking().await;
    let (gateway, client, _issuer) = stand(&server).await;
    let asked = call(&client("ada"), json!({})).await;
    let mut other = answer(&asked, accepted());
    assert_eq!(call(&client("eve"), other.clone()).await.error().0, -32602);
    other["arguments"] = json!({ "a": 2 });
    assert_eq!(call(&client("ada"), other).await.error().0, -32602);
    assert!(told(&server).is_empty());
    let ada = client("ada");
    let (done, ()) = tokio::join!(
        call(&ada, answer(&asked, accepted())),
        go_on(&server, &gateway)
    );
    assert_eq!(done.tool_text().0, "done");
}

#[tokio::test]
async fn too_many_parked_calls_of_one_caller_are_refused_and_let_go_of() {
    let server = asking().await;
    let (gateway, client, _issuer) = stand(&server).await;
    let ada = client("ada");
    for _ in 0..8 {
        assert_eq!(
            call(&ada, json!({})).await.result()["resultType"],
            "input_required"
        );
    }
    let refused = call(&ada, json!({})).await;
    assert!(
        refused.tool_text().1 && refused.text().contains("too many calls wait"),
        "{}",
        refused.text()
    );
    eventually(|| server.closed() == 1, || gateway.log()).await;
    // Others have room.
    assert_eq!(
        call(&client("bob"), json!({})).await.result()["resultType"],
        "input_required"
    );
}

#[tokio::test]
async fn a_legacy_client_is_asked_on_its_stream() {
    let server = asking().await;
    let (gateway, client, _issuer) = stand(&server).await;
    let ada = client("ada");
    for (version, action, expected) in [
        (
            "2025-11-25",
            json!({ "result": { "action": "accept", "content": { "name": "Ada" } } }),
            json!({ "result": { "action": "accept", "content": { "name": "Ada" } } }),
        ),
        (
            "2025-06-18",
            json!({ "result": { "action": "decline" } }),
            json!({ "result": { "action": "decline" } }),
        ),
        (
            "2025-06-18",
            json!({ "error": { "code": -1, "message": "no" } }),
            json!({ "error": { "code": -1, "message": "no" } }),
        ),
    ] {
        server.forget_messages();
        let session = ada
            .initialize_as(version, json!({ "elicitation": {} }))
            .await;
        let headers = [
            ("mcp-protocol-version", version),
            ("mcp-session-id", session.as_str()),
        ];
        let params = json!({ "name": "wiki_act", "arguments": {} });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let mut stream = Stream::post(&ada, body.to_string(), &headers).await;
        let question = stream.message().await.expect("a question").json();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let mut reply = json!({ "jsonrpc": "2.0", "id": question["id"] });
        for (name, value) in action.as_object().expect("an object") {
            reply[name] = value.clone();
        }
        assert_eq!(ada.post(reply.to_string(), &headers).await.status, 202);
        go_on(&server, &gateway).await;
        let done = stream.message().await.expect("the end").json();
        assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
        let (name, value) = expected
            .as_object()
            .and_then(|e| e.iter().next())
            .expect("one");
        assert_eq!(told(&server)[0][name], *value);
    }
}

#[tokio::test]
async fn who_cannot_be_asked_is_not() {
    let server = asking().await;
    let (gateway, client, _issuer) = stand(&server).await;
    let ada = client("ada");
    // Declares nothing.
    let params = json!({ "name": "wiki_act", "arguments": {} });
    let (called, ()) = tokio::join!(ada.modern("tools/call", params), go_on(&server, &gateway));
    assert_eq!(called.tool_text().0, "done");
    let error = &told(&server)[0]["error"];
    assert_eq!(error["code"], -32601, "{error}");
    let begun = server.seen("initialize");
    let declared = &begun.last().expect("one").body["params"]["capabilities"];
    assert_eq!(*declared, json!({}));
}

#[tokio::test]
async fn calls_of_one_subject_share_a_session_and_others_have_their_own() {
    let server = FakeMcp::start(Era::Legacy).await;
    server.result(
        "tools/call",
        json!({ "content": [{ "type": "text", "text": "done" }] }),
    );
    let (_gateway, client, _issuer) = stand(&server).await;
    server.forget_messages();
    let (ada, bob) = (client("ada"), client("bob"));
    // One handshake for many that wait.
    let many = (0..10).map(|_| ada.call("wiki_act", json!({})));
    for called in futures_util::future::join_all(many).await {
        assert_eq!(called.tool_text().0, "done");
    }
    assert_eq!(server.seen("initialize").len(), 1);
    assert_eq!(bob.call("wiki_act", json!({})).await.tool_text().0, "done");
    assert_eq!(server.seen("initialize").len(), 2);
    let sessions = |from: usize, to: usize| {
        let calls = server.seen("tools/call");
        let of: std::collections::BTreeSet<String> = calls[from..to]
            .iter()
            .map(|call| call.header("mcp-session-id").to_owned())
            .collect();
        of
    };
    assert_eq!(sessions(0, 10).len(), 1);
    assert!(sessions(0, 10).is_disjoint(&sessions(10, 11)));
    // Lost: begun again, once for all of them.
    server.end_sessions();
    let many = (0..10).map(|_| ada.call("wiki_act", json!({})));
    for called in futures_util::future::join_all(many).await {
        assert_eq!(called.tool_text().0, "done", "{}", called.text());
    }
    assert_eq!(server.seen("initialize").len(), 3);
}

#[tokio::test]
async fn a_client_that_goes_away_calls_the_request_off_at_the_server() {
    let server = FakeMcp::start(Era::Legacy).await;
    server.plan("tools/call", |_| Answer::Hang);
    let (gateway, client, _issuer) = stand(&server).await;
    let ada = client("ada");
    let calling = tokio::spawn(async move { call(&ada, json!({})).await });
    eventually(|| !server.seen("tools/call").is_empty(), || gateway.log()).await;
    calling.abort();
    eventually(
        || !server.seen("notifications/cancelled").is_empty(),
        || gateway.log(),
    )
    .await;
    let id = server.seen("tools/call")[0].body["id"].clone();
    let cancelled = &server.seen("notifications/cancelled")[0];
    assert_eq!(cancelled.body["params"]["requestId"], id);
    let session = server.seen("tools/call")[0]
        .header("mcp-session-id")
        .to_owned();
    assert_eq!(cancelled.header("mcp-session-id"), session);
}

#[tokio::test]
async fn an_mcp_server_is_a_contract_backend_too() {
    use cortex_tests::FixtureServer;
    let fixture = FixtureServer::start().await;
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .mcp_server("fixture", &fixture.url)
        .start()
        .await;
    gateway.ready().await;
    let token = |scope: &str| {
        let mut claims = issuer.claims();
        claims["scope"] = scope.into();
        format!("Bearer {}", key.token(&claims))
    };
    let (user, other) = (token("mcp:test:use"), token("mcp:other"));
    let technical = "Bearer technical-token-of-the-tests".to_owned();
    let client = gateway.client.clone();
    let ask = async |token: &str, body: Value| {
        let headers = [
            ("authorization", token),
            ("content-type", "application/json"),
        ];
        let path = "/api/mcp-adapter/fixture/backend";
        let sent = client.send(http::Method::POST, path, &headers, body.to_string());
        sent.await.expect("an answer")
    };
    let listed = ask(&technical, json!({ "method": "list_tools" }))
        .await
        .json();
    let tools = listed["tools"].as_array().expect("tools");
    let echo = tools
        .iter()
        .find(|tool| tool["name"] == "test_simple_text")
        .expect("by its own name");
    assert_eq!(echo["scope"], "mcp:test:use");
    assert!(echo["inputSchema"].is_object());
    assert!(
        !echo["description"]
            .as_str()
            .unwrap_or_default()
            .starts_with('['),
        "{echo}"
    );
    for (method, member) in [
        ("list_prompts", "prompts"),
        ("list_resource_templates", "resourceTemplates"),
    ] {
        let listed = ask(&technical, json!({ "method": method })).await.json();
        assert!(
            listed[member].as_array().is_some_and(|all| !all.is_empty()),
            "{listed}"
        );
    }
    // As the user, and nobody else.
    let called = ask(&user, json!({ "method": "test_simple_text", "params": {} })).await;
    assert_eq!(called.status, 200);
    assert!(called.json().is_string(), "{}", called.text());
    let refused = ask(&technical, json!({ "method": "test_simple_text" })).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let refused = ask(&other, json!({ "method": "test_simple_text" })).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["required"], json!(["mcp:test:use"]));
    let seen = ask(&other, json!({ "method": "list_tools" })).await.json();
    assert_eq!(seen, json!({ "tools": [] }));
    let failed = ask(&user, json!({ "method": "test_error_handling" })).await;
    assert_eq!(failed.status, 422, "{}", failed.text());
    assert!(failed.json()["error"].is_string());
    assert_eq!(
        ask(&user, json!({ "method": "none_such" })).await.status,
        404
    );
    assert_eq!(ask(&user, json!({ "params": {} })).await.status, 400);
    assert_eq!(
        ask("Bearer nonsense", json!({ "method": "list_tools" }))
            .await
            .status,
        401
    );
    let prompt = json!({ "method": "get_prompt", "params": { "name": "test_simple_prompt" } });
    assert!(ask(&user, prompt).await.json()["messages"].is_array());
    let read = json!({ "method": "read_resource", "params": { "uri": "test://static-text" } });
    assert!(ask(&user, read).await.json()["contents"].is_array());
    let records = gateway.audited(|all| all.len() >= 13).await;
    let called = records
        .iter()
        .find(|r| r["tool"] == "fixture_test_simple_text" && r["success"] == true);
    assert_eq!(called.expect("its record")["target_app"], "fixture");
}

#[tokio::test]
async fn a_gateway_serves_what_another_one_adapts() {
    use cortex_tests::FixtureServer;
    let fixture = FixtureServer::start().await;
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let inner = GatewayBuilder::new()
        .issuer(&issuer)
        .mcp_server("fixture", &fixture.url)
        .start()
        .await;
    inner.ready().await;
    let outer = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("far", &format!("http://{}", inner.address))
        .env(
            "CORTEX_BACKEND_FAR_PATH",
            "/api/mcp-adapter/fixture/backend",
        )
        .start()
        .await;
    outer.ready().await;
    let client = outer.client.with_token(&key.token(&issuer.claims()));
    let called = client.call("far_test_simple_text", json!({})).await;
    let (text, failed) = called.tool_text();
    assert!(!failed && text.contains("simple text"), "{text}");
}
