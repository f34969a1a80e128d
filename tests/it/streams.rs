//! Who listens is told when a list has changed, in both eras; and who comes back misses nothing.

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key, now};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder, Plan, Stream};
use http::Method;
use serde_json::{Value, json};

const TOOLS: &str = "notifications/tools/list_changed";

fn tool(name: &str, scope: &str) -> Value {
    json!({ "name": name, "scope": scope, "description": "For tests.", "params": {} })
}

/// What the backend offers from now on.
fn offer(backend: &FakeBackend, tools: &[Value]) {
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": tools })));
}

/// A gateway that looks for changes every second.
fn watching(backend: &FakeBackend) -> GatewayBuilder {
    GatewayBuilder::new()
        .env("CORTEX_REFRESH_SECONDS", "1")
        .backend("docs", &backend.url())
}

async fn start(backend: &FakeBackend) -> Gateway {
    let gateway = watching(backend).start().await;
    gateway.ready().await;
    gateway
}

/// Waits until the gateway has asked the backend twice more, so that it knows what it offers.
async fn noticed(backend: &FakeBackend) {
    let asked = backend.seen("list_tools").len();
    eventually(
        || backend.seen("list_tools").len() >= asked + 2,
        || "no refresh".to_owned(),
    )
    .await;
}

async fn listen(client: &Client, session: &str, last: Option<&str>) -> Stream {
    let mut headers = vec![("mcp-session-id", session)];
    headers.extend(last.map(|id| ("last-event-id", id)));
    let stream = Stream::legacy(client, &headers).await;
    assert_eq!(stream.status, 200);
    stream
}

#[tokio::test]
async fn a_legacy_client_is_told_of_changes_and_resumes_where_it_was() {
    let (one, two) = (tool("one", "mcp:test:use"), tool("two", "mcp:test:use"));
    let backend = FakeBackend::start(json!([one])).await;
    let mut gateway = start(&backend).await;
    let client = gateway.client.clone();
    let session = client.initialize("2025-11-25").await;

    let mut stream = listen(&client, &session, None).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    assert_eq!(stream.headers["cache-control"], "no-store");
    let opening = stream.frame().await.expect("an opening");
    assert_eq!(opening.data.as_deref(), Some(""), "it carries no message");
    assert!(
        opening.retry.is_some() && opening.id.is_some(),
        "{opening:?}"
    );

    offer(&backend, &[one.clone(), two.clone()]);
    let told = stream.message().await.expect("a change");
    assert_eq!(told.json(), json!({ "jsonrpc": "2.0", "method": TOOLS }));
    let list = client.legacy("tools/list", json!({})).await;
    assert_eq!(list.tool_names(), ["docs_one", "docs_two"]);
    drop(stream);

    // What happens while nobody listens is told to who comes back, once.
    offer(&backend, std::slice::from_ref(&one));
    noticed(&backend).await;
    let mut stream = listen(&client, &session, told.id.as_deref()).await;
    let missed = stream.message().await.expect("what was missed");
    assert_eq!(missed.method(), TOOLS);
    assert_ne!(missed.id, told.id);
    drop(stream);
    let mut stream = listen(&client, &session, missed.id.as_deref()).await;
    offer(&backend, std::slice::from_ref(&two));
    let next = stream.message().await.expect("a change");
    assert!(![&told.id, &missed.id].contains(&&next.id), "{next:?}");

    // A second stream of the session replaces the first: no message is sent on both.
    let mut newer = listen(&client, &session, None).await;
    assert_eq!(stream.message().await, None);
    offer(&backend, &[one]);
    assert_eq!(newer.message().await.expect("a change").method(), TOOLS);

    // The end of the session ends its stream.
    client.delete(&[("mcp-session-id", &session)]).await;
    assert_eq!(newer.message().await, None);
    let gone = Stream::legacy(&client, &[("mcp-session-id", &session)]).await;
    assert_eq!(gone.status, 404);

    // initialize, tools/list, four streams, the end of the session, a refusal.
    let records = gateway.audit(8).await;
    let streams: Vec<_> = records.iter().filter(|r| r["method"] == "GET").collect();
    assert_eq!(streams.len(), 5);
    for record in &streams[..4] {
        assert_eq!(record["success"], true, "{record}");
        assert_eq!(record["session_id"], records[0]["session_id"]);
        assert!(record["response_size"].as_u64() > Some(0));
    }
    assert_eq!(streams[4]["error_code"], "unknown_session");
}

#[tokio::test]
async fn who_comes_back_after_a_restart_learns_whether_something_changed() {
    let backend = FakeBackend::start(json!([tool("one", "mcp:test:use")])).await;
    let data = tempfile::tempdir().expect("a directory");
    let data = data.path().to_str().expect("UTF-8");
    let mut first = watching(&backend)
        .env("CORTEX_DATA_DIR", data)
        .start()
        .await;
    first.ready().await;
    let session = first.client.initialize("2025-11-25").await;
    let mut stream = listen(&first.client, &session, None).await;
    let last = stream.frame().await.and_then(|opening| opening.id);
    first.signal("TERM").await;
    assert_eq!(stream.frame().await, None);
    assert_eq!(first.ended().await, Some(0));

    let again = async || {
        let gateway = watching(&backend)
            .env("CORTEX_DATA_DIR", data)
            .start()
            .await;
        gateway.ready().await;
        gateway
    };
    let mut same = again().await;
    let mut stream = listen(&same.client, &session, last.as_deref()).await;
    stream.frame().await.expect("an opening");
    noticed(&backend).await;
    same.signal("TERM").await;
    assert_eq!(stream.message().await, None, "nothing has changed");
    assert_eq!(same.ended().await, Some(0));

    offer(&backend, &[tool("two", "mcp:test:use")]);
    let changed = again().await;
    let mut stream = listen(&changed.client, &session, last.as_deref()).await;
    assert_eq!(stream.message().await.expect("a change").method(), TOOLS);
}

#[tokio::test]
async fn older_clients_and_clients_without_a_session_listen_too() {
    let backend = FakeBackend::start(json!([tool("one", "mcp:test:use")])).await;
    let gateway = start(&backend).await;
    let client = &gateway.client;
    let session = client.initialize("2025-03-26").await;
    let headers = [
        ("accept", "text/event-stream"),
        ("mcp-session-id", session.as_str()),
    ];
    let mut old = Stream::open(client, Method::GET, &headers, String::new()).await;
    let opening = old.frame().await.expect("an opening");
    assert!(opening.id.is_some());
    assert_eq!(opening.data, None, "it would parse an empty message");
    let mut none = Stream::legacy(client, &[]).await;
    let opening = none.frame().await.expect("an opening");
    assert_eq!(
        (opening.id, opening.data),
        (None, None),
        "nothing to resume"
    );
    offer(&backend, &[]);
    assert_eq!(old.message().await.expect("a change").method(), TOOLS);
    assert_eq!(none.message().await.expect("a change").method(), TOOLS);
}

#[tokio::test]
async fn a_modern_client_is_told_what_it_asked_for_and_when_it_ends() {
    let backend = FakeBackend::start(json!([tool("one", "mcp:test:use")])).await;
    let mut gateway = start(&backend).await;
    let client = gateway.client.clone();
    let filter = json!({
        "toolsListChanged": true,
        "promptsListChanged": false,
        "resourceSubscriptions": ["file:///x"],
        "somethingNewer": true,
    });
    let mut stream = Stream::modern(&client, filter).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    assert!(!stream.headers.contains_key("mcp-session-id"));
    let mark = json!({ "io.modelcontextprotocol/subscriptionId": "s-1" });
    let first = stream.frame().await.expect("an acknowledgement");
    assert_eq!(first.id, None, "modern streams are not resumed");
    assert_eq!(
        first.json(),
        json!({
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": { "_meta": mark, "notifications": { "toolsListChanged": true } },
        })
    );
    let all = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
    let mut others = Stream::modern(&client, all.clone()).await;
    let acknowledged = others.frame().await.expect("an acknowledgement").json();
    assert_eq!(acknowledged["params"]["notifications"], all);
    let mut prompts = Stream::modern(&client, json!({ "promptsListChanged": true })).await;
    prompts.frame().await.expect("an acknowledgement");

    offer(&backend, &[]);
    let told = json!({ "jsonrpc": "2.0", "method": TOOLS, "params": { "_meta": mark } });
    assert_eq!(stream.message().await.expect("a change").json(), told);
    assert_eq!(others.message().await.expect("a change").json(), told);

    gateway.signal("TERM").await;
    for stream in [&mut stream, &mut others, &mut prompts] {
        let end = stream.message().await.expect("the result").json();
        assert_eq!(end["id"], "s-1");
        assert_eq!(end["result"]["resultType"], "complete");
        let meta = &end["result"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], "s-1");
        assert_eq!(
            meta["io.modelcontextprotocol/serverInfo"]["name"],
            "cortex-gateway"
        );
        assert_eq!(stream.frame().await, None);
    }
    assert_eq!(gateway.ended().await, Some(0));
    let records = gateway.audit(3).await;
    for record in &records {
        assert_eq!(record["method"], "subscriptions/listen");
        assert_eq!(record["success"], true, "{record}");
        assert_eq!(record["protocol_version"], "2026-07-28");
    }
}

#[tokio::test]
async fn filters_of_wrong_shapes_are_refused() {
    let gateway = GatewayBuilder::new().start().await;
    for filter in [
        json!(null),
        json!(true),
        json!([]),
        json!({ "toolsListChanged": "yes" }),
        json!({ "resourceSubscriptions": "file:///x" }),
        json!({ "resourceSubscriptions": [7] }),
    ] {
        let params = json!({ "notifications": filter });
        let reply = gateway.client.modern("subscriptions/listen", params).await;
        let told = (reply.status.as_u16(), reply.error().0);
        assert_eq!(told, (200, -32602), "{filter}");
    }
    let reply = gateway
        .client
        .modern("subscriptions/listen", json!({}))
        .await;
    assert_eq!(reply.error().0, -32602);
    let reply = gateway
        .client
        .legacy("subscriptions/listen", json!({}))
        .await;
    assert_eq!(reply.error().0, -32601, "a method of the other era");
}

#[tokio::test]
async fn only_who_sees_a_change_is_told_of_it() {
    let key = Key::generate(Alg::ALL[0], "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([tool("one", "mcp:a")])).await;
    let gateway = watching(&backend).issuer(&issuer).start().await;
    gateway.ready().await;
    let with = |subject: &str, scope: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(subject);
        claims["scope"] = json!(scope);
        gateway.client.with_token(&key.token(&claims))
    };
    let filter = json!({ "toolsListChanged": true });
    let mut a = Stream::modern(&with("ann", "mcp:a"), filter.clone()).await;
    let mut b = Stream::modern(&with("bob", "mcp:b"), filter).await;
    for stream in [&mut a, &mut b] {
        stream.frame().await.expect("an acknowledgement");
    }
    offer(&backend, &[tool("one", "mcp:a"), tool("two", "mcp:b")]);
    b.message().await.expect("a change");
    // Only what concerns ann is told to ann: the second change, and it alone.
    offer(&backend, &[tool("three", "mcp:a"), tool("two", "mcp:b")]);
    a.message().await.expect("a change");
    offer(&backend, &[tool("three", "mcp:a")]);
    b.message().await.expect("a change");
    let mut gateway = gateway;
    gateway.signal("TERM").await;
    for mut stream in [a, b] {
        let end = stream.message().await.expect("the end").json();
        assert!(end["result"].is_object(), "nothing else was told: {end}");
    }
    assert_eq!(gateway.ended().await, Some(0));
}

#[tokio::test]
async fn a_stream_shows_that_it_lives_and_ends_with_its_token() {
    let key = Key::generate(Alg::ALL[0], "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("CORTEX_KEEP_ALIVE_SECONDS", "1")
        .start()
        .await;
    let expiring = |at: u64| {
        let mut claims = issuer.claims();
        claims["exp"] = json!(at);
        gateway.client.with_token(&key.token(&claims))
    };
    let lasting = expiring(now() + 3_600);
    let session = lasting.initialize("2025-11-25").await;
    let mut alive = listen(&lasting, &session, None).await;
    for frame in [
        alive.frame().await,
        alive.frame().await,
        alive.frame().await,
    ] {
        assert!(frame.is_some_and(|frame| frame.comment || frame.retry.is_some()));
    }
    // Clocks may differ by a minute, so this one is good for a few more seconds.
    let soon = expiring(now() - 40);
    let session = soon.initialize("2025-11-25").await;
    let mut legacy = listen(&soon, &session, None).await;
    let mut modern = Stream::modern(&soon, json!({})).await;
    while legacy.message().await.is_some() {}
    modern.frame().await.expect("an acknowledgement");
    let end = modern.message().await.expect("the result").json();
    assert!(end["result"].is_object(), "{end}");
    assert!(alive.frame().await.is_some(), "the other one goes on");
    // The session outlives it.
    let mut again = listen(&lasting, &session, None).await;
    assert!(again.frame().await.is_some());
}

#[tokio::test]
async fn who_may_not_listen_is_told_why() {
    let mut gateway = GatewayBuilder::new()
        .env("CORTEX_MAX_STREAMS_PER_CALLER", "2")
        .start()
        .await;
    let client = gateway.client.clone();
    let session = client.initialize("2025-11-25").await;
    let evil = ("origin", "https://evil.example");
    for (what, client, headers, status) in [
        ("no stream wanted", &client, vec![("accept", "*/*")], 405),
        (
            "modern",
            &client,
            vec![("mcp-protocol-version", "2026-07-28")],
            405,
        ),
        (
            "unserved",
            &client,
            vec![("mcp-protocol-version", "2024-11-05")],
            400,
        ),
        ("evil page", &client, vec![evil, ("accept", "*/*")], 403),
        ("nobody", &client.anonymous(), vec![], 401),
        (
            "unknown session",
            &client,
            vec![("mcp-session-id", "x")],
            404,
        ),
    ] {
        let stream = Stream::legacy(client, &headers).await;
        assert_eq!(stream.status.as_u16(), status, "{what}");
    }
    let first = listen(&client, &session, None).await;
    let second = Stream::modern(&client, json!({})).await;
    assert_eq!(second.status, 200);
    for refused in [
        Stream::legacy(&client, &[]).await,
        Stream::modern(&client, json!({})).await,
    ] {
        assert_eq!(refused.status, 429);
        assert_eq!(refused.headers["retry-after"], "30");
    }
    // Who replaces a stream of its own needs no further room.
    let first = (listen(&client, &session, None).await, first);
    drop((first, second));
    let records = async |gateway: &mut Gateway| gateway.audit(12).await;
    let codes: Vec<_> = records(&mut gateway).await[1..9]
        .iter()
        .map(|r| r["error_code"].as_str().unwrap_or("-").to_owned())
        .collect();
    assert_eq!(
        codes,
        [
            "method_not_allowed",
            "method_not_allowed",
            "unsupported_version",
            "forbidden_origin",
            "unauthenticated",
            "unknown_session",
            "too_many_streams",
            "too_many_streams",
        ]
    );
}
