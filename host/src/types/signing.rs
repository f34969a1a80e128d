//! Ed25519 keys in PEM (RFC 7468, RFC 8410): who may approve, and who may only check.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

/// What a public key in DER begins with: an Ed25519 key of 32 bytes (RFC 8410 §4).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// Bytes of a public key.
const PUBLIC: usize = 32;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadKey {
    /// It is not PEM of this kind.
    #[error("expected a PEM block `{0}` (a key of `cortex-gateway baseline keygen`)")]
    NotPem(&'static str),
    /// It is another kind of key.
    #[error("expected an Ed25519 key")]
    NotEd25519,
    /// The machine gives no random bytes.
    #[error("this machine gives no random bytes to make a key of")]
    NoRandom,
}

/// Signs.
#[derive(Clone)]
pub struct PrivateKey(Arc<Ed25519KeyPair>);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PrivateKey {
    /// Makes one; returns it as PEM, too.
    ///
    /// # Errors
    /// [`BadKey::NoRandom`].
    pub fn generate() -> Result<(Self, Zeroizing<String>), BadKey> {
        let der =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| BadKey::NoRandom)?;
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(|_| BadKey::NotEd25519)?;
        let text = Zeroizing::new(pem("PRIVATE KEY", der.as_ref()));
        Ok((Self(Arc::new(pair)), text))
    }

    /// Reads PEM. On one line, `\n` stands for the line breaks.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let der = Zeroizing::new(block(text, "PRIVATE KEY")?);
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| BadKey::NotEd25519)?;
        Ok(Self(Arc::new(pair)))
    }

    /// What checks its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    /// Signs; base64.
    pub fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(message))
    }
}

/// Checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads PEM. On one line, `\n` stands for the line breaks.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let der = block(text, "PUBLIC KEY")?;
        match der.strip_prefix(&SPKI) {
            Some(key) if key.len() == PUBLIC => Ok(Self(key.to_vec())),
            _ => Err(BadKey::NotEd25519),
        }
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI, self.0.as_slice()].concat())
    }

    /// Whether a signature is its key's, of this message.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        let signature = STANDARD.decode(signature);
        signature.is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut lines = String::new();
    for line in body.as_bytes().chunks(64) {
        lines.extend(line.iter().map(|byte| char::from(*byte)));
        lines.push('\n');
    }
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

fn block(text: &str, label: &'static str) -> Result<Vec<u8>, BadKey> {
    let text = Zeroizing::new(text.replace("\\n", "\n"));
    let body = text
        .split_once(&format!("-----BEGIN {label}-----"))
        .and_then(|(_, rest)| rest.split_once(&format!("-----END {label}-----")))
        .map(|(body, _)| Zeroizing::new(body.split_whitespace().collect::<String>()));
    let body = body.ok_or(BadKey::NotPem(label))?;
    STANDARD
        .decode(body.as_bytes())
        .map_err(|_| BadKey::NotPem(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_and_read_and_only_their_own_signatures_hold() {
        let (key, text) = PrivateKey::generate().expect("a key");
        let again = PrivateKey::parse(&text.replace('\n', "\\n")).expect("a key on one line");
        let public = PublicKey::parse(&key.public().to_pem()).expect("a public key");
        let signature = again.sign(b"message");
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"another", &signature));
        assert!(!public.verifies(b"message", "AAAA"));
        assert!(!public.verifies(b"message", "not base64"));
        let (other, _) = PrivateKey::generate().expect("a key");
        assert!(!other.public().verifies(b"message", &signature));
        assert_eq!(format!("{key:?}"), "[redacted]");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (key, text) = PrivateKey::generate().expect("a key");
        for bad in [
            "",
            "x",
            &key.public().to_pem(),
            "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
        ] {
            assert!(PrivateKey::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(PublicKey::parse(&text), Err(BadKey::NotPem("PUBLIC KEY")));
        let short = "-----BEGIN PUBLIC KEY-----\nMCowBQ==\n-----END PUBLIC KEY-----";
        assert_eq!(PublicKey::parse(short), Err(BadKey::NotEd25519));
    }
}
