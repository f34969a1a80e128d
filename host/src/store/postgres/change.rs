//! A change as one transaction.
//!
//! First, in one go: what is there is locked, in the order of the keys, and compared; what must not be there is
//! put there, which makes everybody wait who does the same, and fails where somebody was faster. Whatever the
//! change touches is then ours until the end: changes of the same records happen one after the other. Second,
//! in one go: what is written, a row that says that this change happened, and COMMIT.
//!
//! When the connection breaks at COMMIT, that row tells whether it happened. To put it there oneself settles
//! it: either it is there already, or the change can never happen any more.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::{join3, join4};
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use tracing::warn;
use uuid::Uuid;

use super::super::figures::Asked;
use super::super::{Batch, Bytes, Committed, Space, StoreError};
use super::{ANSWER, Duration, PATIENCE, Shared, no_answer, passes, pause};
use crate::postgres::{Connection, PostgresError, told};

/// For how long is tried to find out what became of a change.
const FINDING_OUT: Duration = Duration::from_secs(30);
/// After how many changes old rows about changes are deleted.
const TIDY: u64 = 512;
/// How old they are: nobody asks for them any more.
const OLD: Duration = Duration::from_secs(60 * 60);

/// How many of the records are as expected. All that are there are locked.
const HOLD: &str = "\
    SELECT count(*) FILTER (WHERE held.fits) FROM ( \
        SELECT wanted.compared AND record.value = wanted.value AS fits \
        FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bool[]) AS wanted (space, key, value, compared) \
        JOIN cortex.records AS record ON record.space = wanted.space AND record.key = wanted.key \
        ORDER BY record.space, record.key \
        FOR UPDATE OF record \
    ) AS held";
/// Puts records where none are.
pub(super) const ADD: &str = "\
    INSERT INTO cortex.records (space, key, value) \
    SELECT space, key, value FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS added (space, key, value) \
    ORDER BY space COLLATE \"C\", key \
    ON CONFLICT DO NOTHING";
/// Puts records, whatever is there.
const PUT: &str = "\
    INSERT INTO cortex.records (space, key, value) \
    SELECT space, key, value FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS put (space, key, value) \
    ORDER BY space COLLATE \"C\", key \
    ON CONFLICT (space, key) DO UPDATE SET value = excluded.value";
const REMOVE: &str = "\
    DELETE FROM cortex.records AS record \
    USING unnest($1::text[], $2::bytea[]) AS gone (space, key) \
    WHERE record.space = gone.space AND record.key = gone.key";
/// Says that a change happened. Fails when it was settled that it did not.
const NOTE: &str = "INSERT INTO cortex.commits (id) VALUES ($1)";
/// Settles that a change did not happen, if it has not.
const SETTLE: &str = "INSERT INTO cortex.commits (id) VALUES ($1) ON CONFLICT DO NOTHING";

/// Records as columns.
#[derive(Default)]
struct Columns {
    spaces: Vec<&'static str>,
    keys: Vec<Bytes>,
    values: Vec<Option<Bytes>>,
}

impl Columns {
    fn add(&mut self, place: &Place, value: Option<Bytes>) {
        self.spaces.push(place.0.name());
        self.keys.push(place.1.clone());
        self.values.push(value);
    }

    fn len(&self) -> i64 {
        i64::try_from(self.keys.len()).unwrap_or(i64::MAX)
    }
}

type Place = (Space, Bytes);

/// A batch, sorted by what has to be done for it.
struct Change {
    /// Everything that it touches; the value is what is expected, if anything is.
    held: Columns,
    compared: Vec<bool>,
    /// How many of them have to be as expected.
    fitting: i64,
    /// Where nothing may be.
    added: Columns,
    put: Columns,
    removed: Columns,
}

impl Change {
    /// `None`: it expects two different things of one record.
    fn of(batch: Batch) -> Option<Self> {
        let mut expected: BTreeMap<Place, Option<Bytes>> = BTreeMap::new();
        for (space, key, value) in batch.expected {
            let before = expected.insert((space, key), value.clone());
            if before.is_some_and(|before| before != value) {
                return None;
            }
        }
        // Of several, the last one stays.
        let written = batch.written.into_iter();
        let mut written: BTreeMap<Place, Option<Bytes>> = written
            .map(|(space, key, value)| ((space, key), value))
            .collect();
        let mut change = Self {
            held: Columns::default(),
            compared: Vec::new(),
            fitting: 0,
            added: Columns::default(),
            put: Columns::default(),
            removed: Columns::default(),
        };
        for (place, value) in &expected {
            match value {
                Some(_) => {
                    change.held.add(place, value.clone());
                    change.compared.push(true);
                    change.fitting += 1;
                }
                None => {
                    let written = written.remove(place).flatten();
                    if written.is_none() {
                        change.removed.add(place, None);
                    }
                    change.added.add(place, Some(written.unwrap_or_default()));
                }
            }
        }
        for (place, value) in written {
            if !expected.contains_key(&place) {
                change.held.add(&place, None);
                change.compared.push(false);
            }
            match value {
                Some(value) => change.put.add(&place, Some(value)),
                None => change.removed.add(&place, None),
            }
        }
        Some(change)
    }

    fn is_empty(&self) -> bool {
        self.held.keys.is_empty() && self.added.keys.is_empty()
    }
}

/// What became of one try.
enum Tried {
    /// It is over.
    Ended(Committed),
    /// Nothing was changed.
    Nothing(PostgresError),
    /// The connection broke when it mattered.
    Unknown(PostgresError),
}

impl From<tokio_postgres::Error> for Tried {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Nothing(told(0, &error))
    }
}

impl Shared {
    pub(super) async fn change(&self, batch: Batch) -> Result<Committed, StoreError> {
        let Some(change) = Change::of(batch) else {
            return Ok(Committed::Conflict);
        };
        if change.is_empty() {
            return Ok(Committed::Yes);
        }
        let began = Instant::now();
        let mut tried = 0;
        loop {
            let id = Uuid::now_v7();
            let outcome = match self.once(&change, id).await {
                Ok(ended) | Err(ended) => ended,
            };
            let error = match outcome {
                Tried::Ended(committed) => return Ok(self.ended(began, committed)),
                Tried::Nothing(error) => error,
                Tried::Unknown(error) => {
                    warn!("the connection to the database broke at a commit: {error}");
                    match self.find_out(id).await {
                        Some(true) => return Ok(self.ended(began, Committed::Yes)),
                        Some(false) => error,
                        None => {
                            self.figures.failed(Asked::Commit);
                            return Err(StoreError::Uncertain);
                        }
                    }
                }
            };
            if !passes(&error) || began.elapsed() > PATIENCE {
                self.figures.failed(Asked::Commit);
                return Err(error.into());
            }
            self.figures.again(Asked::Commit);
            pause(&mut tried).await;
        }
    }

    fn ended(&self, began: Instant, committed: Committed) -> Committed {
        let before = self.figures.took(Asked::Commit, began.elapsed());
        if before.is_multiple_of(TIDY) {
            let this = self.clone();
            tokio::spawn(async move { this.tidy().await });
        }
        committed
    }

    async fn once(&self, change: &Change, id: Uuid) -> Result<Tried, Tried> {
        let connection = self.database.connection().await.map_err(Tried::Nothing)?;
        let holding = tokio::time::timeout(ANSWER, hold(&connection, change)).await;
        let fits = holding.unwrap_or_else(|_| Err(Tried::Nothing(no_answer())))?;
        if !fits {
            // Where that fails the connection is closed, and the transaction with it.
            if let Ok(Ok(())) =
                tokio::time::timeout(ANSWER, connection.batch_execute("ROLLBACK")).await
            {
                connection.give_back();
            }
            return Ok(Tried::Ended(Committed::Conflict));
        }
        let finishing = tokio::time::timeout(ANSWER, finish(&connection, change, id)).await;
        finishing.unwrap_or_else(|_| Err(Tried::Unknown(no_answer())))?;
        connection.give_back();
        Ok(Tried::Ended(Committed::Yes))
    }

    /// Whether a change happened. `None`: there is no telling.
    async fn find_out(&self, id: Uuid) -> Option<bool> {
        let began = Instant::now();
        let mut tried = 0;
        loop {
            // Waits for a transaction that is still at it.
            match self.settle(id).await {
                Ok(added) => return Some(!added),
                Err(error) if passes(&error) && began.elapsed() < FINDING_OUT => {
                    pause(&mut tried).await;
                }
                Err(error) => {
                    warn!("what became of a commit cannot be found out: {error}");
                    return None;
                }
            }
        }
    }

    async fn settle(&self, id: Uuid) -> Result<bool, PostgresError> {
        let connection = self.database.connection().await?;
        let settling = tokio::time::timeout(ANSWER, connection.execute(SETTLE, &[&id])).await;
        let added = settling.map_err(|_| no_answer())?;
        let added = added.map_err(|error| told(0, &error))?;
        connection.give_back();
        Ok(added == 1)
    }

    /// Deletes rows about changes that nobody asks for any more. Their ids begin with the time.
    async fn tidy(&self) {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let old = since.unwrap_or_default().saturating_sub(OLD);
        let millis = u64::try_from(old.as_millis()).unwrap_or_default();
        let bound = Uuid::from_u64_pair(millis << 16, 0);
        let text = "DELETE FROM cortex.commits WHERE id < $1";
        if let Err(error) = self.ask(text, &[&bound]).await {
            warn!("old rows about commits are not deleted: {error}");
        }
    }
}

/// Begins, and holds everything that is touched. Whether all of it is as expected.
async fn hold(connection: &Connection, change: &Change) -> Result<bool, Tried> {
    let hold = connection.prepare_cached(HOLD).await?;
    let add = connection.prepare_cached(ADD).await?;
    let Change { held, added, .. } = change;
    // They are sent one after the other and answered in this order.
    let begin = connection.batch_execute("BEGIN");
    let compared: [&(dyn ToSql + Sync); 4] =
        [&held.spaces, &held.keys, &held.values, &change.compared];
    let holding = connection.query(&hold, &compared);
    let adding = execute(connection, &add, added);
    let (begun, fitting, new) = join3(begin, holding, adding).await;
    begun?;
    let fitting: i64 = fitting?.first().map_or(0, |row| row.get(0));
    let new = i64::try_from(new?).unwrap_or(i64::MAX);
    Ok(fitting == change.fitting && new == added.len())
}

/// Writes and commits.
async fn finish(connection: &Connection, change: &Change, id: Uuid) -> Result<(), Tried> {
    let put = connection.prepare_cached(PUT).await?;
    let remove = connection.prepare_cached(REMOVE).await?;
    let note = connection.prepare_cached(NOTE).await?;
    let id: [&(dyn ToSql + Sync); 1] = [&id];
    let (put, removed, noted, committed) = join4(
        execute(connection, &put, &change.put),
        execute(connection, &remove, &change.removed),
        connection.execute(&note, &id),
        connection.batch_execute("COMMIT"),
    )
    .await;
    for outcome in [put, removed, noted] {
        outcome.map_err(|error| match error.as_db_error() {
            // It was refused, and the COMMIT behind it has ended the transaction without a trace.
            Some(_) => Tried::from(error),
            None => Tried::Unknown(told(0, &error)),
        })?;
    }
    committed.map_err(|error| Tried::Unknown(told(0, &error)))
}

/// Has a statement executed for records, if there are any.
async fn execute(
    connection: &Connection,
    statement: &Statement,
    records: &Columns,
) -> Result<u64, tokio_postgres::Error> {
    let Columns {
        spaces,
        keys,
        values,
    } = records;
    if keys.is_empty() {
        return Ok(0);
    }
    match statement.params().len() {
        2 => connection.execute(statement, &[spaces, keys]).await,
        _ => connection.execute(statement, &[spaces, keys, values]).await,
    }
}
