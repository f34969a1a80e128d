//! The catalog: tools of all backends, merged into immutable snapshots.
//!
//! A request takes one snapshot and sees nothing else: the catalog does not change under it.
//! Readers never lock; a refresh builds the next snapshot aside and swaps it in.

mod definition;
mod naming;
mod refresh;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::plugin::{Adapter, Backend, Item};
use crate::types::{BackendId, Secret};

/// One tool as callers know it.
#[derive(Debug)]
pub struct Tool {
    /// Its public name.
    pub name: String,
    /// The backend that owns it.
    pub backend: BackendId,
    /// The MCP tool object, public name and description included.
    pub definition: Box<RawValue>,
    /// What policies are asked about. `item.name` is the backend's own name for the tool.
    pub item: Item,
    /// Whether it declares an output schema.
    pub structured: bool,
}

/// How a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not asked yet.
    Unknown,
    /// It answered the last refresh.
    Up,
    /// It did not; carries why.
    Down(String),
}

/// The merged catalog at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Tools of the backends that are up, sorted by public name.
    pub listed: Vec<Arc<Tool>>,
    /// Every configured backend.
    pub backends: BTreeMap<BackendId, Health>,
    /// All tools that are known: those of a backend that is down are not listed, but called.
    by_name: HashMap<String, Arc<Tool>>,
}

impl Snapshot {
    /// The tool with this public name.
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.by_name.get(name)
    }

    /// The backend that owns this public name by its prefix, if that backend is down: its tools
    /// may be unknown only because it never answered.
    pub fn absent_owner(&self, name: &str) -> Option<(&BackendId, &str)> {
        let (prefix, _) = name.split_once('_')?;
        let (id, health) = self.backends.iter().find(|(id, _)| id.as_str() == prefix)?;
        match health {
            Health::Up => None,
            Health::Unknown => Some((id, "it has not answered yet")),
            Health::Down(reason) => Some((id, reason)),
        }
    }
}

/// A configured backend and the adapter that speaks to it.
pub struct Source {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Its adapter, or the name of the one that is not loaded.
    pub adapter: Result<Arc<Adapter>, String>,
}

/// What one backend contributes.
#[derive(Clone)]
struct Part {
    tools: Vec<Arc<Tool>>,
    health: Health,
    notes: Vec<String>,
}

impl Part {
    fn unknown() -> Self {
        Self {
            tools: Vec::new(),
            health: Health::Unknown,
            notes: Vec::new(),
        }
    }
}

/// The catalog and what keeps it fresh.
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    parts: Mutex<BTreeMap<BackendId, Part>>,
    /// Counts backends that were asked at least once.
    asked: watch::Sender<usize>,
    backends: usize,
}

impl Catalog {
    /// An empty catalog of these backends.
    pub fn new<'a>(backends: impl IntoIterator<Item = &'a BackendId>) -> Self {
        let parts: BTreeMap<_, _> = backends
            .into_iter()
            .map(|id| (id.clone(), Part::unknown()))
            .collect();
        let snapshot = merge(&parts);
        Self {
            current: ArcSwap::from_pointee(snapshot),
            backends: parts.len(),
            parts: Mutex::new(parts),
            asked: watch::Sender::new(0),
        }
    }

    /// The catalog of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether every backend was asked at least once.
    pub fn is_ready(&self) -> bool {
        *self.asked.borrow() >= self.backends
    }

    /// Waits until every backend was asked once, but not for longer than this: a first request
    /// gets a late answer rather than an empty one.
    pub async fn ready_within(&self, limit: Duration) {
        if !self.is_ready() {
            let mut asked = self.asked.subscribe();
            // Either way the caller goes on with what there is.
            let _ = tokio::time::timeout(limit, asked.wait_for(|n| *n >= self.backends)).await;
        }
    }

    /// Keeps one backend's part fresh for ever: every `every`, and sooner while it is down.
    pub async fn keep_fresh(&self, source: Source, technical: Option<Secret>, every: Duration) {
        refresh::keep_fresh(self, source, technical, every).await;
    }

    /// A backend's part as it stands.
    fn part(&self, id: &BackendId) -> Part {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.get(id).cloned().unwrap_or_else(Part::unknown)
    }

    /// Puts a backend's new part in place.
    fn publish(&self, id: &BackendId, part: Part) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(id.clone(), part);
        self.current.store(Arc::new(merge(&parts)));
    }
}

/// Merges the parts, sorted. Two tools can only meet under one name when one of them has an
/// alias; the one that comes first in the order of backends and own names keeps it.
fn merge(parts: &BTreeMap<BackendId, Part>) -> Snapshot {
    let mut by_name: HashMap<String, Arc<Tool>> = HashMap::new();
    let mut listed = Vec::new();
    for part in parts.values() {
        for tool in &part.tools {
            if by_name.contains_key(&tool.name) {
                tracing::warn!(tool.name = tool.name, backend.id = %tool.backend, "left out: another tool has this public name");
                continue;
            }
            by_name.insert(tool.name.clone(), Arc::clone(tool));
            if part.health == Health::Up {
                listed.push(Arc::clone(tool));
            }
        }
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let backends = parts
        .iter()
        .map(|(id, part)| (id.clone(), part.health.clone()))
        .collect();
    Snapshot {
        listed,
        backends,
        by_name,
    }
}
