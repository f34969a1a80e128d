//! How often may a caller call? (`CORTEX_RATE_LIMIT_PER_MINUTE`.)
//!
//! By token, so that one user of a shared address does not stop the others. What comes without a
//! good token counts for its address, so that trying is slow; a good token is let in whatever its
//! address did, or else anybody could keep the neighbours out. The dev bypass is not counted.
//!
//! A gateway by itself counts in memory. One of several counts where they all count ([`Fleet::spend`]); while that
//! is away, each has its share of the allowance. Nobody else counts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::auth::{Authenticated, Caller};
use super::{Gateway, Refusal};
use crate::fleet::{Away, Fleet, Spent};
use crate::measure::Counter;

/// Callers that are told apart at one time. More share one allowance: a flood of addresses must
/// not fill the memory.
const MAX_CALLERS: usize = 100_000;
/// How many times a token's allowance an address has: many people share one, and each begins
/// without a token.
const PEOPLE: u32 = 5;
/// How often callers that have been quiet are forgotten, and the most often that the log tells of
/// an address.
const TIDY: Duration = Duration::from_secs(30);

/// A request within its caller's allowance.
pub(super) struct WithinRate(Authenticated);

impl WithinRate {
    pub(super) fn into_inner(self) -> Authenticated {
        self.0
    }
}

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// A token, by the beginning of the hash of its `jti`, which may be of any length.
    Token([u8; 16]),
    /// An address, or the network that one customer has (an IPv6 /64).
    Address(IpAddr),
    /// Whoever there is no more room for.
    Crowd,
}

impl Key {
    fn token(id: &str) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(id)[..16]);
        Self::Token(key)
    }

    /// Its name among all instances. No two keys have the same.
    fn name(&self) -> Vec<u8> {
        match self {
            Self::Token(id) => [b"t", id.as_slice()].concat(),
            Self::Address(IpAddr::V4(v4)) => [b"4", v4.octets().as_slice()].concat(),
            Self::Address(IpAddr::V6(v6)) => [b"6", v6.octets().as_slice()].concat(),
            Self::Crowd => b"crowd".to_vec(),
        }
    }
}

/// Counts requests. Tokens apart from addresses: a flood of the one costs the other nothing.
pub struct Limits {
    counting: Counting,
    /// Whether the log was told of an address lately.
    told: AtomicBool,
    refused: [Counter; 2],
}

enum Counting {
    /// As many as they want.
    Nobody,
    /// In this process.
    Here(Allowances),
    /// Where all instances count.
    Fleet(Together),
}

struct Allowances {
    tokens: DefaultKeyedRateLimiter<Key>,
    addresses: DefaultKeyedRateLimiter<Key>,
}

/// Counts with other instances.
struct Together {
    fleet: Fleet,
    tokens: NonZeroU32,
    addresses: NonZeroU32,
    /// Who came too early, and until when that stays so: nobody has to be asked again before. Bounded.
    early: Mutex<HashMap<Key, Instant>>,
    /// Counts while the fleet is away.
    share: Fleet,
    /// Requests that were counted there.
    shared_out: Counter,
}

impl Limits {
    /// So many requests a minute for each token, and more for each address; `None`: as many as
    /// they want.
    pub fn new(per_minute: Option<NonZeroU32>, fleet: &Fleet) -> Self {
        let many = |n| RateLimiter::keyed(Quota::per_minute(n));
        let people = NonZeroU32::MIN.saturating_add(PEOPLE - 1);
        let counting = match per_minute {
            None => Counting::Nobody,
            Some(n) if fleet.is_alone() => Counting::Here(Allowances {
                tokens: many(n),
                addresses: many(n.saturating_mul(people)),
            }),
            Some(n) => Counting::Fleet(Together {
                fleet: fleet.clone(),
                tokens: n,
                addresses: n.saturating_mul(people),
                early: Mutex::default(),
                share: Fleet::alone(),
                shared_out: Counter::default(),
            }),
        };
        Self {
            counting,
            told: AtomicBool::new(false),
            refused: Default::default(),
        }
    }

    /// Forgets callers that have been quiet, for ever.
    pub async fn keep_small(&self) {
        loop {
            tokio::time::sleep(TIDY).await;
            match &self.counting {
                Counting::Nobody => return,
                Counting::Here(Allowances { tokens, addresses }) => {
                    for limiter in [tokens, addresses] {
                        limiter.retain_recent();
                        limiter.shrink_to_fit();
                    }
                }
                Counting::Fleet(together) => together.forget(Instant::now()),
            }
            self.told.store(false, Ordering::Relaxed);
        }
    }

    /// Requests that were counted by this instance alone, because what it shares with others was away.
    pub fn shared_out(&self) -> u64 {
        match &self.counting {
            Counting::Fleet(together) => together.shared_out.get(),
            _ => 0,
        }
    }

    /// Requests that were too many: with a good token, and from an address without one.
    pub fn refused(&self) -> [(&'static str, u64); 2] {
        let [token, address] = &self.refused;
        [("token", token.get()), ("address", address.get())]
    }

    /// Counts one request of whoever this is.
    async fn count(&self, key: Key) -> Result<(), Refusal> {
        let [token, address] = &self.refused;
        let refused = match key {
            Key::Token(_) => token,
            Key::Address(_) | Key::Crowd => address,
        };
        let counted = match &self.counting {
            Counting::Nobody => Ok(()),
            Counting::Here(allowances) => allowances.count(key),
            Counting::Fleet(together) => together.count(key).await,
        };
        counted.map_err(|wait| {
            refused.one();
            Refusal::TooOften {
                // The whole second after the wait.
                seconds: wait.as_secs() + 1,
            }
        })
    }
}

impl Allowances {
    /// The error: how long until the next one fits.
    fn count(&self, key: Key) -> Result<(), Duration> {
        let limiter = match key {
            Key::Token(_) => &self.tokens,
            Key::Address(_) | Key::Crowd => &self.addresses,
        };
        let key = if limiter.len() < MAX_CALLERS {
            key
        } else {
            Key::Crowd
        };
        let counted = limiter.check_key(&key);
        counted.map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }
}

impl Together {
    /// The error: how long until the next one fits.
    async fn count(&self, key: Key) -> Result<(), Duration> {
        let per_minute = match key {
            Key::Token(_) => self.tokens,
            Key::Address(_) | Key::Crowd => self.addresses,
        };
        // A time that is too early for a caller stays too early, whoever else counts.
        if let Some(wait) = self.early(&key, Instant::now()) {
            return Err(wait);
        }
        match self.fleet.spend(&key.name(), per_minute).await {
            Ok(Spent::Allowed) => Ok(()),
            Ok(Spent::Wait(wait)) => {
                self.remember(key, wait);
                Err(wait)
            }
            Err(Away) => self.count_here(key, per_minute).await,
        }
    }

    /// Counts against this instance's share, as if each of them had as many callers.
    async fn count_here(&self, key: Key, per_minute: NonZeroU32) -> Result<(), Duration> {
        self.shared_out.one();
        let instances = u32::try_from(self.fleet.instances()).unwrap_or(u32::MAX);
        let share = NonZeroU32::new(per_minute.get() / instances).unwrap_or(NonZeroU32::MIN);
        let mut spent = self.share.spend(&key.name(), share).await;
        if spent == Err(Away) {
            // There is no room for one more: whoever has none is one caller.
            spent = self.share.spend(&Key::Crowd.name(), share).await;
        }
        match spent {
            Ok(Spent::Allowed) => Ok(()),
            Ok(Spent::Wait(wait)) => Err(wait),
            Err(Away) => Err(Duration::ZERO),
        }
    }

    fn early(&self, key: &Key, now: Instant) -> Option<Duration> {
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let until = early.get(key)?;
        until
            .checked_duration_since(now)
            .filter(|wait| !wait.is_zero())
    }

    fn remember(&self, key: Key, wait: Duration) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        if early.len() < MAX_CALLERS || early.contains_key(&key) {
            early.insert(key, Instant::now() + wait);
        }
    }

    fn forget(&self, now: Instant) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.retain(|_, until| *until > now);
        early.shrink_to_fit();
    }
}

/// Lets a request pass whose caller has not called too often, and counts it. What was refused for
/// want of a good token stays refused, and counts for where it came from.
pub(super) async fn check(
    gw: &Gateway,
    address: IpAddr,
    authenticated: Result<Authenticated, Refusal>,
) -> Result<WithinRate, Refusal> {
    let known = authenticated.as_ref().map(Authenticated::caller);
    if let Err(Refusal::Unauthenticated | Refusal::InvalidToken(_) | Refusal::BadAuthorization(_)) =
        known
    {
        count(gw, address, None).await?;
    } else if let Ok(caller) = known {
        count(gw, address, Some(caller)).await?;
    }
    authenticated.map(WithinRate)
}

/// Counts one request: of a caller, or, where that is nobody, for where it came from.
pub(super) async fn count(
    gw: &Gateway,
    address: IpAddr,
    caller: Option<&Caller>,
) -> Result<(), Refusal> {
    if let Some(caller) = caller {
        return once_more(gw, caller).await;
    }
    let network = network(address);
    let counted = gw.limits.count(Key::Address(network)).await;
    counted.inspect_err(|_| {
        // Once in a while: whoever sends a flood must not write one into the log, too.
        if !gw.limits.told.swap(true, Ordering::Relaxed) {
            warn!(client.network = %network, "too many requests without a good token");
        }
    })
}

/// Counts a further message that came with a request.
pub(super) async fn once_more(gw: &Gateway, caller: &Caller) -> Result<(), Refusal> {
    match caller.token_id() {
        Some(token) => gw.limits.count(Key::token(token)).await,
        None => Ok(()),
    }
}

/// What one customer has: an IPv4 address, or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(per_minute: u32) -> Limits {
        Limits::new(NonZeroU32::new(per_minute), &Fleet::alone())
    }

    fn token(name: &str) -> Key {
        Key::token(name)
    }

    #[tokio::test]
    async fn each_caller_has_an_allowance_of_its_own() {
        let limits = alone(2);
        for _ in 0..2 {
            assert!(limits.count(token("a")).await.is_ok());
        }
        let refused = limits.count(token("a")).await;
        assert!(
            matches!(refused, Err(Refusal::TooOften { seconds: 1..=61 })),
            "{refused:?}"
        );
        assert!(limits.count(token("b")).await.is_ok());
        let off = alone(0);
        for _ in 0..1_000 {
            assert!(off.count(token("a")).await.is_ok());
        }
    }

    #[tokio::test]
    async fn a_flood_of_callers_shares_what_is_left() {
        let limits = alone(1);
        for n in 0..MAX_CALLERS {
            assert!(limits.count(token(&n.to_string())).await.is_ok());
        }
        assert!(limits.count(token("one more")).await.is_ok());
        assert!(limits.count(token("and another")).await.is_err());
    }

    #[tokio::test]
    async fn an_address_has_room_for_several_people() {
        let limits = alone(2);
        let address = || Key::Address("192.0.2.1".parse().expect("an address"));
        for _ in 0..2 * PEOPLE {
            assert!(limits.count(address()).await.is_ok());
        }
        assert!(limits.count(address()).await.is_err());
        assert!(limits.count(token("a")).await.is_ok());
    }

    #[test]
    fn no_two_callers_have_one_name() {
        let address = |text: &str| Key::Address(text.parse().expect("an address"));
        let keys = [
            token("a"),
            token("b"),
            address("192.0.2.1"),
            address("2001:db8::"),
            Key::Crowd,
        ];
        let names: std::collections::BTreeSet<_> = keys.iter().map(Key::name).collect();
        assert_eq!(names.len(), keys.len());
    }

    #[test]
    fn who_came_too_early_is_remembered_for_so_long() {
        let together = Together {
            fleet: Fleet::alone(),
            tokens: NonZeroU32::MIN,
            addresses: NonZeroU32::MIN,
            early: Mutex::default(),
            share: Fleet::alone(),
            shared_out: Counter::default(),
        };
        let minute = Duration::from_secs(60);
        together.remember(token("a"), minute);
        let now = Instant::now();
        assert!(
            together
                .early(&token("a"), now)
                .is_some_and(|wait| wait <= minute)
        );
        assert_eq!(together.early(&token("a"), now + minute), None);
        assert_eq!(together.early(&token("b"), now), None);
        together.forget(now + minute);
        assert!(together.early.lock().expect("a lock").is_empty());
    }

    #[test]
    fn an_ipv6_customer_is_one_caller() {
        let same = |a: &str, b: &str| {
            network(a.parse().expect("an address")) == network(b.parse().expect("an address"))
        };
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
