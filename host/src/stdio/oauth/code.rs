//! The authorization code flow with PKCE and a loopback redirect (RFC 6749 §4.1, RFC 7636, RFC
//! 8252, RFC 8707, RFC 9207).

use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tracing::debug;

use super::LoginError;
use super::loopback::{Expected, Loopback};
use crate::oauth_client::authorize::{Authorization, AuthorizeError};
use crate::oauth_client::discover::Place;
use crate::oauth_client::fetch::Http;
use crate::oauth_client::pkce::{NoRandomness, Pkce, random};
use crate::oauth_client::register::{RegisterError, Registered, Registrar};
use crate::oauth_client::token::{self, Grant, TokenError};
use crate::types::{ScopeSet, Secret};

/// Longest that the user may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Why the code flow failed.
#[derive(Debug, Error)]
pub(in crate::stdio) enum CodeError {
    /// No socket for the browser to come back to.
    #[error("no port of this machine can be listened on: {0}")]
    NoSocket(std::io::Error),
    /// The server has only the device flow.
    #[error("the authorization server has no code flow")]
    NotOffered,
    /// The user did not come back.
    #[error("nobody logged in within 10 minutes")]
    TooLate,
    /// The answer brings no code.
    #[error(transparent)]
    Answer(#[from] AuthorizeError),
    /// The code brings no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// This machine fails.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A client with a socket that its redirects lead to.
pub(super) struct Flow {
    loopback: Loopback,
    client: Registered,
}

impl Flow {
    /// Binds the socket, and registers a client for it unless one is given or known.
    pub(super) async fn begin(
        registrar: Registrar<'_>,
        known: Option<Registered>,
        port: u16,
    ) -> Result<Self, LoginError> {
        let bind = async |port| Loopback::bind(port).await.map_err(CodeError::NoSocket);
        if let Some(client) = registrar.given() {
            let loopback = bind(port).await?;
            return Ok(Self { loopback, client });
        }
        // Not every server lets the port vary (RFC 8252 §7.3), so the registered one comes first.
        if let Some(client) = known
            && let Some(known) = client.redirect.as_deref().and_then(Loopback::port_of)
            && (port == 0 || port == known)
            && let Ok(loopback) = bind(known).await
        {
            return Ok(Self { loopback, client });
        }
        let loopback = bind(port).await?;
        let client: Result<_, RegisterError> = registrar.register(Some(&loopback.redirect())).await;
        Ok(Self {
            loopback,
            client: client?,
        })
    }

    /// Who we are there.
    pub(super) fn client(&self) -> &Registered {
        &self.client
    }

    /// Sends the user there and waits.
    pub(super) async fn log_in(
        self,
        http: &Http,
        place: &Place,
        scopes: &ScopeSet,
        browser: bool,
    ) -> Result<Grant, CodeError> {
        let Self { loopback, client } = self;
        let (state, pkce) = (random()?, Pkce::new()?);
        let redirect = loopback.redirect();
        let endpoint = place.server.authorization.as_ref();
        let url = Authorization {
            client_id: &client.id,
            redirect: &redirect,
            state: &state,
            pkce: &pkce,
            resource: &place.resource,
            scopes,
        }
        .url(endpoint.ok_or(CodeError::NotOffered)?);
        // For a person, and so not as a log line.
        eprintln!("To log in, open this in a browser on this machine:\n\n  {url}\n");
        if browser {
            open_browser(url.as_str());
        }
        let expected = Expected {
            state: Secret::new(state),
            issuer: place.server.issuer.clone(),
            promises_iss: place.server.promises_iss,
        };
        let code = tokio::time::timeout(PATIENCE, loopback.code(expected)).await;
        let code = code.map_err(|_| CodeError::TooLate)??;
        let verifier = pkce.verifier.reveal();
        let redeemed = token::redeem(http, place, &client, &code, &redirect, verifier);
        Ok(redeemed.await?.asked(scopes))
    }
}

/// Tries to open a browser. Who has none opens the printed URL elsewhere.
fn open_browser(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let child = tokio::process::Command::new(program)
        .arg(url)
        // Our own standard output is not its to write to.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = child {
        debug!(%error, "no browser was opened");
    }
}
