//! `cortex-gateway vault`: how the vault is, a change of its key, and forgetting somebody.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::Failed;
use crate::config;
use crate::pipeline::Gateway;
use crate::store::Store;
use crate::types::Subject;
use crate::vault::{Vault, VaultError};

/// What is asked about the vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accounts {
    /// How many accounts are linked, and which keys have sealed them.
    Status,
    /// Everything is to be sealed with the first key of the ring.
    Rotate,
    /// All accounts of a subject are to be forgotten.
    Forget {
        /// The `sub` of its access tokens.
        subject: String,
    },
}

impl From<VaultError> for Failed {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => Self::Store(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

pub(super) async fn run(
    gateway: Option<&Gateway>,
    store: &Store,
    asked: Accounts,
) -> Result<Value, Failed> {
    let vault = match gateway {
        Some(gateway) => gateway.accounts.vault().cloned().ok_or(VaultError::NoKey)?,
        None => {
            let keys = config::vault_keys().map_err(|wrong| Failed::Refused(wrong.to_string()))?;
            Vault::open(store, &keys).await?
        }
    };
    Ok(match asked {
        Accounts::Status => json!(vault.status().await?),
        Accounts::Rotate => {
            let rotated = vault.rotate().await?;
            info!(
                vault.resealed = rotated.resealed,
                vault.lost = rotated.lost,
                "the vault was sealed anew"
            );
            json!(rotated)
        }
        Accounts::Forget { subject } => {
            let subject = Subject::new(subject);
            // Only a running gateway can tell the providers.
            let (forgotten, revoked) = match gateway {
                Some(gateway) => (gateway.accounts.forget(&subject).await?, true),
                None => (vault.forget(&subject).await?.1, false),
            };
            info!(
                vault.forgotten = forgotten,
                "accounts of a subject were forgotten"
            );
            json!({ "forgotten": forgotten, "revocationTried": revoked })
        }
    })
}
