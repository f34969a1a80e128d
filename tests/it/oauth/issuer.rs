//! Keys that change, an issuer that is down or lies, and introspection.

use cortex_tests::GatewayBuilder;
use cortex_tests::issuer::{Alg, Answer, FakeIssuer, Key};
use serde_json::json;

use super::{METADATA, PING, challenged, gateway, ping, refused};

#[tokio::test]
async fn rotated_keys_are_found_by_the_first_token_they_sign() {
    let (old, new) = (
        Key::generate(Alg::Es384, "old"),
        Key::generate(Alg::Rs256, "new"),
    );
    let issuer = FakeIssuer::start(&[&old]).await;
    let gateway = gateway(&issuer).await;
    let before = old.token(&issuer.claims());
    ping(&gateway, &before).await.result();
    issuer.publish(&[&new]);
    ping(&gateway, &new.token(&issuer.claims())).await.result();
    // What the old key signed is not good any more, kept or not.
    let why = "the access token is signed with a key that its issuer does not publish";
    refused(&ping(&gateway, &before).await, why);

    // Names of keys that nobody has bring the issuer no flood.
    let fetches = issuer.seen("/keys").len();
    for n in 0..20 {
        let key = Key::generate(Alg::EdDsa, &format!("made-up-{n}"));
        refused(&ping(&gateway, &key.token(&issuer.claims())).await, why);
    }
    assert!(issuer.seen("/keys").len() <= fetches + 1);
}

#[tokio::test]
async fn an_outage_of_the_issuer_is_not_ours() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let mut gateway = gateway(&issuer).await;
    ping(&gateway, &key.token(&issuer.claims())).await.result();
    issuer.set_down(true);
    // New tokens too: the keys are at hand. Only an unknown key makes the outage felt.
    ping(&gateway, &key.token(&issuer.claims())).await.result();
    let other = Key::generate(Alg::EdDsa, "b").token(&issuer.claims());
    // They are not asked for again at once, if the first request asked for them.
    let told = "the issuer's keys cannot be fetched";
    for _ in 0..60 {
        assert_eq!(ping(&gateway, &other).await.status, 401);
        if gateway.log().contains(told) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    gateway.logged(told).await;
    ping(&gateway, &key.token(&issuer.claims())).await.result();
    gateway.ready().await;
}

#[tokio::test]
async fn without_any_keys_the_gateway_says_so_and_refuses_nobody_for_good() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    issuer.set_down(true);
    let mut gateway = gateway(&issuer).await;
    let token = key.token(&issuer.claims());
    for _ in 0..3 {
        let reply = ping(&gateway, &token).await;
        challenged(&reply, 503, "");
        assert_eq!(reply.header("retry-after"), "1");
    }
    gateway.ready().await;
    gateway.logged("no access token can be verified").await;
    let said = gateway.log();
    assert_eq!(
        said.matches("no access token can be verified").count(),
        1,
        "once"
    );
    assert!(said.contains("hint: check OAUTH_ISSUER"), "{said}");
    challenged(
        &gateway.client.anonymous().post(PING, &[]).await,
        401,
        &format!("Bearer {METADATA}"),
    );

    issuer.set_down(false);
    gateway.logged("the issuer's keys are there again").await;
    ping(&gateway, &token).await.result();
}

#[tokio::test]
async fn an_issuer_that_is_not_who_it_should_be_is_not_believed() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let lie =
        json!({ "issuer": "https://evil.example", "jwks_uri": format!("{}/keys", issuer.url()) });
    issuer.answer(
        "/.well-known/oauth-authorization-server",
        Answer::Json(200, lie),
    );
    let mut gateway = gateway(&issuer).await;
    assert_eq!(
        ping(&gateway, &key.token(&issuer.claims())).await.status,
        503
    );
    gateway
        .logged("names the issuer `https://evil.example`")
        .await;
    assert!(issuer.seen("/keys").is_empty());
}

#[tokio::test]
async fn keys_and_audience_can_be_configured() {
    let key = Key::generate(Alg::Ps256, "a");
    let issuer = FakeIssuer::start(&[]).await;
    issuer.answer(
        "/elsewhere",
        Answer::Json(200, json!({ "keys": [key.jwk()] })),
    );
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env("OAUTH_JWKS_URL", &format!("{}/elsewhere", issuer.url()))
        .env("OAUTH_AUDIENCE", "api://cortex")
        .start()
        .await;
    for (audience, status) in [
        (json!(["x", "api://cortex"]), 200),
        (json!("http://localhost:3213/mcp"), 200),
        (json!("http://localhost:3213"), 401),
    ] {
        let mut claims = issuer.claims();
        claims["aud"] = audience;
        assert_eq!(
            ping(&gateway, &key.token(&claims)).await.status,
            status,
            "{claims}"
        );
    }
    assert!(
        issuer
            .seen("/.well-known/oauth-authorization-server")
            .is_empty()
    );
}

#[tokio::test]
async fn the_issuer_is_asked_whether_a_token_is_revoked() {
    let key = Key::generate(Alg::EdDsa, "a");
    let issuer = FakeIssuer::start(&[&key]).await;
    let gateway = GatewayBuilder::new()
        .issuer(&issuer)
        .env(
            "OAUTH_INTROSPECT_URL",
            &format!("{}/introspect", issuer.url()),
        )
        .env("OAUTH_INTROSPECT_CLIENT_ID", "gateway")
        .env("OAUTH_INTROSPECT_CLIENT_SECRET", "canary-secret")
        .env("OAUTH_INTROSPECT_CACHE_TTL_SECONDS", "1")
        .start()
        .await;
    let token = key.token(&issuer.claims());
    for _ in 0..3 {
        ping(&gateway, &token).await.result();
    }
    issuer.answer("/introspect", Answer::Json(200, json!({ "active": false })));
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    refused(&ping(&gateway, &token).await, "the access token is revoked");
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[tokio::test]
async fn introspection_that_does_not_work_is_said_and_fails_as_configured() {
    let key = Key::generate(Alg::EdDsa, "a");
    for (status, fail, expected, said) in [
        (503, "open", 200, "tokens pass without it"),
        (503, "closed", 503, "callers are refused until it does"),
        (401, "open", 503, "token introspection refuses this gateway"),
        (
            403,
            "closed",
            503,
            "token introspection refuses this gateway",
        ),
    ] {
        let issuer = FakeIssuer::start(&[&key]).await;
        issuer.answer("/introspect", Answer::Json(status, json!({})));
        let mut gateway = GatewayBuilder::new()
            .issuer(&issuer)
            .env(
                "OAUTH_INTROSPECT_URL",
                &format!("{}/introspect", issuer.url()),
            )
            .env("OAUTH_INTROSPECT_FAIL", fail)
            .start()
            .await;
        for _ in 0..2 {
            let reply = ping(&gateway, &key.token(&issuer.claims())).await;
            assert_eq!(reply.status, expected, "{status} {fail}: {}", reply.text());
        }
        gateway.logged(said).await;
        assert_eq!(
            gateway.log().matches("token introspection").count(),
            1,
            "once"
        );
    }
}
