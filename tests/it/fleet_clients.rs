//! Several gateways of one fleet, and clients whose next request comes to another one: they never notice.

mod calls;
mod keys;
mod parked;
mod streams;

use cortex_tests::between::Between;
use cortex_tests::{Client, Gateway, GatewayBuilder, Reply};
use serde_json::{Value, json};

/// What all gateways seal with.
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// One gateway of the fleet, not started yet.
fn member(between: &Between) -> GatewayBuilder {
    let gateway = GatewayBuilder::new()
        .env("CORTEX_STATE_KEY", KEY)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0");
    between.joined_by(gateway)
}

/// Like it, with a backend whose adapter does what it is told.
fn mischievous(between: &Between) -> GatewayBuilder {
    member(between)
        .plugin("mischief")
        .backend("bad", "http://127.0.0.1:9")
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:mischief:use")
}

/// Starts two of them.
async fn two(make: impl Fn() -> GatewayBuilder) -> [Gateway; 2] {
    let (a, b) = tokio::join!(make().start(), make().start());
    tokio::join!(a.ready(), b.ready());
    [a, b]
}

async fn ping(client: &Client, session: &str) -> u16 {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let reply = client.post(body, &[("mcp-session-id", session)]).await;
    reply.status.as_u16()
}

/// A legacy request within a session.
async fn within(client: &Client, session: &str, method: &str, params: Value) -> Reply {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let headers = [("mcp-session-id", session)];
    client.post(body.to_string(), &headers).await
}

/// Does something again and again until it gives what is expected.
async fn until<T: PartialEq + std::fmt::Debug>(expected: T, does: impl AsyncFn() -> T) {
    let begun = std::time::Instant::now();
    loop {
        let got = does().await;
        if got == expected {
            return;
        }
        let late = begun.elapsed() > std::time::Duration::from_secs(120);
        assert!(!late, "never {expected:?}, but {got:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

cortex_tests::through_each!(
    a_session_that_ends_at_one_is_over_at_all,
    a_log_level_counts_wherever_the_next_call_is,
);

async fn a_session_that_ends_at_one_is_over_at_all(mut between: Between) {
    let [a, b] = two(|| member(&between)).await;
    let session = a.client.initialize("2025-11-25").await;
    let other = b.client.initialize("2025-11-25").await;
    assert_eq!(ping(&b.client, &session).await, 200);
    assert_eq!(ping(&a.client, &other).await, 200);
    let ended = b.client.delete(&[("mcp-session-id", &session)]).await;
    assert_eq!(ended.status, 202);
    assert_eq!(ping(&b.client, &session).await, 404);
    until(404, || ping(&a.client, &session)).await;
    // Also where one starts later.
    let c = member(&between).start().await;
    assert_eq!(ping(&c.client, &session).await, 404);
    assert_eq!(ping(&c.client, &other).await, 200);

    // What ends while the others cannot be reached ends there when they can, and the shelf that was lost is
    // filled again.
    between.stop();
    let ended = a.client.delete(&[("mcp-session-id", &other)]).await;
    assert_eq!(ended.status, 202);
    assert_eq!(ping(&a.client, &other).await, 404);
    between.run();
    until(404, || ping(&b.client, &other)).await;
    until(404, || ping(&c.client, &other)).await;
    until(true, async || between.lie_on("ended") > 0).await;
    let d = member(&between).start().await;
    for over in [&session, &other] {
        assert_eq!(ping(&d.client, over).await, 404);
    }
}

async fn a_log_level_counts_wherever_the_next_call_is(between: Between) {
    let [a, b] = two(|| mischievous(&between)).await;
    let heard = async |client: &Client, session: &str| {
        let said = within(client, session, "tools/call", json!({ "name": "bad_say" })).await;
        said.text().matches("notifications/message").count()
    };
    // B has not met the session before.
    let session = a.client.initialize("2025-11-25").await;
    let level = |level: &str| json!({ "level": level });
    within(&a.client, &session, "logging/setLevel", level("error"))
        .await
        .result();
    assert_eq!(heard(&b.client, &session).await, 0);
    // Now it has.
    within(&a.client, &session, "logging/setLevel", level("debug"))
        .await
        .result();
    until(2, || heard(&b.client, &session)).await;
    // Others have what they had.
    let other = b.client.initialize("2025-11-25").await;
    assert_eq!(heard(&a.client, &other).await, 1);
}
