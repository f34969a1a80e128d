//! A gateway of our own, inside this process: the usual one on a port of this machine, with an
//! issuer that nobody else knows, so that its callers take the real way with a real token.

mod issuer;

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

pub(super) use issuer::Issuer;

use crate::config::{Config, ExporterOutput, StdioConfig, variable};
use crate::outbound::Client;
use crate::server::Listener;
use crate::{app, types::Secret};

/// A running gateway.
pub(super) struct Local {
    /// Its MCP endpoint.
    pub(super) url: Url,
    /// Where its tokens come from.
    pub(super) issuer: std::sync::Arc<Issuer>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Local {
    /// Starts one, configured by the environment like any other, but for what makes it local.
    pub(super) async fn start(stdio: &StdioConfig, client: Client) -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(any).await?;
        let address = listener.address()?;
        let url = Url::parse(&format!("http://{address}/mcp"))?;
        let issuer = Issuer::start(&url, stdio, client).await?;
        let config = config(stdio, address, &url, issuer.url())?;
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app::serve(config, listener, async {
            // Told to, or nobody is left who could.
            let _ = stopped.await;
        }));
        Ok(Self {
            url,
            issuer,
            stop,
            running,
        })
    }

    /// Resolves if it cannot start, or ends by itself.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.running).await {
            Ok(Ok(())) => anyhow::anyhow!("the local gateway ended"),
            Ok(Err(error)) => error.context("the local gateway cannot be started"),
            Err(error) => anyhow::Error::new(error).context("the local gateway ended badly"),
        }
    }

    /// Lets it finish: calls in flight, the last audit records.
    pub(super) async fn finish(self) -> anyhow::Result<()> {
        // It may have ended already.
        let _ = self.stop.send(());
        self.running
            .await
            .context("the local gateway ended badly")?
    }
}

fn config(
    stdio: &StdioConfig,
    address: SocketAddr,
    url: &Url,
    issuer: &str,
) -> anyhow::Result<Config> {
    let read = |name: &str| match name {
        "CORTEX_LISTEN" => Some(address.to_string()),
        "CORTEX_CANONICAL_URI" => Some(url.to_string()),
        "OAUTH_ISSUER" => Some(issuer.to_owned()),
        // What belongs to the issuer of another gateway, and ways around the issuer.
        "PORT"
        | "OAUTH_AUDIENCE"
        | "OAUTH_JWKS_URL"
        | "OAUTH_INTROSPECT_URL"
        | "OAUTH_INTROSPECT_CLIENT_ID"
        | "OAUTH_INTROSPECT_CLIENT_SECRET"
        | "OAUTH_INTROSPECT_CLIENT_SECRET_FILE"
        | "CORTEX_DEV_BYPASS_TOKEN"
        | "CORTEX_DEV_BYPASS_TOKEN_FILE" => None,
        // Clients start this anywhere: `./data` would be somewhere else each time.
        "CORTEX_DATA_DIR" => variable(name)
            .filter(|dir| !dir.trim().is_empty())
            .or_else(|| Some(stdio.data_dir.join("local").display().to_string())),
        name => variable(name),
    };
    let mut config = Config::read(&read)?;
    config.plugins.exporter_output = ExporterOutput::Stderr;
    // An IDE starts one for each of its windows.
    config.shares_data_dir = true;
    // Several of them would want the same port.
    config.admin_listen = None;
    Ok(config)
}

/// The pool that the gateway is for, which its callers' tokens must name.
fn required_pool() -> Option<String> {
    variable("CORTEX_REQUIRED_POOL")
        .map(|pool| pool.trim().to_owned())
        .filter(|pool| !pool.is_empty())
}

/// A token and when it is made anew.
struct Minted {
    token: Secret,
    at: std::time::Instant,
}
