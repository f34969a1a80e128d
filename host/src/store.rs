//! What the gateway keeps: tickets, approved tool definitions, and whatever has to be there after
//! a restart.
//!
//! Concerns see tables of typed records ([`Table`]); an [`Engine`] sees bytes. A change of several
//! records is one [`Batch`]: all of it or nothing, and on disk before it is acknowledged. Only this
//! module names the engines: sled in the data directory, or PostgreSQL for many gateways.

mod divided;
mod figures;
mod local;
#[cfg(test)]
pub(crate) mod moody;
mod postgres;
mod range;
mod record;
pub mod transfer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::config::DatabaseConfig;
use crate::postgres::{Database, schema};
use divided::Divided;
pub use figures::{Asked, Figures};
use local::Local;
use postgres::Shared;
use range::Range;
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
    /// The database cannot be used at the moment.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// The connection broke while a change was being kept, and nobody could be asked since.
    #[error(
        "the connection to the database broke while something was being kept, and it cannot be told whether it \
         was; hint: look before you do it again"
    )]
    Uncertain,
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

    /// Whether it belongs to the audit trail in a data directory, and stays with that: each gateway has a
    /// trail of its own.
    pub fn is_of_the_trail(self) -> bool {
        matches!(self, Self::AuditPositions | Self::AuditAnchors)
    }

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

/// How much there is in a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
}

/// How a store is, for operators.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// `sled` or `postgresql`.
    pub engine: &'static str,
    /// The database, without user and password.
    pub database: Option<String>,
    /// Version of its tables, and the version that this gateway knows.
    pub schema: Option<(i32, i32)>,
    /// What all gateways share, by space.
    pub shared: BTreeMap<String, Tally>,
    /// What belongs to the audit trail in the data directory, by space.
    pub own: BTreeMap<String, Tally>,
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
pub struct Store {
    engine: Arc<dyn Engine>,
    /// What is in the data directory, or goes with this process.
    own: Local,
    shared: Option<Shared>,
}

impl Store {
    /// Opens the store: in a database, if there is one, else in the data directory, which is made if it is
    /// not there. What belongs to the audit trail is in the data directory in any case.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has the data directory, [`StoreError::Unavailable`] when the
    /// database is not there, [`StoreError::Engine`] otherwise.
    pub async fn open(
        data_dir: &Path,
        database: Option<&DatabaseConfig>,
    ) -> Result<Self, StoreError> {
        // First: two gateways in one data directory are a mistake, whatever the database says.
        let own = Local::open(data_dir).await?;
        Self::with(own, database).await
    }

    /// Opens the store of a data directory, if it has one.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when there is none, and those of [`open`](Self::open).
    pub async fn open_existing(data_dir: &Path) -> Result<Self, StoreError> {
        if !Self::exists(data_dir) {
            let why = format!(
                "there is no store in `{}`; hint: set CORTEX_DATA_DIR to where the gateway keeps its files",
                data_dir.display()
            );
            return Err(StoreError::Engine(why));
        }
        Self::open(data_dir, None).await
    }

    /// Whether a data directory has a store.
    pub fn exists(data_dir: &Path) -> bool {
        Local::exists(data_dir)
    }

    /// Opens a store of which whatever is not in the database is nobody else's and ends with this process.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Engine`].
    pub async fn temporary(database: Option<&DatabaseConfig>) -> Result<Self, StoreError> {
        Self::with(Local::temporary().await?, database).await
    }

    /// Looks at what is in a database, without making anything there. `None`: there are no tables.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Engine`].
    pub async fn look(config: &DatabaseConfig) -> Result<Option<Self>, StoreError> {
        let database = Database::own(config).map_err(|e| StoreError::Engine(e.to_string()))?;
        let version = schema::look(&database).await;
        match version.map_err(|error| StoreError::Engine(error.to_string()))? {
            version if version.version < schema::KNOWN => Ok(None),
            _ => Self::temporary(Some(config)).await.map(Some),
        }
    }

    async fn with(own: Local, database: Option<&DatabaseConfig>) -> Result<Self, StoreError> {
        let Some(config) = database else {
            return Ok(Self {
                engine: Arc::new(own.clone()),
                own,
                shared: None,
            });
        };
        let shared = Shared::open(config).await?;
        let divided = Divided {
            shared: shared.clone(),
            own: own.clone(),
        };
        Ok(Self {
            engine: Arc::new(divided),
            own,
            shared: Some(shared),
        })
    }

    /// Whether the data directory keeps what should be in the database, which has nothing yet: whoever set the
    /// database up has not moved it.
    ///
    /// # Errors
    /// Like [`Table::get`].
    pub async fn was_left_behind(&self) -> Result<bool, StoreError> {
        let Some(shared) = &self.shared else {
            return Ok(false);
        };
        let has_any = async |engine: &dyn Engine| {
            for space in Space::ALL.into_iter().filter(|it| !it.is_of_the_trail()) {
                let first = Scan {
                    limit: 1,
                    ..Scan::default()
                };
                if !engine.scan(space, first).await?.is_empty() {
                    return Ok::<_, StoreError>(true);
                }
            }
            Ok(false)
        };
        Ok(has_any(&self.own).await? && !has_any(shared).await?)
    }

    /// How it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        let (mut shared, mut own) = (BTreeMap::new(), BTreeMap::new());
        for space in Space::ALL {
            let name = space.name().to_owned();
            if space.is_of_the_trail() {
                own.insert(name, self.own.tally(space).await?);
            } else if self.shared.is_none() {
                shared.insert(name, self.own.tally(space).await?);
            } else {
                shared.insert(name, Tally::default());
            }
        }
        let Some(database) = &self.shared else {
            return Ok(Standing {
                engine: "sled",
                database: None,
                schema: None,
                shared,
                own,
            });
        };
        shared.extend(database.tally().await?);
        let version = schema::look(database.database()).await;
        let version = version.map_err(|error| StoreError::Engine(error.to_string()))?;
        Ok(Standing {
            engine: "postgresql",
            database: Some(database.place().to_owned()),
            schema: Some((version.version, schema::KNOWN)),
            shared,
            own,
        })
    }

    /// Whether other gateways change it, too: what was read once may be otherwise by now.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The database that several gateways share, if there is one.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.shared.as_ref().map(Shared::database)
    }

    /// What is counted of it.
    pub(crate) fn figures(&self) -> Option<&Figures> {
        self.shared.as_ref().map(|shared| &**shared.figures())
    }

    /// Makes a change, whole or not at all. What was answered with [`Committed::Yes`] survives
    /// the end of this process, however it comes.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.engine.commit(batch).await
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
        let found = store.engine.get(self.space, key.to_vec()).await?;
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
        let found = store.engine.scan(self.space, scan).await?;
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
mod tests;
