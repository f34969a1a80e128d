//! What a plugin may use is set for it alone; what it uses is told of it alone; and one that does nothing
//! but fail is left alone for a while, without one caller being able to bring that about for others.

use std::time::Duration;

use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder, Plan};
use http::Method;
use serde_json::{Value, json};

const ADMIN: &str = "admin-secret-of-the-tests";

struct Stand {
    gateway: Gateway,
    _backend: FakeBackend,
    issuer: FakeIssuer,
    key: Key,
}

impl Stand {
    /// A good backend `docs`, and one whose adapter misbehaves on request, with this `.toml`.
    async fn with(toml: &str) -> Self {
        let key = Key::generate(Alg::EdDsa, "k");
        let issuer = FakeIssuer::start(&[&key]).await;
        let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
        backend.plan("act", Plan::Json(200, json!("fine")));
        let gateway = GatewayBuilder::new()
            .issuer(&issuer)
            .plugin("mischief")
            .plugin_file("mischief.toml", toml.as_bytes())
            .backend("docs", &backend.url())
            .backend("bad", &backend.url())
            .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
            .env("CORTEX_ADMIN_SECRET", ADMIN)
            .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
            .start()
            .await;
        gateway.ready().await;
        Self {
            gateway,
            _backend: backend,
            issuer,
            key,
        }
    }

    fn client(&self, sub: &str) -> Client {
        let mut claims = self.issuer.claims();
        claims["sub"] = json!(sub);
        claims["scope"] = json!("mcp:test:use mcp:mischief:use");
        self.gateway.client.with_token(&self.key.token(&claims))
    }

    async fn metrics(&self) -> String {
        let secret = [("x-cortex-admin-secret", ADMIN)];
        let reply = self
            .gateway
            .client
            .send(Method::GET, "/metrics", &secret, "")
            .await;
        reply.expect("a response").text()
    }

    /// What an operator is told of the plugin that misbehaves.
    async fn told(&self) -> Value {
        let output = self.gateway.operate(&["plugin", "list", "--json"]).await;
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let plugins = answer["plugins"].as_array().expect("a list");
        let of = plugins.iter().find(|p| p["file"] == "mischief.wasm");
        of.expect("listed")["running"].clone()
    }
}

/// Why a call was not answered.
async fn reason(client: &Client, tool: &str) -> String {
    let reply = client.call(tool, json!({})).await.json();
    let reason = reply["error"]["data"]["reason"].as_str();
    reason.unwrap_or("none").to_owned()
}

#[tokio::test]
async fn limits_are_those_of_one_plugin_and_change_without_a_restart() {
    let mut stand = Stand::with("[limits]\ncompute-ms = 100\nmemory-mib = 4\n").await;
    let ada = stand.client("ada");
    for (tool, told) in [
        ("bad_spin", "used up its 100 ms of computing time"),
        ("bad_leak", "reached its memory limit of 4 MiB"),
    ] {
        assert_ne!(reason(&ada, tool).await, "none");
        stand.gateway.logged(told).await;
    }
    let (text, _) = ada.call("docs_act", json!({})).await.tool_text();
    assert_eq!(text, "fine");

    let file = stand.gateway.dir().join("plugins").join("mischief.toml");
    std::fs::write(&file, "[limits]\nresult-bytes = 1024\nmemory-mib = 65\n").expect("written");
    let line = stand.gateway.logged("`limits.memory-mib` must be").await;
    assert!(
        line.contains("from 2 to 64, which is CORTEX_PLUGIN_MEMORY_MIB"),
        "{line}"
    );
    assert!(line.contains("mischief 0.1.0 runs on"), "{line}");
    std::fs::write(&file, "[limits]\nresult-bytes = 1024\n").expect("written");
    stand.gateway.logged("swapped backend-adapter").await;
    let small = json!({ "mib": 1 });
    let reply = ada.call("bad_huge_result", small).await.json();
    assert_eq!(reply["error"]["data"]["reason"], "plugin_bad_answer");
    stand.gateway.logged("larger than 1024").await;
}

#[tokio::test]
async fn each_plugin_is_told_what_it_used() {
    let stand = Stand::with("").await;
    let ada = stand.client("ada");
    for _ in 0..3 {
        ada.call("docs_act", json!({})).await.tool_text();
    }
    assert_eq!(reason(&ada, "bad_trap").await, "plugin_trap");
    let metrics = stand.metrics().await;
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|rest| rest.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    };
    // Three calls, after one discovery of four lists at most.
    let calls = value("cortex_plugin_calls_total{plugin=\"backend-http\"}");
    assert_eq!(calls, 4.0);
    let exchanges = value("cortex_plugin_exchanges_total{plugin=\"backend-http\"}");
    assert_eq!(exchanges, 6.0);
    assert!(value("cortex_plugin_received_bytes_total{plugin=\"backend-http\"}") > 18.0);
    assert!(value("cortex_plugin_busy_seconds_total{plugin=\"backend-http\"}") > 0.0);
    let faults = |reason: &str| {
        value(&format!(
            "cortex_plugin_faults_total{{plugin=\"mischief\",reason=\"{reason}\"}}"
        ))
    };
    assert_eq!((faults("plugin_trap"), faults("plugin_time")), (1.0, 0.0));
    assert_eq!(value("cortex_plugin_resting{plugin=\"mischief\"}"), 0.0);

    let output = stand.gateway.operate(&["plugin", "top"]).await;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for plugin in ["backend-http", "mischief", "policy-scopes", "audit-stdout"] {
        assert!(table.contains(plugin), "{table}");
    }
}

#[tokio::test]
async fn who_does_nothing_but_fail_is_left_alone_and_comes_back() {
    let mut stand = Stand::with("").await;
    let (ada, bob) = (stand.client("ada"), stand.client("bob"));
    // One caller alone brings it about for nobody.
    for _ in 0..12 {
        assert_eq!(reason(&ada, "bad_trap").await, "plugin_trap");
    }
    assert_eq!(stand.told().await["resting"], false);
    assert_eq!(reason(&bob, "bad_trap").await, "plugin_trap");
    let line = stand.gateway.logged("it is left alone for").await;
    assert!(line.contains(r#""plugin.name":"mischief""#), "{line}");

    // Nobody waits for it meanwhile, and everybody else is served.
    assert_eq!(reason(&ada, "bad_ok").await, "plugin_resting");
    stand
        .gateway
        .logged("failed too often and is left alone for")
        .await;
    assert_eq!(stand.told().await["resting"], true);
    assert!(
        stand
            .metrics()
            .await
            .contains("cortex_plugin_resting{plugin=\"mischief\"} 1")
    );
    let (text, _) = ada.call("docs_act", json!({})).await.tool_text();
    assert_eq!(text, "fine");

    for _ in 0..300 {
        if reason(&bob, "bad_ok").await == "none" {
            stand.gateway.logged("the plugin works again").await;
            assert_eq!(stand.told().await["resting"], false);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came back: {}", stand.gateway.log());
}
