//! What the gateway keeps: tickets, approved tool definitions, and whatever has to be there after
//! a restart.
//!
//! Concerns see tables of typed records ([`Table`]); an [`Engine`] sees bytes. A change of several
//! records is one [`Batch`]: all of it or nothing, and on disk before it is acknowledged. Only this
//! module names the engine.

mod local;
mod record;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use local::Local;
pub use record::BadRecord;

/// Why something could not be kept or found.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder is another process's at the moment.
    #[error(
        "`{0}` is in use by another process; hint: one gateway per CORTEX_DATA_DIR, and operator commands \
         reach a running gateway by themselves when they are given the same CORTEX_DATA_DIR"
    )]
    InUse(String),
    /// The engine failed.
    #[error("the store failed: {0}")]
    Engine(String),
    /// A record that cannot be read.
    #[error("the store holds a record that cannot be read: {0}")]
    BadRecord(#[from] BadRecord),
    /// Somebody else changed the same records again and again.
    #[error("the store is busy with the same record; hint: try again")]
    Contended,
}

/// The concerns that keep something, each apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Tickets by id.
    Tickets,
    /// Which ticket a wish belongs to, by who wishes for what.
    TicketWishes,
    /// Which tickets a subject has, newest last.
    TicketOwners,
    /// Approved and withheld tool definitions.
    Definitions,
    /// Users' accounts at third parties, sealed.
    Accounts,
    /// Client registrations at authorization servers, sealed.
    Clients,
    /// By what a wrong key of the vault is recognised.
    VaultCheck,
    /// What plugins keep, by plugin and key.
    PluginValues,
    /// How much that is, by plugin.
    PluginUse,
    /// What plugins wanted when they were last accepted, by plugin.
    PluginWants,
    /// How far each audit exporter has come.
    AuditPositions,
    /// Keys of subjects, which seal what is personal in audit records.
    AuditKeys,
    /// Where the audit trail begins and ends.
    AuditAnchors,
    /// Access tokens that operators have revoked, by a digest of which they are.
    Revocations,
}

impl Space {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Tickets,
        Self::TicketWishes,
        Self::TicketOwners,
        Self::Definitions,
        Self::Accounts,
        Self::Clients,
        Self::VaultCheck,
        Self::PluginValues,
        Self::PluginUse,
        Self::PluginWants,
        Self::AuditPositions,
        Self::AuditKeys,
        Self::AuditAnchors,
        Self::Revocations,
    ];

    /// Its name on disk.
    fn name(self) -> &'static str {
        match self {
            Self::Tickets => "tickets",
            Self::TicketWishes => "ticket-wishes",
            Self::TicketOwners => "ticket-owners",
            Self::Definitions => "definitions",
            Self::Accounts => "accounts",
            Self::Clients => "clients",
            Self::VaultCheck => "vault-check",
            Self::PluginValues => "plugin-values",
            Self::PluginUse => "plugin-use",
            Self::PluginWants => "plugin-wants",
            Self::AuditPositions => "audit-positions",
            Self::AuditKeys => "audit-keys",
            Self::AuditAnchors => "audit-anchors",
            Self::Revocations => "revocations",
        }
    }
}

type Bytes = Vec<u8>;

/// A change of several records that happens whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What has to be there for the change to happen; `None`: nothing.
    expected: Vec<(Space, Bytes, Option<Bytes>)>,
    /// What is there afterwards; `None`: nothing.
    written: Vec<(Space, Bytes, Option<Bytes>)>,
}

/// Whether a change happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It did, and is on disk.
    Yes,
    /// Something else was there than was expected: nothing was changed.
    Conflict,
}

/// What an engine has to do. Everything else is made of it.
trait Engine: Send + Sync {
    fn get(&self, space: Space, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;

    /// At most `limit` records whose key begins with `prefix`, in the order of their keys, or
    /// backwards. `after` (or, backwards, before): where an earlier page ended.
    fn scan(
        &self,
        space: Space,
        scan: Scan,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>>;

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>>;
}

/// Which records, and in what order.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// What their keys begin with.
    pub prefix: Vec<u8>,
    /// The key where an earlier page ended.
    pub after: Option<Vec<u8>>,
    /// From the last to the first.
    pub backwards: bool,
    /// How many at most.
    pub limit: usize,
}

/// The store of a gateway.
#[derive(Clone)]
pub struct Store(Arc<dyn Engine>);

impl Store {
    /// Opens the store in a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::Engine`] otherwise.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Local::open(data_dir).await?)))
    }

    /// Whether a data directory has a store.
    pub fn exists(data_dir: &Path) -> bool {
        Local::exists(data_dir)
    }

    /// Opens a store that nobody else has and that ends with this process.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub async fn temporary() -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Local::temporary().await?)))
    }

    /// Makes a change, whole or not at all. What was answered with [`Committed::Yes`] survives
    /// the end of this process, however it comes.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.0.commit(batch).await
    }
}

/// The records of one concern, of one shape, by key.
pub struct Table<T> {
    space: Space,
    /// Of the shape, written before each record.
    version: u8,
    shape: std::marker::PhantomData<fn() -> T>,
}

/// A record and what it was read as, for [`Table::expect`].
pub struct Found<T> {
    /// The record.
    pub value: T,
    bytes: Bytes,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// A table of records of this version.
    pub const fn new(space: Space, version: u8) -> Self {
        Self {
            space,
            version,
            shape: std::marker::PhantomData,
        }
    }

    /// The record with this key.
    ///
    /// # Errors
    /// [`StoreError::BadRecord`] when it is not of this shape, [`StoreError::Engine`].
    pub async fn get(&self, store: &Store, key: &[u8]) -> Result<Option<Found<T>>, StoreError> {
        let found = store.0.get(self.space, key.to_vec()).await?;
        let found = found.map(|bytes| self.found(bytes)).transpose()?;
        Ok(found)
    }

    /// Several records with their keys.
    ///
    /// # Errors
    /// Like [`Table::get`].
    pub async fn scan(
        &self,
        store: &Store,
        scan: Scan,
    ) -> Result<Vec<(Vec<u8>, Found<T>)>, StoreError> {
        let found = store.0.scan(self.space, scan).await?;
        found
            .into_iter()
            .map(|(key, bytes)| Ok((key, self.found(bytes)?)))
            .collect()
    }

    /// The change must only happen if this is still there; `None`: if nothing is.
    pub fn expect(&self, batch: &mut Batch, key: &[u8], found: Option<&Found<T>>) {
        let bytes = found.map(|found| found.bytes.clone());
        batch.expected.push((self.space, key.to_vec(), bytes));
    }

    /// The change puts this record there.
    ///
    /// # Errors
    /// [`StoreError::BadRecord`] when it cannot be written.
    pub fn put(&self, batch: &mut Batch, key: &[u8], value: &T) -> Result<(), StoreError> {
        let bytes = record::write(self.version, value)?;
        batch.written.push((self.space, key.to_vec(), Some(bytes)));
        Ok(())
    }

    /// The change takes this record away.
    pub fn remove(&self, batch: &mut Batch, key: &[u8]) {
        batch.written.push((self.space, key.to_vec(), None));
    }

    fn found(&self, bytes: Bytes) -> Result<Found<T>, BadRecord> {
        let value = record::read(self.space.name(), self.version, &bytes)?;
        Ok(Found { value, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Table<String> = Table::new(Space::Tickets, 1);
    const NUMBERS: Table<u64> = Table::new(Space::TicketWishes, 1);

    async fn put(store: &Store, key: &str, value: &str) {
        let mut batch = Batch::default();
        WORDS
            .put(&mut batch, key.as_bytes(), &value.to_owned())
            .expect("written");
        assert_eq!(
            store.commit(batch).await.expect("committed"),
            Committed::Yes
        );
    }

    #[tokio::test]
    async fn records_are_found_again_and_pages_are_read_both_ways() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).await.expect("open");
        for key in ["a/1", "a/2", "a/3", "b/1"] {
            put(&store, key, key).await;
        }
        let found = WORDS.get(&store, b"a/2").await.expect("read");
        assert_eq!(found.expect("there").value, "a/2");
        assert!(WORDS.get(&store, b"c").await.expect("read").is_none());
        let page = async |after: Option<&str>, backwards, limit| -> Vec<String> {
            let scan = Scan {
                prefix: b"a/".to_vec(),
                after: after.map(|after| after.as_bytes().to_vec()),
                backwards,
                limit,
            };
            let found = WORDS.scan(&store, scan).await.expect("read");
            found.into_iter().map(|(_, found)| found.value).collect()
        };
        assert_eq!(page(None, false, 2).await, ["a/1", "a/2"]);
        assert_eq!(page(Some("a/2"), false, 2).await, ["a/3"]);
        assert_eq!(page(None, true, 2).await, ["a/3", "a/2"]);
        assert_eq!(page(Some("a/2"), true, 9).await, ["a/1"]);
    }

    #[tokio::test]
    async fn a_change_happens_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).await.expect("open");
        put(&store, "k", "one").await;
        let before = WORDS.get(&store, b"k").await.expect("read");
        put(&store, "k", "two").await;
        let mut late = Batch::default();
        WORDS.expect(&mut late, b"k", before.as_ref());
        WORDS
            .put(&mut late, b"k", &"three".to_owned())
            .expect("written");
        NUMBERS.put(&mut late, b"n", &3).expect("written");
        let outcome = store.commit(late).await.expect("no failure");
        assert_eq!(outcome, Committed::Conflict);
        assert!(NUMBERS.get(&store, b"n").await.expect("read").is_none());
        let now = WORDS.get(&store, b"k").await.expect("read").expect("there");
        assert_eq!(now.value, "two");
    }

    #[tokio::test]
    async fn a_temporary_store_is_nobody_elses() {
        let stores = [
            Store::temporary().await.expect("open"),
            Store::temporary().await.expect("open"),
        ];
        put(&stores[0], "k", "text").await;
        let read = async |store| WORDS.get(store, b"k").await.expect("read").is_some();
        assert!(read(&stores[0]).await && !read(&stores[1]).await);
    }

    #[tokio::test]
    async fn what_is_in_use_or_of_another_shape_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).await.expect("open");
        let again = Store::open(dir.path()).await.err().expect("in use");
        assert!(matches!(again, StoreError::InUse(_)), "{again}");
        put(&store, "k", "text").await;
        let newer: Table<String> = Table::new(Space::Tickets, 2);
        let other: Table<u64> = Table::new(Space::Tickets, 1);
        for error in [
            newer.get(&store, b"k").await.err(),
            other.get(&store, b"k").await.err(),
        ] {
            let error = error.expect("an error");
            assert!(matches!(error, StoreError::BadRecord(_)), "{error}");
        }
        drop(store);
        let store = Store::open(dir.path()).await.expect("free again");
        assert!(WORDS.get(&store, b"k").await.expect("read").is_some());
    }
}
