//! A database that is away holds up nobody whom the gateway has seen lately.

use cortex_tests::Client;
use cortex_tests::fleet::STATE_KEY;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::postgres::Postgres;
use cortex_tests::{FakeBackend, GatewayBuilder, Plan, Reply};
use serde_json::json;

async fn call(client: &Client) -> Reply {
    client.call("hr_note", json!({})).await
}

#[tokio::test]
async fn only_those_wait_for_a_database_that_is_away_whom_the_gateway_does_not_know() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let key = Key::generate(Alg::Es256, "k1");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("note")])).await;
    backend.plan("note", Plan::Json(200, json!({})));
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("hr", &backend.url())
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
    call(&ada).await.result();
    postgres.stop();
    let held = {
        let bob = bob.clone();
        tokio::spawn(async move { call(&bob).await })
    };
    gateway.logged("keys of audit records cannot be had").await;
    for _ in 0..20 {
        call(&ada).await.result();
    }
    let refused = held.await.expect("an answer");
    assert_eq!(refused.status.as_u16(), 503);
    assert!(refused.error().1.contains("could not be recorded"));
    // Nothing was done for somebody of whom it cannot be told.
    assert_eq!(backend.seen("note").len(), 21);
    postgres.run();
    gateway
        .logged("keys of audit records can be had again")
        .await;
    call(&bob).await.result();
    // Nothing is lost: not the record of the refusal either.
    let records = gateway.audit(23).await;
    let of_bob = records
        .iter()
        .filter(|record| record["caller_sub"] == "bob");
    assert_eq!(of_bob.count(), 1);
    let refused: Vec<_> = records
        .iter()
        .filter(|record| record["error_code"] == "audit_unavailable")
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["caller_sub"], serde_json::Value::Null);
}
