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

/// How long a gateway may take to be ready: the first start compiles the components.
const LONGEST_START: Duration = Duration::from_secs(120);
/// What lets in at `/metrics`.
const ADMIN_SECRET: &str = "bench-admin-secret-0123456789abcdef";
/// Between two looks at `/readyz`.
const PAUSE: Duration = Duration::from_millis(50);

/// How long an adapter's instance lives (`CORTEX_PLUGIN_INSTANCES`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Instances {
    /// A fresh one for each call.
    #[default]
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
    /// Its own directory.
    pub(crate) data: &'a Path,
    /// Whose tokens it takes.
    pub(crate) issuer: &'a str,
    /// What lies behind it.
    pub(crate) behind: &'a Behind,
    /// How long instances live.
    pub(crate) instances: Instances,
    /// Variables besides the usual ones.
    pub(crate) more: &'a [(&'static str, String)],
}

/// What lies behind a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    /// The backend `bench`.
    pub(crate) backend: SocketAddr,
    /// Where more backends are, called `b1` and so on.
    pub(crate) many: Option<(SocketAddr, usize)>,
    /// Native MCP servers by their names.
    pub(crate) natives: Vec<(&'static str, SocketAddr)>,
    /// The backend once more, by these names, each with its adapter.
    pub(crate) others: Vec<(&'static str, String)>,
}

impl Behind {
    /// One backend.
    pub(crate) fn one(backend: SocketAddr) -> Self {
        Self {
            backend,
            many: None,
            natives: Vec::new(),
            others: Vec::new(),
        }
    }

    fn variables(&self) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        let mut names = vec!["bench".to_owned()];
        let mut add = |name: &str, what: &str, value: String| {
            variables.push((format!("CORTEX_{}_{what}", name.to_uppercase()), value));
        };
        let url = |address: SocketAddr| format!("http://{address}");
        add("backend_bench", "URL", url(self.backend));
        for (name, adapter) in &self.others {
            add(&format!("backend_{name}"), "URL", url(self.backend));
            add(&format!("backend_{name}"), "ADAPTER", adapter.clone());
            names.push((*name).to_owned());
        }
        if let Some((address, count)) = self.many {
            for n in 1..count {
                add(&format!("backend_b{n}"), "URL", url(address));
                names.push(format!("b{n}"));
            }
        }
        add("backends", "", names.join(","));
        for (name, address) in &self.natives {
            add(
                &format!("mcp_{name}"),
                "URL",
                format!("http://{address}/mcp"),
            );
            add(&format!("mcp_{name}"), "SCOPE", format!("mcp:{name}:use"));
        }
        let natives: Vec<&str> = self.natives.iter().map(|(name, _)| *name).collect();
        add("mcp_servers", "", natives.join(","));
        for (name, _) in &mut variables {
            name.truncate(name.trim_end_matches('_').len());
        }
        variables
    }
}

/// Starts a gateway on a free port; it is not ready yet.
pub(crate) async fn start(name: String, setup: &Setup<'_>) -> Result<(Process, SocketAddr)> {
    let address = free_address().await?;
    let mut command = Command::new(setup.binary);
    // What the caller's shell happens to hold must not change what is measured.
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("CORTEX_") || text.starts_with("OAUTH_") || text == "PORT" {
            command.env_remove(&variable);
        }
    }
    command
        .envs(setup.behind.variables())
        .env("CORTEX_LISTEN", address.to_string())
        .env(
            "CORTEX_TECHNICAL_TOKEN",
            "bench-technical-token-0123456789abcdef",
        )
        .env("CORTEX_PLUGIN_DIR", setup.plugins)
        .env("CORTEX_DATA_DIR", setup.data)
        .env("OAUTH_ISSUER", setup.issuer)
        .env("CORTEX_CANONICAL_URI", "http://localhost:3213/mcp")
        .env("CORTEX_RATE_LIMIT_PER_MINUTE", "0")
        .env("CORTEX_ADMIN_SECRET", ADMIN_SECRET)
        .env("RUST_LOG", "warn")
        .env(
            "CORTEX_PLUGIN_INSTANCES",
            match setup.instances {
                Instances::Call => "call",
                Instances::Subject => "subject",
            },
        )
        .envs(setup.more.iter().map(|(name, value)| (name, value)));
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

/// A figure of `/metrics`, by the text in front of it; all of them added up where there are several.
pub(crate) async fn figure(address: SocketAddr, name: &str) -> Result<f64> {
    let secret = ("x-cortex-admin-secret", ADMIN_SECRET);
    let answer = client::get_with(address, "/metrics", Some(secret)).await?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let values = text.lines().filter_map(|line| line.strip_prefix(name));
    let values = values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
    let found: Vec<f64> = values.collect();
    if found.is_empty() {
        bail!("no `{name}` in {text}");
    }
    Ok(found.iter().sum())
}

/// An address that was free a moment ago.
async fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_behind_has_its_variables() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let behind = Behind {
            many: Some((address, 3)),
            natives: vec![("old", address)],
            others: vec![("bad", "mischief".to_owned())],
            ..Behind::one(address)
        };
        let variables = behind.variables();
        let value = |name: &str| {
            let found = variables.iter().find(|(variable, _)| variable == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("CORTEX_BACKENDS"), Some("bench,bad,b1,b2"));
        assert_eq!(value("CORTEX_BACKEND_B2_URL"), Some("http://127.0.0.1:1"));
        assert_eq!(value("CORTEX_BACKEND_BAD_ADAPTER"), Some("mischief"));
        assert_eq!(value("CORTEX_MCP_SERVERS"), Some("old"));
        assert_eq!(value("CORTEX_MCP_OLD_SCOPE"), Some("mcp:old:use"));
    }
}
