//! What may be used one time only: flows that came to their end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// For how long something is remembered: longer than a flow lives.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// How much is remembered.
const MOST: usize = 100_000;

/// Ids that were used.
#[derive(Default)]
pub(super) struct Once(Mutex<HashMap<Uuid, Instant>>);

impl Once {
    /// Uses an id. False: it was used before, or too many are for now.
    pub(super) fn takes(&self, id: Uuid) -> bool {
        self.takes_at(id, Instant::now())
    }

    fn takes_at(&self, id: Uuid, now: Instant) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MOST {
            used.retain(|_, at| now.duration_since(*at) < MEMORY);
        }
        used.len() < MOST && used.insert(id, now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_used_once() {
        let (once, id) = (Once::default(), Uuid::now_v7());
        assert!(once.takes(id) && !once.takes(id));
        assert!(once.takes(Uuid::now_v7()));
    }

    #[test]
    fn memory_is_bounded_and_old_ids_make_room() {
        let (once, start) = (Once::default(), Instant::now());
        for n in 0..MOST {
            assert!(once.takes_at(Uuid::from_u128(n as u128), start));
        }
        assert!(!once.takes_at(Uuid::from_u128(u128::MAX), start));
        assert!(once.takes_at(Uuid::from_u128(u128::MAX), start + MEMORY));
    }
}
