//! The audit trail: nothing is lost, whatever happens to exporters, disk and gateway; and what was
//! done to it shows.

mod away;
mod kills;
mod room;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// Runs an operator's command and returns what it wrote.
async fn operate(gateway: &Gateway, arguments: &[&str]) -> String {
    let (code, out, err) = gateway.operator(arguments).await;
    assert_eq!(code, Some(0), "{out}{err}");
    out
}

async fn status(gateway: &Gateway) -> Value {
    let told = operate(gateway, &["audit", "status", "--json"]).await;
    serde_json::from_str(&told).expect("JSON")
}

fn exporter<'a>(status: &'a Value, name: &str) -> &'a Value {
    let exporters = status["exporters"].as_array().expect("exporters");
    let found = exporters.iter().find(|exporter| exporter["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// The files of the trail.
fn files(gateway_dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(gateway_dir.join("data/audit")).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

fn numbers(records: &[Value]) -> Vec<u64> {
    let numbers = records.iter().map(|record| record["sequence"].as_u64());
    numbers.map(|number| number.expect("a number")).collect()
}

/// The numbers of the records that a collector was sent, in the order in which they came.
fn collected(collector: &FakeBackend) -> Vec<u64> {
    let mut numbers = Vec::new();
    for batch in collector.all_seen() {
        for line in batch.body.lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            numbers.push(record["sequence"].as_u64().expect("a number"));
        }
    }
    numbers
}

/// A gateway whose records go to standard output and to a collector.
fn with_collector(collector: &FakeBackend) -> GatewayBuilder {
    let url = collector.url();
    let toml = format!("[settings]\nurl = \"{url}/\"\n[grants]\nhttp = [\"{url}\"]\n");
    GatewayBuilder::new()
        .plugin("audit-webhook")
        .plugin_file("audit-webhook.toml", toml.as_bytes())
}

/// What the collector does with whatever comes: a single record looks like a call of its method.
fn plan(collector: &FakeBackend, plan: &Plan) {
    for method in ["", "ping"] {
        collector.plan(method, plan.clone());
    }
}

async fn ping(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        gateway.client.legacy("ping", json!({})).await.result();
    }
}

#[tokio::test]
async fn an_exporter_that_hangs_holds_up_no_other_and_gets_everything_when_it_is_back() {
    let collector = FakeBackend::start(json!([])).await;
    plan(&collector, &Plan::Hang);
    let mut gateway = with_collector(&collector).start().await;
    ping(&gateway, 5).await;
    let records = gateway.audit(5).await;
    assert_eq!(numbers(&records), [1, 2, 3, 4, 5]);
    eventually(|| !collector.all_seen().is_empty(), || gateway.log()).await;
    let told = status(&gateway).await;
    assert_eq!(exporter(&told, "audit-webhook")["behind"], 5);
    // Down for the rest of this gateway's life.
    let address = collector.stop().await;
    ping(&gateway, 5).await;
    gateway.audit(10).await;
    let builder = gateway.stop().await;
    let gateway = builder.start().await;
    ping(&gateway, 5).await;
    let collector = FakeBackend::start_at(address, json!([])).await;
    plan(&collector, &Plan::Json(200, json!({})));
    eventually(
        || collected(&collector).last() == Some(&15),
        || gateway.log(),
    )
    .await;
    assert_eq!(collected(&collector), (1..=15).collect::<Vec<_>>());
    // The other one is not given again what it has taken.
    let mut gateway = gateway;
    let records = gateway.audit(5).await;
    assert_eq!(numbers(&records), [11, 12, 13, 14, 15]);
    let log = gateway.log();
    assert!(!log.contains("are gone from the trail"), "{log}");
}

#[tokio::test]
async fn an_exporter_that_goes_and_comes_back_goes_on_where_it_was() {
    let mut gateway = GatewayBuilder::new().start().await;
    ping(&gateway, 2).await;
    gateway.audit(2).await;
    let file = gateway.dir().join("plugins/audit-stdout.wasm");
    let aside = gateway.dir().join("aside.wasm");
    std::fs::rename(&file, &aside).expect("moved");
    gateway.logged("no audit exporter is loaded").await;
    ping(&gateway, 3).await;
    assert_eq!(gateway.audit(2).await.len(), 2);
    std::fs::rename(&aside, &file).expect("moved back");
    assert_eq!(numbers(&gateway.audit(5).await), [1, 2, 3, 4, 5]);
    // A new one, beside one that was there before, begins where the trail is.
    let collector = FakeBackend::start(json!([])).await;
    plan(&collector, &Plan::Json(200, json!({})));
    let url = collector.url();
    let toml = format!("[settings]\nurl = \"{url}/\"\n[grants]\nhttp = [\"{url}\"]\n");
    let plugins = gateway.dir().join("plugins");
    std::fs::write(plugins.join("audit-webhook.toml"), toml).expect("written");
    let component = cortex_tests::component("audit-webhook");
    std::fs::copy(component, plugins.join("audit-webhook.wasm")).expect("copied");
    gateway.logged("it gets the records from 6 on").await;
    ping(&gateway, 1).await;
    eventually(|| !collected(&collector).is_empty(), || gateway.log()).await;
    assert_eq!(collected(&collector), [6]);
}

#[tokio::test]
async fn what_is_done_to_the_trail_shows() {
    let mut gateway = GatewayBuilder::new().start().await;
    ping(&gateway, 5).await;
    gateway.audit(5).await;
    let told = operate(&gateway, &["audit", "verify"]).await;
    assert!(told.starts_with("5 records hold, 1 to 5\n"), "{told}");
    let dir = gateway.dir().to_owned();
    let builder = gateway.stop().await;
    let file = files(&dir).remove(0);
    let whole = std::fs::read_to_string(&file).expect("text");
    let lines: Vec<&str> = whole.lines().collect();
    for (what, lines) in [
        (
            "changed",
            lines
                .iter()
                .map(|l| l.replace("\"ping\"", "\"pong\""))
                .collect::<Vec<_>>(),
        ),
        (
            "missing",
            [0, 1, 3, 4].map(|n| lines[n].to_owned()).to_vec(),
        ),
        (
            "missing",
            [0, 1, 3, 2, 4].map(|n| lines[n].to_owned()).to_vec(),
        ),
        (
            "missing at the end",
            [0, 1, 2].map(|n| lines[n].to_owned()).to_vec(),
        ),
    ] {
        std::fs::write(&file, lines.join("\n") + "\n").expect("written");
        let verified = builder.operate(&["audit", "verify"]).await;
        let told = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert_eq!(verified.status.code(), Some(1), "{told}");
        assert!(
            told.contains("BROKEN at record") && told.contains(what),
            "{told}"
        );
    }
    std::fs::write(&file, whole).expect("put back");
    let verified = builder.operate(&["audit", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0));
}

/// The script that docs/audit.md gives to whoever does not want to trust the gateway.
fn script() -> String {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit.md");
    let docs = std::fs::read_to_string(docs).expect("the docs");
    let begin = docs.find("    import hashlib").expect("a script");
    let lines = docs[begin..].lines();
    let script = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    script
        .map(|l| l.strip_prefix("    ").unwrap_or(l).to_owned() + "\n")
        .collect()
}

#[tokio::test]
async fn a_copy_is_checked_by_the_command_and_without_us() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "result": "ü" })));
    let mut gateway = GatewayBuilder::new()
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    gateway
        .client
        .call("docs_echo", json!({}))
        .await
        .tool_text();
    gateway
        .client
        .legacy("tools/list", json!({}))
        .await
        .result();
    gateway
        .client
        .post("{", &[("origin", "https://evil\"\\.example")])
        .await;
    gateway.client.legacy("ü\n\u{1f}\u{2028}", json!({})).await;
    gateway.audit(4).await;
    let copy = gateway.output() + "\n";
    let tampered = copy.replacen("docs_echo", "docs_ecco", 1);
    assert_ne!(copy, tampered);
    let shorter: String = copy
        .lines()
        .enumerate()
        .filter(|(n, _)| *n != 2)
        .map(|(_, l)| l.to_owned() + "\n")
        .collect();
    let file = gateway.dir().join("copy.jsonl");
    for (text, holds) in [(&copy, true), (&tampered, false), (&shorter, false)] {
        std::fs::write(&file, text).expect("written");
        let (code, out, err) = gateway
            .operator(&["audit", "verify", "--file", file.to_str().expect("UTF-8")])
            .await;
        assert_eq!(code, Some(if holds { 0 } else { 1 }), "{out}{err}");
        let mut python = tokio::process::Command::new("python3");
        let mut python = python
            .args(["-c", &script()])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut stdin = python.stdin.take().expect("piped");
        stdin.write_all(text.as_bytes()).await.expect("written");
        drop(stdin);
        let output = python.wait_with_output().await.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), holds, "{said}");
    }
}

#[tokio::test]
async fn a_subject_is_erased_and_the_chain_still_holds() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = GatewayBuilder::new().issuer(&issuer).start().await;
    for who in ["canary-ann", "bob", "canary-ann"] {
        let mut claims = issuer.claims();
        claims["sub"] = json!(who);
        let client = gateway.client.with_token(&key.token(&claims));
        client.legacy("ping", json!({})).await.result();
    }
    gateway.audit(3).await;
    let mut on_disk = String::new();
    for file in files(gateway.dir()) {
        on_disk += &std::fs::read_to_string(file).expect("text");
    }
    assert!(!on_disk.contains("canary"), "{on_disk}");
    let query = ["audit", "query", "--subject", "canary-ann", "--json"];
    assert_eq!(operate(&gateway, &query).await.lines().count(), 2);
    // Nobody is asked: nothing happens.
    let refused = gateway
        .operator(&["audit", "erase", "--subject", "canary-ann"])
        .await;
    assert_eq!(refused.0, Some(1), "{}", refused.2);
    assert_eq!(operate(&gateway, &query).await.lines().count(), 2);
    let erased = operate(
        &gateway,
        &["audit", "erase", "--subject", "canary-ann", "--yes"],
    )
    .await;
    assert!(erased.contains(&issuer.url()), "{erased}");
    assert_eq!(operate(&gateway, &query).await, "");
    let all = operate(&gateway, &["audit", "query"]).await;
    assert!(
        !all.contains("canary") && all.matches("(erased)").count() == 2,
        "{all}"
    );
    let told = operate(&gateway, &["audit", "verify"]).await;
    assert!(
        told.contains("3 records hold") && told.contains("2 of them without"),
        "{told}"
    );
    let builder = gateway.stop().await;
    let again = builder.operate(&["audit", "verify"]).await;
    let told = String::from_utf8_lossy(&again.stdout).into_owned();
    assert_eq!(again.status.code(), Some(0), "{told}");
}

#[tokio::test]
async fn whoever_is_erased_before_the_export_is_exported_without_a_name() {
    let gateway = GatewayBuilder::bare().plugin("policy-scopes").start().await;
    ping(&gateway, 1).await;
    operate(
        &gateway,
        &["audit", "erase", "--subject", "dev:local", "--yes"],
    )
    .await;
    ping(&gateway, 1).await;
    let builder = gateway.stop().await;
    let mut gateway = builder.plugin("audit-stdout").start().await;
    let records = gateway.audit(2).await;
    assert_eq!(records[0].get("caller_sub"), None, "{}", records[0]);
    assert_eq!(records[0]["method"], "ping");
    assert_eq!(records[1]["caller_sub"], "dev:local");
}

#[tokio::test]
async fn a_person_follows_the_trail() {
    let gateway = GatewayBuilder::new().start().await;
    ping(&gateway, 3).await;
    let shown = operate(&gateway, &["audit", "tail", "-n", "2"]).await;
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(
        shown.contains("ping") && shown.contains("dev:local"),
        "{shown}"
    );
    let mut following = tokio::process::Command::new(cortex_tests::binary("cortex-gateway"))
        .args(["audit", "tail", "-f", "-n", "1", "--json"])
        .env("CORTEX_DATA_DIR", gateway.dir().join("data"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let out = following.stdout.take().expect("piped");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(out));
    let mut next = async || -> u64 {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.expect("in time").expect("read").expect("a line");
        let record: Value = serde_json::from_str(&line).expect("JSON");
        record["sequence"].as_u64().expect("a number")
    };
    assert_eq!(next().await, 3);
    ping(&gateway, 2).await;
    assert_eq!((next().await, next().await), (4, 5));
    let failed = operate(&gateway, &["audit", "query", "--failed", "--since", "1h"]).await;
    assert_eq!(failed.lines().count(), 1, "{failed}");
}
