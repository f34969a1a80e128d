//! Leases that are kept in the database of the store, over its own connections.
//!
//! They need nothing but the store: where the engine is Redis, it may be emptied or away meanwhile. Who waits for
//! one is told of its end through the engine, and asks again by itself where that does not come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tracing::warn;

use super::engine::Holder;
use super::lease::Grants;
use super::postgres::{DELETE_OLD_LEASES, GRANT, RELEASE, millis};
use super::shared::Shared;
use super::{Away, Topic};
use crate::postgres::{PostgresError, told};
use crate::store::{Asked, Store};

/// Longest that the database is waited for. What is renewed waits for it before and after, too.
const PATIENCE: Duration = Duration::from_secs(5);
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

    /// Whether a statement found or changed something.
    async fn ask(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<bool, Away> {
        let (Some(database), Some(figures)) = (self.store.database(), self.store.figures()) else {
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

    /// Deletes what the dead have left, if that was not done lately.
    async fn purge(&self) {
        let Ok(mut due) = self.purge.try_lock() else {
            return;
        };
        if *due <= Instant::now() {
            *due = Instant::now() + PURGE;
            let _ = self.ask(DELETE_OLD_LEASES, &[]).await;
        }
    }
}

#[async_trait]
impl Grants for KeptLeases {
    async fn grant(&self, name: &[u8], holder: Holder, lives: Duration) -> Result<bool, Away> {
        self.ask(GRANT, &[&name, &holder, &millis(lives)]).await
    }

    async fn release(&self, name: &[u8], holder: Holder) {
        let released = self.ask(RELEASE, &[&name, &holder]).await;
        if let (Ok(_), Some(others)) = (released, &self.others) {
            others.tell(Topic::Leases, name.to_vec());
        }
        self.purge().await;
    }
}
