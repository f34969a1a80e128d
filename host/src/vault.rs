//! The vault: users' own accounts at others, sealed on disk.
//!
//! Every record is sealed with AES-256-GCM by a key of the ring (`CORTEX_VAULT_KEY`). Digests of its
//! owner's subject and issuer, and the server, say where it lies; they and the key's id are associated
//! data, so that a record that is moved to another owner or server opens for nobody. The disk does not
//! tell whose it is. Losing the keys loses the grants and nothing else.
//!
//! Knows nothing of how grants are got and renewed.

mod care;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::oauth_client::register::Registered;
use crate::seal::{KeyId, Purpose, Sealer};
use crate::store::{Batch, Committed, Found, Scan, Space, Store, StoreError, Table};
use crate::types::{BackendId, Issuer, Key256, Subject, hex};
pub use care::Rotated;
use record::Sealed;
pub(crate) use record::{Account, Origin};

const ACCOUNTS: Table<Sealed> = Table::new(Space::Accounts, 1);
const CLIENTS: Table<Sealed> = Table::new(Space::Clients, 1);
const CHECK: Table<Sealed> = Table::new(Space::VaultCheck, 1);

/// Where the record lies by which a wrong key is recognised.
const CHECK_KEY: &[u8] = b"check";
/// What is sealed in it.
const CHECK_TEXT: &[u8] = b"the key of this vault";
/// Records that are looked at in one go.
const PAGE: usize = 256;
/// How often a change is tried that others get in the way of.
const ATTEMPTS: usize = 8;

/// Whose account it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Whose word it is that they are who they are.
    pub issuer: Issuer,
    /// Who.
    pub subject: Subject,
}

/// Why the vault gives or keeps nothing.
#[derive(Debug, Error)]
pub enum VaultError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault was sealed with other keys.
    #[error(
        "CORTEX_VAULT_KEY is not the key that this vault was sealed with (key id {0}); hint: put the old key back, \
         behind the new one and separated by a comma, and run `cortex-gateway vault rotate`"
    )]
    WrongKey(String),
    /// A record was sealed with a key that is not there any more.
    #[error("a record of the vault was sealed with another key (key id {0})")]
    OtherKey(String),
    /// A record is not what its place says, or was changed.
    #[error("a record of the vault is damaged")]
    Damaged,
    /// The machine gave no random bytes.
    #[error("this machine gives no random bytes")]
    Unsealed,
    /// There is no key.
    #[error("there is no key; hint: set CORTEX_VAULT_KEY, as `openssl rand -base64 32` prints one")]
    NoKey,
}

/// How the vault is, for operators. Names nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The key that seals, by its id.
    pub sealing: Option<String>,
    /// How many records each key has sealed, by its id.
    pub sealed: BTreeMap<String, usize>,
    /// How many of them no key opens.
    pub lost: usize,
    /// How many accounts are linked at each server, and how many have to be linked again.
    pub servers: BTreeMap<String, Accounts>,
}

/// The accounts at one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// That can be used.
    pub linked: usize,
    /// That have to be linked again.
    pub ended: usize,
}

/// When accounts were counted, and how many there were at each server, if there were not too many.
type Counted = (Instant, Option<BTreeMap<String, Accounts>>);

/// The vault of this gateway.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    sealer: Arc<Sealer>,
    /// What was counted last, for [`Vault::counted_lately`].
    seen: Arc<Mutex<Option<Counted>>>,
}

/// A record and what it was read as, so that a change can tell whether it is still that.
pub(crate) struct Kept {
    pub(crate) account: Account,
    found: Found<Sealed>,
}

impl Vault {
    /// Opens the vault with a ring of keys: the first seals, all open.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when it was sealed with another one, [`VaultError::NoKey`] without
    /// any.
    pub async fn open(store: &Store, keys: &[Key256]) -> Result<Self, VaultError> {
        let (vault, is_new) = Self::fitting(store, keys).await?;
        if is_new && vault.write_check(None).await? == Committed::Conflict {
            // Another gateway was faster, and may have another key.
            return Self::look(store, keys).await;
        }
        Ok(vault)
    }

    /// Like [`open`](Self::open), to be looked at alone: nothing is written.
    ///
    /// # Errors
    /// Like those of [`open`](Self::open).
    pub async fn look(store: &Store, keys: &[Key256]) -> Result<Self, VaultError> {
        Ok(Self::fitting(store, keys).await?.0)
    }

    /// The vault, if the keys fit what was sealed, and whether nothing ever was.
    async fn fitting(store: &Store, keys: &[Key256]) -> Result<(Self, bool), VaultError> {
        let sealer = Sealer::new(keys).ok_or(VaultError::NoKey)?;
        let vault = Self {
            store: store.clone(),
            sealer: sealer.into(),
            seen: Arc::default(),
        };
        let Some(found) = CHECK.get(store, CHECK_KEY).await? else {
            return Ok((vault, true));
        };
        match vault.unseal(Kind::Check, CHECK_KEY, &found.value) {
            Ok(_) => Ok((vault, false)),
            Err(VaultError::OtherKey(id)) => Err(VaultError::WrongKey(id)),
            Err(error) => Err(error),
        }
    }

    /// Whether a store has accounts in it.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn is_used(store: &Store) -> Result<bool, VaultError> {
        let first = Scan {
            limit: 1,
            ..Scan::default()
        };
        Ok(!ACCOUNTS.scan(store, first).await?.is_empty())
    }

    async fn write_check(&self, before: Option<&Found<Sealed>>) -> Result<Committed, VaultError> {
        let mut batch = Batch::default();
        CHECK.expect(&mut batch, CHECK_KEY, before);
        let sealed = self.seal(Kind::Check, CHECK_KEY, CHECK_TEXT)?;
        CHECK.put(&mut batch, CHECK_KEY, &sealed)?;
        Ok(self.store.commit(batch).await?)
    }

    /// The account of somebody at a server.
    pub(crate) async fn get(
        &self,
        owner: &Owner,
        server: &BackendId,
    ) -> Result<Option<Kept>, VaultError> {
        let place = key(owner, server);
        let Some(found) = ACCOUNTS.get(&self.store, &place).await? else {
            return Ok(None);
        };
        let opened = self.unseal(Kind::Account, &place, &found.value)?;
        let account = Account::read(&opened).ok_or(VaultError::Damaged)?;
        Ok(Some(Kept { account, found }))
    }

    /// Keeps an account, whatever was there before.
    pub(crate) async fn put(
        &self,
        owner: &Owner,
        server: &BackendId,
        account: &Account,
    ) -> Result<(), VaultError> {
        let mut batch = Batch::default();
        let place = key(owner, server);
        let sealed = self.sealed(&place, server, account)?;
        ACCOUNTS.put(&mut batch, &place, &sealed)?;
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Puts an account in the place of what was read before. False: something else is there by
    /// now, or nothing.
    pub(crate) async fn replace(
        &self,
        owner: &Owner,
        server: &BackendId,
        before: &Kept,
        account: &Account,
    ) -> Result<bool, VaultError> {
        let mut batch = Batch::default();
        let place = key(owner, server);
        ACCOUNTS.expect(&mut batch, &place, Some(&before.found));
        let sealed = self.sealed(&place, server, account)?;
        ACCOUNTS.put(&mut batch, &place, &sealed)?;
        Ok(self.store.commit(batch).await? == Committed::Yes)
    }

    /// Forgets an account.
    pub(crate) async fn remove(&self, owner: &Owner, server: &BackendId) -> Result<(), VaultError> {
        let mut batch = Batch::default();
        ACCOUNTS.remove(&mut batch, &key(owner, server));
        self.store.commit(batch).await?;
        Ok(())
    }

    /// The client that was registered at an authorization server for a redirect URI.
    pub(crate) async fn client(
        &self,
        issuer: &str,
        redirect: &str,
    ) -> Result<Option<Registered>, VaultError> {
        let place = digest(&[issuer, redirect]);
        let Some(found) = CLIENTS.get(&self.store, place.as_bytes()).await? else {
            return Ok(None);
        };
        match self.unseal(Kind::Client, place.as_bytes(), &found.value) {
            Ok(opened) => Ok(record::read_client(&opened)),
            // A client that cannot be read is registered anew.
            Err(VaultError::OtherKey(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a client, or forgets it.
    pub(crate) async fn keep_client(
        &self,
        issuer: &str,
        redirect: &str,
        client: Option<&Registered>,
    ) -> Result<(), VaultError> {
        let place = digest(&[issuer, redirect]);
        let mut batch = Batch::default();
        match client {
            Some(client) => {
                let text = record::write_client(client);
                let sealed = self.seal(Kind::Client, place.as_bytes(), &text)?;
                CLIENTS.put(&mut batch, place.as_bytes(), &sealed)?;
            }
            None => CLIENTS.remove(&mut batch, place.as_bytes()),
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    fn sealed(
        &self,
        place: &[u8],
        server: &BackendId,
        account: &Account,
    ) -> Result<Sealed, VaultError> {
        Ok(Sealed {
            server: Some(server.to_string()),
            ended: account.grant.is_none(),
            ..self.seal(Kind::Account, place, &account.write())?
        })
    }

    fn seal(&self, kind: Kind, place: &[u8], text: &[u8]) -> Result<Sealed, VaultError> {
        let binding = [kind.name(), place];
        let sealed = self.sealer.seal(Purpose::Vault, &binding, text);
        Ok(Sealed {
            server: None,
            ended: false,
            sealed: sealed.map_err(|_| VaultError::Unsealed)?,
        })
    }

    fn unseal(
        &self,
        kind: Kind,
        place: &[u8],
        record: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let binding = [kind.name(), place];
        let opened = self.sealer.open(Purpose::Vault, &binding, &record.sealed);
        opened.map_err(|_| match KeyId::of(&record.sealed) {
            Some(key) if !self.sealer.knows(key) => VaultError::OtherKey(key.to_string()),
            _ => VaultError::Damaged,
        })
    }
}

/// What a record is about.
#[derive(Clone, Copy)]
enum Kind {
    Account,
    Client,
    Check,
}

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Account => b"account",
            Self::Client => b"client",
            Self::Check => b"check",
        }
    }
}

/// Where an account lies: by subject first, so that all of one person can be found.
fn key(owner: &Owner, server: &BackendId) -> Vec<u8> {
    let mut key = subject_key(&owner.subject);
    key.extend_from_slice(digest(&["issuer", owner.issuer.as_str()]).as_bytes());
    key.push(b'/');
    key.extend_from_slice(server.as_str().as_bytes());
    key
}

fn subject_key(subject: &Subject) -> Vec<u8> {
    format!("{}/", digest(&["subject", subject.as_str()])).into_bytes()
}

/// 128 bits of a digest, each part with its length in front.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    hex(&digest[..16])
}

#[cfg(test)]
mod tests;
