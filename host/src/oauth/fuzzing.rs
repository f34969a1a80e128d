//! The token verifier with a fixed key set, for the fuzz targets. Not there in any other build.

use super::jwk::KeySet;
use super::jwt::{self, Expected, Invalid, Verified};

/// Verifies tokens against a key set, one issuer and one audience.
pub struct Verifier {
    keys: KeySet,
    expected: Expected,
}

impl Verifier {
    /// `None`: the document is no key set.
    pub fn new(key_set: &[u8], issuer: &str, audience: &str) -> Option<Self> {
        Some(Self {
            keys: KeySet::parse(key_set)?,
            expected: Expected {
                issuer: issuer.to_owned(),
                audiences: vec![audience.to_owned()],
            },
        })
    }

    /// Verifies one token at this time, in seconds since 1970.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, token: &str, now: u64) -> Result<Verified, Invalid> {
        jwt::verify(&jwt::parse(token)?, &self.keys, &self.expected, now)
    }
}
