//! Hostile requests, one table: each with its exact answer. Hostile tokens are in `oauth.rs`, and
//! bytes that are no HTTP in `limits.rs`.

mod attempt;
mod bodies;
mod case;
mod messages;
mod places;

use cortex_tests::client::DEV_TOKEN as DEV_SECRET;
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{FakeBackend, Gateway, GatewayBuilder, Plan};
use serde_json::{Value, json};

use attempt::Attempt;

/// Three tools: one to call, one that the caller may not call, one with a mirrored argument.
async fn backend() -> FakeBackend {
    let mut danger = FakeBackend::tool("danger");
    danger["scope"] = json!("mcp:danger:use");
    let mut run = FakeBackend::tool("run");
    run["inputSchema"] = json!({ "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
    }});
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo"), danger, run])).await;
    for tool in ["echo", "danger", "run"] {
        backend.plan(tool, Plan::Json(200, json!("done")));
    }
    backend
}

async fn start(issuer: &FakeIssuer, backend: &FakeBackend) -> Gateway {
    let gateway = GatewayBuilder::new()
        .issuer(issuer)
        .backend("docs", &backend.url())
        .env("CORTEX_ALLOWED_ORIGINS", "https://app.example.com")
        .env("CORTEX_MAX_BODY_BYTES", "65536")
        // Most of what follows comes from one address without a good token.
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .env("RUST_LOG", "debug")
        .start()
        .await;
    gateway.ready().await;
    gateway
}

fn token(issuer: &FakeIssuer, key: &Key, subject: &str) -> String {
    let mut claims = issuer.claims();
    claims["sub"] = json!(subject);
    claims["scope"] = json!("mcp:test:use");
    key.token(&claims)
}

/// A session of somebody else.
async fn session(gateway: &Gateway, token: &str) -> String {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let client = gateway.client.with_token(token);
    let reply = client.legacy("initialize", params).await;
    reply.header("mcp-session-id").to_owned()
}

#[tokio::test]
async fn hostile_requests_get_their_exact_answers_and_nothing_else() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = backend().await;
    let mut gateway = start(&issuer, &backend).await;
    let (ann, bob) = (token(&issuer, &key, "ann"), token(&issuer, &key, "bob"));
    let bobs = session(&gateway, &bob).await;
    assert!(bobs.len() > 1, "a session");
    let good = Attempt::legacy(&ann);

    let mut cases = places::paths(&good);
    cases.extend(places::methods(&good));
    cases.extend(places::names(&good));
    cases.extend(places::callers(&good, &ann, &bobs));
    cases.extend(bodies::bodies(&good));
    cases.extend(bodies::not_json(&good));
    cases.extend(bodies::not_a_request(&good));
    cases.extend(messages::params(&good));
    cases.extend(messages::mirrors(&good));
    cases.extend(messages::eras(&good));
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in &cases {
        case.check(&case.attempt.send(gateway.address).await);
    }

    // After all that: good requests are served, bob has his session, nobody was anybody else.
    let client = gateway.client.with_token(&ann);
    let reply = client.call("docs_echo", json!({})).await;
    assert_eq!(reply.tool_text().0, "done");
    let header = [("mcp-session-id", bobs.as_str())];
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let reply = gateway.client.with_token(&bob).post(ping, &header).await;
    assert_eq!(reply.result(), json!({}));
    assert!(backend.seen("danger").is_empty(), "nobody got at it");
    for seen in [backend.seen("echo"), backend.seen("run")].concat() {
        assert_eq!(seen.headers["x-cortex-user-id"], "ann", "{seen:?}");
        assert_eq!(seen.headers["x-cortex-scopes"], "mcp:test:use", "{seen:?}");
    }
    silent(&mut gateway, &[&ann, &bob, &bobs, DEV_SECRET]).await;
}

/// Neither log nor audit holds any of what was secret, in whole or in its telling part.
async fn silent(gateway: &mut Gateway, secrets: &[&str]) {
    let records: Vec<Value> = gateway.audit(1).await;
    assert!(!records.is_empty());
    for (place, text) in [("log", gateway.log()), ("audit", gateway.output())] {
        assert!(!text.is_empty(), "{place}");
        for secret in secrets {
            let end = &secret[secret.len() - secret.len().min(24)..];
            assert!(!text.contains(end), "the {place} holds a secret: {end}");
        }
        for lie in ["Set-Cookie", "X-Evil"] {
            let line = text.lines().find(|line| line.contains(lie));
            assert!(line.is_none() || place == "audit", "the {place}: {line:?}");
        }
    }
}
