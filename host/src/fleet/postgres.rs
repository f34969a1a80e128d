//! The engine on PostgreSQL, for gateways that share a database and no Redis.
//!
//! News travel by `NOTIFY`, those that are too long for it by a table. Values and allowances are in tables that
//! a crash of the server empties (`UNLOGGED`: nothing is written twice for them), claims and leases in tables
//! that it does not. Times are the server's. Each function is one statement on a connection of the engine's
//! own: the pool of the store is not waited for. The tables are made with those of the store
//! (`postgres/schema.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::Shelf;
use super::engine::{Engine, Holder, Listener, Trouble};
use super::figures::{no_answer, words};
use super::gcra::{Rule, Spent};
use super::link::jitter;
use crate::config::DatabaseUrl;
use crate::postgres::{BadDatabase, Connector, PostgresError, told};

/// So long may nothing come from the server before it is asked whether it is still there, and so long may the
/// answer take.
const SILENCE: Duration = Duration::from_secs(3);
/// How often what has ended is deleted, about.
const PURGE: Duration = Duration::from_secs(30);
/// Longest text that `NOTIFY` carries, in bytes (8000 are too many).
const NOTIFY: usize = 7_900;

/// What holds on each connection: nobody waits for ever for a statement that nobody waits for any more.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_read_only = off; SET statement_timeout = '5s'; SET lock_timeout = '3s'";

const LISTEN: &str = "LISTEN cortex_fleet";
const TELL: &str = "SELECT pg_notify('cortex_fleet', $1)";
const TELL_LONG: &str = "\
    WITH kept AS ( \
        INSERT INTO cortex.fleet_news (id, news, ends) \
        VALUES ($1, $2, clock_timestamp() + interval '1 minute') RETURNING id \
    ) SELECT pg_notify('cortex_fleet', '#' || id) FROM kept";
const READ_LONG: &str = "SELECT news FROM cortex.fleet_news WHERE id = $1";

const PUT: &str = "\
    INSERT INTO cortex.fleet_values (shelf, key, value, ends) \
    VALUES ($1, $2, $3, clock_timestamp() + $4::bigint * interval '1 millisecond') \
    ON CONFLICT (shelf, key) DO UPDATE SET value = excluded.value, ends = excluded.ends";
const GET: &str = "\
    SELECT value FROM cortex.fleet_values WHERE shelf = $1 AND key = $2 AND ends > clock_timestamp()";
const TAKE: &str = "\
    DELETE FROM cortex.fleet_values WHERE shelf = $1 AND key = $2 \
    RETURNING value, ends > clock_timestamp()";
const ALL: &str = "\
    SELECT key, value FROM cortex.fleet_values WHERE shelf = $1 AND ends > clock_timestamp() LIMIT $2";
const CLAIM: &str = "\
    INSERT INTO cortex.fleet_claims AS claims (shelf, key, ends) \
    VALUES ($1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond') \
    ON CONFLICT (shelf, key) DO UPDATE SET ends = excluded.ends WHERE claims.ends <= clock_timestamp() \
    RETURNING 1";
/// A holder cannot keep a lease while the server is down: it has its whole time again once that is back.
pub(super) const GRANT: &str = "\
    INSERT INTO cortex.fleet_leases AS leases (name, holder, ends) \
    VALUES ($1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond') \
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends = excluded.ends \
    WHERE leases.holder = excluded.holder OR greatest( \
        leases.ends, pg_postmaster_start_time() + $3::bigint * interval '1 millisecond' \
    ) <= clock_timestamp() RETURNING 1";
pub(super) const RELEASE: &str = "DELETE FROM cortex.fleet_leases WHERE name = $1 AND holder = $2";
/// See `gcra.rs`. `excluded.due - $2` is now.
const SPEND: &str = "\
    INSERT INTO cortex.fleet_allowances AS kept (key, due, early) \
    VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2::bigint, 0) \
    ON CONFLICT (key) DO UPDATE SET \
        early = greatest(kept.due - (excluded.due - $2::bigint) - $3::bigint, 0), \
        due = CASE WHEN kept.due - (excluded.due - $2::bigint) > $3::bigint THEN kept.due \
            ELSE greatest(kept.due, excluded.due - $2::bigint) + $2::bigint END \
    RETURNING early";
const EPOCH: &str = "\
    WITH made AS ( \
        INSERT INTO cortex.fleet_epoch (one, name) VALUES (true, $1) ON CONFLICT DO NOTHING RETURNING name \
    ) SELECT name FROM made UNION ALL SELECT name FROM cortex.fleet_epoch LIMIT 1";
/// Not sooner: after a restart of the server a holder may still have what seems to have ended.
pub(super) const DELETE_OLD_LEASES: &str = "\
    DELETE FROM cortex.fleet_leases WHERE ctid = ANY (ARRAY(SELECT ctid FROM cortex.fleet_leases \
        WHERE ends <= clock_timestamp() - interval '1 hour' LIMIT 10000 FOR UPDATE SKIP LOCKED))";
/// Whoever does the same at this moment is not waited for.
const DELETE_OLD: &str = "\
    DELETE FROM cortex.fleet_values WHERE ctid = ANY (ARRAY(SELECT ctid FROM cortex.fleet_values \
        WHERE ends <= clock_timestamp() LIMIT 10000 FOR UPDATE SKIP LOCKED)); \
    DELETE FROM cortex.fleet_claims WHERE ctid = ANY (ARRAY(SELECT ctid FROM cortex.fleet_claims \
        WHERE ends <= clock_timestamp() LIMIT 10000 FOR UPDATE SKIP LOCKED)); \
    DELETE FROM cortex.fleet_news WHERE ctid = ANY (ARRAY(SELECT ctid FROM cortex.fleet_news \
        WHERE ends <= clock_timestamp() LIMIT 10000 FOR UPDATE SKIP LOCKED)); \
    DELETE FROM cortex.fleet_allowances WHERE ctid = ANY (ARRAY(SELECT ctid FROM cortex.fleet_allowances \
        WHERE due <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
        LIMIT 50000 FOR UPDATE SKIP LOCKED))";

/// A database, connected to when it is asked to.
pub(super) struct Postgres {
    connector: Connector,
    now: ArcSwapOption<Connections>,
    /// When what has ended is deleted next.
    purge: Mutex<Instant>,
}

/// Two, so that no request waits behind large values.
struct Connections {
    quick: Connected,
    bulk: Connected,
    statements: Statements,
}

/// A connection and the task that drives it.
struct Connected {
    client: Client,
    _driver: AbortOnDropHandle<()>,
}

/// Each is prepared on the connection on which it is asked.
struct Statements {
    claim: Statement,
    grant: Statement,
    release: Statement,
    spend: Statement,
    epoch: Statement,
    put: Statement,
    get: Statement,
    take: Statement,
    all: Statement,
    tell: Statement,
    tell_long: Statement,
    read_long: Statement,
}

type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Postgres {
    /// The database at a URL.
    ///
    /// # Errors
    /// [`BadDatabase`].
    pub(super) fn at(url: &DatabaseUrl) -> Result<Self, BadDatabase> {
        Ok(Self {
            connector: Connector::new(url)?,
            now: ArcSwapOption::empty(),
            purge: Mutex::new(Instant::now() + jitter(PURGE)),
        })
    }

    fn now(&self) -> Result<Arc<Connections>, Trouble> {
        let now = self.now.load_full();
        now.ok_or_else(|| Trouble::Lost("there is no connection".to_owned()))
    }

    async fn connected(&self) -> Result<Connected, Trouble> {
        let (client, connection) = self.connector.connect().await.map_err(|e| trouble(&e))?;
        // Its error is that of whoever asks next.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        let connected = Connected {
            client,
            _driver: AbortOnDropHandle::new(driver),
        };
        connected.set().await?;
        Ok(connected)
    }

    async fn listening(&self) -> Result<(Connected, mpsc::Receiver<String>), Trouble> {
        let (client, mut connection) = self.connector.connect().await.map_err(|e| trouble(&e))?;
        // Whoever tells more than is listened to finds the connection full, and then its end.
        let (sender, receiver) = mpsc::channel(1_024);
        let driver = tokio::spawn(async move {
            let mut messages = std::pin::pin!(poll_fn(|cx| connection.poll_message(cx)));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(news) = message
                    && sender.send(news.payload().to_owned()).await.is_err()
                {
                    return;
                }
            }
        });
        let connected = Connected {
            client,
            _driver: AbortOnDropHandle::new(driver),
        };
        connected.set().await?;
        let listens = connected.client.batch_execute(LISTEN).await;
        listens.map_err(|error| trouble(&told(0, &error)))?;
        Ok((connected, receiver))
    }

    /// Deletes what has ended, if nobody of this instance did so lately.
    async fn purge(&self, now: &Connections) -> Result<(), Trouble> {
        let Ok(mut due) = self.purge.try_lock() else {
            return Ok(());
        };
        if *due > Instant::now() {
            return Ok(());
        }
        *due = Instant::now() + jitter(PURGE);
        for old in [DELETE_OLD, DELETE_OLD_LEASES] {
            let deleted = now.bulk.client.batch_execute(old).await;
            deleted.map_err(|error| trouble(&told(0, &error)))?;
        }
        Ok(())
    }
}

impl Connected {
    async fn set(&self) -> Result<(), Trouble> {
        let set = self.client.batch_execute(SESSION).await;
        set.map_err(|error| trouble(&told(0, &error)))
    }

    async fn prepare(&self, text: &str) -> Result<Statement, Trouble> {
        let prepared = self.client.prepare(text).await;
        prepared.map_err(|error| trouble(&told(0, &error)))
    }

    async fn one(&self, statement: &Statement, values: Values<'_>) -> Result<Option<Row>, Trouble> {
        let row = self.client.query_opt(statement, values).await;
        row.map_err(|error| trouble(&told(0, &error)))
    }

    async fn done(&self, statement: &Statement, values: Values<'_>) -> Result<(), Trouble> {
        let done = self.client.execute(statement, values).await;
        done.map(|_| ()).map_err(|error| trouble(&told(0, &error)))
    }
}

/// Milliseconds, at most 100 years.
pub(super) fn millis(lives: Duration) -> i64 {
    i64::try_from(lives.as_millis()).map_or(3_155_760_000_000, |millis| {
        millis.clamp(1, 3_155_760_000_000)
    })
}

fn micros(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX / 4)
}

fn trouble(error: &PostgresError) -> Trouble {
    let why = words(error);
    match error {
        PostgresError::Unavailable(_) => Trouble::Lost(why),
        _ => Trouble::Refused(why),
    }
}

/// A column of a row.
fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: usize,
) -> Result<T, Trouble> {
    let value = row.try_get(column);
    value.map_err(|error| Trouble::Refused(words(&error)))
}

#[async_trait]
impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    async fn connect(&self) -> Result<Box<dyn Listener>, Trouble> {
        let (quick, bulk, (listening, news)) =
            tokio::try_join!(self.connected(), self.connected(), self.listening())?;
        let statements = Statements {
            claim: quick.prepare(CLAIM).await?,
            grant: quick.prepare(GRANT).await?,
            release: quick.prepare(RELEASE).await?,
            spend: quick.prepare(SPEND).await?,
            epoch: quick.prepare(EPOCH).await?,
            put: bulk.prepare(PUT).await?,
            get: bulk.prepare(GET).await?,
            take: bulk.prepare(TAKE).await?,
            all: bulk.prepare(ALL).await?,
            tell: bulk.prepare(TELL).await?,
            tell_long: bulk.prepare(TELL_LONG).await?,
            read_long: bulk.prepare(READ_LONG).await?,
        };
        let connections = Arc::new(Connections {
            quick,
            bulk,
            statements,
        });
        self.now.store(Some(Arc::clone(&connections)));
        Ok(Box::new(Listening {
            listening,
            news,
            connections,
        }))
    }

    fn disconnect(&self) {
        self.now.store(None);
    }

    async fn epoch(&self, fresh: &str) -> Result<Vec<u8>, Trouble> {
        let now = self.now()?;
        self.purge(&now).await?;
        let epoch = &now.statements.epoch;
        // One that another instance makes at this moment is seen by the second look.
        for _ in 0..2 {
            if let Some(row) = now.quick.one(epoch, &[&fresh]).await? {
                return Ok(column::<String>(&row, 0)?.into_bytes());
            }
        }
        Err(Trouble::Refused("the epoch has no name".to_owned()))
    }

    async fn put(
        &self,
        shelf: Shelf,
        key: &[u8],
        value: &[u8],
        lives: Duration,
    ) -> Result<(), Trouble> {
        let now = self.now()?;
        let values: Values<'_> = &[&shelf.name(), &key, &value, &millis(lives)];
        now.bulk.done(&now.statements.put, values).await
    }

    async fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        let now = self.now()?;
        let values: Values<'_> = &[&shelf.name(), &key];
        let row = now.bulk.one(&now.statements.get, values).await?;
        row.map(|row| column(&row, 0)).transpose()
    }

    async fn take(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        let now = self.now()?;
        let values: Values<'_> = &[&shelf.name(), &key];
        let Some(row) = now.bulk.one(&now.statements.take, values).await? else {
            return Ok(None);
        };
        let is_alive: bool = column(&row, 1)?;
        is_alive.then(|| column(&row, 0)).transpose()
    }

    async fn all(&self, shelf: Shelf, limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Trouble> {
        let now = self.now()?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values: Values<'_> = &[&shelf.name(), &limit];
        let rows = now.bulk.client.query(&now.statements.all, values).await;
        let rows = rows.map_err(|error| trouble(&told(0, &error)))?;
        let both = rows
            .iter()
            .map(|row| Ok((column(row, 0)?, column(row, 1)?)));
        both.collect()
    }

    async fn claim(&self, shelf: Shelf, key: &[u8], lives: Duration) -> Result<bool, Trouble> {
        let now = self.now()?;
        let values: Values<'_> = &[&shelf.name(), &key, &millis(lives)];
        let row = now.quick.one(&now.statements.claim, values).await?;
        Ok(row.is_some())
    }

    async fn grant(&self, name: &[u8], holder: Holder, lives: Duration) -> Result<bool, Trouble> {
        let now = self.now()?;
        let values: Values<'_> = &[&name, &holder, &millis(lives)];
        let row = now.quick.one(&now.statements.grant, values).await?;
        Ok(row.is_some())
    }

    async fn release(&self, name: &[u8], holder: Holder) -> Result<(), Trouble> {
        let now = self.now()?;
        let values: Values<'_> = &[&name, &holder];
        now.quick.done(&now.statements.release, values).await
    }

    async fn spend(&self, key: &[u8], rule: Rule) -> Result<Spent, Trouble> {
        let now = self.now()?;
        let (interval, tolerance) = (micros(rule.interval), micros(rule.tolerance));
        let values: Values<'_> = &[&key, &interval, &tolerance];
        let row = now.quick.one(&now.statements.spend, values).await?;
        let early: i64 = row.map_or(Ok(0), |row| column(&row, 0))?;
        Ok(match u64::try_from(early) {
            Ok(early) if early > 0 => Spent::Wait(Duration::from_micros(early)),
            _ => Spent::Allowed,
        })
    }

    async fn publish(&self, envelope: &[u8]) -> Result<(), Trouble> {
        let now = self.now()?;
        let text = STANDARD_NO_PAD.encode(envelope);
        if text.len() <= NOTIFY {
            let row = now.bulk.one(&now.statements.tell, &[&text]).await;
            return row.map(|_| ());
        }
        let values: Values<'_> = &[&Uuid::now_v7(), &envelope];
        let row = now.bulk.one(&now.statements.tell_long, values).await;
        row.map(|_| ())
    }
}

/// The connection on which the news come.
struct Listening {
    listening: Connected,
    news: mpsc::Receiver<String>,
    /// Where those are that were too long.
    connections: Arc<Connections>,
}

impl Listening {
    /// What a notification holds, or names.
    async fn open(&self, text: &str) -> Result<Vec<u8>, Trouble> {
        let Some(id) = text.strip_prefix('#') else {
            // Whoever else notifies here is not understood, and does no harm.
            return Ok(STANDARD_NO_PAD.decode(text).unwrap_or_default());
        };
        let Ok(id) = id.parse::<Uuid>() else {
            return Ok(Vec::new());
        };
        let connections = &self.connections;
        let statement = &connections.statements.read_long;
        let row = connections.bulk.one(statement, &[&id]).await?;
        let row = row.ok_or_else(|| Trouble::Lost("a piece of news came too late".to_owned()))?;
        column(&row, 0)
    }
}

#[async_trait]
impl Listener for Listening {
    async fn next(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            match tokio::time::timeout(SILENCE, self.news.recv()).await {
                Ok(Some(text)) => return self.open(&text).await,
                Ok(None) => return Err(Trouble::Lost("the connection broke".to_owned())),
                Err(_) => {}
            }
            // A connection of which the other end is gone looks like one on which nothing is told.
            let ping = self.listening.client.batch_execute("SELECT 1");
            match tokio::time::timeout(SILENCE, ping).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(trouble(&told(0, &error))),
                Err(_) => return Err(no_answer(SILENCE)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_such_that_the_server_can_add_them() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_secs(2)), 2_000);
        assert_eq!(millis(Duration::MAX), 3_155_760_000_000);
        assert_eq!(micros(7), 7);
        assert!(micros(u64::MAX) > 0);
    }
}
