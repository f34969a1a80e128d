//! PostgreSQL: a pool of connections to one database, and statements whose values travel beside them.
//!
//! Values are text in the form that PostgreSQL reads and writes, so that nothing here has to know what a
//! column holds. Knows nothing of who asks.

pub(crate) mod schema;
mod value;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    Timeouts,
};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_postgres::Socket;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{DatabaseConfig, DatabaseUrl, NotADatabaseUrl};
use crate::types::Secret;
use value::Text;

/// Most connections to one database that was granted.
const CONNECTIONS: usize = 4;
/// How soon a server that is gone without a word is noticed on a connection of our own.
const SILENCE: Duration = Duration::from_secs(10);
/// What holds on each connection of our own. A commit is on disk when it is acknowledged, even where the
/// server was told to be quicker than that; nobody waits for ever, and nobody holds others up for ever.
const SESSION: &str = "\
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
    SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_read_only = off; \
    SET statement_timeout = '20s'; \
    SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '30s'";
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest that the statements of one transaction may take together.
const STATEMENTS: Duration = Duration::from_secs(20);

/// Why there is no database.
#[derive(Debug, Error)]
pub enum BadDatabase {
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] NotADatabaseUrl),
    /// There are no root certificates to check servers with.
    #[error("cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a transaction did not happen.
#[derive(Debug, Error)]
pub enum PostgresError {
    /// The database cannot be reached, or did not answer in time.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// The database refused a statement.
    #[error("statement {statement} was refused ({sqlstate}): {message}")]
    Refused {
        /// Which one, from 0.
        statement: usize,
        /// SQLSTATE.
        sqlstate: String,
        /// In the database's words.
        message: String,
    },
    /// A statement that cannot be sent, or a value that cannot be read.
    #[error("statement {statement}: {why}")]
    Invalid {
        /// Which one, from 0.
        statement: usize,
        /// What is wrong.
        why: String,
    },
    /// The rows are too many.
    #[error("the rows take more than {0} bytes")]
    TooLarge(usize),
}

/// One statement and its values.
#[derive(Clone, Debug)]
pub struct Statement {
    /// SQL.
    pub text: String,
    /// `$1`, `$2`, …; `None` is NULL.
    pub parameters: Vec<Option<String>>,
}

/// What became of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that it changed.
    pub affected: u64,
    /// Names of the columns that it returned.
    pub columns: Vec<String>,
    /// What it returned.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A database. Connects when it is first asked something, and again after it was away.
#[derive(Clone)]
pub struct Database(Pool);

/// How many connections there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolFigures {
    /// That are open.
    pub open: usize,
    /// Of them, those that somebody has.
    pub used: usize,
    /// Those who wait for one.
    pub waiting: usize,
    /// That there may be.
    pub most: usize,
}

/// A connection of the pool. It goes back there only when that was said: whoever breaks off in the middle
/// leaves a connection of which nobody knows what it is at, and that is closed.
pub(crate) struct Connection(Option<Object>);

impl Connection {
    /// The connection is as it was before, and others may have it.
    pub(crate) fn give_back(mut self) {
        self.0 = None;
    }
}

impl std::ops::Deref for Connection {
    type Target = Object;

    #[expect(
        clippy::expect_used,
        reason = "it is there until `give_back` or `drop` consumes this"
    )]
    fn deref(&self) -> &Object {
        self.0.as_ref().expect("a connection")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its manager knows a password.
        f.write_str("Database")
    }
}

impl Database {
    /// The database at a URL. Whether the server's certificate is asked for is said there (`sslmode`); if it
    /// is, it must hold.
    ///
    /// # Errors
    /// [`BadDatabase`].
    pub fn at(url: &Secret) -> Result<Self, BadDatabase> {
        let url: DatabaseUrl = url.reveal().parse()?;
        // Nothing that one transaction has set is there for the next one.
        Self::pooled(&url, CONNECTIONS, RecyclingMethod::Clean, None)
    }

    /// The database of the gateway's own. Only statements of the gateway itself are sent there, so that
    /// nothing has to be cleaned up between them.
    ///
    /// # Errors
    /// [`BadDatabase`].
    pub(crate) fn own(config: &DatabaseConfig) -> Result<Self, BadDatabase> {
        let recycling = RecyclingMethod::Fast;
        Self::pooled(&config.url, config.connections, recycling, Some(SESSION))
    }

    fn pooled(
        url: &DatabaseUrl,
        connections: usize,
        recycling_method: RecyclingMethod,
        session: Option<&'static str>,
    ) -> Result<Self, BadDatabase> {
        let mut config = url.to_options();
        config.connect_timeout(CONNECT);
        if session.is_some() {
            config.keepalives_idle(SILENCE);
            config.keepalives_interval(SILENCE / 5);
            config.keepalives_retries(3);
            config.tcp_user_timeout(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("cortex-gateway");
        }
        let manager = ManagerConfig { recycling_method };
        let manager = Manager::from_config(config, MakeRustlsConnect::new(tls()?), manager);
        let mut pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(CONNECT),
                create: Some(CONNECT),
                recycle: Some(CONNECT),
            });
        if let Some(session) = session {
            pool = pool.post_create(Hook::async_fn(move |client, _| {
                Box::pin(async move {
                    let set = client.batch_execute(session).await;
                    set.map_err(HookError::Backend)
                })
            }));
        }
        // It fails only without a runtime.
        pool.build().map(Self).map_err(|_| NotADatabaseUrl.into())
    }

    /// A connection, for as long as it is held.
    ///
    /// # Errors
    /// [`PostgresError::Unavailable`].
    pub(crate) async fn connection(&self) -> Result<Connection, PostgresError> {
        let connection = self.0.get().await;
        let connection = connection.map_err(|error| unreachable_now(&error))?;
        Ok(Connection(Some(connection)))
    }

    /// How the pool is.
    pub(crate) fn pool(&self) -> PoolFigures {
        let status = self.0.status();
        PoolFigures {
            open: status.size,
            used: status.size.saturating_sub(status.available),
            waiting: status.waiting,
            most: status.max_size,
        }
    }

    /// Executes statements in one transaction. `most`: bytes of rows.
    ///
    /// # Errors
    /// [`PostgresError`]; then nothing was done, unless the connection broke at the very end.
    pub async fn transaction(
        &self,
        statements: &[Statement],
        most: usize,
    ) -> Result<Vec<Outcome>, PostgresError> {
        tokio::time::timeout(STATEMENTS, self.execute(statements, most))
            .await
            .unwrap_or_else(|_| {
                let seconds = STATEMENTS.as_secs();
                Err(PostgresError::Unavailable(format!(
                    "no answer in {seconds} s"
                )))
            })
    }

    async fn execute(
        &self,
        statements: &[Statement],
        mut most: usize,
    ) -> Result<Vec<Outcome>, PostgresError> {
        let mut client = self
            .0
            .get()
            .await
            .map_err(|error| unreachable_now(&error))?;
        let limit = most;
        let begun = client.transaction().await;
        let transaction = begun.map_err(|error| told(0, &error))?;
        // So that the database, too, stops when nobody waits any more.
        let bound = format!("SET LOCAL statement_timeout = '{}s'", STATEMENTS.as_secs());
        let bounded = transaction.batch_execute(&bound).await;
        bounded.map_err(|error| told(0, &error))?;
        let mut outcomes = Vec::with_capacity(statements.len());
        for (number, statement) in statements.iter().enumerate() {
            let told = |error: &tokio_postgres::Error| told(number, error);
            let prepared = transaction.prepare(&statement.text).await;
            let prepared = prepared.map_err(|error| told(&error))?;
            if prepared.params().len() != statement.parameters.len() {
                return Err(PostgresError::Invalid {
                    statement: number,
                    why: format!(
                        "it has {} parameters, and {} values were given",
                        prepared.params().len(),
                        statement.parameters.len()
                    ),
                });
            }
            let values: Vec<Text<'_>> = statement
                .parameters
                .iter()
                .map(|p| Text(p.as_deref()))
                .collect();
            if prepared.columns().is_empty() {
                let affected = transaction.execute_raw(&prepared, &values).await;
                outcomes.push(Outcome {
                    affected: affected.map_err(|error| told(&error))?,
                    ..Outcome::default()
                });
                continue;
            }
            let columns = prepared.columns();
            let rows = transaction.query_raw(&prepared, &values).await;
            let rows = rows.map_err(|error| told(&error))?;
            let mut outcome = Outcome {
                columns: columns
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect(),
                ..Outcome::default()
            };
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = futures_util::StreamExt::next(&mut rows).await {
                let row = row.map_err(|error| told(&error))?;
                let row = value::texts(&row).map_err(|why| PostgresError::Invalid {
                    statement: number,
                    why,
                })?;
                let size = row
                    .iter()
                    .map(|value| value.as_ref().map_or(8, |text| text.len() + 8));
                most = most
                    .checked_sub(size.sum())
                    .ok_or(PostgresError::TooLarge(limit))?;
                outcome.rows.push(row);
            }
            outcome.affected = rows.rows_affected().unwrap_or_default();
            outcomes.push(outcome);
        }
        let number = statements.len().saturating_sub(1);
        let committed = transaction.commit().await;
        committed.map_err(|error| told(number, &error))?;
        Ok(outcomes)
    }
}

/// Makes connections beside the pool, for what needs one of its own.
pub(crate) struct Connector {
    options: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

/// A connection that somebody has to drive.
pub(crate) type Undriven =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl Connector {
    /// Nothing is connected to yet.
    ///
    /// # Errors
    /// [`BadDatabase`].
    pub(crate) fn new(url: &DatabaseUrl) -> Result<Self, BadDatabase> {
        let options = ours(url.to_options());
        let tls = MakeRustlsConnect::new(tls()?);
        Ok(Self { options, tls })
    }

    /// Connects.
    ///
    /// # Errors
    /// [`PostgresError::Unavailable`].
    pub(crate) async fn connect(
        &self,
    ) -> Result<(tokio_postgres::Client, Undriven), PostgresError> {
        let connected = self.options.connect(self.tls.clone()).await;
        connected.map_err(|error| match told(0, &error) {
            // Not let in: to ask again later may help.
            PostgresError::Refused { message, .. } => PostgresError::Unavailable(message),
            other => other,
        })
    }
}

/// How the gateway's own database is connected to.
fn ours(mut options: tokio_postgres::Config) -> tokio_postgres::Config {
    options.connect_timeout(CONNECT);
    options.keepalives_idle(SILENCE);
    options.keepalives_interval(SILENCE / 5);
    options.keepalives_retries(3);
    options.tcp_user_timeout(SILENCE);
    if options.get_application_name().is_none() {
        options.application_name("cortex-gateway");
    }
    options
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn unreachable_now(error: &PoolError) -> PostgresError {
    match error {
        PoolError::Backend(error) => match told(0, error) {
            // Not let in: to ask again later may help, to change the statement does not.
            PostgresError::Refused { message, .. } => PostgresError::Unavailable(message),
            other => other,
        },
        PoolError::Timeout(_) => {
            PostgresError::Unavailable(format!("no connection in {} s", CONNECT.as_secs()))
        }
        other => PostgresError::Unavailable(other.to_string()),
    }
}

/// What an error of the driver means for a statement.
pub(crate) fn told(statement: usize, error: &tokio_postgres::Error) -> PostgresError {
    let Some(refused) = error.as_db_error() else {
        let source = std::error::Error::source(error);
        let why = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        return match error.is_closed() || error.code().is_none() && !is_of_a_value(error) {
            true => PostgresError::Unavailable(why),
            false => PostgresError::Invalid { statement, why },
        };
    };
    let sqlstate = refused.code().code().to_owned();
    let message: String = refused.message().chars().take(500).collect();
    // Class 57: somebody ends the server or the connection. Class 53: it has no room. 25006: it has become
    // one that follows another, which is written to.
    let away = ["57P", "53", "08", "25006"];
    if away.iter().any(|class| sqlstate.starts_with(class)) {
        return PostgresError::Unavailable(message);
    }
    PostgresError::Refused {
        statement,
        sqlstate,
        message,
    }
}

/// Whether it is about a value that was to be sent, and not about the connection.
fn is_of_a_value(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("serializing parameter")
}
