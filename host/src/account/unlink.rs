//! Taking a grant back: forgotten here, and revoked where it was granted if that can be done.

use tracing::{info, warn};

use super::{Accounts, Owner};
use crate::oauth_client::revoke;
use crate::types::{BackendId, Subject};
use crate::vault::{Account, VaultError};

impl Accounts {
    /// Unlinks an account. False: there was none.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn unlink(&self, owner: &Owner, server: &BackendId) -> Result<bool, VaultError> {
        let Some(vault) = &self.vault else {
            return Ok(false);
        };
        let account = match vault.get(owner, server).await {
            Ok(None) => return Ok(false),
            Ok(Some(kept)) => Some(kept.account),
            // It can be forgotten though nothing opens it.
            Err(VaultError::OtherKey(_) | VaultError::Damaged) => None,
            Err(error) => return Err(error),
        };
        // First here: whatever the provider says, it is used no more.
        vault.remove(owner, server).await?;
        info!(backend.id = %server, "an account was unlinked");
        if let Some(account) = account {
            self.revoke(server, &account).await;
        }
        Ok(true)
    }

    /// Forgets all accounts of a subject, and has them revoked. Returns how many there were.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn forget(&self, subject: &Subject) -> Result<usize, VaultError> {
        let Some(vault) = &self.vault else {
            return Err(VaultError::NoKey);
        };
        let (accounts, forgotten) = vault.forget(subject).await?;
        for account in &accounts {
            let at = self.providers.iter().find(|(_, provider)| {
                crate::oauth_client::discover::covers(
                    &account.origin.resource,
                    &provider.config.endpoint,
                )
            });
            if let Some((server, _)) = at {
                self.revoke(server, account).await;
            }
        }
        Ok(forgotten)
    }

    /// RFC 7009: the refresh token, with which the provider ends what came of it; else the access
    /// token.
    pub(super) async fn revoke(&self, server: &BackendId, account: &Account) {
        let (Some(provider), Some(endpoint), Some(grant)) = (
            self.providers.get(server),
            &account.origin.revocation,
            &account.grant,
        ) else {
            return;
        };
        let (token, hint) = match &grant.refresh {
            Some(refresh) => (refresh, "refresh_token"),
            None => (&grant.access, "access_token"),
        };
        let revoked = revoke::revoke(&provider.http, endpoint, &account.client, token, hint).await;
        if let Err(error) = revoked {
            warn!(backend.id = %server, "an unlinked account could not be revoked at its provider: {error}");
        }
    }
}
