//! `/metrics`: a real Prometheus parser reads it, what the documents, the dashboard and the alerts name is
//! there, the figures are right, and no caller can make it grow.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, Era, FakeBackend, FakeMcp, Gateway, GatewayBuilder, Plan};
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

const ADMIN: &str = "admin-secret-of-the-tests";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Stand {
    gateway: Gateway,
    backend: FakeBackend,
    _server: FakeMcp,
    issuer: FakeIssuer,
    key: Key,
    /// The operators' socket.
    admin: Client,
}

/// A gateway with everything that has figures.
async fn stand() -> Stand {
    let key = Key::generate(Alg::EdDsa, "k");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!({ "result": 1 })));
    let server = FakeMcp::start(Era::Modern).await;
    server.result("tools/list", json!({ "tools": [FakeMcp::tool("echo")] }));
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .mcp_server("wiki", &server.url())
        .env("CORTEX_MCP_WIKI_TOKEN", "linked")
        .env(
            "CORTEX_VAULT_KEY",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        )
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "1000")
        .env("CORTEX_ADMIN_SECRET", ADMIN)
        .env("CORTEX_ADMIN_LISTEN", "0")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .start()
        .await;
    gateway.ready().await;
    let line = gateway.logged("metrics on http://").await;
    let address = line
        .split("metrics on ")
        .nth(1)
        .and_then(|rest| rest.split("/metrics").next());
    let admin = Client::new(address.expect("an address").to_owned());
    Stand {
        gateway,
        backend,
        _server: server,
        issuer,
        key,
        admin,
    }
}

impl Stand {
    fn client(&self, sub: &str, scope: &str) -> Client {
        let mut claims = self.issuer.claims();
        claims["sub"] = json!(sub);
        claims["scope"] = json!(scope);
        self.gateway.client.with_token(&self.key.token(&claims))
    }

    async fn text(&self) -> String {
        let reply = self.admin.get("/metrics").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text()
    }

    async fn read(&self) -> Read {
        Read::of(&self.text().await)
    }
}

/// An exposition, read strictly.
struct Read {
    /// Families with their types.
    types: BTreeMap<String, String>,
    /// Series as they are written.
    series: BTreeMap<String, f64>,
}

impl Read {
    fn of(text: &str) -> Self {
        let mut read = Self {
            types: BTreeMap::new(),
            series: BTreeMap::new(),
        };
        let (mut helped, mut family) = (String::new(), String::new());
        assert!(text.ends_with('\n'), "the last line has its end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(help.ends_with('.'), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(name, helped, "help comes before the type");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                name.clone_into(&mut family);
                let before = read.types.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{name} is there twice");
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let name = series.split('{').next().unwrap_or_default();
                let parts = ["_bucket", "_sum", "_count"];
                let own = parts
                    .iter()
                    .find_map(|part| name.strip_suffix(part))
                    .filter(|own| *own == family);
                assert!(name == family || own.is_some(), "{line} is not of {family}");
                let value = value.parse().expect("a number");
                let before = read.series.insert(series.to_owned(), value);
                assert!(before.is_none(), "{series} is there twice");
            }
        }
        read
    }

    /// The figure of a series; 0 when absent.
    fn get(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }

    fn count(&self, family: &str) -> usize {
        let of = |series: &&String| series.split('{').next() == Some(family);
        self.series.keys().filter(of).count()
    }
}

/// Every word that may be the name of a metric.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("cortex_") || word.starts_with("process_"))
        .map(|word| {
            let parts = ["_bucket", "_sum", "_count"];
            let own = parts.iter().find_map(|part| word.strip_suffix(part));
            own.unwrap_or(word).to_owned()
        })
        .collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("readable")
}

#[tokio::test]
async fn documents_dashboard_and_alerts_name_what_is_there() {
    let stand = stand().await;
    stand
        .client("ada", "mcp:test:use")
        .call("docs_echo", json!({}))
        .await
        .result();
    let there: BTreeSet<String> = stand.read().await.types.into_keys().collect();
    let page = read("docs/observability.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let told: BTreeSet<String> = (rows.into_iter())
        .filter(|name| name.starts_with("cortex_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, there, "docs/observability.md and /metrics");
    for file in [
        "docs/observability/grafana-dashboard.json",
        "docs/observability/alerts.yml",
    ] {
        let used = named(&read(file));
        assert!(used.len() > 10, "{file}");
        let unknown: Vec<_> = used.difference(&there).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let dashboard: Value =
        serde_json::from_str(&read("docs/observability/grafana-dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: HashSet<_> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}

#[tokio::test]
async fn a_real_parser_reads_it() {
    let python = root().join("target/peers/prom/bin/python");
    if !python.exists() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "tests/peers/setup.sh was not run"
        );
        eprintln!("left out: target/peers/prom is not installed (tests/peers/setup.sh)");
        return;
    }
    let stand = stand().await;
    stand
        .client("ada", "mcp:test:use")
        .call("docs_echo", json!({}))
        .await
        .result();
    let text = stand.text().await;
    let mut parser = tokio::process::Command::new(python)
        .arg(root().join("tests/peers/exposition.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut input = parser.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).await.expect("written");
    drop(input);
    let output = parser.wait_with_output().await.expect("it ends");
    assert!(output.status.success());
    // It has understood what we have: the same families, the same number of series.
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let read = Read::of(&text);
    assert_eq!(found["families"], read.types.len());
    assert_eq!(found["samples"], read.series.len());
    assert_eq!(found["calls"], 1.0);
}

#[tokio::test]
async fn the_figures_are_those_of_what_was_done() {
    let mut stand = stand().await;
    let client = stand.client("ada", "mcp:test:use");
    for _ in 0..3 {
        client.call("docs_echo", json!({})).await.result();
    }
    client.modern("tools/list", json!({})).await.result();
    stand
        .backend
        .plan("echo", Plan::Json(500, json!({ "error": "no" })));
    client.call("docs_echo", json!({})).await.result();
    stand
        .client("bob", "mcp:other:use")
        .call("docs_echo", json!({}))
        .await
        .error();
    stand.gateway.client.anonymous().post("{}", &[]).await;
    // Counted with the record, which follows the answer.
    stand.gateway.audit(7).await;
    let read = stand.read().await;
    let requests = |method: &str, era: &str, backend: &str, outcome: &str| {
        let labels = format!(
            "method=\"{method}\",era=\"{era}\",backend=\"{backend}\",outcome=\"{outcome}\""
        );
        read.get(&format!("cortex_requests_total{{{labels}}}"))
    };
    assert_eq!(requests("tools/call", "legacy", "docs", "ok"), 3.0);
    assert_eq!(
        requests("tools/call", "legacy", "docs", "backend_error"),
        1.0
    );
    assert_eq!(
        requests("tools/call", "legacy", "docs", "insufficient_scope"),
        1.0
    );
    assert_eq!(requests("tools/list", "modern", "gateway", "ok"), 1.0);
    assert_eq!(requests("none", "none", "none", "unauthenticated"), 1.0);
    for (series, value) in [
        (
            "cortex_request_duration_seconds_count{method=\"tools/call\"}",
            5.0,
        ),
        ("cortex_stage_duration_seconds_count{stage=\"policy\"}", 5.0),
        (
            "cortex_stage_duration_seconds_count{stage=\"adapter\"}",
            4.0,
        ),
        (
            "cortex_policy_decisions_total{policy=\"policy-scopes\",decision=\"allow\"}",
            4.0,
        ),
        (
            "cortex_policy_decisions_total{policy=\"policy-scopes\",decision=\"missing_scope\"}",
            1.0,
        ),
        (
            "cortex_exchanges_total{backend=\"docs\",outcome=\"5xx\"}",
            1.0,
        ),
        ("cortex_token_lookups_total{result=\"miss\"}", 2.0),
        ("cortex_token_lookups_total{result=\"hit\"}", 4.0),
        ("cortex_issuer_key_fetches_total{result=\"failed\"}", 0.0),
        ("cortex_requests_in_flight", 0.0),
        ("cortex_audit_queue_taken", 0.0),
        ("cortex_streams_open", 0.0),
        ("cortex_backend_up{backend=\"docs\"}", 1.0),
        (
            "cortex_catalog_refreshes_total{backend=\"docs\",result=\"failed\"}",
            0.0,
        ),
        ("cortex_accounts{server=\"wiki\",state=\"linked\"}", 0.0),
        // One is kept for whoever called.
        ("cortex_plugin_instances{plugin=\"backend-http\"}", 1.0),
        ("cortex_plugin_instances{plugin=\"policy-scopes\"}", 0.0),
    ] {
        assert!(read.series.contains_key(series), "{series} is not there");
        assert_eq!(read.get(series), value, "{series}");
    }
    for series in [
        "cortex_exchange_duration_seconds_sum{backend=\"docs\"}",
        "cortex_plugin_busy_seconds_total{plugin=\"backend-http\"}",
        "cortex_plugin_memory_bytes{plugin=\"backend-http\"}",
        "cortex_plugin_memory_peak_bytes{plugin=\"backend-http\"}",
        "cortex_issuer_keys_age_seconds",
        "cortex_catalog_refreshed_timestamp_seconds{backend=\"docs\"}",
        "cortex_tasks",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(read.get(series) > 0.0, "{series}");
    }
    // The catalog took exchanges, too: as many as were answered well.
    assert!(read.get("cortex_exchanges_total{backend=\"docs\",outcome=\"2xx\"}") >= 4.0);
}

#[tokio::test]
async fn a_backend_that_is_down_shows() {
    let stand = stand().await;
    let client = stand.client("ada", "mcp:test:use");
    stand.backend.stop().await;
    client.call("docs_echo", json!({})).await.result();
    let shown = || async { Read::of(&stand.admin.get("/metrics").await.text()) };
    loop {
        let read = shown().await;
        if read.get("cortex_catalog_refreshes_total{backend=\"docs\",result=\"failed\"}") >= 1.0 {
            assert_eq!(read.get("cortex_backend_up{backend=\"docs\"}"), 0.0);
            assert!(
                read.get("cortex_exchanges_total{backend=\"docs\",outcome=\"no_connection\"}")
                    >= 1.0
            );
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn no_caller_makes_it_grow() {
    let mut stand = stand().await;
    let client = stand.client("ada", "mcp:test:use");
    client.call("docs_echo", json!({})).await.result();
    for n in 0..40 {
        let odd = format!("canary-{n}\"}} 1\nup 0");
        client.legacy(&odd, json!({})).await;
        client.modern(&format!("canary/{n}"), json!({})).await;
        client.call(&format!("canary_{n}"), json!({})).await;
        client.call(&format!("docs_canary{n}"), json!({})).await;
        let _ = client
            .legacy("prompts/get", json!({ "name": format!("canary{n}") }))
            .await;
        let _ = client
            .legacy("resources/read", json!({ "uri": format!("canary://{n}") }))
            .await;
        let version = format!("canary-{n}");
        client
            .post("{}", &[("mcp-protocol-version", &version)])
            .await;
        let headers = [
            ("x-cortex-backends", version.as_str()),
            ("x-cortex-tool-mode", &version),
        ];
        client
            .post(
                json!({ "jsonrpc": "2.0", "id": n, "method": "tools/list" }).to_string(),
                &headers,
            )
            .await;
    }
    stand.gateway.audit(300).await;
    let text = stand.text().await;
    assert!(!text.contains("canary"), "{text}");
    let read = Read::of(&text);
    assert!(read.count("cortex_requests_total") < 20, "{text}");
    assert!(
        read.count("cortex_request_duration_seconds_count") < 12,
        "{text}"
    );
    assert!(
        text.lines().any(|line| line.contains("method=\"other\"")),
        "{text}"
    );
    let before = read.series.len();
    for n in 40..80 {
        client.legacy(&format!("canary-{n}"), json!({})).await;
    }
    assert_eq!(stand.read().await.series.len(), before);
}

#[tokio::test]
async fn operators_have_a_socket_of_their_own() {
    let stand = stand().await;
    // Nothing else is there, and the public one gives nothing away.
    for path in ["/mcp", "/", "/api/admin/tool-integrity", "/healthz"] {
        assert_eq!(stand.admin.get(path).await.status, 404, "{path}");
    }
    let reply = stand
        .admin
        .send(Method::POST, "/metrics", &[], "")
        .await
        .expect("an answer");
    assert_eq!(reply.status, 405);
    assert_eq!(stand.gateway.client.get("/metrics").await.status, 403);
    let secret = [("x-cortex-admin-secret", ADMIN)];
    let reply = stand
        .gateway
        .client
        .send(Method::GET, "/metrics", &secret, "")
        .await;
    let reply = reply.expect("an answer");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    // A page that lets its own name point here learns nothing.
    let reply = stand
        .admin
        .send(Method::GET, "/metrics", &[("host", "evil.example")], "")
        .await;
    assert_eq!(reply.expect("an answer").status, 403);
}
