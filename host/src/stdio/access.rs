//! Who the bridge comes as: a given token, a login, or the local gateway's own issuer.

use std::sync::Arc;

use thiserror::Error;

use super::local::Issuer;
use super::oauth::{Challenge, Login, LoginError};
use crate::types::Secret;

/// Why there is no way in. The texts go to the client and tell the user what to do.
#[derive(Clone, Debug, Error)]
pub(super) enum AccessError {
    /// The given token is refused; carries the server's words.
    #[error(
        "the MCP server refuses the token in CORTEX_STDIO_TOKEN{0}: set a valid one in this client's configuration, or none to log in"
    )]
    Refused(String),
    /// The login failed.
    #[error(transparent)]
    Login(#[from] Arc<LoginError>),
}

/// What to do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send it again: there is another token now.
    Retry,
    /// Nothing can be done: the server's answer stands.
    GiveUp,
}

/// Where tokens come from.
pub(super) enum Access {
    /// From the environment.
    Given(Secret),
    /// From an authorization server, once the MCP server asks for one.
    Login(Arc<Login>),
    /// From the local gateway's own issuer.
    Local(Arc<Issuer>),
}

impl Access {
    /// The token of the moment, if there is one.
    pub(super) async fn token(&self) -> Result<Option<Secret>, AccessError> {
        Ok(match self {
            Self::Given(token) => Some(token.clone()),
            Self::Login(login) => login.token().await?,
            Self::Local(issuer) => Some(issuer.token().await),
        })
    }

    /// After 401 for this token.
    pub(super) async fn unauthorized(
        &self,
        used: Option<&Secret>,
        challenge: Challenge,
    ) -> Result<Next, AccessError> {
        match self {
            Self::Given(_) => {
                let why = challenge.description().map(|why| format!(" ({why})"));
                Err(AccessError::Refused(why.unwrap_or_default()))
            }
            Self::Login(login) => Ok(login.renew(used, challenge).await?),
            Self::Local(issuer) => {
                issuer.forget().await;
                Ok(Next::Retry)
            }
        }
    }

    /// After 403 for want of scopes.
    pub(super) async fn insufficient(
        &self,
        used: Option<&Secret>,
        challenge: Challenge,
    ) -> Result<Next, AccessError> {
        match self {
            Self::Given(_) => Ok(Next::GiveUp),
            Self::Login(login) => Ok(login.step_up(used, challenge).await?),
            Self::Local(issuer) => Ok(if issuer.allow(challenge.scopes()).await {
                Next::Retry
            } else {
                Next::GiveUp
            }),
        }
    }
}
