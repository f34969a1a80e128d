//! The token of the moment, renewed a minute before it ends, once for all who wait.
//!
//! A renewal runs to its end even if nobody waits for it any more, and what it brings is on disk
//! before it is used. Providers that give out a new refresh token each time take the old one until the
//! new one was used; so whatever ends the gateway, one of the two is there and good.
//!
//! Of the gateways of a fleet one renews an account at a time: whoever has the account's lease, which
//! outlives any exchange with a provider. It is kept where the vault is, so that whoever can read a refresh token
//! can also find out whose turn it is, and no loss of anything else gives two the same turn. Who gets it looks first
//! whether the vault has a newer token. While the database cannot be asked which gateway renews it, nobody does: strict
//! providers end a grant of which a refresh token comes twice, and the token at hand may be good for a while yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tracing::{info, warn};

use super::{Accounts, Owner};
use crate::fleet::{Away, Lease, Leases};
use crate::oauth_client::discover::{Place, Server};
use crate::oauth_client::token::{self, Grant};
use crate::plugin::Shown;
use crate::types::{BackendId, Secret};
use crate::vault::{Account, Kept, Vault, VaultError};

/// A token is renewed this many seconds before it ends.
const EARLY: u64 = 60;
/// While another gateway renews it, a token is used that lives for so many seconds more.
const ENOUGH: u64 = 10;
/// How long after the death of a gateway that renews another one may: longer than the provider may still
/// be busy with what the dead one sent, and much longer than a lease goes without being renewed.
const LEASE: Duration = Duration::from_secs(60);
/// Longest that a call waits for another gateway that renews.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon a store that is away is tried again to keep a renewed token: first this, then twice as long each time,
const KEEP_AGAIN: Duration = Duration::from_millis(200);
/// at most this,
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// and for so long.
const KEEP_TRYING: Duration = Duration::from_secs(120);
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
pub(super) struct Renewals {
    here: Mutex<HashMap<(Owner, BackendId), Weak<Turn>>>,
    leases: Leases,
}

/// Held by whoever renews, of those here. When another gateway was waited for in vain, last.
type Turn = tokio::sync::Mutex<Option<Instant>>;

impl Renewals {
    pub(super) fn new(leases: Leases) -> Self {
        Self {
            here: Mutex::default(),
            leases,
        }
    }

    fn turn(&self, owner: &Owner, server: &BackendId) -> Arc<Turn> {
        let mut all = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() > TIDY {
            all.retain(|_, turn| turn.strong_count() > 0);
        }
        let place = all.entry((owner.clone(), server.clone())).or_default();
        match place.upgrade() {
            Some(turn) => turn,
            None => {
                let turn = Arc::new(Turn::new(None));
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
            let mut turn = turn.lock().await;
            match this.renewals.leases.are_alone() {
                true => this.renew(&owner, &server, &unfit, None).await,
                false => this.renew_in_turn(&owner, &server, &unfit, &mut turn).await,
            }
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

    /// Renews it when no other gateway does.
    async fn renew_in_turn(
        &self,
        owner: &Owner,
        server: &BackendId,
        unfit: &Unfit,
        in_vain: &mut Option<Instant>,
    ) -> Result<Option<Found>, NoAccount> {
        // Whoever waited behind a renewal here has its token.
        let (Unfit::Old(before) | Unfit::Refused(before)) = unfit;
        let is_other = |found: &Found| !found.token.matches(before.reveal().as_bytes());
        if let Some(found) = self.good_enough(owner, server, unfit, 0).await?
            && is_other(&found)
        {
            return Ok(Some(found));
        }
        let leases = &self.renewals.leases;
        let name = lease_name(owner, server);
        let lease = match leases.try_lease(&name, LEASE).await {
            Ok(Some(lease)) => Ok(lease),
            Ok(None) => {
                if let Some(found) = self.good_enough(owner, server, unfit, ENOUGH).await? {
                    return Ok(Some(found));
                }
                // One waits, and those behind it need not do so, too.
                let waited = in_vain.is_some_and(|at| at.elapsed() < PATIENCE);
                let patience = if waited { Duration::ZERO } else { PATIENCE };
                let waiting = tokio::time::timeout(patience, leases.lease(&name, LEASE));
                let late = "another gateway is renewing it and takes too long";
                match waiting.await {
                    Ok(lease) => lease,
                    Err(_) => {
                        if !waited {
                            *in_vain = Some(Instant::now());
                        }
                        return self.at_hand(owner, server, unfit, late).await;
                    }
                }
            }
            Err(Away) => Err(Away),
        };
        match lease {
            Ok(lease) => self.renew(owner, server, unfit, Some(&lease)).await,
            Err(Away) => {
                let apart = "the database cannot be asked which gateway renews it";
                self.at_hand(owner, server, unfit, apart).await
            }
        }
    }

    /// The token that is there, as long as it lives; without any, it cannot be renewed, and this is why.
    async fn at_hand(
        &self,
        owner: &Owner,
        server: &BackendId,
        unfit: &Unfit,
        why: &str,
    ) -> Result<Option<Found>, NoAccount> {
        match self.good_enough(owner, server, unfit, 0).await? {
            Some(found) => Ok(Some(found)),
            None => {
                warn!(backend.id = %server, "an account's token cannot be renewed: {why}");
                Err(NoAccount::Unavailable(why.to_owned()))
            }
        }
    }

    /// A token in the vault that lives for so many seconds, and was not refused.
    async fn good_enough(
        &self,
        owner: &Owner,
        server: &BackendId,
        unfit: &Unfit,
        seconds: u64,
    ) -> Result<Option<Found>, NoAccount> {
        let Some(vault) = &self.vault else {
            return Ok(None);
        };
        let kept = vault.get(owner, server).await?;
        Ok(kept.and_then(|kept| {
            let grant = kept.account.grant.as_ref()?;
            let is_refused = matches!(unfit, Unfit::Refused(token)
                if grant.access.matches(token.reveal().as_bytes()));
            (!is_refused && grant.lives_for(seconds)).then(|| found(&kept.account, grant))
        }))
    }

    /// `lease`: by which right, where there are other gateways.
    async fn renew(
        &self,
        owner: &Owner,
        server: &BackendId,
        unfit: &Unfit,
        lease: Option<&Lease>,
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
        if lease.is_some_and(|lease| !lease.is_held()) {
            let lost = "the right to renew it was lost meanwhile";
            return match still_good {
                true => Ok(Some(found(&kept.account, grant))),
                false => Err(NoAccount::Unavailable(lost.to_owned())),
            };
        }
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

/// The name of the lease of an account. It tells nobody whose it is.
fn lease_name(owner: &Owner, server: &BackendId) -> Vec<u8> {
    let hash = Sha256::new_with_prefix("cortex account renewal");
    let parts = [
        owner.issuer.as_str(),
        owner.subject.as_str(),
        server.as_str(),
    ];
    let hash = parts.iter().fold(hash, |hash, part| {
        let length = (part.len() as u64).to_be_bytes();
        hash.chain_update(length).chain_update(part)
    });
    [b"account/", &hash.finalize()[..]].concat()
}

/// Keeps a renewed grant, and only then lets anybody use it. The refresh token of before may be worth nothing
/// any more: a store that is away for a while must not cost the grant.
async fn keep(
    vault: &Vault,
    owner: &Owner,
    server: &BackendId,
    before: &Kept,
    fresh: Grant,
) -> Result<Option<Found>, NoAccount> {
    let (began, mut pause) = (Instant::now(), KEEP_AGAIN);
    loop {
        let error = match try_to_keep(vault, owner, server, before, &fresh).await {
            Err(VaultError::Store(error)) => error,
            outcome => return Ok(outcome?),
        };
        if began.elapsed() > KEEP_TRYING {
            return Err(VaultError::from(error).into());
        }
        if pause == KEEP_AGAIN {
            warn!(backend.id = %server, %error, "an account's renewed token cannot be kept now: it is tried again");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn try_to_keep(
    vault: &Vault,
    owner: &Owner,
    server: &BackendId,
    before: &Kept,
    fresh: &Grant,
) -> Result<Option<Found>, VaultError> {
    let renewed = found(&before.account, fresh);
    let account = Account {
        grant: Some(fresh.clone()),
        ..before.account.clone()
    };
    if vault.replace(owner, server, before, &account).await? {
        return Ok(Some(renewed));
    }
    // Sealed anew with another key meanwhile, or linked anew, or unlinked; or kept by a try that failed only
    // to say so.
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
