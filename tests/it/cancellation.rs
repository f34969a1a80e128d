//! A request that nobody waits for any more is stopped, up to the backend.

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder, Plan, Reply};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

async fn hanging() -> FakeBackend {
    let backend = FakeBackend::start(json!([FakeBackend::tool("hang")])).await;
    backend.plan("hang", Plan::Hang);
    backend
}

async fn start(backend: &FakeBackend) -> Gateway {
    let gateway = GatewayBuilder::new().backend("docs", &backend.url());
    // Longer than the test has patience: what stops the call is not the clock.
    let gateway = gateway.env("CORTEX_BACKEND_DOCS_TIMEOUT_MS", "300000");
    let gateway = gateway.start().await;
    gateway.ready().await;
    gateway
}

fn call(id: Value) -> String {
    json!({
        "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": "docs_hang", "arguments": {} },
    })
    .to_string()
}

/// Calls the tool that hangs, and returns when the backend has the call.
async fn begin(
    backend: &FakeBackend,
    client: &Client,
    id: Value,
    session: Option<&str>,
) -> JoinHandle<Reply> {
    let before = backend.seen("hang").len();
    let (client, session) = (client.clone(), session.map(str::to_owned));
    let running = tokio::spawn(async move {
        let headers: Vec<_> = session
            .iter()
            .map(|id| ("mcp-session-id", id.as_str()))
            .collect();
        client.post(call(id), &headers).await
    });
    eventually(
        || backend.seen("hang").len() > before,
        || "the call never came".to_owned(),
    )
    .await;
    running
}

async fn cancel(client: &Client, params: Value, session: Option<&str>) {
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    let headers: Vec<_> = session.iter().map(|id| ("mcp-session-id", *id)).collect();
    let reply = client.post(note.to_string(), &headers).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
}

async fn abandoned(backend: &FakeBackend, calls: usize) {
    eventually(
        || backend.abandoned() == calls,
        || format!("{} calls were stopped", backend.abandoned()),
    )
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_call_at_the_backend() {
    let backend = hanging().await;
    let mut gateway = start(&backend).await;
    let legacy = begin(&backend, &gateway.client, json!(1), None).await;
    legacy.abort();
    abandoned(&backend, 1).await;
    let client = gateway.client.clone();
    let modern = tokio::spawn(async move {
        let params = json!({ "name": "docs_hang", "arguments": {} });
        client.modern("tools/call", params).await
    });
    eventually(|| backend.seen("hang").len() == 2, || "no call".to_owned()).await;
    modern.abort();
    abandoned(&backend, 2).await;
    for record in gateway.audit(2).await {
        assert_eq!(record["error_code"], "client_closed");
        assert_eq!(record["tool"], "docs_hang");
    }
}

#[tokio::test]
async fn a_legacy_client_calls_a_request_off() {
    let backend = hanging().await;
    let mut gateway = start(&backend).await;
    let client = gateway.client.clone();
    let session = client.initialize("2025-11-25").await;
    let other = client.initialize("2025-11-25").await;
    let running = begin(&backend, &client, json!(7), Some(&session)).await;
    for (params, session) in [
        (json!({ "requestId": 8 }), Some(session.as_str())),
        (json!({ "requestId": "7" }), Some(session.as_str())),
        (json!({}), Some(session.as_str())),
        (json!({ "requestId": null }), Some(session.as_str())),
        (json!({ "requestId": 7 }), Some(other.as_str())),
        (json!({ "requestId": 7 }), None),
    ] {
        cancel(&client, params, session).await;
    }
    assert_eq!(backend.abandoned(), 0, "none of these meant that request");
    let params = json!({ "requestId": 7, "reason": "changed my mind" });
    cancel(&client, params.clone(), Some(&session)).await;
    let reply = running.await.expect("the end");
    // There must be no answer, and the client is not waiting for one.
    assert_eq!(reply.header("content-type"), "text/event-stream");
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    abandoned(&backend, 1).await;
    cancel(&client, params, Some(&session)).await;
    let records = gateway.audit(11).await;
    let cancelled: Vec<_> = records
        .iter()
        .filter(|r| r["tool"] == "docs_hang")
        .collect();
    assert_eq!(cancelled.len(), 1);
    assert_eq!(cancelled[0]["error_code"], "cancelled");
}

#[tokio::test]
async fn without_a_session_the_caller_owns_its_requests() {
    let key = Key::generate(Alg::ALL[0], "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = hanging().await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .env("CORTEX_BACKEND_DOCS_TIMEOUT_MS", "300000")
        .start()
        .await;
    gateway.ready().await;
    let of = |subject: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = json!(subject);
        claims["scope"] = json!("mcp:test:use");
        gateway.client.with_token(&key.token(&claims))
    };
    let (ann, bob) = (of("ann"), of("bob"));
    let seven = json!({ "requestId": 7 });
    let running = begin(&backend, &ann, json!(7), None).await;
    cancel(&bob, seven.clone(), None).await;
    assert_eq!(backend.abandoned(), 0);
    // Two of one id: which of them is meant?
    let second = begin(&backend, &ann, json!(7), None).await;
    cancel(&ann, seven.clone(), None).await;
    assert_eq!(backend.abandoned(), 0);
    second.abort();
    abandoned(&backend, 1).await;
    cancel(&ann, seven, None).await;
    assert_eq!(running.await.expect("the end").body.len(), 0);
    abandoned(&backend, 2).await;
}
