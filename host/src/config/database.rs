//! `CORTEX_DATABASE_URL` and `CORTEX_DATABASE_CONNECTIONS`: the database that several gateways share.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tokio_postgres::config::Host;

use super::vars::Vars;

/// Connections to it, unless an operator wants more: statements are short, and what is kept is asked for seldom.
const CONNECTIONS: usize = 8;

/// A text that names no database. It is not repeated, because it may hold a password.
#[derive(Debug, Error)]
#[error("is not a URL of the form `postgresql://user:password@host:5432/database`")]
pub struct NotADatabaseUrl;

/// Where a PostgreSQL database is, and what lets in. Never shown whole.
#[derive(Clone)]
pub struct DatabaseUrl(tokio_postgres::Config);

impl DatabaseUrl {
    /// What a connection is made with.
    pub(crate) fn to_options(&self) -> tokio_postgres::Config {
        self.0.clone()
    }
}

impl FromStr for DatabaseUrl {
    type Err = NotADatabaseUrl;

    fn from_str(text: &str) -> Result<Self, NotADatabaseUrl> {
        let text = text.trim();
        let is_url = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        // Certificates and names are always checked where TLS is asked for, so these are the same.
        let text = text
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let options: tokio_postgres::Config = text.parse().map_err(|_| NotADatabaseUrl)?;
        if !is_url || options.get_dbname().is_none() || options.get_hosts().is_empty() {
            return Err(NotADatabaseUrl);
        }
        Ok(Self(options))
    }
}

/// The servers and the name of the database: neither user nor password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.0.get_ports();
        for (n, host) in self.0.get_hosts().iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            let port = ports.get(n).or(ports.first()).unwrap_or(&5432);
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.0.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// The database that keeps what all gateways share.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Where it is.
    pub url: DatabaseUrl,
    /// Connections that this gateway has open at most.
    pub connections: usize,
}

/// Reads it; `None`: there is none, and what is kept is kept in the data directory.
pub(super) fn read(vars: &mut Vars<'_>) -> Option<DatabaseConfig> {
    let connections = vars.number("CORTEX_DATABASE_CONNECTIONS", CONNECTIONS, 1..=1_000);
    let url = vars.secret("CORTEX_DATABASE_URL")?;
    match url.reveal().parse() {
        Ok(url) => Some(DatabaseConfig { url, connections }),
        Err(error) => {
            // What it held is a secret.
            let error: NotADatabaseUrl = error;
            vars.wrong("CORTEX_DATABASE_URL", None, &format!("it {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_told_without_what_lets_in() {
        for (text, shown) in [
            (
                "postgresql://me:word@db.example/cortex",
                "db.example:5432/cortex",
            ),
            (
                " postgres://me:word@a:1,b:2/cortex?sslmode=verify-full&target_session_attrs=read-write ",
                "a:1,b:2/cortex",
            ),
            (
                "postgresql:///cortex?host=/run/postgresql&user=me",
                "/run/postgresql:5432/cortex",
            ),
        ] {
            let url: DatabaseUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
    }

    #[test]
    fn what_is_no_database_is_not_repeated() {
        for text in [
            "",
            "host=db dbname=cortex password=word",
            "mysql://me:word@db/cortex",
            "postgresql://me:word@db:port/cortex",
            "postgresql://me:word@db",
            "postgresql://me:word@db/cortex?sslmode=sometimes",
        ] {
            let error = text.parse::<DatabaseUrl>().expect_err(text).to_string();
            assert!(!error.contains("word@db"), "{error}");
        }
    }
}
