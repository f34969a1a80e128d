//! `demo-backend`: reads the environment, listens on loopback, stops on a signal.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `DEMO_PORT` | port on 127.0.0.1; 0, the default, picks a free one |
//! | `CORTEX_TECHNICAL_TOKEN` | the gateway's token for catalog methods; required |
//! | `DEMO_DEV_TOKEN` | accepted as a user's token |
//! | `DEMO_OAUTH_ISSUER`, `DEMO_OAUTH_AUDIENCE` | accept that issuer's access tokens for that audience |
//!
//! With neither of them no user gets in.

use std::error::Error;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use demo_backend::{App, Issuer, Secret, serve};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-backend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let port: u16 = match env("DEMO_PORT") {
        Some(text) => text
            .parse()
            .map_err(|_| format!("DEMO_PORT holds `{text}`: expected a port number"))?,
        None => 0,
    };
    let technical = env("CORTEX_TECHNICAL_TOKEN")
        .ok_or("CORTEX_TECHNICAL_TOKEN is not set: expected the token that the gateway has")?;
    let issuer = match (env("DEMO_OAUTH_ISSUER"), env("DEMO_OAUTH_AUDIENCE")) {
        (Some(issuer), Some(audience)) => Some(Issuer::new(issuer, audience)),
        (None, None) => None,
        _ => return Err("DEMO_OAUTH_ISSUER and DEMO_OAUTH_AUDIENCE need each other".into()),
    };
    let app = App::new(
        Secret::new(technical),
        env("DEMO_DEV_TOKEN").map(Secret::new),
        issuer,
    );

    // Signals are watched before anyone can know that we listen.
    let stop = stop_signal()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!(
        "demo-backend listening on http://{}",
        listener.local_addr()?
    );
    serve(listener, Arc::new(app), stop).await;
    Ok(())
}

/// The value of an environment variable; an empty one counts as unset.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Resolves when somebody asks the process to stop.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves when somebody asks the process to stop.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler there is nothing to wait for: serve until killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
