//! A backend that speaks HTTP/2: one connection carries all calls, and none waits for room that another left.

use cortex_tests::certificates::Certificates;
use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use futures_util::future::join_all;
use http::Version;
use serde_json::json;

/// Many times what a stream or a connection may send before the other end makes room again.
const LONG: usize = 1 << 20;

#[tokio::test]
async fn calls_share_a_connection_and_all_are_answered_whole() {
    let Some(certificates) = Certificates::new() else {
        return;
    };
    let backend = FakeBackend::start_http2(&certificates, json!([FakeBackend::tool("long")])).await;
    let text = "x".repeat(LONG);
    backend.plan("long", Plan::Json(200, json!(text)));
    let authority = certificates.authority();
    let gateway = GatewayBuilder::new()
        .env("SSL_CERT_FILE", &authority.display().to_string())
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    for calls in [1, 16, 16, 16] {
        let calls = (0..calls).map(|_| gateway.client.call("docs_long", json!({})));
        for reply in join_all(calls).await {
            let (told, failed) = reply.tool_text();
            assert!(!failed && told == text, "{} bytes", told.len());
        }
    }
    let seen = backend.all_seen();
    assert!(seen.len() > 49, "{}", seen.len());
    assert!(seen.iter().all(|seen| seen.version == Version::HTTP_2));
    assert_eq!(backend.connections(), 1);
}
