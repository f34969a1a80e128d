//! Keys are rotated one gateway after the other: what any of them sealed opens at all of them.

use cortex_tests::GatewayBuilder;
use cortex_tests::between::Between;
use serde_json::json;

use super::{KEY, mischievous, ping, until};

const NEWER: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn with(between: &Between, keys: &str) -> GatewayBuilder {
    mischievous(between).env("CORTEX_STATE_KEY", keys)
}

cortex_tests::through_each!(
    gateways_with_other_rings_open_what_each_of_them_sealed,
    a_gateway_with_keys_of_its_own_is_told_of,
);

async fn gateways_with_other_rings_open_what_each_of_them_sealed(between: Between) {
    let both = format!("{NEWER},{KEY}");
    let (behind, rotated) = (
        with(&between, KEY).start().await,
        with(&between, &both).start().await,
    );
    behind.ready().await;
    rotated.ready().await;
    for (at, other) in [(&rotated, &behind), (&behind, &rotated)] {
        let session = at.client.initialize("2025-11-25").await;
        assert_eq!(ping(&other.client, &session).await, 200);
        let arguments = json!({ "state": "only state" });
        let capabilities = || json!({ "elicitation": {} });
        let asked = at
            .client
            .modern_call(capabilities(), "bad_ask", arguments.clone(), &json!({}))
            .await
            .result();
        let state = json!({ "requestState": asked["requestState"] });
        let done = other
            .client
            .modern_call(capabilities(), "bad_ask", arguments, &state)
            .await;
        assert_eq!(done.tool_text().0, "only state {}", "{}", done.text());
    }
    let old = rotated.client.initialize("2025-11-25").await;

    // The last one gets the newer key: from then on that one seals, and what the older sealed still opens.
    let last = behind
        .stop()
        .await
        .env("CORTEX_STATE_KEY", &both)
        .start()
        .await;
    assert_eq!(ping(&last.client, &old).await, 200);
    let only_newer = GatewayBuilder::new()
        .env("CORTEX_STATE_KEY", NEWER)
        .start()
        .await;
    until(200, async || {
        let session = rotated.client.initialize("2025-11-25").await;
        ping(&only_newer.client, &session).await
    })
    .await;
}

async fn a_gateway_with_keys_of_its_own_is_told_of(between: Between) {
    let _one = with(&between, KEY).start().await;
    let mut other = with(&between, NEWER).start().await;
    other.logged("has none of this one's keys").await;
}
