//! What anybody may read: the documents that clients find the gateway by, and the page for people.

use cortex_tests::{FakeBackend, GatewayBuilder};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn the_server_card_and_the_resource_document_introduce_the_gateway() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_SERVER_NAME", "Tools of Example")
        .env("CORTEX_SERVER_CARD_NAME", "com.example/tools")
        .env("CORTEX_WEBSITE_URL", "https://www.example.com/tools")
        .start()
        .await;
    let card = gateway
        .client
        .get("/.well-known/mcp/server-card.json")
        .await;
    assert_eq!(
        card.json(),
        json!({
            "name": "com.example/tools",
            "title": "Tools of Example",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One MCP server in front of many backends.",
            "websiteUrl": "https://www.example.com/tools",
            "remotes": [{
                "type": "streamable-http",
                "url": "http://localhost:3213/mcp",
                "supportedProtocolVersions": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
            }],
        })
    );
    assert_eq!(card.header("content-type"), "application/json");
    assert_eq!(card.header("cache-control"), "public, max-age=3600");
    let path = "/.well-known/oauth-protected-resource/mcp";
    let document = gateway.client.get(path).await;
    let about = &document.json()["resource_documentation"];
    assert_eq!(about, "https://www.example.com/tools");
    assert_eq!(document.header("cache-control"), "public, max-age=60");

    // A browser that runs an MCP client asks first, with the version header.
    for path in [path, "/.well-known/mcp/server-card.json"] {
        let asked = [
            ("origin", "https://anywhere.example"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "mcp-protocol-version"),
        ];
        let reply = gateway.client.send(Method::OPTIONS, path, &asked, "").await;
        let reply = reply.expect("a response");
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        let allowed = reply.header("access-control-allow-headers");
        assert!(allowed.contains("MCP-Protocol-Version"), "{allowed}");
        let reply = gateway.client.send(Method::HEAD, path, &[], "").await;
        let reply = reply.expect("a response");
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
        let reply = gateway.client.send(Method::PUT, path, &[], "").await;
        let reply = reply.expect("a response");
        let told = (reply.status.as_u16(), reply.header("allow"));
        assert_eq!(told, (405, "GET, HEAD, OPTIONS"));
    }

    // `websiteUrl` is known since 2025-11-25.
    let about = async |version: &str| {
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let reply = gateway.client.legacy("initialize", params).await;
        reply.result()["serverInfo"]["websiteUrl"].clone()
    };
    assert_eq!(about("2025-06-18").await, json!(null));
    assert_eq!(about("2025-11-25").await, "https://www.example.com/tools");
    let found = gateway.client.modern("server/discover", json!({})).await;
    let info = &found.result()["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(info["websiteUrl"], "https://www.example.com/tools");
}

#[tokio::test]
async fn the_page_tells_what_runs_and_nothing_that_is_nobodys_business() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("a"), FakeBackend::tool("b")])).await;
    let gateway = GatewayBuilder::new()
        .env("CORTEX_SERVER_NAME", "Tools & <b>more</b>")
        .backend("docs", &backend.url())
        .backend("gone", "http://127.0.0.1:9/secret-path")
        .start()
        .await;
    gateway.ready().await;
    let page = gateway.client.get("/").await;
    assert_eq!(page.status, 200);
    let text = page.text();
    for part in [
        "<h1>Tools &amp; &lt;b&gt;more&lt;/b&gt;</h1>",
        "1 of 2 backends is down",
        "<dt>Tools</dt><dd>2</dd>",
        "http://localhost:3213/mcp",
        "● up",
        "▲ down",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let port = backend.address.port().to_string();
    for private in ["127.0.0.1", "secret-path", &port, "token", "mcp:test:use"] {
        let told = text.replace("access token", "").replace("get a token", "");
        assert!(!told.contains(private), "{private}: {text}");
    }
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
    // No CORS: it is for people.
    assert_eq!(page.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn wrong_names_and_websites_stop_the_start() {
    let (code, said) = GatewayBuilder::new()
        .env("CORTEX_WEBSITE_URL", "https://user:hunter2@example.com")
        .env("CORTEX_SERVER_CARD_NAME", &"x".repeat(201))
        .env("CORTEX_MAX_CONNECTIONS", "0")
        .env("CORTEX_WRITE_TIMEOUT_SECONDS", "soon")
        .fail()
        .await;
    assert_eq!(code, Some(1));
    for variable in [
        "CORTEX_WEBSITE_URL: expected an http or https URL without user and password",
        "CORTEX_SERVER_CARD_NAME is `xxx",
        "CORTEX_MAX_CONNECTIONS is `0`: expected a whole number, 1 to 1000000",
        "CORTEX_WRITE_TIMEOUT_SECONDS is `soon`",
    ] {
        assert!(said.contains(variable), "{variable} in: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}
