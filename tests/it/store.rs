//! What every engine of the store has to do, tried with each of them: sled in a folder, and a real PostgreSQL.
//!
//! | module    | subject                                                            |
//! |-----------|--------------------------------------------------------------------|
//! | `model`   | whatever is asked, it answers what a sorted map would               |
//! | `writers` | many writers at once, of one process and of several                 |
//! | `crashes` | whoever commits is killed, the server is, the connection breaks      |
//! | `moving`  | from one engine to the other and back                               |

mod crashes;
mod model;
mod moving;
mod writers;

use cortex_gateway::config::DatabaseConfig;
use cortex_gateway::store::{Batch, Committed, Space, Store, StoreError, Table};
use cortex_tests::postgres::Postgres;
use tempfile::TempDir;

const WORDS: Table<String> = Table::new(Space::Tickets, 1);
const NUMBERS: Table<u64> = Table::new(Space::TicketWishes, 1);

/// Where a store is kept.
enum Place {
    Folder(TempDir),
    Database(Postgres),
}

impl Place {
    /// One of each kind that this machine has.
    fn all() -> Vec<Self> {
        let folder = Self::Folder(tempfile::tempdir().expect("a folder"));
        let database = Postgres::start().map(Self::Database);
        [Some(folder), database].into_iter().flatten().collect()
    }

    fn database(&self) -> Option<DatabaseConfig> {
        match self {
            Self::Folder(_) => None,
            Self::Database(postgres) => Some(config(&postgres.url())),
        }
    }

    /// Stores of so many gateways: in a folder, which has one only, several handles of that.
    async fn open(&self, gateways: usize) -> Vec<Store> {
        let mut stores: Vec<Store> = Vec::new();
        for _ in 0..gateways {
            let store = match (self, stores.first()) {
                (Self::Folder(_), Some(first)) => first.clone(),
                (Self::Folder(folder), None) => open(Store::open(folder.path(), None)).await,
                (Self::Database(_), _) => open(Store::temporary(self.database().as_ref())).await,
            };
            stores.push(store);
        }
        stores
    }

    async fn open_one(&self) -> Store {
        self.open(1).await.pop().expect("one")
    }
}

async fn open(opening: impl Future<Output = Result<Store, StoreError>>) -> Store {
    opening.await.expect("it opens")
}

fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig {
        url: url.parse().expect("a URL"),
        connections: 4,
    }
}

async fn number(store: &Store, key: &str) -> Option<u64> {
    let found = NUMBERS.get(store, key.as_bytes()).await.expect("read");
    found.map(|found| found.value)
}

/// Adds one to a number, in one try.
async fn add_one(store: &Store, key: &str) -> Result<Committed, StoreError> {
    let found = NUMBERS.get(store, key.as_bytes()).await?;
    let next = found.as_ref().map_or(0, |found| found.value) + 1;
    let mut batch = Batch::default();
    NUMBERS.expect(&mut batch, key.as_bytes(), found.as_ref());
    NUMBERS.put(&mut batch, key.as_bytes(), &next)?;
    store.commit(batch).await
}
