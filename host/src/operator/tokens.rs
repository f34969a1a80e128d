//! `cortex-gateway tokens`: access tokens that an operator revokes before their end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::info;

use super::Failed;
use crate::oauth::{Revocation, RevocationError, Which, revocations};
use crate::pipeline::Gateway;
use crate::store::Store;

/// What is asked about access tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tokens {
    /// These are not good any more.
    Revoke(Revocation),
    /// What is revoked.
    List,
    /// These are as good as any.
    Lift(Which),
}

impl From<RevocationError> for Failed {
    fn from(error: RevocationError) -> Self {
        match error {
            RevocationError::Store(error) => Self::Store(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

pub(super) async fn run(
    gateway: Option<&Gateway>,
    store: &Store,
    asked: Tokens,
) -> Result<Value, Failed> {
    Ok(match asked {
        Tokens::List => {
            let all = revocations::list(store).await?;
            let shown: Vec<Value> = all.iter().map(shown).collect();
            json!({ "revoked": shown })
        }
        Tokens::Revoke(revocation) => {
            match gateway {
                Some(gateway) => gateway.revocations.revoke(&revocation).await?,
                None => revocations::keep(store, &revocation).await?,
            }
            info!("an operator revoked access tokens");
            shown(&revocation)
        }
        Tokens::Lift(which) => {
            let lifted = match gateway {
                Some(gateway) => gateway.revocations.lift(&which).await?,
                None => revocations::forget(store, &which).await?,
            };
            if lifted {
                info!("an operator lifted a revocation of access tokens");
            }
            json!({ "lifted": lifted })
        }
    })
}

fn shown(revocation: &Revocation) -> Value {
    let moment = |seconds: u64| {
        let seconds = i64::try_from(seconds).ok()?;
        let moment = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        moment.format(&Rfc3339).ok()
    };
    let (id, issuer, subject) = match &revocation.which {
        Which::Token(id) => (Some(id), None, None),
        Which::Subject { issuer, subject } => (None, Some(issuer), Some(subject)),
    };
    let is_subject = subject.is_some();
    json!({
        "id": id,
        "issuer": issuer,
        "subject": subject,
        "issuedUntil": is_subject.then(|| moment(revocation.issued_until)),
        "madeAt": moment(revocation.made_at),
        "endsAt": moment(revocation.ends_at),
    })
}
