//! Sessions of the legacy era: whose they are, how long they live, what they survive.

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, GatewayBuilder, Reply};
use serde_json::json;

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

async fn ping(client: &Client, session: &str) -> Reply {
    client.post(PING, &[("mcp-session-id", session)]).await
}

#[track_caller]
fn unknown(reply: &Reply) {
    let told = (reply.status.as_u16(), reply.error().0);
    assert_eq!(told, (404, -32001), "{}", reply.text());
}

#[tokio::test]
async fn a_session_lives_from_initialize_to_delete() {
    let mut gateway = GatewayBuilder::new().start().await;
    let client = gateway.client.clone();
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let session = client.initialize(version).await;
        assert!(session.bytes().all(|b| b.is_ascii_graphic()), "{session}");
        let header = [("mcp-session-id", session.as_str())];

        let accepted = client.post(INITIALIZED, &header).await;
        assert_eq!((accepted.status.as_u16(), accepted.body.len()), (202, 0));
        let pong = ping(&client, &session).await;
        assert_eq!(pong.result(), json!({}));
        assert_eq!(pong.header("mcp-session-id"), "", "told once");

        let ended = client.delete(&header).await;
        assert_eq!((ended.status.as_u16(), ended.body.len()), (202, 0));
        unknown(&ping(&client, &session).await);
        unknown(&client.post(INITIALIZED, &header).await);
        unknown(&client.delete(&header).await);
    }
    // Two clients of one caller are two sessions.
    let (one, two) = (
        client.initialize("2025-11-25").await,
        client.initialize("2025-11-25").await,
    );
    client.delete(&[("mcp-session-id", &one)]).await;
    unknown(&ping(&client, &one).await);
    assert_eq!(ping(&client, &two).await.status, 200);

    // One name for a session in all its records, which is not the id that opens it.
    let records = gateway.audit(24).await;
    let name = &records[0]["session_id"];
    assert_eq!(name.as_str().map(str::len), Some(32));
    let methods: Vec<_> = records[..7].iter().map(|r| &r["method"]).collect();
    assert_eq!(
        methods,
        [
            "initialize",
            "notifications/initialized",
            "ping",
            "DELETE",
            "ping",
            "notifications/initialized",
            "DELETE"
        ]
    );
    for record in &records[..4] {
        assert_eq!(&record["session_id"], name);
        assert_eq!(record["success"], true);
    }
    for record in &records[4..7] {
        assert_eq!(record["session_id"], json!(null));
        assert_eq!(record["error_code"], "unknown_session");
    }
    // Without a header it is the session that tells the version.
    assert_eq!(records[2]["protocol_version"], "2025-03-26");
    assert_eq!(records[9]["protocol_version"], "2025-06-18");
    assert!(!(gateway.output() + &gateway.log()).contains(&two));
}

#[tokio::test]
async fn ids_of_other_shapes_are_unknown_and_delete_needs_one() {
    let gateway = GatewayBuilder::new().start().await;
    let client = &gateway.client;
    let session = client.initialize("2025-11-25").await;
    let mut changed = session.clone().into_bytes();
    changed[40] = if changed[40] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("ASCII");
    let twice = format!("{session}, {session}");
    let long = "A".repeat(8_000);
    for other in ["", "from-elsewhere", &changed, &session[1..], &twice, &long] {
        unknown(&ping(client, other).await);
        unknown(&client.delete(&[("mcp-session-id", other)]).await);
    }
    let two = [
        ("mcp-session-id", session.as_str()),
        ("mcp-session-id", "x"),
    ];
    unknown(&client.post(PING, &two).await);

    let reply = client.delete(&[]).await;
    assert_eq!((reply.status.as_u16(), reply.error().0), (400, -32600));
    let reply = client
        .anonymous()
        .delete(&[("mcp-session-id", &session)])
        .await;
    assert_eq!(reply.status, 401);
    // The modern era has no sessions: nothing is ended, and a stray id says nothing.
    let modern = [
        ("mcp-session-id", session.as_str()),
        ("mcp-protocol-version", "2026-07-28"),
    ];
    let reply = client.delete(&modern).await;
    let told = (reply.status.as_u16(), reply.header("allow"));
    assert_eq!(told, (405, "POST, OPTIONS"));
    let evil = [
        ("mcp-session-id", session.as_str()),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(client.delete(&evil).await.status, 403);
    assert_eq!(ping(client, &session).await.status, 200);
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": { "_meta": cortex_tests::client::modern_meta() },
    });
    let headers = [
        ("mcp-session-id", "from-elsewhere"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ];
    let reply = client.post(body.to_string(), &headers).await;
    assert_eq!(reply.tool_names(), [""; 0]);
    // A client may begin again without letting go of the old id.
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let again = client.post(body, &[("mcp-session-id", "stale")]).await;
    assert_ne!(again.header("mcp-session-id"), "");
}

#[tokio::test]
async fn a_session_belongs_to_its_subject_and_outlives_a_token() {
    let key = Key::generate(Alg::ALL[0], "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = GatewayBuilder::new().issuer(&issuer).start().await;
    let token = |subject: &str, id: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(subject);
        claims["jti"] = json!(id);
        key.token(&claims)
    };
    let ann = gateway.client.with_token(&token("ann", "1"));
    let session = ann.initialize("2025-11-25").await;
    let header = [("mcp-session-id", session.as_str())];

    let refreshed = gateway.client.with_token(&token("ann", "2"));
    assert_eq!(ping(&refreshed, &session).await.status, 200);
    let bob = gateway.client.with_token(&token("bob", "3"));
    unknown(&ping(&bob, &session).await);
    unknown(&bob.delete(&header).await);
    assert_eq!(ping(&ann, &session).await.status, 200);
    assert_eq!(refreshed.delete(&header).await.status, 202);
    unknown(&ping(&ann, &session).await);
}

#[tokio::test]
async fn a_session_survives_restarts_other_instances_and_new_keys() {
    let dir = GatewayBuilder::new();
    let data = tempfile::tempdir().expect("a directory");
    let data = data.path().to_str().expect("UTF-8");
    let mut first = dir.env("CORTEX_DATA_DIR", data).start().await;
    let session = first.client.initialize("2025-11-25").await;
    first.signal("TERM").await;
    assert_eq!(first.ended().await, Some(0));
    let second = GatewayBuilder::new().env("CORTEX_DATA_DIR", data);
    let second = second.start().await;
    assert_eq!(ping(&second.client, &session).await.status, 200);

    let key = |n: u8| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode([n; 32])
    };
    let with = async |keys: &str| {
        let builder = GatewayBuilder::new().env("CORTEX_STATE_KEY", keys);
        builder.start().await
    };
    let instance = with(&key(1)).await;
    let session = instance.client.initialize("2025-11-25").await;
    let rotated = with(&format!("{},{}", key(2), key(1))).await;
    assert_eq!(ping(&rotated.client, &session).await.status, 200);
    let newer = rotated.client.initialize("2025-11-25").await;
    unknown(&ping(&instance.client, &newer).await);
    unknown(&ping(&second.client, &session).await);

    let builder = GatewayBuilder::new().env("CORTEX_STATE_KEY", "c2hvcnQ=");
    let (code, said) = builder.fail().await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("CORTEX_STATE_KEY: key 1: expected 32 bytes in base64")
            && !said.contains("c2hvcnQ"),
        "{said}"
    );
}
