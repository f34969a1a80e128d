//! What the others could not be told when it happened, because they could not be reached.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::SessionId;

/// Sessions of which something can be kept. What is beyond that is not told.
const MAX: usize = 10_000;

/// Something to be told of each of some sessions, once the others can be reached again.
pub(in crate::pipeline) struct Later<T>(Mutex<HashMap<SessionId, T>>);

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Later<T> {
    /// Keeps something of a session, in the place of what was kept of it.
    pub(in crate::pipeline) fn keep(&self, session: SessionId, what: T) {
        let mut kept = self.lock();
        if kept.len() < MAX || kept.contains_key(&session) {
            kept.insert(session, what);
        }
    }

    /// What is kept of a session.
    pub(in crate::pipeline) fn of(&self, session: SessionId) -> Option<T>
    where
        T: Copy,
    {
        self.lock().get(&session).copied()
    }

    /// Takes everything out, to try again: what fails is kept anew.
    pub(in crate::pipeline) fn take_all(&self) -> Vec<(SessionId, T)> {
        self.lock().drain().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_last_is_told_once_and_memory_is_bounded() {
        let (later, session) = (Later::default(), SessionId::new());
        later.keep(session, 1);
        later.keep(session, 2);
        assert_eq!(later.of(session), Some(2));
        assert_eq!(later.take_all(), [(session, 2)]);
        assert!(later.of(session).is_none() && later.take_all().is_empty());
        for n in 0..MAX + 10 {
            later.keep(SessionId::new(), n);
        }
        assert_eq!(later.take_all().len(), MAX);
    }
}
