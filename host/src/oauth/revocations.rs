//! Access tokens that an operator has revoked before their end: one of them, or all of a subject up to a moment.
//!
//! They are kept in the store, because no gateway that starts may miss one, and in the memory of each
//! gateway, because every request is checked against them. A gateway that changes them tells the others;
//! and each looks anyway, for what was changed by a command without a gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tracing::warn;

use super::jwt::Verified;
use crate::fleet::{Fleet, Topic};
use crate::oauth_client::seconds_now;
use crate::store::{Batch, Committed, Scan, Space, Store, StoreError, Table};

const TABLE: Table<Revocation> = Table::new(Space::Revocations, 1);
/// Most revocations at one time: each gateway keeps them all in memory.
const MOST: usize = 10_000;
/// Longest text of an id, an issuer or a subject, in bytes.
const LONGEST: usize = 2_048;
/// Records that are read at one time.
const PAGE: usize = 1_000;
/// How often they are looked up without word of a change.
const LOOK: Duration = Duration::from_secs(10);

/// Why a revocation cannot be made.
#[derive(Debug, Error)]
pub enum RevocationError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many.
    #[error(
        "there are {MOST} revocations already; hint: `cortex-gateway tokens list` shows them, `tokens lift` ends one"
    )]
    TooMany,
    /// A text without an end, or without anything in it.
    #[error("expected 1 to {LONGEST} bytes of text")]
    BadText,
}

/// Which tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The one with this `jti`.
    Token(String),
    /// All of a subject.
    Subject {
        /// Its `iss`.
        issuer: String,
        /// Its `sub`.
        subject: String,
    },
}

impl Which {
    fn is_sound(&self) -> bool {
        let texts = match self {
            Self::Token(id) => [id.as_str(), id],
            Self::Subject { issuer, subject } => [issuer.as_str(), subject],
        };
        let mut texts = texts.into_iter();
        texts.all(|text| (1..=LONGEST).contains(&text.len()))
    }

    fn key(&self) -> Vec<u8> {
        let parts = match self {
            Self::Token(id) => ["token", id.as_str(), ""],
            Self::Subject { issuer, subject } => ["subject", issuer, subject],
        };
        let hash = parts.iter().fold(Sha256::new(), |hash, part| {
            let length = (part.len() as u64).to_be_bytes();
            hash.chain_update(length).chain_update(part)
        });
        hash.finalize().to_vec()
    }
}

/// A revocation as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which tokens.
    pub which: Which,
    /// Those that were issued until then, in seconds since 1970.
    pub issued_until: u64,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// When it ends, because by then the tokens have, in seconds since 1970.
    pub ends_at: u64,
}

/// By which tokens are checked.
#[derive(Debug, Default)]
struct Known {
    tokens: HashMap<String, Revocation>,
    /// By issuer and subject.
    subjects: HashMap<(String, String), Revocation>,
}

/// What operators have revoked.
pub struct Revocations {
    store: Store,
    fleet: Fleet,
    any: AtomicBool,
    known: ArcSwap<Known>,
}

impl Revocations {
    /// Reads what was revoked before.
    ///
    /// # Errors
    /// [`StoreError`]: whoever cannot read them must not let anybody in.
    pub async fn open(store: &Store, fleet: &Fleet) -> Result<Arc<Self>, StoreError> {
        let revocations = Self {
            store: store.clone(),
            fleet: fleet.clone(),
            any: AtomicBool::new(false),
            known: ArcSwap::default(),
        };
        revocations.look_up().await?;
        Ok(Arc::new(revocations))
    }

    /// Whether a token was revoked. Without any revocation it costs a look at one flag.
    pub(super) fn cover(&self, token: &Verified) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let known = self.known.load();
        let now = seconds_now();
        let holds = |revocation: &Revocation| {
            // A token that does not say since when it is may be an old one.
            let issued = token.issued_at.unwrap_or_default();
            now < revocation.ends_at && issued <= revocation.issued_until
        };
        let of_token = known.tokens.get(&token.token_id);
        if of_token.is_some_and(|revocation| now < revocation.ends_at) {
            return true;
        }
        if known.subjects.is_empty() {
            return false;
        }
        let principal = &token.principal;
        let whose = (
            principal.issuer.as_str().to_owned(),
            principal.subject.as_str().to_owned(),
        );
        known.subjects.get(&whose).is_some_and(holds)
    }

    /// Follows what others revoke, for ever.
    pub async fn keep_told(&self) {
        let mut news = self.fleet.hear(Topic::Revocations);
        loop {
            // Whatever is said, it is looked up.
            tokio::select! {
                _ = news.next() => {}
                () = tokio::time::sleep(LOOK), if !self.fleet.is_alone() => {}
            }
            if let Err(error) = self.look_up().await {
                warn!(%error, "what was revoked cannot be read: what was known before holds");
            }
        }
    }

    /// Revokes tokens, here at once and at the other gateways within a moment.
    ///
    /// # Errors
    /// [`RevocationError`]; then nothing is revoked.
    pub async fn revoke(&self, revocation: &Revocation) -> Result<(), RevocationError> {
        keep(&self.store, revocation).await?;
        Ok(self.changed().await?)
    }

    /// Lets tokens be good again, as far as they are. False: they were not revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lift(&self, which: &Which) -> Result<bool, StoreError> {
        let was = forget(&self.store, which).await?;
        self.changed().await?;
        Ok(was)
    }

    async fn changed(&self) -> Result<(), StoreError> {
        self.fleet.tell(Topic::Revocations, Vec::new());
        self.look_up().await
    }

    async fn look_up(&self) -> Result<(), StoreError> {
        let mut known = Known::default();
        for revocation in list(&self.store).await? {
            match revocation.which.clone() {
                Which::Token(id) => known.tokens.insert(id, revocation),
                Which::Subject { issuer, subject } => {
                    known.subjects.insert((issuer, subject), revocation)
                }
            };
        }
        let any = !known.tokens.is_empty() || !known.subjects.is_empty();
        self.known.store(Arc::new(known));
        self.any.store(any, Ordering::Release);
        Ok(())
    }
}

/// Keeps a revocation, in the place of one of the same tokens that reaches less far. Those that have ended are forgotten.
///
/// # Errors
/// [`RevocationError`]; then nothing is changed.
pub async fn keep(store: &Store, revocation: &Revocation) -> Result<(), RevocationError> {
    if !revocation.which.is_sound() {
        return Err(RevocationError::BadText);
    }
    let (mut batch, mut room) = (Batch::default(), MOST);
    let now = seconds_now();
    for (key, old) in all(store).await? {
        if old.ends_at <= now {
            TABLE.remove(&mut batch, &key);
        } else if old.which != revocation.which {
            room -= room.min(1);
        }
    }
    if room == 0 {
        return Err(RevocationError::TooMany);
    }
    let key = revocation.which.key();
    let found = TABLE.get(store, &key).await?;
    let mut next = revocation.clone();
    if let Some(old) = found.as_ref().map(|found| &found.value) {
        next.issued_until = next.issued_until.max(old.issued_until);
        next.ends_at = next.ends_at.max(old.ends_at);
    }
    TABLE.expect(&mut batch, &key, found.as_ref());
    TABLE.put(&mut batch, &key, &next)?;
    match store.commit(batch).await? {
        Committed::Yes => Ok(()),
        Committed::Conflict => Err(StoreError::Contended.into()),
    }
}

/// Forgets a revocation. False: there was none.
///
/// # Errors
/// [`StoreError`].
pub async fn forget(store: &Store, which: &Which) -> Result<bool, StoreError> {
    let key = which.key();
    let was = TABLE.get(store, &key).await?.is_some();
    let mut batch = Batch::default();
    TABLE.remove(&mut batch, &key);
    store.commit(batch).await?;
    Ok(was)
}

/// Those that have not ended.
///
/// # Errors
/// [`StoreError`].
pub async fn list(store: &Store) -> Result<Vec<Revocation>, StoreError> {
    let now = seconds_now();
    let all = all(store).await?.into_iter();
    let all = all.map(|(_, revocation)| revocation);
    Ok(all.filter(|revocation| now < revocation.ends_at).collect())
}

async fn all(store: &Store) -> Result<Vec<(Vec<u8>, Revocation)>, StoreError> {
    let mut all = Vec::new();
    loop {
        let scan = Scan {
            after: all
                .last()
                .map(|(key, _): &(Vec<u8>, Revocation)| key.clone()),
            limit: PAGE,
            ..Scan::default()
        };
        let page = TABLE.scan(store, scan).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.into_iter().map(|(key, found)| (key, found.value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Issuer, Principal, Subject};

    fn verified(id: &str, subject: &str, issued_at: Option<u64>) -> Verified {
        Verified {
            principal: Arc::new(Principal {
                subject: Subject::new(subject),
                issuer: Issuer::new("https://issuer.example"),
                client_id: None,
                email: None,
                name: None,
                role: None,
                pool: None,
                scopes: Default::default(),
                dev_bypass: false,
            }),
            token_id: id.to_owned(),
            expires_at: u64::MAX,
            issued_at,
        }
    }

    fn revocation(which: Which, issued_until: u64) -> Revocation {
        Revocation {
            which,
            issued_until,
            made_at: seconds_now(),
            ends_at: seconds_now() + 60,
        }
    }

    #[tokio::test]
    async fn what_is_revoked_is_known_until_it_is_lifted_or_ends() {
        let store = Store::temporary(None).await.expect("a store");
        let fleet = Fleet::alone();
        let revocations = Revocations::open(&store, &fleet).await.expect("open");
        let token = verified("a", "alice", Some(100));
        assert!(!revocations.cover(&token));
        let one = Which::Token("a".to_owned());
        revocations
            .revoke(&revocation(one.clone(), 0))
            .await
            .expect("revoked");
        assert!(revocations.cover(&token));
        assert!(!revocations.cover(&verified("b", "alice", Some(100))));
        assert!(revocations.lift(&one).await.expect("lifted"));
        assert!(!revocations.lift(&one).await.expect("no failure"));
        assert!(!revocations.cover(&token));

        let alice = Which::Subject {
            issuer: "https://issuer.example".to_owned(),
            subject: "alice".to_owned(),
        };
        revocations
            .revoke(&revocation(alice.clone(), 100))
            .await
            .expect("revoked");
        // An earlier moment does not take the later one back.
        revocations
            .revoke(&revocation(alice.clone(), 50))
            .await
            .expect("revoked");
        for (subject, issued_at, is_revoked) in [
            ("alice", Some(100), true),
            ("alice", None, true),
            ("alice", Some(101), false),
            ("bob", Some(1), false),
        ] {
            let token = verified("x", subject, issued_at);
            assert_eq!(
                revocations.cover(&token),
                is_revoked,
                "{subject} {issued_at:?}"
            );
        }
        // A gateway that starts knows it.
        let other = Revocations::open(&store, &fleet).await.expect("open");
        assert!(other.cover(&token));
        let ended = Revocation {
            ends_at: seconds_now(),
            ..revocation(Which::Token("c".to_owned()), 0)
        };
        revocations.revoke(&ended).await.expect("revoked");
        assert!(!revocations.cover(&verified("c", "bob", Some(1))));
        assert_eq!(list(&store).await.expect("a list").len(), 1);
        let nothing = revocation(Which::Token(String::new()), 0);
        let refused = revocations.revoke(&nothing).await;
        assert!(matches!(refused, Err(RevocationError::BadText)));
    }
}
