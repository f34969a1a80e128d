//! One record for each request, whatever happened, and nothing in it that should not be.

use cortex_tests::client::{DEV_TOKEN, GATEWAY_TOOLS};
use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use serde_json::json;

#[tokio::test]
async fn every_request_leaves_one_line_on_standard_output() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan(
        "echo",
        Plan::Json(200, json!({ "result": "canary-result" })),
    );
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let client = gateway.client.clone();
    client
        .call("docs_echo", json!({ "text": "canary-argument" }))
        .await
        .tool_text();
    client.legacy("tools/list", json!({})).await.result();
    client.post("{", &[]).await;
    client.post("{}", &[("x-dev-mode", "canary-token")]).await;
    client
        .post("{}", &[("origin", "https://evil.example")])
        .await;
    client
        .post(
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            &[],
        )
        .await;
    backend.plan("echo", Plan::Json(500, json!({ "error": "canary-error" })));
    client.call("docs_echo", json!({})).await.tool_text();

    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await, Some(0));
    let records = gateway.audit(7).await;
    let codes: Vec<_> = records
        .iter()
        .map(|r| r["error_code"].as_str().unwrap_or("-").to_owned())
        .collect();
    assert_eq!(
        codes,
        [
            "-",
            "-",
            "parse_error",
            "unauthenticated",
            "forbidden_origin",
            "-",
            "backend_error"
        ]
    );
    let call = &records[0];
    assert_eq!(call["tool"], "docs_echo");
    assert_eq!(call["method"], "tools/call");
    assert_eq!(call["target_app"], "docs");
    assert_eq!(call["scope_used"], "mcp:test:use");
    assert_eq!(call["caller_sub"], "dev:local");
    assert_eq!(call["dev_bypass"], true);
    assert_eq!(call["success"], true);
    assert_eq!(call["protocol_version"], "2025-11-25");
    assert_eq!(call["params_hash"].as_str().map(str::len), Some(64));
    assert_eq!(records[1]["tools_listed"], 1 + GATEWAY_TOOLS.len());
    assert_eq!(records[6]["success"], false);

    let everything = gateway.output() + &gateway.log();
    for canary in ["canary", DEV_TOKEN, "technical-token", "dev@localhost"] {
        assert!(!everything.contains(canary), "`{canary}` in:\n{everything}");
    }
}

#[tokio::test]
async fn hashes_are_keyed_when_a_key_is_set() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1}}"#;
    let mut hashes = Vec::new();
    for key in [None, Some("one"), Some("two"), Some("one")] {
        let builder = GatewayBuilder::new();
        let builder = match key {
            Some(key) => builder.env("CORTEX_AUDIT_HASH_KEY", key),
            None => builder,
        };
        let mut gateway = builder.start().await;
        gateway.client.post(body, &[]).await.result();
        hashes.push(gateway.audit(1).await[0]["params_hash"].to_string());
    }
    assert_eq!(hashes[1], hashes[3]);
    assert!(
        hashes[0] != hashes[1] && hashes[1] != hashes[2],
        "{hashes:?}"
    );
}

#[tokio::test]
async fn without_an_exporter_records_wait_for_one() {
    let mut gateway = GatewayBuilder::bare().plugin("policy-scopes").start().await;
    gateway.client.legacy("ping", json!({})).await.result();
    gateway.logged("no audit exporter is loaded").await;
    let builder = gateway.stop().await;
    let mut gateway = builder.plugin("audit-stdout").start().await;
    let records = gateway.audit(1).await;
    assert_eq!(records[0]["method"], "ping");
    assert_eq!(records[0]["sequence"], 1);
}
