//! The pool sandbox: a gateway that is for one pool serves nobody else
//! (`CORTEX_REQUIRED_POOL`).
//!
//! The answer does not tell which pool it is for. The dev bypass has no pool and passes: it
//! works on the developer's own machine only.

use super::Refusal;
use super::auth::Authenticated;
use super::auth::Caller;
use super::base_scopes::WithBaseScopes;
use crate::config::Config;

/// A request of the pool that this gateway is for.
pub(super) struct InPool(Authenticated);

impl InPool {
    pub(super) fn into_inner(self) -> Authenticated {
        self.0
    }
}

/// Lets a request pass whose token names the pool, if one is required.
pub(super) fn check(config: &Config, request: WithBaseScopes) -> Result<InPool, Refusal> {
    let request = request.into_inner();
    allows(config, request.caller())?;
    Ok(InPool(request))
}

/// Whether this gateway is for this caller.
pub(super) fn allows(config: &Config, caller: &Caller) -> Result<(), Refusal> {
    let principal = caller.principal();
    if config.required_pool.is_some()
        && !principal.dev_bypass
        && principal.pool != config.required_pool
    {
        return Err(Refusal::OtherPool);
    }
    Ok(())
}
