//! Sessions that their clients have ended.
//!
//! A session id proves itself, so that only its end has to be remembered, and only as long as it
//! would have lived. In memory: after a restart, or at another instance, an ended session could
//! be used again by the very caller who ended it, who gains nothing by that.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::seal::Purpose;
use crate::types::SessionId;

/// Ended sessions that are remembered; with more, the oldest are forgotten.
const MAX: usize = 100_000;

/// Remembers ended sessions.
#[derive(Default)]
pub struct Ended(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ids: HashSet<SessionId>,
    /// In the order in which they ended.
    order: VecDeque<(Instant, SessionId)>,
}

impl Ended {
    /// Whether a session has ended.
    pub(super) fn contains(&self, id: SessionId) -> bool {
        self.lock().ids.contains(&id)
    }

    /// Remembers that a session has ended.
    pub(super) fn insert(&self, id: SessionId) {
        self.insert_at(id, Instant::now());
    }

    fn insert_at(&self, id: SessionId, now: Instant) {
        let mut inner = self.lock();
        if inner.ids.contains(&id) {
            return;
        }
        while let Some((when, oldest)) = inner.order.front().copied() {
            let outlived = now.saturating_duration_since(when) > Purpose::Session.life();
            if !outlived && inner.order.len() < MAX {
                break;
            }
            inner.order.pop_front();
            inner.ids.remove(&oldest);
        }
        inner.ids.insert(id);
        inner.order.push_back((now, id));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_remembered_as_long_as_the_session_would_have_lived() {
        let ended = Ended::default();
        let begin = Instant::now();
        let (first, second) = (SessionId::new(), SessionId::new());
        ended.insert_at(first, begin);
        assert!(ended.contains(first) && !ended.contains(second));
        ended.insert_at(second, begin + Purpose::Session.life());
        assert!(ended.contains(first) && ended.contains(second));
        let third = SessionId::new();
        ended.insert_at(third, begin + Purpose::Session.life() * 3 / 2);
        assert!(!ended.contains(first) && ended.contains(second) && ended.contains(third));
    }

    #[test]
    fn the_memory_is_bounded() {
        let ended = Ended::default();
        let ids: Vec<_> = (0..MAX + 10).map(|_| SessionId::new()).collect();
        for id in &ids {
            ended.insert(*id);
            ended.insert(*id);
        }
        let inner = ended.lock();
        assert_eq!((inner.ids.len(), inner.order.len()), (MAX, MAX));
        assert!(!inner.ids.contains(&ids[9]) && inner.ids.contains(&ids[10]));
    }
}
