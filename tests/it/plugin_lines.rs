//! Components of the line of the contract before the current one, as they were built then: they run, all
//! kinds of them, for as long as that line lives.

use std::path::Path;

use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use serde_json::{Value, json};

fn recorded(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded/v0.1");
    std::fs::read(folder.join(name)).expect("a recorded component")
}

#[tokio::test]
async fn components_of_the_line_before_run() {
    let mut danger = FakeBackend::tool("danger");
    danger["scope"] = json!("mcp:danger:use");
    let backend = FakeBackend::start(json!([FakeBackend::tool("act"), danger])).await;
    backend.plan(
        "act",
        Plan::Json(
            200,
            json!({ "content": [{ "type": "text", "text": "fine" }] }),
        ),
    );
    backend.plan("whoami", Plan::Json(200, json!({ "roles": ["clerk"] })));
    let mut builder = GatewayBuilder::bare();
    for name in [
        "backend-http.wasm",
        "policy-scopes.wasm",
        "audit-stdout.wasm",
    ] {
        builder = builder.plugin_file(name, &recorded(name));
    }
    let mut gateway = builder
        .backend("docs", &backend.url())
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use")
        .start()
        .await;
    gateway.ready().await;
    let list = gateway
        .client
        .modern("tools/list", json!({}))
        .await
        .result();
    let names: Vec<&str> = (list["tools"].as_array().expect("a list").iter())
        .filter_map(|tool| tool["name"].as_str())
        .filter(|name| name.starts_with("docs_"))
        .collect();
    assert_eq!(
        names,
        ["docs_act"],
        "the old policy hides what the caller may not have"
    );
    let reply = gateway.client.call("docs_act", json!({ "x": 1 })).await;
    assert!(reply.tool_text().0.contains("fine"), "{}", reply.json());
    let refused = gateway.client.call("docs_danger", json!({})).await.json();
    assert!(refused["error"].is_object(), "{refused}");
    let who = gateway.client.call("whoami", json!({})).await.tool_text().0;
    assert!(who.contains("clerk"), "{who}");
    let records = gateway.audit(2).await;
    assert!(
        records.iter().any(|record| record["tool"] == "docs_act"),
        "{records:?}"
    );

    let output = gateway.operate(&["plugin", "list", "--json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for plugin in told["plugins"].as_array().expect("a list") {
        assert_eq!(plugin["running"]["line"], "0.1", "{plugin}");
    }
}
