//! One rate limit for three gateways.

use std::ops::Range;
use std::time::Duration;

use cortex_tests::between::Between;
use cortex_tests::fleet::STATE_KEY;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::postgres::{self, Pooler, Postgres};
use cortex_tests::redis::{self, Redis};
use cortex_tests::{Gateway, GatewayBuilder};
use serde_json::json;

use crate::fleet_catalog::{figure, member, until};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Three gateways with one allowance for each caller, and who gives out tokens.
struct Three {
    gateways: Vec<Gateway>,
    issuer: FakeIssuer,
    key: Key,
}

impl Three {
    async fn start(between: &Between, per_minute: u32) -> Self {
        let key = Key::generate(Alg::EdDsa, "a");
        let issuer = FakeIssuer::start(&[&key]).await;
        let mut gateways = Vec::new();
        for _ in 0..3 {
            let gateway = member(between)
                .issuer(&issuer)
                .env("CORTEX_RATE_LIMIT_PER_MINUTE", &per_minute.to_string());
            gateways.push(gateway.start().await);
        }
        let three = Self {
            gateways,
            issuer,
            key,
        };
        three.show("cortex_fleet_instances ", 3.0).await;
        three
    }

    /// Waits until a figure of each is this.
    async fn show(&self, name: &str, value: f64) {
        for gateway in &self.gateways {
            until(&format!("{name}{value}"), || async {
                figure(gateway, name).await == value
            })
            .await;
        }
    }

    /// Of so many pings by one caller, in turn at each of these gateways, how many are served.
    async fn served(&self, at: Range<usize>, caller: &str, times: usize) -> usize {
        let mut claims = self.issuer.claims();
        claims["jti"] = json!(caller);
        let token = self.key.token(&claims);
        let mut served = 0;
        for gateway in self.gateways[at].iter().cycle().take(times) {
            let reply = gateway.client.with_token(&token).post(PING, &[]).await;
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
}

/// What doctor tells of what a gateway would be started with. The password is nowhere in it.
async fn doctor(builder: &GatewayBuilder, password: &str) -> String {
    let told = builder.operate(&["doctor"]).await;
    let text = [told.stdout, told.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!text.contains(password), "{text}");
    text
}

cortex_tests::through_each!(three_gateways_share_one_allowance);

async fn three_gateways_share_one_allowance(between: Between) {
    let three = Three::start(&between, 12).await;
    // One fits again every five seconds.
    let together = three.served(0..3, "ada", 36).await;
    assert!((12..24).contains(&together), "{together} of 36");
    // Another caller has an allowance of its own, whole at whichever gateway.
    assert_eq!(three.served(2..3, "bob", 12).await, 12);
}

#[tokio::test]
async fn each_of_three_gateways_has_a_share_of_the_allowance_while_redis_is_away() {
    let Some(mut between) = Between::redis() else {
        return;
    };
    let three = Three::start(&between, 12).await;
    between.stop();
    three
        .show("cortex_fleet_connected{engine=\"Redis\"} ", 0.0)
        .await;
    // Four at each.
    let share = three.served(0..1, "cy", 12).await;
    assert!((4..9).contains(&share), "{share} of 12");
    let all = three.served(0..3, "eve", 36).await;
    assert!((12..24).contains(&all), "{all} of 36");
    for gateway in &three.gateways {
        let counted = figure(gateway, "cortex_fleet_own_share_total ").await;
        assert!(counted > 0.0, "{}", gateway.log());
    }

    between.run();
    three
        .show("cortex_fleet_connected{engine=\"Redis\"} ", 1.0)
        .await;
    assert_eq!(three.served(1..2, "dan", 12).await, 12);
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
    let doctor = async || doctor(&builder, redis::PASSWORD).await;
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
    let doctor = async || doctor(&builder(), postgres::PASSWORD).await;
    let text = doctor().await;
    assert!(text.contains("notifications arrive"), "{text}");
    assert!(!text.contains("are alive there"), "no tables: {text}");
    let gateway = builder().start().await;
    gateway.ready().await;
    let text = doctor().await;
    assert!(text.contains("gateways that are alive there: 1"), "{text}");
    // What shares connections between transactions loses them, and that is seen.
    let Some(pooler) = Pooler::start(&postgres) else {
        return;
    };
    let through = builder().env("CORTEX_DATABASE_URL", &pooler.url());
    let text = self::doctor(&through, postgres::PASSWORD).await;
    assert!(text.contains("notifications do not arrive"), "{text}");
}
