//! The catalog: what all backends offer, merged into immutable snapshots.
//!
//! A request takes one snapshot and sees nothing else: the catalog does not change under it.
//! Readers never lock; a refresh builds the next snapshot aside and swaps it in.

mod definition;
mod forms;
mod identity;
mod naming;
mod offer;
mod others;
mod refresh;
mod search;
mod shared;
mod uri_template;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Notify, watch};

use crate::integrity::Integrity;
use crate::mcp::param_header::ParamHeader;
use crate::plugin::{Backend, Directory, Item};
use crate::types::{BackendId, PluginName};
pub use forms::Forms;
pub use identity::Identity;
use naming::Naming;
use refresh::Refresher;
pub use refresh::Refreshes;
pub(crate) use refresh::in_words;
use search::Words;
pub use search::best as find;
pub use shared::Sharing;
use uri_template::UriTemplate;

/// Names of the gateway's own tools, sorted. They hide tools of backends that are called the same.
pub const BUILTIN_NAMES: [&str; 6] = [
    "find_tools",
    "list_cortex_resources",
    "list_cortex_tickets",
    "read_cortex_resource",
    "report_missing_capability",
    "whoami",
];

/// One tool, prompt, resource or resource template as callers know it.
#[derive(Debug)]
pub struct Entry {
    /// Its public name; of a resource its URI, of a template the template.
    pub name: String,
    /// The backend that owns it.
    pub backend: BackendId,
    /// The MCP object, public name included.
    pub definition: Box<RawValue>,
    /// What policies are asked about. `item.name` is the backend's own name for it.
    pub item: Item,
    /// Whether it is a tool that declares an output schema.
    pub structured: bool,
    /// Arguments of a tool that travel as headers, too.
    pub headers: Vec<ParamHeader>,
    /// Why a tool that is known must not be called or listed; for the model to read.
    pub withheld: Option<&'static str>,
    forms: OnceLock<Forms>,
    words: OnceLock<Words>,
}

impl Entry {
    fn new(name: String, backend: BackendId, definition: Box<RawValue>, item: Item) -> Self {
        Self {
            name,
            backend,
            definition,
            item,
            structured: false,
            headers: Vec::new(),
            withheld: None,
            forms: OnceLock::new(),
            words: OnceLock::new(),
        }
    }

    /// Shorter forms of a tool's definition.
    pub fn forms(&self) -> &Forms {
        self.forms
            .get_or_init(|| Forms::of(&self.definition, !self.headers.is_empty()))
    }

    /// The words by which a tool is found.
    fn words(&self) -> &Words {
        self.words.get_or_init(|| Words::of(&self.definition))
    }
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];
}

/// All entries of one kind.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those of the backends that are up, sorted by public name.
    pub listed: Vec<Arc<Entry>>,
    /// All that are known: those of a backend that is down are not listed, but used.
    by_name: HashMap<String, Arc<Entry>>,
}

impl Listing {
    /// All that are known, in no order.
    pub fn known(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_name.values()
    }

    /// The entry with this public name.
    pub fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.by_name.get(name)
    }
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
    /// Tools.
    pub tools: Listing,
    /// Prompts.
    pub prompts: Listing,
    /// Resources.
    pub resources: Listing,
    /// Resource templates.
    pub templates: Listing,
    /// Every configured backend.
    pub backends: BTreeMap<BackendId, Health>,
    /// What of each backend is not offered and why, for operators.
    pub left_out: BTreeMap<BackendId, Vec<String>>,
    /// Counts the snapshots that list something else than the one before.
    pub generation: u64,
    /// When a backend last answered (RFC 3339); `None`: never.
    pub taken_at: Option<String>,
    /// Templates, taken apart.
    routes: Vec<TemplateRoute>,
}

/// A resource template, ready to be matched.
#[derive(Debug, Clone)]
struct TemplateRoute {
    template: UriTemplate,
    entry: Arc<Entry>,
}

impl Snapshot {
    /// The entries of one kind.
    pub fn listing(&self, kind: Kind) -> &Listing {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        }
    }

    /// The prompt with this public name, or with this bare name if only one backend has it.
    pub fn prompt(&self, name: &str) -> Option<&Arc<Entry>> {
        self.prompts.get(name).or_else(|| {
            let mut bare = self
                .prompts
                .by_name
                .values()
                .filter(|p| p.item.name == name);
            bare.next().filter(|_| bare.next().is_none())
        })
    }

    /// The entry that a resource is read by: itself when it is listed, else the template that
    /// spells most of its URI out, else whoever owns its scheme alone. Such an owner's templates
    /// must then all be open to the caller, because none of them tells which one is meant.
    pub fn resource(&self, uri: &str) -> Option<Arc<Entry>> {
        if let Some(listed) = self.resources.get(uri) {
            return Some(Arc::clone(listed));
        }
        // Backwards, so that of equals the first is taken.
        let matching = self.routes.iter().rev().filter(|r| r.template.matches(uri));
        if let Some(best) = matching.max_by_key(|r| r.template.spelled_out()) {
            return Some(Arc::clone(&best.entry));
        }
        let scheme = uri_template::scheme(uri)?;
        let mut of_scheme = self
            .routes
            .iter()
            .filter(|r| r.template.scheme() == Some(scheme));
        let first = &of_scheme.next()?.entry;
        let mut scopes: BTreeSet<String> = first.item.scopes.iter().cloned().collect();
        for route in of_scheme {
            if route.entry.backend != first.backend || route.entry.item.scopes.is_empty() {
                return None;
            }
            scopes.extend(route.entry.item.scopes.iter().cloned());
        }
        let item = Item {
            scopes: scopes.into_iter().collect(),
            ..first.item.clone()
        };
        let (name, backend) = (first.name.clone(), first.backend.clone());
        let entry = Entry::new(name, backend, first.definition.clone(), item);
        Some(Arc::new(entry))
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
    /// The name of its adapter.
    pub adapter: PluginName,
    /// Where adapters come from.
    pub plugins: Arc<Directory>,
}

/// What one backend offers.
#[derive(Clone, Default)]
struct Offer {
    tools: Vec<Arc<Entry>>,
    prompts: Vec<Arc<Entry>>,
    resources: Vec<Arc<Entry>>,
    templates: Vec<TemplateRoute>,
}

/// What one backend contributes.
#[derive(Clone)]
struct Part {
    offer: Offer,
    health: Health,
    notes: Vec<String>,
}

impl Part {
    fn unknown() -> Self {
        Self {
            offer: Offer::default(),
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
    /// The generation of the current snapshot.
    generation: watch::Sender<u64>,
    backends: usize,
    /// Told when a backend had better be asked at once.
    hurry: BTreeMap<BackendId, Notify>,
    refreshes: BTreeMap<BackendId, Refreshes>,
    integrity: Arc<Integrity>,
}

impl Catalog {
    /// What is counted of refreshes.
    pub fn refreshes(&self) -> impl Iterator<Item = (&BackendId, &Refreshes)> {
        self.refreshes.iter()
    }

    /// An empty catalog of these backends.
    pub fn new<'a>(
        backends: impl IntoIterator<Item = &'a BackendId>,
        integrity: Arc<Integrity>,
    ) -> Self {
        let parts: BTreeMap<_, _> = backends
            .into_iter()
            .map(|id| (id.clone(), Part::unknown()))
            .collect();
        let snapshot = merge(&parts);
        Self {
            current: ArcSwap::from_pointee(snapshot),
            backends: parts.len(),
            refreshes: (parts.keys())
                .map(|id| (id.clone(), Refreshes::default()))
                .collect(),
            hurry: parts.keys().map(|id| (id.clone(), Notify::new())).collect(),
            parts: Mutex::new(parts),
            integrity,
            asked: watch::Sender::new(0),
            generation: watch::Sender::new(0),
        }
    }

    /// The catalog of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Tells of every snapshot that lists something else than the one before.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
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

    /// Keeps one backend's part fresh for ever: every `every`, and sooner while it is down. `sharing`: with
    /// the other gateways of a fleet, of which one asks for all.
    pub async fn keep_fresh(
        &self,
        source: Source,
        identity: Identity,
        every: Duration,
        sharing: Option<Sharing>,
    ) {
        let refresher = Refresher::new(self, source, identity, every, sharing);
        refresher.run().await;
    }

    /// A call tells whether its backend could be reached. If that is news, the backend is asked
    /// for its catalog at once.
    pub fn reached(&self, id: &BackendId, reached: bool) {
        let up = self.current.load().backends.get(id) == Some(&Health::Up);
        if up != reached {
            self.ask_again(id);
        }
    }

    /// Has a backend asked for its catalog at once.
    pub fn ask_again(&self, id: &BackendId) {
        if let Some(hurry) = self.hurry.get(id) {
            hurry.notify_one();
        }
    }

    /// How things of a backend are called.
    fn naming(&self, backend: &Backend) -> Naming {
        Naming::new(backend, self.hurry.keys())
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
        let before = self.current.load();
        let mut after = merge(&parts);
        for (backend, notes) in &after.left_out {
            let known = before.left_out.get(backend);
            let new = |note: &&String| !known.is_some_and(|known| known.contains(note));
            for note in notes.iter().filter(new) {
                tracing::warn!(backend.id = %backend, "{}", note.escape_debug());
            }
        }
        let changed = Kind::ALL
            .into_iter()
            .any(|kind| !offer::alike(&before.listing(kind).listed, &after.listing(kind).listed));
        after.generation = before.generation + u64::from(changed);
        after.taken_at = match parts.get(id) {
            Some(part) if part.health == Health::Up => {
                OffsetDateTime::now_utc().format(&Rfc3339).ok()
            }
            _ => before.taken_at.clone(),
        };
        let generation = after.generation;
        self.current.store(Arc::new(after));
        if changed {
            self.generation.send_replace(generation);
        }
    }
}

/// Merges the parts, sorted.
fn merge(parts: &BTreeMap<BackendId, Part>) -> Snapshot {
    let all = || parts.values();
    let with = |part: &'_ Part| part.health == Health::Up;
    let mut left_out: BTreeMap<BackendId, Vec<String>> = parts
        .iter()
        .filter(|(_, part)| !part.notes.is_empty())
        .map(|(id, part)| (id.clone(), part.notes.clone()))
        .collect();
    let mut listing = |entries: Vec<(&Arc<Entry>, bool)>| listing(entries, &mut left_out);
    Snapshot {
        tools: listing(
            all()
                .flat_map(|p| p.offer.tools.iter().map(move |e| (e, with(p))))
                .collect(),
        ),
        prompts: listing(
            all()
                .flat_map(|p| p.offer.prompts.iter().map(move |e| (e, with(p))))
                .collect(),
        ),
        resources: listing(
            all()
                .flat_map(|p| p.offer.resources.iter().map(move |e| (e, with(p))))
                .collect(),
        ),
        templates: listing(
            all()
                .flat_map(|p| p.offer.templates.iter().map(move |r| (&r.entry, with(p))))
                .collect(),
        ),
        backends: parts
            .iter()
            .map(|(id, part)| (id.clone(), part.health.clone()))
            .collect(),
        routes: all()
            .flat_map(|p| p.offer.templates.iter().cloned())
            .collect(),
        left_out,
        generation: 0,
        taken_at: None,
    }
}

/// Entries and whether they are listed, merged. Two can only meet under one name when one of them
/// has an alias, or under one URI; the first in the order of backends and own names keeps it.
fn listing(
    entries: Vec<(&Arc<Entry>, bool)>,
    left_out: &mut BTreeMap<BackendId, Vec<String>>,
) -> Listing {
    let mut all = Listing::default();
    for (entry, listed) in entries {
        if let Some(first) = all.by_name.get(&entry.name) {
            let note = format!(
                "{} `{}` is left out: `{}` of backend `{}` has its public name `{}`",
                entry.item.kind, entry.item.name, first.item.name, first.backend, entry.name
            );
            left_out
                .entry(entry.backend.clone())
                .or_default()
                .push(note);
            continue;
        }
        all.by_name.insert(entry.name.clone(), Arc::clone(entry));
        if listed && entry.withheld.is_none() {
            all.listed.push(Arc::clone(entry));
        }
    }
    all.listed.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
