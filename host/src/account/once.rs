//! What may be used one time only: flows that came to their end, in the whole fleet.
//!
//! While the other gateways cannot be asked, an id is only known to be new at this one. That lets nobody in:
//! who comes a second time, at another gateway, needs the same browser's cookie and a code that the
//! authorization server redeems once (RFC 6749 §4.1.2).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::fleet::{Fleet, Shelf};

/// For how long something is remembered: longer than a flow lives.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// How much is remembered.
const MOST: usize = 100_000;

/// Ids that were used.
pub(super) struct Once {
    /// Here.
    used: Mutex<HashMap<Uuid, Instant>>,
    fleet: Fleet,
}

impl Once {
    pub(super) fn new(fleet: Fleet) -> Self {
        Self {
            used: Mutex::default(),
            fleet,
        }
    }

    /// Uses an id. False: it was used before, or too many are for now.
    pub(super) async fn takes(&self, id: Uuid) -> bool {
        if !self.takes_at(id, Instant::now()) {
            return false;
        }
        if self.fleet.is_alone() {
            return true;
        }
        // Away: by this gateway alone (see above).
        let claim = self.fleet.claim(Shelf::Flows, id.as_bytes(), MEMORY);
        claim.await.unwrap_or(true)
    }

    fn takes_at(&self, id: Uuid, now: Instant) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MOST {
            used.retain(|_, at| now.duration_since(*at) < MEMORY);
        }
        used.len() < MOST && used.insert(id, now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_id_is_used_once() {
        let (once, id) = (Once::new(Fleet::alone()), Uuid::now_v7());
        assert!(once.takes(id).await && !once.takes(id).await);
        assert!(once.takes(Uuid::now_v7()).await);
    }

    #[test]
    fn memory_is_bounded_and_old_ids_make_room() {
        let (once, start) = (Once::new(Fleet::alone()), Instant::now());
        for n in 0..MOST {
            assert!(once.takes_at(Uuid::from_u128(n as u128), start));
        }
        assert!(!once.takes_at(Uuid::from_u128(u128::MAX), start));
        assert!(once.takes_at(Uuid::from_u128(u128::MAX), start + MEMORY));
    }
}
