//! The plugin directory of a running gateway: files are dropped, replaced, broken, configured and taken
//! away, and callers notice nothing but what they were meant to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cortex_tests::gateway::eventually;
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan, Stream, component};
use http::Method;
use serde_json::{Value, json};

/// Other bytes of the same behaviour: a component with one more custom section, which nobody reads
/// (WebAssembly core specification, "Custom Section").
fn variant(name: &str, number: u8) -> Vec<u8> {
    let mut bytes = std::fs::read(component(name)).expect("a component");
    bytes.extend([0, 7, 5, b'b', b'u', b'i', b'l', b'd', number]);
    bytes
}

/// The same with two exports under each other's names, which are as long: all is there, and of other types.
fn swapped(component: &[u8], one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = component.to_vec();
    for at in 0..=bytes.len() - one.len() {
        let place = &mut bytes[at..at + one.len()];
        if place == one {
            place.copy_from_slice(other);
        } else if place == other {
            place.copy_from_slice(one);
        }
    }
    bytes
}

fn place(gateway: &Gateway, file: &str) -> PathBuf {
    gateway.dir().join("plugins").join(file)
}

/// Puts a file there at once, as careful programs do.
fn put(gateway: &Gateway, file: &str, bytes: &[u8]) {
    let aside = place(gateway, "aside");
    std::fs::write(&aside, bytes).expect("written");
    std::fs::rename(aside, place(gateway, file)).expect("renamed");
}

/// What an operator is told of a file.
async fn told(gateway: &Gateway, file: &str) -> Value {
    let output = gateway.operate(&["plugin", "list", "--json"]).await;
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let plugins = answer["plugins"].as_array().expect("a list");
    let of = plugins.iter().find(|plugin| plugin["file"] == file);
    of.cloned().unwrap_or_default()
}

/// Waits until an operator is told what a test needs.
async fn until(gateway: &Gateway, file: &str, enough: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let told = told(gateway, file).await;
        if enough(&told) {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never so: {}\n{}", told(gateway, file).await, gateway.log());
}

fn digest(told: &Value) -> String {
    let digest = told["running"]["digest"].as_str();
    digest.unwrap_or_default().to_owned()
}

async fn start() -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let gateway = GatewayBuilder::new()
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

#[tokio::test]
async fn plugins_of_all_kinds_are_swapped_under_load_and_no_call_fails() {
    let (_backend, mut gateway) = start().await;
    let going = Arc::new(AtomicBool::new(true));
    let done = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, going, done) = (
                gateway.client.clone(),
                Arc::clone(&going),
                Arc::clone(&done),
            );
            tokio::spawn(async move {
                while going.load(Ordering::Relaxed) {
                    let called = client.call("docs_act", json!({})).await;
                    assert_eq!(called.tool_text(), ("fine".to_owned(), false));
                    let listed = client.legacy("tools/list", json!({})).await;
                    assert!(listed.tool_names().contains(&"docs_act".to_owned()));
                    done.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..3 {
        for name in ["backend-http", "policy-scopes", "audit-stdout"] {
            let file = format!("{name}.wasm");
            let before = digest(&told(&gateway, &file).await);
            let (bytes, calls) = (variant(name, round), done.load(Ordering::Relaxed));
            if round == 1 {
                // As `cp` does it, slowly: what is half there is no plugin.
                let half = bytes.len() / 2;
                std::fs::write(place(&gateway, &file), &bytes[..half]).expect("written");
                until(&gateway, &file, |told| told["refused"].is_string()).await;
                std::fs::write(place(&gateway, &file), &bytes).expect("written");
            } else {
                put(&gateway, &file, &bytes);
            }
            let changed = |told: &Value| digest(told) != before && told["refused"].is_null();
            until(&gateway, &file, changed).await;
            eventually(
                || done.load(Ordering::Relaxed) > calls + 8,
                || "calls do not go on".to_owned(),
            )
            .await;
        }
    }
    going.store(false, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no call failed");
    }
    let requests = done.load(Ordering::Relaxed);
    let records = gateway
        .audited(|records| of(records, "tools/").len() >= requests)
        .await;
    assert_eq!(of(&records, "tools/").len(), requests);
    // Nothing of what was replaced is left behind.
    let drained = || gateway.log().matches("drained after").count();
    eventually(|| drained() == 9, || gateway.log()).await;
    let log = gateway.log();
    assert_eq!(log.matches("swapped ").count(), 9, "{log}");
    assert_eq!(log.matches("plugin refused").count(), 3, "{log}");
}

/// Records of the methods that begin like this.
fn of<'a>(records: &'a [Value], method: &str) -> Vec<&'a Value> {
    let begins = |record: &&Value| {
        let of = record["method"].as_str();
        of.is_some_and(|of| of.starts_with(method))
    };
    records.iter().filter(begins).collect()
}

#[tokio::test]
async fn a_call_in_flight_ends_on_the_plugin_that_it_began_with() {
    let (backend, mut gateway) = start().await;
    backend.plan("act", Plan::After(Duration::from_secs(3), json!("late")));
    let client = gateway.client.clone();
    let call = tokio::spawn(async move { client.call("docs_act", json!({})).await });
    eventually(|| !backend.seen("act").is_empty(), || gateway.log()).await;
    let before = digest(&told(&gateway, "backend-http.wasm").await);
    put(&gateway, "backend-http.wasm", &variant("backend-http", 1));
    let changed = |told: &Value| digest(told) != before;
    until(&gateway, "backend-http.wasm", changed).await;
    assert!(!call.is_finished() && !gateway.log().contains("drained after"));

    // Others are served by the new one meanwhile.
    backend.plan("act", Plan::Json(200, json!("soon")));
    let client = &gateway.client;
    let (text, _) = client.call("docs_act", json!({})).await.tool_text();
    assert_eq!(text, "soon");
    let (text, failed) = call.await.expect("an answer").tool_text();
    assert_eq!((text.as_str(), failed), ("late", false));
    gateway.logged("drained after").await;
}

#[tokio::test]
async fn a_bad_file_never_replaces_a_good_one() {
    let (_backend, mut gateway) = start().await;
    let file = "backend-http.wasm";
    let good = std::fs::read(place(&gateway, file)).expect("a component");
    let before = digest(&told(&gateway, file).await);
    let policy = std::fs::read(component("policy-scopes")).expect("a component");
    for (bad, why) in [
        (&b"not WebAssembly"[..], "not WebAssembly"),
        (&good[..good.len() - 100], "does not compile"),
        (&policy, "is taken by `policy-scopes.wasm`"),
        (&swapped(&good, b"discover", b"complete"), "it does not fit"),
        (&[][..], "not WebAssembly"),
    ] {
        put(&gateway, file, bad);
        let now = until(&gateway, file, |told| {
            told["refused"]
                .as_str()
                .is_some_and(|text| text.contains(why))
        })
        .await;
        assert_eq!(digest(&now), before);
        let line = gateway.logged(why).await;
        assert!(line.contains("backend-http 0.1.0 runs on"), "{line}");
        let (text, _) = gateway.client.call("docs_act", json!({})).await.tool_text();
        assert_eq!(text, "fine");
    }
    let output = gateway.operate(&["plugin", "list"]).await;
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        words.contains("backend-http.wasm: backend-http 0.1.0, backend-adapter, since"),
        "{words}"
    );
    assert!(
        words.contains("\n  refused: it is not WebAssembly"),
        "{words}"
    );

    put(&gateway, file, &good);
    until(&gateway, file, |told| told["refused"].is_null()).await;
    gateway.logged("again what runs").await;
    assert_eq!(gateway.log().matches("swapped ").count(), 0);
}

#[tokio::test]
async fn what_is_dropped_is_served_and_what_is_taken_away_is_gone() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let mut gateway = GatewayBuilder::bare()
        .plugin("policy-scopes")
        .plugin("audit-stdout")
        // Sooner than the next refresh.
        .env("CORTEX_REFRESH_SECONDS", "600")
        .env("CORTEX_ADMIN_SECRET", "s3cret-s3cret-s3cret-s3cret-s3cr")
        .backend("docs", &backend.url())
        .start()
        .await;
    let client = gateway.client.clone();
    let session = client.initialize("2025-11-25").await;
    let mut stream = Stream::legacy(&client, &[("mcp-session-id", session.as_str())]).await;
    stream.frame().await.expect("an opening");
    assert!(!listed(&gateway).await);

    put(&gateway, "backend-http.wasm", &variant("backend-http", 0));
    let message = stream.message().await.expect("not the end").json();
    assert_eq!(message["method"], "notifications/tools/list_changed");
    assert!(listed(&gateway).await);
    gateway.ready().await;
    let (text, _) = client.call("docs_act", json!({})).await.tool_text();
    assert_eq!(text, "fine");

    std::fs::remove_file(place(&gateway, "backend-http.wasm")).expect("removed");
    let message = stream.message().await.expect("not the end").json();
    assert_eq!(message["method"], "notifications/tools/list_changed");
    assert!(!listed(&gateway).await);
    let (text, failed) = client.call("docs_act", json!({})).await.tool_text();
    assert!(
        failed && text.contains("no adapter `backend-http` is loaded"),
        "{text}"
    );
    gateway.logged("removed backend-adapter").await;
    gateway.logged("drained after").await;
    assert!(told(&gateway, "backend-http.wasm").await.is_null());

    // Without a policy nothing is allowed, and that is said loudly.
    std::fs::remove_file(place(&gateway, "policy-scopes.wasm")).expect("removed");
    gateway
        .logged("no scope policy is loaded: nothing is allowed")
        .await;
    put(&gateway, "policy-scopes.wasm", &variant("policy-scopes", 0));
    until(&gateway, "policy-scopes.wasm", |told| {
        told["running"].is_object()
    })
    .await;

    let secret = [("x-cortex-admin-secret", "s3cret-s3cret-s3cret-s3cret-s3cr")];
    let metrics = client.send(Method::GET, "/metrics", &secret, "").await;
    let metrics = metrics.expect("a response").text();
    for line in [
        "cortex_plugins_running{kind=\"backend-adapter\"} 0",
        "cortex_plugins_running{kind=\"scope-policy\"} 1",
        "cortex_plugins_refused 0",
        "cortex_plugin_steps_total{step=\"removed\"} 2",
        "cortex_plugin_steps_total{step=\"loaded\"} 4",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
}

async fn listed(gateway: &Gateway) -> bool {
    let listed = gateway.client.legacy("tools/list", json!({})).await;
    listed.tool_names().contains(&"docs_act".to_owned())
}

#[tokio::test]
async fn settings_take_effect_at_once_and_wrong_ones_change_nothing() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let gateway = GatewayBuilder::bare()
        .plugin("backend-http")
        .plugin("audit-stdout")
        .plugin("policy-tiers")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let client = &gateway.client;
    assert!(listed(&gateway).await);
    let session = client.initialize("2025-11-25").await;
    let mut stream = Stream::legacy(client, &[("mcp-session-id", session.as_str())]).await;
    stream.frame().await.expect("an opening");

    let settings = b"[[settings.deny]]\nname = \"act\"\nreason = \"not today\"\n";
    put(&gateway, "policy-tiers.toml", settings);
    // Those who listen learn it, though no backend has changed.
    let message = stream.message().await.expect("not the end").json();
    assert_eq!(message["method"], "notifications/tools/list_changed");
    assert!(!listed(&gateway).await);
    let refused = client.call("docs_act", json!({})).await;
    assert!(refused.text().contains("not today"), "{}", refused.text());

    put(
        &gateway,
        "policy-tiers.toml",
        b"[settings]\nwildcards = 7\n",
    );
    let now = until(&gateway, "policy-tiers.wasm", |told| {
        told["refused"].is_string()
    })
    .await;
    let why = now["refused"].as_str().unwrap_or_default();
    assert!(why.contains("`settings.wildcards`"), "{why}");
    assert!(!listed(&gateway).await, "the last good ones are in force");

    std::fs::remove_file(place(&gateway, "policy-tiers.toml")).expect("removed");
    until(&gateway, "policy-tiers.wasm", |told| {
        told["refused"].is_null()
    })
    .await;
    assert!(listed(&gateway).await);
}
