//! How often callers may call, and under which names a gateway is reached.

use cortex_tests::client::DEV_TOKEN;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{FakeBackend, GatewayBuilder, Stream};
use http::Method;
use serde_json::{Value, json};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn each_token_has_an_allowance_and_so_has_an_address_without_one() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "3")
        .start()
        .await;
    let token = |id: &str| {
        let mut claims = issuer.claims();
        claims["jti"] = json!(id);
        key.token(&claims)
    };
    let (busy, quiet) = (token("busy"), token("quiet"));
    let client = gateway.client.with_token(&busy);
    for _ in 0..3 {
        client.post(PING, &[]).await.result();
    }
    let refused = client.post(PING, &[]).await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(refused.error().0, -32000);
    assert!(
        refused.text().contains("try again in"),
        "{}",
        refused.text()
    );
    // The same for the other methods; another token is another caller.
    let get = Stream::legacy(&client, &[]).await;
    assert_eq!(get.status, 429);
    let other = gateway.client.with_token(&quiet);
    other.post(PING, &[]).await.result();

    // Without a good token the address is counted, which several people may share, and good
    // tokens from there are not.
    let nobody = gateway.client.anonymous();
    for _ in 0..5 * 3 {
        assert_eq!(nobody.post(PING, &[]).await.status, 401);
    }
    let guessing = gateway.client.with_token("a.b.c");
    for client in [&nobody, &guessing] {
        let refused = client.post(PING, &[]).await;
        assert_eq!(refused.status, 429);
        assert!(refused.header("www-authenticate").is_empty());
    }
    other.post(PING, &[]).await.result();
    gateway
        .logged("too many requests without a good token")
        .await;

    let record = gateway.audit(4).await.remove(3);
    assert_eq!(
        (&record["error_code"], &record["success"]),
        (&json!("rate_limited"), &json!(false))
    );
}

#[tokio::test]
async fn each_message_of_a_batch_counts() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "5")
        .start()
        .await;
    let client = gateway.client.with_token(&key.token(&issuer.claims()));
    let pings: Vec<_> = (0..30)
        .map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "ping"}))
        .collect();
    let old = ("MCP-Protocol-Version", "2025-03-26");
    let answers = client.post(json!(pings).to_string(), &[old]).await.json();
    let answers = answers.as_array().expect("an array");
    let refused = answers.iter().filter(|a| a["error"]["code"] == -32000);
    let refused = refused.count();
    // The allowance grows again while the batch is served.
    assert!((1..=26).contains(&refused), "{refused} of 30 were refused");
    let served = answers.iter().filter(|a| a["result"].is_object()).count();
    assert_eq!(served + refused, 30);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_an_address() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "1")
        .env("CORTEX_TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let nobody = gateway.client.anonymous();
    let ping = async |from: &str| {
        let reply = nobody.post(PING, &[("x-forwarded-for", from)]).await;
        reply.status.as_u16()
    };
    for n in 0..5 {
        // What a client writes itself stands before what the proxy adds, and counts for nothing.
        assert_eq!(ping(&format!("203.0.113.{n}, 198.51.100.1")).await, 401);
    }
    assert_eq!(ping("198.51.100.1").await, 429);
    assert_eq!(ping("198.51.100.2").await, 401);
}

#[tokio::test]
async fn the_dev_bypass_is_not_counted_and_zero_means_no_limit() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "1")
        .start()
        .await;
    for _ in 0..5 {
        gateway.client.post(PING, &[]).await.result();
    }
    let gateway = GatewayBuilder::new()
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .start()
        .await;
    for _ in 0..300 {
        let refused = gateway.client.anonymous().post(PING, &[]).await;
        assert_eq!(refused.status, 401);
    }
}

#[tokio::test]
async fn a_gateway_is_reached_under_its_own_names_only() {
    let mut gateway = GatewayBuilder::new()
        .env("CORTEX_CANONICAL_URI", "https://mcp.example.com/mcp")
        .env("CORTEX_ALLOWED_HOSTS", "gateway.internal")
        .start()
        .await;
    let metadata = "/.well-known/oauth-protected-resource";
    for (host, status) in [
        ("mcp.example.com", 200),
        ("gateway.internal:3213", 200),
        ("localhost", 200),
        ("127.0.0.1", 200),
        ("192.0.2.7:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("mcp.example.com.evil.example", 403),
        ("a@mcp.example.com", 400),
    ] {
        let headers = [("host", host)];
        let document = gateway.client.send(Method::GET, metadata, &headers, "");
        let document = document.await.expect("a response");
        assert_eq!(document.status, status, "{host}");
        // Probes ask by whatever name they have.
        let alive = gateway.client.send(Method::GET, "/healthz", &headers, "");
        assert_eq!(alive.await.expect("a response").status, 200, "{host}");
    }
    let rebound = gateway
        .client
        .post(PING, &[("host", "evil.example"), ("x-dev-mode", DEV_TOKEN)])
        .await;
    assert_eq!(rebound.status, 403);
    assert_eq!(rebound.json(), json!({ "error": "forbidden_host" }));
    let record = gateway.audit(1).await.remove(0);
    assert_eq!(record["error_code"], "forbidden_host");
}

#[tokio::test]
async fn headers_mirror_the_arguments_that_a_tool_says() {
    let mut tool = FakeBackend::tool("run");
    tool["inputSchema"] = json!({ "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
        "limit": { "type": "integer", "x-mcp-header": "Limit" },
        "where": { "type": "object", "properties": { "city": { "type": "string", "x-mcp-header": "City" } } },
    }});
    let mut broken = FakeBackend::tool("broken");
    broken["inputSchema"] = json!({ "type": "object", "properties": { "x": { "type": "number", "x-mcp-header": "X" } } });
    let backend = FakeBackend::start(json!([tool, broken])).await;
    backend.plan("run", cortex_tests::Plan::Json(200, json!("ran")));
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    gateway.logged("tool `broken` is left out").await;

    let call = async |arguments: Value, extra: &[(&str, &str)]| {
        let params = json!({ "name": "docs_run", "arguments": arguments, "_meta": cortex_tests::client::modern_meta() });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "docs_run"),
        ];
        headers.extend_from_slice(extra);
        gateway.client.post(body.to_string(), &headers).await
    };
    let region = || json!({ "region": "Süd" });
    for (arguments, headers) in [
        (json!({}), &[][..]),
        (json!({ "region": null }), &[]),
        (region(), &[("mcp-param-region", "=?base64?U8O8ZA==?=")]),
        (json!({ "limit": 42 }), &[("Mcp-Param-LIMIT", " 42.0 ")]),
        (
            json!({ "where": { "city": "Bonn" } }),
            &[("mcp-param-city", "Bonn")],
        ),
        (json!({}), &[("mcp-param-unknown", "x")]),
    ] {
        let reply = call(arguments.clone(), headers).await;
        assert_eq!(reply.tool_text().0, "ran", "{arguments} {headers:?}");
    }
    for (arguments, headers) in [
        (region(), &[][..]),
        (region(), &[("mcp-param-region", "Sued")]),
        (region(), &[("mcp-param-region", "=?base64?U8O8ZA=?=")]),
        (region(), &[("mcp-param-region", "=?base64?!!!!?=")]),
        (json!({}), &[("mcp-param-region", "Süd")]),
        (json!({}), &[("mcp-param-region", "south")]),
        (json!({ "limit": 42 }), &[("mcp-param-limit", "43")]),
        (
            json!({ "limit": 42 }),
            &[("mcp-param-limit", "42"), ("mcp-param-limit", "43")],
        ),
    ] {
        let reply = call(arguments.clone(), headers).await;
        assert_eq!(
            (reply.status.as_u16(), reply.error().0),
            (400, -32020),
            "{arguments} {headers:?}"
        );
    }
    // A client with a short list cannot know which arguments to mirror; what it says must agree.
    let short = ("x-cortex-context-budget", "500");
    let reply = call(region(), &[short]).await;
    assert_eq!(reply.tool_text().0, "ran");
    let reply = call(region(), &[short, ("mcp-param-region", "Sued")]).await;
    assert_eq!(reply.error().0, -32020);
    // Legacy clients know nothing of this.
    let legacy = gateway.client.call("docs_run", region()).await;
    assert_eq!(legacy.tool_text().0, "ran");
}
