//! Through what gateways of a test share what need not be kept: Redis, or the database.

use crate::gateway::GatewayBuilder;
use crate::postgres::Postgres;
use crate::redis::Redis;

/// One of them.
pub enum Between {
    /// A Redis of the test's own. Nothing is kept together.
    Redis(Redis),
    /// A database of the test's own, which keeps everything else, too.
    Postgres(Postgres),
}

impl Between {
    /// Redis, if it is installed.
    pub fn redis() -> Option<Self> {
        Redis::start().map(Self::Redis)
    }

    /// PostgreSQL, if it is installed.
    pub fn postgres() -> Option<Self> {
        Postgres::start().map(Self::Postgres)
    }

    /// A gateway that shares through it.
    pub fn joined_by(&self, gateway: GatewayBuilder) -> GatewayBuilder {
        match self {
            Self::Redis(redis) => gateway.env("CORTEX_REDIS_URL", &redis.url()),
            Self::Postgres(postgres) => gateway.env("CORTEX_DATABASE_URL", &postgres.url()),
        }
    }

    /// How many values lie on a shelf.
    pub fn lie_on(&self, shelf: &str) -> usize {
        match self {
            Self::Redis(redis) => {
                let keys = redis.command(&["KEYS", &format!("*:v:{shelf}:*")]);
                keys.lines().filter(|line| line.contains(shelf)).count()
            }
            Self::Postgres(postgres) => {
                let count = format!(
                    "SELECT count(*) FROM cortex.fleet_values WHERE shelf = '{shelf}' AND ends > clock_timestamp()"
                );
                postgres.query(&count)[0].parse().expect("a number")
            }
        }
    }

    /// Lays 16 other bytes in the place of each value on a shelf, and tells nobody.
    pub fn replace_on(&self, shelf: &str, value: &str) {
        assert_eq!(value.len(), 16);
        match self {
            Self::Redis(redis) => {
                let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                    redis.call('SET', key, ARGV[2], 'KEEPTTL') end";
                redis.command(&["EVAL", script, "0", &format!("*:v:{shelf}:*"), value]);
            }
            Self::Postgres(postgres) => {
                let value = format!("convert_to('{value}', 'UTF8')");
                postgres.query(&format!(
                    "UPDATE cortex.fleet_values SET value = {value} WHERE shelf = '{shelf}'"
                ));
            }
        }
    }

    /// Takes away everything that may be lost, while it runs.
    pub fn empty(&self) {
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

    /// Ends it at once; what may be lost is lost.
    pub fn stop(&mut self) {
        match self {
            Self::Redis(redis) => redis.stop(),
            Self::Postgres(postgres) => postgres.crash(),
        }
    }

    /// Starts it again.
    pub fn run(&mut self) {
        match self {
            Self::Redis(redis) => redis.run(),
            Self::Postgres(postgres) => postgres.run(),
        }
    }
}

/// Makes a test of each function that is given a [`Between`], one for Redis and one for PostgreSQL.
#[macro_export]
macro_rules! through_each {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use $crate::between::Between;

            #[tokio::test]
            async fn through_redis() {
                if let Some(between) = Between::redis() {
                    super::$name(between).await;
                }
            }

            #[tokio::test]
            async fn through_postgres() {
                if let Some(between) = Between::postgres() {
                    super::$name(between).await;
                }
            }
        }
    )*};
}
