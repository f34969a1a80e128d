//! Who calls: people with access tokens of their own, signed with RS256 as most issuers do.
//!
//! Tokens are made before anything is measured: to sign one costs more than most calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use cortex_test_issuer::{Alg, FakeIssuer, Key};
use hyper::header::HeaderValue;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::exchange::SCOPES;

/// How long tokens are good: longer than any run.
const LIFE_SECONDS: u64 = 12 * 3600;
/// Callers that nobody has seen are numbered from here on.
const UNSEEN: u64 = 1_000_000;

/// Whose calls they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Each connection is another person's; all have the same scopes.
    OnePerConnection,
    /// So many people in turn, each with a set of scopes of their own.
    InTurn(u64),
    /// Each call is made by somebody whom the gateway has never seen, with scopes of their own.
    Unseen,
}

struct Issuer {
    server: FakeIssuer,
    key: Key,
}

static ISSUER: OnceCell<Arc<Issuer>> = OnceCell::const_new();

async fn get() -> Arc<Issuer> {
    let start = async || {
        let key = Key::generate(Alg::Rs256, "bench");
        let server = FakeIssuer::start(&[&key]).await;
        Arc::new(Issuer { server, key })
    };
    Arc::clone(ISSUER.get_or_init(start).await)
}

/// Who gives out their tokens.
pub(crate) async fn issuer() -> String {
    get().await.server.url()
}

impl Callers {
    /// `Authorization` of everybody who makes `calls` calls on so many connections.
    pub(crate) async fn tokens(self, connections: u16, calls: u64) -> Result<Arc<[HeaderValue]>> {
        static NEXT: AtomicU64 = AtomicU64::new(UNSEEN);
        let (first, count) = match self {
            Self::OnePerConnection => (0, connections.into()),
            Self::InTurn(people) => (0, people),
            Self::Unseen => (NEXT.fetch_add(calls, Ordering::Relaxed), calls),
        };
        tokens(first, count, self != Self::OnePerConnection).await
    }

    /// Which of [`tokens`](Self::tokens) call `n` on connection `connection` has.
    pub(crate) fn of(self, connection: usize, n: u64) -> usize {
        match self {
            Self::OnePerConnection => connection,
            Self::InTurn(people) => usize::try_from(n % people).unwrap_or_default(),
            Self::Unseen => usize::try_from(n).unwrap_or(usize::MAX),
        }
    }
}

/// Tokens of callers `first` and so many after them, all with the scopes of what is measured. `differing`:
/// each has one scope more, which nobody else has.
pub(crate) async fn tokens(first: u64, count: u64, differing: bool) -> Result<Arc<[HeaderValue]>> {
    let issuer = get().await;
    let parts = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let signing: Vec<_> = (0..parts)
        .map(|part| {
            let issuer = Arc::clone(&issuer);
            let numbers = first + count * part / parts..first + count * (part + 1) / parts;
            tokio::task::spawn_blocking(move || {
                numbers
                    .map(|n| issuer.authorization(n, differing))
                    .collect::<Result<Vec<_>>>()
            })
        })
        .collect();
    let mut all = Vec::new();
    for part in signing {
        all.extend(part.await.context("signing tokens")??);
    }
    Ok(all.into())
}

impl Issuer {
    fn authorization(&self, n: u64, differing: bool) -> Result<HeaderValue> {
        let mut claims = self.server.claims();
        let now = claims["iat"].as_u64().unwrap_or_default();
        claims["exp"] = json!(now + LIFE_SECONDS);
        claims["sub"] = json!(format!("user-{n}"));
        claims["email"] = json!(format!("user-{n}@example.org"));
        claims["scope"] = json!(if differing {
            format!("{SCOPES} mcp:caller:{n}")
        } else {
            SCOPES.to_owned()
        });
        let token = self.key.token(&claims);
        HeaderValue::from_str(&format!("Bearer {token}")).context("a token fits into a header")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_unseen_twice() {
        let one = Callers::Unseen.tokens(2, 5).await.unwrap();
        let other = Callers::Unseen.tokens(2, 5).await.unwrap();
        assert_eq!((one.len(), other.len()), (5, 5));
        assert!(one.iter().all(|token| !other.contains(token)));
        let places: Vec<usize> = (0..4).map(|n| Callers::InTurn(3).of(9, n)).collect();
        assert_eq!(places, [0, 1, 2, 0]);
        assert_eq!(Callers::OnePerConnection.of(9, 4), 9);
    }
}
