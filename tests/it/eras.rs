//! Clients of both eras list and call.

use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use http::Method;
use serde_json::json;

async fn with_tool() -> (FakeBackend, cortex_tests::Gateway) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "said": "hello" })));
    let gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

#[tokio::test]
async fn a_legacy_client_initializes_lists_and_calls() {
    let (backend, gateway) = with_tool().await;
    let client = &gateway.client;
    for (asked, given) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        // Real clients name a modern version in a legacy handshake.
        ("2026-07-28", "2025-11-25"),
    ] {
        let params = json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let reply = client.post(body.to_string(), &[]).await;
        assert_eq!(reply.status, 200);
        let result = reply.result();
        assert_eq!(result["protocolVersion"], given, "asked for {asked}");
        assert_eq!(result["serverInfo"]["name"], "cortex-gateway");
        assert!(result["capabilities"]["tools"].is_object());
        assert!(
            result.get("resultType").is_none(),
            "no modern members: {result}"
        );
    }
    let reply = client
        .post(
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            &[],
        )
        .await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (202, 0));
    assert_eq!(client.legacy("ping", json!({})).await.result(), json!({}));

    let list = client.legacy("tools/list", json!({})).await;
    assert_eq!(list.json()["id"], 7);
    assert_eq!(list.tool_names(), ["docs_echo"]);
    let tool = &list.result()["tools"][0];
    assert_eq!(tool["description"], "[docs] For tests.");
    assert_eq!(
        tool["inputSchema"],
        json!({ "type": "object", "properties": { "text": { "type": "string" } } })
    );
    assert_eq!(tool["_meta"]["app"], "docs");

    let call = client.call("docs_echo", json!({ "text": "hi" })).await;
    assert_eq!(call.tool_text(), (r#"{"said":"hello"}"#.to_owned(), false));
    let seen = &backend.seen("echo")[0];
    assert_eq!(seen.body, r#"{"method":"echo","params":{"text":"hi"}}"#);
}

#[tokio::test]
async fn a_modern_client_discovers_lists_and_calls() {
    let (_backend, gateway) = with_tool().await;
    let client = &gateway.client;
    let discovered = client.modern("server/discover", json!({})).await.result();
    assert_eq!(
        discovered["supportedVersions"],
        json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"])
    );
    assert_eq!(discovered["resultType"], "complete");
    assert_eq!(discovered["cacheScope"], "public");

    let list = client.modern("tools/list", json!({})).await;
    assert_eq!(list.tool_names(), ["docs_echo"]);
    let result = list.result();
    // What is listed depends on the caller's scopes.
    assert_eq!(
        (&result["resultType"], &result["cacheScope"]),
        (&json!("complete"), &json!("private"))
    );
    assert!(result["ttlMs"].as_u64().is_some());
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "cortex-gateway"
    );

    let call = client
        .modern(
            "tools/call",
            json!({ "name": "docs_echo", "arguments": {} }),
        )
        .await;
    assert_eq!(call.result()["resultType"], "complete");
    assert_eq!(call.tool_text().0, r#"{"said":"hello"}"#);
    // Sessions are of the other era.
    assert_eq!(call.header("mcp-session-id"), "");
}

#[tokio::test]
async fn modern_requests_that_disagree_with_themselves_are_refused() {
    let (_backend, gateway) = with_tool().await;
    let meta = cortex_tests::client::modern_meta();
    let body = |method: &str, params: serde_json::Value| {
        json!({ "jsonrpc": "2.0", "id": "m", "method": method, "params": params }).to_string()
    };
    let list = body("tools/list", json!({ "_meta": meta }));
    let call = body("tools/call", json!({ "name": "docs_echo", "_meta": meta }));
    let version = ("mcp-protocol-version", "2026-07-28");
    let old = ("mcp-protocol-version", "2025-11-25");
    let mut future = meta.clone();
    future["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    let future_list = body("tools/list", json!({ "_meta": future }));
    let mut incapable = meta.clone();
    incapable
        .as_object_mut()
        .expect("an object")
        .remove("io.modelcontextprotocol/clientCapabilities");

    for (what, body, headers, status, code) in [
        (
            "no version header",
            &list,
            vec![("mcp-method", "tools/list")],
            400,
            -32020,
        ),
        (
            "an older version header",
            &list,
            vec![old, ("mcp-method", "tools/list")],
            400,
            -32020,
        ),
        ("no method header", &list, vec![version], 400, -32020),
        (
            "another method header",
            &list,
            vec![version, ("mcp-method", "tools/call")],
            400,
            -32020,
        ),
        (
            "method header in another case",
            &list,
            vec![version, ("mcp-method", "Tools/List")],
            400,
            -32020,
        ),
        (
            "no name header",
            &call,
            vec![version, ("mcp-method", "tools/call")],
            400,
            -32020,
        ),
        (
            "another name header",
            &call,
            vec![
                version,
                ("mcp-method", "tools/call"),
                ("mcp-name", "docs_other"),
            ],
            400,
            -32020,
        ),
        (
            "a broken name header",
            &call,
            vec![
                version,
                ("mcp-method", "tools/call"),
                ("mcp-name", "=?base64?!?="),
            ],
            400,
            -32020,
        ),
        (
            "a version that does not exist",
            &future_list,
            vec![
                ("mcp-protocol-version", "2099-01-01"),
                ("mcp-method", "tools/list"),
            ],
            400,
            -32022,
        ),
        (
            "two versions",
            &list,
            vec![
                ("mcp-protocol-version", "2099-01-01"),
                ("mcp-method", "tools/list"),
            ],
            400,
            -32020,
        ),
        (
            "no _meta",
            &body("tools/list", json!({})),
            vec![version, ("mcp-method", "tools/list")],
            400,
            -32602,
        ),
        (
            "no capabilities",
            &body("tools/list", json!({ "_meta": incapable })),
            vec![version, ("mcp-method", "tools/list")],
            400,
            -32602,
        ),
        (
            "a method of the other era",
            &body("initialize", json!({ "_meta": meta })),
            vec![version, ("mcp-method", "initialize")],
            404,
            -32601,
        ),
        (
            "a method that does not exist",
            &body("tools/eat", json!({ "_meta": meta })),
            vec![version, ("mcp-method", "tools/eat")],
            404,
            -32601,
        ),
    ] {
        let reply = gateway.client.post(body.clone(), &headers).await;
        assert_eq!(
            (reply.status.as_u16(), reply.error().0),
            (status, code),
            "{what}: {}",
            reply.text()
        );
        assert_eq!(reply.json()["id"], "m", "{what}");
    }
    let reply = gateway
        .client
        .post(future_list, &[("mcp-protocol-version", "2099-01-01")])
        .await;
    let data = &reply.json()["error"]["data"];
    assert_eq!(data["requested"], "2099-01-01");
    assert_eq!(data["supported"][0], "2026-07-28");

    // An encoded header says the same as a plain one, and blanks around it say nothing.
    let headers = [
        version,
        ("mcp-method", " tools/call "),
        ("mcp-name", "=?base64?ZG9jc19lY2hv?="),
    ];
    assert_eq!(
        gateway.client.post(call, &headers).await.tool_text().0,
        r#"{"said":"hello"}"#
    );
}

#[tokio::test]
async fn legacy_paths_never_answer_with_modern_codes() {
    let (_backend, gateway) = with_tool().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let reply = gateway
        .client
        .post(body, &[("mcp-protocol-version", "2024-11-05")])
        .await;
    assert_eq!((reply.status.as_u16(), reply.error().0), (400, -32600));
    let reply = gateway.client.legacy("tools/eat", json!({})).await;
    assert_eq!((reply.status.as_u16(), reply.error().0), (200, -32601));
    // A session id that this gateway never gave out: the client begins again.
    let reply = gateway
        .client
        .post(body, &[("mcp-session-id", "from-elsewhere")])
        .await;
    assert_eq!((reply.status.as_u16(), reply.error().0), (404, -32001));
    for method in [Method::GET, Method::PUT] {
        let reply = gateway
            .client
            .send(method.clone(), "/mcp", &[], "")
            .await
            .expect("a response");
        assert_eq!(
            (reply.status.as_u16(), reply.header("allow")),
            (405, "POST, GET, DELETE, OPTIONS"),
            "{method}"
        );
    }
}
