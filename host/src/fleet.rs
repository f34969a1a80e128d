//! The gateways that share one store, and how they tell each other things.
//!
//! Concerns see four things: *news* ([`Fleet::tell`]) that reaches whoever is there, once at most; *shelves* of
//! values that end ([`Fleet::put`]), where whoever missed the news looks; *leases* ([`Fleet::lease`]), for what
//! only one should do at a time; and *allowances* ([`Fleet::spend`]) that all share. What must not be lost is
//! none of this: it is in the store, and so are the leases of what must never be done twice
//! ([`Fleet::leases_of`]).
//!
//! Everything may fail with [`Away`], and then at once. The concern decides what that means: a list may be asked
//! for again, a token must not be renewed twice. Knows nothing of what the news and the values mean.

mod alone;
mod engine;
mod figures;
mod gcra;
mod kept;
mod lease;
mod link;
mod look;
mod members;
mod news;
mod postgres;
mod redis;
mod shared;
mod words;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::config::FleetConfig;
use crate::postgres::BadDatabase;
use crate::store::Store;
use alone::Alone;
use engine::Engine;
pub use figures::{Figures, Operation};
use gcra::Rule;
pub use gcra::Spent;
use kept::KeptLeases;
use lease::Grants;
pub use lease::{Lease, Leases};
pub use look::{LookedAtPostgres, LookedAtRedis, look_at_postgres, look_at_redis};
use news::News;
pub use news::{Heard, Hearing};
use postgres::Postgres;
use redis::Redis;
use shared::Shared;
pub use words::{InstanceId, Shelf, Topic};

/// Largest piece of news, in bytes. What is larger goes on a shelf, and the news says where.
pub const MAX_NEWS: usize = 64 * 1024;
/// Largest value on a shelf, in bytes.
pub const MAX_VALUE: usize = 16 * 1024 * 1024;
/// How long a gateway that starts waits for what it shares, before it goes on without.
const START: Duration = Duration::from_secs(3);

/// What the gateways share cannot be used now: it cannot be reached, or has no room. It was said in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what the gateways share cannot be used now")]
pub struct Away;

/// This instance's place among the gateways that share one store. Clones are the same place.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    instance: InstanceId,
    kind: Kind,
    news: Arc<News>,
    leases: Leases,
    /// Keeps the connection to the engine.
    _link: Option<AbortOnDropHandle<()>>,
}

enum Kind {
    Alone(Alone),
    Shared(Arc<Shared>),
}

impl Fleet {
    /// One gateway by itself: everything is kept in this process, and nothing is ever away.
    pub fn alone() -> Self {
        let news = Arc::new(News::new());
        Self(Arc::new(Inner {
            instance: InstanceId::new(),
            kind: Kind::Alone(Alone::new()),
            leases: Leases::new(None, Arc::clone(&news)),
            news,
            _link: None,
        }))
    }

    /// Joins the others. Waits some seconds for the engine; where it does not come, everything is [`Away`] until
    /// it does.
    ///
    /// # Errors
    /// [`BadDatabase`], when nothing could ever be connected to.
    pub async fn join(config: &FleetConfig) -> Result<Self, BadDatabase> {
        let engine: Box<dyn Engine> = match config {
            FleetConfig::Alone => return Ok(Self::alone()),
            FleetConfig::Redis { url, prefix } => Box::new(Redis::at(url, prefix)),
            FleetConfig::Postgres(url) => Box::new(Postgres::at(url)?),
        };
        Ok(Self::share(engine).await)
    }

    async fn share(engine: Box<dyn Engine>) -> Self {
        let (instance, news) = (InstanceId::new(), Arc::new(News::new()));
        let (shared, outgoing) = Shared::new(engine, instance);
        let shared = Arc::new(shared);
        let ready = watch::Sender::new(false);
        let mut is_ready = ready.subscribe();
        let link = link::keep(Arc::clone(&shared), Arc::clone(&news), outgoing, ready);
        let link = AbortOnDropHandle::new(tokio::spawn(link));
        // Late is not never: the log was told.
        let _ = tokio::time::timeout(START, is_ready.wait_for(|ready| *ready)).await;
        if shared.is_here() {
            let others = shared.members.count() - 1;
            info!(
                fleet.instance = %instance,
                "shares with other gateways through {}: {others} at the moment",
                shared.engine.name()
            );
        }
        let grants: Arc<dyn Grants> = Arc::<Shared>::clone(&shared);
        Self(Arc::new(Inner {
            instance,
            kind: Kind::Shared(shared),
            leases: Leases::new(Some(grants), Arc::clone(&news)),
            news,
            _link: Some(link),
        }))
    }

    /// Says good-bye: the others need not find out. Nothing is to be asked after it.
    pub async fn leave(&self) {
        let Kind::Shared(shared) = &self.0.kind else {
            return;
        };
        shared.leaves.store(true, Ordering::Release);
        let own = self.0.instance;
        let took = self.take(Shelf::Instances, own.as_bytes()).await;
        if took.is_ok() {
            let _ = link::publish(shared, Topic::Instances, Some(&[])).await;
        }
    }

    /// This instance's id: new at each start.
    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// Whether there is nobody to share with: then nothing here leaves the process.
    pub fn is_alone(&self) -> bool {
        matches!(self.0.kind, Kind::Alone(_))
    }

    /// What the engine is called: `Redis`, for example.
    pub fn engine(&self) -> &'static str {
        match &self.0.kind {
            Kind::Alone(_) => "memory",
            Kind::Shared(shared) => shared.engine.name(),
        }
    }

    /// Whether the engine can be used, as far as is known.
    pub fn is_connected(&self) -> bool {
        match &self.0.kind {
            Kind::Alone(_) => true,
            Kind::Shared(shared) => shared.is_here(),
        }
    }

    /// How many instances are alive, this one included, as far as is known. At least 1.
    pub fn instances(&self) -> usize {
        match &self.0.kind {
            Kind::Alone(_) => 1,
            Kind::Shared(shared) => shared.members.count(),
        }
    }

    /// Whether an instance is alive, as far as is known: one that was killed is for some seconds more. True
    /// for itself.
    pub fn is_alive(&self, instance: InstanceId) -> bool {
        match &self.0.kind {
            Kind::Alone(_) => instance == self.0.instance,
            Kind::Shared(shared) => shared.members.is_alive(instance),
        }
    }

    /// What is counted; `None` where nothing is shared.
    pub fn figures(&self) -> Option<&Figures> {
        match &self.0.kind {
            Kind::Alone(_) => None,
            Kind::Shared(shared) => Some(&shared.figures),
        }
    }

    /// Tells the *other* instances something, if they can be reached now. Never waits. Whatever cannot be told,
    /// such as what is larger than [`MAX_NEWS`], is a gap for those who listen, as soon as they can be reached.
    pub fn tell(&self, topic: Topic, text: Vec<u8>) {
        match &self.0.kind {
            Kind::Alone(_) => {}
            Kind::Shared(shared) => shared.tell(topic, text),
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
        match &self.0.kind {
            Kind::Alone(alone) => alone.put(shelf, key, value, lives),
            Kind::Shared(shared) => {
                let put = shared.engine.put(shelf, key, &value, lives);
                shared.ask(Operation::Put, put).await
            }
        }
    }

    /// What is on a shelf.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Away> {
        match &self.0.kind {
            Kind::Alone(alone) => Ok(alone.get(shelf, key)),
            Kind::Shared(shared) => {
                let get = shared.engine.get(shelf, key);
                shared.ask(Operation::Get, get).await
            }
        }
    }

    /// Takes it off the shelf; of several who try, one gets it.
    ///
    /// # Errors
    /// [`Away`]; then it may be gone.
    pub async fn take(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, Away> {
        match &self.0.kind {
            Kind::Alone(alone) => Ok(alone.take(shelf, key)),
            Kind::Shared(shared) => {
                let take = shared.engine.take(shelf, key);
                shared.ask(Operation::Get, take).await
            }
        }
    }

    /// Everything on a shelf with its keys, at most `limit`, in no order.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn all(&self, shelf: Shelf, limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Away> {
        match &self.0.kind {
            Kind::Alone(alone) => Ok(alone.all(shelf, limit)),
            Kind::Shared(shared) => {
                let all = shared.engine.all(shelf, limit);
                shared.ask(Operation::All, all).await
            }
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
        match &self.0.kind {
            Kind::Alone(alone) => alone.claim(shelf, key, lives),
            Kind::Shared(shared) => {
                let claim = shared.engine.claim(shelf, key, lives);
                shared.ask(Operation::Claim, claim).await
            }
        }
    }

    /// Waits for a lease that the engine gives. `lives`: how long after the holder's death somebody else gets it,
    /// some seconds or more; a holder that lives keeps it for as long as it wants. An engine that is emptied
    /// forgets who has it: for what may happen twice then.
    ///
    /// # Errors
    /// [`Away`]; also when the engine goes away while one waits.
    pub async fn lease(&self, name: &[u8], lives: Duration) -> Result<Lease, Away> {
        self.0.leases.lease(name, lives).await
    }

    /// Like [`Fleet::lease`], without waiting: `None` when somebody else has it.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn try_lease(&self, name: &[u8], lives: Duration) -> Result<Option<Lease>, Away> {
        self.0.leases.try_lease(name, lives).await
    }

    /// Leases that are kept where the store is, for what must never happen twice to what it keeps: they are there
    /// when the store is, whatever becomes of the engine. A store that nobody shares needs none.
    pub fn leases_of(&self, store: &Store) -> Leases {
        let grants = store.is_shared().then(|| {
            let others = match &self.0.kind {
                Kind::Alone(_) => None,
                Kind::Shared(shared) => Some(Arc::clone(shared)),
            };
            let kept: Arc<dyn Grants> = Arc::new(KeptLeases::new(store.clone(), others));
            kept
        });
        Leases::new(grants, Arc::clone(&self.0.news))
    }

    /// Counts one request against an allowance that the fleet shares: so many a minute, all of them at once if
    /// need be, and then one by one.
    ///
    /// # Errors
    /// [`Away`]; then it may have been counted.
    pub async fn spend(&self, key: &[u8], per_minute: NonZeroU32) -> Result<Spent, Away> {
        match &self.0.kind {
            Kind::Alone(alone) => alone.spend(key, per_minute),
            Kind::Shared(shared) => {
                let spend = shared.engine.spend(key, Rule::per_minute(per_minute));
                shared.ask(Operation::Spend, spend).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
