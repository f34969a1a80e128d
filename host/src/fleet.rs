//! The gateways that share one store, and how they tell each other things.
//!
//! Concerns see four things: *news* ([`Fleet::tell`]) that reaches whoever is there, once at most; *shelves* of
//! values that end ([`Fleet::put`]), where whoever missed the news looks; *leases* ([`Fleet::lease`]), for what
//! only one may do at a time; and *allowances* ([`Fleet::spend`]) that all share. What must not be lost is
//! none of this: it is in the store.
//!
//! Everything may fail with [`Away`], and then at once. The concern decides what that means: a list may be asked
//! for again, a token must not be renewed twice. Knows nothing of what the news and the values mean.

mod alone;
mod gcra;
mod lease;
mod news;
mod words;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use alone::Alone;
pub use gcra::Spent;
pub use lease::Lease;
use lease::Turns;
use news::News;
pub use news::{Heard, Hearing};
pub use words::{InstanceId, Shelf, Topic};

/// Largest piece of news, in bytes. What is larger goes on a shelf, and the news says where.
pub const MAX_NEWS: usize = 64 * 1024;
/// Largest value on a shelf, in bytes.
pub const MAX_VALUE: usize = 16 * 1024 * 1024;

/// What the gateways share cannot be used now: it cannot be reached, or has no room. It was said in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what the gateways share cannot be used now")]
pub struct Away;

/// This instance's place among the gateways that share one store. Clones are the same place.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    instance: InstanceId,
    engine: Engine,
    news: News,
    turns: Turns,
}

enum Engine {
    Alone(Alone),
}

impl Fleet {
    /// One gateway by itself: everything is kept in this process, and nothing is ever away.
    pub fn alone() -> Self {
        Self(Arc::new(Inner {
            instance: InstanceId::new(),
            engine: Engine::Alone(Alone::new()),
            news: News::new(),
            turns: Turns::default(),
        }))
    }

    /// This instance's id: new at each start.
    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// Whether there is nobody to share with: then nothing here leaves the process.
    pub fn is_alone(&self) -> bool {
        matches!(self.0.engine, Engine::Alone(_))
    }

    /// How many instances are alive, this one included, as far as is known. At least 1.
    pub fn instances(&self) -> usize {
        1
    }

    /// Whether an instance is alive, as far as is known: one that was killed is for some seconds more. True
    /// for itself.
    pub fn is_alive(&self, instance: InstanceId) -> bool {
        instance == self.0.instance
    }

    /// Tells the *other* instances something, if they can be reached now. Never waits. What is larger than
    /// [`MAX_NEWS`] is not told: the others hear of a gap.
    pub fn tell(&self, topic: Topic, text: Vec<u8>) {
        let _ = (topic, text);
        match &self.0.engine {
            Engine::Alone(_) => {}
        }
    }

    /// What other instances tell about a topic from now on.
    pub fn hear(&self, topic: Topic) -> Hearing {
        self.0.news.hear(topic)
    }

    /// Puts a value on a shelf until it ends; in the place of what was there by this key.
    ///
    /// # Errors
    /// [`Away`]; also for what is larger than [`MAX_VALUE`].
    pub async fn put(
        &self,
        shelf: Shelf,
        key: &[u8],
        value: Vec<u8>,
        lives: Duration,
    ) -> Result<(), Away> {
        if value.len() > MAX_VALUE {
            return Err(Away);
        }
        match &self.0.engine {
            Engine::Alone(alone) => alone.put(shelf, key, value, lives),
        }
    }

    /// What is on a shelf.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Away> {
        match &self.0.engine {
            Engine::Alone(alone) => Ok(alone.get(shelf, key)),
        }
    }

    /// Takes it off the shelf; of several who try, one gets it.
    ///
    /// # Errors
    /// [`Away`]; then it may be gone.
    pub async fn take(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Away> {
        match &self.0.engine {
            Engine::Alone(alone) => Ok(alone.take(shelf, key)),
        }
    }

    /// Everything on a shelf with its keys, at most `limit`, in no order.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn all(&self, shelf: Shelf, limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Away> {
        match &self.0.engine {
            Engine::Alone(alone) => Ok(alone.all(shelf, limit)),
        }
    }

    /// Takes it off the shelf, whatever it is.
    ///
    /// # Errors
    /// [`Away`]; then it may be gone.
    pub async fn remove(&self, shelf: Shelf, key: &[u8]) -> Result<(), Away> {
        self.take(shelf, key).await.map(|_| ())
    }

    /// True for the first who claims this key, until the claim ends. Claims lie apart from values: none of the
    /// functions above sees them, and nobody can give one back.
    ///
    /// # Errors
    /// [`Away`]; then it may be claimed.
    pub async fn claim(&self, shelf: Shelf, key: &[u8], lives: Duration) -> Result<bool, Away> {
        match &self.0.engine {
            Engine::Alone(alone) => alone.claim(shelf, key, lives),
        }
    }

    /// Waits for a lease. `lives`: how long after the holder's death somebody else gets it, some seconds or
    /// more; a holder that lives keeps it for as long as it wants.
    ///
    /// # Errors
    /// [`Away`]; also when the engine goes away while one waits.
    pub async fn lease(&self, name: &[u8], lives: Duration) -> Result<Lease, Away> {
        let _ = lives;
        let turn = self.0.turns.wait(name).await;
        match &self.0.engine {
            Engine::Alone(_) => Ok(Lease::alone(turn)),
        }
    }

    /// Like [`Fleet::lease`], without waiting: `None` when somebody else has it.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn try_lease(&self, name: &[u8], lives: Duration) -> Result<Option<Lease>, Away> {
        let _ = lives;
        let Some(turn) = self.0.turns.try_now(name) else {
            return Ok(None);
        };
        match &self.0.engine {
            Engine::Alone(_) => Ok(Some(Lease::alone(turn))),
        }
    }

    /// Counts one request against an allowance that the fleet shares: so many a minute, all of them at once if
    /// need be, and then one by one.
    ///
    /// # Errors
    /// [`Away`]; then it may have been counted.
    pub async fn spend(&self, key: &[u8], per_minute: NonZeroU32) -> Result<Spent, Away> {
        match &self.0.engine {
            Engine::Alone(alone) => alone.spend(key, per_minute),
        }
    }
}

#[cfg(test)]
mod tests;
