//! A database that is away holds up nobody whom the gateway has seen lately.

use cortex_tests::Client;
use cortex_tests::fleet::STATE_KEY;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::postgres::Postgres;
use cortex_tests::{GatewayBuilder, Reply};
use serde_json::json;

async fn ping(client: &Client) -> Reply {
    client.legacy("ping", json!({})).await
}

#[tokio::test]
async fn only_those_wait_for_a_database_that_is_away_whom_the_gateway_does_not_know() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("CORTEX_DATABASE_URL", &postgres.url())
        .env("CORTEX_STATE_KEY", STATE_KEY)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .start()
        .await;
    gateway.ready().await;
    let client = |subject: &str| {
        let mut claims = issuer.claims();
        claims["sub"] = subject.into();
        gateway.client.with_token(&key.token(&claims))
    };
    let (ada, bob) = (client("ada"), client("bob"));
    ping(&ada).await.result();
    postgres.stop();
    let held = {
        let bob = bob.clone();
        tokio::spawn(async move { ping(&bob).await })
    };
    gateway.logged("keys of audit records cannot be had").await;
    for _ in 0..20 {
        ping(&ada).await.result();
    }
    assert_eq!(held.await.expect("an answer").status.as_u16(), 503);
    postgres.run();
    gateway
        .logged("keys of audit records can be had again")
        .await;
    ping(&bob).await.result();
    // Nothing is lost: not the request either of which nobody got the answer.
    let mut whose: Vec<String> = gateway
        .audit(23)
        .await
        .iter()
        .filter_map(|record| record["caller_sub"].as_str().map(str::to_owned))
        .collect();
    whose.retain(|who| who == "bob");
    assert_eq!(whose.len(), 2);
}
