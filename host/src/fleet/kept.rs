//! Leases that are kept in the database of the store, over its own connections.
//!
//! They need nothing but the store: where the engine is Redis, it may be emptied or away meanwhile. Who waits for
//! one is told of its end through the engine, and asks again by itself where that does not come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::types::ToSql;
use tracing::{debug, warn};

use super::engine::Holder;
use super::lease::Grants;
use super::postgres::{DELETE_OLD_LEASES, GRANT, RELEASE, millis};
use super::shared::Shared;
use super::{Away, Topic};
use crate::postgres::{PostgresError, told};
use crate::store::{Asked, Store};

/// Longest that one statement is waited for. A renewal also reads and writes the vault, which has a patience of its
/// own.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often, and after which pauses, it is tried again to give a lease back.
const TRIES: usize = 60;
const AGAIN: Duration = Duration::from_secs(1);
/// How often leases are deleted that nobody has given back.
const PURGE: Duration = Duration::from_secs(600);

/// They, and who is told when one is given back.
pub(super) struct KeptLeases {
    store: Store,
    others: Option<Arc<Shared>>,
    /// When old ones are deleted next.
    purge: Mutex<Instant>,
}

impl KeptLeases {
    pub(super) fn new(store: Store, others: Option<Arc<Shared>>) -> Self {
        Self {
            store,
            others,
            purge: Mutex::new(Instant::now() + PURGE),
        }
    }

    /// Deletes what the dead have left, if that was not done lately. Nobody waits for it: whoever gives a lease back
    /// has the turn until that is done, and the next one here would wait, too.
    fn purge(&self) {
        let mut due = self.purge.lock().unwrap_or_else(PoisonError::into_inner);
        if *due <= Instant::now() {
            *due = Instant::now() + PURGE;
            let store = self.store.clone();
            tokio::spawn(async move {
                let _ = ask(&store, DELETE_OLD_LEASES, &[]).await;
            });
        }
    }
}

/// Whether a statement found or changed something.
async fn ask(store: &Store, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<bool, Away> {
    let (Some(database), Some(figures)) = (store.database(), store.figures()) else {
        return Err(Away);
    };
    let began = Instant::now();
    let asking = async {
        let connection = database.connection().await?;
        let asked = async {
            let statement = connection.prepare_cached(text).await?;
            connection.execute(&statement, values).await
        };
        let rows = asked.await.map_err(|error| told(0, &error))?;
        connection.give_back();
        Ok::<_, PostgresError>(rows > 0)
    };
    let why = match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(any)) => {
            figures.took(Asked::Lease, began.elapsed());
            return Ok(any);
        }
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    figures.failed(Asked::Lease);
    // That the database is away is told by whoever needs more of it.
    if let Some(error @ (PostgresError::Refused { .. } | PostgresError::Invalid { .. })) = why {
        warn!("the database refuses a lease: {error}");
    }
    Err(Away)
}

#[async_trait]
impl Grants for KeptLeases {
    async fn grant(&self, name: &[u8], holder: Holder, lives: Duration) -> Result<bool, Away> {
        let values: &[&(dyn ToSql + Sync)] = &[&name, &holder, &millis(lives)];
        ask(&self.store, GRANT, values).await
    }

    async fn release(&self, name: &[u8], holder: Holder) {
        let gone = Gone {
            store: self.store.clone(),
            others: self.others.clone(),
            name: name.to_vec(),
            holder,
        };
        if gone.release().await.is_err() {
            debug!("a lease could not be given back: that is tried again, until it ends by itself");
            tokio::spawn(async move {
                for _ in 0..TRIES {
                    tokio::time::sleep(AGAIN).await;
                    if gone.release().await.is_ok() {
                        return;
                    }
                }
            });
        }
        self.purge();
    }
}

/// A lease that nobody wants any more. Its holder is of this lease alone: whoever has the next one of this name is
/// somebody else.
struct Gone {
    store: Store,
    others: Option<Arc<Shared>>,
    name: Vec<u8>,
    holder: Holder,
}

impl Gone {
    async fn release(&self) -> Result<(), Away> {
        ask(&self.store, RELEASE, &[&self.name, &self.holder]).await?;
        if let Some(others) = &self.others {
            others.tell(Topic::Leases, self.name.clone());
        }
        Ok(())
    }
}
