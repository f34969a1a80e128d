//! What this gateway shares with others of its store.

use super::Section;
use crate::config::{Config, DatabaseUrl, FleetConfig, RedisUrl};
use crate::fleet;

/// Whether it can be reached. Nothing to say of a gateway by itself.
pub(super) async fn look(config: &Config) -> Section {
    let mut section = Section::new("fleet");
    match &config.fleet {
        FleetConfig::Alone => {}
        FleetConfig::Redis { url, prefix } => redis(&mut section, url, prefix).await,
        FleetConfig::Postgres(url) => postgres(&mut section, url).await,
    }
    section
}

async fn postgres(section: &mut Section, url: &DatabaseUrl) {
    let looked = match fleet::look_at_postgres(url).await {
        Ok(looked) => looked,
        Err(why) => {
            return section.broken(
                format!("gateways share through {url}, which cannot be used: {why}"),
                "the section `database` tells more; until then calls of those who are known go on, and each gateway \
                 goes by itself",
            );
        }
    };
    match looked.hears {
        true => section.ok(format!("gateways share through {url}: notifications arrive")),
        false => section.broken(
            format!("gateways share through {url}, where notifications do not arrive"),
            "CORTEX_DATABASE_URL needs a connection that stays: not through PgBouncer with `pool_mode=transaction`; or \
             set CORTEX_REDIS_URL",
        ),
    }
    if let Some(alive) = looked.alive {
        section.ok(format!("gateways that are alive there: {alive}"));
    }
}

async fn redis(section: &mut Section, url: &RedisUrl, prefix: &str) {
    let at = url.address();
    match fleet::look_at_redis(url).await {
        Ok(looked) => {
            let version = looked.version.unwrap_or_else(|| "of some version".to_owned());
            section.ok(format!(
                "Redis {version} at `{at}` answers; keys begin with `{prefix}`"
            ));
            if let Some(policy) = looked.eviction.filter(|policy| policy.contains("allkeys")) {
                section.warn(
                    format!("Redis throws away any key when it is full: `maxmemory-policy` is `{policy}`"),
                    "let it refuse instead (`noeviction`): a lease that is thrown away has two holders",
                );
            }
        }
        Err(why) => section.broken(
            format!("Redis at `{at}` cannot be used: {why}"),
            "look at CORTEX_REDIS_URL, and at the server; until then calls go on, and each gateway goes by itself",
        ),
    }
}
