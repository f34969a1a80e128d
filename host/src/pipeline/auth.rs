//! Who is calling? The dev bypass or an access token answers that, and nothing else.

mod bearer;
mod dev_bypass;

use std::sync::Arc;

use tracing::debug;

use super::version::Versioned;
use super::{Arrival, Gateway, Refusal};
use crate::mcp::version::ProtocolVersion;
use crate::oauth::TokenError;
use crate::types::{AccessToken, Principal, Secret};

/// A caller who was authenticated: only this module makes one.
#[derive(Clone)]
pub(super) struct Caller {
    principal: Arc<Principal>,
    token: AccessToken,
    /// The token's `jti`; the dev bypass has none.
    token_id: Option<String>,
}

impl Caller {
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The principal, for those who keep it.
    pub(super) fn shared(&self) -> Arc<Principal> {
        Arc::clone(&self.principal)
    }

    /// The `jti` of the token, if it is one.
    pub(super) fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// What a backend is given on the caller's behalf.
    pub(super) fn token(&self) -> &AccessToken {
        &self.token
    }
}

/// A request whose caller is known.
pub(super) struct Authenticated {
    pub(super) arrival: Arrival,
    pub(super) header: Option<ProtocolVersion>,
    caller: Caller,
}

impl Authenticated {
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn into_parts(self) -> (Arrival, Option<ProtocolVersion>, Caller) {
        (self.arrival, self.header, self.caller)
    }
}

/// Finds out who is calling.
pub(super) async fn authenticate(
    gw: &Gateway,
    request: Versioned,
) -> Result<Authenticated, Refusal> {
    let Versioned { arrival, header } = request;
    let caller = caller(gw, &arrival).await?;
    Ok(Authenticated {
        arrival,
        header,
        caller,
    })
}

/// Whether a request presents a token of which this holds.
pub(super) fn presents(arrival: &Arrival, is: impl FnOnce(&Secret) -> bool) -> bool {
    let token = bearer::token(&arrival.head.headers);
    token.ok().flatten().is_some_and(|token| is(&token))
}

/// Who has sent a request.
pub(super) async fn caller(gw: &Gateway, arrival: &Arrival) -> Result<Caller, Refusal> {
    match &gw.config.dev_bypass {
        Some(bypass) if dev_bypass::is_presented(bypass, arrival) => Ok(Caller {
            principal: Arc::new(dev_bypass::principal(bypass)),
            token: AccessToken::new(bypass.token.clone()),
            token_id: None,
        }),
        _ => by_token(gw, arrival).await,
    }
}

async fn by_token(gw: &Gateway, arrival: &Arrival) -> Result<Caller, Refusal> {
    let token = bearer::token(&arrival.head.headers)?.ok_or(Refusal::Unauthenticated)?;
    // Without an issuer no token can be good, and the client is told what it would need.
    let oauth = gw.oauth.as_ref().ok_or(Refusal::Unauthenticated)?;
    let verified = oauth.authenticate(&token).await;
    let verified = verified
        .inspect_err(|why| debug!(request.id = %arrival.id, "an access token is refused: {why}"))?;
    Ok(Caller {
        principal: Arc::clone(&verified.principal),
        token: AccessToken::new(token),
        token_id: Some(verified.token_id.clone()),
    })
}

/// Whether what a caller came in by would let the caller in again. Of a token that cannot be
/// checked at the moment nothing bad is known.
pub(super) async fn is_still_good(gw: &Gateway, caller: &Caller) -> bool {
    if caller.principal.dev_bypass {
        return true;
    }
    match &gw.oauth {
        Some(oauth) => !matches!(
            oauth.authenticate(caller.token.secret()).await,
            Err(TokenError::Invalid(_))
        ),
        None => false,
    }
}
