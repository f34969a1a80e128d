//! Uses that every policy has allowed, remembered by what the policies look at: whoever is the same to
//! them ([`Group`]) and uses the same entry again need not ask again. Only what was allowed is kept, and
//! only while no policy looks at arguments or the time.

use std::sync::Arc;

use moka::sync::Cache;

use super::group::{self, Group};
use crate::catalog::Entry;
use crate::plugin::Plugins;
use crate::types::Principal;

/// Uses that are remembered.
const MOST: u64 = 100_000;

/// Who may use what, while these plugins are loaded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    plugins: u64,
    /// Where the entry is. It stays there for as long as it is remembered.
    entry: usize,
    group: Group,
}

/// Uses that were allowed.
pub struct Permits(Cache<Key, Arc<Entry>>);

impl Default for Permits {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Permits {
    /// Under which key a use is remembered; `None`: it must be asked about each time.
    pub(super) fn key(plugins: &Plugins, caller: &Principal, entry: &Arc<Entry>) -> Option<Key> {
        group::decides(plugins).then(|| Key {
            plugins: plugins.generation,
            entry: Arc::as_ptr(entry).addr(),
            group: group::of(plugins, caller),
        })
    }

    /// Whether it was allowed before.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// It was allowed.
    pub(super) fn keep(&self, key: Key, entry: &Arc<Entry>) {
        self.0.insert(key, Arc::clone(entry));
    }
}
