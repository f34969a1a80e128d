//! All records at once: read as they are at one moment, replaced, counted.

use std::collections::BTreeMap;

use tokio_postgres::types::ToSql;

use super::super::figures::Asked;
use super::super::{Bytes, Space, StoreError, Tally};
use super::change::ADD;
use super::{Shared, select};
use crate::postgres::{Connection, PostgresError, told};

/// A transaction over the whole table.
pub(in crate::store) struct Whole(Connection);

type Record = (Space, Bytes, Bytes);

impl Shared {
    /// All records as they are now, whatever others change meanwhile.
    pub(in crate::store) async fn moment(&self) -> Result<Whole, StoreError> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
    }

    /// To change all records while nobody else changes any. Dropped, it has changed nothing.
    pub(in crate::store) async fn filling(&self) -> Result<Whole, StoreError> {
        self.begin("BEGIN; LOCK TABLE cortex.records IN SHARE ROW EXCLUSIVE MODE")
            .await
    }

    async fn begin(&self, how: &str) -> Result<Whole, StoreError> {
        let connection = self.database().connection().await?;
        connection.batch_execute(how).await.map_err(failed)?;
        // All of it takes as long as it takes.
        let patient =
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
        connection.batch_execute(patient).await.map_err(failed)?;
        Ok(Whole(connection))
    }

    /// How much there is, by space.
    pub(in crate::store) async fn tally(&self) -> Result<BTreeMap<String, Tally>, StoreError> {
        let text = "SELECT space, count(*), sum(octet_length(key) + octet_length(value))::bigint \
                    FROM cortex.records GROUP BY space";
        let rows = self.rows(Asked::Scan, text, &[]).await?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        let tallies = rows.iter().map(|row| {
            let tally = Tally {
                records: number(row.get(1)),
                bytes: number(row.get(2)),
            };
            (row.get(0), tally)
        });
        Ok(tallies.collect())
    }
}

impl Whole {
    /// Records of a space, in the order of their keys.
    pub(in crate::store) async fn page(
        &self,
        space: Space,
        after: Option<&Bytes>,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let from = after.map_or_else(Vec::new, |after| {
            let mut next = after.clone();
            next.push(0);
            next
        });
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let values: [&(dyn ToSql + Sync); 3] = [&space.name(), &from, &most];
        let rows = self.0.query(select(false, false), &values).await;
        let rows = rows.map_err(failed)?;
        Ok(rows
            .iter()
            .map(|row| (space, row.get(0), row.get(1)))
            .collect())
    }

    pub(in crate::store) async fn count(&self) -> Result<u64, StoreError> {
        let asked = "SELECT count(*) FROM cortex.records";
        let row = self.0.query_one(asked, &[]).await.map_err(failed)?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    }

    /// Deletes everything.
    pub(in crate::store) async fn clear(&self) -> Result<(), StoreError> {
        let cleared = self.0.execute("DELETE FROM cortex.records", &[]).await;
        cleared.map(drop).map_err(failed)
    }

    /// Adds records.
    pub(in crate::store) async fn add(&self, records: &[Record]) -> Result<(), StoreError> {
        let spaces: Vec<&str> = records.iter().map(|(space, ..)| space.name()).collect();
        let keys: Vec<&Bytes> = records.iter().map(|(_, key, _)| key).collect();
        let values: Vec<&Bytes> = records.iter().map(|(.., value)| value).collect();
        let columns: [&(dyn ToSql + Sync); 3] = [&spaces, &keys, &values];
        let added = self.0.execute(ADD, &columns).await;
        added.map(drop).map_err(failed)
    }

    /// Makes it so.
    pub(in crate::store) async fn keep(self) -> Result<(), StoreError> {
        let kept = self.0.batch_execute("COMMIT").await;
        kept.map_err(|error| match told(0, &error) {
            PostgresError::Unavailable(_) => StoreError::Uncertain,
            refused => refused.into(),
        })?;
        self.0.give_back();
        Ok(())
    }

    /// Everything was read.
    pub(in crate::store) async fn over(self) {
        if self.0.batch_execute("COMMIT").await.is_ok() {
            self.0.give_back();
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: tokio_postgres::Error) -> StoreError {
    told(0, &error).into()
}
