//! How often may a caller call? (`CORTEX_RATE_LIMIT_PER_MINUTE`.)
//!
//! By token, so that one user of a shared address does not stop the others. What comes without a
//! good token counts for its address, so that guessing is slow. The dev bypass is not counted.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tracing::warn;

use super::auth::{Authenticated, Caller};
use super::{Gateway, Refusal};

/// Callers that are told apart at one time. More share one allowance: a flood of addresses must
/// not fill the memory.
const MAX_CALLERS: usize = 100_000;
/// How often callers that have been quiet are forgotten.
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
    /// A token, by `jti`.
    Token(String),
    /// An address, or the network that one customer has (an IPv6 /64).
    Address(IpAddr),
    /// Whoever there is no more room for.
    Crowd,
}

/// Counts requests.
pub struct Limits(Option<DefaultKeyedRateLimiter<Key>>);

impl Limits {
    /// So many requests a minute for each caller; `None`: as many as they want.
    pub fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self(per_minute.map(|n| RateLimiter::keyed(Quota::per_minute(n))))
    }

    /// Forgets callers that have been quiet, for ever.
    pub async fn keep_small(&self) {
        let Some(limiter) = &self.0 else { return };
        loop {
            tokio::time::sleep(TIDY).await;
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// Counts one request.
    fn count(&self, key: Key) -> Result<(), Refusal> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        let key = if limiter.len() < MAX_CALLERS {
            key
        } else {
            Key::Crowd
        };
        limiter.check_key(&key).map_err(|early| {
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
    peer: IpAddr,
    authenticated: Result<Authenticated, Refusal>,
) -> Result<WithinRate, Refusal> {
    match authenticated {
        Ok(request) => {
            if let Some(token) = request.caller().token_id() {
                gw.limits.count(Key::Token(token.to_owned()))?;
            }
            Ok(WithinRate(request))
        }
        Err(
            refusal @ (Refusal::Unauthenticated
            | Refusal::InvalidToken(_)
            | Refusal::BadAuthorization(_)),
        ) => {
            gw.limits
                .count(Key::Address(network(peer)))
                .inspect_err(|_| {
                    warn!(peer.network = %network(peer), "too many requests without a good token");
                })?;
            Err(refusal)
        }
        Err(refusal) => Err(refusal),
    }
}

/// Counts a further message that came with a request.
pub(super) fn once_more(gw: &Gateway, caller: &Caller) -> Result<(), Refusal> {
    match caller.token_id() {
        Some(token) => gw.limits.count(Key::Token(token.to_owned())),
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
        Key::Token(name.to_owned())
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
