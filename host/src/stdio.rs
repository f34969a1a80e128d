//! `cortex-gateway stdio`: MCP on standard input and output, for clients that know nothing else.
//!
//! Each line of the client becomes an exchange with a Streamable HTTP server: a gateway elsewhere,
//! any other MCP server, or a gateway that this process starts for itself. It is a client of
//! public interfaces only; nothing but MCP is ever written to standard output.

mod access;
mod answer;
mod bridge;
mod exchange;
mod framing;
mod listen;
mod local;
mod message;
mod mirror;
mod oauth;
mod renew;
mod session;
mod transport;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use url::Url;

use crate::app;
use crate::config::{StdioConfig, is_trustworthy};
use crate::outbound::Client;
use access::Access;
use bridge::Bridge;
use framing::{MAX_LINE, Output};
use local::Local;
use oauth::{Login, Wishes};
use transport::Transport;

/// Longest that the last lines may take to be read.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How to reach the MCP server.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The MCP endpoint to speak to, such as https://mcp.example.com/mcp. Without it a gateway is
    /// started in this process, configured by the same variables as `serve`.
    #[arg(long)]
    url: Option<Url>,
    /// The client id to log in with, where the authorization server registers no clients by
    /// itself. Its secret, if it has one, comes from CORTEX_STDIO_CLIENT_SECRET.
    #[arg(long, requires = "url")]
    client_id: Option<String>,
    /// Log in by a code that is entered in a browser anywhere, if the server offers that.
    #[arg(long, requires = "url")]
    device: bool,
    /// Only print the URL to log in at; open no browser.
    #[arg(long, requires = "url")]
    no_browser: bool,
    /// Port on 127.0.0.1 that the browser comes back to after a login; any, unless the client id
    /// is registered for one.
    #[arg(long, requires = "url", default_value_t = 0)]
    callback_port: u16,
}

/// Serves one client until its input ends or this process is told to stop.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run(options: Options, config: StdioConfig) -> anyhow::Result<()> {
    let stop = app::stop_signal()?;
    let client = Client::new()?;
    let (output, written) = Output::start(std::io::stdout());
    let lines = framing::read(std::io::stdin(), MAX_LINE);

    let outcome = match options.url.clone() {
        Some(url) => {
            if !is_trustworthy(&url) {
                bail!(
                    "`{url}` cannot be used: expected an https URL (or http on this machine), without user"
                );
            }
            let access = access(&options, &config, &url, client.clone());
            let transport = Transport {
                client,
                url,
                access,
            };
            Bridge::new(transport, output).run(lines, stop).await;
            Ok(())
        }
        None => {
            if config.token.is_some() {
                tracing::warn!("CORTEX_STDIO_TOKEN is ignored: there is no --url");
            }
            let mut local = Local::start(&config, client.clone()).await?;
            let transport = Transport {
                client,
                url: local.url.clone(),
                access: Access::Local(local.issuer.clone()),
            };
            let serving = Bridge::new(transport, output).run(lines, stop);
            let failed = tokio::select! {
                () = serving => None,
                error = local.failed() => Some(error),
            };
            match failed {
                Some(error) => Err(error),
                None => local.finish().await,
            }
        }
    };
    // A client that reads no more must not keep this process.
    if tokio::time::timeout(LAST_LINES, written).await.is_err() {
        tracing::debug!("the client did not read everything");
    }
    outcome.context("cortex-gateway stdio")
}

fn access(options: &Options, config: &StdioConfig, url: &Url, client: Client) -> Access {
    if let Some(token) = &config.token {
        return Access::Given(token.clone());
    }
    let wishes = Wishes {
        client_id: options.client_id.clone(),
        client_secret: config.client_secret.clone(),
        scopes: config.scopes.clone(),
        device: options.device,
        browser: config.has_display && !options.no_browser,
        callback_port: options.callback_port,
    };
    Access::Login(Login::new(
        client,
        url.clone(),
        wishes,
        config.data_dir.join("stdio"),
    ))
}
