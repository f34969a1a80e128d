//! Bad input of many shapes: each gets a clear answer, and the gateway goes on.

use cortex_tests::GatewayBuilder;
use cortex_tests::client::DEV_TOKEN;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn bad_json_of_many_shapes() {
    let gateway = GatewayBuilder::new().start().await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}1{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let very_deep = "[".repeat(900_000);
    for (body, status, code) in [
        ("", 400, -32700),
        ("{", 400, -32700),
        ("not json", 400, -32700),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}x",
            400,
            -32700,
        ),
        ("\u{0}\u{0}", 400, -32700),
        (&deep, 400, -32700),
        (&very_deep, 400, -32700),
        ("null", 400, -32600),
        ("7", 400, -32600),
        ("[]", 400, -32600),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            400,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            400,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
            400,
            -32600,
        ),
        (r#"{"id":1,"method":"ping"}"#, 400, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":[]}}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","name":"y"}}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x_y"}}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":[]}}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#,
            200,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/nothing"}"#,
            200,
            -32601,
        ),
    ] {
        let reply = gateway.client.post(body.to_owned(), &[]).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!(
            (reply.status.as_u16(), reply.error().0),
            (status, code),
            "{shown}: {}",
            reply.text()
        );
    }
    let reply = gateway
        .client
        .post(
            b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}".to_vec(),
            &[],
        )
        .await;
    assert_eq!(reply.error().0, -32700);
    let unknown = gateway.client.call("docs_nothing", json!({})).await;
    assert_eq!(
        unknown.error(),
        (-32602, "unknown tool: docs_nothing".to_owned())
    );
    assert_eq!(gateway.client.legacy("ping", json!({})).await.status, 200);
}

#[tokio::test]
async fn bodies_are_bounded_and_typed() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_MAX_BODY_BYTES", "2048")
        .start()
        .await;
    let reply = gateway.client.post("x".repeat(4096), &[]).await;
    assert_eq!((reply.status.as_u16(), reply.error().0), (413, -32600));
    let reply = gateway
        .client
        .post("{}", &[("content-type", "text/plain")])
        .await;
    assert_eq!(reply.status, 415);
}

#[tokio::test]
async fn a_header_block_that_never_ends_is_cut_off() {
    let gateway = GatewayBuilder::new().start().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address)
        .await
        .expect("connected");
    stream
        .write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        .await
        .expect("written");
    // The far end may hang up at any time from here on: that is the point.
    for _ in 0..64 {
        if stream.write_all(&[b'a'; 4096]).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert_eq!(gateway.client.legacy("ping", json!({})).await.status, 200);
}

#[tokio::test]
async fn who_is_not_authenticated_is_told_where_to_go() {
    let gateway = GatewayBuilder::new()
        // Even under names that the gateway answers to, the dev bypass is for this machine.
        .env(
            "CORTEX_ALLOWED_HOSTS",
            "gateway.example.com,localhost.evil.example",
        )
        .start()
        .await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for headers in [
        vec![("x-dev-mode", "wrong")],
        vec![("x-dev-mode", "")],
        vec![("x-dev-mode", DEV_TOKEN), ("host", "gateway.example.com")],
        // A page of another site that resolves to this machine.
        vec![
            ("x-dev-mode", DEV_TOKEN),
            ("host", "localhost.evil.example:3213"),
        ],
    ] {
        let reply = gateway.client.post(body, &headers).await;
        assert_eq!(reply.status, 401, "{headers:?}");
        assert_eq!(
            reply.header("www-authenticate"),
            r#"Bearer resource_metadata="http://localhost:3213/.well-known/oauth-protected-resource""#
        );
        assert!(!reply.text().contains(DEV_TOKEN));
    }
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let document = gateway.client.get(path).await;
        assert_eq!(document.json()["resource"], "http://localhost:3213/mcp");
        assert_eq!(document.header("access-control-allow-origin"), "*");
    }
    assert_eq!(gateway.client.get("/nothing").await.status, 404);
    assert_eq!(gateway.client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn origins_are_checked_before_anything_else() {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_ALLOWED_ORIGINS", "https://app.example.com")
        .start()
        .await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let reply = gateway
        .client
        .post(
            body,
            &[("origin", "https://evil.example"), ("x-dev-mode", "wrong")],
        )
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (403, r#"{"error":"forbidden_origin"}"#.to_owned())
    );
    for origin in ["https://app.example.com", "http://localhost:5173"] {
        let reply = gateway.client.post(body, &[("origin", origin)]).await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.header("access-control-allow-origin")
            ),
            (200, origin)
        );
        assert_eq!(reply.header("vary"), "Origin");
    }
    let headers = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "mcp-name,mcp-param-region, Mcp-Param-City,x-evil",
        ),
    ];
    let reply = gateway
        .client
        .send(Method::OPTIONS, "/mcp", &headers, "")
        .await
        .expect("a response");
    assert_eq!(reply.status, 204);
    assert!(
        reply
            .header("access-control-allow-headers")
            .ends_with("X-Cortex-Context-Budget, mcp-param-region, mcp-param-city"),
        "{reply:?}"
    );
}
