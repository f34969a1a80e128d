//! What the tests stand on: a real gateway process with real components, a backend that does
//! whatever a test wants, a fake issuer, and a small HTTP client.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot go on says what it expected"
)]

pub mod address;
pub mod backend;
pub mod balancer;
pub mod between;
pub mod browser;
pub mod certificates;
pub mod client;
pub mod collector;
pub mod conformance;
pub mod fixture;
pub mod fleet;
pub mod gateway;
pub mod legacy_only;
pub mod mcp_server;
pub mod namespace;
pub mod origin;
pub mod postgres;
pub mod provider;
pub mod redis;
pub mod relay;
pub mod stream;

pub use address::free_address;
pub use backend::{FakeBackend, Plan};
pub use balancer::Balancer;
pub use browser::{Browser, Page};
pub use client::{Client, Reply};
pub use collector::{FakeCollector, Span};
pub use cortex_test_issuer as issuer;
pub use fixture::FixtureServer;
pub use fleet::{Fleet, FleetBuilder};
pub use gateway::{Gateway, GatewayBuilder};
pub use legacy_only::LegacyOnly;
pub use mcp_server::{Era, FakeMcp};
pub use origin::FakeOrigin;
pub use provider::Provider;
pub use stream::Stream;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where this process keeps what it built.
fn built_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test")
}

/// The default components and those that misbehave on purpose, built once for this process.
pub fn component(name: &str) -> PathBuf {
    const NAMES: &[&str] = &[
        "backend-http",
        "backend-mcp",
        "policy-scopes",
        "audit-stdout",
        "hello-backend",
        "policy-tiers",
        "policy-redact",
        "audit-webhook",
        "backend-openapi",
        "audit-otlp",
        "audit-postgres",
        "mischief",
        "describe-trap",
        "policy-trap",
        "exporter-trap",
    ];
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let out = built_dir().join("components");
        match xtask::components::build(NAMES, out) {
            Ok(paths) => paths,
            Err(error) => give_up(&format!("the components cannot be built: {error}")),
        }
    });
    let file = format!("{name}.wasm");
    match built.iter().find(|path| path.ends_with(&file)) {
        Some(path) => path.clone(),
        None => give_up(&format!("no component `{name}` was built")),
    }
}

/// A binary of this workspace, built once for this process.
pub fn binary(name: &str) -> PathBuf {
    const BINARIES: &[&str] = &["cortex-gateway", "demo-backend", "cortex-fixture-server"];
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    // Another build of it, such as a release.
    if let Some(path) = std::env::var_os("CORTEX_TESTS_GATEWAY")
        && name == "cortex-gateway"
    {
        return path.into();
    }
    let built = BUILT.get_or_init(|| match xtask::binaries::build(BINARIES, false) {
        Ok(paths) => paths,
        Err(error) => give_up(&format!("the gateway cannot be built: {error}")),
    });
    match built.iter().find(|path| path.ends_with(name)) {
        Some(path) => path.clone(),
        None => give_up(&format!("no binary `{name}` was built")),
    }
}

/// Without components or gateway no test means anything: one line, and the end.
fn give_up(why: &str) -> ! {
    eprintln!("error: {why}");
    std::process::exit(1);
}

/// A component with a text replaced by another of the same length, all over it: names stay well-formed.
pub fn patched(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(component(name)).expect("a component");
    let mut found = 0;
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
        at += 1;
    }
    assert!(found > 0, "`{from}` is in {name}");
    bytes
}
