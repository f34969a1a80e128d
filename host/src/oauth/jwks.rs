//! The issuer's keys: fetched, kept, replaced when they are old or lack one that is asked for.
//!
//! Requests never wait for keys that are there. An outage of the issuer is not ours: the keys
//! at hand stay usable until they are too old to be believed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};
use url::Url;

use super::fetch::{self, FetchError, shown};
use super::jwk::KeySet;
use super::metadata::{self, DiscoveryError};
use crate::measure::Counter;
use crate::outbound::Client;

/// How long things may take and last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Age after which keys are fetched again, unless the issuer says how long they may be kept.
    pub(super) fresh: Duration,
    /// Age after which keys are not believed any more.
    pub(super) usable: Duration,
    /// Shortest time between two fetches that requests ask for.
    pub(super) pause: Duration,
    /// Time after which a failed fetch is tried again in the background.
    pub(super) retry: Duration,
}

impl Times {
    pub(super) const DEFAULT: Self = Self {
        fresh: Duration::from_secs(10 * 60),
        usable: Duration::from_secs(24 * 60 * 60),
        pause: Duration::from_secs(10),
        retry: Duration::from_secs(10),
    };
    /// What the issuer may ask for with `max-age`.
    const FRESH_LEAST: Duration = Duration::from_secs(60);
    const FRESH_MOST: Duration = Duration::from_secs(60 * 60);
}

/// Why a fetch brought no keys.
#[derive(Debug, Error)]
enum NoKeys {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("`{0}` answers no JSON Web Key Set")]
    NotASet(String),
}

/// Keys at hand.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) keys: KeySet,
    /// Another number when the keys are others.
    pub(super) generation: u64,
    fetched: Instant,
    fresh: Duration,
}

/// The issuer's keys.
pub(super) struct Keys {
    client: Client,
    issuer: String,
    url: Option<Url>,
    times: Times,
    held: ArcSwapOption<Held>,
    fetching: Mutex<Fetching>,
    fetched: Counter,
    failed: Counter,
}

#[derive(Default)]
struct Fetching {
    /// When the last fetch ended.
    ended: Option<Instant>,
    /// When a request last asked for one.
    asked: Option<Instant>,
    /// Whether the last one failed, which has been said.
    failing: bool,
}

impl Keys {
    pub(super) fn new(client: Client, issuer: &str, url: Option<Url>, times: Times) -> Self {
        Self {
            client,
            issuer: issuer.to_owned(),
            url,
            times,
            held: ArcSwapOption::empty(),
            fetching: Mutex::default(),
            fetched: Counter::default(),
            failed: Counter::default(),
        }
    }

    /// The keys at hand, if there are any that can still be believed.
    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held
            .load_full()
            .filter(|held| held.fetched.elapsed() < self.times.usable)
    }

    /// How old the keys at hand are, whether they can be believed or not.
    pub(super) fn age(&self) -> Option<Duration> {
        self.held.load().as_ref().map(|held| held.fetched.elapsed())
    }

    /// How often they were fetched, and how often that failed.
    pub(super) fn fetches(&self) -> (u64, u64) {
        (self.fetched.get(), self.failed.get())
    }

    /// The keys, fetched if need be.
    pub(super) async fn get(self: &Arc<Self>) -> Option<Arc<Held>> {
        match self.held() {
            Some(held) => Some(held),
            None => self.fetch_for_request().await,
        }
    }

    /// Fetches because a request needs a key that is not there; not more often than
    /// [`Times::pause`], and once for all that wait.
    pub(super) async fn fetch_for_request(self: &Arc<Self>) -> Option<Arc<Held>> {
        let keys = Arc::clone(self);
        // A task of its own: a client that goes away must not take with it what others wait for.
        let fetch = tokio::spawn(async move { keys.fetch_unless_done().await });
        if let Err(error) = fetch.await {
            error!(%error, "a fetch of the issuer's keys broke off");
        }
        self.held()
    }

    async fn fetch_unless_done(&self) {
        let came = Instant::now();
        let mut fetching = self.fetching.lock().await;
        let done_meanwhile = fetching.ended.is_some_and(|ended| ended >= came);
        let too_soon = fetching
            .asked
            .is_some_and(|asked| asked.elapsed() < self.times.pause);
        if !(done_meanwhile || too_soon) {
            fetching.asked = Some(came);
            self.fetch(&mut fetching).await;
        }
    }

    /// Keeps the keys fresh, for ever.
    pub(super) async fn keep_fresh(&self) {
        loop {
            let mut fetching = self.fetching.lock().await;
            // A request may have been faster.
            let wait = match self.left() {
                Some(left) if !fetching.failing => left,
                _ => {
                    self.fetch(&mut fetching).await;
                    if fetching.failing {
                        self.times.retry
                    } else {
                        self.left().unwrap_or_default()
                    }
                }
            };
            drop(fetching);
            sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    /// How long the keys at hand are still fresh.
    fn left(&self) -> Option<Duration> {
        let held = self.held.load();
        let held = held.as_ref()?;
        held.fresh.checked_sub(held.fetched.elapsed())
    }

    async fn fetch(&self, fetching: &mut Fetching) {
        let fetched = self.try_fetch().await;
        fetching.ended = Some(Instant::now());
        match fetched {
            Ok((keys, max_age)) => {
                self.fetched.one();
                self.keep(keys, max_age);
                if fetching.failing {
                    info!(issuer = self.issuer, "the issuer's keys are there again");
                }
                fetching.failing = false;
            }
            Err(why) => {
                self.failed.one();
                // Once for each outage; the background tries again and again.
                if !fetching.failing {
                    self.say(&why);
                }
                fetching.failing = true;
            }
        }
    }

    async fn try_fetch(&self) -> Result<(KeySet, Option<u64>), NoKeys> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => metadata::discover(&self.client, &self.issuer).await?,
        };
        let document = fetch::document(&self.client, &url).await?;
        let keys =
            KeySet::parse(&document.body).ok_or_else(|| NoKeys::NotASet(shown(url.as_str())))?;
        Ok((keys, document.max_age))
    }

    fn keep(&self, keys: KeySet, max_age: Option<u64>) {
        let before = self.held.load_full();
        let same = before
            .as_ref()
            .is_some_and(|before| before.keys.digest == keys.digest);
        if keys.is_empty() && !same {
            // The issuer's word, and maybe its last: believed all the same.
            error!(
                issuer = self.issuer,
                "the issuer publishes no key of use: every access token is refused; hint: RSA of 2048 bits or more, \
                 P-256, P-384 and Ed25519 are of use"
            );
        }
        let fresh = match max_age.map(Duration::from_secs) {
            Some(age) => age.clamp(Times::FRESH_LEAST, Times::FRESH_MOST),
            None => self.times.fresh,
        };
        let last = before.map_or(0, |before| before.generation);
        self.held.store(Some(Arc::new(Held {
            keys,
            generation: if same { last } else { last + 1 },
            fetched: Instant::now(),
            fresh,
        })));
    }

    fn say(&self, why: &NoKeys) {
        match self.held() {
            Some(held) => {
                let left = self.times.usable.saturating_sub(held.fetched.elapsed());
                warn!(
                    issuer = self.issuer,
                    "the issuer's keys cannot be fetched: {why}; the keys at hand are used for {} more minutes at most",
                    left.as_secs() / 60
                );
            }
            None => error!(
                issuer = self.issuer,
                "no access token can be verified: the issuer's keys cannot be fetched: {why}; hint: check OAUTH_ISSUER \
                 and OAUTH_JWKS_URL, and that this machine reaches them"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
