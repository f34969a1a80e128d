//! Access tokens, end to end: what gets in, as whom, and what everybody else is told.

use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Alg, FakeIssuer, Key, now};
use cortex_tests::{Client, FakeBackend, Gateway, GatewayBuilder, Plan, Reply};
use http::Method;
use serde_json::{Value, json};

mod issuer;

const METADATA: &str =
    "resource_metadata=\"http://localhost:3213/.well-known/oauth-protected-resource\"";
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// A gateway that accepts the issuer's tokens only.
async fn gateway(issuer: &FakeIssuer) -> Gateway {
    GatewayBuilder::new().issuer(issuer).start().await
}

/// Pings with a token.
async fn ping(gateway: &Gateway, token: &str) -> Reply {
    gateway.client.with_token(token).post(PING, &[]).await
}

#[track_caller]
fn challenged(reply: &Reply, status: u16, challenge: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.header("www-authenticate")),
        (status, challenge),
        "{}",
        reply.text()
    );
}

#[track_caller]
fn refused(reply: &Reply, why: &str) {
    let error = format!("error=\"invalid_token\", error_description=\"{why}\"");
    challenged(reply, 401, &format!("Bearer {error}, {METADATA}"));
    assert_eq!(reply.error(), (-32000, why.to_owned()));
}

#[tokio::test]
async fn a_good_token_of_each_algorithm_calls_a_tool_as_its_subject() {
    let keys = Alg::ALL.map(|alg| Key::generate(alg, alg.name()));
    let issuer = FakeIssuer::start(&keys.each_ref()).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(200, json!("hello")));
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    for (n, key) in keys.iter().enumerate() {
        let mut claims = issuer.claims();
        claims["sub"] = json!(format!("user-{n}"));
        claims["email"] = json!("Ann@example.com");
        claims["pool"] = json!("blue");
        claims["metadata"] = json!({ "role": "editor" });
        claims["scope"] = json!("mcp:test:use mcp:other");
        let token = key.token(&claims);
        let client = gateway.client.with_token(&token);
        let reply = client.call("docs_echo", json!({})).await;
        assert_eq!(
            reply.tool_text(),
            ("hello".to_owned(), false),
            "{}",
            key.kid
        );

        let seen = backend.seen("echo").remove(n).headers;
        let header = |name: &str| seen[name].to_str().unwrap_or_default().to_owned();
        assert_eq!(header("authorization"), format!("Bearer {token}"));
        assert_eq!(header("x-cortex-user-id"), format!("user-{n}"));
        assert_eq!(header("x-cortex-user-email"), "Ann@example.com");
        assert_eq!(header("x-cortex-user-role"), "editor");
        assert_eq!(header("x-cortex-user-pool"), "blue");
        assert_eq!(header("x-cortex-scopes"), "mcp:other mcp:test:use");
    }
    let record = gateway.audit(keys.len()).await.remove(0);
    for (name, value) in [
        ("caller_sub", json!("user-0")),
        ("caller_role", json!("editor")),
        ("caller_pool", json!("blue")),
        ("client_id", json!("client-1")),
        ("dev_bypass", json!(false)),
        ("scope_used", json!("mcp:test:use")),
        ("success", json!(true)),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
    assert_eq!(record["caller_email_hash"].as_str().map(str::len), Some(64));
}

#[tokio::test]
async fn modern_clients_get_in_with_tokens_too() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = gateway(&issuer).await;
    let client = gateway.client.with_token(&key.token(&issuer.claims()));
    let discovered = client.modern("server/discover", json!({})).await;
    assert_eq!(discovered.status, 200, "{}", discovered.text());
    let document = gateway
        .client
        .get("/.well-known/oauth-protected-resource")
        .await
        .json();
    assert_eq!(document["authorization_servers"], json!([issuer.url()]));
}

#[tokio::test]
async fn who_presents_nothing_is_told_where_to_get_a_token() {
    let issuer = FakeIssuer::start(&[&Key::generate(Alg::EdDsa, "a")]).await;
    let mut gateway = gateway(&issuer).await;
    let nothing = format!("Bearer {METADATA}");
    let token = Key::generate(Alg::EdDsa, "a").token(&issuer.claims());
    let anonymous = gateway.client.anonymous();
    challenged(&anonymous.post(PING, &[]).await, 401, &nothing);
    let basic = [("authorization", "Basic dXNlcjpwYXNz")];
    challenged(&anonymous.post(PING, &basic).await, 401, &nothing);
    // The dev bypass is off.
    challenged(&gateway.client.post(PING, &[]).await, 401, &nothing);
    // A token is never taken from anywhere else.
    let headers = [("content-type", "application/json")];
    let query = format!("/mcp?access_token={token}");
    let reply = gateway.client.anonymous();
    let reply = reply.send(Method::POST, &query, &headers, PING).await;
    challenged(&reply.expect("a response"), 401, &nothing);

    let codes: Vec<_> = gateway.audit(4).await;
    assert!(codes.iter().all(|r| r["error_code"] == "unauthenticated"));
}

#[tokio::test]
async fn a_malformed_authorization_is_a_bad_request() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = gateway(&issuer).await;
    let bearer = format!("Bearer {}", key.token(&issuer.claims()));
    let challenge = |why: &str| {
        format!("Bearer error=\"invalid_request\", error_description=\"{why}\", {METADATA}")
    };
    let twice = [
        ("authorization", bearer.as_str()),
        ("authorization", bearer.as_str()),
    ];
    let reply = gateway.client.anonymous().post(PING, &twice).await;
    let why = "the header Authorization is there more than once";
    challenged(&reply, 400, &challenge(why));
    let mixed = [
        ("authorization", "Basic eDp5"),
        ("authorization", bearer.as_str()),
    ];
    let reply = gateway.client.anonymous().post(PING, &mixed).await;
    challenged(&reply, 400, &challenge(why));
    let why = "the header Authorization carries no token after Bearer";
    for value in ["Bearer", "Bearer a b", "Bearer \"a\""] {
        let reply = gateway.client.anonymous();
        let reply = reply.post(PING, &[("authorization", value)]).await;
        challenged(&reply, 400, &challenge(why));
    }
    let lower = bearer.replacen("Bearer", "bEARER", 1);
    let reply = gateway.client.anonymous();
    reply
        .post(PING, &[("authorization", &lower)])
        .await
        .result();
    let records = gateway.audit(6).await;
    assert_eq!(records[0]["error_code"], "bad_authorization");
}

#[tokio::test]
async fn a_bad_token_is_refused_with_the_reason() {
    let (key, stranger) = (
        Key::generate(Alg::Es256, "a"),
        Key::generate(Alg::Es256, "a"),
    );
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = gateway(&issuer).await;
    let with = |name: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[name] = value;
        key.token(&claims)
    };
    for (token, why) in [
        (
            with("exp", json!(now() - 61)),
            "the access token is expired",
        ),
        (
            with("aud", json!("https://elsewhere.example/mcp")),
            "the access token is for another audience",
        ),
        (
            with("iss", json!("https://evil.example")),
            "the access token is from another issuer",
        ),
        (
            with("nbf", json!(now() + 600)),
            "the access token is not valid yet",
        ),
        (
            with("jti", json!("")),
            "the access token has an unusable claim jti",
        ),
        (
            stranger.token(&issuer.claims()),
            "the signature of the access token does not hold",
        ),
        (
            key.sign(r#"{"alg":"none"}"#, &issuer.claims().to_string()),
            "the access token is signed with an algorithm that is not accepted",
        ),
        ("garbage".to_owned(), "the access token is malformed"),
        (
            format!("{}x", "A".repeat(16 * 1024)),
            "the access token is too long",
        ),
    ] {
        refused(&ping(&gateway, &token).await, why);
    }
    let records = gateway.audit(9).await;
    for record in records {
        let (code, sub) = (&record["error_code"], &record["caller_sub"]);
        assert_eq!((code, sub), (&json!("invalid_token"), &Value::Null));
    }
}

#[tokio::test]
async fn a_token_that_expires_stops_working() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = gateway(&issuer).await;
    let mut claims = issuer.claims();
    // With the leeway of a minute, three seconds are left.
    claims["exp"] = json!(now() - 57);
    let token = key.token(&claims);
    ping(&gateway, &token).await.result();
    tokio::time::sleep(std::time::Duration::from_millis(3_200)).await;
    refused(&ping(&gateway, &token).await, "the access token is expired");
}

#[tokio::test]
async fn base_scopes_are_needed_for_everything() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("OAUTH_REQUIRED_SCOPES", "mcp:use mcp:base")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let reply = gateway.client.anonymous().post(PING, &[]).await;
    challenged(
        &reply,
        401,
        &format!("Bearer scope=\"mcp:base mcp:use\", {METADATA}"),
    );
    let reply = ping(&gateway, "garbage").await;
    assert!(
        reply
            .header("www-authenticate")
            .contains("scope=\"mcp:base mcp:use\"")
    );

    let with = |scopes: &str| {
        let mut claims = issuer.claims();
        claims["scope"] = json!(scopes);
        key.token(&claims)
    };
    let step_up = |scopes: &str| {
        format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\", {METADATA}")
    };
    let reply = ping(&gateway, &with("mcp:use mcp:test:use")).await;
    challenged(&reply, 403, &step_up("mcp:base mcp:use"));
    assert_eq!(reply.error(), (-32603, "Insufficient scope".to_owned()));
    let data = &reply.json()["error"]["data"];
    assert_eq!(data["required"], json!(["mcp:base", "mcp:use"]));
    ping(&gateway, &with("mcp:use mcp:base")).await.result();

    // A tool's own scope is asked for together with them, so that the next token has all.
    let client = gateway.client.with_token(&with("mcp:use mcp:base"));
    let reply = client.call("docs_echo", json!({})).await;
    challenged(&reply, 403, &step_up("mcp:base mcp:test:use mcp:use"));

    let records = gateway.audit(5).await;
    let (code, sub) = (&records[2]["error_code"], &records[2]["caller_sub"]);
    assert_eq!(
        (code, sub),
        (&json!("insufficient_scope"), &json!("user-1"))
    );
}

#[tokio::test]
async fn a_gateway_for_one_pool_serves_no_other() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("CORTEX_REQUIRED_POOL", "canary-pool")
        .start()
        .await;
    for (pool, status) in [
        (json!("canary-pool"), 200),
        (json!("Canary-pool"), 403),
        (json!("other"), 403),
        (json!(["canary-pool"]), 403),
        (json!(""), 403),
        (Value::Null, 403),
    ] {
        let mut claims = issuer.claims();
        claims["pool"] = pool;
        let reply = ping(&gateway, &key.token(&claims)).await;
        assert_eq!(reply.status, status, "{claims}");
        if status == 403 {
            challenged(&reply, 403, "");
            assert_eq!(reply.error(), (-32000, "forbidden".to_owned()));
            assert!(!reply.text().contains("pool"), "{}", reply.text());
        }
    }
    let record = gateway.audit(3).await.remove(2);
    let (code, pool) = (&record["error_code"], &record["caller_pool"]);
    assert_eq!((code, pool), (&json!("other_pool"), &json!("other")));
}

#[tokio::test]
async fn the_dev_bypass_and_tokens_live_side_by_side() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = GatewayBuilder::new()
        .env("OAUTH_ISSUER", &issuer.url())
        .env("OAUTH_REQUIRED_SCOPES", "mcp:test:use mcp:base")
        .env("CORTEX_REQUIRED_POOL", "blue")
        .start()
        .await;
    gateway.client.post(PING, &[]).await.result();
    let mut claims = issuer.claims();
    claims["scope"] = json!("mcp:test:use mcp:base");
    claims["pool"] = json!("blue");
    ping(&gateway, &key.token(&claims)).await.result();
    assert_eq!(ping(&gateway, "garbage").await.status, 401);
    let records = gateway.audit(3).await;
    let subjects: Vec<_> = records.iter().map(|r| &r["caller_sub"]).collect();
    assert_eq!(
        subjects,
        [&json!("dev:local"), &json!("user-1"), &Value::Null]
    );
}

#[tokio::test]
async fn production_needs_an_issuer_and_then_starts() {
    let (code, said) = GatewayBuilder::new()
        .env("CORTEX_ENV", "production")
        .fail()
        .await;
    assert_eq!(code, Some(1));
    assert!(said.contains("OAUTH_ISSUER: required"), "{said}");

    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = GatewayBuilder::new()
        .env("CORTEX_ENV", "production")
        .env("OAUTH_ISSUER", &issuer.url())
        .start()
        .await;
    ping(&gateway, &key.token(&issuer.claims())).await.result();
    let dev = gateway.client.post(PING, &[]).await;
    assert_eq!(dev.status, 401, "the dev bypass is off");
}

#[tokio::test]
async fn no_part_of_a_token_is_told_to_anybody() {
    let (key, stranger) = (
        Key::generate(Alg::EdDsa, "a"),
        Key::generate(Alg::EdDsa, "canary"),
    );
    let issuer = FakeIssuer::start(&[&key]).await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("echo")])).await;
    backend.plan("echo", Plan::Json(500, json!({ "error": "no" })));
    let mut gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("RUST_LOG", "info,cortex_gateway=trace,hyper_util=trace")
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    let mut tokens = vec![
        key.token(&issuer.claims()),
        stranger.token(&issuer.claims()),
    ];
    for (name, value) in [
        ("aud", json!("canary")),
        ("iss", json!("https://canary.example")),
        ("exp", json!(1)),
        ("sub", json!(["canary"])),
        ("scope", json!("canary")),
    ] {
        let mut claims = issuer.claims();
        claims[name] = value;
        tokens.push(key.token(&claims));
    }
    let header = r#"{"alg":"canary","kid":"canary","typ":"canary","crit":["canary"]}"#;
    tokens.push(key.sign(header, "{}"));
    let mut bodies = String::new();
    for token in &tokens {
        let client: Client = gateway.client.with_token(token);
        let reply = client.call("docs_echo", json!({})).await;
        bodies += &reply.text();
        bodies += reply.header("www-authenticate");
    }
    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await, Some(0));
    let records = gateway.audit(tokens.len()).await.len();
    eventually(|| records == tokens.len(), || gateway.output()).await;

    // Insufficient scope tells what was granted, which is the caller's own.
    let bodies = bodies.replace(r#""granted":["canary"]"#, "");
    let everything = bodies + &gateway.output() + &gateway.log();
    assert!(!everything.contains("canary"), "{everything}");
    for token in &tokens {
        for part in token.split('.').filter(|part| part.len() > 20) {
            assert!(!everything.contains(part), "`{part}` in:\n{everything}");
        }
    }
}
