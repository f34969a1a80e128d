//! TLS to what gateways share, with an authority that only the operator knows.

use cortex_tests::GatewayBuilder;
use cortex_tests::certificates::Certificates;
use cortex_tests::fleet::STATE_KEY;
use cortex_tests::postgres::Postgres;
use cortex_tests::redis::Redis;
use serde_json::json;

fn believing(authority: &Certificates) -> GatewayBuilder {
    GatewayBuilder::new()
        .env("CORTEX_STATE_KEY", STATE_KEY)
        .env(
            "SSL_CERT_FILE",
            &authority.authority().display().to_string(),
        )
}

#[tokio::test]
async fn a_database_is_spoken_to_over_tls_with_whom_the_operator_believes() {
    let (Some(own), Some(other)) = (Certificates::new(), Certificates::new()) else {
        return;
    };
    let Some(postgres) = Postgres::encrypted(&own) else {
        return;
    };
    let url = format!("{}?sslmode=require", postgres.url());
    let gateway = believing(&own).env("CORTEX_DATABASE_URL", &url);
    let gateway = gateway.start().await;
    gateway.ready().await;
    // Those of the pool, and those that carry the news.
    let connections = postgres.query(
        "SELECT count(*) >= 4, bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'cortex-gateway'",
    );
    assert_eq!(connections, ["t|t"]);

    let stranger = believing(&other).env("CORTEX_DATABASE_URL", &url);
    let (code, told) = stranger.fail().await;
    assert_ne!(code, Some(0));
    assert!(told.contains("invalid peer certificate"), "{told}");
    assert!(!told.contains(cortex_tests::postgres::PASSWORD), "{told}");
}

#[tokio::test]
async fn redis_is_spoken_to_over_tls_with_whom_the_operator_believes() {
    let (Some(own), Some(other)) = (Certificates::new(), Certificates::new()) else {
        return;
    };
    let Some(redis) = Redis::encrypted(&own) else {
        return;
    };
    let gateway = believing(&own).env("CORTEX_REDIS_URL", &redis.url());
    let mut gateway = gateway.start().await;
    gateway
        .logged("shares with other gateways through Redis")
        .await;

    // Through a server that cannot be trusted nothing goes.
    let stranger = believing(&other).env("CORTEX_REDIS_URL", &redis.url());
    let mut stranger = stranger.start().await;
    let told = stranger.logged("Redis is away").await;
    assert!(told.contains("invalid peer certificate"), "{told}");
    assert!(!told.contains(cortex_tests::redis::PASSWORD), "{told}");
    // Calls go on without it.
    let (text, failed) = stranger.client.call("whoami", json!({})).await.tool_text();
    assert!(!failed, "{text}");
}
