//! The plugin directory, live: what is dropped there is loaded, what is changed is swapped, what is
//! taken away goes, and requests notice nothing of it.
//!
//! The directory is looked at when the file system tells of a change, and a few times a second anyway.
//! That costs a few system calls, and works where file systems tell nobody of changes: on network file
//! systems and in volumes of containers.

mod known;
pub(super) mod scan;
mod word;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::accepted;
use super::elsewhere::Elsewhere;
use super::engine::Runtime;
use super::grants::Want;
use super::loader::{self, Fresh, Refusal};
use super::set::{File, Live, Plugins, digest};
use super::settings::Beside;
use super::trust;
use crate::lock::{Lock, Pinned};
use known::Known;
use scan::{Stamp, scan, settings_digest, signature};
use word::Word;

/// How often the directory is looked at without word of a change.
const LOOK: Duration = Duration::from_millis(200);
/// How soon it is looked at again after a change: what looks the same twice is taken.
const SETTLE: Duration = Duration::from_millis(100);
/// How often instances are looked at that are kept between calls: those that nobody uses go.
const TIDY: Duration = Duration::from_secs(5);
/// How often it is looked whether anybody still uses what was replaced.
const DRAINING: Duration = Duration::from_millis(100);

/// What has happened to plugins since the start.
#[derive(Debug, Default)]
pub struct Steps {
    loaded: AtomicU64,
    swapped: AtomicU64,
    refused: AtomicU64,
    removed: AtomicU64,
    drained: AtomicU64,
}

impl Steps {
    /// Each with its name.
    pub fn counts(&self) -> [(&'static str, u64); 5] {
        [
            ("loaded", &self.loaded),
            ("swapped", &self.swapped),
            ("refused", &self.refused),
            ("removed", &self.removed),
            ("drained", &self.drained),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

fn count(step: &AtomicU64) {
    step.fetch_add(1, Ordering::Relaxed);
}

/// The plugin directory and what is loaded from it.
pub struct Directory {
    path: PathBuf,
    runtime: Arc<Runtime>,
    current: ArcSwap<Plugins>,
    generation: watch::Sender<u64>,
    steps: Arc<Steps>,
    /// Told when there is reason to look at once.
    pub(super) look_now: Notify,
    /// What other gateways run.
    pub(super) elsewhere: Elsewhere,
}

impl Directory {
    /// Loads every `*.wasm` of a directory, in the order of their names. A bad file is refused with
    /// the reason, and the rest goes on.
    ///
    /// # Errors
    /// Only when the directory itself cannot be read.
    pub async fn open(runtime: &Arc<Runtime>, path: &Path) -> std::io::Result<Arc<Self>> {
        let directory = Self {
            path: path.to_owned(),
            runtime: Arc::clone(runtime),
            current: ArcSwap::default(),
            generation: watch::Sender::new(0),
            steps: Arc::default(),
            look_now: Notify::new(),
            elsewhere: Elsewhere::default(),
        };
        for file in scan(path, &runtime.config.lock)?.keys() {
            directory.take(file).await;
        }
        directory.say_what_is_missing();
        Ok(Arc::new(directory))
    }

    /// Instances that there are of all plugins, and that there may be.
    pub fn instances(&self) -> (usize, usize) {
        self.runtime.instances()
    }

    /// What is loaded now.
    pub fn now(&self) -> Arc<Plugins> {
        self.current.load_full()
    }

    /// Tells of every change; the value is that of [`Plugins::generation`].
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// What has happened since the start.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Watches the directory, for ever. To be called once.
    pub async fn keep_watched(&self) {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        // What was there at the start may have changed since; to take it again changes nothing.
        for (file, _) in self.now().files() {
            known.insert(file.to_owned(), Known::default());
        }
        let mut readable = true;
        let word = Word::of(&self.path);
        let mut settled = true;
        let mut tidied = Instant::now();
        loop {
            if tidied.elapsed() >= TIDY {
                self.now()
                    .adapters
                    .values()
                    .for_each(|adapter| adapter.tidy());
                tidied = Instant::now();
            }
            if settled {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = word.comes() => {}
                    () = self.look_now.notified() => {}
                }
            } else {
                tokio::time::sleep(SETTLE).await;
            }
            let (path, lock) = (self.path.clone(), self.runtime.config.lock.clone());
            let found = tokio::task::spawn_blocking(move || scan(&path, &lock)).await;
            match found.map_err(std::io::Error::other).flatten() {
                Ok(found) => {
                    readable = true;
                    settled = self.look(&mut known, found).await;
                }
                Err(error) => {
                    if std::mem::take(&mut readable) {
                        warn!(%error, "the plugin directory `{}` cannot be read; what is loaded stays", self.path.display());
                    }
                }
            }
        }
    }

    /// Takes what has settled, and tells whether everything has.
    async fn look(
        &self,
        known: &mut BTreeMap<String, Known>,
        mut found: BTreeMap<String, Stamp>,
    ) -> bool {
        let before = self.now().generation;
        let mut gone = Vec::new();
        for (file, of) in known.iter_mut() {
            match found.remove(file) {
                Some(stamp) => {
                    of.look(stamp);
                    if let Some(settled) = of.settled() {
                        self.take(file).await;
                        of.taken = Some(settled);
                    }
                }
                None => {
                    if of.miss() {
                        gone.push(file.clone());
                    }
                }
            }
        }
        for file in gone {
            known.remove(&file);
            self.remove(&file);
        }
        for (file, stamp) in found {
            known.entry(file).or_default().look(stamp);
        }
        let now = self.now();
        if now.generation != before {
            self.say_what_is_missing();
            // A name may be free now.
            for (file, of) in now.files() {
                let waits = matches!(of.refused.as_deref(), Some(Refusal::NameTaken { .. }));
                if let Some(known) = known.get_mut(file).filter(|_| waits) {
                    known.taken = None;
                }
            }
        }
        known.values().all(Known::is_as_taken)
    }

    /// Loads a file as it is now, unless it is what runs already.
    async fn take(&self, file: &str) {
        let began = Instant::now();
        let before = self.now().file(file).cloned().unwrap_or_default();
        match self.load(file, &before).await {
            Ok(None) => {
                // Somebody has put back what runs.
                if before.refused.is_some() {
                    info!(file, "the plugin file is again what runs");
                    self.put(
                        file,
                        Some(File {
                            refused: None,
                            ..before
                        }),
                    );
                }
            }
            Ok(Some(live)) => {
                let (kind, name, version) = (live.kind, live.name.clone(), live.version.clone());
                let took = began.elapsed().as_millis();
                let next = File {
                    live: Some(live),
                    refused: None,
                };
                self.put(file, Some(next));
                match before.live {
                    None => {
                        count(&self.steps.loaded);
                        info!(plugin.name = %name, plugin.version = version, file, "loaded {kind} in {took} ms");
                    }
                    Some(old) => {
                        count(&self.steps.swapped);
                        info!(
                            plugin.name = %name, plugin.version = version, file,
                            "swapped {kind} in {took} ms; {} {} ends with its last call", old.name, old.version
                        );
                        self.drain(old);
                    }
                }
            }
            Err(refusal) => {
                let mut before = before;
                if let Some(live) = before.live.take_if(|live| self.is_locked_out(file, live)) {
                    count(&self.steps.removed);
                    info!(
                        plugin.name = %live.name, plugin.version = live.version, file,
                        "removed {}, because the lock does not know it; it ends with its last call", live.kind
                    );
                    self.put(file, Some(before.clone()));
                    self.drain(live);
                }
                let known = before.refused.as_ref().map(ToString::to_string);
                let stays = match &before.live {
                    Some(live) => format!("; {} {} runs on", live.name, live.version),
                    None => String::new(),
                };
                if known != Some(refusal.to_string()) {
                    count(&self.steps.refused);
                    warn!(file, "plugin refused: {refusal}{stays}");
                    let refused = Some(Arc::new(refusal));
                    self.put(file, Some(File { refused, ..before }));
                }
            }
        }
    }

    /// Loads a file. `None`: it is what runs already.
    async fn load(&self, file: &str, before: &File) -> Result<Option<Live>, Refusal> {
        let path = self.path.join(file);
        let bytes = loader::read(&path)?;
        let digest = digest(&bytes);
        let settings = settings_digest(&path);
        let pinned = self.pinned(file, &digest)?;
        if let Some(live) = &before.live
            && live.digest == digest
            && live.settings == settings
        {
            return Ok(None);
        }
        let signature = signature(&path);
        trust::check(
            self.runtime.config.trust.as_ref(),
            &digest,
            signature.as_deref(),
        )?;
        let fresh = loader::load(&self.runtime, &path, file, bytes).await?;
        if let Some(by) = self.now().holder(&fresh.name, file) {
            return Err(Refusal::NameTaken {
                name: fresh.name,
                by: by.to_owned(),
            });
        }
        if let Some(pinned) = pinned {
            let grants = fresh.loaded.profile().grants.in_words();
            if grants != pinned.grants {
                let what = "it is granted something else than there".to_owned();
                return Err(Refusal::NotLocked(what, file.to_owned()));
            }
        }
        self.hold_back(&fresh, before, file).await?;
        Ok(Some(Live {
            name: fresh.name,
            version: fresh.version,
            kind: fresh.kind,
            line: fresh.line,
            digest,
            since: OffsetDateTime::now_utc(),
            settings,
            loaded: fresh.loaded,
        }))
    }

    /// What the lock says of a file with this digest. `None`: there is no lock.
    fn pinned(&self, file: &str, digest: &str) -> Result<Option<Pinned>, Refusal> {
        let Some(mut lock) = Lock::read(&self.runtime.config.lock)? else {
            return Ok(None);
        };
        let unknown = |what: &str| Refusal::NotLocked(what.to_owned(), file.to_owned());
        match lock.plugins.remove(file) {
            None => Err(unknown("there is no such file in it")),
            Some(pinned) if pinned.sha256 != digest => Err(unknown("it was changed since")),
            pinned => Ok(pinned),
        }
    }

    /// Whether what runs is not what the lock says.
    fn is_locked_out(&self, file: &str, live: &Live) -> bool {
        match self.pinned(file, &live.digest) {
            Ok(None) => false,
            Ok(Some(pinned)) => pinned.grants != live.granted(),
            Err(_) => true,
        }
    }

    /// What a lock would say of the files as they are now: of these, or of all.
    ///
    /// # Errors
    /// The name of what is not there, or why it cannot be read.
    pub fn pins(&self, files: Option<&[String]>) -> Result<BTreeMap<String, Pinned>, String> {
        let found =
            scan(&self.path, &self.runtime.config.lock).map_err(|error| error.to_string())?;
        if let Some(missing) = files
            .into_iter()
            .flatten()
            .find(|file| !found.contains_key(*file))
        {
            return Err(format!("`{missing}` is not in the plugin directory"));
        }
        let chosen = found.into_keys();
        let chosen = chosen.filter(|file| files.is_none_or(|files| files.contains(file)));
        chosen
            .map(|file| {
                let path = self.path.join(&file);
                let told = |error: String| format!("`{file}`: {error}");
                let bytes = loader::read(&path).map_err(|error| told(error.to_string()))?;
                let beside = Beside::read(&path, &self.runtime.limits);
                let beside = beside.map_err(|error| told(error.to_string()))?;
                let pinned = Pinned {
                    sha256: digest(&bytes),
                    grants: beside.grants.in_words(),
                };
                Ok((file, pinned))
            })
            .collect()
    }

    /// Where the lock is, or would be.
    pub fn lock_file(&self) -> &Path {
        &self.runtime.config.lock
    }

    /// Refuses a version that wants more than the one before, until the operator has said something to it.
    async fn hold_back(&self, fresh: &Fresh, before: &File, file: &str) -> Result<(), Refusal> {
        let profile = fresh.loaded.profile();
        let runs = before.live.as_ref();
        let runs = runs.filter(|live| live.name == fresh.name);
        let runs = runs.map(|live| &live.loaded.profile().wants[..]);
        let store = self.runtime.store.as_ref();
        let settles = |want: &Want| profile.grants.settles(want);
        let more = accepted::beyond(store, &fresh.name, &profile.wants, runs, settles).await;
        let more = more.unwrap_or_else(|error| {
            warn!(%error, file, "what this plugin wanted before cannot be found out, or what it wants now cannot be remembered");
            Vec::new()
        });
        if !more.is_empty() {
            let wants: Vec<String> = more.iter().map(|want| format!("`{want}`")).collect();
            return Err(Refusal::WantsMore {
                wants: wants.join(", "),
                file: file.to_owned(),
            });
        }
        Ok(())
    }

    fn remove(&self, file: &str) {
        let before = self.now().file(file).cloned();
        self.put(file, None);
        if let Some(old) = before.and_then(|file| file.live) {
            count(&self.steps.removed);
            info!(
                plugin.name = %old.name, plugin.version = old.version, file,
                "removed {}; it ends with its last call", old.kind
            );
            self.drain(old);
        }
    }

    /// The one place where what is loaded changes.
    fn put(&self, file: &str, now: Option<File>) {
        let next = self.now().with(file, now);
        let generation = next.generation;
        self.current.store(Arc::new(next));
        self.generation.send_replace(generation);
    }

    /// Tells when the last call of what was replaced is over.
    fn drain(&self, old: Live) {
        let began = Instant::now();
        let used = old.loaded.watched();
        let (name, version) = (old.name, old.version);
        drop(old.loaded);
        let steps = Arc::clone(&self.steps);
        tokio::spawn(async move {
            while used() {
                tokio::time::sleep(DRAINING).await;
            }
            count(&steps.drained);
            let took = began.elapsed().as_millis();
            info!(plugin.name = %name, plugin.version = version, "drained after {took} ms: its memory is free");
        });
    }

    fn say_what_is_missing(&self) {
        let plugins = self.now();
        if plugins.policies.is_empty() {
            warn!(
                "no scope policy is loaded: nothing is allowed; hint: put policy-scopes.wasm into CORTEX_PLUGIN_DIR"
            );
        }
        if plugins.exporters.is_empty() {
            warn!(
                "no audit exporter is loaded: audit records wait in the trail; hint: put audit-stdout.wasm into CORTEX_PLUGIN_DIR"
            );
        }
    }
}
