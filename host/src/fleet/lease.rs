//! Leases: one holder at a time in the whole fleet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Names by which tasks of this process wait for one another, so that at most one of them asks the engine.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Vec<u8>, Weak<Turn<()>>>>);

impl Turns {
    fn of(&self, name: &[u8]) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        // A name of which nobody has a turn any more is forgotten when another one comes.
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(name.to_vec(), Arc::downgrade(&turn));
        turn
    }

    /// Waits for its turn; first come, first served.
    pub(super) async fn wait(&self, name: &[u8]) -> OwnedMutexGuard<()> {
        self.of(name).lock_owned().await
    }

    /// A turn, if nobody has it now.
    pub(super) fn try_now(&self, name: &[u8]) -> Option<OwnedMutexGuard<()>> {
        self.of(name).try_lock_owned().ok()
    }
}

/// Held by one at a time in the whole fleet, until it is dropped. It is renewed as long as it is held, and
/// ends by itself when the holder cannot do that any more.
#[derive(Debug)]
pub struct Lease {
    _turn: OwnedMutexGuard<()>,
}

impl Lease {
    pub(super) fn alone(turn: OwnedMutexGuard<()>) -> Self {
        Self { _turn: turn }
    }

    /// Whether nobody else can have it now. To be asked before something that must not happen twice: a
    /// holder that could not renew its lease in time has lost it.
    pub fn is_held(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_that_nobody_uses_are_forgotten() {
        let turns = Turns::default();
        let first = turns.wait(b"a").await;
        assert!(turns.try_now(b"a").is_none());
        let other = turns.try_now(b"b").expect("another one's");
        assert_eq!(turns.0.lock().expect("a lock").len(), 2);
        drop((first, other));
        let again = turns.try_now(b"a").expect("free again");
        assert_eq!(turns.0.lock().expect("a lock").len(), 1);
        drop(again);
    }
}
