//! Prompts, resources and completion: what a caller sees and may use is what the scopes say, and
//! the owner's words arrive by the rules of the caller's era.

use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};

async fn start() -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([])).await;
    backend.plan(
        "list_prompts",
        Plan::Json(
            200,
            json!({ "prompts": [
                { "name": "review", "description": "Reviews.", "scope": "mcp:test:use",
                  "arguments": [{ "name": "lang", "required": true }] },
                { "name": "hidden", "description": "", "scope": "mcp:test:admin" },
            ]}),
        ),
    );
    backend.plan(
        "list_resource_templates",
        Plan::Json(
            200,
            json!({ "resourceTemplates": [
                { "uriTemplate": "docs://page/{id}", "name": "page", "mimeType": "text/plain", "scope": "mcp:test:use" },
                { "uriTemplate": "docs://secret/{id}", "name": "secret", "scope": "mcp:test:admin" },
            ]}),
        ),
    );
    backend.plan(
        "get_prompt",
        Plan::Json(
            200,
            json!({ "description": "d", "messages": [{ "role": "user", "content": { "type": "text", "text": "hi" } }] }),
        ),
    );
    backend.plan(
        "read_resource",
        Plan::Json(
            200,
            json!({ "contents": [{ "uri": "docs://page/1", "text": "one" }] }),
        ),
    );
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

fn names(result: &Value, list: &str, member: &str) -> Vec<String> {
    let listed = result[list].as_array().cloned().unwrap_or_default();
    let names = listed.iter().filter_map(|one| one[member].as_str());
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn prompts_are_listed_and_rendered_by_scope() {
    let (backend, gateway) = start().await;
    let client = &gateway.client;
    let listed = client.modern("prompts/list", json!({})).await.result();
    assert_eq!(names(&listed, "prompts", "name"), ["docs_review"]);
    assert_eq!(listed["prompts"][0]["arguments"][0]["name"], "lang");
    assert_eq!(
        (&listed["resultType"], &listed["cacheScope"]),
        (&json!("complete"), &json!("private"))
    );

    // By its public name, and by its bare one, which only one backend has.
    for name in ["docs_review", "review"] {
        let params = json!({ "name": name, "arguments": { "lang": "de" } });
        let got = client.legacy("prompts/get", params).await.result();
        assert_eq!(got["messages"][0]["content"]["text"], "hi");
        assert!(got.get("resultType").is_none(), "{got}");
    }
    let seen = backend.seen("get_prompt").remove(0);
    assert!(
        seen.body
            .contains(r#"{"name":"review","arguments":{"lang":"de"}}"#),
        "{}",
        seen.body
    );
    assert_eq!(seen.headers["x-cortex-user-id"], "dev:local");

    let refused = client
        .legacy("prompts/get", json!({ "name": "docs_hidden" }))
        .await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.error().1, "Insufficient scope");
    let unknown = client
        .modern("prompts/get", json!({ "name": "docs_nothing" }))
        .await;
    assert_eq!((unknown.status.as_u16(), unknown.error().0), (200, -32602));
    assert_eq!(backend.seen("get_prompt").len(), 2, "nobody else asked");
}

#[tokio::test]
async fn a_prompt_that_fails_says_why_in_an_error() {
    let (backend, gateway) = start().await;
    backend.plan("get_prompt", Plan::Json(409, json!({ "error": "locked" })));
    let params = json!({ "name": "docs_review" });
    let failed = gateway.client.modern("prompts/get", params.clone()).await;
    assert_eq!(failed.status, 200);
    assert_eq!(failed.error(), (-32603, "Backend 409: locked".to_owned()));
    let data = &failed.json()["error"]["data"];
    assert_eq!(
        (&data["reason"], &data["cortex/backendError"]["status"]),
        (&json!("backend_error"), &json!(409))
    );
    backend.plan(
        "get_prompt",
        Plan::Json(403, json!({ "required": "mcp:test:more" })),
    );
    let refused = gateway.client.legacy("prompts/get", params).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.error().1, "Backend refused scope");
}

#[tokio::test]
async fn resources_are_read_by_the_template_that_covers_them() {
    let (backend, gateway) = start().await;
    let client = &gateway.client;
    let listed = client
        .legacy("resources/templates/list", json!({}))
        .await
        .result();
    assert_eq!(
        names(&listed, "resourceTemplates", "uriTemplate"),
        ["docs://page/{id}"]
    );
    let own = client.modern("resources/list", json!({})).await.result();
    assert_eq!(names(&own, "resources", "uri"), ["cortex://architecture"]);

    let read = client
        .modern("resources/read", json!({ "uri": "docs://page/1" }))
        .await
        .result();
    assert_eq!(read["contents"][0]["text"], "one");
    assert_eq!(
        (&read["cacheScope"], &read["ttlMs"]),
        (&json!("private"), &json!(0))
    );

    // Of another scope; and of no template, where all of the owner's are needed.
    for uri in ["docs://secret/1", "docs://elsewhere"] {
        let refused = client.legacy("resources/read", json!({ "uri": uri })).await;
        assert_eq!(refused.status, 403, "{uri}");
    }
    assert_eq!(backend.seen("read_resource").len(), 1);
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_told_by_era() {
    let (backend, gateway) = start().await;
    let uri = json!({ "uri": "nobody://x" });
    let legacy = gateway.client.legacy("resources/read", uri.clone()).await;
    assert_eq!((legacy.status.as_u16(), legacy.error().0), (200, -32002));
    let modern = gateway.client.modern("resources/read", uri).await;
    assert_eq!((modern.status.as_u16(), modern.error().0), (200, -32602));
    assert_eq!(
        modern.json()["error"]["data"],
        json!({ "uri": "nobody://x" })
    );
    assert!(backend.seen("read_resource").is_empty());
}

#[tokio::test]
async fn completion_is_asked_of_the_owner_and_may_be_empty() {
    let (_backend, gateway) = start().await;
    let ask = |reference: Value| json!({ "ref": reference, "argument": { "name": "lang", "value": "d" } });
    let prompt = ask(json!({ "type": "ref/prompt", "name": "docs_review" }));
    let answered = gateway.client.modern("completion/complete", prompt).await;
    assert_eq!(
        answered.result()["completion"],
        json!({ "values": [], "total": 0, "hasMore": false })
    );
    let template = ask(json!({ "type": "ref/resource", "uri": "docs://page/{id}" }));
    let answered = gateway.client.legacy("completion/complete", template).await;
    assert_eq!(answered.result()["completion"]["values"], json!([]));

    let hidden = ask(json!({ "type": "ref/prompt", "name": "docs_hidden" }));
    let refused = gateway.client.legacy("completion/complete", hidden).await;
    assert_eq!(refused.status, 403);
    for wrong in [
        ask(json!({ "type": "ref/prompt", "name": "docs_nothing" })),
        ask(json!({ "type": "ref/tool", "name": "x" })),
        json!({ "ref": { "type": "ref/prompt", "name": "docs_review" } }),
        json!({}),
    ] {
        let refused = gateway.client.modern("completion/complete", wrong).await;
        assert_eq!((refused.status.as_u16(), refused.error().0), (200, -32602));
    }
}

#[tokio::test]
async fn every_list_is_one_page() {
    let (_backend, gateway) = start().await;
    for method in [
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ] {
        let refused = gateway
            .client
            .legacy(method, json!({ "cursor": "abc" }))
            .await;
        assert_eq!((refused.status.as_u16(), refused.error().0), (200, -32602));
    }
    let metadata = gateway
        .client
        .get("/.well-known/oauth-protected-resource")
        .await
        .json();
    assert_eq!(
        metadata["scopes_supported"],
        json!(["mcp:test:admin", "mcp:test:use"]),
        "scopes of prompts and templates are among them"
    );
}

#[tokio::test]
async fn log_levels_are_checked_in_both_eras() {
    let (_backend, gateway) = start().await;
    let client = &gateway.client;
    let set = client
        .legacy("logging/setLevel", json!({ "level": "warning" }))
        .await;
    assert_eq!(set.result(), json!({}));
    let wrong = client
        .legacy("logging/setLevel", json!({ "level": "loud" }))
        .await;
    assert_eq!(wrong.error().0, -32602);
    let removed = client
        .modern("logging/setLevel", json!({ "level": "info" }))
        .await;
    assert_eq!((removed.status.as_u16(), removed.error().0), (404, -32601));
}
