//! Requests that are being served and can be called off (MCP 2025-11-25, "Cancellation").
//!
//! Legacy era only: there a client says `notifications/cancelled`, in a POST of its own. In the
//! modern one it closes the stream, and the request is dropped with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Gateway;
use super::auth::Caller;
use super::elsewhere::{self, News};
use super::session::InSession;
use crate::mcp::jsonrpc::Id;
use crate::types::{Issuer, SessionId, Subject};

/// Everything in flight that can be called off.
#[derive(Default)]
pub struct InFlight {
    places: Mutex<HashMap<Key, Vec<(u64, CancellationToken)>>>,
    next: AtomicU64,
}

/// Whose request it is, and its id.
type Key = (Owner, String);

/// Only who has made a request may call it off: the session, or the caller where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Session(SessionId),
    Caller(Issuer, Subject),
}

/// The place of one request. Given back when dropped.
pub(super) struct Place<'a> {
    /// None: it cannot be called off in this way.
    taken: Option<(&'a InFlight, Key, u64, CancellationToken)>,
}

impl InFlight {
    /// Takes a place for a request.
    pub(super) fn enter(&self, request: &InSession) -> Place<'_> {
        let parsed = request.parsed();
        // `initialize` must not be called off.
        if parsed.version.is_modern() || parsed.message.method == "initialize" {
            return Place { taken: None };
        }
        let key = (
            owner(request.id(), &parsed.caller),
            text(&parsed.message.id),
        );
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let token = CancellationToken::new();
        let mut places = self.lock();
        let same = places.entry(key.clone()).or_default();
        same.push((number, token.clone()));
        Place {
            taken: Some((self, key, number, token)),
        }
    }

    /// Calls off what another gateway was told to call off.
    pub(super) fn cancelled_elsewhere(&self, digest: &Digest) {
        let places = self.lock();
        let meant = places.iter().find(|(key, _)| Digest::of(key) == *digest);
        if let Some((_, same)) = meant {
            call_off(same, "it was told to another gateway");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<(u64, CancellationToken)>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names a request to other gateways, and tells them nothing of whose it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    fn of((owner, id): &Key) -> Self {
        let mut digest = Sha256::new();
        match owner {
            Owner::Session(session) => digest.update(session.as_bytes()),
            Owner::Caller(issuer, subject) => {
                for part in [issuer.as_str(), subject.as_str()] {
                    digest.update((part.len() as u64).to_be_bytes());
                    digest.update(part);
                }
            }
        }
        digest.update(id);
        Self(digest.finalize().into())
    }
}

/// Calls a request off. What names none that is in flight is ignored, as it must be; so is what
/// could mean two (clients without a session can use the same id at the same time).
pub(super) fn cancel(
    gw: &Gateway,
    session: Option<SessionId>,
    caller: &Caller,
    params: Option<&RawValue>,
) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cancelled {
        request_id: Id,
        reason: Option<String>,
    }
    let said = params.and_then(|raw| serde_json::from_str::<Cancelled>(raw.get()).ok());
    let Some(Cancelled { request_id, reason }) = said else {
        return;
    };
    // Without a session another request of this id may be at another gateway: which is meant?
    if session.is_none() && gw.fleet.instances() > 1 {
        return;
    }
    let key = (owner(session, caller), text(&request_id));
    let reason: String = reason.unwrap_or_default().chars().take(200).collect();
    match gw.in_flight.lock().get(&key) {
        Some(same) => call_off(same, &reason),
        None => elsewhere::tell(gw, &News::Cancelled(Digest::of(&key))),
    }
}

fn call_off(same: &[(u64, CancellationToken)], reason: &str) {
    if let [(_, token)] = same {
        debug!("a request is called off: {}", reason.escape_debug());
        token.cancel();
    }
}

impl Place<'_> {
    /// Resolves when the request is called off, and else never.
    pub(super) async fn cancelled(&self) {
        match &self.taken {
            Some((_, _, _, token)) => token.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some((in_flight, key, number, _)) = self.taken.take() else {
            return;
        };
        let mut places = in_flight.lock();
        if let Some(same) = places.get_mut(&key) {
            same.retain(|(other, _)| *other != number);
            if same.is_empty() {
                places.remove(&key);
            }
        }
    }
}

fn owner(session: Option<SessionId>, caller: &Caller) -> Owner {
    let principal = caller.principal();
    session.map_or_else(
        || Owner::Caller(principal.issuer.clone(), principal.subject.clone()),
        Owner::Session,
    )
}

/// As JSON: `7` and `"7"` are two ids.
fn text(id: &Id) -> String {
    serde_json::to_string(id).unwrap_or_default()
}
