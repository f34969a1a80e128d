//! Who subscribes to a resource is told when it has changed, in both eras, and nobody else.

use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan, Stream};
use serde_json::{Value, json};

async fn start() -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([])).await;
    let templates = json!({ "resourceTemplates": [
        { "uriTemplate": "docs://page/{id}", "name": "page", "scope": "mcp:test:use" },
        { "uriTemplate": "docs://secret/{id}", "name": "secret", "scope": "mcp:test:admin" },
    ]});
    backend.plan("list_resource_templates", Plan::Json(200, templates));
    say(&backend, "one");
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_REFRESH_SECONDS", "1")
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

fn say(backend: &FakeBackend, text: &str) {
    let contents = json!({ "contents": [{ "uri": "docs://page/1", "text": text }] });
    backend.plan("read_resource", Plan::Json(200, contents));
}

async fn send(
    gateway: &Gateway,
    session: &str,
    method: &str,
    params: Value,
) -> cortex_tests::Reply {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let headers = [("mcp-session-id", session)];
    gateway.client.post(body.to_string(), &headers).await
}

#[tokio::test]
async fn a_session_is_told_of_what_it_subscribed_to() {
    let (backend, gateway) = start().await;
    let session = gateway.client.initialize("2025-11-25").await;
    let page = || json!({ "uri": "docs://page/1" });
    let subscribed = send(&gateway, &session, "resources/subscribe", page()).await;
    assert_eq!(subscribed.result(), json!({}));
    let mut stream = Stream::legacy(&gateway.client, &[("mcp-session-id", session.as_str())]).await;
    say(&backend, "two");
    let told = stream.message().await.expect("a message").json();
    assert_eq!(
        told,
        json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": page() })
    );
    let gone = send(&gateway, &session, "resources/unsubscribe", page()).await;
    assert_eq!(gone.result(), json!({}));
    say(&backend, "three");
    let reads = backend.seen("read_resource").len();
    // The next word on the stream is of something else: nothing was told of the third.
    backend.plan(
        "list_tools",
        Plan::Json(200, json!({ "tools": [FakeBackend::tool("new")] })),
    );
    let next = stream.message().await.expect("a message").method();
    assert_eq!(next, "notifications/tools/list_changed");
    assert!(backend.seen("read_resource").len() <= reads + 1);
}

#[tokio::test]
async fn only_what_may_be_read_can_be_watched() {
    let (_backend, gateway) = start().await;
    let session = gateway.client.initialize("2025-11-25").await;
    let secret = json!({ "uri": "docs://secret/1" });
    let refused = send(&gateway, &session, "resources/subscribe", secret).await;
    assert_eq!(refused.status, 403);
    let nothing = json!({ "uri": "nobody://x" });
    let refused = send(&gateway, &session, "resources/subscribe", nothing).await;
    assert_eq!(refused.error().0, -32002);
    let page = json!({ "uri": "docs://page/1" });
    let refused = gateway.client.legacy("resources/subscribe", page).await;
    assert_eq!(refused.status, 400, "without a session");
    for n in 0..32 {
        let page = json!({ "uri": format!("docs://page/{n}") });
        send(&gateway, &session, "resources/subscribe", page.clone())
            .await
            .result();
        // Twice is once.
        send(&gateway, &session, "resources/subscribe", page)
            .await
            .result();
    }
    let more = json!({ "uri": "docs://page/more" });
    let refused = send(&gateway, &session, "resources/subscribe", more).await;
    assert_eq!(refused.error().0, -32602);
}

#[tokio::test]
async fn a_modern_subscription_names_resources() {
    let (backend, gateway) = start().await;
    let wanted = ["docs://page/1", "docs://secret/1", "nobody://x"];
    let filter = json!({ "resourceSubscriptions": wanted });
    let mut stream = Stream::modern(&gateway.client, filter).await;
    let first = stream.message().await.expect("a message").json();
    assert_eq!(
        first["params"]["notifications"],
        json!({ "resourceSubscriptions": ["docs://page/1"] })
    );
    say(&backend, "two");
    let told = stream.message().await.expect("a message").json();
    assert_eq!(told["method"], "notifications/resources/updated");
    assert_eq!(
        told["params"],
        json!({ "uri": "docs://page/1", "_meta": { "io.modelcontextprotocol/subscriptionId": "s-1" } })
    );
}
