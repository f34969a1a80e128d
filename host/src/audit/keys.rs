//! The keys of subjects: what seals the personal parts of their records. A subject whose key is
//! forgotten is forgotten, in the whole trail at once.
//!
//! Knows nothing of records and files.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use hmac::{Hmac, Mac};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::seal::{NotOurs, Purpose, Sealer};
use crate::store::{Batch, Committed, Scan, Space, Store, StoreError, Table};
use crate::types::{Key256, hex};
use crate::vault::Owner;

const OWNERS: Table<OwnerRecord> = Table::new(Space::AuditKeys, 1);
const KEYS: Table<KeyRecord> = Table::new(Space::AuditKeys, 1);

/// Keys that are kept in memory, each in about 1 KiB.
const CACHED: u64 = 50_000;
/// After how long a key is looked up again, where other gateways may forget a subject,
const REMEMBERED: Duration = Duration::from_secs(60);
/// and how long it may be used on while that cannot be done.
const USED_ON: Duration = Duration::from_secs(3600);
/// How often keys are looked up again when other gateways make them at the same time.
const TRIES: usize = 8;

/// Which key is whose. The subject is only in its place, as a digest.
#[derive(Serialize, Deserialize)]
struct OwnerRecord {
    id: String,
    issuer: String,
    /// The key itself, so that one look is enough. Records of earlier versions lack it.
    #[serde(default)]
    key: Option<Zeroizing<String>>,
}

/// A key, or that it was forgotten.
#[derive(Serialize, Deserialize)]
struct KeyRecord {
    key: Option<Zeroizing<String>>,
    erased_at: Option<String>,
}

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine gave no random bytes.
    #[error("this machine gives no random bytes")]
    NoRandom,
    /// What is kept as a key is none; carries its id.
    #[error("the key {0} of the audit trail is damaged")]
    Damaged(String),
}

/// The key of one subject.
pub(super) struct SubjectKey {
    /// Names it on the disk. Random: tells nothing of the subject.
    pub id: String,
    sealer: Sealer,
    mac: Zeroizing<[u8; 32]>,
}

impl SubjectKey {
    fn new(id: &str, key: &Key256) -> Option<Self> {
        let mac = mac(key.reveal(), &[b"cortex audit mac"])?;
        Some(Self {
            id: id.to_owned(),
            sealer: Sealer::new(std::slice::from_ref(key))?,
            mac: Zeroizing::new(mac),
        })
    }

    /// Stands for a personal part in the chain. The same part of two records has two of them.
    pub(super) fn commit(&self, sequence: u64, personal: &str) -> Option<String> {
        let number = sequence.to_string();
        let parts = [number.as_bytes(), b"\n", personal.as_bytes()];
        mac(self.mac.as_slice(), &parts).map(|mac| hex(&mac))
    }

    /// Seals the personal part of a record.
    pub(super) fn seal(&self, sequence: u64, personal: &str) -> Option<String> {
        let bound = sequence.to_be_bytes();
        let sealed = self
            .sealer
            .seal(Purpose::Audit, &[&bound], personal.as_bytes());
        sealed.ok()
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`NotOurs`] when it is not what was sealed for this record.
    pub(super) fn open(&self, sequence: u64, sealed: &str) -> Result<String, NotOurs> {
        let bound = sequence.to_be_bytes();
        let opened = self.sealer.open(Purpose::Audit, &[&bound], sealed)?;
        String::from_utf8(opened.to_vec()).map_err(|_| NotOurs::Foreign)
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

/// Whether a subject's key is in memory.
pub(super) enum Known {
    /// It is.
    Fresh(Arc<SubjectKey>),
    /// It is, and another gateway may have forgotten it meanwhile.
    Stale(Arc<SubjectKey>),
    /// It is not.
    Unknown,
}

/// What an id names.
#[derive(Clone)]
pub(super) enum Named {
    /// A key.
    Key(Arc<SubjectKey>),
    /// One that was forgotten.
    Erased,
    /// Nothing that is known.
    Unknown,
}

/// Whose key was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Whose word it was that they are who they are.
    pub issuer: String,
    /// The id of the key.
    pub key: String,
}

/// The keys of all subjects.
pub(super) struct Keys {
    store: Store,
    owners: Cache<Option<Owner>, (Arc<SubjectKey>, Instant)>,
    /// How long they are good without another look.
    remembered: Duration,
    ids: Cache<String, Named>,
    /// How often something was forgotten here. What was looked up before does not come into memory after it.
    forgotten: Mutex<u64>,
}

impl Keys {
    /// Those that a store keeps.
    pub(super) fn new(store: &Store) -> Self {
        let forever = Duration::MAX;
        let [remembered, used_on] = match store.is_shared() {
            true => [REMEMBERED, USED_ON],
            false => [forever, forever],
        };
        Self::remembering(store, remembered, used_on)
    }

    fn remembering(store: &Store, remembered: Duration, used_on: Duration) -> Self {
        Self {
            store: store.clone(),
            owners: cache(used_on),
            remembered,
            ids: cache(remembered),
            forgotten: Mutex::default(),
        }
    }

    /// Whether the key of an owner is in memory. Asks nobody.
    pub(super) fn known(&self, owner: &Option<Owner>) -> Known {
        match self.owners.get(owner) {
            Some((key, at)) if at.elapsed() < self.remembered => Known::Fresh(key),
            Some((key, _)) => Known::Stale(key),
            None => Known::Unknown,
        }
    }

    fn fresh(&self, owner: &Option<Owner>) -> Option<Arc<SubjectKey>> {
        match self.known(owner) {
            Known::Fresh(key) => Some(key),
            Known::Stale(_) | Known::Unknown => None,
        }
    }

    fn forgotten(&self) -> MutexGuard<'_, u64> {
        self.forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes something into memory that was looked up when so much was forgotten.
    fn remember(&self, forgotten: u64, take: impl FnOnce(&Self)) {
        let now = self.forgotten();
        if *now == forgotten {
            take(self);
        }
    }

    /// The keys of these owners, in their order. Those of new ones are made, and are on disk when
    /// this returns.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(super) async fn of(
        &self,
        owners: impl Iterator<Item = Option<Owner>>,
    ) -> Result<Vec<Arc<SubjectKey>>, KeyError> {
        let owners: Vec<Option<Owner>> = owners.collect();
        let mut keys: Vec<Option<Arc<SubjectKey>>> =
            owners.iter().map(|owner| self.fresh(owner)).collect();
        if keys.iter().any(Option::is_none) {
            self.fetch(&owners, &mut keys).await?;
        }
        Ok(keys.into_iter().flatten().collect())
    }

    async fn fetch(
        &self,
        owners: &[Option<Owner>],
        keys: &mut [Option<Arc<SubjectKey>>],
    ) -> Result<(), KeyError> {
        let forgotten = *self.forgotten();
        let known = keys.to_vec();
        for _ in 0..TRIES {
            if self.find_or_make(owners, keys).await? == Committed::Yes {
                self.remember(forgotten, |this| {
                    for ((owner, key), before) in owners.iter().zip(keys.iter()).zip(&known) {
                        if let (Some(key), None) = (key, before) {
                            let found = (Arc::clone(key), Instant::now());
                            this.owners.insert(owner.clone(), found);
                            // Exporters look it up by its id a moment later.
                            this.ids.insert(key.id.clone(), Named::Key(Arc::clone(key)));
                        }
                    }
                });
                return Ok(());
            }
            // Another gateway has made a key of the same subject: it is that one's.
            keys.clone_from_slice(&known);
        }
        Err(StoreError::Contended.into())
    }

    async fn find_or_make(
        &self,
        owners: &[Option<Owner>],
        keys: &mut [Option<Arc<SubjectKey>>],
    ) -> Result<Committed, KeyError> {
        let mut found: BTreeMap<Vec<u8>, Arc<SubjectKey>> = BTreeMap::new();
        let mut batch = Batch::default();
        for (owner, key) in owners.iter().zip(keys.iter_mut()) {
            if key.is_some() {
                continue;
            }
            let (place, issuer) = place(owner.as_ref());
            let one = match found.get(&place) {
                Some(one) => Arc::clone(one),
                None => match self.stored(&place).await? {
                    Some(one) => one,
                    None => make(&mut batch, &place, issuer)?,
                },
            };
            found.insert(place, Arc::clone(&one));
            *key = Some(one);
        }
        Ok(self.store.commit(batch).await?)
    }

    async fn stored(&self, place: &[u8]) -> Result<Option<Arc<SubjectKey>>, KeyError> {
        let Some(owner) = OWNERS.get(&self.store, place).await? else {
            return Ok(None);
        };
        let OwnerRecord { id, key, .. } = owner.value;
        if let Some(text) = key {
            return Ok(Some(read(&id, &text)?));
        }
        match self.look_up(&id).await? {
            Named::Key(key) => Ok(Some(key)),
            Named::Erased | Named::Unknown => Err(KeyError::Damaged(id)),
        }
    }

    async fn look_up(&self, id: &str) -> Result<Named, KeyError> {
        let Some(record) = KEYS.get(&self.store, &key_place(id)).await? else {
            return Ok(Named::Unknown);
        };
        let Some(text) = record.value.key else {
            return Ok(Named::Erased);
        };
        Ok(Named::Key(read(id, &text)?))
    }

    /// Whether keys can be had at all.
    ///
    /// # Errors
    /// [`KeyError`]: they cannot.
    pub(super) async fn reach(&self) -> Result<(), KeyError> {
        let (place, _) = place(None);
        OWNERS.get(&self.store, &place).await?;
        Ok(())
    }

    /// What an id names.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(super) async fn named(&self, id: &str) -> Result<Named, KeyError> {
        if let Some(known) = self.ids.get(id) {
            return Ok(known);
        }
        let forgotten = *self.forgotten();
        let named = self.look_up(id).await?;
        self.remember(forgotten, |this| {
            this.ids.insert(id.to_owned(), named.clone());
        });
        Ok(named)
    }

    /// The ids of a subject's keys.
    ///
    /// # Errors
    /// [`KeyError::Store`].
    pub(super) async fn ids_of(&self, subject: &str) -> Result<Vec<String>, KeyError> {
        let found = self.owned(subject).await?;
        Ok(found.into_iter().map(|(_, record)| record.id).collect())
    }

    async fn owned(&self, subject: &str) -> Result<Vec<(Vec<u8>, OwnerRecord)>, KeyError> {
        let scan = Scan {
            prefix: format!("o/{}/", digest(subject)).into_bytes(),
            limit: 1_000,
            ..Scan::default()
        };
        let found = OWNERS.scan(&self.store, scan).await?;
        Ok(found.into_iter().map(|(at, f)| (at, f.value)).collect())
    }

    /// Forgets the keys of a subject: those of one issuer, or of all. Nothing that they sealed can
    /// be read from then on.
    ///
    /// # Errors
    /// [`KeyError`]; then nothing is forgotten.
    pub(super) async fn erase(
        &self,
        subject: &str,
        issuer: Option<&str>,
    ) -> Result<Vec<Erased>, KeyError> {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).ok();
        let mut batch = Batch::default();
        let mut erased = Vec::new();
        for (at, owner) in self.owned(subject).await? {
            if issuer.is_some_and(|issuer| issuer != owner.issuer) {
                continue;
            }
            OWNERS.remove(&mut batch, &at);
            let gone = KeyRecord {
                key: None,
                erased_at: now.clone(),
            };
            KEYS.put(&mut batch, &key_place(&owner.id), &gone)?;
            erased.push(Erased {
                issuer: owner.issuer,
                key: owner.id,
            });
        }
        if self.store.commit(batch).await? == Committed::Conflict {
            return Err(StoreError::Contended.into());
        }
        let mut forgotten = self.forgotten();
        *forgotten += 1;
        self.owners.invalidate_all();
        self.ids.invalidate_all();
        Ok(erased)
    }
}

fn cache<K, V>(lives: Duration) -> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    // The newest are those that are asked for next.
    let cache = Cache::builder()
        .max_capacity(CACHED)
        .eviction_policy(EvictionPolicy::lru());
    match lives {
        Duration::MAX => cache.build(),
        lives => cache.time_to_live(lives).build(),
    }
}

fn make(batch: &mut Batch, place: &[u8], issuer: &str) -> Result<Arc<SubjectKey>, KeyError> {
    let (mut id, mut key) = ([0; 16], Zeroizing::new([0; 32]));
    rand::fill(&mut id).map_err(|_| KeyError::NoRandom)?;
    rand::fill(key.as_mut_slice()).map_err(|_| KeyError::NoRandom)?;
    let (id, key) = (hex(&id), Key256::new(*key));
    OWNERS.expect(batch, place, None);
    let text = Zeroizing::new(key.to_text().reveal().to_owned());
    let owner = OwnerRecord {
        id: id.clone(),
        issuer: issuer.to_owned(),
        key: Some(text.clone()),
    };
    OWNERS.put(batch, place, &owner)?;
    let record = KeyRecord {
        key: Some(text.clone()),
        erased_at: None,
    };
    KEYS.put(batch, &key_place(&id), &record)?;
    read(&id, &text)
}

/// A key from what is kept of it.
fn read(id: &str, text: &str) -> Result<Arc<SubjectKey>, KeyError> {
    let key = text.parse::<Key256>().ok();
    let key = key.and_then(|key| SubjectKey::new(id, &key));
    let key = key.ok_or_else(|| KeyError::Damaged(id.to_owned()))?;
    Ok(Arc::new(key))
}

fn place(owner: Option<&Owner>) -> (Vec<u8>, &str) {
    let (subject, issuer) = match owner {
        Some(owner) => (owner.subject.as_str(), owner.issuer.as_str()),
        None => ("", ""),
    };
    let place = format!("o/{}/{}", digest(subject), digest(issuer));
    (place.into_bytes(), issuer)
}

fn key_place(id: &str) -> Vec<u8> {
    format!("k/{id}").into_bytes()
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
pub(super) mod tests;
