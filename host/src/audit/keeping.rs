//! What exporters are asked to do with records that they keep themselves: to delete old ones, and to forget
//! a person.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::{info, warn};

use crate::plugin::{Directory, Fault};
use crate::types::PluginName;

/// After a start, before old records are deleted for the first time.
const SOON: Duration = Duration::from_secs(60);
/// How often they are from then on.
const DAILY: Duration = Duration::from_secs(24 * 3600);

/// What became of it, by exporter: how many records, or why not. Exporters that keep none are not there.
pub type Kept = BTreeMap<PluginName, Result<u64, String>>;

/// Has every exporter delete the records that are older than `retention`.
pub async fn purge(plugins: &Directory, retention: Duration) -> Kept {
    let before = OffsetDateTime::now_utc() - retention;
    let Ok(before) = before.format(&Rfc3339) else {
        return Kept::new();
    };
    let mut kept = Kept::new();
    for exporter in &plugins.now().exporters {
        if let Some(outcome) = exporter.purge(&before).await {
            note(&mut kept, &exporter.name, outcome);
        }
    }
    for (name, outcome) in &kept {
        match outcome {
            Ok(0) => {}
            Ok(count) => {
                info!(plugin.name = %name, audit.purged = count, "audit records past their retention were deleted");
            }
            Err(why) => {
                warn!(plugin.name = %name, "audit records past their retention were not deleted: {why}; hint: it is tried again daily");
            }
        }
    }
    kept
}

/// Does so once a day, for ever.
pub async fn keep_purged(plugins: &Directory, retention: Duration) {
    tokio::time::sleep(SOON).await;
    loop {
        purge(plugins, retention).await;
        tokio::time::sleep(DAILY).await;
    }
}

/// Has every exporter take what is about a person out of the records of a subject.
pub async fn erase(plugins: &Directory, issuer: Option<&str>, subject: &str) -> Kept {
    let mut kept = Kept::new();
    for exporter in &plugins.now().exporters {
        if let Some(outcome) = exporter.erase(issuer, subject).await {
            note(&mut kept, &exporter.name, outcome);
        }
    }
    kept
}

fn note(kept: &mut Kept, name: &PluginName, outcome: Result<u64, Fault>) {
    kept.insert(name.clone(), outcome.map_err(|fault| fault.to_string()));
}
