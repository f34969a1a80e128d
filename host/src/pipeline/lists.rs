//! What a caller may see, worked out once for callers who are the same to the policies, and the
//! finished answers made of it. Both last for as long as the catalog and the plugins do; when a policy looks at
//! the time, nothing lasts.

use std::sync::Arc;

use moka::future::Cache;

use super::group::{self, Group};
use super::intent::{Asker, ListIntent};
use super::shape::Shape;
use super::{Gateway, Record, Refusal, answer, policy};
use crate::catalog::{Entry, Kind, Snapshot};
use crate::mcp::json::Text;
use crate::plugin::Plugins;

/// Entries that are kept in all lists together. Each takes a pointer.
const MAX_ENTRIES: u64 = 2_000_000;
/// Bytes of finished answers that are kept.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What callers see.
type Seen = Arc<Vec<Arc<Entry>>>;

/// A finished list.
#[derive(Clone)]
pub(super) struct List {
    /// The `result`.
    pub(super) result: Text,
    /// Entries in it.
    pub(super) listed: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct SeenKey {
    /// Of the catalog, and of the plugins.
    generation: (u64, u64),
    kind: Kind,
    group: Group,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ListKey {
    seen: SeenKey,
    modern: bool,
    shape: Shape,
}

/// Lists that were worked out before.
pub struct Lists {
    seen: Cache<SeenKey, Seen>,
    finished: Cache<ListKey, List>,
}

impl Default for Lists {
    fn default() -> Self {
        let bounded = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            seen: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .weigher(move |_, seen: &Seen| bounded(seen.len() + 64))
                .build(),
            finished: Cache::builder()
                .max_capacity(MAX_BYTES)
                .weigher(move |_, list: &List| bounded(list.result.bytes().len() + 512))
                .build(),
        }
    }
}

/// The answer to a list request.
pub(super) async fn answer(
    gw: &Gateway,
    intent: ListIntent,
    record: &mut Record,
) -> Result<answer::Answer, Refusal> {
    let ListIntent {
        asker,
        kind,
        snapshot,
        shape,
    } = intent;
    record.list(gw, kind, &shape);
    let plugins = gw.plugins.now();
    let make = async {
        let mut seen = seen_by(gw, &plugins, &asker, kind, &snapshot).await?;
        if let Some(wanted) = &shape.backends {
            let kept = seen.iter().filter(|e| wanted.contains(e.backend.as_str()));
            seen = Arc::new(kept.cloned().collect());
        }
        answer::list(gw, asker.version, kind, &seen, &shape)
    };
    let list = if group::lasts(&plugins) {
        let key = ListKey {
            seen: key(&plugins, &asker, kind, &snapshot),
            modern: asker.version.is_modern(),
            shape: shape.clone(),
        };
        // A refusal is told to the one who asked, and not kept.
        match gw.lists.finished.get(&key).await {
            Some(list) => list,
            None => {
                let list = make.await?;
                gw.lists.finished.insert(key, list.clone()).await;
                list
            }
        }
    } else {
        make.await?
    };
    record.listed(kind, list.listed);
    Ok(answer::Answer::Result {
        result: list.result,
        error_code: None,
    })
}

/// What a caller may see of one kind, sorted by name.
pub(super) async fn seen(
    gw: &Gateway,
    asker: &Asker,
    kind: Kind,
    snapshot: &Snapshot,
) -> Result<Seen, Refusal> {
    seen_by(gw, &gw.plugins.now(), asker, kind, snapshot).await
}

async fn seen_by(
    gw: &Gateway,
    plugins: &Plugins,
    asker: &Asker,
    kind: Kind,
    snapshot: &Snapshot,
) -> Result<Seen, Refusal> {
    let listed = &snapshot.listing(kind).listed;
    let filter = async {
        let principal = asker.caller.principal();
        let seen = policy::filter(plugins, principal, listed, asker.id).await?;
        Ok::<_, Refusal>(Arc::new(seen))
    };
    if !group::lasts(plugins) {
        return filter.await;
    }
    let key = key(plugins, asker, kind, snapshot);
    match gw.lists.seen.get(&key).await {
        Some(seen) => Ok(seen),
        None => {
            let seen = filter.await?;
            gw.lists.seen.insert(key, Arc::clone(&seen)).await;
            Ok(seen)
        }
    }
}

fn key(plugins: &Plugins, asker: &Asker, kind: Kind, snapshot: &Snapshot) -> SeenKey {
    SeenKey {
        generation: (snapshot.generation, plugins.generation),
        kind,
        group: group::of(plugins, asker.caller.principal()),
    }
}
