//! Who comes to the gateway's other doors: with an access token, like an MCP client, or in a browser,
//! without one.

use super::{Arrival, Gateway, Refusal, auth, base_scopes, client_address, credential, pool, rate};
use crate::account::Owner;

/// Who came with an access token, or the dev bypass; `None`: somebody without either. Counted like any
/// request; whoever comes without a token counts for where they come from.
///
/// # Errors
/// [`Refusal`], for whoever presents a bad token, comes too often, or may not use this gateway.
pub async fn visitor(gw: &Gateway, arrival: &Arrival) -> Result<Option<Owner>, Refusal> {
    let address = client_address::of(&gw.config.trusted_proxies, arrival);
    let known = auth::caller(gw, arrival).await;
    rate::count(gw, address, known.as_ref().ok()).await?;
    let caller = match known {
        Err(Refusal::Unauthenticated) => return Ok(None),
        known => known?,
    };
    base_scopes::allows(&gw.config, &caller)?;
    pool::allows(&gw.config, &caller)?;
    Ok(Some(credential::owner(&caller)))
}
