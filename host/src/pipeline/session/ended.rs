//! Sessions that their clients have ended.
//!
//! A session id proves itself, so that only its end has to be remembered, and only as long as it
//! would have lived. In memory, and on a shelf where there are other gateways: the one where it ends tells
//! the others, and whoever starts or has missed something looks there. A gateway by itself forgets at its
//! restart, and an ended session could be used again by the very caller who ended it, who gains nothing by
//! that.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::StreamExt as _;
use tracing::debug;

use crate::fleet::{Away, Shelf};
use crate::pipeline::Gateway;
use crate::pipeline::elsewhere::{self, Later, News};
use crate::seal::Purpose;
use crate::types::SessionId;

/// Ended sessions that are remembered; with more, the oldest are forgotten.
const MAX: usize = 100_000;
/// Lies among the ended sessions on the shelf. Without it the shelf has been emptied, by a restart of the engine.
const WHOLE: &[u8] = b"whole";
/// Sessions that are put on the shelf at one time.
const AT_ONE_TIME: usize = 32;

/// Remembers ended sessions.
#[derive(Default)]
pub struct Ended {
    here: Mutex<Inner>,
    /// What the others do not know yet.
    later: Later<()>,
}

/// Ends a session here and everywhere.
pub(super) async fn end(gw: &Gateway, session: SessionId) {
    ended_elsewhere(gw, session);
    if gw.fleet.is_alone() {
        return;
    }
    elsewhere::tell(gw, &News::Ended(session));
    if put(gw, session).await.is_err() {
        gw.ended.later.keep(session, ());
    }
    elsewhere::forget(gw, session).await;
}

/// A session was ended at another gateway.
pub(in crate::pipeline) fn ended_elsewhere(gw: &Gateway, session: SessionId) {
    gw.ended.insert(session);
    gw.streams.end_session(session);
    gw.watches.end_session(session);
}

/// Brings memory and shelf together: what was missed here, what could not be told, and everything where the shelf
/// was emptied.
pub(in crate::pipeline) async fn reconcile(gw: &Gateway) {
    let late = gw.ended.later.take_all();
    for (session, ()) in late {
        elsewhere::tell(gw, &News::Ended(session));
        if put(gw, session).await.is_err() {
            gw.ended.later.keep(session, ());
        }
    }
    let Ok(whole) = gw.fleet.get(Shelf::Ended, WHOLE).await else {
        return;
    };
    if whole.is_some() {
        return;
    }
    let known = gw.ended.all();
    debug!(
        sessions = known.len(),
        "ended sessions go onto an empty shelf"
    );
    let each = known.into_iter().map(|session| put(gw, session));
    let put: Vec<_> = futures_util::stream::iter(each)
        .buffer_unordered(AT_ONE_TIME)
        .collect()
        .await;
    if put.iter().all(Result::is_ok) {
        let life = Purpose::Session.life();
        // If not, it is done again.
        let _ = gw.fleet.put(Shelf::Ended, WHOLE, Vec::new(), life).await;
    }
}

/// Learns of all that have ended.
pub(in crate::pipeline) async fn learn(gw: &Gateway) {
    let Ok(ended) = gw.fleet.all(Shelf::Ended, MAX).await else {
        return;
    };
    let sessions = ended.iter().filter_map(|(id, _)| SessionId::from_bytes(id));
    for session in sessions.filter(|session| !gw.ended.contains(*session)) {
        ended_elsewhere(gw, session);
    }
}

async fn put(gw: &Gateway, session: SessionId) -> Result<(), Away> {
    let life = Purpose::Session.life();
    gw.fleet
        .put(Shelf::Ended, session.as_bytes(), Vec::new(), life)
        .await
}

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

    fn all(&self) -> Vec<SessionId> {
        self.lock().ids.iter().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
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
