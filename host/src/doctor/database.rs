//! The database that several gateways share: whether it is reached, how old it is, how its tables are, and what
//! may be done there. Changes nothing.

use super::{Section, State};
use crate::config::DatabaseConfig;
use crate::postgres::{Connection, Database, schema};

/// The oldest version that is supported.
const OLDEST: i32 = 130_000;

pub(super) async fn look(config: Option<&DatabaseConfig>) -> Section {
    let mut section = Section::new("database");
    let Some(config) = config else {
        return section;
    };
    let database = match Database::own(config) {
        Ok(database) => database,
        Err(error) => {
            section.told(State::Broken, &format!("CORTEX_DATABASE_URL {error}"));
            return section;
        }
    };
    match database.connection().await {
        Ok(connection) => {
            section.ok(format!("{} is reached", config.url));
            server(&mut section, &connection).await;
            connection.give_back();
            tables(&mut section, &database).await;
        }
        Err(error) => section.broken(
            format!("{} cannot be used: {error}", config.url),
            "is it running, is it reached from here, and do user, password and `sslmode` of CORTEX_DATABASE_URL fit? \
             A private authority's certificate has to be among those of the system (SSL_CERT_FILE)",
        ),
    }
    section
}

async fn server(section: &mut Section, connection: &Connection) {
    let asked = "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
                        current_setting('max_connections')::int, pg_is_in_recovery(), \
                        current_setting('server_encoding')";
    let row = match connection.query_one(asked, &[]).await {
        Ok(row) => row,
        Err(error) => return section.told(State::Broken, &format!("it does not answer: {error}")),
    };
    let (name, number): (String, i32) = (row.get(0), row.get(1));
    match number >= OLDEST {
        true => section.ok(format!("it is PostgreSQL {name}")),
        false => section.broken(
            format!("it is PostgreSQL {name}"),
            "use version 13 or newer",
        ),
    }
    if row.get::<_, bool>(3) {
        section.broken(
            "it only follows another server, and nothing can be written",
            "name the primary server in CORTEX_DATABASE_URL, or all of them with `?target_session_attrs=read-write`",
        );
    }
    if row.get::<_, String>(4) != "UTF8" {
        section.warn(
            "its encoding is not UTF8",
            "make the database with `ENCODING 'UTF8'`",
        );
    }
    section.ok(format!(
        "it takes {} connections of all its clients together",
        row.get::<_, i32>(2)
    ));
}

async fn tables(section: &mut Section, database: &Database) {
    let version = match schema::look(database).await {
        Ok(version) => version,
        Err(error) => return section.told(State::Broken, &error.to_string()),
    };
    let known = schema::KNOWN;
    match version.version {
        0 => section.ok("there are no tables yet: the first start makes them"),
        now if version.needs > known => section.broken(
            format!("its tables are of version {now}, which this gateway does not know (it knows {known})"),
            "use the newer version of the gateway, or a database of its own for this one",
        ),
        now if now < known => section.ok(format!(
            "its tables are of version {now}: the next start makes them version {known}"
        )),
        now => section.ok(format!("its tables are of version {now}")),
    }
    match schema::missing_rights(database, version).await {
        Ok(missing) if missing.is_empty() => section.ok("the user may do what the gateway does"),
        Ok(missing) => section.broken(
            format!("the user may not: {}", missing.join(", ")),
            "grant it, or make the user the owner of the schema `cortex`",
        ),
        Err(error) => section.told(State::Broken, &error.to_string()),
    }
}
