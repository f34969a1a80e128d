//! Tokens that were verified, found again by their hash: the signature of a token is the most
//! expensive thing in a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use sha2::{Digest, Sha256};

use super::TokenError;
use super::jwt::Verified;
use crate::fleet::{Fleet, Topic};
use crate::measure::Counter;
use crate::types::Secret;

/// Bytes that the cache may hold, roughly.
const CAPACITY: u64 = 32 * 1024 * 1024;
/// Of a token that is not good any more the other gateways are told once in this time,
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// as long as there are no more than so many.
const TOLD: u64 = 10_000;
/// What an entry takes besides what its token says.
const OVERHEAD: u32 = 512;

/// SHA-256 of a token, and the generation of the keys it was verified with: what was verified
/// with other keys is not found again.
type Key = ([u8; 32], u64);

/// A verified token.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) verified: Arc<Verified>,
    /// How long it may be used without being verified again.
    pub(super) holds: Duration,
    /// Length of the token: what it says is no longer.
    pub(super) size: usize,
}

struct Until;

impl Expiry<Key, Entry> for Until {
    fn expire_after_create(&self, _: &Key, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.holds)
    }
}

/// The cache. Bounded by size; what is used least goes first.
pub(super) struct Tokens {
    cache: Cache<Key, Entry>,
    /// Tokens of which the other gateways were told.
    told: Cache<[u8; 32], ()>,
    asked: Counter,
    verified: Counter,
}

impl Tokens {
    pub(super) fn new() -> Self {
        let weight = |_: &Key, entry: &Entry| {
            OVERHEAD.saturating_add(u32::try_from(entry.size).unwrap_or(u32::MAX))
        };
        Self {
            cache: Cache::builder()
                .max_capacity(CAPACITY)
                .weigher(weight)
                .expire_after(Until)
                .build(),
            told: Cache::builder()
                .max_capacity(TOLD)
                .time_to_live(TELL_AGAIN)
                .build(),
            asked: Counter::default(),
            verified: Counter::default(),
        }
    }

    /// How often a token was asked for, and how often it had to be verified for that.
    pub(super) fn used(&self) -> (u64, u64) {
        (self.asked.get(), self.verified.get())
    }

    /// How many there are, roughly.
    pub(super) fn len(&self) -> u64 {
        self.cache.entry_count()
    }

    /// The issuer says that a token is not good any more: the other gateways forget it, too.
    pub(super) async fn inactive(&self, token: &Secret, fleet: &Fleet) {
        if fleet.is_alone() {
            return;
        }
        let hash: [u8; 32] = Sha256::digest(token.reveal()).into();
        // Whoever presents it again and again makes no more of it.
        let entry = self.told.entry(hash).or_insert(()).await;
        if entry.is_fresh() {
            fleet.tell(Topic::Tokens, hash.to_vec());
        }
    }

    /// A token is to be verified anew.
    pub(super) async fn forget(&self, hash: [u8; 32], generation: u64) {
        self.cache.invalidate(&(hash, generation)).await;
    }

    /// The entry of a token, or what `verify` makes of it. However many ask for one token at a
    /// time, it is verified once.
    pub(super) async fn get_or<F>(
        &self,
        token: &Secret,
        generation: u64,
        verify: impl FnOnce() -> F,
    ) -> Result<Arc<Verified>, TokenError>
    where
        F: Future<Output = Result<Entry, TokenError>>,
    {
        let key = (Sha256::digest(token.reveal()).into(), generation);
        self.asked.one();
        // By far the most requests end here, and carry nothing of what verifying takes.
        if let Some(entry) = self.cache.get(&key).await {
            return Ok(entry.verified);
        }
        let verify = Box::pin(async {
            self.verified.one();
            verify().await
        });
        match Box::pin(self.cache.try_get_with(key, verify)).await {
            Ok(entry) => Ok(entry.verified),
            Err(error) => Err(*error),
        }
    }
}
