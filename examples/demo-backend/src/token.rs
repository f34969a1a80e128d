//! Users' access tokens: JWTs, checked against the keys of the one issuer that is trusted
//! (RFC 9068 §4). The gateway has checked them already; a backend that did not would have to
//! trust whoever reaches its port.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::caller::User;
use crate::failure::Failure;

/// Largest document that is taken from the issuer.
const LARGEST_DOCUMENT: usize = 256 * 1024;
/// Longest wait for one.
const SLOWEST_ANSWER: Duration = Duration::from_secs(5);
/// How often a token with an unknown key may make us ask for keys.
const PAUSE: Duration = Duration::from_secs(5);

/// The authorization server whose tokens are accepted.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    audience: String,
    http: Client<HttpConnector, Empty<Bytes>>,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    set: Option<JwkSet>,
    asked: Option<Instant>,
}

impl Issuer {
    /// `url` as tokens spell `iss`; `audience` is what they must be for: the gateway, whose users'
    /// tokens are passed on. Plain http only: a real backend takes a client that speaks TLS.
    pub fn new(url: String, audience: String) -> Self {
        Self {
            url,
            audience,
            http: Client::builder(TokioExecutor::new()).build_http(),
            keys: Mutex::default(),
        }
    }

    /// Checks a token; the claims, and nothing else, say who the user is.
    pub(crate) async fn verify(&self, token: &str) -> Result<User, Failure> {
        let refused = Failure::TokenRefused("token not accepted");
        let Ok(header) = decode_header(token) else {
            return Err(refused);
        };
        // Other kinds of JWT are signed with the same keys (RFC 8725 §3.11).
        let kind = header.typ.as_deref().unwrap_or_default();
        if !kind.eq_ignore_ascii_case("at+jwt") {
            return Err(refused);
        }
        let Some(key) = self.key(header.kid.as_deref().unwrap_or_default()).await else {
            return Err(refused);
        };
        // The key says which algorithm it is for, never the token.
        let (Some(algorithm), Ok(decoding)) = (algorithm(&key), DecodingKey::from_jwk(&key)) else {
            return Err(refused);
        };
        let mut expected = Validation::new(algorithm);
        expected.set_issuer(&[&self.url]);
        expected.set_audience(&[&self.audience]);
        expected.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        expected.validate_nbf = true;
        match decode::<Value>(token, &decoding, &expected) {
            Ok(token) => user(&token.claims).ok_or(refused),
            Err(_) => Err(refused),
        }
    }

    /// The key of this id; asks the issuer when it is not known.
    async fn key(&self, id: &str) -> Option<Jwk> {
        {
            let mut keys = self.keys();
            let known = keys.set.as_ref().and_then(|set| set.find(id)).cloned();
            let fresh = keys.asked.is_some_and(|asked| asked.elapsed() < PAUSE);
            if known.is_some() || (fresh && keys.set.is_some()) {
                return known;
            }
            keys.asked = Some(Instant::now());
        }
        let set = self.fetch_keys().await?;
        let found = set.find(id).cloned();
        self.keys().set = Some(set);
        found
    }

    /// By the issuer's metadata (RFC 8414 §3), which must be the issuer's own.
    async fn fetch_keys(&self) -> Option<JwkSet> {
        let url = format!("{}/.well-known/oauth-authorization-server", self.url);
        let metadata: Value = self.fetch(&url).await?;
        if metadata["issuer"].as_str() != Some(&self.url) {
            return None;
        }
        self.fetch(metadata["jwks_uri"].as_str()?).await
    }

    async fn fetch<T: DeserializeOwned>(&self, url: &str) -> Option<T> {
        let request = Request::get(url).body(Empty::new()).ok()?;
        let exchange = async {
            let answer = self.http.request(request).await.ok()?;
            let body = Limited::new(answer.into_body(), LARGEST_DOCUMENT);
            Some(body.collect().await.ok()?.to_bytes())
        };
        let body = timeout(SLOWEST_ANSWER, exchange).await.ok()??;
        serde_json::from_slice(&body).ok()
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn algorithm(key: &Jwk) -> Option<Algorithm> {
    match key.common.key_algorithm? {
        KeyAlgorithm::RS256 => Some(Algorithm::RS256),
        KeyAlgorithm::PS256 => Some(Algorithm::PS256),
        KeyAlgorithm::ES256 => Some(Algorithm::ES256),
        KeyAlgorithm::ES384 => Some(Algorithm::ES384),
        KeyAlgorithm::EdDSA => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// The user whom the claims describe, if they name one.
fn user(claims: &Value) -> Option<User> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(User {
        sub: Some(text(&claims["sub"])).filter(|sub| !sub.is_empty())?,
        email: text(&claims["email"]),
        role: text(&claims["metadata"]["role"]),
        pool: text(&claims["pool"]),
        scopes: text(&claims["scope"])
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    })
}
