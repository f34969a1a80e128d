//! The keys an issuer publishes, and which one a token must have been signed with (RFC 7517).
//!
//! A key is for one algorithm family, decided by the key and not by the token: a public key is
//! never a secret for an HMAC, and a curve is never another one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::{debug, warn};

/// Most keys that are taken from one set.
const MAX_KEYS: usize = 100;

/// Which kind of key it is; tells which algorithms it may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A key that may verify signatures.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    kind: Kind,
    /// The only algorithm it is for, if it says so.
    alg: Option<String>,
    key: DecodingKey,
}

/// A key set.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// Tells two sets apart.
    pub(super) digest: [u8; 32],
}

/// A JWK as far as it matters here (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Value>,
}

impl KeySet {
    /// Reads a JWK Set. Keys that are of no use here are left out (RFC 7517 §5). `None`: no set.
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Document { keys } = serde_json::from_slice(document).ok()?;
        let keys: Vec<Key> = keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok())
            .filter_map(usable)
            .collect();
        debug!(keys = keys.len(), "a key set was read");
        Some(Self {
            keys,
            digest: Sha256::digest(document).into(),
        })
    }

    /// The one key that may have signed a token with this algorithm and `kid`. Without a `kid`
    /// there must be exactly one that fits, and with one there must be, too.
    pub(super) fn choose(&self, alg: Algorithm, kid: Option<&str>) -> Option<&DecodingKey> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| fits(key, alg) && kid.is_none_or(|kid| key.id.as_deref() == Some(kid)));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(&key.key),
            _ => None,
        }
    }

    /// How many keys are in it.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The algorithms that its keys may serve.
    pub(super) fn algorithms(&self) -> Vec<&'static str> {
        let all = [
            (Algorithm::RS256, "RS256"),
            (Algorithm::PS256, "PS256"),
            (Algorithm::ES256, "ES256"),
            (Algorithm::ES384, "ES384"),
            (Algorithm::EdDSA, "EdDSA"),
        ];
        (all.into_iter())
            .filter(|(alg, _)| self.keys.iter().any(|key| fits(key, *alg)))
            .map(|(_, name)| name)
            .collect()
    }

    /// Whether any key is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn fits(key: &Key, alg: Algorithm) -> bool {
    let (kind, name) = match alg {
        Algorithm::RS256 => (Kind::Rsa, "RS256"),
        Algorithm::PS256 => (Kind::Rsa, "PS256"),
        Algorithm::ES256 => (Kind::P256, "ES256"),
        Algorithm::ES384 => (Kind::P384, "ES384"),
        Algorithm::EdDSA => (Kind::Ed25519, "EdDSA"),
        _ => return false,
    };
    // RFC 9864 gives EdDSA with this curve a name of its own.
    let named = |alg: &str| alg == name || (name == "EdDSA" && alg == "Ed25519");
    key.kind == kind && key.alg.as_deref().is_none_or(named)
}

fn usable(jwk: Jwk) -> Option<Key> {
    let for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && (jwk.key_ops.as_ref()).is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if !for_signatures {
        return None;
    }
    if jwk.d.is_some() {
        warn!(
            "the issuer publishes the private part of a key, which is not accepted any more; hint: tell whoever runs it"
        );
        return None;
    }
    let (kind, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", None) => {
            let (n, e) = (decoded(jwk.n.as_deref())?, decoded(jwk.e.as_deref())?);
            // 2048 bits at least (RFC 7518 §3.3), and what can be computed with.
            let bits = n.iter().skip_while(|byte| **byte == 0).count() * 8;
            if !(2048..=8192).contains(&bits) {
                return None;
            }
            (Kind::Rsa, DecodingKey::from_rsa_raw_components(&n, &e))
        }
        ("EC", Some("P-256")) => (Kind::P256, point(&jwk, 32)?),
        ("EC", Some("P-384")) => (Kind::P384, point(&jwk, 48)?),
        ("OKP", Some("Ed25519")) => {
            let x = decoded(jwk.x.as_deref()).filter(|x| x.len() == 32)?;
            (Kind::Ed25519, DecodingKey::from_ed_der(&x))
        }
        _ => return None,
    };
    Some(Key {
        id: jwk.kid,
        kind,
        alg: jwk.alg,
        key,
    })
}

/// A point on a curve, uncompressed: both coordinates whole (RFC 7518 §6.2.1.2).
fn point(jwk: &Jwk, size: usize) -> Option<DecodingKey> {
    let (x, y) = (decoded(jwk.x.as_deref())?, decoded(jwk.y.as_deref())?);
    if x.len() != size || y.len() != size {
        return None;
    }
    let mut point = vec![4];
    point.extend_from_slice(&x);
    point.extend_from_slice(&y);
    Some(DecodingKey::from_ec_der(&point))
}

fn decoded(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

#[cfg(test)]
mod tests;
