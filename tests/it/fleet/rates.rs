//! One rate limit for three gateways.

use std::time::{Duration, Instant};

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::postgres::Postgres;
use cortex_tests::redis::{PASSWORD, Redis};
use cortex_tests::{Gateway, GatewayBuilder};
use http::Method;
use serde_json::json;

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const STATE_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Longest anything is waited for. Only reached when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "secret-of-the-operator";

async fn three(redis: &Redis, issuer: &FakeIssuer, per_minute: u32) -> Vec<Gateway> {
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let gateway = GatewayBuilder::new()
            .issuer(issuer)
            .env("CORTEX_REDIS_URL", &redis.url())
            .env("CORTEX_STATE_KEY", STATE_KEY)
            .env("CORTEX_ADMIN_SECRET", SECRET)
            .env("CORTEX_RATE_LIMIT_PER_MINUTE", &per_minute.to_string());
        gateways.push(gateway.start().await);
    }
    for gateway in &gateways {
        until(gateway, "cortex_fleet_instances 3").await;
    }
    gateways
}

/// Waits until a line is in the metrics.
async fn until(gateway: &Gateway, line: &str) {
    let began = Instant::now();
    loop {
        let secret = [("x-cortex-admin-secret", SECRET)];
        let told = gateway.client.send(Method::GET, "/metrics", &secret, "");
        let told = told.await.expect("a response").text();
        if told.lines().any(|told| told == line) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "never `{line}`: {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Of so many pings by one caller, in turn at each gateway, how many are served.
async fn served(gateways: &[Gateway], token: &str, times: usize) -> usize {
    let mut served = 0;
    for n in 0..times {
        let client = gateways[n % gateways.len()].client.with_token(token);
        let reply = client.post(PING, &[]).await;
        match reply.status.as_u16() {
            200 => served += 1,
            429 => {
                let wait: u64 = reply.header("retry-after").parse().expect("seconds");
                assert!((1..=61).contains(&wait), "{wait}");
                assert_eq!(reply.error().0, -32000);
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
    served
}

#[tokio::test]
async fn three_gateways_share_one_allowance_and_have_a_share_each_without_redis() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateways = three(&redis, &issuer, 12).await;
    let token = |id: &str| {
        let mut claims = issuer.claims();
        claims["jti"] = json!(id);
        key.token(&claims)
    };

    // One fits again every five seconds.
    let together = served(&gateways, &token("ada"), 36).await;
    assert!((12..24).contains(&together), "{together} of 36");
    // Another caller has an allowance of its own, whole at whichever gateway.
    assert_eq!(served(&gateways[2..], &token("bob"), 12).await, 12);

    redis.stop();
    for gateway in &gateways {
        until(gateway, "cortex_fleet_connected{engine=\"Redis\"} 0").await;
    }
    // Four at each.
    let share = served(&gateways[..1], &token("cy"), 12).await;
    assert!((4..9).contains(&share), "{share} of 12");
    let all = served(&gateways, &token("eve"), 36).await;
    assert!((12..24).contains(&all), "{all} of 36");

    redis.run();
    for gateway in &gateways {
        until(gateway, "cortex_fleet_connected{engine=\"Redis\"} 1").await;
    }
    assert_eq!(served(&gateways[1..2], &token("dan"), 12).await, 12);
}

#[tokio::test]
async fn the_log_tells_once_that_redis_is_away_and_that_it_is_back() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut gateway = GatewayBuilder::new()
        .env("CORTEX_REDIS_URL", &redis.url())
        .env("CORTEX_STATE_KEY", STATE_KEY)
        .start()
        .await;
    gateway
        .logged("shares with other gateways through Redis")
        .await;
    redis.freeze();
    gateway.logged("Redis is away").await;
    // Away in another way now, and tried again a few times.
    redis.stop();
    gateway.client.post(PING, &[]).await.result();
    tokio::time::sleep(Duration::from_secs(4)).await;
    redis.run();
    gateway.logged("Redis is back").await;
    let log = gateway.log();
    assert_eq!(log.matches("Redis is away").count(), 1, "{log}");
    gateway.client.post(PING, &[]).await.result();
}

#[tokio::test]
async fn doctor_tells_whether_redis_is_there_and_never_the_password() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let builder = GatewayBuilder::new()
        .env("CORTEX_REDIS_URL", &redis.url())
        .env("CORTEX_STATE_KEY", STATE_KEY);
    let doctor = async || {
        let told = builder.operate(&["doctor"]).await;
        let text = [told.stdout, told.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(PASSWORD), "{text}");
        text
    };
    let text = doctor().await;
    assert!(
        text.contains("answers; keys begin with `cortex:main:`"),
        "{text}"
    );
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let text = doctor().await;
    assert!(
        text.contains("`maxmemory-policy` is `allkeys-lru`"),
        "{text}"
    );
    redis.stop();
    let text = doctor().await;
    assert!(text.contains("cannot be used"), "{text}");
}

#[tokio::test]
async fn doctor_tells_whether_news_go_through_the_database() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let builder = || {
        GatewayBuilder::new()
            .env("CORTEX_DATABASE_URL", &postgres.url())
            .env("CORTEX_STATE_KEY", STATE_KEY)
    };
    let doctor = async || {
        let told = builder().operate(&["doctor"]).await;
        String::from_utf8_lossy(&told.stdout).into_owned()
    };
    let text = doctor().await;
    assert!(text.contains("notifications arrive"), "{text}");
    assert!(!text.contains("are alive there"), "no tables: {text}");
    let gateway = builder().start().await;
    gateway.ready().await;
    let text = doctor().await;
    assert!(text.contains("1 gateways are alive there"), "{text}");
}
