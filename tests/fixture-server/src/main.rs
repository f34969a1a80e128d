//! An MCP server that has everything the official conformance suite calls, in both eras of MCP.
//!
//! Built on `rmcp`, which speaks the protocol; only what the tools say is ours. The suite runs
//! against it directly, and through a gateway that has it as a backend: what is green here and
//! red there is the gateway's.

// Sampling, roots and log messages are deprecated since 2025, and still what the suite asks for.
#![allow(
    deprecated,
    reason = "the suite tests what the specification keeps until it is removed"
)]

mod ask;
mod fixture;
mod media;
mod prompts;
mod resources;
mod tools;
mod watchers;

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

use crate::fixture::{Fixture, Shared};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("no free port on loopback")?;
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared::new()?);
    // Other hosts than loopback are refused by default.
    let config = StreamableHttpServerConfig::default()
        .with_allowed_origins(["http://127.0.0.1:*", "http://localhost:*"]);
    let service = StreamableHttpService::new(
        move || Ok(Fixture::new(Arc::clone(&shared))),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    // Whoever started this waits for the line.
    println!("fixture-server listening on http://{address}/mcp");
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.handle(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            match connection.await {
                // Clients go when they like.
                Err(error) if !error.is_incomplete_message() => {
                    eprintln!("fixture-server: connection: {error}");
                }
                _ => {}
            }
        });
    }
}
