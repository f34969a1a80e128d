//! The tables of the gateway's own database, made and changed at start.
//!
//! A change of the tables is a [`Migration`], applied once, in the order of their numbers, by whichever gateway
//! is there first; the others wait for it. Gateways of two versions run side by side while one after the other
//! is replaced, so a migration says which gateways can go on: those that know the tables of `needs` or newer.

use thiserror::Error;
use tracing::info;

use super::{Database, PostgresError, told};

/// Holds up those who want to change the tables at the same time: `cortex-g`, as a number.
const LOCK: i64 = i64::from_be_bytes(*b"cortex-g");

/// One change of the tables.
struct Migration {
    /// Its number; the tables have that of the last one.
    version: i32,
    /// A gateway that knows the tables of this version, or a newer one, can work with them afterwards.
    needs: i32,
    sql: &'static str,
}

/// All of them. What was released is never edited: a change is a new one.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        needs: 1,
        // `C` is the order of bytes, and depends on no version of a library. Room in each page lets a new value
        // take its place without a new entry in the index.
        sql: "\
        CREATE TABLE cortex.records ( \
            space text COLLATE \"C\" NOT NULL, \
            key bytea NOT NULL, \
            value bytea NOT NULL, \
            PRIMARY KEY (space, key) \
        ) WITH (fillfactor = 85); \
        CREATE TABLE cortex.commits (id uuid PRIMARY KEY)",
    },
    Migration {
        version: 2,
        needs: 1,
        // What gateways share that need not be kept (`fleet/postgres.rs`). A crash may empty what is `UNLOGGED`, and
        // must not let anybody use a claim or a lease twice.
        sql: "\
        CREATE UNLOGGED TABLE cortex.fleet_values ( \
            shelf text COLLATE \"C\" NOT NULL, \
            key bytea NOT NULL, \
            value bytea NOT NULL, \
            ends timestamptz NOT NULL, \
            PRIMARY KEY (shelf, key) \
        ); \
        CREATE INDEX ON cortex.fleet_values (ends); \
        CREATE UNLOGGED TABLE cortex.fleet_allowances ( \
            key bytea PRIMARY KEY, \
            due bigint NOT NULL, \
            early bigint NOT NULL \
        ) WITH (fillfactor = 50); \
        CREATE UNLOGGED TABLE cortex.fleet_news ( \
            id uuid PRIMARY KEY, \
            news bytea NOT NULL, \
            ends timestamptz NOT NULL \
        ); \
        CREATE UNLOGGED TABLE cortex.fleet_epoch (one boolean PRIMARY KEY, name text NOT NULL); \
        CREATE TABLE cortex.fleet_claims ( \
            shelf text COLLATE \"C\" NOT NULL, \
            key bytea NOT NULL, \
            ends timestamptz NOT NULL, \
            PRIMARY KEY (shelf, key) \
        ); \
        CREATE INDEX ON cortex.fleet_claims (ends); \
        CREATE TABLE cortex.fleet_leases ( \
            name bytea PRIMARY KEY, \
            holder uuid NOT NULL, \
            ends timestamptz NOT NULL \
        )",
    },
];

/// The version from which on there are tables for what gateways share.
const FLEET: i32 = 2;
/// The tables that this gateway knows.
pub(crate) const KNOWN: i32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// How the tables of a database are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Their number; 0: there are none.
    pub version: i32,
    /// What a gateway has to know to use them.
    pub needs: i32,
}

/// Why there are no tables to work with.
#[derive(Debug, Error)]
pub(crate) enum SchemaError {
    /// The database.
    #[error(transparent)]
    Database(#[from] PostgresError),
    /// A newer gateway has changed the tables.
    #[error(
        "the tables in the schema `cortex` are of version {version}, which needs a gateway that knows version \
         {needs}, and this one knows {KNOWN}; hint: start the newer version of the gateway, or give this one a \
         database of its own"
    )]
    Newer {
        /// Of the tables.
        version: i32,
        /// What is needed.
        needs: i32,
    },
    /// The user may not make them.
    #[error(
        "the tables cannot be made ({0}); hint: let the user of CORTEX_DATABASE_URL make a schema \
         (`GRANT CREATE ON DATABASE …`), or own the schema `cortex`, or start a gateway once as one who may"
    )]
    NotAllowed(String),
}

/// Sees to it that the tables are there and fit.
///
/// # Errors
/// [`SchemaError`].
pub(crate) async fn prepare(database: &Database) -> Result<Version, SchemaError> {
    let found = look(database).await?;
    if found.version >= KNOWN {
        return found.check();
    }
    migrate(database).await
}

/// How the tables are. Changes nothing.
///
/// # Errors
/// [`SchemaError::Database`].
pub(crate) async fn look(database: &Database) -> Result<Version, SchemaError> {
    let connection = database.connection().await?;
    let found = read(&connection).await?;
    connection.give_back();
    Ok(found)
}

impl Version {
    fn check(self) -> Result<Self, SchemaError> {
        let Self { version, needs } = self;
        match needs > KNOWN {
            true => Err(SchemaError::Newer { version, needs }),
            false => Ok(self),
        }
    }
}

async fn read(client: &tokio_postgres::Client) -> Result<Version, SchemaError> {
    let none = Version {
        version: 0,
        needs: 0,
    };
    // Not `to_regclass`: it answers from a cache, which still says no after the wait for who makes the tables.
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'cortex' AND c.relname = 'migrations')";
    let there = client.query_one(there, &[]).await.map_err(failed)?;
    if !there.get::<_, bool>(0) {
        return Ok(none);
    }
    let asked = "SELECT coalesce(max(version), 0), coalesce(max(needs), 0) FROM cortex.migrations";
    let row = client.query_one(asked, &[]).await.map_err(failed)?;
    Ok(Version {
        version: row.get(0),
        needs: row.get(1),
    })
}

/// Applies what is missing, in one transaction: all of it or nothing.
async fn migrate(database: &Database) -> Result<Version, SchemaError> {
    let connection = database.connection().await?;
    let run = async |sql: &str| connection.batch_execute(sql).await.map_err(failed);
    // Whoever is first may take a while: until then the others wait.
    run("BEGIN; SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '60s'").await?;
    run(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
    let found = read(&connection).await?;
    if found.version == 0 {
        // `IF NOT EXISTS` would ask for the right to make a schema even where it is there.
        run(
            "DO $$ BEGIN IF to_regnamespace('cortex') IS NULL THEN CREATE SCHEMA cortex; END IF; END $$; \
             CREATE TABLE IF NOT EXISTS cortex.migrations ( \
                 version integer PRIMARY KEY, \
                 needs integer NOT NULL, \
                 gateway text NOT NULL, \
                 applied_at timestamptz NOT NULL DEFAULT now() \
             )",
        )
        .await?;
    }
    for migration in MIGRATIONS.iter().filter(|one| one.version > found.version) {
        run(migration.sql).await?;
        let Migration { version, needs, .. } = migration;
        let gateway = env!("CARGO_PKG_VERSION");
        run(&format!(
            "INSERT INTO cortex.migrations (version, needs, gateway) VALUES ({version}, {needs}, '{gateway}')"
        ))
        .await?;
    }
    let now = read(&connection).await?;
    now.check()?;
    run("COMMIT").await?;
    connection.give_back();
    if now != found {
        info!(
            database.schema = now.version,
            "the tables of the database were made or changed"
        );
    }
    Ok(now)
}

/// What the user may not do that a gateway has to do. Changes nothing.
///
/// # Errors
/// [`SchemaError::Database`].
pub(crate) async fn missing_rights(
    database: &Database,
    version: Version,
) -> Result<Vec<&'static str>, SchemaError> {
    let mut asked = Vec::new();
    if version.version == 0 {
        // The schema may have been made for it.
        asked.push((
            "make tables (CREATE on the schema or on the database)",
            "SELECT CASE WHEN to_regnamespace('cortex') IS NULL \
             THEN has_database_privilege(current_database(), 'CREATE') \
             ELSE has_schema_privilege('cortex', 'CREATE') END",
        ));
    } else {
        asked.push((
            "read and write records",
            "SELECT has_table_privilege('cortex.records', 'SELECT') AND has_table_privilege('cortex.records', 'INSERT') \
             AND has_table_privilege('cortex.records', 'UPDATE') AND has_table_privilege('cortex.records', 'DELETE') \
             AND has_table_privilege('cortex.commits', 'SELECT') AND has_table_privilege('cortex.commits', 'INSERT') \
             AND has_table_privilege('cortex.commits', 'DELETE')",
        ));
        if version.version >= FLEET {
            asked.push((
                "read and write what gateways share (tables `cortex.fleet_…`)",
                "SELECT bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
                 AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')) FROM pg_class c \
                 WHERE c.relnamespace = 'cortex'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'fleet\\_%'",
            ));
        }
        if version.version < KNOWN {
            asked.push((
                "change tables (CREATE on the schema)",
                "SELECT has_schema_privilege('cortex', 'CREATE')",
            ));
        }
    }
    let connection = database.connection().await?;
    let mut missing = Vec::new();
    for (what, sql) in asked {
        let row = connection.query_one(sql, &[]).await.map_err(failed)?;
        if !row.get::<_, bool>(0) {
            missing.push(what);
        }
    }
    connection.give_back();
    Ok(missing)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: tokio_postgres::Error) -> SchemaError {
    match told(0, &error) {
        // Insufficient privilege.
        PostgresError::Refused {
            sqlstate, message, ..
        } if sqlstate == "42501" => SchemaError::NotAllowed(message),
        other => other.into(),
    }
}
