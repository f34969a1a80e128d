//! What a caller sees and may call is what the scopes say.

use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use serde_json::json;

#[tokio::test]
async fn tools_of_other_scopes_are_neither_seen_nor_called() {
    let mut secret = FakeBackend::tool("secret");
    secret["scope"] = json!("mcp:test:admin");
    let mut near = FakeBackend::tool("near");
    near["scope"] = json!("mcp:test:use2");
    let backend = FakeBackend::start(json!([FakeBackend::tool("open"), secret, near])).await;
    backend.plan("open", Plan::Json(200, json!(1)));
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    assert_eq!(
        gateway
            .client
            .legacy("tools/list", json!({}))
            .await
            .tool_names(),
        ["docs_open"]
    );

    let refused = gateway.client.call("docs_secret", json!({})).await;
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer error=\"insufficient_scope\", scope=\"mcp:test:admin\", \
         resource_metadata=\"http://localhost:3213/.well-known/oauth-protected-resource\""
    );
    assert_eq!(refused.error(), (-32603, "Insufficient scope".to_owned()));
    let data = &refused.json()["error"]["data"];
    assert_eq!(
        data,
        &json!({ "required": ["mcp:test:admin"], "granted": ["mcp:test:use"] })
    );
    assert!(
        backend.seen("secret").is_empty(),
        "the backend was never asked"
    );

    let record = gateway.audit(2).await.remove(1);
    assert_eq!(
        (&record["error_code"], &record["scope_used"]),
        (&json!("insufficient_scope"), &json!(null))
    );
}

#[tokio::test]
async fn without_a_policy_nothing_is_allowed() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("open")])).await;
    let mut gateway = GatewayBuilder::bare()
        .plugin("backend-http")
        .plugin("audit-stdout")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.logged("backend is up").await;
    assert!(
        gateway
            .client
            .legacy("tools/list", json!({}))
            .await
            .tool_names()
            .is_empty()
    );
    let refused = gateway.client.call("docs_open", json!({})).await;
    assert_eq!(refused.error().0, -32603);
    assert!(backend.seen("open").is_empty());
    let ready = gateway.client.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("no scope policy is loaded"),
        "{}",
        ready.text()
    );
}

#[tokio::test]
async fn the_backends_own_scopes_become_a_challenge_and_its_acl_does_not() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;

    backend.plan(
        "act",
        Plan::Json(
            403,
            json!({ "error": "scope missing", "required": "mcp:docs:write" }),
        ),
    );
    let refused = gateway.client.call("docs_act", json!({})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error()),
        (403, (-32603, "Backend refused scope".to_owned()))
    );
    assert!(
        refused
            .header("www-authenticate")
            .contains("scope=\"mcp:docs:write\"")
    );
    assert_eq!(
        refused.json()["error"]["data"],
        json!({ "required": ["mcp:docs:write"], "method": "act" })
    );

    backend.plan("act", Plan::Json(403, json!({ "error": "editors only" })));
    let denied = gateway.client.call("docs_act", json!({})).await;
    assert_eq!(denied.status, 200);
    assert_eq!(
        denied.tool_text(),
        ("Backend ACL denied: editors only".to_owned(), true)
    );

    // What a backend says must not break out of the header it ends up in.
    backend.plan(
        "act",
        Plan::Json(
            403,
            json!({ "error": "x", "required": "a\", error=\"invalid_token" }),
        ),
    );
    let hostile = gateway.client.call("docs_act", json!({})).await;
    assert_eq!(hostile.header("www-authenticate"), "");
    assert!(hostile.tool_text().1);
}
