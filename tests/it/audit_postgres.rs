//! `audit-postgres`, with a real PostgreSQL.

use std::time::Duration;

use cortex_tests::gateway::eventually;
use cortex_tests::postgres::{PASSWORD, Postgres};
use cortex_tests::{Gateway, GatewayBuilder};
use http::Method;
use serde_json::json;

const TOML: &[u8] =
    b"[grants.postgres.audit]\nenv = \"AUDIT_DATABASE_URL\"\n\n[settings]\nschema = \"audit\"\n";
const SECRET: &str = "secret-of-the-scheduler";

fn builder(url: &str) -> GatewayBuilder {
    GatewayBuilder::bare()
        .plugin("policy-scopes")
        .plugin("audit-postgres")
        .plugin_file("audit-postgres.toml", TOML)
        .env("AUDIT_DATABASE_URL", url)
        .env("CRON_SECRET", SECRET)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
}

async fn pings(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        let reply = gateway.client.legacy("ping", json!({})).await;
        assert_eq!(reply.status, 200);
    }
}

/// How many records there are, how many numbers, and the first and the last of them.
fn extent(postgres: &Postgres) -> String {
    let asked = "SELECT count(*), count(DISTINCT sequence), min(sequence), max(sequence) FROM audit.cortex_audit";
    postgres.query(asked).concat()
}

async fn until(postgres: &Postgres, count: usize) {
    let wanted = format!("{count}|{count}|1|{count}");
    for _ in 0..600 {
        let there = postgres.query("SELECT to_regclass('audit.cortex_audit') IS NOT NULL");
        if there == ["t"] && extent(postgres) == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} and not {wanted}", extent(postgres));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_arrive_once_and_in_order_and_a_database_that_goes_away_loses_none() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let mut gateway = builder(&postgres.url()).start().await;
    gateway.ready().await;
    pings(&gateway, 20).await;
    until(&postgres, 20).await;
    let of_one = "SELECT method, caller_sub, success, dev_bypass, target_app, length(hash), more IS NULL \
                  FROM audit.cortex_audit WHERE sequence = 20";
    let seen = postgres.query(of_one);
    assert_eq!(seen, ["ping|dev:local|t|t|gateway|64|t"]);
    // Each names the one before.
    let chained = "SELECT count(*) FROM audit.cortex_audit a JOIN audit.cortex_audit b ON b.prev = a.hash \
                   WHERE b.sequence = a.sequence + 1";
    assert_eq!(postgres.query(chained), ["19"]);

    postgres.stop();
    pings(&gateway, 30).await;
    gateway
        .logged("audit records are kept and offered again")
        .await;
    assert!(!gateway.log().contains(PASSWORD), "{}", gateway.log());
    postgres.run();
    until(&postgres, 50).await;
    pings(&gateway, 5).await;
    until(&postgres, 55).await;

    // What was taken before is offered again, by an exporter that nobody remembers: nothing is there twice.
    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await, Some(0));
    assert_eq!(extent(&postgres), "55|55|1|55");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_records_are_purged_and_persons_forgotten() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let gateway = builder(&postgres.url()).start().await;
    gateway.ready().await;
    pings(&gateway, 6).await;
    until(&postgres, 6).await;
    postgres.query(
        "UPDATE audit.cortex_audit SET ts = now() - interval '400 days' WHERE sequence <= 2",
    );

    let asked = async |secret: &str| {
        let bearer = format!("Bearer {secret}");
        let fields = [("authorization", bearer.as_str())];
        let path = "/api/cron/purge-audit";
        let answer = gateway.client.send(Method::POST, path, &fields, "").await;
        let answer = answer.expect("an answer");
        (answer.status.as_u16(), answer.text())
    };
    assert_eq!(asked("wrong").await.0, 403);
    let purged = (
        200,
        r#"{"deleted":2,"exporters":{"audit-postgres":2}}"#.to_owned(),
    );
    assert_eq!(asked(SECRET).await, purged);
    assert_eq!(
        asked(SECRET).await.1,
        r#"{"deleted":0,"exporters":{"audit-postgres":0}}"#
    );

    let (_, told, _) = gateway
        .operator(&["audit", "erase", "--subject", "dev:local", "--yes"])
        .await;
    assert!(
        told.contains("erased by audit-postgres: 4 records"),
        "{told}"
    );
    let left = "SELECT count(*), count(caller_sub), count(session_id), count(params_hash), count(hash) \
                FROM audit.cortex_audit";
    assert_eq!(postgres.query(left), ["4|0|0|0|4"]);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_without_the_password_and_refuses_nobody() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let wrong = postgres.url().replace(PASSWORD, "another-pa55word");
    let mut gateway = builder(&wrong).start().await;
    pings(&gateway, 3).await;
    gateway.logged("password authentication failed").await;
    gateway
        .logged("audit records are kept and offered again")
        .await;
    assert!(!gateway.log().contains("another-pa55word"));
    // The operator mends it: what waited arrives.
    let toml =
        String::from_utf8_lossy(TOML).replace("env = \"AUDIT_DATABASE_URL\"", "file = \"url\"");
    let file = gateway.dir().join("url");
    std::fs::write(&file, postgres.url()).expect("written");
    let toml = toml.replace("\"url\"", &format!("\"{}\"", file.display()));
    std::fs::write(
        gateway.dir().join("plugins").join("audit-postgres.toml"),
        toml,
    )
    .expect("written");
    until(&postgres, 3).await;
}

/// One table, several gateways that start at the same time: it is made once, and all their records are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_gateways_make_one_table() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(builder(&postgres.url()).start().await);
    }
    for gateway in &gateways {
        pings(gateway, 4).await;
    }
    eventually(
        || {
            let there = postgres.query("SELECT to_regclass('audit.cortex_audit') IS NOT NULL");
            there == ["t"] && extent(&postgres) == "12|4|1|4"
        },
        || extent(&postgres),
    )
    .await;
    assert_eq!(
        postgres.query("SELECT step FROM audit.cortex_audit_steps"),
        ["1"]
    );
}
