//! What this gateway shares with others of its store.

use super::Section;
use crate::config::{Config, FleetConfig};
use crate::fleet;

/// Whether it can be reached. Nothing to say of a gateway by itself.
pub(super) async fn look(config: &Config) -> Section {
    let mut section = Section::new("fleet");
    let FleetConfig::Redis { url, prefix } = &config.fleet else {
        return section;
    };
    let at = url.address();
    match fleet::look(url).await {
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
    section
}
