//! What a plugin wants, it gets when an operator grants it, and only that; a version that wants more waits
//! until an operator has said something to it.

use std::path::PathBuf;

use cortex_tests::{FakeBackend, FakeOrigin, Gateway, GatewayBuilder, patched};
use http::Method;
use serde_json::{Value, json};

const ADMIN: &str = "admin-secret-of-the-tests";
const KEY: &str = "k3y-of-a-friend";

/// A gateway whose backend `bad` has an adapter that does what it is told, with this `.toml`.
fn builder(backend: &FakeBackend, toml: &str) -> GatewayBuilder {
    GatewayBuilder::new()
        .plugin("mischief")
        .plugin_file("mischief.toml", toml.as_bytes())
        .backend("bad", &backend.url())
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use mcp:mischief:use")
        .env("CORTEX_ADMIN_SECRET", ADMIN)
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .env("FRIENDS_KEY", KEY)
}

async fn start(toml: &str) -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([])).await;
    let gateway = builder(&backend, toml).start().await;
    gateway.ready().await;
    (backend, gateway)
}

async fn told(gateway: &Gateway, tool: &str, arguments: Value) -> String {
    let reply = gateway.client.call(tool, arguments).await;
    reply.tool_text().0
}

fn place(gateway: &Gateway, file: &str) -> PathBuf {
    gateway.dir().join("plugins").join(file)
}

#[tokio::test]
async fn requests_and_secrets_go_where_they_were_granted_and_nowhere_else() {
    let (friend, stranger) = (FakeOrigin::start("/").await, FakeOrigin::start("/").await);
    let grants = |friend: &FakeOrigin| {
        format!(
            "[grants]\nhttp = [\"{0}\"]\n[grants.secrets.key]\norigin = \"{0}\"\nenv = \"FRIENDS_KEY\"\nheader = \"x-key\"\n",
            friend.url()
        )
    };
    let (backend, gateway) = start("").await;
    let fetch = async |url: String, secret: Option<&str>| {
        told(
            &gateway,
            "bad_fetch",
            json!({ "url": url, "secret": secret }),
        )
        .await
    };
    let text = fetch(friend.url(), None).await;
    assert!(text.starts_with("HttpError::OriginNotGranted"), "{text}");

    std::fs::write(place(&gateway, "mischief.toml"), grants(&friend)).expect("written");
    let mut text = String::new();
    for _ in 0..200 {
        text = fetch(friend.url(), Some("key")).await;
        if text == "200: {}" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(text, "200: {}");
    let heads = friend.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].contains(&format!("x-key: {KEY}\r\n")), "{heads:?}");
    assert!(!heads[0].contains("authorization"), "{heads:?}");
    for (url, secret, refused) in [
        (stranger.url(), None, "HttpError::OriginNotGranted"),
        (friend.url(), Some("other"), "HttpError::CredentialRefused"),
        (backend.url(), Some("key"), "HttpError::CredentialRefused"),
        (format!("{}@{}", friend.url(), "x"), None, "HttpError::"),
    ] {
        let text = fetch(url, secret).await;
        assert!(text.starts_with(refused), "{text}");
    }
    assert!(stranger.heads().is_empty());
    let list = gateway.operate(&["plugin", "list", "--json"]).await;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(
        list.contains("secret key: sent to") && list.contains("\"kv 4\""),
        "{list}"
    );
    for place in [list, gateway.log(), gateway.output()] {
        assert!(!place.contains(KEY), "{place}");
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_with_its_key() {
    let toml = "[grants.secrets.key]\norigin = \"http://friend.test\"\nenv = \"NOBODYS_KEY\"\n";
    let backend = FakeBackend::start(json!([])).await;
    let mut gateway = builder(&backend, toml).start().await;
    let line = gateway.logged("plugin refused").await;
    for part in [
        "`mischief.toml`: `grants.secrets.key`",
        "the variable NOBODYS_KEY, which is not set",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

#[tokio::test]
async fn what_a_plugin_keeps_is_its_own_and_survives() {
    let (backend, gateway) = start("[grants]\nkv-kib = 4\n").await;
    let another = patched("mischief", "mischief", "mischieg");
    let kept = told(
        &gateway,
        "bad_keep",
        json!({ "key": "a", "value": "12345" }),
    )
    .await;
    assert_eq!(kept, r#"Ok(()) Ok(Some(5)) Ok(["a"])"#);
    let kept = told(&gateway, "bad_keep", json!({ "key": "b", "fill": 4096 })).await;
    assert!(
        kept.starts_with("Err(KvError::Full(4096)) Ok(None)"),
        "{kept}"
    );
    let builder = gateway.stop().await;
    let gateway = builder
        .plugin_file("other.wasm", &another)
        .plugin_file("other.toml", b"[grants]\nkv-kib = 4\n")
        .backend("other", &backend.url())
        .env("CORTEX_BACKEND_OTHER_ADAPTER", "mischieg")
        .env(
            "CORTEX_DEV_BYPASS_SCOPES",
            "mcp:mischief:use mcp:mischieg:use",
        )
        .start()
        .await;
    gateway.ready().await;
    let kept = told(&gateway, "bad_keep", json!({ "key": "c", "value": "1" })).await;
    assert_eq!(kept, r#"Ok(()) Ok(Some(1)) Ok(["a", "c"])"#);
    let kept = told(&gateway, "other_keep", json!({ "key": "a", "value": "1" })).await;
    assert_eq!(kept, r#"Ok(()) Ok(Some(1)) Ok(["a"])"#);
    let pried = told(&gateway, "other_pry", json!({})).await;
    assert_eq!(pried, "Ok(None)\nOk(None)\nOk([])\nOk([\"a\"])");
}

#[tokio::test]
async fn what_a_plugin_counts_is_told_and_bounded() {
    let (_backend, mut gateway) = start("").await;
    told(&gateway, "bad_count", json!({ "times": 3 })).await;
    told(&gateway, "bad_count", json!({ "times": 100 })).await;
    gateway.logged("a figure of the plugin is left out").await;
    let secret = [("x-cortex-admin-secret", ADMIN)];
    let reply = gateway
        .client
        .send(Method::GET, "/metrics", &secret, "")
        .await;
    let metrics = reply.expect("a response").text();
    let own: Vec<&str> = (metrics.lines())
        .filter(|line| {
            line.starts_with("cortex_plugin_counter_total{")
                || line.starts_with("cortex_plugin_gauge{")
        })
        .collect();
    assert_eq!(own.len(), 32, "{own:?}");
    for sample in [
        "cortex_plugin_counter_total{plugin=\"mischief\",name=\"deed_0\"} 2",
        "cortex_plugin_counter_total{plugin=\"mischief\",name=\"deed_9\"} 1",
        "cortex_plugin_gauge{plugin=\"mischief\",name=\"mood\"} 0.5",
    ] {
        assert!(own.contains(&sample), "{sample}: {own:?}");
    }
    assert!(!metrics.contains("Evil"), "{metrics}");
}

#[tokio::test]
async fn a_version_that_wants_more_waits_for_the_operator() {
    let (_backend, mut gateway) = start("").await;
    let file = place(&gateway, "mischief.wasm");
    let before = place(&gateway, "before");
    std::fs::copy(&file, &before).expect("copied");
    let next = |letter: &str| {
        patched(
            "mischief",
            "friend-a.test",
            &format!("friend-{letter}.test"),
        )
    };
    std::fs::write(&file, next("b")).expect("written");
    let line = gateway
        .logged("it wants more than the version before")
        .await;
    for part in [
        "`http http://friend-b.test`",
        "plugin grant mischief.wasm",
        "mischief 0.1.0 runs on",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(told(&gateway, "bad_ok", json!({})).await, "fine");

    let (old, new) = (before.display().to_string(), file.display().to_string());
    let differ = gateway.operate(&["plugin", "diff", &old, &new]).await;
    let text = String::from_utf8_lossy(&differ.stdout).into_owned();
    assert_eq!(differ.status.code(), Some(1), "{text}");
    for part in [
        "+ wants http http://friend-b.test: to tell a friend",
        "- wants http http://friend-a.test",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let asked = gateway.operate(&["plugin", "grant", &new]).await;
    assert!(!asked.status.success(), "nobody said yes");
    let granted = gateway.operate(&["plugin", "grant", &new, "--yes"]).await;
    let text = String::from_utf8_lossy(&granted.stdout).into_owned();
    assert!(granted.status.success(), "{granted:?}");
    for part in [
        "requests to http://friend-b.test",
        "4 KiB of storage",
        "still wanted: `secret key`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    gateway.logged("swapped backend-adapter").await;
    let toml = std::fs::read_to_string(place(&gateway, "mischief.toml")).expect("read");
    assert!(toml.contains("http = [\"http://friend-b.test\"]"), "{toml}");

    // A restart in between is no way in, and to be told no is an answer, too.
    let directory = place(&gateway, "");
    let builder = gateway.stop().await;
    std::fs::write(directory.join("mischief.wasm"), next("c")).expect("written");
    let mut gateway = builder.start().await;
    let line = gateway
        .logged("it wants more than the version before")
        .await;
    assert!(
        line.contains("`http http://friend-c.test`") && !line.contains("runs on"),
        "{line}"
    );
    let without = [
        "plugin",
        "grant",
        &new,
        "--yes",
        "--without",
        "http http://friend-c.test",
    ];
    let granted = gateway.operate(&without).await;
    assert!(granted.status.success(), "{granted:?}");
    gateway.logged("loaded backend-adapter").await;
    gateway.ready().await;
    assert_eq!(told(&gateway, "bad_ok", json!({})).await, "fine");
    let fetched = told(
        &gateway,
        "bad_fetch",
        json!({ "url": "http://friend-c.test" }),
    )
    .await;
    assert!(
        fetched.starts_with("HttpError::OriginNotGranted"),
        "{fetched}"
    );
}

#[tokio::test]
async fn a_policy_takes_out_of_arguments_what_should_not_travel() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", cortex_tests::Plan::Json(200, json!("fine")));
    let settings = "[settings]\nmembers = [\"password\"]\ntexts = [\"card\"]\n";
    let gateway = GatewayBuilder::new()
        .plugin("policy-redact")
        .plugin_file("policy-redact.toml", settings.as_bytes())
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let arguments = json!({ "password": "hunter2", "note": "card 4111 1111 1111 1111", "n": 1 });
    assert_eq!(told(&gateway, "docs_act", arguments).await, "fine");
    let seen = backend.seen("act");
    let expected = json!({ "password": "[redacted]", "note": "card [redacted]", "n": 1 });
    let body: Value = serde_json::from_str(&seen[0].body).expect("JSON");
    assert_eq!(body["params"], expected, "{body}");
}

#[tokio::test]
async fn records_reach_a_webhook_with_its_secret() {
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    backend.plan("act", cortex_tests::Plan::Json(200, json!("fine")));
    let collector = FakeOrigin::start("/").await;
    let toml = format!(
        "[settings]\nurl = \"{0}/records\"\nsecret = true\n[grants]\nhttp = [\"{0}\"]\n[grants.secrets.webhook]\norigin = \"{0}\"\nenv = \"FRIENDS_KEY\"\n",
        collector.url()
    );
    let gateway = GatewayBuilder::new()
        .plugin("audit-webhook")
        .plugin_file("audit-webhook.toml", toml.as_bytes())
        .backend("docs", &backend.url())
        .env("FRIENDS_KEY", KEY)
        .start()
        .await;
    gateway.ready().await;
    assert_eq!(told(&gateway, "docs_act", json!({})).await, "fine");
    cortex_tests::gateway::eventually(
        || !collector.heads().is_empty(),
        || format!("no record came: {}", gateway.log()),
    )
    .await;
    let head = &collector.heads()[0];
    assert!(head.starts_with("post /records http/1.1"), "{head}");
    assert!(
        head.contains(&format!("authorization: bearer {KEY}")),
        "{head}"
    );
}
