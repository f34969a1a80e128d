//! What is loaded at one moment: immutable, like a snapshot of the catalog. A request takes one and
//! sees nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::adapter::Adapter;
use super::exporter::Exporter;
use super::lines::Line;
use super::loader::{Kind, Refusal};
use super::meter::Reading;
use super::policy::Policy;
use super::profile::Profile;
use crate::types::{PluginName, hex};

/// One loaded plugin.
#[derive(Clone)]
pub enum Loaded {
    /// A backend adapter.
    Adapter(Arc<Adapter>),
    /// A scope policy.
    Policy(Arc<Policy>),
    /// An audit exporter.
    Exporter(Arc<Exporter>),
}

impl Loaded {
    pub(super) fn profile(&self) -> &Arc<Profile> {
        match self {
            Self::Adapter(one) => one.profile(),
            Self::Policy(one) => one.profile(),
            Self::Exporter(one) => one.profile(),
        }
    }

    /// Tells later whether anybody still uses it.
    pub(super) fn watched(&self) -> Box<dyn Fn() -> bool + Send> {
        fn used<T: Send + Sync + 'static>(one: &Arc<T>) -> Box<dyn Fn() -> bool + Send> {
            let one = Arc::downgrade(one);
            Box::new(move || one.strong_count() > 0)
        }
        match self {
            Self::Adapter(one) => used(one),
            Self::Policy(one) => used(one),
            Self::Exporter(one) => used(one),
        }
    }
}

/// What runs of a file.
#[derive(Clone)]
pub struct Live {
    /// The plugin's name.
    pub name: PluginName,
    /// Its own version.
    pub version: String,
    /// What it is for.
    pub kind: Kind,
    /// For which line of the contract it was built.
    pub line: Line,
    /// SHA-256 of the component, in hexadecimal digits.
    pub digest: String,
    /// Since when it runs.
    pub since: OffsetDateTime,
    /// SHA-256 of the settings file as it was.
    pub(super) settings: Option<[u8; 32]>,
    pub(super) loaded: Loaded,
}

impl Live {
    /// What it has used since the gateway's start, earlier versions included.
    pub fn used(&self) -> Reading {
        self.loaded.profile().meter.read()
    }

    /// SHA-256 of the component and of its settings, or of its having none.
    pub fn outline(&self) -> [u8; 32] {
        let settings = self.settings.as_ref().map_or(&[][..], |digest| &digest[..]);
        Sha256::new_with_prefix(&self.digest)
            .chain_update(settings)
            .finalize()
            .into()
    }

    /// What it was granted, in words.
    pub fn granted(&self) -> Vec<String> {
        self.loaded.profile().grants.in_words()
    }

    /// The origins that it was granted.
    pub fn origins(&self) -> Vec<String> {
        self.loaded.profile().grants.origins()
    }

    /// What it wants and does not have.
    pub fn missing(&self) -> Vec<String> {
        let profile = self.loaded.profile();
        let wants = profile.wants.iter();
        wants
            .filter(|want| !profile.grants.meets(want))
            .map(ToString::to_string)
            .collect()
    }

    /// Whether it is left alone for a while, because it did nothing but fail.
    pub fn rests(&self) -> bool {
        self.loaded.profile().rests()
    }
}

/// One file of the directory.
#[derive(Clone, Default)]
pub struct File {
    /// What runs of it.
    pub live: Option<Live>,
    /// Why the file, as it is now, does not.
    pub refused: Option<Arc<Refusal>>,
}

/// Everything that is loaded.
#[derive(Clone, Default)]
pub struct Plugins {
    /// Adapters by name.
    pub adapters: BTreeMap<PluginName, Arc<Adapter>>,
    /// Policies, in the order of their files.
    pub policies: Vec<Arc<Policy>>,
    /// Exporters, in the order of their files.
    pub exporters: Vec<Arc<Exporter>>,
    /// Counts the sets that there were before.
    pub generation: u64,
    files: BTreeMap<String, File>,
}

impl Plugins {
    /// The files, in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(name, file)| (name.as_str(), file))
    }

    /// The names of the exporters, in the order of their files.
    pub fn exporter_names(&self) -> Vec<PluginName> {
        let exporters = self.exporters.iter();
        exporters.map(|exporter| exporter.name.clone()).collect()
    }

    /// The exporter of this name.
    pub fn exporter(&self, name: &PluginName) -> Option<&Arc<Exporter>> {
        self.exporters
            .iter()
            .find(|exporter| exporter.name == *name)
    }

    /// SHA-256 of what runs under this name and of its settings, or of its having none.
    pub fn outline(&self, name: &PluginName) -> Option<[u8; 32]> {
        let mut live = self.files.values().filter_map(|file| file.live.as_ref());
        live.find(|live| live.name == *name).map(Live::outline)
    }

    pub(super) fn file(&self, file: &str) -> Option<&File> {
        self.files.get(file)
    }

    /// Which other file runs under this name.
    pub(super) fn holder(&self, name: &PluginName, but: &str) -> Option<&str> {
        self.files()
            .find(|(file, of)| *file != but && of.live.as_ref().is_some_and(|l| l.name == *name))
            .map(|(file, _)| file)
    }

    /// The next set: with this file as it is now, or without it.
    pub(super) fn with(&self, name: &str, file: Option<File>) -> Self {
        let mut files = self.files.clone();
        match file {
            Some(file) => files.insert(name.to_owned(), file),
            None => files.remove(name),
        };
        let mut next = Self {
            generation: self.generation + 1,
            ..Self::default()
        };
        for live in files.values().filter_map(|file| file.live.as_ref()) {
            match &live.loaded {
                Loaded::Adapter(one) => {
                    next.adapters.insert(live.name.clone(), Arc::clone(one));
                }
                Loaded::Policy(one) => next.policies.push(Arc::clone(one)),
                Loaded::Exporter(one) => next.exporters.push(Arc::clone(one)),
            }
        }
        next.files = files;
        next
    }
}

/// SHA-256, in hexadecimal digits: how a component is told from all others.
pub fn digest(component: &[u8]) -> String {
    hex(&Sha256::digest(component))
}
