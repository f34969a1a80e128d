//! Audit exporter: batches into a table of PostgreSQL, which it makes and keeps up to date itself.
//!
//! ```toml
//! [grants.postgres.audit]
//! env = "AUDIT_DATABASE_URL"          # postgresql://user:password@host:5432/database
//!
//! [settings]                          # all optional
//! schema = "public"
//! table = "cortex_audit"
//! gateway = "eu-1"                    # tells the records of several gateways apart
//! ```
//!
//! A record that comes twice is there once: its hash is the key. `docs/audit-postgres.md` has the columns and
//! what to ask them.

mod schema;
mod settings;

use cortex_plugin_sdk::postgres::{self, Outcome, PostgresError, Refusal, Statement};
use cortex_plugin_sdk::prelude::{AuditRecord, Description, ExportError, Exporter, Package, log};
use cortex_plugin_sdk::{Keeper, metrics, settings as set};
use settings::Settings;

/// The name under which the database is granted.
const DATABASE: &str = "audit";
/// How many records are deleted at once.
const CHUNK: u32 = 50_000;
/// How often that is done in one call at most.
const CHUNKS: u32 = 24;
/// SQLSTATE of what is not there: a schema, a table.
const NOT_THERE: [&str; 2] = ["3F000", "42P01"];
/// SQLSTATE of a note that somebody else has made in between, and of a name that somebody else took.
const ALREADY: [&str; 4] = ["23505", "42P07", "42P06", "40001"];

struct Postgres;

impl Exporter for Postgres {
    fn describe(package: Package) -> Description {
        Description::from(package)
            .settings(settings::SCHEMA)
            .wants_postgres(DATABASE, "to write audit records to a table")
    }

    fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> {
        let settings: Settings = read_settings()?;
        let statements = || vec![schema::version(&settings), insert(&settings, records)];
        let outcomes = match postgres::transaction(DATABASE, statements()) {
            Ok(outcomes) if steps(&outcomes) >= schema::latest() => outcomes,
            // An older table takes no newer record amiss: what it has no column for is in `more`.
            Ok(outcomes) => {
                migrate(&settings)?;
                outcomes
            }
            Err(error) if is_not_there(&error) => {
                migrate(&settings)?;
                postgres::transaction(DATABASE, statements()).map_err(unavailable)?
            }
            Err(error) => return Err(unavailable(error)),
        };
        let written = outcomes.get(1).map_or(0, |outcome| outcome.affected);
        metrics::add("written", written);
        metrics::add(
            "known-already",
            (records.len() as u64).saturating_sub(written),
        );
        Ok(records.len())
    }
}

impl Keeper for Postgres {
    fn purge(before: &str) -> Result<u64, ExportError> {
        let settings = read_settings()?;
        let table = settings.quoted_table();
        let text = format!(
            "DELETE FROM {table} WHERE gateway = $2 AND ctid IN \
             (SELECT ctid FROM {table} WHERE ts < $1 AND gateway = $2 LIMIT {CHUNK})"
        );
        let mut deleted = 0;
        for _ in 0..CHUNKS {
            let chunk = Statement::new(text.as_str())
                .with(before)
                .with(settings.gateway.as_str());
            let chunk = change(chunk)?;
            deleted += chunk;
            if chunk < u64::from(CHUNK) {
                break;
            }
        }
        Ok(deleted)
    }

    /// Records do not say of which issuer a subject is: those of all are changed.
    fn erase(_: Option<&str>, subject: &str) -> Result<u64, ExportError> {
        let settings = read_settings()?;
        let nothing = schema::PERSONAL.map(|column| format!("{column} = NULL"));
        let (table, nothing) = (settings.quoted_table(), nothing.join(", "));
        let text = format!("UPDATE {table} SET {nothing} WHERE caller_sub = $1");
        change(Statement::new(text).with(subject))
    }
}

cortex_plugin_sdk::export_keeper!(Postgres);

fn read_settings() -> Result<Settings, ExportError> {
    set::read().map_err(|error| ExportError::unavailable(error.to_string()))
}

/// All records in one statement and one value: PostgreSQL takes them apart.
fn insert(settings: &Settings, records: &[AuditRecord]) -> Statement {
    let names = schema::MEMBERS.map(|(name, _)| name);
    // One record that lacks what every one has must not keep all others waiting.
    let of_record = names.map(|name| match name {
        "hash" => "coalesce(r.hash, 'none ' || md5(e::text))".to_owned(),
        "sequence" => "coalesce(r.sequence, 0)".to_owned(),
        "ts" => "coalesce(r.ts, now())".to_owned(),
        "success" => "coalesce(r.success, false)".to_owned(),
        _ => format!("r.{name}"),
    });
    let of_record = of_record.join(", ");
    let typed = schema::MEMBERS.map(|(name, of)| format!("{name} {of}"));
    let quoted = names.map(|name| format!("'{name}'"));
    let text = format!(
        "INSERT INTO {} (gateway, {}, more) \
         SELECT $2, {of_record}, nullif(e - ARRAY[{}], '{{}}'::jsonb) \
         FROM jsonb_array_elements($1::jsonb) AS e, jsonb_to_record(e) AS r({}) \
         ON CONFLICT (hash) DO NOTHING",
        settings.quoted_table(),
        names.join(", "),
        quoted.join(", "),
        typed.join(", "),
    );
    let jsons: Vec<String> = records
        .iter()
        .map(|record| storable(&record.json))
        .collect();
    Statement::new(text)
        .with(format!("[{}]", jsons.join(",")))
        .with(settings.gateway.as_str())
}

/// JSON as PostgreSQL can keep it: its texts have no NUL character. U+FFFD stands for one.
fn storable(json: &str) -> String {
    if !json.contains("\\u0000") {
        return json.to_owned();
    }
    let mut kept = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        kept.push_str(before);
        let (escape, after) = match escape.strip_prefix("\\u0000") {
            Some(after) => ("\\ufffd", after),
            // Two bytes of ASCII, or a broken end.
            None => escape.split_at_checked(2).unwrap_or((escape, "")),
        };
        kept.push_str(escape);
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// How many steps the database has had, as the first statement found.
fn steps(outcomes: &[Outcome]) -> usize {
    let step = outcomes.first().and_then(|outcome| outcome.get(0, "step"));
    step.and_then(|step| step.parse().ok()).unwrap_or(0)
}

fn migrate(settings: &Settings) -> Result<(), ExportError> {
    match postgres::transaction(DATABASE, schema::prepare(settings)) {
        Ok(_) => {}
        // Somebody else makes the same at the same time.
        Err(error) if is_already(&error) => {}
        Err(error) => return Err(unavailable(error)),
    }
    let had = postgres::transaction(DATABASE, vec![schema::version(settings)]);
    let had = steps(&had.map_err(unavailable)?);
    if had >= schema::latest() {
        return Ok(());
    }
    match postgres::transaction(DATABASE, schema::migrate(settings, had)) {
        Ok(_) => {
            log::info(format!(
                "the table {} is made or changed",
                settings.full_name()
            ));
            Ok(())
        }
        Err(error) if is_already(&error) => Ok(()),
        Err(error) => Err(unavailable(error)),
    }
}

/// Executes one statement; tells how many rows it changed. Where there is no table, it is none.
fn change(statement: Statement) -> Result<u64, ExportError> {
    match postgres::transaction(DATABASE, vec![statement]) {
        Ok(outcomes) => Ok(outcomes.first().map_or(0, |outcome| outcome.affected)),
        Err(error) if is_not_there(&error) => Ok(0),
        Err(error) => Err(unavailable(error)),
    }
}

fn is_not_there(error: &PostgresError) -> bool {
    matches!(error, PostgresError::Refused(refusal) if NOT_THERE.contains(&refusal.sqlstate.as_str()))
}

fn is_already(error: &PostgresError) -> bool {
    matches!(error, PostgresError::Refused(refusal) if ALREADY.contains(&refusal.sqlstate.as_str()))
}

fn unavailable(error: PostgresError) -> ExportError {
    metrics::add("refused", 1);
    ExportError::Unavailable(match error {
        PostgresError::NotGranted => format!(
            "no database is granted; the operator can: cortex-gateway plugin grant FILE --postgres \
             {DATABASE},env=AUDIT_DATABASE_URL"
        ),
        PostgresError::Refused(Refusal {
            sqlstate, message, ..
        }) => format!("the database refuses ({sqlstate}): {message}"),
        PostgresError::Unavailable(why)
        | PostgresError::Invalid(why)
        | PostgresError::LimitExceeded(why)
        | PostgresError::Other(why) => why,
    })
}

#[cfg(test)]
mod tests;
