//! Are the tools of a backend still what was approved?
//!
//! What is seen first is approved. A tool whose definition changes later is served and told of
//! (`warn`), or withheld until an operator approves the change (`block`): a description is read by
//! models, so whoever changes it can change what they do. Approvals are on disk before a tool
//! counts as approved. Knows nothing of how tools are listed or called.

mod baseline;
mod definition;
mod file;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::config::{IntegrityConfig, IntegrityMode};
use crate::fleet::{Fleet, Topic};
use crate::lock::BadLock;
use crate::plugin::model::Tool;
use crate::store::{Store, StoreError};
use crate::types::BackendId;

pub use baseline::{Baseline, Known};
pub use definition::Definition;
pub use file::{BadFile, read as read_file, write as write_file};

use baseline::{Keeper, Saved};

/// How often a review begins again because another gateway has kept something meanwhile.
const ATTEMPTS: usize = 8;
/// Tools of one backend that are remembered. One that invents names has no end of them.
const MAX_KNOWN: usize = 20_000;

/// Why approvals cannot be used or changed.
#[derive(Debug, Error)]
pub enum IntegrityError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file failed.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The lock failed.
    #[error(transparent)]
    Lock(#[from] BadLock),
    /// There is only a public key.
    #[error(
        "this gateway can verify approvals, not make them; hint: approve where CORTEX_BASELINE_PRIVATE_KEY is, or sign the file with `cortex-gateway baseline sign`"
    )]
    VerifyOnly,
    /// What is there cannot be read.
    #[error("approvals cannot be read, so none is made: {0}")]
    Broken(String),
    /// A name that nothing waits under.
    #[error(
        "no changed tool is called `{0}`; hint: `cortex-gateway baseline diff` tells which there are"
    )]
    Unknown(String),
}

/// What becomes of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is served.
    Serve,
    /// It is withheld, because of these members.
    Quarantined(Vec<String>),
    /// It is withheld, because nothing can be approved or compared.
    Withheld,
}

/// The approvals of a gateway.
pub struct Integrity {
    blocks: AtomicBool,
    /// Counts what may turn out otherwise for tools that were reviewed before.
    generation: AtomicU64,
    state: Mutex<State>,
    /// Who shares the store.
    fleet: Fleet,
}

struct State {
    keeper: Keeper,
    baseline: Baseline,
    /// Why what is kept cannot be used; then nothing is approved and nothing written.
    broken: Option<String>,
    /// Tools of which only the order of members changed.
    reordered: BTreeSet<(BackendId, String)>,
    /// What was said already of tools that cannot be approved.
    said: BTreeSet<(BackendId, String, String)>,
}

impl Integrity {
    /// Reads what was approved before. What cannot be read is told and left as it is.
    pub async fn open(config: &IntegrityConfig, store: &Store, fleet: &Fleet) -> Self {
        let keeper = Keeper::new(config, store);
        let (baseline, broken) = match keeper.load().await {
            Ok(baseline) => (baseline, None),
            Err(why) => {
                let consequence = match config.mode {
                    _ if config.lock.is_some() => "all tools of backends are withheld",
                    IntegrityMode::Block => "all tools of backends are withheld",
                    IntegrityMode::Warn => "no change of a tool is noticed",
                };
                error!(
                    "approved tool definitions cannot be read: {why}; {consequence}; nothing is overwritten"
                );
                (Baseline::default(), Some(why.to_string()))
            }
        };
        Self {
            blocks: AtomicBool::new(config.mode == IntegrityMode::Block || config.lock.is_some()),
            generation: AtomicU64::new(0),
            fleet: fleet.clone(),
            state: Mutex::new(State {
                keeper,
                baseline,
                broken,
                reordered: BTreeSet::new(),
                said: BTreeSet::new(),
            }),
        }
    }

    fn mode(&self) -> IntegrityMode {
        if self.blocks.load(Ordering::Relaxed) {
            IntegrityMode::Block
        } else {
            IntegrityMode::Warn
        }
    }

    /// What is approved now is all that is, and kept in a lock from here on. Returns it as the lock has
    /// it. What waits for approval is approved with it.
    ///
    /// # Errors
    /// [`IntegrityError`]; then nothing has changed.
    pub async fn lock(&self, path: &Path) -> Result<Value, IntegrityError> {
        let mut state = self.state.lock().await;
        if let Some(why) = &state.broken {
            return Err(IntegrityError::Broken(why.clone()));
        }
        let mut baseline = state.baseline.clone();
        let waiting: Vec<_> = baseline.pending().collect();
        for (backend, tool) in waiting {
            if let Some(mut known) = baseline.get(&backend, &tool).cloned() {
                known.approved = known.pending.take();
                baseline.put(&backend, tool, known);
            }
        }
        let document = file::document(&baseline);
        state.baseline = baseline;
        state.keeper = Keeper::Lock(path.to_owned());
        self.blocks.store(true, Ordering::Relaxed);
        self.changed();
        Ok(document)
    }

    /// Compares what a backend offers with what was approved: one verdict for each tool.
    pub async fn review(&self, backend: &BackendId, tools: &[Tool]) -> Vec<Verdict> {
        let mut state = self.state.lock().await;
        if state.broken.is_some() {
            return vec![self.unapproved(); tools.len()];
        }
        let mut attempts = 0;
        loop {
            let (mut verdicts, changed) = self.compare(&mut state, backend, tools);
            if changed.is_empty() {
                return verdicts;
            }
            let kept = state.keeper.save(&state.baseline, backend, &changed).await;
            attempts += 1;
            let why = match kept {
                Ok(Saved::Yes) => {
                    for (tool, known) in changed {
                        state.baseline.put(backend, tool, known);
                    }
                    self.fleet.tell(Topic::Approvals, Vec::new());
                    return verdicts;
                }
                // What others have approved first is what is approved.
                Ok(Saved::Newer(newer)) => {
                    state.learn(newer);
                    if attempts < ATTEMPTS {
                        continue;
                    }
                    StoreError::Contended.into()
                }
                Err(why) => why,
            };
            error!(backend.id = %backend, "approvals cannot be kept: {why}");
            // A tool whose first approval cannot be kept is not approved.
            if self.mode() == IntegrityMode::Block {
                for (tool, verdict) in tools.iter().zip(&mut verdicts) {
                    let new = state.baseline.get(backend, &tool.name).is_none();
                    if new && *verdict == Verdict::Serve {
                        *verdict = Verdict::Withheld;
                    }
                }
            }
            return verdicts;
        }
    }

    /// One verdict for each tool, and what has to be kept.
    fn compare(
        &self,
        state: &mut State,
        backend: &BackendId,
        tools: &[Tool],
    ) -> (Vec<Verdict>, BTreeMap<String, Known>) {
        let now = now();
        let mut changed: BTreeMap<String, Known> = BTreeMap::new();
        let mut room = MAX_KNOWN.saturating_sub(state.baseline.count(backend));
        let mut verdicts = Vec::with_capacity(tools.len());
        for tool in tools {
            let definition = Definition::of(tool);
            let known = state.baseline.get(backend, &tool.name).cloned();
            let place = (backend.clone(), tool.name.clone());
            let approved = known.as_ref().and_then(|known| known.approved.clone());
            let (verdict, next) = match approved.zip(known.clone()) {
                None if known.is_none() && room == 0 => {
                    let said = (backend.clone(), String::new(), String::new());
                    if state.said.insert(said) {
                        warn!(backend.id = %backend, "it has had more than {MAX_KNOWN} tools: new ones are not remembered, and never approved");
                    }
                    (self.unapproved(), None)
                }
                None => {
                    room -= usize::from(known.is_none());
                    self.unknown(state, &place, known, definition, &now)
                }
                Some((approved, mut known))
                    if approved.definition.content() == definition.content() =>
                {
                    let ordered = approved.definition.order() == definition.order();
                    let reverted = known.pending.take().is_some();
                    if ordered {
                        state.reordered.remove(&place);
                    } else if state.reordered.insert(place.clone()) {
                        info!(backend.id = %backend, tool.name = tool.name, "only the order of members changed in its definition");
                    }
                    if reverted {
                        info!(backend.id = %backend, tool.name = tool.name, "its definition is again what was approved");
                    }
                    (Verdict::Serve, reverted.then_some(known))
                }
                Some((approved, mut known)) => {
                    let fields = approved.definition.differences(&definition);
                    let news = known
                        .pending
                        .as_ref()
                        .is_none_or(|pending| pending.definition.content() != definition.content());
                    if news {
                        self.tell(backend, &tool.name, &fields);
                    }
                    let verdict = match self.mode() {
                        IntegrityMode::Warn => Verdict::Serve,
                        IntegrityMode::Block => Verdict::Quarantined(fields),
                    };
                    known.pending = Some(baseline::Seen::new(definition, &now));
                    (verdict, news.then_some(known))
                }
            };
            verdicts.push(verdict);
            if let Some(next) = next {
                changed.insert(tool.name.clone(), next);
            }
        }
        (verdicts, changed)
    }

    /// A tool of which nothing was approved yet.
    fn unknown(
        &self,
        state: &mut State,
        place: &(BackendId, String),
        known: Option<Known>,
        definition: Definition,
        now: &str,
    ) -> (Verdict, Option<Known>) {
        let seen = baseline::Seen::new(definition, now);
        if state.keeper.approves_what_is_new() {
            let known = Known {
                approved: Some(seen),
                pending: None,
            };
            return (Verdict::Serve, Some(known));
        }
        let content = seen.definition.content().to_owned();
        if state
            .said
            .insert((place.0.clone(), place.1.clone(), content))
        {
            let what = match self.mode() {
                IntegrityMode::Warn => "it is served",
                IntegrityMode::Block => "it is withheld",
            };
            let hint = match state.keeper {
                Keeper::Lock(_) => "`cortex-gateway approve` puts it into the lock",
                _ => "approve it where CORTEX_BASELINE_PRIVATE_KEY is",
            };
            warn!(backend.id = %place.0, tool.name = place.1, "a new tool, which this gateway cannot approve: {what}; hint: {hint}");
        }
        let mut next = known.unwrap_or_default();
        next.pending = Some(seen);
        (self.unapproved(), Some(next))
    }

    /// What becomes of a tool that cannot be approved.
    fn unapproved(&self) -> Verdict {
        match self.mode() {
            IntegrityMode::Warn => Verdict::Serve,
            IntegrityMode::Block => Verdict::Withheld,
        }
    }

    /// Tells of a change that is served. One that is withheld is told by who leaves it out.
    fn tell(&self, backend: &BackendId, tool: &str, fields: &[String]) {
        if self.mode() == IntegrityMode::Warn {
            let fields = fields.join(", ");
            warn!(backend.id = %backend, tool.name = tool, "its definition changed since approval ({fields}): it is served all the same; hint: `cortex-gateway baseline diff` shows the change, `baseline approve` accepts it");
        }
    }

    /// Approves changes by name (`docs/search`, `docs_search`); `None`: all. Returns whose they are.
    ///
    /// # Errors
    /// [`IntegrityError`]; then nothing is approved.
    pub async fn approve(
        &self,
        names: Option<&[String]>,
    ) -> Result<Vec<(BackendId, String)>, IntegrityError> {
        let mut state = self.state.lock().await;
        if let Some(why) = &state.broken {
            return Err(IntegrityError::Broken(why.clone()));
        }
        if !state.keeper.can_approve() {
            return Err(IntegrityError::VerifyOnly);
        }
        let waiting: Vec<(BackendId, String)> = state.baseline.pending().collect();
        let chosen: Vec<(BackendId, String)> = match names {
            None => waiting,
            Some(names) => {
                let mut chosen = Vec::new();
                for name in names {
                    let called = |(backend, tool): &&(BackendId, String)| {
                        *name == format!("{backend}/{tool}") || *name == format!("{backend}_{tool}")
                    };
                    let found = waiting.iter().find(called);
                    let found = found.ok_or_else(|| IntegrityError::Unknown(name.clone()))?;
                    chosen.push(found.clone());
                }
                chosen
            }
        };
        let mut next = state.baseline.clone();
        let mut by_backend: BTreeMap<BackendId, BTreeMap<String, Known>> = BTreeMap::new();
        for (backend, tool) in &chosen {
            let Some(mut known) = next.get(backend, tool).cloned() else {
                continue;
            };
            known.approved = known.pending.take();
            next.put(backend, tool.clone(), known.clone());
            let of = by_backend.entry(backend.clone()).or_default();
            of.insert(tool.clone(), known);
        }
        let saved = state.keeper.save_all(&state.baseline, &by_backend).await?;
        if let Saved::Newer(newer) = saved {
            // What the operator has looked at is not what is there now.
            state.learn(newer);
            self.changed();
            return Err(StoreError::Contended.into());
        }
        state.baseline = next;
        self.changed();
        self.fleet.tell(Topic::Approvals, Vec::new());
        for (backend, tool) in &chosen {
            info!(backend.id = %backend, tool.name = tool, "an operator approved its changed definition");
        }
        Ok(chosen)
    }

    /// What an operator is shown: the state of the baseline, and each change member by member.
    pub async fn report(&self) -> Value {
        let state = self.state.lock().await;
        let quarantines = self.mode() == IntegrityMode::Block;
        let changed: Vec<Value> = state
            .baseline
            .changes()
            .map(|(backend, tool, known)| {
                let mut told = known.to_report();
                told["backend"] = backend.as_str().into();
                told["tool"] = tool.into();
                told["quarantined"] = quarantines.into();
                told
            })
            .collect();
        let reordered = state.reordered.iter();
        json!({
            "mode": self.mode(),
            "baseline": {
                "kept": state.keeper.kept(),
                "state": match &state.broken { None => "good", Some(_) => "broken" },
                "reason": state.broken,
                "canApprove": state.broken.is_none() && state.keeper.can_approve(),
                "approved": state.baseline.approved(),
            },
            "changed": changed,
            "reordered": reordered.map(|(backend, tool)| format!("{backend}/{tool}")).collect::<Vec<_>>(),
        })
    }

    /// The whole baseline, for `baseline export`.
    pub async fn export(&self) -> Result<Value, IntegrityError> {
        let state = self.state.lock().await;
        match &state.broken {
            Some(why) => Err(IntegrityError::Broken(why.clone())),
            None => Ok(file::document(&state.baseline)),
        }
    }
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_default()
}

impl Serialize for IntegrityMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Warn => "warn",
            Self::Block => "block",
        })
    }
}

#[cfg(test)]
mod tests;
