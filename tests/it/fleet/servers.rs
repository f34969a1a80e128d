//! The servers through which gateways share, each of the test's own.

use std::ops::{Deref, DerefMut};

use cortex_gateway::config::{DatabaseConfig, FleetConfig};
use cortex_gateway::fleet::Fleet;
use cortex_gateway::store::Store;
use cortex_tests::between::Between;

/// One of them, with what it needs to be joined without a gateway.
pub(super) struct Server(Between);

impl Deref for Server {
    type Target = Between;

    fn deref(&self) -> &Between {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Between {
        &mut self.0
    }
}

impl Server {
    /// Redis, if it is installed.
    pub(super) fn redis() -> Option<Self> {
        Between::redis().map(Self)
    }

    /// PostgreSQL with the tables, if it is installed.
    pub(super) async fn postgres() -> Option<Self> {
        let server = Self(Between::postgres()?);
        drop(server.store().await);
        Some(server)
    }

    /// A store there, or of its own where that keeps nothing.
    pub(super) async fn store(&self) -> Store {
        let database = match &self.0 {
            Between::Redis(_) => None,
            Between::Postgres(server) => Some(DatabaseConfig {
                url: server.url().parse().expect("a URL"),
                connections: 2,
            }),
        };
        let store = Store::temporary(database.as_ref()).await;
        store.expect("a store")
    }

    /// Those that are installed.
    pub(super) async fn each() -> Vec<Self> {
        let both = [Self::redis(), Self::postgres().await];
        both.into_iter().flatten().collect()
    }

    pub(super) fn config(&self) -> FleetConfig {
        match &self.0 {
            Between::Redis(redis) => FleetConfig::Redis {
                url: redis.url().parse().expect("a URL"),
                prefix: "cortex:test:".to_owned(),
            },
            Between::Postgres(postgres) => {
                FleetConfig::Postgres(postgres.url().parse().expect("a URL"))
            }
        }
    }

    pub(super) async fn join(&self) -> Fleet {
        Fleet::join(&self.config()).await.expect("usable")
    }
}
