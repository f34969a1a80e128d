//! What a backend offers, found out by one gateway for all of a fleet.
//!
//! Whoever finds that a backend is due takes a lease, looks whether somebody was faster, asks, and lays on
//! a shelf what came of it: a small finding, and beside it the definitions, which the others fetch only
//! when they do not have them yet. Both are sealed, and bound to the backend and to how it was asked, so
//! that nobody takes what another version, another adapter or a stranger has laid there. Whatever keeps
//! gateways from sharing, each asks by itself, like one alone.
//!
//! Knows nothing of what is done with it: definitions are reviewed by everybody who takes them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::warn;
use uuid::Uuid;

use crate::fleet::{Away, Fleet, Heard, Hearing, InstanceId, Lease, Shelf, Topic};
use crate::plugin::model::Catalog as Discovered;
use crate::seal::{Purpose, Sealer};
use crate::types::{BackendId, hex};

/// Largest text of definitions that is shared, in bytes.
const MOST: usize = 4 * 1024 * 1024;
/// What sealing adds at most, in bytes.
const SEAL: usize = 1_024;
/// How soon after the death of who asks somebody else may.
const LEASE: Duration = Duration::from_secs(5);
/// How far the clocks of two gateways may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// What it takes to share.
#[derive(Clone)]
pub struct Sharing {
    /// With whom.
    pub fleet: Fleet,
    /// Seals what lies on the shelf.
    pub sealer: Arc<Sealer>,
}

/// What came of asking a backend, as it lies on the shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Finding {
    id: Uuid,
    by: InstanceId,
    /// When, in milliseconds since 1970.
    at: u64,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    /// The digest of the definitions, which lie under it.
    Found(String),
    /// It did not answer, and why.
    Failed {
        reason: String,
        /// So many times in a row, whoever asked.
        times: u32,
    },
}

/// What somebody else found out.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) what: What,
    /// How long ago.
    pub(super) age: Duration,
}

#[derive(Debug)]
pub(super) enum What {
    /// Definitions.
    Found(Box<Discovered>),
    /// The same definitions as the last time.
    Same,
    /// Nothing; so many times in a row, whoever asked.
    Failed { reason: String, times: u32 },
}

/// What is shared of one backend.
pub(super) struct Shared {
    sharing: Sharing,
    backend: BackendId,
    every: Duration,
    hearing: Hearing,
    /// Where it lies: the backend, and how it is asked.
    place: String,
    /// What was taken or laid there last.
    last: Option<Uuid>,
    /// What came of it. `None`: here something else was found out since, which could not be laid there.
    known: Option<Outcome>,
    /// It was said that there is too much to share.
    said: bool,
}

impl Shared {
    pub(super) fn new(sharing: Sharing, backend: &BackendId, every: Duration) -> Self {
        Self {
            hearing: sharing.fleet.hear(Topic::Catalog),
            sharing,
            backend: backend.clone(),
            every,
            place: String::new(),
            last: None,
            known: None,
            said: false,
        }
    }

    /// From here on the backend is asked like this. What was found otherwise does not count.
    pub(super) fn asked_like(&mut self, outlines: &[[u8; 32]]) {
        // Another version may understand the same answer in another way.
        let hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
        let hash = outlines
            .iter()
            .fold(hash, |hash, outline| hash.chain_update(outline));
        let place = format!("{}/{}", self.backend, hex(&hash.finalize()[..16]));
        if place != self.place {
            self.place = place;
            (self.last, self.known) = (None, None);
        }
    }

    /// What somebody has found out since the last time. `again`: the definitions are wanted, whether they
    /// are the same or not.
    pub(super) async fn newer(&mut self, again: bool) -> Result<Option<Taken>, Away> {
        let Some(finding) = self.finding().await? else {
            return Ok(None);
        };
        let known = self.known.as_ref();
        // Of a failure there is nothing more to have, and of what is no longer true neither.
        let again = again && matches!(finding.outcome, Outcome::Found(_)) && known.is_some();
        if self.last == Some(finding.id) && !again {
            return Ok(None);
        }
        let age = since(finding.at);
        if age > self.every + LEEWAY {
            return Ok(None);
        }
        let what = match &finding.outcome {
            Outcome::Found(_) if !again && known == Some(&finding.outcome) => What::Same,
            Outcome::Found(digest) => match self.definitions(digest).await? {
                Some(found) => What::Found(Box::new(found)),
                None => return Ok(None),
            },
            Outcome::Failed { reason, times } => What::Failed {
                reason: reason.clone(),
                times: *times,
            },
        };
        (self.last, self.known) = (Some(finding.id), Some(finding.outcome));
        Ok(Some(Taken { what, age }))
    }

    /// The right to ask. `None`: somebody is asking.
    pub(super) async fn turn(&self) -> Result<Option<Lease>, Away> {
        let name = format!("catalog/{}", self.place);
        self.sharing.fleet.try_lease(name.as_bytes(), LEASE).await
    }

    /// Lays down what came of asking, and tells the others. Who cannot reach them has done without.
    pub(super) async fn lay(&mut self, found: Result<&Discovered, &str>, times: u32) {
        self.known = None;
        let outcome = match found {
            Ok(found) => match self.lay_definitions(found).await {
                Some(digest) => Outcome::Found(digest),
                None => return,
            },
            Err(reason) => Outcome::Failed {
                reason: reason.chars().take(300).collect(),
                times,
            },
        };
        let finding = Finding {
            id: Uuid::now_v7(),
            by: self.sharing.fleet.instance(),
            at: now(),
            outcome,
        };
        let key = self.place.clone();
        let Some(text) = self.sealed(&key, serde_json::to_vec(&finding).ok()) else {
            return;
        };
        let fleet = &self.sharing.fleet;
        // Everybody asks again before it ends.
        let lives = self.every + LEASE;
        if fleet
            .put(Shelf::Catalog, key.as_bytes(), text, lives)
            .await
            .is_ok()
        {
            fleet.tell(Topic::Catalog, key.into_bytes());
            (self.last, self.known) = (Some(finding.id), Some(finding.outcome));
        }
    }

    /// Waits until somebody may have found something out.
    pub(super) async fn heard(&mut self) {
        loop {
            match self.hearing.next().await {
                Heard::Gap => return,
                Heard::Said(place) if place == self.place.as_bytes() => return,
                Heard::Said(_) => {}
            }
        }
    }

    async fn finding(&self) -> Result<Option<Finding>, Away> {
        let opened = self.opened(&self.place, SEAL).await?;
        Ok(opened.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    async fn definitions(&self, digest: &str) -> Result<Option<Discovered>, Away> {
        let key = format!("{}/{digest}", self.place);
        let opened = self.opened(&key, MOST).await?;
        Ok(opened.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Lays definitions down, and tells under which digest.
    async fn lay_definitions(&mut self, found: &Discovered) -> Option<String> {
        let text = serde_json::to_vec(found).ok()?;
        if text.len() > MOST {
            if !std::mem::replace(&mut self.said, true) {
                warn!(backend.id = %self.backend, "what it offers is too much to be shared ({} bytes, of {MOST}): each gateway asks it by itself", text.len());
            }
            return None;
        }
        let digest = hex(&Sha256::digest(&text));
        let key = format!("{}/{digest}", self.place);
        let sealed = self.sealed(&key, Some(text))?;
        // Longer than any finding that names them.
        let lives = self.every * 2 + LEEWAY;
        let laid = self
            .sharing
            .fleet
            .put(Shelf::Catalog, key.as_bytes(), sealed, lives);
        laid.await.ok().map(|()| digest)
    }

    fn sealed(&self, key: &str, text: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let binding = [key.as_bytes()];
        let sealed = (self.sharing.sealer).seal_bytes(Purpose::Catalog, &binding, &text?);
        sealed.ok()
    }

    /// What lies there, if it is one of ours and no larger than this.
    async fn opened(&self, key: &str, most: usize) -> Result<Option<Vec<u8>>, Away> {
        let sealed = self
            .sharing
            .fleet
            .get(Shelf::Catalog, key.as_bytes())
            .await?;
        let sealed = sealed.filter(|sealed| sealed.len() <= most + SEAL);
        let opened = sealed.and_then(|sealed| {
            let binding = [key.as_bytes()];
            let opened = self
                .sharing
                .sealer
                .open_bytes(Purpose::Catalog, &binding, sealed);
            opened.ok()
        });
        Ok(opened.map(|opened| opened.to_vec()))
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or_default())
}

/// How long ago that was; nothing that is said to lie ahead has a time.
fn since(millis: u64) -> Duration {
    Duration::from_millis(now().saturating_sub(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Key256;

    const EVERY: Duration = Duration::from_secs(60);

    /// Two gateways, as far as shelves and leases go.
    fn shared(fleet: &Fleet, key: u8) -> Shared {
        let sealer = Sealer::new(&[Key256::new([key; 32])]).expect("a key");
        let sharing = Sharing {
            fleet: fleet.clone(),
            sealer: Arc::new(sealer),
        };
        let mut shared = Shared::new(sharing, &"docs".parse().expect("an id"), EVERY);
        shared.asked_like(&[[1; 32], [2; 32]]);
        shared
    }

    fn definitions(learned: &str) -> Discovered {
        Discovered {
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            resource_templates: Vec::new(),
            skipped: Vec::new(),
            learned: Some(learned.to_owned()),
        }
    }

    async fn taken(shared: &mut Shared, again: bool) -> Option<What> {
        let taken = shared.newer(again).await.expect("never away");
        taken.map(|taken| taken.what)
    }

    #[tokio::test]
    async fn what_one_finds_the_other_takes_once() {
        let fleet = Fleet::alone();
        let (mut a, mut b) = (shared(&fleet, 1), shared(&fleet, 1));
        assert!(taken(&mut b, false).await.is_none());
        a.lay(Ok(&definitions("x")), 0).await;
        assert!(taken(&mut a, false).await.is_none(), "its own");
        let found = taken(&mut b, false).await;
        assert!(matches!(found, Some(What::Found(d)) if d.learned.as_deref() == Some("x")));
        assert!(taken(&mut b, false).await.is_none());
        // To be reviewed again.
        assert!(matches!(taken(&mut b, true).await, Some(What::Found(_))));
        a.lay(Ok(&definitions("x")), 0).await;
        assert!(matches!(taken(&mut b, false).await, Some(What::Same)));
        a.lay(Err("it is down"), 2).await;
        let failed = taken(&mut b, true).await;
        assert!(matches!(failed, Some(What::Failed { times: 2, .. })));
        assert!(
            taken(&mut b, true).await.is_none(),
            "there is nothing to review"
        );
        // The same as before the failure, which was taken: all of it.
        a.lay(Ok(&definitions("x")), 0).await;
        assert!(matches!(taken(&mut b, false).await, Some(What::Found(_))));
    }

    #[tokio::test]
    async fn who_asks_in_another_way_or_has_another_key_takes_nothing() {
        let fleet = Fleet::alone();
        let (mut a, mut other_key) = (shared(&fleet, 1), shared(&fleet, 2));
        let mut other_adapter = shared(&fleet, 1);
        other_adapter.asked_like(&[[3; 32], [2; 32]]);
        a.lay(Ok(&definitions("x")), 0).await;
        assert!(taken(&mut other_key, false).await.is_none());
        assert!(taken(&mut other_adapter, false).await.is_none());
        other_adapter.asked_like(&[[1; 32], [2; 32]]);
        assert!(taken(&mut other_adapter, false).await.is_some());
        // One at a time asks in the same way.
        let turn = a.turn().await.expect("never away");
        assert!(other_adapter.turn().await.expect("never away").is_none());
        drop(turn);
        assert!(other_adapter.turn().await.expect("never away").is_some());
    }

    #[tokio::test]
    async fn what_is_too_much_is_not_shared() {
        let fleet = Fleet::alone();
        let (mut a, mut b) = (shared(&fleet, 1), shared(&fleet, 1));
        a.lay(Ok(&definitions(&"x".repeat(MOST))), 0).await;
        assert!(taken(&mut b, false).await.is_none());
    }

    #[tokio::test]
    async fn what_is_the_same_as_before_is_taken_by_who_has_found_something_else_meanwhile() {
        let fleet = Fleet::alone();
        let (mut a, mut b) = (shared(&fleet, 1), shared(&fleet, 1));
        a.lay(Ok(&definitions("x")), 0).await;
        assert!(matches!(taken(&mut b, false).await, Some(What::Found(_))));
        // It cannot be laid down, for whatever reason. What lies there is older.
        b.lay(Ok(&definitions(&"y".repeat(MOST))), 0).await;
        assert!(taken(&mut b, false).await.is_none());
        assert!(taken(&mut b, true).await.is_none());
        a.lay(Ok(&definitions("x")), 0).await;
        assert!(matches!(taken(&mut b, false).await, Some(What::Found(_))));
    }
}
