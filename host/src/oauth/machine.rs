//! The gateway's own identity towards backends: what it presents to be told their catalogs.
//!
//! A token that was configured, or one that is fetched by client credentials (RFC 6749 §4.4) and
//! renewed before it ends. It serves catalog methods only and never stands for a user.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};
use url::{Url, form_urlencoded};

use super::fetch::shown;
use super::introspect::basic;
use super::metadata::{self, DiscoveryError};
use crate::config::{MachineConfig, TechnicalConfig};
use crate::outbound::{Client, SendError};
use crate::types::Secret;

/// Longest exchange.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer.
const MAX_ANSWER: usize = 64 * 1024;
/// How long a token lasts that does not say so (RFC 6749 §5.1 leaves it to us).
const DEFAULT_LIFE: Duration = Duration::from_secs(300);
/// Longest that one is kept, whatever it says.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A token is renewed when this part of its life is over.
const RENEWED_AFTER: f64 = 0.8;
/// How long an authorization server that gave no token is left alone.
const PAUSE: Duration = Duration::from_secs(2);

/// Why there is no token.
#[derive(Debug, Error)]
pub enum NoToken {
    /// The token endpoint cannot be found.
    #[error("the token endpoint cannot be found: {0}; hint: set CORTEX_TECHNICAL_TOKEN_URL")]
    NoEndpoint(String),
    /// It gives no answer.
    #[error("the token endpoint gives no answer: {0}")]
    NoAnswer(SendError),
    /// It refuses.
    #[error(
        "the token endpoint answers {0}; hint: check CORTEX_TECHNICAL_CLIENT_ID, CORTEX_TECHNICAL_CLIENT_SECRET and CORTEX_TECHNICAL_SCOPE"
    )]
    Refused(String),
    /// It answers something else than a bearer token.
    #[error("the token endpoint's answer is not what RFC 6749 §5.1 says")]
    Unusable,
    /// It was asked a moment ago.
    #[error("{0}")]
    Again(String),
}

impl From<DiscoveryError> for NoToken {
    fn from(error: DiscoveryError) -> Self {
        Self::NoEndpoint(error.to_string())
    }
}

/// What the gateway presents to backends.
#[derive(Clone)]
pub enum Technical {
    /// Nothing: no backend wants anything.
    None,
    /// A token that was configured.
    Static(Secret),
    /// Tokens that are fetched.
    Machine(Arc<Machine>),
}

impl Technical {
    /// As configured.
    pub fn new(config: &TechnicalConfig, client: Client) -> Self {
        match config {
            TechnicalConfig::None => Self::None,
            TechnicalConfig::Token(token) => Self::Static(token.clone()),
            TechnicalConfig::Machine(machine) => {
                Self::Machine(Arc::new(Machine::new(machine.clone(), client)))
            }
        }
    }

    /// The token of this moment. `refused`: a backend did not accept this one, so a fetched one is
    /// fetched anew.
    ///
    /// # Errors
    /// [`NoToken`].
    pub async fn token(&self, refused: Option<&Secret>) -> Result<Option<Secret>, NoToken> {
        match self {
            Self::None => Ok(None),
            Self::Static(token) => Ok(Some(token.clone())),
            Self::Machine(machine) => machine.token(refused).await.map(Some),
        }
    }

    /// The token that was configured, which other gateways may present, too.
    pub fn configured(&self) -> Option<&Secret> {
        match self {
            Self::Static(token) => Some(token),
            Self::None | Self::Machine(_) => None,
        }
    }

    /// Whether another token can be had when one is refused.
    pub fn renews(&self) -> bool {
        matches!(self, Self::Machine(_))
    }
}

/// Fetches tokens by client credentials.
pub struct Machine {
    config: MachineConfig,
    client: Client,
    /// Held while a token is fetched, so that many who wait have it fetched once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// What went wrong last, and when.
    wrong: Option<(Instant, String)>,
}

struct Held {
    token: Secret,
    renewed: Instant,
    ends: Instant,
}

impl Machine {
    fn new(config: MachineConfig, client: Client) -> Self {
        Self {
            config,
            client,
            state: Mutex::default(),
        }
    }

    async fn token(&self, refused: Option<&Secret>) -> Result<Secret, NoToken> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let usable = |held: &&Held| {
            held.ends > now && refused.is_none_or(|token| token.reveal() != held.token.reveal())
        };
        let held = state.held.as_ref().filter(usable);
        let held = held.map(|held| (held.token.clone(), held.renewed));
        if let Some((token, renewed)) = &held
            && *renewed > now
        {
            return Ok(token.clone());
        }
        if let Some((at, why)) = &state.wrong
            && at.elapsed() < PAUSE
        {
            let why = why.clone();
            return held.map_or(Err(NoToken::Again(why)), |(token, _)| Ok(token));
        }
        match self.fetch().await {
            Ok((token, life)) => {
                if state.wrong.take().is_some() {
                    info!("the gateway's own token can be had again");
                }
                let now = Instant::now();
                state.held = Some(Held {
                    token: token.clone(),
                    renewed: now + life.mul_f64(RENEWED_AFTER),
                    ends: now + life,
                });
                Ok(token)
            }
            Err(error) => {
                let first = state.wrong.is_none();
                state.wrong = Some((Instant::now(), error.to_string()));
                match held {
                    // What is held is good for a while yet.
                    Some((token, _)) => {
                        if first {
                            warn!(
                                "the gateway's own token cannot be renewed: {error}; the one at hand is used until it ends"
                            );
                        }
                        Ok(token)
                    }
                    None => Err(error),
                }
            }
        }
    }

    async fn fetch(&self) -> Result<(Secret, Duration), NoToken> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            token_type: String,
            expires_in: Option<u64>,
        }
        let url = self.endpoint().await?;
        let form = self.form();
        let credentials = basic(&self.config.client_id, &self.config.client_secret);
        let credentials = credentials.ok_or_else(|| {
            NoToken::Refused("nothing: the credentials fit into no header".to_owned())
        })?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, credentials)
            .body(Bytes::from(form))
            .map_err(|error| NoToken::NoEndpoint(error.to_string()))?;
        let answer = self.client.send(request, TIMEOUT, MAX_ANSWER).await;
        let answer = answer.map_err(NoToken::NoAnswer)?;
        if answer.status != StatusCode::OK {
            return Err(NoToken::Refused(refusal(answer.status, &answer.body)));
        }
        let answer: Answer = serde_json::from_slice(&answer.body).map_err(|_| NoToken::Unusable)?;
        let token = Secret::new(answer.access_token);
        if !answer.token_type.eq_ignore_ascii_case("bearer") || token.reveal().is_empty() {
            return Err(NoToken::Unusable);
        }
        let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        Ok((token, life.min(LONGEST_LIFE)))
    }

    /// RFC 6749 §4.4.2, RFC 8707 §2.
    fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.config.scope {
            form.append_pair("scope", scope);
        }
        if let Some(resource) = &self.config.resource {
            form.append_pair("resource", resource);
        }
        form.finish()
    }

    async fn endpoint(&self) -> Result<Url, NoToken> {
        match &self.config.token_url {
            Some(url) => Ok(url.clone()),
            None => Ok(metadata::token_endpoint(&self.client, &self.config.issuer).await?),
        }
    }
}

/// What a refusal says: the status and the error's code (RFC 6749 §5.2), which hold no secret.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => format!("{status}, `{}`", shown(&refusal.error)),
        Err(_) => status.to_string(),
    }
}
