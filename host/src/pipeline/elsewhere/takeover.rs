//! A session has one notification stream: a newer one replaces an older one that is at another gateway.
//!
//! Which is the newest says the shelf; who has opened one writes there, and tells the others to look. What the
//! session has subscribed to goes with the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::debug;
use uuid::Uuid;

use super::{News, subscribed, tell};
use crate::fleet::Shelf;
use crate::pipeline::Gateway;
use crate::pipeline::auth::Caller;
use crate::seal::Purpose;
use crate::streams::Channel;
use crate::types::SessionId;

/// The sessions that listen here.
#[derive(Default)]
pub(super) struct Listeners(Mutex<HashMap<SessionId, Listener>>);

#[derive(Clone)]
pub(super) struct Listener {
    /// The stream, as it is told from all others. Sorts by time.
    stream: Uuid,
    /// As whom it listens.
    pub(super) caller: Caller,
}

impl Listeners {
    pub(super) fn has(&self, session: SessionId) -> bool {
        self.lock().contains_key(&session)
    }

    pub(super) fn of(&self, session: SessionId) -> Option<Listener> {
        self.lock().get(&session).cloned()
    }

    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.lock().keys().copied().collect()
    }

    /// Forgets those whose streams nobody will come back to.
    pub(super) fn sweep(&self, gw: &Gateway) {
        let has_stream = |session: &SessionId| gw.streams.of_session(*session).is_some();
        self.lock().retain(|session, _| has_stream(session));
    }

    /// Forgets a session, unless it has another stream here meanwhile.
    fn leave(&self, session: SessionId, stream: Uuid) -> bool {
        let mut all = self.lock();
        let is_same = all.get(&session).is_some_and(|of| of.stream == stream);
        if is_same {
            all.remove(&session);
        }
        is_same
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a session that comes to listen was last listening at another gateway. A stream that it had here before
/// proves nothing: that another one has replaced it may not have been heard yet.
pub(in crate::pipeline) async fn comes_from_elsewhere(gw: &Gateway, session: SessionId) -> bool {
    if gw.fleet.is_alone() {
        return false;
    }
    let here = gw.elsewhere.listeners.of(session);
    let here = here.map(|listener| listener.stream);
    matches!(newest(gw, session).await, Some(newest @ Some(_)) if newest != here)
}

/// A session listens here from now on, and no more at another gateway.
pub(in crate::pipeline) async fn listens(
    gw: &Gateway,
    session: SessionId,
    caller: &Caller,
    channel: &Arc<Channel>,
) {
    if gw.fleet.is_alone() {
        return;
    }
    let listener = Listener {
        stream: Uuid::now_v7(),
        caller: caller.clone(),
    };
    let stream = listener.stream;
    gw.elsewhere.listeners.lock().insert(session, listener);
    announce(gw, session, stream).await;
    subscribed::take_over(gw, session, caller, channel).await;
}

/// Another stream of a session may be newer than the one here.
pub(super) async fn check(gw: &Gateway, session: SessionId) {
    let Some(here) = gw.elsewhere.listeners.of(session) else {
        return;
    };
    if let Some(Some(newest)) = newest(gw, session).await
        && newest != here.stream
    {
        give_up(gw, session, here.stream);
    }
}

/// Nobody knows which news was missed: of two streams the one that was opened later stays.
pub(super) async fn look(gw: &Gateway) {
    for session in gw.elsewhere.listeners.sessions() {
        let Some(here) = gw.elsewhere.listeners.of(session) else {
            continue;
        };
        match newest(gw, session).await {
            Some(Some(newest)) if newest > here.stream => give_up(gw, session, here.stream),
            Some(Some(newest)) if newest == here.stream => {}
            Some(_) => announce(gw, session, here.stream).await,
            None => return,
        }
    }
}

fn give_up(gw: &Gateway, session: SessionId, stream: Uuid) {
    if gw.elsewhere.listeners.leave(session, stream) {
        debug!(session.id = %session, "a session listens at another gateway now");
        gw.streams.taken_over(session);
        if gw.elsewhere.subscribed.of(session).is_none() {
            gw.watches.end_session(session);
        }
    }
}

async fn announce(gw: &Gateway, session: SessionId, stream: Uuid) {
    let (stream, life) = (stream.as_bytes().to_vec(), Purpose::Session.life());
    let put = gw
        .fleet
        .put(Shelf::Streams, session.as_bytes(), stream, life);
    // If it fails, it is done when the gap is heard of.
    if put.await.is_ok() {
        tell(gw, &News::Listens(session));
    }
}

/// The newest stream of a session. `None`: that cannot be told now.
async fn newest(gw: &Gateway, session: SessionId) -> Option<Option<Uuid>> {
    let stream = gw
        .fleet
        .get(Shelf::Streams, session.as_bytes())
        .await
        .ok()?;
    Some(stream.and_then(|stream| Uuid::from_slice(&stream).ok()))
}
