//! Secrets that cannot be printed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// A secret text. Prints as `[redacted]`, is not serialisable, is wiped when the last who has it lets go of it:
/// a clone is the same text and no other copy of it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a text as secret from here on.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
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

/// A key of 256 bits. Prints as `[redacted]`, is wiped when dropped.
#[derive(Clone)]
pub struct Key256(Zeroizing<[u8; 32]>);

impl Key256 {
    /// Takes bytes as a key from here on.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key itself. Every use of this is a place to look at twice.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    /// As text, the way [`Key256::from_str`] reads it.
    pub fn to_text(&self) -> Secret {
        Secret::new(STANDARD.encode(self.reveal()))
    }
}

/// A text that is no key. Does not say what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected 32 bytes in base64, as `openssl rand -base64 32` prints them")]
pub struct InvalidKey;

/// Base64 (RFC 4648 §4), with padding.
impl FromStr for Key256 {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidKey)?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| InvalidKey)?;
        Ok(Self::new(bytes))
    }
}

impl fmt::Debug for Key256 {
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
    #[test]
    fn a_key_is_32_bytes_in_base64_and_does_not_print() {
        let key = Key256::new([7; 32]);
        let text = key.to_text().reveal().to_owned();
        let read: Key256 = text.parse().expect("a key");
        assert_eq!(read.reveal(), key.reveal());
        assert_eq!(format!("{key:?}"), "[redacted]");
        let short = STANDARD.encode([7; 31]);
        for bad in [
            "",
            "hunter2",
            &short,
            text.trim_end_matches('='),
            &format!("{text}{text}"),
        ] {
            assert!(bad.parse::<Key256>().is_err(), "{bad}");
        }
    }
}
