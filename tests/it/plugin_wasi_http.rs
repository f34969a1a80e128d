//! `wasi:http`: the clients that languages bring along are guarded like the import `http`.

use cortex_tests::backend::Plan;
use cortex_tests::client::DEV_TOKEN;
use cortex_tests::{FakeBackend, FakeOrigin, Gateway, GatewayBuilder};
use serde_json::{Value, json};

const KEY: &str = "k3y-of-a-friend";

/// A gateway whose adapter makes requests by `wasi:http`, with its backend.
async fn start(toml: &str) -> (FakeBackend, Gateway) {
    let backend = FakeBackend::start(json!([])).await;
    backend.plan("", Plan::Json(200, json!({ "fine": true })));
    let gateway = GatewayBuilder::new()
        .plugin("mischief")
        .plugin_file("mischief.toml", toml.as_bytes())
        .backend("bad", &backend.url())
        .env("CORTEX_BACKEND_BAD_ADAPTER", "mischief")
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:mischief:use")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .env("CORTEX_BACKEND_TIMEOUT_MS", "1500")
        .env("FRIENDS_KEY", KEY)
        .start()
        .await;
    gateway.ready().await;
    (backend, gateway)
}

async fn told(gateway: &Gateway, arguments: Value) -> String {
    let reply = gateway.client.call("bad_wasi_http", arguments).await;
    reply.tool_text().0
}

fn headers(fields: &[(&str, &str)]) -> Value {
    json!({ "headers": fields })
}

#[tokio::test]
async fn credentials_are_named_and_attached_where_no_plugin_sees_them() {
    let friend = FakeOrigin::start("/").await;
    let toml = format!(
        "[grants]\nhttp = [\"{0}\"]\n[grants.secrets.key]\norigin = \"{0}\"\nenv = \"FRIENDS_KEY\"\nheader = \"x-key\"\n",
        friend.url()
    );
    let (backend, mut gateway) = start(&toml).await;
    assert_eq!(told(&gateway, json!({})).await, "200: 13 bytes");
    let caller = headers(&[("cortex-credential", "caller"), ("accept", "text/plain")]);
    assert_eq!(told(&gateway, caller).await, "200: 13 bytes");
    let seen = backend.seen("");
    assert_eq!(seen.len(), 2);
    assert!(!seen[0].headers.contains_key("authorization"));
    let token = format!("Bearer {DEV_TOKEN}");
    assert_eq!(seen[1].headers["authorization"], token.as_str());
    assert_eq!(seen[1].headers["accept"], "text/plain");
    assert!(!seen[1].headers.contains_key("cortex-credential"));

    let authority = friend.url().replace("http://", "");
    let with = |credential: &str| {
        let fields = [["cortex-credential", credential]];
        json!({ "scheme": "http", "authority": authority, "path": "/", "headers": fields })
    };
    assert_eq!(told(&gateway, with("secret key")).await, "200: 2 bytes");
    for refused in [
        "caller",
        "technical",
        "secret other",
        "linked-account bad",
        "bearer x",
    ] {
        let text = told(&gateway, with(refused)).await;
        assert!(text.contains("HttpRequestDenied"), "{refused}: {text}");
    }
    gateway.logged("wasi:http: the credential is refused").await;
    let heads = friend.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].contains(&format!("x-key: {KEY}\r\n")), "{heads:?}");
    assert!(!heads[0].contains("authorization"), "{heads:?}");
}

#[tokio::test]
async fn nothing_else_is_reached_and_nothing_smuggled() {
    let stranger = FakeOrigin::start("/").await;
    let (backend, mut gateway) = start("").await;
    let authority = stranger.url().replace("http://", "");
    let home = backend.url().replace("http://", "");
    for (scheme, authority) in [
        ("http", authority.as_str()),
        ("https", home.as_str()),
        ("http", "169.254.169.254"),
        ("http", "[::1]:1"),
    ] {
        let text = told(
            &gateway,
            json!({ "scheme": scheme, "authority": authority, "path": "/" }),
        );
        let text = text.await;
        assert!(text.contains("HttpRequestDenied"), "{authority}: {text}");
    }
    gateway
        .logged("wasi:http: `http://169.254.169.254` is not granted")
        .await;
    for (scheme, authority, path) in [
        ("ftp", home.as_str(), "/"),
        ("http", "user:password@127.0.0.1:9", "/"),
        ("http", home.as_str(), "no slash"),
    ] {
        let asked = json!({ "scheme": scheme, "authority": authority, "path": path });
        let text = told(&gateway, asked).await;
        assert!(
            !text.starts_with("200"),
            "{scheme} {authority} {path}: {text}"
        );
    }
    for (name, value) in [
        ("authorization", "Bearer stolen"),
        ("cookie", "a=b"),
        ("proxy-authorization", "x"),
        ("host", "elsewhere.test"),
        ("transfer-encoding", "chunked"),
        ("x-a", "b\r\nAuthorization: Bearer stolen"),
        ("x-nul", "a\0b"),
    ] {
        let text = told(&gateway, headers(&[(name, value)])).await;
        assert!(!text.starts_with("200"), "{name}: {text}");
    }
    assert!(backend.seen("").is_empty());
    assert!(stranger.heads().is_empty());
    // A redirect is not followed.
    backend.plan("", Plan::Redirect(stranger.url()));
    assert_eq!(told(&gateway, json!({})).await, "307: 2 bytes");
    assert!(stranger.heads().is_empty());
}

#[tokio::test]
async fn requests_bodies_and_handles_are_bounded() {
    let (backend, gateway) = start("[limits]\nexchanges = 10\nresult-bytes = 100000\n").await;
    // Many requests.
    let text = told(&gateway, json!({ "times": 1_000 })).await;
    assert!(
        text.starts_with("200: 13 bytes\n") && text.contains("ConnectionLimitReached"),
        "{text}"
    );
    assert_eq!(backend.seen("").len(), 10);
    // A body that is too large, on its way out and on its way in.
    let text = told(&gateway, json!({ "send": 200_000 })).await;
    assert!(text.contains("HttpRequestBodySize"), "{text}");
    assert_eq!(backend.seen("").len(), 10);
    let text = told(&gateway, json!({ "send": 90_000 })).await;
    assert_eq!(text, "200: 13 bytes");
    assert_eq!(backend.seen("")[10].body.len(), 90_000 / 4096 * 4096);
    backend.plan(
        "",
        Plan::Endless {
            bytes: u64::MAX,
            announced: false,
        },
    );
    let text = told(&gateway, json!({})).await;
    assert_eq!(text, "200: 65536 bytes, then None");
    // One that never comes.
    backend.plan("", Plan::Hang);
    let text = told(&gateway, json!({})).await;
    assert!(text.contains("HttpResponseTimeout"), "{text}");
    backend.plan("", Plan::BreakOff);
    let text = told(&gateway, json!({})).await;
    assert!(
        text.contains("then") || text.contains("Unavailable"),
        "{text}"
    );
    // What is open ends with the call. One that has not left yet when its call ends never does.
    let before = backend.abandoned();
    backend.plan("", Plan::Hang);
    for _ in 0..100 {
        assert_eq!(told(&gateway, json!({ "leave": true })).await, "left");
        if backend.abandoned() > before {
            break;
        }
    }
    assert!(backend.abandoned() > before, "nothing was called off");
    // Memory of the host.
    let hoard = json!({ "hoard": 100_000 });
    let reply = gateway.client.call("bad_wasi_http", hoard).await.json();
    assert_eq!(reply["error"]["data"]["reason"], "plugin_trap", "{reply}");
    assert!(gateway.resident_kib() < 400 * 1024);
    backend.plan("", Plan::Json(200, json!({ "fine": true })));
    assert_eq!(told(&gateway, json!({})).await, "200: 13 bytes");
}
