//! What others keep for the gateway, clients or a disk: sealed, so that nobody can read or change it.
//!
//! A sealed text carries the state that a server would otherwise have to remember, so that a
//! restart or a second instance loses no client. It is opened only with a key of the ring, for
//! the purpose and the binding that it was sealed for, and within its time. Knows nothing of
//! what is in it.
//!
//! AES-256-GCM with a random nonce (NIST SP 800-38D §8.2.2); purpose and binding are associated
//! data. On the wire: base64url (RFC 4648 §5, no padding) of version, key id, nonce and ciphertext.

pub mod key_file;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::types::{Key256, hex};

/// First byte of everything sealed this way.
const VERSION: u8 = 1;
const KEY_ID: usize = 4;
/// Version, key id and nonce.
const HEAD: usize = 1 + KEY_ID + NONCE_LEN;
/// Seconds since 1970, in front of the payload.
const ISSUED_AT: usize = 8;
/// How far the clocks of two instances may differ.
const LEEWAY: Duration = Duration::from_secs(60);
/// Longest text that is looked at.
const MAX_TEXT: usize = 256 * 1024;
/// The same, of what one gateway leaves for another.
const MAX_PARCEL: usize = 16 * 1024 * 1024;

/// What a sealed text is for. One purpose's seal is worthless for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A legacy `Mcp-Session-Id`.
    Session,
    /// `requestState` of an `input_required` result.
    RequestState,
    /// The `state` of an OAuth flow that links an account.
    Link,
    /// The `state` of an OAuth flow by which a person signs in to the gateway's pages.
    SignIn,
    /// The cookie of a person who has.
    Browser,
    /// What a form of those pages brings back.
    Form,
    /// Who is to link an account, in the URL that leads there.
    Invitation,
    /// What the gateway itself keeps of accounts, on disk.
    Vault,
    /// What is personal in audit records, on disk.
    Audit,
    /// The id of a question to a legacy client, by which its answer finds the gateway that asked.
    Question,
    /// What one gateway of a fleet leaves for another.
    Parcel,
    /// What backends offer, from one gateway to the others.
    Catalog,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::RequestState => b"request-state",
            Self::Link => b"link",
            Self::SignIn => b"sign-in",
            Self::Browser => b"browser",
            Self::Form => b"form",
            Self::Invitation => b"invitation",
            Self::Vault => b"vault",
            Self::Audit => b"audit",
            Self::Question => b"question",
            Self::Parcel => b"parcel",
            Self::Catalog => b"catalog",
        }
    }

    /// How long after it was sealed a text can be opened.
    pub fn life(self) -> Duration {
        match self {
            // The shelf on which a parcel lies gives it a shorter time.
            Self::Session | Self::Parcel => Duration::from_secs(7 * 24 * 3600),
            Self::RequestState | Self::Link | Self::SignIn | Self::Question => {
                Duration::from_secs(600)
            }
            Self::Browser | Self::Form => Duration::from_secs(8 * 3600),
            Self::Invitation => Duration::from_secs(3600),
            // Longer than the longest time between two refreshes.
            Self::Catalog => Duration::from_secs(2 * 24 * 3600),
            Self::Vault | Self::Audit => Duration::MAX,
        }
    }

    /// Longest text of this purpose that is looked at.
    fn longest(self) -> usize {
        match self {
            Self::Parcel => MAX_PARCEL,
            _ => MAX_TEXT,
        }
    }
}

/// Why a text is not opened. Clients are not told which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotOurs {
    /// Not sealed by a key of the ring for this purpose and binding, or changed since.
    #[error("not sealed by this gateway for this use")]
    Foreign,
    /// It was, but its time is over.
    #[error("sealed by this gateway, but its time is over")]
    Expired,
}

/// Which key sealed something: tells nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID]);

impl KeyId {
    /// As others are told of it.
    pub fn bytes(self) -> [u8; KEY_ID] {
        self.0
    }

    /// The ids that somebody told of, one after the other.
    pub fn read_all(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let ids = bytes.chunks_exact(KEY_ID);
        ids.filter_map(|id| id.first_chunk().copied().map(Self))
    }

    /// Which key sealed this text, if it was sealed this way.
    pub fn of(text: &str) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = sealed.split_first()?;
        (*version == VERSION).then_some(())?;
        rest.first_chunk().copied().map(Self)
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

struct Key {
    id: [u8; KEY_ID],
    aead: LessSafeKey,
}

/// Seals and opens.
pub struct Sealer {
    /// The newest first. Never empty.
    ring: Vec<Key>,
    /// Which of them seals.
    sealing: AtomicUsize,
}

impl Sealer {
    /// With a ring of keys: the first seals, all open. `None`: there are no keys.
    pub fn new(keys: &[Key256]) -> Option<Self> {
        let ring: Vec<Key> = keys.iter().filter_map(key).collect();
        (!ring.is_empty()).then(|| Self {
            ring,
            sealing: AtomicUsize::new(0),
        })
    }

    /// The id of the key that seals.
    pub fn sealing(&self) -> KeyId {
        KeyId(self.first().id)
    }

    /// The ids of all keys of the ring, in its order.
    pub fn ring(&self) -> impl Iterator<Item = KeyId> {
        self.ring.iter().map(|key| KeyId(key.id))
    }

    /// From here on seals with the first key of the ring that everybody knows by whom it is to be opened,
    /// and with the first of all if there is none. False: there is none.
    pub fn seal_for(&self, everybody: impl Fn(KeyId) -> bool) -> bool {
        let common = self.ring().position(everybody);
        self.sealing.store(common.unwrap_or(0), Ordering::Relaxed);
        common.is_some()
    }

    /// Whether a key of this id is in the ring.
    pub fn knows(&self, key: KeyId) -> bool {
        self.ring.iter().any(|known| known.id == key.0)
    }

    fn first(&self) -> &Key {
        let at = self.sealing.load(Ordering::Relaxed);
        // The ring does not change: what was a place in it still is.
        &self.ring[at]
    }

    /// Seals a payload for one purpose, bound to these values: visible ASCII.
    ///
    /// # Errors
    /// Only when the machine gives no random bytes.
    pub fn seal(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        payload: &[u8],
    ) -> Result<String, Unsealed> {
        self.seal_at(purpose, binding, payload, SystemTime::now())
    }

    /// Like [`seal`](Self::seal), to bytes that are no text: for what is large and goes through nobody's
    /// headers.
    ///
    /// # Errors
    /// Only when the machine gives no random bytes.
    pub fn seal_bytes(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        payload: &[u8],
    ) -> Result<Vec<u8>, Unsealed> {
        self.seal_raw(purpose, binding, payload, SystemTime::now())
    }

    /// Opens what [`seal_bytes`](Self::seal_bytes) sealed. Whoever calls it has bounded its size.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn open_bytes(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        sealed: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        self.open_raw(purpose, binding, sealed, SystemTime::now())
    }

    /// Opens what was sealed for this purpose, bound to these values.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn open(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        text: &str,
    ) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        self.open_at(purpose, binding, text, SystemTime::now())
    }

    fn seal_at(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        payload: &[u8],
        now: SystemTime,
    ) -> Result<String, Unsealed> {
        let sealed = self.seal_raw(purpose, binding, payload, now)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn seal_raw(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        payload: &[u8],
        now: SystemTime,
    ) -> Result<Vec<u8>, Unsealed> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| Unsealed)?;
        let mut inner = Vec::with_capacity(ISSUED_AT + payload.len() + AES_256_GCM.tag_len());
        inner.extend_from_slice(&seconds(now).to_be_bytes());
        inner.extend_from_slice(payload);
        // One look: another task may choose another key meanwhile.
        let key = self.first();
        key.aead
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(purpose, &key.id, binding)),
                &mut inner,
            )
            .map_err(|_| Unsealed)?;
        let mut sealed = Vec::with_capacity(HEAD + inner.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut inner);
        Ok(sealed)
    }

    fn open_at(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        text: &str,
        now: SystemTime,
    ) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        if text.len() > purpose.longest() {
            return Err(NotOurs::Foreign);
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotOurs::Foreign)?;
        self.open_raw(purpose, binding, sealed, now)
    }

    fn open_raw(
        &self,
        purpose: Purpose,
        binding: &[&[u8]],
        mut sealed: Vec<u8>,
        now: SystemTime,
    ) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        let (head, inner) = sealed.split_at_mut_checked(HEAD).ok_or(NotOurs::Foreign)?;
        let (version, rest) = head.split_at(1);
        let (id, nonce) = rest.split_at(KEY_ID);
        if version != [VERSION] {
            return Err(NotOurs::Foreign);
        }
        // Ids are short: two keys of the ring may share one.
        for key in self.ring.iter().filter(|key| key.id == id) {
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOurs::Foreign)?;
            let mut attempt = Zeroizing::new(inner.to_vec());
            let associated = Aad::from(associated(purpose, &key.id, binding));
            if let Ok(opened) = key.aead.open_in_place(nonce, associated, &mut attempt) {
                return within_life(purpose, opened, now);
            }
        }
        Err(NotOurs::Foreign)
    }
}

/// The machine gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this machine gives no random bytes")]
pub struct Unsealed;

fn key(key: &Key256) -> Option<Key> {
    // Fails only for a key of another length, which the type rules out.
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.reveal()).ok()?);
    let digest = Sha256::new_with_prefix(b"cortex key id\0").chain_update(key.reveal());
    let id = digest.finalize().first_chunk().copied()?;
    Some(Key { id, aead })
}

/// Purpose, key id and binding, each with its length in front, so that no two lists are the same
/// bytes.
fn associated(purpose: Purpose, key: &[u8], binding: &[&[u8]]) -> Vec<u8> {
    let parts = || {
        let first = [purpose.name(), key].into_iter();
        first.chain(binding.iter().copied())
    };
    let length = parts().map(|part| size_of::<u64>() + part.len());
    let mut bytes = Vec::with_capacity(1 + length.sum::<usize>());
    bytes.push(VERSION);
    for part in parts() {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn within_life(
    purpose: Purpose,
    opened: &[u8],
    now: SystemTime,
) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
    let (issued, payload) = opened
        .split_first_chunk::<ISSUED_AT>()
        .ok_or(NotOurs::Foreign)?;
    let (issued, now) = (u64::from_be_bytes(*issued), seconds(now));
    let oldest = now.saturating_sub(purpose.life().as_secs());
    let newest = now.saturating_add(LEEWAY.as_secs());
    // Records of a clock that was wrong must not be lost to it.
    if purpose == Purpose::Audit || (oldest..=newest).contains(&issued) {
        Ok(Zeroizing::new(payload.to_vec()))
    } else {
        Err(NotOurs::Expired)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
