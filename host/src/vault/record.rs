//! What is in a record of the vault: JSON, which nobody sees but its seal.

use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::oauth_client::register::Registered;
use crate::oauth_client::token::Grant;
use crate::types::{Scope, Secret};

/// A record as it lies on disk. Nothing in it but `sealed` is about anybody.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    /// At which server the account is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    /// It has to be linked again.
    #[serde(default)]
    pub(super) ended: bool,
    pub(super) sealed: String,
}

/// Who granted something, and where it is renewed and taken back.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) issuer: String,
    pub(crate) resource: String,
    pub(crate) token: Url,
    pub(crate) revocation: Option<Url>,
}

/// Somebody's account at a server.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// What was granted; `None`: it has ended, and has to be linked again.
    pub(crate) grant: Option<Grant>,
    pub(crate) origin: Origin,
    /// As whom it was granted to us.
    pub(crate) client: Registered,
    /// Seconds since 1970.
    pub(crate) linked_at: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenGrant {
    access: Zeroizing<String>,
    refresh: Option<Zeroizing<String>>,
    expires_at: Option<u64>,
    scope: String,
}

#[derive(Serialize, Deserialize)]
struct WrittenClient {
    id: String,
    secret: Option<Zeroizing<String>>,
    secret_in_form: bool,
    redirect: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    grant: Option<WrittenGrant>,
    issuer: String,
    resource: String,
    token: Url,
    revocation: Option<Url>,
    client: WrittenClient,
    linked_at: u64,
}

type Bytes = Zeroizing<Vec<u8>>;

impl Account {
    pub(super) fn write(&self) -> Bytes {
        let reveal = |secret: &Secret| Zeroizing::new(secret.reveal().to_owned());
        json(&Written {
            grant: self.grant.as_ref().map(|grant| WrittenGrant {
                access: reveal(&grant.access),
                refresh: grant.refresh.as_ref().map(reveal),
                expires_at: grant.expires_at,
                scope: grant.scopes.to_string(),
            }),
            issuer: self.origin.issuer.clone(),
            resource: self.origin.resource.clone(),
            token: self.origin.token.clone(),
            revocation: self.origin.revocation.clone(),
            client: written(&self.client),
            linked_at: self.linked_at,
        })
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            grant: written.grant.map(|grant| Grant {
                access: secret(&grant.access),
                refresh: grant.refresh.as_ref().map(secret),
                expires_at: grant.expires_at,
                scopes: grant
                    .scope
                    .split(' ')
                    .filter_map(|scope| scope.parse::<Scope>().ok())
                    .collect(),
            }),
            origin: Origin {
                issuer: written.issuer,
                resource: written.resource,
                token: written.token,
                revocation: written.revocation,
            },
            client: registered(written.client),
            linked_at: written.linked_at,
        })
    }
}

pub(super) fn write_client(client: &Registered) -> Bytes {
    json(&written(client))
}

pub(super) fn read_client(bytes: &[u8]) -> Option<Registered> {
    serde_json::from_slice(bytes).ok().map(registered)
}

fn written(client: &Registered) -> WrittenClient {
    WrittenClient {
        id: client.id.clone(),
        secret: (client.secret.as_ref()).map(|secret| Zeroizing::new(secret.reveal().to_owned())),
        secret_in_form: client.secret_in_form,
        redirect: client.redirect.clone(),
    }
}

fn registered(written: WrittenClient) -> Registered {
    Registered {
        id: written.id,
        secret: written.secret.as_ref().map(secret),
        secret_in_form: written.secret_in_form,
        redirect: written.redirect,
    }
}

fn secret(text: &Zeroizing<String>) -> Secret {
    Secret::new(text.to_string())
}

/// Written into room enough for nearly every token, so that none is left where the text lay before
/// it grew.
fn json(value: &impl Serialize) -> Bytes {
    let mut bytes = Zeroizing::new(Vec::with_capacity(32 * 1024));
    // Writing to memory fails only for values that are no JSON, which these are.
    let written = serde_json::to_writer(&mut *bytes, value);
    debug_assert!(written.is_ok());
    bytes
}
