//! The gateway as an OAuth 2.1 resource server: an access token in, a principal out.
//!
//! RFC 9068 §4 says what is checked, RFC 7517 with which keys, RFC 7662 how revocation is found
//! out. Knows nothing of requests and challenges.

mod cache;
mod examine;
mod exchange;
mod fetch;
#[cfg(fuzzing)]
pub mod fuzzing;
mod introspect;
mod json;
mod jwk;
mod jwks;
mod jwt;
mod machine;
mod metadata;
pub mod revocations;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing::debug;

use crate::config::OAuthConfig;
use crate::fleet::{Fleet, Heard, Topic};
use crate::oauth_client::seconds_now;
use crate::outbound::Client;
use crate::types::Secret;

use cache::{Entry, Tokens};
use introspect::{Introspection, State};
use jwks::{Held, Keys, Times};
use jwt::Expected;

pub use examine::{Introspected, IssuerKeys, issuer_keys, metadata_places, try_introspection};
pub use exchange::{Exchange, NotExchanged};
pub use jwt::{Invalid, Verified};
pub use machine::{NoToken, Technical};
pub use revocations::{Revocation, RevocationError, Revocations, Which};

/// Longest time for which a token is not verified again.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Why a token brings no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is not accepted.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It cannot be checked now: there are no keys, or introspection does not work. The log says
    /// why.
    #[error("access tokens cannot be checked at the moment; try again")]
    Unchecked,
}

/// What is counted of access tokens and the keys that verify them.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Tokens that had been verified before.
    pub found: u64,
    /// Tokens that had to be.
    pub verified: u64,
    /// Verified tokens that are remembered, roughly.
    pub kept: u64,
    /// Age of the issuer's keys, if there are any.
    pub keys_age: Option<Duration>,
    /// How often they were fetched.
    pub fetched: u64,
    /// How often they could not be.
    pub failed: u64,
    /// What introspection said, and how often.
    pub introspected: Vec<(&'static str, u64)>,
}

/// Verifies access tokens of one issuer.
pub struct ResourceServer {
    expected: Expected,
    keys: Arc<Keys>,
    introspection: Option<Introspection>,
    tokens: Tokens,
    /// What operators have revoked.
    revocations: Option<Arc<Revocations>>,
    fleet: Fleet,
}

impl ResourceServer {
    /// From the configuration. Fetches nothing yet.
    pub fn new(config: &OAuthConfig, client: Client) -> Self {
        Self::with_times(config, client, Times::DEFAULT)
    }

    fn with_times(config: &OAuthConfig, client: Client, times: Times) -> Self {
        let introspection = config.introspection.clone();
        Self {
            expected: Expected {
                issuer: config.issuer.clone(),
                audiences: config.audiences.clone(),
            },
            introspection: introspection.map(|config| Introspection::new(client.clone(), config)),
            keys: Arc::new(Keys::new(
                client,
                &config.issuer,
                config.jwks_url.clone(),
                times,
            )),
            tokens: Tokens::new(),
            revocations: None,
            fleet: Fleet::alone(),
        }
    }

    /// Minds what operators revoke, and what other gateways of a fleet learn of tokens.
    pub fn minding(mut self, revocations: Arc<Revocations>, fleet: &Fleet) -> Self {
        self.revocations = Some(revocations);
        self.fleet = fleet.clone();
        self
    }

    /// Follows what other gateways learn of tokens, for ever: what the issuer has said to one of them is asked
    /// again here. News that were missed are made up for when the answer that is remembered ends.
    pub async fn keep_told(&self) {
        let mut news = self.fleet.hear(Topic::Tokens);
        loop {
            if let Heard::Said(hash) = news.next().await
                && let Ok(hash) = hash.try_into()
                && let Some(held) = self.keys.held()
            {
                self.tokens.forget(hash, held.generation).await;
            }
        }
    }

    /// What is counted of tokens and keys.
    pub fn figures(&self) -> Figures {
        let (asked, verified) = self.tokens.used();
        let (fetched, failed) = self.keys.fetches();
        let introspection = self.introspection.iter();
        Figures {
            found: asked.saturating_sub(verified),
            verified,
            kept: self.tokens.len(),
            keys_age: self.keys.age(),
            fetched,
            failed,
            introspected: introspection.flat_map(Introspection::said).collect(),
        }
    }

    /// Keeps the issuer's keys fresh, for ever.
    pub async fn keep_fresh(&self) {
        self.keys.keep_fresh().await;
    }

    /// Who presents this token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn authenticate(&self, token: &Secret) -> Result<Arc<Verified>, TokenError> {
        if token.reveal().len() > jwt::MAX_TOKEN {
            return Err(Invalid::TooLong.into());
        }
        let held = match self.keys.held() {
            Some(held) => held,
            None => {
                // What is no token at all is not worth asking the issuer for keys.
                jwt::parse(token.reveal())?;
                Box::pin(self.keys.get())
                    .await
                    .ok_or(TokenError::Unchecked)?
            }
        };
        let verify = || self.verify(token, &held);
        let verified = self.tokens.get_or(token, held.generation, verify).await?;
        // The cache has a clock of its own, which stands still while a machine sleeps.
        if seconds_now() >= verified.expires_at.saturating_add(jwt::LEEWAY) {
            return Err(Invalid::Expired.into());
        }
        let revocations = self.revocations.as_ref();
        if revocations.is_some_and(|revocations| revocations.cover(&verified)) {
            return Err(Invalid::Revoked.into());
        }
        Ok(verified)
    }

    async fn verify(&self, token: &Secret, held: &Held) -> Result<Entry, TokenError> {
        let parts = jwt::parse(token.reveal())?;
        let now = seconds_now();
        let check = |held: &Held| jwt::verify(&parts, &held.keys, &self.expected, now);
        let verified = match check(held) {
            // The issuer may have a new key.
            Err(Invalid::UnknownKey) => {
                let newer = self.keys.fetch_for_request().await;
                check(newer.as_deref().ok_or(TokenError::Unchecked)?)
            }
            outcome => outcome,
        }?;
        let lives = verified.expires_at.saturating_add(jwt::LEEWAY) - now;
        let holds = self.introspect(token).await?;
        debug!(token.id = verified.token_id, "an access token was verified");
        Ok(Entry {
            verified: Arc::new(verified),
            holds: holds.min(Duration::from_secs(lives)),
            size: token.reveal().len(),
        })
    }

    /// Asks the issuer, if that is configured; returns for how long its answer holds.
    async fn introspect(&self, token: &Secret) -> Result<Duration, TokenError> {
        let Some(introspection) = &self.introspection else {
            return Ok(LONGEST);
        };
        match introspection.ask(token).await {
            State::Inactive => {
                self.tokens.inactive(token, &self.fleet).await;
                Err(Invalid::Revoked.into())
            }
            State::Misconfigured => Err(TokenError::Unchecked),
            State::Unanswered if !introspection.fails_open() => Err(TokenError::Unchecked),
            state => Ok(introspection.holds(state)),
        }
    }
}

#[cfg(test)]
mod tests;
