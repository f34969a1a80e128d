//! The engine of many gateways that share a PostgreSQL database.
//!
//! One table has all records, by the name of their space and their key. Reads are one statement each; a change
//! is a transaction (`change`). A server that is away for a moment, as when it is restarted or another one
//! takes its place, is waited for.
//!
//! Knows nothing of how the tables came to be: that is [`schema`].

mod change;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::figures::{Asked, Figures};
use super::{Batch, Bytes, Committed, Engine, Range, Scan, Space, StoreError};
use crate::config::DatabaseConfig;
use crate::postgres::{Database, PostgresError, schema, told};

/// For how long a server that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(8);
/// Longest one statement is waited for.
const ANSWER: Duration = Duration::from_secs(15);

const GET: &str = "SELECT value FROM cortex.records WHERE space = $1 AND key = $2";

/// The database and what is counted of it.
#[derive(Clone)]
pub(super) struct Shared {
    database: Database,
    /// Where it is.
    place: Arc<str>,
    figures: Arc<Figures>,
}

impl Shared {
    /// Connects, and sees to it that the tables are there.
    pub(super) async fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let began = Instant::now();
        let mut tried = 0;
        let database = Database::own(config).map_err(|e| StoreError::Engine(e.to_string()))?;
        loop {
            match schema::prepare(&database).await {
                Ok(_) => break,
                Err(schema::SchemaError::Database(error))
                    if passes(&error) && began.elapsed() < PATIENCE =>
                {
                    pause(&mut tried).await;
                }
                Err(schema::SchemaError::Database(error)) => return Err(error.into()),
                Err(error) => return Err(StoreError::Engine(error.to_string())),
            }
        }
        Ok(Self {
            database,
            place: config.url.to_string().into(),
            figures: Arc::default(),
        })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Asks for rows, again where the server is away for a moment.
    async fn rows(
        &self,
        asked: Asked,
        text: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let began = Instant::now();
        let mut tried = 0;
        loop {
            match self.ask(text, values).await {
                Ok(rows) => {
                    self.figures.took(asked, began.elapsed());
                    return Ok(rows);
                }
                Err(error) if passes(&error) && began.elapsed() < PATIENCE => {
                    self.figures.again(asked);
                    pause(&mut tried).await;
                }
                Err(error) => {
                    self.figures.failed(asked);
                    return Err(error.into());
                }
            }
        }
    }

    async fn ask(
        &self,
        text: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PostgresError> {
        let connection = self.database.connection().await?;
        let asking = async {
            let statement = connection.prepare_cached(text).await?;
            connection.query(&statement, values).await
        };
        match tokio::time::timeout(ANSWER, asking).await {
            Ok(Ok(rows)) => {
                connection.give_back();
                Ok(rows)
            }
            Ok(Err(error)) => Err(told(0, &error)),
            Err(_) => Err(no_answer()),
        }
    }
}

impl Engine for Shared {
    fn get(&self, space: Space, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        async move {
            let rows = self.rows(Asked::Get, GET, &[&space.name(), &key]).await?;
            Ok(rows.first().map(|row| row.get(0)))
        }
        .boxed()
    }

    fn scan(
        &self,
        space: Space,
        scan: Scan,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, StoreError>> {
        async move {
            let Range { from, to } = Range::of(&scan);
            let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
            let text = select(scan.backwards, to.is_some());
            let space = space.name();
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&space, &from, &limit];
            if let Some(to) = &to {
                values.push(to);
            }
            let rows = self.rows(Asked::Scan, text, &values).await?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        }
        .boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let this = self.clone();
        async move {
            // What has begun comes to its end, whether anybody waits for it or not.
            let changing = tokio::spawn(async move { this.change(batch).await });
            let ended = changing.await;
            ended.unwrap_or_else(|error| Err(StoreError::Engine(error.to_string())))
        }
        .boxed()
    }
}

fn select(backwards: bool, ends: bool) -> &'static str {
    match (backwards, ends) {
        (false, false) => {
            "SELECT key, value FROM cortex.records WHERE space = $1 AND key >= $2 ORDER BY key LIMIT $3"
        }
        (false, true) => {
            "SELECT key, value FROM cortex.records WHERE space = $1 AND key >= $2 AND key < $4 ORDER BY key LIMIT $3"
        }
        (true, false) => {
            "SELECT key, value FROM cortex.records WHERE space = $1 AND key >= $2 ORDER BY key DESC LIMIT $3"
        }
        (true, true) => {
            "SELECT key, value FROM cortex.records WHERE space = $1 AND key >= $2 AND key < $4 ORDER BY key DESC LIMIT $3"
        }
    }
}

/// Whether it may be otherwise in a moment: the server is away, or others were in the way.
fn passes(error: &PostgresError) -> bool {
    match error {
        PostgresError::Unavailable(_) => true,
        // Could not be put in an order with others; deadlock; a lock was not to be had.
        PostgresError::Refused { sqlstate, .. } => {
            ["40001", "40P01", "55P03"].contains(&sqlstate.as_str())
        }
        PostgresError::Invalid { .. } | PostgresError::TooLarge(_) => false,
    }
}

/// A little longer each time.
async fn pause(tried: &mut u32) {
    let longest = 10_u64 << (*tried).min(6);
    *tried += 1;
    // Those who were in each other's way should not meet again.
    let random = uuid::Uuid::now_v7().as_u128() as u64;
    tokio::time::sleep(Duration::from_millis(longest / 2 + random % longest)).await;
}

fn no_answer() -> PostgresError {
    PostgresError::Unavailable(format!("no answer in {} s", ANSWER.as_secs()))
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Unavailable(why) => Self::Unavailable(why),
            other => Self::Engine(other.to_string()),
        }
    }
}
