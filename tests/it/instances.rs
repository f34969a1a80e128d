//! Several gateways that share a database.

use std::sync::Arc;

use cortex_tests::postgres::{PASSWORD, Postgres};
use cortex_tests::{Gateway, GatewayBuilder};
use serde_json::{Value, json};

use crate::linking::{Stand, VAULT_KEY, modern};

const STATE_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn builder(postgres: &Postgres) -> GatewayBuilder {
    GatewayBuilder::new()
        .env("CORTEX_DATABASE_URL", &postgres.url())
        .env("CORTEX_DATABASE_CONNECTIONS", "3")
        .env("CORTEX_STATE_KEY", STATE_KEY)
}

async fn call(gateway: &Gateway, tool: &str, arguments: Value) -> Value {
    let reply = gateway.client.call(tool, arguments).await;
    let (text, is_error) = reply.tool_text();
    assert!(!is_error, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn report(gateway: &Gateway, wanted: &str) -> Value {
    let wish = json!({
        "whatIWanted": wanted,
        "userIntent": "to see it done",
        "severity": "inconvenient",
    });
    call(gateway, "report_missing_capability", wish).await
}

async fn tickets(gateway: &Gateway) -> Vec<Value> {
    let told = call(gateway, "list_cortex_tickets", json!({})).await;
    told["tickets"].as_array().expect("tickets").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_made_at_one_is_seen_answered_and_never_doubled_at_the_other() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let (one, mut two) = (
        builder(&postgres).start().await,
        builder(&postgres).start().await,
    );
    let told = report(&one, "export as PDF").await;
    assert_eq!(told["deduplicated"], false);
    let again = report(&two, "export as PDF").await;
    assert_eq!(again["deduplicated"], true);
    assert_eq!(again["ticketId"], told["ticketId"]);
    let seen = tickets(&two).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["timesReported"], 2);

    // An operator's command at the other, and one where no gateway is.
    let id = told["ticketId"].as_str().expect("an id");
    let done = two
        .operate(&["tickets", "resolve", id, "--answer", "use print_page"])
        .await;
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(tickets(&one).await[0]["answer"], "use print_page");
    let elsewhere = builder(&postgres);
    let listed = elsewhere
        .operate(&["tickets", "list", "--json", "--data-dir", "/nowhere"])
        .await;
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["tickets"][0]["ticketId"], told["ticketId"]);

    // Each has a trail of its own.
    for gateway in [&one, &two] {
        let verified = gateway.operate(&["audit", "verify"]).await;
        assert!(
            verified.status.success(),
            "{}",
            String::from_utf8_lossy(&verified.stderr)
        );
    }
    let log = two.logged("is kept in the database").await;
    assert!(!log.contains(PASSWORD) && !two.log().contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_start_at_once_on_an_empty_database() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let postgres = Arc::new(postgres);
    let starting: Vec<_> = (0..8)
        .map(|n| {
            let vault = builder(&postgres).env("CORTEX_VAULT_KEY", STATE_KEY);
            tokio::spawn(async move {
                let gateway = vault.start().await;
                report(&gateway, &format!("wish {n}")).await;
                gateway
            })
        })
        .collect();
    let mut gateways = Vec::new();
    for one in starting {
        gateways.push(one.await.expect("it starts"));
    }
    for gateway in &gateways {
        assert_eq!(tickets(gateway).await.len(), 8);
    }
    let versions =
        postgres.query("SELECT count(*), count(DISTINCT version) FROM cortex.migrations");
    let [both] = &versions[..] else {
        panic!("{versions:?}");
    };
    let (all, different) = both.split_once('|').expect("two columns");
    assert_eq!(all, different, "each once");
    assert_eq!(
        postgres.query("SELECT count(*) FROM cortex.records WHERE space = 'vault-check'"),
        ["1"]
    );

    // One that has another key does not start.
    let other = builder(&postgres).env(
        "CORTEX_VAULT_KEY",
        "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgMTI=",
    );
    let (code, said) = other.fail().await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("is not the key that this vault was sealed with"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_gateway_from_its_database_is_told() {
    let without_key = GatewayBuilder::new().env(
        "CORTEX_DATABASE_URL",
        "postgresql://u:pa55word@127.0.0.1:9/db",
    );
    let (code, said) = without_key.fail().await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("CORTEX_STATE_KEY: required with CORTEX_DATABASE_URL"),
        "{said}"
    );
    assert!(!said.contains("pa55word"), "{said}");
    let nobody_there = GatewayBuilder::new()
        .env(
            "CORTEX_DATABASE_URL",
            "postgresql://u:pa55word@127.0.0.1:9/db",
        )
        .env("CORTEX_STATE_KEY", STATE_KEY);
    let (code, said) = nobody_there.fail().await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("cannot open the store in the database 127.0.0.1:9/db"),
        "{said}"
    );
    assert!(!said.contains("pa55word"), "{said}");

    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let one = builder(&postgres).start().await;
    let examined = async |gateway: &Gateway| {
        let output = gateway.operate(&["doctor", "--json"]).await;
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let sections = report["sections"].as_array().expect("sections").clone();
        let found = sections.into_iter().find(|it| it["name"] == "database");
        let findings = found.expect("a section")["findings"].to_string();
        assert!(!findings.contains(PASSWORD));
        findings
    };
    let findings = examined(&one).await;
    for text in [
        "is reached",
        "it is PostgreSQL",
        "its tables are of version",
        "may do what the gateway does",
    ] {
        assert!(findings.contains(text), "{text}: {findings}");
    }
    let status = one.operate(&["store", "status", "--json"]).await;
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["engine"], "postgresql");

    // It goes on after the database was away, by itself.
    report(&one, "before").await;
    postgres = tokio::task::spawn_blocking(move || {
        postgres.crash();
        postgres
    })
    .await
    .expect("stopped");
    assert!(examined(&one).await.contains("cannot be used"));
    postgres = tokio::task::spawn_blocking(move || {
        postgres.run();
        postgres
    })
    .await
    .expect("it runs");
    report(&one, "after").await;
    assert_eq!(tickets(&one).await.len(), 2);

    // Tables of a gateway that is too new.
    postgres.query(
        "INSERT INTO cortex.migrations (version, needs, gateway) VALUES (9999, 9999, 'new')",
    );
    let (code, said) = builder(&postgres).fail().await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("version 9999") && said.contains("hint: start the newer version"),
        "{said}"
    );
    // One that is new, and that this one can work beside.
    postgres.query("UPDATE cortex.migrations SET needs = 1 WHERE version = 9999");
    let beside = builder(&postgres).start().await;
    assert_eq!(tickets(&beside).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_kept_is_moved_into_a_database() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let alone = GatewayBuilder::new().start().await;
    report(&alone, "moved").await;
    let file = alone.dir().join("export.jsonl");
    let file = file.to_str().expect("UTF-8").to_owned();
    let refused = alone.operate(&["store", "export", &file]).await;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("hint: stop it first"), "{said}");
    let stopped = alone.stop().await;
    let shared = stopped
        .env("CORTEX_DATABASE_URL", &postgres.url())
        .env("CORTEX_STATE_KEY", STATE_KEY);
    // It is not there, and that is told.
    let mut early = shared.start().await;
    assert!(tickets(&early).await.is_empty());
    early
        .logged("hint: `cortex-gateway store export` and `import` move it")
        .await;
    let shared = early.stop().await;
    for arguments in [
        &["store", "export", "--local", &file][..],
        &["store", "import", "--replace", &file],
    ] {
        let done = shared.operate(arguments).await;
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let moved = shared.start().await;
    assert_eq!(tickets(&moved).await[0]["whatIWanted"], "moved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_was_linked_at_one_is_used_at_the_other() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let shared = |builder: GatewayBuilder| {
        builder
            .env("CORTEX_DATABASE_URL", &postgres.url())
            .env("CORTEX_STATE_KEY", STATE_KEY)
    };
    let stand = Stand::with(shared).await;
    stand.link("ann").await;
    let other = GatewayBuilder::new()
        .mcp_server("notes", &stand.notes.mcp())
        .env("CORTEX_CANONICAL_URI", &stand.at("/mcp"))
        .env("CORTEX_DEV_BYPASS_TOKEN", "")
        .env("CORTEX_TECHNICAL_TOKEN", "")
        .env("OAUTH_ISSUER", &stand.issuer.url())
        .env("CORTEX_VAULT_KEY", VAULT_KEY)
        .env("CORTEX_MCP_NOTES_CATALOG_SUB", "robot");
    let other = shared(other).start().await;
    other.ready().await;
    let token = stand.issuer.token("ann", "mcp:test:use");
    let client = other.client.with_token(&token);
    let here = stand.whose("ann").await;
    // What it offers is asked for in the name of the account that was linked at the first one.
    let mut there = modern(&client, "notes_whose", json!({})).await;
    for _ in 0..100 {
        if there.json()["error"].is_null() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        there = modern(&client, "notes_whose", json!({})).await;
    }
    let (text, is_error) = there.tool_text();
    assert!(!is_error && text.contains("ann-at-notes"), "{text}");
    assert_eq!(here.tool_text(), (text, false));
}
