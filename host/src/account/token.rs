//! The token of the moment, renewed a minute before it ends, once for all who wait.
//!
//! A renewal runs to its end even if nobody waits for it any more, and what it brings is on disk
//! before it is used. Providers that give out a new refresh token each time take the old one until the
//! new one was used; so whatever ends the gateway, one of the two is there and good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use thiserror::Error;
use tracing::{info, warn};

use super::{Accounts, Owner};
use crate::oauth_client::discover::{Place, Server};
use crate::oauth_client::token::{self, Grant};
use crate::plugin::Shown;
use crate::types::{BackendId, Secret};
use crate::vault::{Account, Kept, Vault, VaultError};

/// A token is renewed this many seconds before it ends.
const EARLY: u64 = 60;
/// Ids of renewals that are over are thrown away from this many on.
const TIDY: usize = 1_024;

/// Why there is no token, though there may have been an account.
#[derive(Clone, Debug, Error)]
pub enum NoAccount {
    /// The grant has ended: it has to be linked again.
    #[error("the account has to be linked again")]
    Ended,
    /// It cannot be renewed at the moment.
    #[error("the account's token cannot be renewed at the moment: {0}")]
    Unavailable(String),
    /// The vault failed.
    #[error("the vault failed: {0}")]
    Vault(String),
}

impl From<VaultError> for NoAccount {
    fn from(error: VaultError) -> Self {
        match error {
            // Nothing opens it any more: only linking it anew helps.
            VaultError::OtherKey(_) | VaultError::Damaged => Self::Ended,
            error => Self::Vault(error.to_string()),
        }
    }
}

/// A token that another one is wanted for.
#[derive(Clone, Debug)]
pub enum Unfit {
    /// It ends soon, or has ended.
    Old(Secret),
    /// The server did not take it.
    Refused(Secret),
}

/// The token of an account.
#[derive(Clone, Debug)]
pub struct Found {
    /// The access token.
    pub token: Secret,
    /// Which account it is: changes when another one is linked.
    pub account: u64,
}

impl Found {
    /// As a backend is shown it.
    pub fn shown(self) -> Shown {
        Shown::Account(self.token, self.account)
    }
}

fn found(account: &Account, grant: &Grant) -> Found {
    Found {
        token: grant.access.clone(),
        account: account.linked_at,
    }
}

/// Renewals that are under way, one at a time for each account.
#[derive(Default)]
pub(super) struct Renewals(Mutex<HashMap<(Owner, BackendId), Weak<Turn>>>);

/// Held by whoever renews.
type Turn = tokio::sync::Mutex<()>;

impl Renewals {
    fn turn(&self, owner: &Owner, server: &BackendId) -> Arc<Turn> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > TIDY {
            all.retain(|_, turn| turn.strong_count() > 0);
        }
        let place = all.entry((owner.clone(), server.clone())).or_default();
        match place.upgrade() {
            Some(turn) => turn,
            None => {
                let turn = Arc::new(Turn::new(()));
                *place = Arc::downgrade(&turn);
                turn
            }
        }
    }
}

impl Accounts {
    /// The token of somebody's account at a server. `None`: no account is linked.
    ///
    /// # Errors
    /// [`NoAccount`].
    pub async fn token(
        self: &Arc<Self>,
        owner: &Owner,
        server: &BackendId,
    ) -> Result<Option<Found>, NoAccount> {
        let Some(vault) = &self.vault else {
            return Ok(None);
        };
        let Some(kept) = vault.get(owner, server).await? else {
            return Ok(None);
        };
        match &kept.account.grant {
            None => Err(NoAccount::Ended),
            Some(grant) if grant.lives_for(EARLY) => Ok(Some(found(&kept.account, grant))),
            Some(grant) if grant.refresh.is_none() && grant.lives_for(0) => {
                Ok(Some(found(&kept.account, grant)))
            }
            Some(grant) => {
                let old = Unfit::Old(grant.access.clone());
                self.renewed(owner, server, old).await
            }
        }
    }

    /// Another token than this one. `None`: the account is gone.
    ///
    /// # Errors
    /// [`NoAccount`].
    pub async fn renewed(
        self: &Arc<Self>,
        owner: &Owner,
        server: &BackendId,
        unfit: Unfit,
    ) -> Result<Option<Found>, NoAccount> {
        let (this, owner, server) = (Arc::clone(self), owner.clone(), server.clone());
        let renewing = tokio::spawn(async move {
            let turn = this.renewals.turn(&owner, &server);
            let _turn = turn.lock().await;
            this.renew(&owner, &server, &unfit).await
        });
        let ended = "the renewal ended unexpectedly";
        let outcome = renewing.await;
        outcome.unwrap_or_else(|_| Err(NoAccount::Unavailable(ended.to_owned())))
    }

    /// A server did not take a token that was renewed a moment ago, either: the account has ended.
    ///
    /// # Errors
    /// [`NoAccount::Vault`].
    pub async fn refused(
        &self,
        owner: &Owner,
        server: &BackendId,
        token: &Secret,
    ) -> Result<(), NoAccount> {
        let Some(vault) = &self.vault else {
            return Ok(());
        };
        let kept = vault.get(owner, server).await?;
        let kept = kept.filter(|kept| {
            let grant = kept.account.grant.as_ref();
            grant.is_some_and(|grant| grant.access.matches(token.reveal().as_bytes()))
        });
        match kept {
            Some(kept) => end(vault, owner, server, &kept, "the server does not take it").await,
            None => Ok(()),
        }
    }

    async fn renew(
        &self,
        owner: &Owner,
        server: &BackendId,
        unfit: &Unfit,
    ) -> Result<Option<Found>, NoAccount> {
        let (Some(vault), Some(provider)) = (&self.vault, self.providers.get(server)) else {
            return Ok(None);
        };
        let Some(kept) = vault.get(owner, server).await? else {
            return Ok(None);
        };
        let Some(grant) = &kept.account.grant else {
            return Err(NoAccount::Ended);
        };
        let (before, is_refused) = match unfit {
            Unfit::Old(token) => (token, false),
            Unfit::Refused(token) => (token, true),
        };
        // Somebody else has renewed it, or linked it anew, while this one waited.
        let is_newer = !grant.access.matches(before.reveal().as_bytes());
        if is_newer && grant.lives_for(0) {
            return Ok(Some(found(&kept.account, grant)));
        }
        let still_good = !is_refused && grant.lives_for(0);
        let Some(refresh) = &grant.refresh else {
            if still_good {
                return Ok(Some(found(&kept.account, grant)));
            }
            end(vault, owner, server, &kept, "it cannot be renewed").await?;
            return Err(NoAccount::Ended);
        };
        let place = place(&kept.account);
        let answer = token::refresh(&provider.http, &place, &kept.account.client, refresh).await;
        match &answer {
            Ok(_) => provider.renewals.good.one(),
            Err(_) => provider.renewals.failed.one(),
        }
        match answer.map(|answer| answer.after(grant)) {
            Ok(fresh) => keep(vault, owner, server, &kept, fresh).await,
            Err(error) if error.is_final() => {
                if error.code() == Some("invalid_client") {
                    let redirect = self.clients.callback(server);
                    self.clients.forget(&place.server.issuer, &redirect).await;
                }
                end(vault, owner, server, &kept, &error.to_string()).await?;
                Err(NoAccount::Ended)
            }
            // It is good for a while yet.
            Err(error) if still_good => {
                warn!(backend.id = %server, "an account's token cannot be renewed: {error}; the one at hand is used until it ends");
                Ok(Some(found(&kept.account, grant)))
            }
            Err(error) => {
                warn!(backend.id = %server, "an account's token cannot be renewed: {error}");
                Err(NoAccount::Unavailable(error.to_string()))
            }
        }
    }
}

/// Keeps a renewed grant, and only then lets anybody use it.
async fn keep(
    vault: &Vault,
    owner: &Owner,
    server: &BackendId,
    before: &Kept,
    fresh: Grant,
) -> Result<Option<Found>, NoAccount> {
    let renewed = found(&before.account, &fresh);
    let account = Account {
        grant: Some(fresh),
        ..before.account.clone()
    };
    if vault.replace(owner, server, before, &account).await? {
        return Ok(Some(renewed));
    }
    // Sealed anew with another key meanwhile, or linked anew, or unlinked.
    let Some(now) = vault.get(owner, server).await? else {
        return Ok(None);
    };
    let same = match (&now.account.grant, &before.account.grant) {
        (Some(now), Some(before)) => now.access.matches(before.access.reveal().as_bytes()),
        _ => false,
    };
    if same && vault.replace(owner, server, &now, &account).await? {
        return Ok(Some(renewed));
    }
    let grant = now.account.grant.as_ref();
    Ok(grant.map(|grant| found(&now.account, grant)))
}

/// The grant has ended. What is left says so.
async fn end(
    vault: &Vault,
    owner: &Owner,
    server: &BackendId,
    before: &Kept,
    why: &str,
) -> Result<(), NoAccount> {
    info!(backend.id = %server, "an account has ended and has to be linked again: {why}");
    let account = Account {
        grant: None,
        ..before.account.clone()
    };
    // Something newer is not touched.
    vault.replace(owner, server, before, &account).await?;
    Ok(())
}

/// Where the grant is renewed.
fn place(account: &Account) -> Place {
    let origin = &account.origin;
    Place {
        resource: origin.resource.clone(),
        scopes: None,
        server: Server {
            issuer: origin.issuer.clone(),
            authorization: None,
            token: origin.token.clone(),
            device: None,
            registration: None,
            revocation: origin.revocation.clone(),
            reads_documents: false,
            promises_iss: false,
            secret_in_form: account.client.secret_in_form,
            offline_access: false,
        },
    }
}
