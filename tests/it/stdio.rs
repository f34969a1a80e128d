//! `cortex-gateway stdio`: a real process between a client's lines and an MCP server.

mod login;
mod process;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan, component, free_address};
use serde_json::{Value, json};

use process::Process;
use server::{Answer, FakeServer, Seen, event};

/// A gateway that accepts tokens of an issuer, and a backend with one tool behind it.
async fn gateway() -> (Gateway, FakeBackend, FakeIssuer, Key) {
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "said": "hello" })));
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("test", &backend.url())
        .env("CORTEX_LISTEN", &free_address().to_string())
        .start()
        .await;
    gateway.ready().await;
    (gateway, backend, issuer, key)
}

fn url(gateway: &Gateway) -> String {
    format!("http://{}/mcp", gateway.address)
}

fn names(result: &Value) -> Vec<&str> {
    let tools = result["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{result}"));
    tools
        .iter()
        .filter(|tool| tool["_meta"]["app"] != "gateway")
        .filter_map(|tool| tool["name"].as_str())
        .collect()
}

fn said_hello(result: &Value) -> bool {
    let text = result["content"][0]["text"].as_str();
    text.is_some_and(|text| text.contains(r#""said":"hello""#))
}

#[tokio::test]
async fn a_token_from_the_environment_serves_clients_of_both_eras() {
    let (mut gateway, _backend, issuer, key) = gateway().await;
    let token = key.token(&issuer.claims());
    let mut client = Process::start(
        &["--url", &url(&gateway)],
        &[("CORTEX_STDIO_TOKEN", &token)],
    );

    let hello = client.initialize().await;
    assert_eq!(hello["protocolVersion"], "2025-11-25");
    client.ask(1, "tools/list", json!({})).await;
    assert_eq!(names(&client.result(1).await), ["test_echo"]);
    client
        .ask(
            "2",
            "tools/call",
            json!({ "name": "test_echo", "arguments": { "text": "x" } }),
        )
        .await;
    assert!(said_hello(&client.result("2").await));

    client.ask_modern(3, "server/discover", json!({})).await;
    let discovered = client.result(3).await;
    assert!(
        discovered["supportedVersions"]
            .to_string()
            .contains("2026-07-28"),
        "{discovered}"
    );
    client
        .ask_modern(
            4,
            "tools/call",
            json!({ "name": "test_echo", "arguments": {} }),
        )
        .await;
    assert_eq!(client.result(4).await["resultType"], "complete");
    client
        .ask_modern(
            5,
            "tools/call",
            json!({ "name": "test_é", "arguments": {} }),
        )
        .await;
    assert_eq!(
        client.error(5).await.0,
        -32602,
        "a name that no header can hold is encoded"
    );
    client.ask_modern(6, "initialize", json!({})).await;
    assert_eq!(client.error(6).await.0, -32601);

    client.ends_well().await;
    let records = gateway.audit(6).await;
    assert!(
        records
            .iter()
            .all(|record| record["caller_sub"] == "user-1"),
        "{records:?}"
    );
}

#[tokio::test]
async fn without_a_url_a_gateway_is_started_and_its_own_token_is_used() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "said": "hello" })));
    let plugins = tempfile::tempdir().expect("a directory");
    for name in ["backend-http", "policy-scopes", "audit-stdout"] {
        std::fs::copy(component(name), plugins.path().join(format!("{name}.wasm")))
            .expect("copied");
    }
    let url = backend.url();
    let env = [
        ("CORTEX_PLUGIN_DIR", plugins.path().to_str().expect("UTF-8")),
        ("CORTEX_BACKENDS", "test"),
        ("CORTEX_BACKEND_TEST_URL", &url),
        ("CORTEX_TECHNICAL_TOKEN", "technical"),
        // Of another gateway; none of it may matter here.
        ("OAUTH_ISSUER", "https://login.example.com"),
        ("OAUTH_JWKS_URL", "https://login.example.com/keys"),
        ("CORTEX_CANONICAL_URI", "https://mcp.example.com/mcp"),
        ("CORTEX_DEV_BYPASS_TOKEN", "bypass"),
        ("CORTEX_REQUIRED_POOL", "blue"),
        ("USER", "ann"),
    ];
    let mut client = Process::start(&[], &env);
    client.initialize().await;
    client.ask(1, "tools/list", json!({})).await;
    assert_eq!(names(&client.result(1).await), ["test_echo"]);
    client
        .ask_modern(
            2,
            "tools/call",
            json!({ "name": "test_echo", "arguments": {} }),
        )
        .await;
    assert!(said_hello(&client.result(2).await));
    // The backend was called with the caller's own token, a real one.
    let seen = backend.seen("echo");
    let bearer = seen[0].headers["authorization"].to_str().expect("ASCII");
    assert_eq!(
        bearer
            .strip_prefix("Bearer ")
            .map(|token| token.split('.').count()),
        Some(3),
        "{bearer}"
    );
    // Audit records go where they do no harm.
    let record = client.logged("\"tools/call\"").await;
    let record: Value = serde_json::from_str(&record).expect("one whole line");
    assert_eq!(
        (&record["caller_sub"], &record["caller_pool"]),
        (&json!("local:ann"), &json!("blue"))
    );
    assert_eq!(record["dev_bypass"], false);
    client.ends_well().await;

    // An IDE starts one for each of its windows: the second one works, too, and says what it lacks.
    let mut first = Process::start(&[], &env);
    first.initialize().await;
    let mut second = Process::start_in(Arc::clone(&first.dir), &[], &env);
    second.initialize().await;
    for (client, id) in [(&mut first, 3), (&mut second, 4)] {
        client.ask(id, "tools/list", json!({})).await;
        assert_eq!(names(&client.result(id).await), ["test_echo"]);
    }
    second.logged("another gateway keeps its files in").await;
    // Where changed tools are to be blocked, one that cannot compare them does not start.
    let mut strict = env.to_vec();
    strict.push(("CORTEX_TOOL_INTEGRITY_MODE", "block"));
    let mut third = Process::start_in(Arc::clone(&first.dir), &[], &strict);
    assert_eq!(third.ended().await.0, Some(1));
    assert!(
        third.log().contains("in use by another process"),
        "{}",
        third.log()
    );
    second.ends_well().await;
    first.ends_well().await;

    // Fewer scopes, if the user says so.
    let mut env = env.to_vec();
    env.push(("CORTEX_STDIO_SCOPES", "mcp:other:use"));
    let mut client = Process::start(&[], &env);
    client.ask_modern(1, "tools/list", json!({})).await;
    assert_eq!(names(&client.result(1).await), [""; 0]);
    client
        .ask_modern(
            2,
            "tools/call",
            json!({ "name": "test_echo", "arguments": {} }),
        )
        .await;
    assert_eq!(
        client.error(2).await,
        (-32603, "Insufficient scope".to_owned())
    );
    client.ends_well().await;
}

#[tokio::test]
async fn a_tool_asks_back_and_changes_are_told_through_a_gateway() {
    let key = Key::generate(Alg::EdDsa, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("one")])).await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("CORTEX_REFRESH_SECONDS", "1")
        .backend("docs", &backend.url())
        .plugin("mischief")
        .backend("bad", "http://127.0.0.1:9")
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief");
    let gateway = gateway.start().await;
    gateway.ready().await;
    let mut claims = issuer.claims();
    claims["scope"] = json!("mcp:test:use mcp:mischief:use");
    let token = key.token(&claims);
    let env = [("CORTEX_STDIO_TOKEN", token.as_str())];

    // Legacy: asked on the stream of the call, told on the stream of the session.
    let mut legacy = Process::start(&["--url", &url(&gateway)], &env);
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} },
        "clientInfo": { "name": "t", "version": "1" } });
    legacy.ask(0, "initialize", hello).await;
    legacy.result(0).await;
    legacy.notify("notifications/initialized", json!({})).await;
    let form = json!({ "who": { "method": "elicitation/create", "params": {
        "mode": "form", "message": "Who?", "requestedSchema": { "type": "object", "properties": {} } } } });
    let call = json!({ "name": "bad_ask", "arguments": { "requests": form, "state": "s" } });
    legacy.ask(1, "tools/call", call).await;
    let asked = legacy.next().await;
    assert_eq!(asked["method"], "elicitation/create");
    let accepted = json!({ "action": "accept", "content": {} });
    legacy
        .send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": accepted }))
        .await;
    let said = legacy.result(1).await;
    assert!(
        said["content"][0]["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("s {")),
        "{said}"
    );

    // Modern: told on the stream of a request.
    let mut modern = Process::start(&["--url", &url(&gateway)], &env);
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    modern.ask_modern("l", "subscriptions/listen", filter).await;
    let first = modern.next().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");

    let tools = json!([FakeBackend::tool("one"), FakeBackend::tool("two")]);
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
    for client in [&mut legacy, &mut modern] {
        assert_eq!(
            client.next().await["method"],
            "notifications/tools/list_changed"
        );
    }
    legacy.ask(2, "tools/list", json!({})).await;
    assert!(names(&legacy.result(2).await).contains(&"docs_two"));
    legacy.ends_well().await;
    modern.ends_well().await;
}

#[tokio::test]
async fn a_local_gateway_that_cannot_start_says_why() {
    let mut client = Process::start(&[], &[("CORTEX_PLUGIN_DIR", "/nowhere")]);
    let (code, said) = client.ended().await;
    assert_eq!((code, said.len()), (Some(1), 0));
    let log = client.log();
    assert!(
        log.contains("/nowhere") && log.contains("hint: set CORTEX_PLUGIN_DIR"),
        "{log}"
    );
}

#[tokio::test]
async fn a_bad_token_is_told_and_a_dead_gateway_is_survived() {
    let (mut gateway, backend, issuer, key) = gateway().await;
    let mut claims = issuer.claims();
    claims["exp"] = json!(1);
    let expired = key.token(&claims);
    let mut client = Process::start(
        &["--url", &url(&gateway)],
        &[("CORTEX_STDIO_TOKEN", &expired)],
    );
    client.ask(1, "ping", json!({})).await;
    let (code, why) = client.error(1).await;
    assert_eq!(code, -32603);
    assert!(
        why.contains("CORTEX_STDIO_TOKEN") && why.contains("expired"),
        "{why}"
    );
    client.ends_well().await;

    let token = key.token(&issuer.claims());
    let mut client = Process::start(
        &["--url", &url(&gateway)],
        &[("CORTEX_STDIO_TOKEN", &token)],
    );
    client.ask(1, "ping", json!({})).await;
    client.result(1).await;
    gateway.signal("TERM").await;
    gateway.ended().await;
    client.ask(2, "ping", json!({})).await;
    let (code, why) = client.error(2).await;
    assert_eq!(code, -32603);
    assert!(
        why.contains("cannot be reached") && why.contains("try again"),
        "{why}"
    );
    let address = gateway.address.to_string();
    let again = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("test", &backend.url());
    let _again = again.env("CORTEX_LISTEN", &address).start().await;
    client.ask(3, "ping", json!({})).await;
    client.result(3).await;
    client.ends_well().await;
}

#[tokio::test]
async fn what_is_no_message_gets_an_answer_and_harms_nobody() {
    let server = FakeServer::start(|seen| seen.result(json!({}))).await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.line("{nonsense").await;
    assert_eq!(client.error(Value::Null).await.0, -32700);
    client
        .line(r#"{"jsonrpc":"1.0","id":9,"method":"ping"}"#)
        .await;
    assert_eq!(client.error(9).await.0, -32600);
    client.line("\n  \n").await;
    client
        .line(r#"{"jsonrpc":"2.0","id":10,"method":"ping"}"#)
        .await;
    client.result(10).await;
    assert_eq!(server.seen().len(), 1);
    client.ends_well().await;
}

/// Answers as a legacy server with sessions does.
fn legacy(seen: &Seen, session: &str) -> Answer {
    match seen.method() {
        "initialize" => seen
            .result(json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": { "name": "s", "version": "1" } }))
            .header("mcp-session-id", session),
        "GET" => Answer::empty(405),
        "DELETE" => Answer::empty(200),
        method if method.starts_with("notifications/") => Answer::empty(202),
        _ => seen.result(json!({})),
    }
}

#[tokio::test]
async fn a_legacy_session_is_kept_listened_to_and_ended() {
    let streams = AtomicUsize::new(0);
    let server = FakeServer::start(move |seen| match seen.method() {
        "GET" => match streams.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::said(&[
                "id: e-1\nretry: 1\n\n".to_owned(),
                event(&json!({ "jsonrpc": "2.0", "id": "s-1", "method": "roots/list" })),
                ": a comment\n\n".to_owned(),
            ]),
            1 => Answer::said(&[event(
                &json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }),
            )]),
            _ => Answer::events().0,
        },
        _ if seen.body.get("result").is_some() => Answer::empty(202),
        _ => legacy(seen, "session-1"),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.initialize().await;
    let asked = client.next().await;
    assert_eq!(
        (&asked["id"], &asked["method"]),
        (&json!("s-1"), &json!("roots/list"))
    );
    client
        .send(&json!({ "jsonrpc": "2.0", "id": "s-1", "result": { "roots": [] } }))
        .await;
    assert_eq!(
        client.next().await["method"],
        "notifications/tools/list_changed"
    );
    client.ask(1, "ping", json!({})).await;
    client.result(1).await;
    server.called("POST", 1).await;
    client.ends_well().await;

    let seen = server.seen();
    assert_eq!(seen[0].header("mcp-session-id"), "");
    for later in &seen[1..] {
        let (session, version) = (
            later.header("mcp-session-id"),
            later.header("mcp-protocol-version"),
        );
        assert_eq!((session, version), ("session-1", "2025-06-18"), "{later:?}");
    }
    let streams = server.calls("GET");
    assert_eq!(streams[0].header("accept"), "text/event-stream");
    assert_eq!(streams[0].header("last-event-id"), "");
    assert_eq!(streams[1].header("last-event-id"), "e-1");
    assert_eq!(server.calls("DELETE").len(), 1);
    // What a client says first arrives first.
    let order: Vec<_> = seen.iter().map(Seen::method).take(2).collect();
    assert_eq!(order, ["initialize", "notifications/initialized"]);
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_begun_anew_unnoticed() {
    let sessions = AtomicUsize::new(0);
    let server = FakeServer::start(move |seen| {
        let number = sessions.load(Ordering::SeqCst);
        match seen.method() {
            "initialize" => {
                sessions.fetch_add(1, Ordering::SeqCst);
                legacy(seen, &format!("session-{}", number + 1))
            }
            "forget" => {
                sessions.store(100, Ordering::SeqCst);
                seen.result(json!({}))
            }
            _ if seen.header("mcp-session-id") != format!("session-{number}") => {
                seen.error(404, -32001)
            }
            _ => legacy(seen, ""),
        }
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.initialize().await;
    client.ask(1, "forget", json!({})).await;
    client.result(1).await;
    // Several at once make one new session.
    for id in 2..6 {
        client.ask(id, "ping", json!({})).await;
    }
    for id in 2..6 {
        client.result(id).await;
    }
    assert_eq!(server.calls("initialize").len(), 2);
    assert_eq!(server.calls("notifications/initialized").len(), 2);
    client.ends_well().await;
}

#[tokio::test]
async fn a_session_that_cannot_be_begun_anew_is_told() {
    let gone = AtomicBool::new(false);
    let server = FakeServer::start(move |seen| match seen.method() {
        "initialize" if gone.swap(true, Ordering::SeqCst) => Answer::empty(500),
        "ping" => Answer::empty(404),
        _ => legacy(seen, "session-1"),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.initialize().await;
    client.ask(1, "ping", json!({})).await;
    let (_, why) = client.error(1).await;
    assert!(why.contains("cannot be begun anew"), "{why}");
    client.ends_well().await;
}

#[tokio::test]
async fn messages_of_a_stream_come_one_by_one_and_a_broken_one_is_taken_up_again() {
    let progress = |n: u32| json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progress": n } });
    let server = FakeServer::start(move |seen| match (seen.method(), seen.header("last-event-id")) {
        ("tools/call", _) => Answer::said(&[
            "id: 1\nretry: 1\ndata: {\ndata: \"jsonrpc\": \"2.0\",\ndata: \"id\": 7, \"method\": \"ping\"}\n\n".to_owned(),
            format!("id: 2\n{}", event(&progress(1))),
        ]),
        ("GET", "2") => Answer::said(&[
            event(&progress(2)),
            event(&json!({ "jsonrpc": "2.0", "id": "other", "result": {} })),
            event(&json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [] } })),
        ]),
        _ => legacy(seen, "session-1"),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.initialize().await;
    client.ask(1, "tools/call", json!({ "name": "x" })).await;
    assert_eq!(client.next().await["method"], "ping");
    assert_eq!(client.next().await["params"]["progress"], 1);
    assert_eq!(client.next().await["params"]["progress"], 2);
    assert_eq!(client.next().await["result"]["content"], json!([]));
    client.ends_well().await;
}

#[tokio::test]
async fn in_the_modern_era_nothing_is_taken_up_again() {
    let server = FakeServer::start(|seen| match seen.method() {
        "tools/call" => Answer::said(&["id: 1\nretry: 1\n\n".to_owned()]),
        _ => seen.result(json!({})),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client
        .ask_modern(1, "tools/call", json!({ "name": "x" }))
        .await;
    let (_, why) = client.error(1).await;
    assert!(why.contains("may have been carried out"), "{why}");
    client.ends_well().await;
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn giving_up_closes_the_stream_or_says_so_by_the_era() {
    let server = FakeServer::start(|seen| match seen.method() {
        "tools/call" => {
            let (answer, sender) = Answer::events();
            // Kept open by whoever waits for its end.
            sender
                .send(event(
                    &json!({ "jsonrpc": "2.0", "method": "notifications/progress" }),
                ))
                .expect("open");
            tokio::spawn(async move { sender.closed().await });
            answer
        }
        _ => legacy(seen, "session-1"),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client
        .ask_modern("m", "tools/call", json!({ "name": "x" }))
        .await;
    assert_eq!(client.next().await["method"], "notifications/progress");
    client
        .notify("notifications/cancelled", json!({ "requestId": "m" }))
        .await;
    server.left(1).await;
    assert_eq!(server.calls("notifications/cancelled").len(), 0);

    client.initialize().await;
    client.ask(1, "tools/call", json!({ "name": "x" })).await;
    assert_eq!(client.next().await["method"], "notifications/progress");
    client
        .notify(
            "notifications/cancelled",
            json!({ "requestId": 1, "reason": "changed my mind" }),
        )
        .await;
    let told = server.called("notifications/cancelled", 1).await;
    assert_eq!(told[0].header("mcp-session-id"), "session-1");
    server.left(2).await;
    // Of what is unknown nothing is said; and there is no answer to what was given up.
    client
        .notify("notifications/cancelled", json!({ "requestId": 2 }))
        .await;
    client.ask(3, "ping", json!({})).await;
    client.result(3).await;
    assert_eq!(server.calls("notifications/cancelled").len(), 1);
    client.ends_well().await;
}

#[tokio::test]
async fn a_subscription_lasts_until_it_is_given_up_or_the_input_ends() {
    let server = FakeServer::start(|seen| {
        let (answer, sender) = Answer::events();
        let meta = json!({ "io.modelcontextprotocol/subscriptionId": seen.body["id"] });
        let acknowledged = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": { "_meta": meta } });
        sender.send(event(&acknowledged)).expect("open");
        tokio::spawn(async move { sender.closed().await });
        answer
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    for id in ["a", "b"] {
        client
            .ask_modern(
                id,
                "subscriptions/listen",
                json!({ "notifications": { "toolsListChanged": true } }),
            )
            .await;
        let message = client.next().await;
        assert_eq!(
            message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
            id
        );
    }
    client
        .notify("notifications/cancelled", json!({ "requestId": "a" }))
        .await;
    server.left(1).await;
    client.ends_well().await;
    server.left(2).await;
}

#[tokio::test]
async fn arguments_are_mirrored_even_when_the_definition_was_never_seen() {
    let schema = json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } });
    let broken = json!({ "type": "object", "properties": { "x": { "type": "number", "x-mcp-header": "X" } } });
    let server = FakeServer::start(move |seen| {
        match (seen.method(), seen.body["params"]["cursor"].as_str()) {
            ("tools/list", None) => seen.result(
                json!({ "tools": [{ "name": "bad", "inputSchema": broken }], "nextCursor": "2" }),
            ),
            ("tools/list", _) => {
                seen.result(json!({ "tools": [{ "name": "run", "inputSchema": schema }] }))
            }
            ("tools/call", _) if seen.header("mcp-param-region") != "=?base64?U8O8ZA==?=" => {
                seen.error(400, -32020)
            }
            _ => seen.result(json!({ "content": [] })),
        }
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    for id in 1..3 {
        client
            .ask_modern(
                id,
                "tools/call",
                json!({ "name": "run", "arguments": { "region": "Süd" } }),
            )
            .await;
        client.result(id).await;
    }
    assert_eq!(
        server.calls("tools/call").len(),
        3,
        "one try without the header, two with it"
    );
    assert_eq!(server.calls("tools/list").len(), 2);
    let call = &server.calls("tools/call")[0];
    assert_eq!(
        (call.header("mcp-method"), call.header("mcp-name")),
        ("tools/call", "run")
    );
    assert_eq!(call.header("mcp-protocol-version"), "2026-07-28");

    // The client never sees a tool that cannot be called rightly.
    client.ask_modern(3, "tools/list", json!({})).await;
    let page = client.result(3).await;
    assert_eq!((names(&page), &page["nextCursor"]), (vec![], &json!("2")));
    // A mismatch that nothing mends is told, once.
    client
        .ask_modern(4, "tools/call", json!({ "name": "run", "arguments": {} }))
        .await;
    assert_eq!(client.error(4).await.0, -32020);
    client.ends_well().await;
}

#[tokio::test]
async fn refusals_keep_their_words_and_get_the_right_id() {
    let server = FakeServer::start(|seen| match seen.method() {
        "a" => seen.error(400, -32022),
        "b" => Answer::json(400, json!({ "jsonrpc": "2.0", "id": "server-error", "error": { "code": -32600, "message": "no" } })),
        "c" => Answer::json(403, json!({ "error": "forbidden_origin" })),
        "d" => Answer::empty(202),
        "e" => seen.result(json!("{")).header("x-later", "1"),
        "f" => Answer::json(200, json!([1])),
        _ => Answer::empty(301).header("location", "http://127.0.0.1:1/"),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    for (method, code, words) in [
        ("a", -32022, "no"),
        ("b", -32600, "no"),
        ("c", -32603, "403"),
        ("d", -32603, "without JSON"),
        ("f", -32603, "something else"),
        ("g", -32603, "redirects are not followed"),
    ] {
        client.ask(method, method, json!({})).await;
        let error = client.error(method).await;
        assert!(
            error.0 == code && error.1.contains(words),
            "{method}: {error:?}"
        );
    }
    client.ask("e", "e", json!({})).await;
    assert_eq!(client.result("e").await, "{");
    client.ends_well().await;
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other_and_large_ones_pass() {
    let (release, held) = tokio::sync::watch::channel(());
    let server = FakeServer::start(move |seen| match seen.method() {
        "slow" => {
            let (answer, sender) = Answer::events();
            let (mut held, done) = (
                held.clone(),
                event(&json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": {} })),
            );
            tokio::spawn(async move {
                // Ends when the test lets go.
                while held.changed().await.is_ok() {}
                sender.send(done)
            });
            answer
        }
        _ => seen.result(seen.body["params"].clone()),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.ask("slow", "slow", json!({})).await;
    client.ask("slow", "slow", json!({})).await;
    assert_eq!(
        client.error("slow").await.0,
        -32600,
        "the same id twice at one time"
    );
    let large = "é\n".repeat(1_000_000);
    client.ask(1, "echo", json!({ "text": large })).await;
    assert_eq!(client.result(1).await["text"], large);
    // The end of the input does not lose what was asked before it.
    client.close();
    drop(release);
    let (code, rest) = client.ended().await;
    assert_eq!((code, rest.len()), (Some(0), 1), "{rest:?}");
    assert_eq!(rest[0]["id"], "slow");
}

#[tokio::test]
async fn a_signal_ends_it_well() {
    let server = FakeServer::start(|seen| legacy(seen, "session-1")).await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.initialize().await;
    server.called("GET", 1).await;
    client.signal("TERM").await;
    assert_eq!(client.ended().await.0, Some(0));
    assert_eq!(server.calls("DELETE").len(), 1);
}

#[tokio::test]
async fn a_batch_is_answered_whole() {
    let server = FakeServer::start(|seen| match seen.body.as_array() {
        Some(batch) => {
            let answers: Vec<_> = batch
                .iter()
                .filter(|m| m.get("id").is_some())
                .map(|m| json!({ "jsonrpc": "2.0", "id": m["id"], "result": {} }))
                .collect();
            Answer::json(200, json!(answers))
        }
        None => legacy(seen, "session-1"),
    })
    .await;
    let mut client = Process::start(&["--url", &server.url()], &[]);
    client.initialize().await;
    client.line(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#).await;
    let answer = client.next().await;
    assert_eq!(answer.as_array().map(Vec::len), Some(2), "{answer}");
    client.ends_well().await;
}

#[tokio::test]
async fn wrong_words_are_told_before_anything_is_read() {
    for (args, env, words) in [
        (
            &["--url", "http://mcp.example.com/mcp"][..],
            &[][..],
            "expected an https URL",
        ),
        (&["--device"], &[], "--url"),
        (
            &["--url", "http://127.0.0.1:1/mcp"],
            &[("CORTEX_STDIO_SCOPES", "\"")],
            "CORTEX_STDIO_SCOPES",
        ),
    ] {
        let mut client = Process::start(args, env);
        let (code, said) = client.ended().await;
        assert!(code != Some(0) && said.is_empty(), "{args:?}");
        assert!(client.log().contains(words), "{}", client.log());
    }
}
