//! Secrets that cannot be printed.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text. Prints as `[redacted]`, is not serialisable, is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as secret from here on.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every use of this is a place to look at twice.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, in a time that tells nothing of either.
    pub fn matches(&self, other: &[u8]) -> bool {
        // Digests first: `ct_eq` on slices of different length answers at once.
        let (a, b) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(other));
        a.ct_eq(&b).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What the caller presented and a backend may be given on the caller's behalf.
#[derive(Clone, Debug)]
pub struct AccessToken(Secret);

impl AccessToken {
    /// Wraps a token.
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The secret, for the egress that attaches it.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_and_compares_whole() {
        let secret = Secret::new("s3cret".to_owned());
        assert_eq!(
            format!("{:?}", AccessToken::new(secret.clone())),
            "AccessToken([redacted])"
        );
        assert!(secret.matches(b"s3cret"));
        for other in ["s3cre", "s3cret ", "", "S3cret"] {
            assert!(!secret.matches(other.as_bytes()), "{other:?}");
        }
    }
}
