//! Components that try whatever a component can try: each is contained, and its neighbour notices nothing.
//! Loops, memory, stack and results are in `plugins.rs`.

use std::time::Duration;

use cortex_tests::{FakeBackend, FakeOrigin, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};

/// A good backend `docs`, and one at `origin` whose adapter does what it is told, with this `.toml`.
async fn start(origin: &FakeOrigin, toml: &str) -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let gateway = GatewayBuilder::new()
        .plugin("mischief")
        .plugin_file("mischief.toml", toml.as_bytes())
        .backend("docs", &backend.url())
        .backend("bad", &origin.url())
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use mcp:mischief:use")
        .env("CORTEX_BACKEND_BAD_TIMEOUT_MS", "1000")
        .env("CORTEX_TICKET_BACKENDS", "bad")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .start()
        .await;
    (backend, gateway)
}

async fn told(gateway: &Gateway, tool: &str) -> String {
    let reply = gateway.client.call(tool, json!({})).await;
    reply.tool_text().0
}

#[tokio::test]
async fn requests_are_counted_framed_and_stay_at_home() {
    let elsewhere = FakeOrigin::start("/").await;
    let origin = FakeOrigin::start(&elsewhere.url()).await;
    let (_backend, gateway) = start(&origin, "[limits]\nexchanges = 20\n").await;
    gateway.ready().await;

    let text = told(&gateway, "bad_many_calls").await;
    assert_eq!(
        text,
        "20 done, then HttpError::LimitExceeded(\"no more http exchanges in this call\")"
    );
    assert_eq!(origin.heads().len(), 20);

    let text = told(&gateway, "bad_inject").await;
    assert!(text.lines().all(|line| line == "refused"), "{text}");
    assert_eq!(text.lines().count(), 8);

    let text = told(&gateway, "bad_follow").await;
    assert_eq!(
        text,
        "302\nnot granted\nnot granted\nnot granted\nnot granted"
    );
    assert!(elsewhere.heads().is_empty(), "{:?}", elsewhere.heads());
    let heads = origin.heads();
    assert_eq!(heads.len(), 21, "nothing of what was injected was sent");
    for smuggled in ["stolen", "x-smuggled", "friend-a"] {
        assert!(!heads.concat().contains(smuggled), "{heads:?}");
    }
    assert_eq!(told(&gateway, "docs_act").await, "fine");
}

#[tokio::test]
async fn a_trap_in_any_export_fails_that_request_alone() {
    let origin = FakeOrigin::start("/").await;
    let (_backend, mut gateway) = start(&origin, "").await;
    gateway.ready().await;
    let toml = gateway.dir().join("plugins").join("mischief.toml");
    let prompt = json!({ "name": "bad_p", "arguments": {} });
    let completion = json!({
        "ref": { "type": "ref/prompt", "name": "bad_p" }, "argument": { "name": "a", "value": "" },
    });
    let report = json!({ "name": "report_missing_capability", "arguments": {
        "whatIWanted": "peace", "userIntent": "to rest", "severity": "inconvenient", "contextApp": "bad",
    } });
    for (export, method, params) in [
        (
            "call-tool",
            "tools/call",
            json!({ "name": "bad_ok", "arguments": {} }),
        ),
        ("get-prompt", "prompts/get", prompt),
        (
            "read-resource",
            "resources/read",
            json!({ "uri": "mischief://r" }),
        ),
        ("complete", "completion/complete", completion),
        (
            "whoami",
            "tools/call",
            json!({ "name": "whoami", "arguments": {} }),
        ),
        ("report-ticket", "tools/call", report),
        (
            "list-tickets",
            "tools/call",
            json!({ "name": "list_cortex_tickets", "arguments": { "contextApp": "bad" } }),
        ),
    ] {
        std::fs::write(&toml, format!("[settings]\ntrap = \"{export}\"\n")).expect("written");
        let failed = format!(
            "trapped: wasm trap: wasm `unreachable` instruction executed: as set (in `{export}`)"
        );
        let mut answer = Value::Null;
        for _ in 0..200 {
            answer = gateway.client.modern(method, params.clone()).await.json();
            if gateway.log().contains(&failed) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(
            gateway.log().contains(&failed),
            "{export}: {answer}\n{}",
            gateway.log()
        );
        assert_eq!(told(&gateway, "docs_act").await, "fine", "{export}");
    }
    // A backend that cannot be asked keeps what it had, and the others theirs.
    std::fs::write(&toml, "[settings]\ntrap = \"discover\"\n").expect("written");
    gateway.logged("as set (in `discover`)").await;
    assert_eq!(told(&gateway, "docs_act").await, "fine");
}

#[tokio::test]
async fn a_policy_that_traps_anywhere_lets_nobody_through_and_nobody_else_notices() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", Plan::Json(200, json!("fine")));
    let mut gateway = GatewayBuilder::new()
        .plugin_file("policy-trap.toml", b"[settings]\nat = \"filter\"\n")
        .plugin("policy-trap")
        .plugin("describe-trap")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    // In `filter`: nothing is shown, calls are decided.
    let list = gateway.client.legacy("tools/list", json!({})).await.json();
    assert_eq!(list["error"]["data"]["reason"], "plugin_trap", "{list}");
    gateway.logged("asked about a list").await;
    assert_eq!(told(&gateway, "docs_act").await, "fine");
    // In `reads` and in `describe`: it does not get in, and what was there stays.
    let refused = gateway.log();
    let mut refused = refused
        .lines()
        .filter(|line| line.contains("plugin refused"));
    assert!(
        refused.any(|line| line.contains("not so loud")),
        "{}",
        gateway.log()
    );
    let toml = gateway.dir().join("plugins").join("policy-trap.toml");
    std::fs::write(toml, "[settings]\nat = \"reads\"\n").expect("written");
    let line = gateway.logged("; policy-trap 0.1.0 runs on").await;
    assert!(
        line.contains("plugin refused") && line.contains("what it reads"),
        "{line}"
    );
    assert_eq!(told(&gateway, "docs_act").await, "fine");
}

#[tokio::test]
async fn clocks_and_timers_are_bounded() {
    let origin = FakeOrigin::start("/").await;
    let (_backend, mut gateway) = start(&origin, "[limits]\ncompute-ms = 200\n").await;
    gateway.ready().await;
    for (tool, reason) in [
        ("bad_watch_clock", "plugin_time"),
        ("bad_hoard_timers", "plugin_trap"),
    ] {
        let reply = gateway.client.call(tool, json!({})).await.json();
        assert_eq!(reply["error"]["data"]["reason"], reason, "{reply}");
    }
    gateway.logged("used up its 200 ms of computing time").await;
    assert_eq!(told(&gateway, "docs_act").await, "fine");
}

/// It sleeps for an hour in a call, and is replaced meanwhile: the new one serves at once, the call ends
/// with its time, and then the old one is gone.
#[tokio::test]
async fn who_never_returns_keeps_nobody_from_being_replaced() {
    let origin = FakeOrigin::start("/").await;
    let (_backend, mut gateway) = start(&origin, "").await;
    gateway.ready().await;
    let client = gateway.client.clone();
    let hanging = tokio::spawn(async move { client.call("bad_sleep", json!({})).await.json() });
    gateway.logged("loaded backend-adapter").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let toml = gateway.dir().join("plugins").join("mischief.toml");
    std::fs::write(toml, "[limits]\nexchanges = 3\n").expect("written");
    gateway.logged("swapped backend-adapter").await;
    assert_eq!(told(&gateway, "bad_ok").await, "fine");
    assert!(!hanging.is_finished(), "it hangs in the old one");
    let answer = hanging.await.expect("it ends");
    assert_eq!(answer["error"]["data"]["reason"], "plugin_time", "{answer}");
    gateway.logged("its memory is free").await;
}

#[tokio::test]
async fn fuel_is_counted_where_it_is_bounded() {
    let origin = FakeOrigin::start("/").await;
    let (_backend, mut gateway) = start(&origin, "[limits]\nfuel = 20000000\n").await;
    gateway.ready().await;
    assert_eq!(told(&gateway, "bad_ok").await, "fine");
    let reply = gateway.client.call("bad_spin", json!({})).await.json();
    assert_eq!(reply["error"]["data"]["reason"], "plugin_time", "{reply}");
    gateway.logged("used up its fuel of 20000000").await;
    assert_eq!(told(&gateway, "docs_act").await, "fine");
}
