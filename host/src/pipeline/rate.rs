//! How often may a caller call? (`CORTEX_RATE_LIMIT_PER_MINUTE`.)
//!
//! By token, so that one user of a shared address does not stop the others. What comes without a
//! good token counts for its address, so that trying is slow; a good token is let in whatever its
//! address did, or else anybody could keep the neighbours out. The dev bypass is not counted.
//!
//! Nobody else counts: this is the one place to change when several instances share their counts.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::auth::{Authenticated, Caller};
use super::{Gateway, Refusal};
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
}

/// Counts requests. Tokens apart from addresses: a flood of the one costs the other nothing.
pub struct Limits {
    allowances: Option<Allowances>,
    /// Whether the log was told of an address lately.
    told: AtomicBool,
    refused: [Counter; 2],
}

struct Allowances {
    tokens: DefaultKeyedRateLimiter<Key>,
    addresses: DefaultKeyedRateLimiter<Key>,
}

impl Limits {
    /// So many requests a minute for each token, and more for each address; `None`: as many as
    /// they want.
    pub fn new(per_minute: Option<NonZeroU32>) -> Self {
        let many = |n| RateLimiter::keyed(Quota::per_minute(n));
        let people = NonZeroU32::MIN.saturating_add(PEOPLE - 1);
        Self {
            allowances: per_minute.map(|n| Allowances {
                tokens: many(n),
                addresses: many(n.saturating_mul(people)),
            }),
            told: AtomicBool::new(false),
            refused: Default::default(),
        }
    }

    /// Forgets callers that have been quiet, for ever.
    pub async fn keep_small(&self) {
        let Some(Allowances { tokens, addresses }) = &self.allowances else {
            return;
        };
        loop {
            tokio::time::sleep(TIDY).await;
            for limiter in [tokens, addresses] {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
            self.told.store(false, Ordering::Relaxed);
        }
    }

    /// Requests that were too many: with a good token, and from an address without one.
    pub fn refused(&self) -> [(&'static str, u64); 2] {
        let [token, address] = &self.refused;
        [("token", token.get()), ("address", address.get())]
    }

    /// Counts one request of whoever this is.
    fn count(&self, key: Key) -> Result<(), Refusal> {
        let Some(allowances) = &self.allowances else {
            return Ok(());
        };
        let [token, address] = &self.refused;
        let (limiter, refused) = match key {
            Key::Token(_) => (&allowances.tokens, token),
            Key::Address(_) | Key::Crowd => (&allowances.addresses, address),
        };
        let key = if limiter.len() < MAX_CALLERS {
            key
        } else {
            Key::Crowd
        };
        limiter.check_key(&key).map_err(|early| {
            refused.one();
            let wait = early.wait_time_from(DefaultClock::default().now());
            Refusal::TooOften {
                // The whole second after the wait.
                seconds: wait.as_secs() + 1,
            }
        })
    }
}

/// Lets a request pass whose caller has not called too often, and counts it. What was refused for
/// want of a good token stays refused, and counts for where it came from.
pub(super) fn check(
    gw: &Gateway,
    address: IpAddr,
    authenticated: Result<Authenticated, Refusal>,
) -> Result<WithinRate, Refusal> {
    let known = authenticated.as_ref().map(Authenticated::caller);
    if let Err(Refusal::Unauthenticated | Refusal::InvalidToken(_) | Refusal::BadAuthorization(_)) =
        known
    {
        count(gw, address, None)?;
    } else if let Ok(caller) = known {
        count(gw, address, Some(caller))?;
    }
    authenticated.map(WithinRate)
}

/// Counts one request: of a caller, or, where that is nobody, for where it came from.
pub(super) fn count(gw: &Gateway, address: IpAddr, caller: Option<&Caller>) -> Result<(), Refusal> {
    if let Some(caller) = caller {
        return once_more(gw, caller);
    }
    let network = network(address);
    gw.limits.count(Key::Address(network)).inspect_err(|_| {
        // Once in a while: whoever sends a flood must not write one into the log, too.
        if !gw.limits.told.swap(true, Ordering::Relaxed) {
            warn!(client.network = %network, "too many requests without a good token");
        }
    })
}

/// Counts a further message that came with a request.
pub(super) fn once_more(gw: &Gateway, caller: &Caller) -> Result<(), Refusal> {
    match caller.token_id() {
        Some(token) => gw.limits.count(Key::token(token)),
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

    fn token(name: &str) -> Key {
        Key::token(name)
    }

    #[test]
    fn each_caller_has_an_allowance_of_its_own() {
        let limits = Limits::new(NonZeroU32::new(2));
        for _ in 0..2 {
            assert!(limits.count(token("a")).is_ok());
        }
        let refused = limits.count(token("a"));
        assert!(
            matches!(refused, Err(Refusal::TooOften { seconds: 1..=61 })),
            "{refused:?}"
        );
        assert!(limits.count(token("b")).is_ok());
        let off = Limits::new(None);
        assert!((0..1_000).all(|_| off.count(token("a")).is_ok()));
    }

    #[test]
    fn a_flood_of_callers_shares_what_is_left() {
        let limits = Limits::new(NonZeroU32::new(1));
        for n in 0..MAX_CALLERS {
            assert!(limits.count(token(&n.to_string())).is_ok());
        }
        assert!(limits.count(token("one more")).is_ok());
        assert!(limits.count(token("and another")).is_err());
    }

    #[test]
    fn an_address_has_room_for_several_people() {
        let limits = Limits::new(NonZeroU32::new(2));
        let address = || Key::Address("192.0.2.1".parse().expect("an address"));
        for _ in 0..2 * PEOPLE {
            assert!(limits.count(address()).is_ok());
        }
        assert!(limits.count(address()).is_err());
        assert!(limits.count(token("a")).is_ok());
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
