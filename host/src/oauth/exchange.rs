//! Tokens of callers, exchanged for tokens of backends (RFC 8693): a backend that is shown only these
//! cannot use them anywhere else.
//!
//! They are kept until shortly before they end, and exchanged once for all who wait.

use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;

use super::metadata;
use crate::config::{ExchangeConfig, ExchangeTarget};
use crate::oauth_client::exchange::{self, For};
use crate::oauth_client::fetch::Http;
use crate::oauth_client::register::Registered;
use crate::oauth_client::token::TokenError;
use crate::outbound::Client;
use crate::types::{BackendId, Secret};

/// Tokens that are kept.
const MOST: u64 = 20_000;
/// Exchanged anew this many seconds before the end.
const EARLY: u64 = 30;
/// Seconds that a token lasts that does not say so.
const DEFAULT_LIFE: u64 = 300;
/// Longest that one is kept, in seconds: the caller's own may have been revoked.
const LONGEST: u64 = 600;
/// Tokens that live for less than this many seconds are not kept.
const WORTH_KEEPING: u64 = 1;

/// Why there is no token for a backend.
#[derive(Clone, Debug, Error)]
pub enum NotExchanged {
    /// The authorization server says no.
    #[error("the authorization server gives no token for this backend: {0}")]
    Refused(String),
    /// It cannot be asked.
    #[error("the authorization server cannot be asked: {0}")]
    Unavailable(String),
}

/// Exchanges tokens.
pub struct Exchange {
    http: Http,
    plain: Client,
    config: ExchangeConfig,
    client: Registered,
    kept: Cache<(BackendId, [u8; 32]), Held>,
}

#[derive(Clone)]
struct Held {
    token: Secret,
    life: Duration,
}

/// Each is kept for as long as it says itself.
struct Life;

impl Expiry<(BackendId, [u8; 32]), Held> for Life {
    fn expire_after_create(
        &self,
        _: &(BackendId, [u8; 32]),
        held: &Held,
        _: Instant,
    ) -> Option<Duration> {
        Some(held.life)
    }
}

impl Exchange {
    /// As configured. Asks nobody yet.
    pub fn new(config: &ExchangeConfig, client: Client) -> Self {
        let issuer = config.token_url.clone().or(Url::parse(&config.issuer).ok());
        let local = issuer.as_ref().is_some_and(crate::config::is_loopback);
        Self {
            http: Http::of(client.clone(), local),
            plain: client,
            client: Registered {
                id: config.client.id.clone(),
                secret: config.client.secret.clone(),
                secret_in_form: false,
                redirect: None,
            },
            config: config.clone(),
            kept: Cache::builder()
                .max_capacity(MOST)
                .expire_after(Life)
                .build(),
        }
    }

    /// The token to show to a backend instead of `token`.
    ///
    /// # Errors
    /// [`NotExchanged`]. The caller's own token is not shown then, either.
    pub async fn token(
        &self,
        backend: &BackendId,
        target: &ExchangeTarget,
        token: &Secret,
    ) -> Result<Secret, NotExchanged> {
        let key = (
            backend.clone(),
            Sha256::digest(token.reveal().as_bytes()).into(),
        );
        let held = self.kept.try_get_with(key, self.fetch(target, token));
        match held.await {
            Ok(held) => Ok(held.token),
            Err(error) => Err((*error).clone()),
        }
    }

    async fn fetch(&self, target: &ExchangeTarget, token: &Secret) -> Result<Held, NotExchanged> {
        let endpoint = self.endpoint().await?;
        let wanted = For {
            audience: target.audience.as_deref(),
            resource: Some(&target.resource),
            scope: target.scope.as_deref(),
        };
        let answer = exchange::exchange(&self.http, &endpoint, &self.client, token, wanted).await;
        let answer = answer.map_err(|error| match error {
            TokenError::Http(error) => NotExchanged::Unavailable(error.to_string()),
            error => NotExchanged::Refused(error.to_string()),
        })?;
        let life = answer.seconds_left().unwrap_or(DEFAULT_LIFE);
        let life = life.saturating_sub(EARLY).clamp(WORTH_KEEPING, LONGEST);
        Ok(Held {
            token: answer.into_access(),
            life: Duration::from_secs(life),
        })
    }

    async fn endpoint(&self) -> Result<Url, NotExchanged> {
        match &self.config.token_url {
            Some(url) => Ok(url.clone()),
            None => metadata::token_endpoint(&self.plain, &self.config.issuer)
                .await
                .map_err(|error| NotExchanged::Unavailable(error.to_string())),
        }
    }
}
