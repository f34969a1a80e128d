//! Several gateways that share a database.

use std::sync::Arc;

use cortex_tests::fleet::STATE_KEY;
use cortex_tests::postgres::{PASSWORD, Postgres};
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};

use crate::fleet_catalog::with_mischief;
use crate::linking::{Stand, VAULT_KEY, modern};

/// The tables of version 1, as gateways of then made them.
const VERSION_1: &str = "\
    CREATE SCHEMA cortex; \
    CREATE TABLE cortex.migrations ( \
        version integer PRIMARY KEY, \
        needs integer NOT NULL, \
        gateway text NOT NULL, \
        applied_at timestamptz NOT NULL DEFAULT now() \
    ); \
    CREATE TABLE cortex.records ( \
        space text COLLATE \"C\" NOT NULL, \
        key bytea NOT NULL, \
        value bytea NOT NULL, \
        PRIMARY KEY (space, key) \
    ) WITH (fillfactor = 85); \
    CREATE TABLE cortex.commits (id uuid PRIMARY KEY); \
    INSERT INTO cortex.migrations (version, needs, gateway) VALUES (1, 1, 'old')";

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

/// What a plugin says that has kept so many bytes under a key, or has forgotten it.
async fn keep(gateway: &Gateway, key: usize, bytes: Option<usize>) -> String {
    let arguments = json!({ "key": format!("k{key:02}"), "fill": bytes });
    let kept = gateway.client.call("bad_keep", arguments).await;
    kept.tool_text().0
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
async fn three_start_at_once_on_tables_of_version_1_and_what_is_in_them_stays() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let first = builder(&postgres).start().await;
    report(&first, "export as PDF").await;
    report(&first, "print in colour").await;
    let before = tickets(&first).await;
    drop(first.stop().await);
    // The same records, in tables as they were.
    let versions = "SELECT version FROM cortex.migrations ORDER BY version";
    let newest = postgres.query(versions);
    postgres.query("ALTER SCHEMA cortex RENAME TO newer");
    postgres.query(VERSION_1);
    postgres.query("INSERT INTO cortex.records SELECT space, key, value FROM newer.records");
    assert_eq!(postgres.query(versions), ["1"]);
    assert!(newest.len() > 1, "{newest:?}");

    let starting = (0..3).map(|_| builder(&postgres).start());
    let gateways = futures_util::future::join_all(starting).await;
    assert_eq!(postgres.query(versions), newest);
    let changed = gateways.iter().filter(|gateway| {
        let log = gateway.log();
        log.contains("the tables of the database were made or changed")
    });
    assert_eq!(changed.count(), 1, "one does it, and the others wait");
    let lost = postgres.query(
        "SELECT space, key, value FROM newer.records WHERE space LIKE 'ticket%' \
         EXCEPT SELECT space, key, value FROM cortex.records",
    );
    assert!(lost.is_empty(), "{lost:?}");
    for gateway in &gateways {
        assert_eq!(tickets(gateway).await, before);
    }
    let again = report(&gateways[2], "print in colour").await;
    assert_eq!(again["deduplicated"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_count_in_one_plugins_kv() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let start = async || {
        let gateway = with_mischief(builder(&postgres))
            .plugin_file("mischief.toml", b"[grants]\nkv-kib = 4\n")
            .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0");
        let gateway = gateway.start().await;
        gateway.ready().await;
        gateway
    };
    let gateways = [start().await, start().await];
    // What is counted, and what is there: a byte and two quotes are around the base64 of each value.
    let counted = || {
        postgres.query(
            "SELECT convert_from(substr(value, 2), 'UTF8')::json ->> 'bytes' FROM cortex.records \
             WHERE space = 'plugin-use'",
        )
    };
    let there = || {
        postgres.query(
            "SELECT sum((octet_length(value) - 3) * 3 / 4 + length('k00')) FROM cortex.records \
             WHERE space = 'plugin-values'",
        )
    };

    // What both change at the same time is changed by both: no number is told twice.
    let counting = (0..40).map(|n| {
        let client = &gateways[n % 2].client;
        async move {
            let told = client.call("bad_tally", json!({ "key": "n" })).await;
            told.tool_text().0.parse::<u64>().ok()
        }
    });
    let told = futures_util::future::join_all(counting).await;
    let mut numbers: Vec<u64> = told.iter().flatten().copied().collect();
    numbers.sort_unstable();
    // One that others came in between of again and again says so, and has added nothing.
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "{told:?}");
    assert!(numbers.len() >= 20, "{told:?}");
    let told = gateways[0]
        .client
        .call("bad_keep", json!({ "key": "n" }))
        .await;
    assert_eq!(told.tool_text().0, "Ok(()) Ok(None) Ok([])");

    // Each takes 500 bytes with its key: eight of them fit, however the gateways come in between each other.
    let keeping = (0..16).map(|n| keep(&gateways[n % 2], n, Some(497)));
    let told = futures_util::future::join_all(keeping).await;
    let says = |text: &str| told.iter().filter(|told| told.starts_with(text)).count();
    let kept = says("Ok(()) Ok(Some(497))");
    let full = says("Err(KvError::Full(4096)) Ok(None)");
    assert_eq!((kept, full), (8, 8), "{told:?}");
    assert_eq!(counted(), ["4000"]);
    assert_eq!(there(), ["4000"]);

    // Both change some of them, to other lengths.
    let kept: Vec<usize> = (0..16).filter(|n| told[*n].starts_with("Ok(())")).collect();
    let changing = (0..16).map(|n| keep(&gateways[n % 2], kept[n / 4], Some(100 + n)));
    for told in futures_util::future::join_all(changing).await {
        assert!(told.starts_with("Ok(()) Ok(Some(1"), "{told}");
    }
    assert_eq!(counted(), there());

    // Both forget all of them: each counts once, and there is room again.
    let forgetting = (0..16).map(|n| keep(&gateways[n % 2], kept[n / 2], None));
    for told in futures_util::future::join_all(forgetting).await {
        assert!(told.starts_with("Ok(()) Ok(None)"), "{told}");
    }
    assert_eq!(counted(), ["0"]);
    let told = keep(&gateways[1], 0, Some(4093)).await;
    assert_eq!(told, r#"Ok(()) Ok(Some(4093)) Ok(["k00"])"#);
    let told = keep(&gateways[0], 1, Some(1)).await;
    assert!(told.starts_with("Err(KvError::Full(4096))"), "{told}");
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
async fn what_one_gateway_kept_is_moved_into_a_database_and_back() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let backend = FakeBackend::start(json!([FakeBackend::tool("note")])).await;
    let alone = with_mischief(GatewayBuilder::new())
        .plugin_file("mischief.toml", b"[grants]\nkv-kib = 4\n")
        .backend("hr", &backend.url())
        .start()
        .await;
    alone.ready().await;
    report(&alone, "moved").await;
    keep(&alone, 7, Some(5)).await;
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
    operated(&shared, &["store", "export", "--local", &file]).await;
    operated(&shared, &["store", "import", "--replace", &file]).await;
    let moved = shared.start().await;
    moved.ready().await;
    assert_eq!(tickets(&moved).await[0]["whatIWanted"], "moved");
    let kept = keep(&moved, 7, Some(6)).await;
    assert_eq!(kept, r#"Ok(()) Ok(Some(6)) Ok(["k07"])"#);
    assert!(!moved.log().contains("changed since approval"));
    // And back again. What was approved is known: what is otherwise now is noticed.
    report(&moved, "moved back").await;
    let other = json!({ "name": "note", "scope": "mcp:test:use", "description": "Another one." });
    backend.plan("list_tools", Plan::Json(200, json!({ "tools": [other] })));
    let shared = moved.stop().await;
    let back = format!("{file}.back");
    operated(&shared, &["store", "export", &back]).await;
    let alone = shared.env("CORTEX_DATABASE_URL", "");
    operated(&alone, &["store", "import", "--replace", &back]).await;
    let mut alone = alone.start().await;
    alone.ready().await;
    alone.logged("its definition changed since approval").await;
    let tickets = tickets(&alone).await;
    let wanted = tickets.iter().map(|ticket| ticket["whatIWanted"].clone());
    let wanted: Vec<Value> = wanted.collect();
    assert_eq!(wanted, ["moved back", "moved"]);
    let kept = keep(&alone, 8, Some(5)).await;
    assert!(kept.contains(r#"["k07", "k08"]"#), "{kept}");
}

/// An operator's command that must succeed.
async fn operated(gateway: &GatewayBuilder, arguments: &[&str]) {
    let done = gateway.operate(arguments).await;
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}: {said}");
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
