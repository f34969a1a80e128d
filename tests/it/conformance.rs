//! The official MCP conformance suite, against the fixture server itself and through the gateway:
//! what is red in both is the fixture's fault, what is red in one is the gateway's.

use cortex_tests::conformance::{Suite, Target};
use cortex_tests::issuer::{Alg, FakeIssuer, Key};
use cortex_tests::{FixtureServer, Gateway, GatewayBuilder, LegacyOnly};
use serde_json::json;

/// The suite. Where it is not installed the test is left out, loudly; a build machine (CI=true)
/// insists on it.
fn suite() -> Option<Suite> {
    let suite = Suite::installed();
    if suite.is_none() {
        let ci = std::env::var("CI").is_ok_and(|v| v == "true");
        assert!(
            !ci,
            "the conformance suite is not installed: run tests/peers/setup.sh"
        );
        eprintln!("SKIPPED: the conformance suite is not installed; `cargo xtask test` does that");
    }
    suite
}

async fn directly(revision: &str) {
    let Some(suite) = suite() else { return };
    let fixture = FixtureServer::start().await;
    let target = Target {
        url: &fixture.url,
        token: None,
    };
    suite.check(revision, &target, "fixture.yml").await;
}

#[tokio::test]
async fn the_fixture_server_is_fit_for_2025_11_25() {
    directly("2025-11-25").await;
}

#[tokio::test]
async fn the_fixture_server_is_fit_for_2026_07_28() {
    directly("2026-07-28").await;
}

/// The fixture server behind a gateway that wants tokens of an issuer of ours.
struct Behind {
    gateway: Gateway,
    token: String,
    _fixture: FixtureServer,
    _old: Option<LegacyOnly>,
    _issuer: FakeIssuer,
}

impl Behind {
    /// `legacy`: the fixture server refuses the modern era.
    async fn start(legacy: bool) -> Self {
        let fixture = FixtureServer::start().await;
        let old = match legacy {
            true => Some(LegacyOnly::start(&fixture.url).await),
            false => None,
        };
        let url = old
            .as_ref()
            .map_or_else(|| fixture.url.clone(), LegacyOnly::url);
        let key = Key::generate(Alg::Rs256, "k1");
        let issuer = FakeIssuer::start(&[&key]).await;
        let mut claims = issuer.claims();
        claims["scope"] = json!("mcp:fixture:read");
        let token = key.token(&claims);
        let gateway = GatewayBuilder::new()
            .issuer(&issuer)
            .mcp_server("fixture", &url)
            .env("CORTEX_MCP_FIXTURE_NAMES", "verbatim")
            .env("CORTEX_MCP_FIXTURE_SCOPE", "mcp:fixture:read")
            // Two checks change a list and give the news a second and a half to arrive.
            .env("CORTEX_REFRESH_SECONDS", "1")
            .start()
            .await;
        gateway.ready().await;
        Self {
            gateway,
            token,
            _fixture: fixture,
            _old: old,
            _issuer: issuer,
        }
    }
}

async fn through_the_gateway(revision: &str, legacy: bool) {
    let Some(suite) = suite() else { return };
    let behind = Behind::start(legacy).await;
    let url = format!("http://{}/mcp", behind.gateway.address);
    let target = Target {
        url: &url,
        token: Some(&behind.token),
    };
    let expected = match legacy {
        true => format!("legacy-server-{revision}.yml"),
        false => "gateway.yml".to_owned(),
    };
    suite.check(revision, &target, &expected).await;
}

#[tokio::test]
async fn the_gateway_is_conformant_to_2025_11_25() {
    through_the_gateway("2025-11-25", false).await;
}

#[tokio::test]
async fn the_gateway_is_conformant_to_2026_07_28() {
    through_the_gateway("2026-07-28", false).await;
}

#[tokio::test]
async fn clients_of_2025_11_25_are_served_in_front_of_a_legacy_server() {
    through_the_gateway("2025-11-25", true).await;
}

#[tokio::test]
async fn clients_of_2026_07_28_are_served_in_front_of_a_legacy_server() {
    through_the_gateway("2026-07-28", true).await;
}
