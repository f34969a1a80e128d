//! A gateway process, set up for the benchmark.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::child::Process;
use crate::client;
use crate::exchange::{DEV_TOKEN, SCOPES};

/// How long a gateway may take to be ready: the first start compiles the components.
const LONGEST_START: Duration = Duration::from_secs(120);
/// What lets in at `/metrics`.
const ADMIN_SECRET: &str = "bench-admin-secret-0123456789abcdef";
/// Between two looks at `/readyz`.
const PAUSE: Duration = Duration::from_millis(50);

/// How long an adapter's instance lives (`CORTEX_PLUGIN_INSTANCES`).
#[derive(Clone, Copy)]
pub(crate) enum Instances {
    /// A fresh one for each call.
    Call,
    /// A kept one for each subject.
    Subject,
}

/// Where a gateway finds what it needs.
pub(crate) struct Setup<'a> {
    /// The binary.
    pub(crate) binary: &'a Path,
    /// The components.
    pub(crate) plugins: &'a Path,
    /// The one backend.
    pub(crate) backend: SocketAddr,
    /// Its own, empty directory.
    pub(crate) data: &'a Path,
    /// Whose tokens it takes, besides the dev bypass.
    pub(crate) issuer: &'a str,
    /// More backends, each with its adapter.
    pub(crate) others: &'a [(&'a str, String)],
}

/// Starts a gateway on a free port; it is not ready yet.
pub(crate) async fn start(
    name: String,
    setup: &Setup<'_>,
    instances: Instances,
) -> Result<(Process, SocketAddr)> {
    let address = free_address().await?;
    let mut command = Command::new(setup.binary);
    // What the caller's shell happens to hold must not change what is measured.
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("CORTEX_") || text.starts_with("OAUTH_") || text == "PORT" {
            command.env_remove(&variable);
        }
    }
    let url = format!("http://{}", setup.backend);
    let mut backends = "bench".to_owned();
    for (backend, adapter) in setup.others {
        let name = backend.to_uppercase();
        backends = format!("{backends},{backend}");
        command
            .env(format!("CORTEX_BACKEND_{name}_URL"), &url)
            .env(format!("CORTEX_BACKEND_{name}_ADAPTER"), adapter);
    }
    command
        .env("CORTEX_LISTEN", address.to_string())
        .env("CORTEX_BACKENDS", backends)
        .env("CORTEX_BACKEND_BENCH_URL", &url)
        .env(
            "CORTEX_TECHNICAL_TOKEN",
            "bench-technical-token-0123456789abcdef",
        )
        .env("CORTEX_DEV_BYPASS_TOKEN", DEV_TOKEN)
        .env("CORTEX_DEV_BYPASS_SCOPES", SCOPES)
        .env("CORTEX_PLUGIN_DIR", setup.plugins)
        .env("CORTEX_DATA_DIR", setup.data)
        .env("OAUTH_ISSUER", setup.issuer)
        .env("CORTEX_CANONICAL_URI", "http://localhost:3213/mcp")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .env("CORTEX_ADMIN_SECRET", ADMIN_SECRET)
        .env("RUST_LOG", "warn")
        .env(
            "CORTEX_PLUGIN_INSTANCES",
            match instances {
                Instances::Call => "call",
                Instances::Subject => "subject",
            },
        );
    Ok((Process::start(name, command)?, address))
}

/// Waits until a gateway says that it is ready.
pub(crate) async fn wait_until_ready(process: &mut Process, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + LONGEST_START;
    loop {
        process.check_alive()?;
        let seen = match client::get(address, "/readyz").await {
            Ok(StatusCode::OK) => return Ok(()),
            Ok(status) => format!("/readyz answers {}", status.as_u16()),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("the gateway is not ready after {LONGEST_START:?}: {seen}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A figure of `/metrics`, by the text in front of it.
pub(crate) async fn figure(address: SocketAddr, name: &str) -> Result<f64> {
    let secret = ("x-cortex-admin-secret", ADMIN_SECRET);
    let answer = client::get_with(address, "/metrics", Some(secret)).await?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .with_context(|| format!("no `{name}` in {text}"))
}

/// An address that was free a moment ago.
async fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}
