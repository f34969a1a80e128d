//! Scopes that every token must have, whatever it is used for (`OAUTH_REQUIRED_SCOPES`).
//!
//! The dev bypass is no token and has no issuer that could grant more.

use super::Refusal;
use super::auth::{Authenticated, Caller};
use super::rate::WithinRate;
use crate::config::Config;

/// A request whose token has the base scopes.
pub(super) struct WithBaseScopes(Authenticated);

impl WithBaseScopes {
    pub(super) fn into_inner(self) -> Authenticated {
        self.0
    }
}

/// Lets a request pass whose token has every base scope. The refusal names them all.
pub(super) fn check(config: &Config, request: WithinRate) -> Result<WithBaseScopes, Refusal> {
    let request = request.into_inner();
    allows(config, request.caller())?;
    Ok(WithBaseScopes(request))
}

/// Whether a caller has every base scope.
pub(super) fn allows(config: &Config, caller: &Caller) -> Result<(), Refusal> {
    let principal = caller.principal();
    if let Some(oauth) = &config.oauth
        && !principal.dev_bypass
        && !principal.scopes.contains_all(&oauth.required_scopes)
    {
        return Err(Refusal::InsufficientScope {
            required: oauth.required_scopes.clone(),
            granted: principal.scopes.clone(),
        });
    }
    Ok(())
}
