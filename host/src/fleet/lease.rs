//! Leases: one holder at a time among all who ask in the same place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

use super::engine::Holder;
use super::link::jitter;
use super::news::News;
use super::{Away, Heard, Hearing, Topic};

/// The first pause between two tries to get a lease, and the longest: whoever gives one back also says so.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Who knows which lease is whose.
#[async_trait]
pub(super) trait Grants: Send + Sync {
    /// Gives a lease to a holder, for the first time or again. False: it is somebody else's.
    async fn grant(&self, name: &[u8], holder: Holder, lives: Duration) -> Result<bool, Away>;

    /// Ends a lease, if it is this holder's, and tells those who wait for it.
    async fn release(&self, name: &[u8], holder: Holder);
}

/// Leases of one place. Clones are the same place.
#[derive(Clone)]
pub struct Leases {
    /// `None`: nobody but this process asks.
    grants: Option<Arc<dyn Grants>>,
    turns: Arc<Turns>,
    news: Arc<News>,
}

impl Leases {
    pub(super) fn new(grants: Option<Arc<dyn Grants>>, news: Arc<News>) -> Self {
        Self {
            grants,
            turns: Arc::default(),
            news,
        }
    }

    /// Whether nobody but this process asks for them: then nothing is ever [`Away`].
    pub fn are_alone(&self) -> bool {
        self.grants.is_none()
    }

    /// Waits for a lease. `lives`: how long after the holder's death somebody else gets it, some seconds or
    /// more; a holder that lives keeps it for as long as it wants.
    ///
    /// # Errors
    /// [`Away`]; also when the leases go away while one waits.
    pub async fn lease(&self, name: &[u8], lives: Duration) -> Result<Lease, Away> {
        let mut turn = self.turns.wait(name).await;
        let Some(grants) = &self.grants else {
            return Ok(Lease::alone(turn));
        };
        // Before the first try, or else what is given back right after it would not be heard.
        let mut given_back = self.news.hear(Topic::Leases);
        let mut pause = PAUSES.0;
        loop {
            turn = match Lease::shared(grants, turn, name, lives).await? {
                Asked::Granted(lease) => return Ok(lease),
                Asked::Taken(turn) => turn,
            };
            let paused = tokio::time::sleep(jitter(pause));
            tokio::select! {
                () = paused => {}
                () = heard_of(&mut given_back, name) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Like [`Leases::lease`], without waiting: `None` when somebody else has it.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn try_lease(&self, name: &[u8], lives: Duration) -> Result<Option<Lease>, Away> {
        let Some(turn) = self.turns.try_now(name) else {
            return Ok(None);
        };
        let Some(grants) = &self.grants else {
            return Ok(Some(Lease::alone(turn)));
        };
        Ok(match Lease::shared(grants, turn, name, lives).await? {
            Asked::Granted(lease) => Some(lease),
            Asked::Taken(_) => None,
        })
    }
}

/// Waits until somebody has given back a lease of this name, or may have.
async fn heard_of(given_back: &mut Hearing, name: &[u8]) {
    loop {
        match given_back.next().await {
            Heard::Said(said) if said != name => {}
            _ => return,
        }
    }
}

/// Names by which tasks of this process wait for one another, so that at most one of them asks the engine.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<Vec<u8>, Weak<Turn<()>>>>);

impl Turns {
    fn of(&self, name: &[u8]) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        // A name of which nobody has a turn any more is forgotten when another one comes.
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(name.to_vec(), Arc::downgrade(&turn));
        turn
    }

    /// Waits for its turn; first come, first served.
    async fn wait(&self, name: &[u8]) -> OwnedMutexGuard<()> {
        self.of(name).lock_owned().await
    }

    /// A turn, if nobody has it now.
    fn try_now(&self, name: &[u8]) -> Option<OwnedMutexGuard<()>> {
        self.of(name).try_lock_owned().ok()
    }
}

/// Held by one at a time, until it is dropped. It is renewed as long as it is held, and
/// ends by itself when the holder cannot do that any more.
#[derive(Debug)]
pub struct Lease(Held);

#[derive(Debug)]
enum Held {
    /// In this process.
    Here { _turn: OwnedMutexGuard<()> },
    /// With others. A task keeps it, and has the turn, until the lease is dropped.
    Shared {
        until: watch::Receiver<Instant>,
        _drop: oneshot::Sender<()>,
    },
}

impl Lease {
    fn alone(turn: OwnedMutexGuard<()>) -> Self {
        Self(Held::Here { _turn: turn })
    }

    /// Asks for a lease once. Whoever does not wait for the answer does not keep the lease.
    async fn shared(
        grants: &Arc<dyn Grants>,
        turn: OwnedMutexGuard<()>,
        name: &[u8],
        lives: Duration,
    ) -> Result<Asked, Away> {
        let (until, held) = watch::channel(Instant::now());
        let (drop, dropped) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let lease = Self(Held::Shared {
            until: held,
            _drop: drop,
        });
        let keeping = Keeping {
            grants: Arc::clone(grants),
            name: name.to_vec(),
            holder: Holder::now_v7(),
            lives,
            until,
        };
        tokio::spawn(async move {
            let answered = match keeping.grant().await {
                Ok(true) => answer.send(Ok(Asked::Granted(lease))),
                // The turn goes back to who waits for it.
                Ok(false) => return std::mem::drop(answer.send(Ok(Asked::Taken(turn)))),
                Err(Away) => {
                    let _ = answer.send(Err(Away));
                    // It may have been granted all the same.
                    return keeping.release().await;
                }
            };
            // Who has gone away has dropped the lease.
            std::mem::drop(answered);
            keeping.keep(dropped).await;
            // Now, and not before, the next one in this process can get it.
            std::mem::drop(turn);
        });
        answered.await.unwrap_or(Err(Away))
    }

    /// Whether nobody else can have it now. To be asked before something that must not happen twice: a
    /// holder that could not renew its lease in time has lost it.
    pub fn is_held(&self) -> bool {
        match &self.0 {
            Held::Here { .. } => true,
            Held::Shared { until, .. } => *until.borrow() > Instant::now(),
        }
    }
}

/// What became of asking for a lease.
enum Asked {
    Granted(Lease),
    /// It is somebody else's. The turn is given back.
    Taken(OwnedMutexGuard<()>),
}

struct Keeping {
    grants: Arc<dyn Grants>,
    name: Vec<u8>,
    holder: Holder,
    lives: Duration,
    until: watch::Sender<Instant>,
}

impl Keeping {
    /// Asks for it, for the first time or again.
    async fn grant(&self) -> Result<bool, Away> {
        let asked = Instant::now();
        let granted = self.grants.grant(&self.name, self.holder, self.lives);
        let granted = granted.await?;
        let until = if granted { asked + self.lives } else { asked };
        self.until.send_replace(until);
        Ok(granted)
    }

    /// Renews it until it is dropped, then ends it.
    async fn keep(self, mut dropped: oneshot::Receiver<()>) {
        let mut pause = self.lives / 3;
        loop {
            tokio::select! {
                _ = &mut dropped => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.grant().await {
                Ok(true) => self.lives / 3,
                Ok(false) => {
                    warn!("a lease was lost to another instance before it was given back");
                    let _ = dropped.await;
                    return;
                }
                // Its end is not far.
                Err(Away) => self.lives / 10,
            };
        }
        self.release().await;
    }

    async fn release(&self) {
        self.grants.release(&self.name, self.holder).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_that_nobody_uses_are_forgotten() {
        let turns = Turns::default();
        let first = turns.wait(b"a").await;
        assert!(turns.try_now(b"a").is_none());
        let other = turns.try_now(b"b").expect("another one's");
        assert_eq!(turns.0.lock().expect("a lock").len(), 2);
        drop((first, other));
        let again = turns.try_now(b"a").expect("free again");
        assert_eq!(turns.0.lock().expect("a lock").len(), 1);
        drop(again);
    }
}
