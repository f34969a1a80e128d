//! What is known of tools, and where it is kept: in the store, or in a file of the operator's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definition::Definition;
use super::{IntegrityError, file};
use crate::config::IntegrityConfig;
use crate::lock::Lock;
use crate::store::{Batch, Committed, Found, Scan, Space, Store, StoreError, Table};
use crate::types::BackendId;
use crate::types::signing::{PrivateKey, PublicKey};

/// Records in the store, by `<backend>/<tool>`.
const TABLE: Table<Known> = Table::new(Space::Definitions, 1);
/// Records that are read at one time.
const PAGE: usize = 1_000;
/// From so many changes of one backend on, its records are read by the page.
const FEW: usize = 8;
/// How often a change is tried that other gateways get in the way of.
const ATTEMPTS: usize = 4;

/// A definition and when it was first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The definition.
    pub definition: Definition,
    /// When (RFC 3339).
    at: String,
}

impl Seen {
    pub(super) fn new(definition: Definition, at: &str) -> Self {
        Self {
            definition,
            at: at.to_owned(),
        }
    }

    /// Whether both are the same definition, whenever they were seen.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.definition.content() == other.definition.content()
    }
}

/// What is known of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What was approved.
    pub approved: Option<Seen>,
    /// What its backend offers instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Seen>,
}

impl Known {
    /// The change, member by member.
    pub(super) fn to_report(&self) -> Value {
        let pending = self.pending.as_ref();
        let approved = self.approved.as_ref();
        let fields: Vec<String> = match (approved, pending) {
            (Some(approved), Some(pending)) => approved.definition.differences(&pending.definition),
            _ => Vec::new(),
        };
        let shown = |seen: Option<&Seen>, name: &str| seen.map(|seen| seen.definition.shown(name));
        json!({
            "approvedAt": approved.map(|seen| &seen.at),
            "changedAt": pending.map(|seen| &seen.at),
            "fields": fields.iter().map(|name| json!({
                "field": name,
                "approved": shown(approved, name),
                "current": shown(pending, name),
            })).collect::<Vec<_>>(),
        })
    }
}

/// What is known of all tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline(BTreeMap<(BackendId, String), Known>);

impl Baseline {
    /// What is known of a tool.
    pub fn get(&self, backend: &BackendId, tool: &str) -> Option<&Known> {
        self.0.get(&(backend.clone(), tool.to_owned()))
    }

    /// Remembers what is known of a tool.
    pub fn put(&mut self, backend: &BackendId, tool: String, known: Known) {
        self.0.insert((backend.clone(), tool), known);
    }

    /// Forgets a tool.
    pub fn remove(&mut self, backend: &BackendId, tool: &str) {
        self.0.remove(&(backend.clone(), tool.to_owned()));
    }

    /// The backends of which other definitions are approved there than here.
    pub fn differing(&self, other: &Self) -> BTreeSet<BackendId> {
        let approved = |(place, known): (&Place, &Known)| {
            let content = known.approved.as_ref()?.definition.content().to_owned();
            Some((place.clone(), content))
        };
        let of = |all: &Self| -> BTreeSet<_> { all.0.iter().filter_map(approved).collect() };
        let (here, there) = (of(self), of(other));
        let differing = here.symmetric_difference(&there);
        differing.map(|((backend, _), _)| backend.clone()).collect()
    }

    /// All of them, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&BackendId, &str, &Known)> {
        self.0
            .iter()
            .map(|((backend, tool), known)| (backend, tool.as_str(), known))
    }

    /// Those that are not what was approved.
    pub fn changes(&self) -> impl Iterator<Item = (&BackendId, &str, &Known)> {
        self.iter().filter(|(.., known)| known.pending.is_some())
    }

    /// The names of those.
    pub fn pending(&self) -> impl Iterator<Item = (BackendId, String)> {
        self.changes()
            .map(|(backend, tool, _)| (backend.clone(), tool.to_owned()))
    }

    /// How many are known of one backend.
    pub fn count(&self, backend: &BackendId) -> usize {
        let first = (backend.clone(), String::new());
        let of = self.0.range(first..);
        of.take_while(|((of, _), _)| of == backend).count()
    }

    /// How many are approved.
    pub fn approved(&self) -> usize {
        self.iter()
            .filter(|(.., known)| known.approved.is_some())
            .count()
    }
}

/// Where it is kept.
pub(super) enum Keeper {
    Store(Store),
    File {
        path: PathBuf,
        sign: Option<PrivateKey>,
        verify: Option<PublicKey>,
    },
    /// In a lock, where nothing gets by itself.
    Lock(PathBuf),
}

impl Keeper {
    pub(super) fn new(config: &IntegrityConfig, store: &Store) -> Self {
        match (&config.lock, &config.file) {
            (Some(path), _) => Self::Lock(path.clone()),
            (None, None) => Self::Store(store.clone()),
            (None, Some(path)) => Self::File {
                path: path.clone(),
                sign: config.private_key.clone(),
                verify: config.public_key.clone(),
            },
        }
    }

    /// Whether approvals can be made here.
    pub(super) fn can_approve(&self) -> bool {
        match self {
            Self::Store(_) | Self::Lock(_) => true,
            Self::File { sign, verify, .. } => sign.is_some() || verify.is_none(),
        }
    }

    /// Whether a tool that is seen for the first time counts as approved.
    pub(super) fn approves_what_is_new(&self) -> bool {
        !matches!(self, Self::Lock(_)) && self.can_approve()
    }

    /// For an operator.
    pub(super) fn kept(&self) -> String {
        match self {
            Self::Store(_) => "in the store".to_owned(),
            Self::File { path, .. } | Self::Lock(path) => format!("in `{}`", path.display()),
        }
    }

    pub(super) async fn load(&self) -> Result<Baseline, IntegrityError> {
        match self {
            Self::Store(store) => load(store).await,
            Self::File { path, verify, .. } => {
                let (path, verify) = (path.clone(), verify.clone());
                let read = move || file::read(&path, verify.as_ref());
                Ok(blocking(read).await?.unwrap_or_default())
            }
            Self::Lock(path) => {
                let lock = Lock::read(path)?;
                let document = lock.map(|lock| lock.definitions);
                let read = document.map(|document| file::parse(path, document));
                Ok(read.transpose()?.unwrap_or_default())
            }
        }
    }

    /// Keeps what changed of one backend; `before` is what was known until now.
    pub(super) async fn save(
        &self,
        before: &Baseline,
        backend: &BackendId,
        changed: &BTreeMap<String, Known>,
    ) -> Result<Saved, IntegrityError> {
        // What is only seen is remembered, and forgotten at the end.
        if matches!(self, Self::Lock(_)) {
            return Ok(Saved::Yes);
        }
        let all = BTreeMap::from([(backend.clone(), changed.clone())]);
        self.save_all(before, &all).await
    }

    pub(super) async fn save_all(
        &self,
        before: &Baseline,
        changed: &BTreeMap<BackendId, BTreeMap<String, Known>>,
    ) -> Result<Saved, IntegrityError> {
        match self {
            Self::Store(store) => save_in_store(store, before, changed).await,
            Self::Lock(path) => {
                let mut approved = Baseline::default();
                let of_before = before.iter().map(|(backend, tool, known)| {
                    let changed = changed.get(backend).and_then(|tools| tools.get(tool));
                    (
                        backend.clone(),
                        tool.to_owned(),
                        changed.unwrap_or(known).clone(),
                    )
                });
                for (backend, tool, mut known) in of_before {
                    known.pending = None;
                    if known.approved.is_some() {
                        approved.put(&backend, tool, known);
                    }
                }
                let plugins = Lock::read(path)?
                    .map(|lock| lock.plugins)
                    .unwrap_or_default();
                Lock::new(plugins, file::document(&approved)).write(path)?;
                Ok(Saved::Yes)
            }
            // Nothing that this gateway could vouch for: it remembers, and forgets at its end.
            Self::File { .. } if !self.can_approve() => Ok(Saved::Yes),
            Self::File { path, sign, .. } => {
                let mut next = before.clone();
                for (backend, tools) in changed {
                    for (tool, known) in tools {
                        next.put(backend, tool.clone(), known.clone());
                    }
                }
                let (path, sign) = (path.clone(), sign.clone());
                blocking(move || file::write(&path, &file::document(&next), sign.as_ref())).await?;
                Ok(Saved::Yes)
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, file::BadFile> + Send + 'static,
) -> Result<T, file::BadFile> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(file::BadFile::broken(&error)),
    }
}

/// Whether something could be kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Saved {
    Yes,
    /// Another gateway has kept something else meanwhile: nothing was kept, and this is what is there.
    Newer(Vec<(BackendId, String, Option<Known>)>),
}

/// Keeps what changed, if what is there is what was known: several gateways may see a tool first.
async fn save_in_store(
    store: &Store,
    before: &Baseline,
    changed: &BTreeMap<BackendId, BTreeMap<String, Known>>,
) -> Result<Saved, IntegrityError> {
    // Once more when somebody is faster than what was read a moment ago.
    for _ in 0..ATTEMPTS {
        let (mut batch, mut newer) = (Batch::default(), Vec::new());
        for (backend, tools) in changed {
            let mut there = match tools.len() {
                0..FEW => few(store, backend, tools.keys()).await?,
                _ => of_backend(store, backend).await?,
            };
            for (tool, known) in tools {
                let key = format!("{backend}/{tool}");
                let found = there.remove(tool);
                let value = found.as_ref().map(|found| &found.value);
                if value != before.get(backend, tool) {
                    newer.push((backend.clone(), tool.clone(), value.cloned()));
                }
                TABLE.expect(&mut batch, key.as_bytes(), found.as_ref());
                TABLE.put(&mut batch, key.as_bytes(), known)?;
            }
        }
        if !newer.is_empty() {
            return Ok(Saved::Newer(newer));
        }
        if store.commit(batch).await? == Committed::Yes {
            return Ok(Saved::Yes);
        }
    }
    Err(StoreError::Contended.into())
}

/// What is kept of these tools.
async fn few(
    store: &Store,
    backend: &BackendId,
    tools: impl Iterator<Item = &String>,
) -> Result<BTreeMap<String, Found<Known>>, StoreError> {
    let mut there = BTreeMap::new();
    for tool in tools {
        let key = format!("{backend}/{tool}");
        if let Some(found) = TABLE.get(store, key.as_bytes()).await? {
            there.insert(tool.clone(), found);
        }
    }
    Ok(there)
}

/// What is kept of all tools of a backend.
async fn of_backend(
    store: &Store,
    backend: &BackendId,
) -> Result<BTreeMap<String, Found<Known>>, StoreError> {
    let prefix = format!("{backend}/").into_bytes();
    let all = pages(store, prefix).await?;
    let named = all.into_iter().map(|((_, tool), found)| (tool, found));
    Ok(named.collect())
}

async fn load(store: &Store) -> Result<Baseline, IntegrityError> {
    let all = pages(store, Vec::new()).await?;
    let all = all.into_iter().map(|(place, found)| (place, found.value));
    Ok(Baseline(all.collect()))
}

type Place = (BackendId, String);

/// Every record whose key begins like this.
async fn pages(store: &Store, prefix: Vec<u8>) -> Result<Vec<(Place, Found<Known>)>, StoreError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let scan = Scan {
            prefix: prefix.clone(),
            after: after.take(),
            limit: PAGE,
            ..Scan::default()
        };
        let page = TABLE.scan(store, scan).await?;
        let Some((last, _)) = page.last() else {
            return Ok(all);
        };
        after = Some(last.clone());
        for (key, found) in page {
            let place = String::from_utf8(key).ok().and_then(|key| {
                let (backend, tool) = key.split_once('/')?;
                Some((backend.parse::<BackendId>().ok()?, tool.to_owned()))
            });
            all.extend(place.map(|place| (place, found)));
        }
    }
}
