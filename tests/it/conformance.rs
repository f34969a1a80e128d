//! The official MCP conformance suite, against the fixture server.

use cortex_tests::FixtureServer;
use cortex_tests::conformance::{Suite, Target};

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
