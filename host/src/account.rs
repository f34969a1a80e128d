//! Accounts of the gateway's users at MCP servers: linked once in a browser, renewed in time, used in
//! their calls, taken back when they say so.
//!
//! | module     | subject                                                               |
//! |------------|-----------------------------------------------------------------------|
//! | `provider` | an MCP server, and who gives out tokens for it                         |
//! | `token`    | the token of the moment, renewed once for all who wait                 |
//! | `link`     | the flow that links an account                                        |
//! | `sign_in`  | the flow by which a person signs in to the gateway's own pages         |
//! | `unlink`   | taking a grant back                                                    |
//! | `flow`     | what goes through a browser meanwhile                                   |
//! | `once`     | what may be used one time only                                        |
//!
//! Knows nothing of HTTP answers and of MCP.

mod code;
mod flow;
mod link;
mod once;
mod provider;
mod sign_in;
mod token;
mod unlink;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tracing::warn;
use url::Url;

use crate::config::{Config, TokenMode};
use crate::fleet::Fleet;
use crate::outbound::{Client, NoTls};
use crate::seal::Sealer;
use crate::store::Store;
use crate::types::BackendId;
use crate::vault::{Vault, VaultError};

pub use crate::vault::Owner;
pub use flow::{Cookie, cookie};
pub use link::{Begun, LinkError};
pub use provider::Renewals;
pub use sign_in::{Person, SignInError};
pub use token::{Found, NoAccount, Unfit};

use once::Once;
use provider::{Clients, Provider};
use sign_in::SignIn;

/// Path of the document by which authorization servers know the gateway (OAuth Client ID Metadata
/// Document).
pub const CLIENT_DOCUMENT: &str = "/api/link/client-metadata.json";
/// Path to which people come back who sign in to the gateway's pages.
pub const SIGNED_IN: &str = "/connections/signed-in";

/// How an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It was never linked, or was unlinked.
    Never,
    /// It can be used.
    Linked,
    /// The server's side has ended it: it has to be linked again.
    Expired,
}

/// Why accounts cannot be had at all.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] NoTls),
}

/// Everybody's accounts.
pub struct Accounts {
    vault: Option<Vault>,
    /// Seals what goes through browsers.
    sealer: Arc<Sealer>,
    providers: BTreeMap<BackendId, Provider>,
    sign_in: Option<SignIn>,
    clients: Clients,
    /// Flows that have ended.
    ended: Once,
    renewals: token::Renewals,
}

impl Accounts {
    /// As configured.
    ///
    /// # Errors
    /// [`AccountsError`], when the key is not the vault's.
    pub async fn open(
        config: &Config,
        store: &Store,
        sealer: Arc<Sealer>,
        client: &Client,
        fleet: &Fleet,
    ) -> Result<Self, AccountsError> {
        let vault = match &config.accounts.vault_keys[..] {
            [] => None,
            keys => Some(Vault::open(store, keys).await?),
        };
        let mut providers = BTreeMap::new();
        for backend in &config.backends {
            if let (TokenMode::Linked, Some(account)) = (backend.token, &backend.account) {
                let provider = Provider::new(&backend.id, account, &config.accounts)?;
                providers.insert(backend.id.clone(), provider);
            }
        }
        if vault.is_none() && Vault::is_used(store).await? {
            warn!(
                "accounts are linked, but nothing can open them; hint: set CORTEX_VAULT_KEY to the key they were sealed with"
            );
        }
        Ok(Self {
            clients: Clients::new(&config.canonical_uri, &config.identity.name, vault.clone()),
            vault,
            sealer,
            providers,
            sign_in: SignIn::new(config, client),
            ended: Once::new(fleet.clone()),
            renewals: token::Renewals::new(fleet.leases_of(store)),
        })
    }

    /// The MCP servers at which accounts can be linked, sorted.
    pub fn servers(&self) -> impl Iterator<Item = &BackendId> {
        self.providers.keys()
    }

    /// What is counted of renewed tokens, by server.
    pub fn renewals(&self) -> impl Iterator<Item = (&BackendId, &Renewals)> {
        let all = self.providers.iter();
        all.map(|(id, provider)| (id, &provider.renewals))
    }

    /// Whether accounts can be linked at this server.
    pub fn links(&self, server: &BackendId) -> bool {
        self.providers.contains_key(server)
    }

    /// Whether accounts can be kept: without a key they cannot.
    pub fn can_keep(&self) -> bool {
        self.vault.is_some()
    }

    /// Whether people can sign in to the gateway's pages.
    pub fn can_sign_in(&self) -> bool {
        self.sign_in.is_some()
    }

    /// How an account is. Asks nobody but the vault.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn standing(
        &self,
        owner: &Owner,
        server: &BackendId,
    ) -> Result<Standing, VaultError> {
        let Some(vault) = &self.vault else {
            return Ok(Standing::Never);
        };
        Ok(match vault.get(owner, server).await {
            Ok(None) => Standing::Never,
            Ok(Some(kept)) if kept.account.grant.is_some() => Standing::Linked,
            // What cannot be opened can only be linked anew.
            Ok(Some(_)) | Err(VaultError::OtherKey(_) | VaultError::Damaged) => Standing::Expired,
            Err(error) => return Err(error),
        })
    }

    /// The origin under which browsers know the gateway.
    pub fn origin(&self) -> &Url {
        self.clients.origin()
    }

    /// What authorization servers are told of the gateway, if they ask.
    pub fn client_document(&self) -> Option<serde_json::Value> {
        self.clients.document(self.providers.keys())
    }

    /// The vault, for operators.
    pub fn vault(&self) -> Option<&Vault> {
        self.vault.as_ref()
    }
}
