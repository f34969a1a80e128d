//! Callers whom the gateway has never seen: each with a token and a set of scopes of its own.

use anyhow::{Context as _, Result};
use cortex_test_issuer::{Alg, FakeIssuer, Key};
use hyper::header::HeaderValue;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::exchange::SCOPE;

struct Callers {
    issuer: FakeIssuer,
    key: Key,
}

static CALLERS: OnceCell<Callers> = OnceCell::const_new();

async fn callers() -> &'static Callers {
    let start = async || {
        let key = Key::generate(Alg::EdDsa, "bench");
        let issuer = FakeIssuer::start(&[&key]).await;
        Callers { issuer, key }
    };
    CALLERS.get_or_init(start).await
}

/// Who gives out their tokens.
pub(crate) async fn issuer() -> String {
    callers().await.issuer.url()
}

/// `Authorization` of caller number `n`: the scope of the tools, and one that nobody else has.
pub(crate) async fn authorization(n: u64) -> Result<HeaderValue> {
    let callers = callers().await;
    let mut claims = callers.issuer.claims();
    claims["scope"] = json!(format!("{SCOPE} mcp:caller:{n}"));
    let token = callers.key.token(&claims);
    HeaderValue::from_str(&format!("Bearer {token}")).context("a token fits into a header")
}
