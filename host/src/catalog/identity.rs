//! As whom backends are asked for their catalogs: as the gateway itself, or with the account that the
//! operator named. Never as a caller.

use std::sync::Arc;

use crate::account::{Accounts, NoAccount, Owner, Unfit};
use crate::config::TokenMode;
use crate::oauth::Technical;
use crate::plugin::model::{CallError, Catalog};
use crate::plugin::{Adapter, Backend, Fault, Shown};
use crate::types::{Issuer, Secret};

/// What the gateway can present.
#[derive(Clone)]
pub struct Identity {
    /// The gateway's own identity.
    pub technical: Technical,
    /// Everybody's accounts, of which only named ones are used.
    pub accounts: Arc<Accounts>,
    /// Whose subjects the named ones are.
    pub issuer: Option<Issuer>,
}

/// What is presented to one backend.
pub(super) struct Presented {
    technical: Option<Secret>,
    shown: Shown,
}

impl Presented {
    /// A text of the backend without what it was shown: it may say that back, and the text goes into the log.
    pub(super) fn taken_out_of(&self, text: String) -> String {
        let shown = match &self.shown {
            Shown::Caller(token) | Shown::Account(token, _) => Some(token),
            Shown::Nothing | Shown::Never => None,
        };
        let secrets = self.technical.iter().chain(shown).map(Secret::reveal);
        let secrets = secrets.filter(|secret| !secret.is_empty());
        secrets.fold(text, |text, secret| text.replace(secret, "[redacted]"))
    }

    pub(super) async fn discover(
        &self,
        adapter: &Adapter,
        backend: &Backend,
    ) -> Result<Result<Catalog, CallError>, Fault> {
        adapter
            .discover(backend, self.technical.as_ref(), &self.shown)
            .await
    }
}

impl Identity {
    /// What to present now. `refused`: it did not accept this.
    pub(super) async fn presented(
        &self,
        backend: &Backend,
        refused: Option<Presented>,
    ) -> Result<Presented, String> {
        let nothing = Presented {
            technical: None,
            shown: Shown::Nothing,
        };
        match backend.token {
            TokenMode::None => Ok(Presented {
                shown: Shown::Never,
                ..nothing
            }),
            TokenMode::Passthrough | TokenMode::Exchange => {
                let refused = refused.and_then(|presented| presented.technical);
                let technical = self.technical.token(refused.as_ref()).await;
                Ok(Presented {
                    technical: technical.map_err(|error| error.to_string())?,
                    ..nothing
                })
            }
            TokenMode::Linked => {
                let Some(owner) = self.owner(backend) else {
                    return Ok(nothing);
                };
                let token = match refused.map(|presented| presented.shown) {
                    Some(Shown::Account(token, _)) => {
                        self.accounts
                            .renewed(&owner, &backend.id, Unfit::Refused(token))
                            .await
                    }
                    _ => self.accounts.token(&owner, &backend.id).await,
                };
                let found = match token {
                    Ok(found) => found,
                    Err(NoAccount::Ended) => None,
                    Err(error) => return Err(error.to_string()),
                };
                Ok(Presented {
                    shown: found.map_or(Shown::Nothing, |found| found.shown()),
                    ..nothing
                })
            }
        }
    }

    /// Whether something else can be presented than this.
    pub(super) fn renews(&self, backend: &Backend, presented: &Presented) -> bool {
        match backend.token {
            TokenMode::None => false,
            TokenMode::Passthrough | TokenMode::Exchange => self.technical.renews(),
            TokenMode::Linked => matches!(presented.shown, Shown::Account(..)),
        }
    }

    /// Whose account lists what a backend offers.
    fn owner(&self, backend: &Backend) -> Option<Owner> {
        Some(Owner {
            issuer: self.issuer.clone()?,
            subject: backend.catalog_subject.clone()?,
        })
    }

    /// What the operator has to do for a backend that lists nothing to strangers.
    pub(super) fn in_need_of_an_account(&self, backend: &Backend) -> String {
        let variable = format!("CORTEX_MCP_{}_CATALOG_SUB", backend.id.variable_part());
        match self.owner(backend) {
            Some(_) => format!(
                "it asks for an account before it tells what it offers; hint: the subject that {variable} names has to \
                 link one, at /connections"
            ),
            None => format!(
                "it asks for an account before it tells what it offers; hint: set {variable} to the subject whose \
                 account there may list it"
            ),
        }
    }
}
