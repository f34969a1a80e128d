//! The servers through which gateways share, each of the test's own.

use cortex_gateway::config::{DatabaseConfig, FleetConfig};
use cortex_gateway::fleet::Fleet;
use cortex_gateway::store::Store;
use cortex_tests::postgres::Postgres;
use cortex_tests::redis::Redis;

/// One of them.
pub(super) enum Server {
    Redis(Redis),
    Postgres(Postgres),
}

impl Server {
    /// Redis, if it is installed.
    pub(super) fn redis() -> Option<Self> {
        Redis::start().map(Self::Redis)
    }

    /// PostgreSQL with the tables, if it is installed.
    pub(super) async fn postgres() -> Option<Self> {
        let server = Postgres::start()?;
        let database = DatabaseConfig {
            url: server.url().parse().expect("a URL"),
            connections: 1,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Some(&database)).await;
        drop(store.expect("tables"));
        Some(Self::Postgres(server))
    }

    /// Those that are installed.
    pub(super) async fn each() -> Vec<Self> {
        let both = [Self::redis(), Self::postgres().await];
        both.into_iter().flatten().collect()
    }

    pub(super) fn config(&self) -> FleetConfig {
        match self {
            Self::Redis(redis) => FleetConfig::Redis {
                url: redis.url().parse().expect("a URL"),
                prefix: "cortex:test:".to_owned(),
            },
            Self::Postgres(postgres) => {
                FleetConfig::Postgres(postgres.url().parse().expect("a URL"))
            }
        }
    }

    pub(super) async fn join(&self) -> Fleet {
        Fleet::join(&self.config()).await.expect("usable")
    }

    /// Ends it at once.
    pub(super) fn stop(&mut self) {
        match self {
            Self::Redis(redis) => redis.stop(),
            Self::Postgres(postgres) => postgres.crash(),
        }
    }

    /// Starts it again. Values are gone.
    pub(super) fn run(&mut self) {
        match self {
            Self::Redis(redis) => redis.run(),
            Self::Postgres(postgres) => postgres.run(),
        }
    }

    /// Takes away everything that may be lost, while it runs.
    pub(super) fn empty(&self) {
        match self {
            Self::Redis(redis) => {
                redis.command(&["FLUSHALL"]);
                redis.command(&["SCRIPT", "FLUSH"]);
            }
            Self::Postgres(postgres) => {
                let tables = "cortex.fleet_values, cortex.fleet_allowances, cortex.fleet_epoch";
                postgres.query(&format!("TRUNCATE {tables}"));
            }
        }
    }
}
