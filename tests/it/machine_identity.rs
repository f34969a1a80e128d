//! Discovery with a token that the gateway fetches for itself.

use cortex_tests::client::DEV_TOKEN;
use cortex_tests::gateway::eventually;
use cortex_tests::issuer::{Answer, FakeIssuer};

use cortex_tests::{FakeBackend, GatewayBuilder, Plan};
use serde_json::{Value, json};

const SECRET: &str = "machine-secret-canary";

fn gives(issuer: &FakeIssuer, token: &str, seconds: u64) {
    let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds });
    issuer.answer("/token", Answer::Json(200, answer));
}

async fn issuer() -> FakeIssuer {
    let issuer = FakeIssuer::start(&[]).await;
    let metadata = json!({
        "issuer": issuer.url(),
        "jwks_uri": format!("{}/keys", issuer.url()),
        "token_endpoint": format!("{}/token", issuer.url()),
    });
    let place = "/.well-known/oauth-authorization-server";
    issuer.answer(place, Answer::Json(200, metadata));
    issuer
}

fn gateway(issuer: &FakeIssuer) -> GatewayBuilder {
    GatewayBuilder::new()
        .issuer(issuer)
        .env("CORTEX_DEV_BYPASS_TOKEN", DEV_TOKEN)
        .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:test:use")
        .env("CORTEX_TECHNICAL_TOKEN", "")
        .env("CORTEX_TECHNICAL_CLIENT_ID", "cortex")
        .env("CORTEX_TECHNICAL_CLIENT_SECRET", SECRET)
        .env("CORTEX_TECHNICAL_SCOPE", "catalog:read")
        .env("CORTEX_REFRESH_SECONDS", "1")
}

/// The token of each request for the catalog, oldest first.
fn presented(backend: &FakeBackend) -> Vec<String> {
    let seen = backend.seen("list_tools");
    let bearer = |headers: &http::HeaderMap| {
        let value = headers.get("authorization")?.to_str().ok()?;
        value.strip_prefix("Bearer ").map(str::to_owned)
    };
    seen.iter().filter_map(|s| bearer(&s.headers)).collect()
}

async fn presents(backend: &FakeBackend, token: &str) {
    let shown = || format!("{:?}", presented(backend));
    eventually(|| presented(backend).iter().any(|t| t == token), shown).await;
}

#[tokio::test]
async fn the_catalog_is_asked_for_with_a_token_that_is_fetched_and_renewed() {
    let issuer = issuer().await;
    gives(&issuer, "machine-1", 3600);
    let backends = [
        FakeBackend::start(json!([FakeBackend::tool("act")])).await,
        FakeBackend::start(json!([FakeBackend::tool("act")])).await,
        FakeBackend::start(json!([FakeBackend::tool("act")])).await,
    ];
    let mut builder =
        gateway(&issuer).env("CORTEX_TECHNICAL_RESOURCE", "https://backends.example.com");
    for (n, backend) in backends.iter().enumerate() {
        builder = builder.backend(&format!("b{n}"), &backend.url());
    }
    let gateway = builder.start().await;
    gateway.ready().await;
    for backend in &backends {
        presents(backend, "machine-1").await;
    }
    // Once for all who wait, by the client's own credentials, for what was configured.
    let seen = issuer.seen("/token");
    assert_eq!(seen.len(), 1);
    let basic = "Basic Y29ydGV4Om1hY2hpbmUtc2VjcmV0LWNhbmFyeQ==";
    assert_eq!(seen[0].headers["authorization"], basic);
    for part in [
        "grant_type=client_credentials",
        "scope=catalog%3Aread",
        "resource=https%3A%2F%2Fbackends.example.com",
    ] {
        assert!(seen[0].body.contains(part), "{}", seen[0].body);
    }
    // A user's call is made as the user.
    gateway.client.call("b0_act", json!({})).await;
    let call = &backends[0].seen("act")[0];
    assert_eq!(call.headers["authorization"], format!("Bearer {DEV_TOKEN}"));
    // Withdrawn before its time: another one is fetched and tried at once.
    gives(&issuer, "machine-2", 3600);
    let refused = json!({ "error": "revoked" });
    backends[1].plan("list_tools", Plan::Json(401, refused));
    presents(&backends[1], "machine-2").await;
    assert!(!gateway.log().contains(SECRET), "{}", gateway.log());
    assert!(!gateway.log().contains("machine-1"), "{}", gateway.log());
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_used_until_then() {
    let issuer = issuer().await;
    gives(&issuer, "machine-1", 5);
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    let mut gateway = gateway(&issuer)
        .backend("docs", &backend.url())
        .start()
        .await;
    gateway.ready().await;
    presents(&backend, "machine-1").await;
    // While the issuer is out of order the token at hand is used, and the operator is told.
    issuer.answer("/token", Answer::Raw(503, "out of order".to_owned()));
    let line = gateway.logged("cannot be renewed").await;
    assert!(line.contains("503"), "{line}");
    // When it has ended, the backend cannot be asked any more, and is when there is another.
    let line = gateway.logged("backend is down").await;
    assert!(line.contains("CORTEX_TECHNICAL_CLIENT_ID"), "{line}");
    gives(&issuer, "machine-2", 3600);
    presents(&backend, "machine-2").await;
    gateway.logged("can be had again").await;
    let tokens: std::collections::BTreeSet<_> = presented(&backend).into_iter().collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_gateways_own_identity_is_told_without_its_secret() {
    let issuer = issuer().await;
    let backend = FakeBackend::start(json!([FakeBackend::tool("act")])).await;
    let answers: [(u16, Value, &str); 3] = [
        (401, json!({ "error": "invalid_client" }), "invalid_client"),
        (
            200,
            json!({ "access_token": "x", "token_type": "mac" }),
            "RFC 6749",
        ),
        (200, json!([1]), "RFC 6749"),
    ];
    for (status, answer, told) in answers {
        issuer.answer("/token", Answer::Json(status, answer));
        let mut gateway = gateway(&issuer)
            .backend("docs", &backend.url())
            .start()
            .await;
        let line = gateway.logged("backend is down").await;
        assert!(line.contains(told), "{line}");
        assert!(!gateway.log().contains(SECRET), "{}", gateway.log());
    }
    assert!(presented(&backend).is_empty());

    let (code, said) = gateway(&issuer)
        .backend("docs", &backend.url())
        .env("CORTEX_TECHNICAL_TOKEN", "another")
        .fail()
        .await;
    assert_eq!(code, Some(1));
    assert!(said.contains("CORTEX_TECHNICAL_CLIENT_ID"), "{said}");
    let (_, said) = gateway(&issuer)
        .env("CORTEX_TECHNICAL_CLIENT_SECRET", "")
        .env(
            "CORTEX_TECHNICAL_TOKEN_URL",
            "http://login.example.com/token",
        )
        .fail()
        .await;
    for variable in [
        "CORTEX_TECHNICAL_CLIENT_SECRET",
        "CORTEX_TECHNICAL_TOKEN_URL",
    ] {
        assert!(said.contains(variable), "{said}");
    }
}
