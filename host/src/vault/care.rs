//! What operators do with the vault: look at it, change its key, forget somebody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::warn;

use super::record::Sealed;
use super::{
    ACCOUNTS, ATTEMPTS, Account, Accounts, CHECK, CHECK_KEY, CLIENTS, Kind, PAGE, Status, Vault,
    VaultError, subject_key,
};
use crate::seal::KeyId;
use crate::store::{Batch, Committed, Found, Scan, Table};
use crate::types::Subject;

/// For how long a count is good enough for [`Vault::counted_lately`], where many gateways count the same.
const LATELY: Duration = Duration::from_secs(5 * 60);
/// Most accounts that are counted for a figure: each has to be read, by every gateway, again and again.
const COUNTED: usize = 20_000;

/// What came of a change of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rotated {
    /// Records that the new key seals now.
    pub resealed: usize,
    /// Records that no key of the ring opens; they were left as they are.
    pub lost: usize,
}

impl Vault {
    /// How the vault is.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn status(&self) -> Result<Status, VaultError> {
        let mut status = Status {
            sealing: Some(self.sealer.sealing().to_string()),
            ..Status::default()
        };
        for (_, found) in self.all(&ACCOUNTS).await? {
            let record = found.value;
            let key = KeyId::of(&record.sealed);
            *status.sealed.entry(in_words(key)).or_default() += 1;
            if !key.is_some_and(|key| self.sealer.knows(key)) {
                status.lost += 1;
            }
            add(&mut status.servers, &record);
        }
        Ok(status)
    }

    /// The accounts at each server, for whoever asks again and again. Where gateways share the vault, it may be of
    /// some minutes ago. `None`: there are too many to be counted so often; [`Vault::status`] counts them.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn counted_lately(&self) -> Result<Option<BTreeMap<String, Accounts>>, VaultError> {
        if !self.store.is_shared() {
            return self.count(COUNTED).await;
        }
        let mut seen = self.seen.lock().await;
        match &*seen {
            Some((at, counted)) if at.elapsed() < LATELY => Ok(counted.clone()),
            _ => {
                let counted = self.count(COUNTED).await?;
                *seen = Some((Instant::now(), counted.clone()));
                Ok(counted)
            }
        }
    }

    /// The accounts at each server, if there are not more than so many. Holds one page of them at a time.
    pub(super) async fn count(
        &self,
        most: usize,
    ) -> Result<Option<BTreeMap<String, Accounts>>, VaultError> {
        let (mut servers, mut after, mut count) = (BTreeMap::new(), None, 0);
        loop {
            let scan = Scan {
                after,
                limit: PAGE,
                ..Scan::default()
            };
            let page = ACCOUNTS.scan(&self.store, scan).await?;
            count += page.len();
            if count > most {
                return Ok(None);
            }
            let is_last = page.len() < PAGE;
            after = page.last().map(|(place, _)| place.clone());
            for (_, found) in page {
                add(&mut servers, &found.value);
            }
            if is_last {
                return Ok(Some(servers));
            }
        }
    }

    /// Seals everything with the first key of the ring, while the gateway runs. Afterwards the other
    /// keys can go.
    ///
    /// # Errors
    /// [`VaultError`]; what was sealed anew until then stays so, and doing it again does the rest.
    pub async fn rotate(&self) -> Result<Rotated, VaultError> {
        let mut rotated = Rotated::default();
        for (table, kind) in [(&ACCOUNTS, Kind::Account), (&CLIENTS, Kind::Client)] {
            for (place, found) in self.all(table).await? {
                match self.reseal(table, kind, &place, found).await {
                    Ok(true) => rotated.resealed += 1,
                    Ok(false) => {}
                    Err(VaultError::OtherKey(_) | VaultError::Damaged) => rotated.lost += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        let check = CHECK.get(&self.store, CHECK_KEY).await?;
        // Last: until here a gateway that starts still needs the old key.
        if let Some(check) = check {
            self.reseal(&CHECK, Kind::Check, CHECK_KEY, check).await?;
        }
        Ok(rotated)
    }

    /// Seals one record with the first key. False: there was nothing to do.
    async fn reseal(
        &self,
        table: &Table<Sealed>,
        kind: Kind,
        place: &[u8],
        mut found: Found<Sealed>,
    ) -> Result<bool, VaultError> {
        for _ in 0..ATTEMPTS {
            if KeyId::of(&found.value.sealed) == Some(self.sealer.sealing()) {
                return Ok(false);
            }
            let opened = self.unseal(kind, place, &found.value)?;
            let sealed = Sealed {
                sealed: self.seal(kind, place, &opened)?.sealed,
                ..found.value.clone()
            };
            let mut batch = Batch::default();
            table.expect(&mut batch, place, Some(&found));
            table.put(&mut batch, place, &sealed)?;
            if self.store.commit(batch).await? == Committed::Yes {
                return Ok(true);
            }
            // It was renewed meanwhile, and is sealed with the first key, or it is gone.
            match table.get(&self.store, place).await? {
                Some(newer) => found = newer,
                None => return Ok(false),
            }
        }
        Err(crate::store::StoreError::Contended.into())
    }

    /// Forgets every account of a subject, whichever issuer it is of. Returns those that could be
    /// opened, so that they can be taken back where they were granted, and how many there were.
    pub(crate) async fn forget(
        &self,
        subject: &Subject,
    ) -> Result<(Vec<Account>, usize), VaultError> {
        let (mut accounts, mut forgotten) = (Vec::new(), 0);
        for (place, found) in self.scan(&ACCOUNTS, subject_key(subject)).await? {
            match self.unseal(Kind::Account, &place, &found.value) {
                Ok(opened) => accounts.extend(Account::read(&opened)),
                Err(error) => warn!("an account is forgotten without being opened: {error}"),
            }
            let mut batch = Batch::default();
            ACCOUNTS.remove(&mut batch, &place);
            self.store.commit(batch).await?;
            forgotten += 1;
        }
        Ok((accounts, forgotten))
    }

    async fn all(
        &self,
        table: &Table<Sealed>,
    ) -> Result<Vec<(Vec<u8>, Found<Sealed>)>, VaultError> {
        self.scan(table, Vec::new()).await
    }

    async fn scan(
        &self,
        table: &Table<Sealed>,
        prefix: Vec<u8>,
    ) -> Result<Vec<(Vec<u8>, Found<Sealed>)>, VaultError> {
        let mut all: Vec<(Vec<u8>, Found<Sealed>)> = Vec::new();
        loop {
            let scan = Scan {
                prefix: prefix.clone(),
                after: all.last().map(|(place, _)| place.clone()),
                backwards: false,
                limit: PAGE,
            };
            let page = table.scan(&self.store, scan).await?;
            let last = page.len() < PAGE;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }
}

/// Counts one more account.
fn add(servers: &mut BTreeMap<String, Accounts>, record: &Sealed) {
    let server = record.server.clone().unwrap_or_default();
    let at = servers.entry(server).or_default();
    match record.ended {
        true => at.ended += 1,
        false => at.linked += 1,
    }
}

fn in_words(key: Option<KeyId>) -> String {
    key.map_or_else(|| "unknown".to_owned(), |key| key.to_string())
}
