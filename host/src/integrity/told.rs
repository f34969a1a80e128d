//! Approvals of other gateways of the fleet: what one has approved is approved at all of them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::baseline::{Baseline, Keeper, Known};
use super::{Integrity, State};
use crate::fleet::Topic;
use crate::types::BackendId;

/// News that come close together are looked up once.
const TOGETHER: Duration = Duration::from_millis(50);
/// How soon what could not be read is read again.
const AGAIN: Duration = Duration::from_secs(5);

impl Integrity {
    /// Counts changes that others made or an operator: what was reviewed before one may turn out otherwise after it.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Follows what other gateways approve, for ever; `review` is told of each backend of which something
    /// else is approved now. With nobody to share with it only waits.
    pub async fn keep_told(&self, review: impl Fn(&BackendId)) {
        if self.fleet.is_alone() {
            return std::future::pending().await;
        }
        let mut news = self.fleet.hear(Topic::Approvals);
        loop {
            // The first time: what was approved since the start.
            match self.look_up().await {
                Ok(differing) => differing.iter().for_each(&review),
                Err(why) => {
                    warn!("what other gateways have approved cannot be read: {why}");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
            // Whatever is said, it is looked up.
            news.next().await;
            tokio::time::sleep(TOGETHER).await;
            while tokio::time::timeout(Duration::ZERO, news.next())
                .await
                .is_ok()
            {}
        }
    }

    /// Reads what is approved now, and tells of which backends it is something else than before.
    pub(super) async fn look_up(&self) -> Result<BTreeSet<BackendId>, super::IntegrityError> {
        let mut state = self.state.lock().await;
        if state.broken.is_some() {
            return Ok(BTreeSet::new());
        }
        let mut next = state.keeper.load().await?;
        if !matches!(state.keeper, Keeper::Store(_)) {
            remember_seen(&state.baseline, &mut next);
        }
        let differing = state.baseline.differing(&next);
        state.baseline = next;
        if !differing.is_empty() {
            let backends: Vec<&str> = differing.iter().map(BackendId::as_str).collect();
            info!(
                "another gateway has approved tool definitions of {}",
                backends.join(", ")
            );
            self.changed();
        }
        Ok(differing)
    }
}

/// What was only seen is in no file: it is remembered here.
fn remember_seen(before: &Baseline, next: &mut Baseline) {
    for (backend, tool, known) in before.changes() {
        let approved = next
            .get(backend, tool)
            .and_then(|known| known.approved.clone());
        let same = |seen| known.pending.as_ref().map(|pending| pending.is(seen));
        if approved.as_ref().and_then(same) != Some(true) {
            let pending = known.pending.clone();
            next.put(backend, tool.to_owned(), Known { approved, pending });
        }
    }
}

impl State {
    /// What another gateway has kept meanwhile.
    pub(super) fn learn(&mut self, newer: Vec<(BackendId, String, Option<Known>)>) {
        for (backend, tool, known) in newer {
            match known {
                Some(known) => self.baseline.put(&backend, tool, known),
                None => self.baseline.remove(&backend, &tool),
            }
        }
    }
}
