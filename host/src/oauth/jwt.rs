//! One access token against keys and claims (RFC 9068 §4, RFC 8725). Does no I/O, knows no clock.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use thiserror::Error;

use super::json;
use super::jwk::KeySet;
use crate::types::{Issuer, Principal, Scope, ScopeSet, Subject};

/// How far clocks may be apart, in seconds.
pub(super) const LEEWAY: u64 = 60;
/// Longest token that is looked at.
pub(super) const MAX_TOKEN: usize = 16 * 1024;

/// Why a token is not accepted. The texts go to the client and repeat nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Longer than [`MAX_TOKEN`].
    #[error("the access token is too long")]
    TooLong,
    /// Not three parts of base64url with JSON objects in the first two.
    #[error("the access token is malformed")]
    Malformed,
    /// A JWT, but of a kind that is no access token.
    #[error("the token is not an access token")]
    NotAnAccessToken,
    /// `none`, an HMAC, or anything else that is not accepted.
    #[error("the access token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// A header says that something must be understood which is not.
    #[error("the access token demands an extension that is not known")]
    Critical,
    /// The issuer publishes no such key, or more than one that fits.
    #[error("the access token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The signature does not hold.
    #[error("the signature of the access token does not hold")]
    Signature,
    /// A claim is missing.
    #[error("the access token lacks the claim {0}")]
    Missing(&'static str),
    /// A claim is not of the right type, or empty.
    #[error("the access token has an unusable claim {0}")]
    Unusable(&'static str),
    /// Somebody else's token.
    #[error("the access token is from another issuer")]
    Issuer,
    /// A token for somebody else.
    #[error("the access token is for another audience")]
    Audience,
    /// Over.
    #[error("the access token is expired")]
    Expired,
    /// Not begun.
    #[error("the access token is not valid yet")]
    NotYet,
    /// Made in the future.
    #[error("the access token claims to be issued in the future")]
    FromTheFuture,
    /// The issuer says so (RFC 7662).
    #[error("the access token is revoked")]
    Revoked,
}

/// What a token must say.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
}

/// What a verified token says.
#[derive(Debug)]
pub struct Verified {
    /// Who is calling.
    pub principal: Arc<Principal>,
    /// `jti`: the token's own id.
    pub token_id: String,
    /// `exp`, in seconds since 1970.
    pub expires_at: u64,
    /// `iat`, in seconds since 1970, if it says so.
    pub issued_at: Option<u64>,
}

/// A token taken apart; nothing in it is to be believed yet.
pub(super) struct Parts<'t> {
    alg: Algorithm,
    kid: Option<String>,
    message: &'t str,
    claims: &'t str,
    signature: &'t str,
}

/// Takes a token apart and reads its header (RFC 7515 §4.1). Keys that come with a token (`jwk`,
/// `jku`, `x5c`, `x5u`) are never looked at.
pub(super) fn parse(token: &str) -> Result<Parts<'_>, Invalid> {
    let (message, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(Invalid::Malformed)?;
    if claims.contains('.') {
        return Err(Invalid::Malformed);
    }
    let header = part(header)?;
    if header.contains_key("crit") {
        return Err(Invalid::Critical);
    }
    let alg = match header.get("alg").and_then(Value::as_str) {
        Some("RS256") => Algorithm::RS256,
        Some("PS256") => Algorithm::PS256,
        Some("ES256") => Algorithm::ES256,
        Some("ES384") => Algorithm::ES384,
        Some("EdDSA") => Algorithm::EdDSA,
        _ => return Err(Invalid::Algorithm),
    };
    // RFC 9068 §4 wants `at+jwt`; issuers that do not say it yet write `JWT` or nothing. Other
    // kinds of JWT are signed with the same keys and must not pass (RFC 8725 §3.11).
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            let typ = typ.strip_prefix("application/").unwrap_or(&typ);
            if !matches!(typ, "at+jwt" | "jwt") {
                return Err(Invalid::NotAnAccessToken);
            }
        }
        Some(_) => return Err(Invalid::Malformed),
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(Invalid::Malformed),
    };
    Ok(Parts {
        alg,
        kid,
        message,
        claims,
        signature,
    })
}

/// Checks a token's signature and claims (RFC 9068 §4), in this order.
pub(super) fn verify(
    parts: &Parts<'_>,
    keys: &KeySet,
    expected: &Expected,
    now: u64,
) -> Result<Verified, Invalid> {
    let key = keys
        .choose(parts.alg, parts.kid.as_deref())
        .ok_or(Invalid::UnknownKey)?;
    let message = parts.message.as_bytes();
    // An error: the signature is not base64url.
    if !jsonwebtoken::crypto::verify(parts.signature, message, key, parts.alg).unwrap_or(false) {
        return Err(Invalid::Signature);
    }
    let claims = Claims(part(parts.claims)?);
    claims.check(expected, now)
}

fn part(text: &str) -> Result<Map<String, Value>, Invalid> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Invalid::Malformed)?;
    json::object(&bytes).ok_or(Invalid::Malformed)
}

struct Claims(Map<String, Value>);

impl Claims {
    fn check(&self, expected: &Expected, now: u64) -> Result<Verified, Invalid> {
        if self.text("iss")? != expected.issuer {
            return Err(Invalid::Issuer);
        }
        self.audience(&expected.audiences)?;
        let expires_at = self.time("exp")?.ok_or(Invalid::Missing("exp"))?;
        if now >= expires_at.saturating_add(LEEWAY) {
            return Err(Invalid::Expired);
        }
        let latest = now.saturating_add(LEEWAY);
        if self.time("nbf")?.is_some_and(|nbf| nbf > latest) {
            return Err(Invalid::NotYet);
        }
        let issued_at = self.time("iat")?;
        if issued_at.is_some_and(|iat| iat > latest) {
            return Err(Invalid::FromTheFuture);
        }
        let token_id = self.text("jti")?.to_owned();
        let role = self.0.get("metadata").and_then(|m| m.get("role"));
        let principal = Principal {
            subject: Subject::new(self.text("sub")?),
            issuer: Issuer::new(expected.issuer.as_str()),
            client_id: self.optional("client_id").or_else(|| self.optional("azp")),
            email: self.optional("email"),
            name: self.optional("name"),
            role: role.and_then(Value::as_str).map(str::to_owned),
            pool: self.optional("pool"),
            scopes: self.scopes()?,
            dev_bypass: false,
        };
        Ok(Verified {
            principal: Arc::new(principal),
            token_id,
            expires_at,
            issued_at,
        })
    }

    /// A claim that must be a text with something in it.
    fn text(&self, name: &'static str) -> Result<&str, Invalid> {
        match self.0.get(name) {
            None => Err(Invalid::Missing(name)),
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            Some(_) => Err(Invalid::Unusable(name)),
        }
    }

    /// A claim that grants nothing; of the wrong type it is as good as absent.
    fn optional(&self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A `NumericDate` (RFC 7519 §2), which may have a fraction.
    fn time(&self, name: &'static str) -> Result<Option<u64>, Invalid> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        if let Some(seconds) = value.as_u64() {
            return Ok(Some(seconds));
        }
        match value.as_f64() {
            // The cast saturates: what is beyond the range of u64 never comes.
            Some(seconds) if seconds >= 0.0 => Ok(Some(seconds.floor() as u64)),
            _ => Err(Invalid::Unusable(name)),
        }
    }

    /// RFC 7519 §4.1.3: one text, or several.
    fn audience(&self, accepted: &[String]) -> Result<(), Invalid> {
        let is_ours = |aud: &Value| {
            aud.as_str()
                .is_some_and(|aud| accepted.iter().any(|a| a == aud))
        };
        let found = match self.0.get("aud") {
            None => return Err(Invalid::Missing("aud")),
            Some(aud @ Value::String(_)) => is_ours(aud),
            Some(Value::Array(auds)) if auds.iter().all(Value::is_string) => {
                auds.iter().any(is_ours)
            }
            Some(_) => return Err(Invalid::Unusable("aud")),
        };
        if found {
            Ok(())
        } else {
            Err(Invalid::Audience)
        }
    }

    /// `scope`, one text (RFC 9068 §2.2.3), else `scp`, one text or an array. What is no scope
    /// (RFC 6749 §3.3) is left out: no tool can ask for it.
    fn scopes(&self) -> Result<ScopeSet, Invalid> {
        let texts: Vec<&str> = match (self.0.get("scope"), self.0.get("scp")) {
            (Some(Value::String(text)), _) | (None, Some(Value::String(text))) => {
                text.split(' ').collect()
            }
            (Some(_), _) => return Err(Invalid::Unusable("scope")),
            (None, Some(Value::Array(texts))) if texts.iter().all(Value::is_string) => {
                texts.iter().filter_map(Value::as_str).collect()
            }
            (None, Some(_)) => return Err(Invalid::Unusable("scp")),
            (None, None) => Vec::new(),
        };
        let scopes = texts.iter().filter_map(|text| text.parse::<Scope>().ok());
        Ok(scopes.collect())
    }
}

#[cfg(test)]
mod tests;
