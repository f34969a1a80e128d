//! How far each exporter has come.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::store::{Batch, Scan, Space, Store, StoreError, Table};
use crate::types::PluginName;

const POSITIONS: Table<Kept> = Table::new(Space::AuditPositions, 1);

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    next: u64,
    missed: u64,
}

/// How one exporter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The number of the first record that it has not taken.
    pub next: u64,
    /// Whether it is loaded.
    pub present: bool,
    /// Since when it takes nothing.
    pub failing_since: Option<OffsetDateTime>,
    /// Records that were gone before it could take them.
    pub missed: u64,
}

/// How all exporters stand that were ever there.
pub(super) struct Positions {
    store: Store,
    table: Mutex<BTreeMap<String, Standing>>,
}

impl Positions {
    /// Reads those that are kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let scan = Scan {
            limit: usize::MAX,
            ..Scan::default()
        };
        let found = POSITIONS.scan(store, scan).await?;
        let table = found.into_iter().map(|(name, found)| {
            let standing = Standing {
                next: found.value.next,
                present: false,
                failing_since: None,
                missed: found.value.missed,
            };
            (String::from_utf8_lossy(&name).into_owned(), standing)
        });
        Ok(Self {
            store: store.clone(),
            table: Mutex::new(table.collect()),
        })
    }

    /// These exporters are there, and no others. Those that were never there begin at the oldest
    /// record, if there was never any exporter, else where the trail is. Returns those that were not
    /// there before this.
    pub(super) fn are_there(
        &self,
        names: &[PluginName],
        oldest: u64,
        next: u64,
    ) -> Vec<PluginName> {
        let mut table = self.lock();
        let begin = if table.is_empty() { oldest } else { next };
        for standing in table.values_mut() {
            standing.present = false;
        }
        let mut new = Vec::new();
        for name in names {
            let standing = table.entry(name.to_string());
            let standing = standing.or_insert_with(|| {
                new.push(name.clone());
                Standing {
                    next: begin,
                    present: true,
                    failing_since: None,
                    missed: 0,
                }
            });
            standing.present = true;
        }
        for standing in table.values_mut().filter(|standing| !standing.present) {
            standing.failing_since = None;
        }
        new
    }

    /// Where an exporter goes on.
    pub(super) fn next_of(&self, name: &PluginName) -> u64 {
        self.lock()
            .get(name.as_str())
            .map_or(1, |standing| standing.next)
    }

    /// An exporter goes on there.
    pub(super) fn move_to(&self, name: &PluginName, next: u64, missed: u64) {
        if let Some(standing) = self.lock().get_mut(name.as_str()) {
            standing.next = next;
            standing.missed += missed;
        }
    }

    /// Whether an exporter takes nothing.
    pub(super) fn failing(&self, name: &PluginName, failing: bool) {
        if let Some(standing) = self.lock().get_mut(name.as_str()) {
            standing.failing_since = match (failing, standing.failing_since) {
                (false, _) => None,
                (true, None) => Some(OffsetDateTime::now_utc()),
                (true, since) => since,
            };
        }
    }

    /// Keeps where an exporter goes on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn save(&self, name: &PluginName) -> Result<(), StoreError> {
        let Some(standing) = self.lock().get(name.as_str()).cloned() else {
            return Ok(());
        };
        let kept = Kept {
            next: standing.next,
            missed: standing.missed,
        };
        let mut batch = Batch::default();
        POSITIONS.put(&mut batch, name.as_str().as_bytes(), &kept)?;
        self.store.commit(batch).await.map(drop)
    }

    /// The first record that is still waited for: by the slowest exporter that is there; when none
    /// is, by one that continues where the furthest was; when there was never any, all are.
    pub(super) fn floor(&self) -> u64 {
        let table = self.lock();
        let present = table.values().filter(|standing| standing.present);
        match present.map(|standing| standing.next).min() {
            Some(slowest) => slowest,
            None => table.values().map(|one| one.next).max().unwrap_or(0),
        }
    }

    /// How all of them stand.
    pub(super) fn all(&self) -> BTreeMap<String, Standing> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
