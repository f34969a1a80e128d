//! Backends that are down, slow or lying. Others go on.

use std::time::Duration;

use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};

async fn one(plan: Plan) -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", plan);
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .env("CORTEX_BACKEND_DOCS_TIMEOUT_MS", "1500")
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

/// Calls `docs_act` and returns what the model is told.
async fn told(plan: Plan) -> String {
    let (backend, gateway) = one(plan).await;
    let reply = gateway.client.call("docs_act", json!({})).await;
    assert_eq!(reply.status, 200);
    let (text, is_error) = reply.tool_text();
    assert!(is_error, "{text}");
    assert!(
        !text.contains("127.0.0.1") && !text.contains(&backend.address.port().to_string()),
        "{text}"
    );
    text
}

#[tokio::test]
async fn errors_are_told_as_the_contract_says() {
    let error = |text: &str| json!({ "error": text });
    for (plan, expected) in [
        (
            Plan::Json(401, error("expired")),
            "Backend auth failed: the token may have expired",
        ),
        (
            Plan::Raw(401, "<html>"),
            "Backend auth failed: the token may have expired",
        ),
        (
            Plan::Json(422, error("`a` is missing")),
            "Backend 422: `a` is missing",
        ),
        (
            Plan::Json(500, error("database gone")),
            "Backend 500: database gone",
        ),
        (Plan::Hang, "Backend timed out after 1500ms"),
    ] {
        assert_eq!(told(plan).await, expected);
    }
    for plan in [
        Plan::Raw(200, "<html>not json</html>"),
        Plan::Raw(502, "Bad Gateway"),
        Plan::Raw(200, ""),
        Plan::BreakOff,
        Plan::Redirect("http://127.0.0.1:1/".to_owned()),
    ] {
        let shown = format!("{plan:?}");
        let text = told(plan).await;
        assert!(
            text.starts_with("Backend docs is unavailable: "),
            "{shown}: {text}"
        );
    }
}

#[tokio::test]
async fn a_business_error_carries_the_whole_body() {
    let body = json!({ "error": "stock is out", "sku": 7, "left": 1.50 });
    let (_backend, gateway) = one(Plan::Json(409, body.clone())).await;
    let result = gateway.client.call("docs_act", json!({})).await.result();
    assert_eq!(
        result["_meta"]["cortex/backendError"],
        json!({ "status": 409, "body": body })
    );
}

#[tokio::test]
async fn a_body_of_one_gibibyte_is_not_taken() {
    const GIB: u64 = 1 << 30;
    for announced in [true, false] {
        let (backend, gateway) = one(Plan::Endless {
            bytes: GIB,
            announced,
        })
        .await;
        let (text, is_error) = gateway.client.call("docs_act", json!({})).await.tool_text();
        assert!(is_error && text.contains("Backend docs"), "{text}");
        assert!(
            backend.sent() < GIB / 16,
            "{} bytes were taken",
            backend.sent()
        );
    }
}

#[tokio::test]
async fn a_dead_backend_only_loses_its_own_tools_and_comes_back_by_itself() {
    let alive = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    alive.plan("act", Plan::Json(200, json!("fine")));
    let dead = FakeBackend::start(json!([])).await.stop().await;
    let mut gateway = GatewayBuilder::new()
        .env("CORTEX_REFRESH_SECONDS", "1")
        .backend("alive", &alive.url())
        .backend("dead", &format!("http://{dead}"))
        .start()
        .await;
    gateway.ready().await;
    assert_eq!(
        gateway
            .client
            .legacy("tools/list", json!({}))
            .await
            .tool_names(),
        ["alive_act"]
    );
    assert_eq!(
        gateway
            .client
            .call("alive_act", json!({}))
            .await
            .tool_text()
            .0,
        "fine"
    );
    let (text, is_error) = gateway.client.call("dead_act", json!({})).await.tool_text();
    assert!(
        is_error && text.starts_with("Backend dead is not available"),
        "{text}"
    );
    let line = gateway.logged("backend is down").await;
    assert!(line.contains(r#""backend.id":"dead""#), "{line}");

    let risen = FakeBackend::start_at(dead, json!([FakeBackend::tool("act")])).await;
    risen.plan("act", Plan::Json(200, json!("back")));
    wait_for_tool(&gateway, "dead_act").await;
    assert_eq!(
        gateway
            .client
            .call("dead_act", json!({}))
            .await
            .tool_text()
            .0,
        "back"
    );
}

#[tokio::test]
async fn a_backend_that_goes_away_is_not_listed_but_still_tried() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    let mut gateway = GatewayBuilder::new()
        .env("CORTEX_REFRESH_SECONDS", "1")
        .backend("docs", &backend.url())
        .start()
        .await;
    wait_for_tool(&gateway, "docs_act").await;
    backend.stop().await;
    gateway.logged("backend is down").await;
    assert!(
        gateway
            .client
            .legacy("tools/list", json!({}))
            .await
            .tool_names()
            .is_empty()
    );
    let (text, is_error) = gateway.client.call("docs_act", json!({})).await.tool_text();
    assert_eq!(
        (text.as_str(), is_error),
        ("Backend docs is unavailable: no connection", true)
    );
}

#[tokio::test]
async fn a_slow_backend_holds_up_nobody_else() {
    let slow = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    slow.plan("list_tools", Plan::Hang);
    let fast = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    fast.plan("act", Plan::Json(200, json!("fast")));
    let gateway = GatewayBuilder::new()
        .backend("slow", &slow.url())
        .env("CORTEX_BACKEND_SLOW_TIMEOUT_MS", "600000")
        .backend("fast", &fast.url())
        .start()
        .await;
    wait_for_tool(&gateway, "fast_act").await;
    assert_eq!(
        gateway
            .client
            .call("fast_act", json!({}))
            .await
            .tool_text()
            .0,
        "fast"
    );
}

#[tokio::test]
async fn definitions_that_lie_are_left_out_one_by_one() {
    let tools = json!([
        FakeBackend::tool("good"),
        { "name": "no_scope", "description": "x" },
        { "scope": "mcp:test:use", "description": "no name" },
        { "name": "bad_params", "scope": "mcp:test:use", "description": "x", "params": { "a": "banana" } },
        { "name": "bad_schema", "scope": "mcp:test:use", "description": "x", "inputSchema": [] },
        { "name": "bad_scope", "scope": "two words", "description": "x" },
        7,
        FakeBackend::tool("good"),
    ]);
    let backend = FakeBackend::start(tools).await;
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
        ["docs_good"]
    );
    for named in ["no_scope", "bad_params", "bad_schema", "bad_scope"] {
        gateway.logged(named).await;
    }
}

#[tokio::test]
async fn a_catalog_that_is_no_catalog_says_what_it_is() {
    for (plan, words) in [
        (Plan::Raw(200, "<html>"), "not JSON"),
        (Plan::Json(200, json!({ "tool": [] })), "tools"),
        (Plan::Json(500, json!({ "error": "starting" })), "500"),
        (
            Plan::Json(401, json!({ "error": "who?" })),
            "technical token",
        ),
    ] {
        let backend = FakeBackend::start(json!([])).await;
        backend.plan("list_tools", plan);
        let mut gateway = GatewayBuilder::new()
            .backend("docs", &backend.url())
            .start()
            .await;
        let line = gateway.logged("backend is down").await;
        assert!(line.contains(words), "`{words}` in: {line}");
    }
}

#[tokio::test]
async fn identity_travels_and_tokens_do_not_mix() {
    let (backend, gateway) = one(Plan::Json(200, json!({ "ok": true }))).await;
    gateway
        .client
        .call("docs_act", json!({ "text": "ä" }))
        .await
        .tool_text();
    let seen = &backend.seen("act")[0];
    let header = |name: &str| {
        seen.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    assert_eq!(header("x-cortex-user-id").as_deref(), Some("dev:local"));
    assert_eq!(
        header("x-cortex-user-email").as_deref(),
        Some("dev@localhost")
    );
    assert_eq!(header("x-cortex-user-role").as_deref(), Some("admin"));
    assert_eq!(header("x-cortex-user-pool").as_deref(), Some(""));
    assert_eq!(header("x-cortex-scopes").as_deref(), Some("mcp:test:use"));
    assert_eq!(
        header("authorization").as_deref(),
        Some("Bearer dev-token-of-the-tests")
    );
    assert_eq!(seen.headers.get_all("authorization").iter().count(), 1);

    let seen = &backend.seen("list_tools")[0];
    assert_eq!(
        seen.headers["authorization"],
        "Bearer technical-token-of-the-tests"
    );
    assert!(
        !seen
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-cortex-"))
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_the_call() {
    let (backend, mut gateway) = one(Plan::After(Duration::from_secs(1), json!("late"))).await;
    let client = gateway.client.clone();
    let call = tokio::spawn(async move { client.call("docs_act", json!({})).await });
    cortex_tests::gateway::eventually(
        || !backend.seen("act").is_empty(),
        || "the call never came".to_owned(),
    )
    .await;
    call.abort();
    let record = gateway.audit(1).await.remove(0);
    assert_eq!(
        (&record["error_code"], &record["tool"]),
        (&json!("client_closed"), &json!("docs_act"))
    );
}

async fn wait_for_tool(gateway: &Gateway, name: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let list = gateway
            .client
            .legacy("tools/list", Value::Object(Default::default()))
            .await;
        if list.tool_names().iter().any(|n| n == name) {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "never listed: {name}\n{}",
            gateway.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
