//! What does a caller see? Enough of it to tell when that has changed, and to tell those who
//! listen.
//!
//! A thousand listeners are not a thousand questions to the policies: who sees the same by what
//! the policies look at is asked about once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};
use tracing::debug;

use super::group::{self, Group};
use super::{Gateway, Refusal, policy};
use crate::catalog::{Entry, Kind, Snapshot};
use crate::plugin::Plugins;
use crate::streams::{Channel, Topic, View};
use crate::types::{Principal, RequestId};

/// Views that are kept.
const MAX_VIEWS: u64 = 1_000;
/// How long the catalog may settle: backends are refreshed side by side.
const SETTLE: Duration = Duration::from_millis(100);
/// How soon policies that failed are asked again.
const RETRY: Duration = Duration::from_secs(5);

/// Views of callers, by the generations of catalog and plugins.
pub struct Views(Cache<(u64, u64, Group), View>);

impl Default for Views {
    fn default() -> Self {
        Self(Cache::new(MAX_VIEWS))
    }
}

/// What a caller sees now, and in which generation of catalog and plugins. `None`: a policy failed; the
/// log says why.
pub(super) async fn of(gw: &Gateway, principal: &Principal) -> Option<(View, u64)> {
    let (snapshot, plugins) = (gw.catalog.snapshot(), gw.plugins.now());
    // Neither ever goes back.
    let generation = snapshot.generation + plugins.generation;
    let look = look(&plugins, principal, &snapshot);
    let view = if group::lasts(&plugins) {
        let key = (
            snapshot.generation,
            plugins.generation,
            group::of(&plugins, principal),
        );
        gw.views.0.try_get_with(key, look).await.ok()
    } else {
        look.await.ok()
    };
    Some((view?, generation))
}

/// Tells those who listen of every change of what they see, for ever.
pub async fn announce(gw: Arc<Gateway>) {
    let (mut listed, mut loaded) = (gw.catalog.changes(), gw.plugins.changes());
    listed.mark_changed();
    loop {
        let changed = tokio::select! {
            changed = listed.changed() => changed,
            changed = loaded.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
        listed.mark_unchanged();
        loaded.mark_unchanged();
        while !tell_all(&gw).await {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Lets every listener look again. False: a policy failed, and some have not.
async fn tell_all(gw: &Gateway) -> bool {
    let mut groups: HashMap<Group, Vec<Arc<Channel>>> = HashMap::new();
    let plugins = gw.plugins.now();
    for channel in gw.streams.channels() {
        let group = group::of(&plugins, &channel.principal());
        groups.entry(group).or_default().push(channel);
    }
    let mut all = true;
    for listeners in groups.values() {
        // Who is the same to the policies is shown the same.
        let Some(one) = listeners.first() else {
            continue;
        };
        match of(gw, &one.principal()).await {
            Some((view, generation)) => {
                for channel in listeners {
                    channel.look(view, generation);
                }
            }
            None => all = false,
        }
    }
    debug!(
        groups = groups.len(),
        "those who listen were told what has changed"
    );
    all
}

async fn look(
    plugins: &Plugins,
    principal: &Principal,
    snapshot: &Snapshot,
) -> Result<View, Refusal> {
    let each = Kind::ALL
        .into_iter()
        .map(|kind| (kind, &snapshot.listing(kind).listed));
    let listed: Vec<Arc<Entry>> = each
        .flat_map(|(_, listed)| listed.iter().cloned())
        .collect();
    let visible = policy::filter(plugins, principal, &listed, RequestId::new()).await?;
    let mut digests = Topic::ALL.map(|_| Sha256::new());
    for entry in visible {
        let topic = match entry.item.kind.as_str() {
            "tool" => Topic::Tools,
            "prompt" => Topic::Prompts,
            _ => Topic::Resources,
        };
        let text = entry.definition.get().as_bytes();
        for (digest, of) in digests.iter_mut().zip(Topic::ALL) {
            if of == topic {
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
        }
    }
    Ok(View(digests.map(|digest| {
        let digest = digest.finalize();
        digest
            .first_chunk()
            .map_or(0, |first| u64::from_be_bytes(*first))
    })))
}
