//! One client, many gateways: its next request may come to any of them.
//!
//! Most of what a client has carries itself (sessions, `requestState`: sealed). This is for the rest, which
//! lies with one gateway of the fleet: what that one tells the others ([`News`]), what it leaves for them
//! ([`parcel`]), and what each does about it. A gateway by itself has nobody to tell, and does none of it.
//!
//! News may get lost. So nothing depends on it alone: what must be known lies on a shelf, where whoever
//! hears of a gap, or comes later, looks.

mod answers;
mod keys;
mod later;
mod parcel;
mod resume;
mod subscribed;
mod takeover;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Gateway, in_flight, session};
use crate::fleet::{Heard, Hearing, Shelf, Topic};
use crate::mcp::log_level::LogLevel;
use crate::types::SessionId;

pub(super) use answers::{answered, question_id};
pub(super) use later::Later;
pub(super) use resume::{Place, Resumed, Shipped, Told, resume};
pub(super) use subscribed::{NotChanged, Subscribed, change, note_told, shared};
pub(super) use takeover::{comes_from_elsewhere, listens};

use resume::{Progress, Resuming};
use takeover::Listeners;

/// How often what could not be told is told again, and what waits is looked for.
const ROUND: Duration = Duration::from_secs(5);
/// Longest that a start waits for what others know.
const CATCHING_UP: Duration = Duration::from_secs(3);

/// What gateways tell one another of their clients. Ids and digests only; what clients say themselves lies sealed
/// on a shelf. A version that does not know a kind of news does not hear it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// A session was ended.
    Ended(SessionId),
    /// A session wants these log messages.
    Level(SessionId, LogLevel),
    /// A session has subscribed to something, or does no more.
    Subscribed(SessionId),
    /// A session listens on a new stream.
    Listens(SessionId),
    /// The answer to a question lies on the shelf.
    Answered(SessionId, String),
    /// Whoever serves the request of this digest lets go of it.
    Cancelled(in_flight::Digest),
    /// What a parked call waits for lies on the shelf.
    Resume(resume::Place, resume::Attempt),
    /// What came of that lies on the shelf of whoever asked.
    Next(resume::Attempt),
    /// The parked call was not taken up, because what it waits for was not on the shelf.
    NotTaken(resume::Attempt),
    /// It was, and what came of it was told already.
    Told(resume::Attempt),
    /// Nobody waits for the call any more.
    LetGo(resume::Place, resume::Attempt),
}

/// What a gateway has to do with clients that are elsewhere, too.
#[derive(Default)]
pub struct Elsewhere {
    listeners: Listeners,
    resuming: Resuming,
    /// Sessions with subscriptions that the others do not know of yet.
    pub(super) subscribed: Later<()>,
    /// Whether it was said that there is a gateway with which no key is shared.
    no_common_key: AtomicBool,
}

/// Tells the others.
pub(super) fn tell(gw: &Gateway, news: &News) {
    if gw.fleet.is_alone() {
        return;
    }
    if let Ok(text) = serde_json::to_vec(news) {
        gw.fleet.tell(Topic::Clients, text);
    }
}

/// Learns what the others know, before the first request. What cannot be learnt now is learnt later.
pub async fn catch_up(gw: &Arc<Gateway>) {
    if gw.fleet.is_alone() {
        return;
    }
    let learning = async {
        keys::agree(gw).await;
        session::learn(gw).await;
    };
    // Whatever it was, the rounds go on with it.
    let _ = tokio::time::timeout(CATCHING_UP, learning).await;
}

/// Hears what the others tell from now on, for ever.
pub fn keep_hearing(gw: Arc<Gateway>) -> impl Future<Output = ()> + Send {
    let hearing = gw.fleet.hear(Topic::Clients);
    hear(gw, hearing)
}

async fn hear(gw: Arc<Gateway>, mut hearing: Hearing) {
    loop {
        match hearing.next().await {
            Heard::Said(text) => {
                if let Ok(news) = serde_json::from_slice(&text) {
                    heard(&gw, news);
                }
            }
            Heard::Gap => {
                gw.levels.forget_all();
                let gw = Arc::clone(&gw);
                tokio::spawn(async move { look_again(&gw).await });
            }
        }
    }
}

/// Does again and again what may have failed or been missed, for ever.
pub async fn keep_up(gw: Arc<Gateway>) {
    if gw.fleet.is_alone() {
        return;
    }
    loop {
        tokio::time::sleep(ROUND).await;
        keys::agree(&gw).await;
        session::reconcile(&gw).await;
        session::tell_levels(&gw).await;
        subscribed::tell_late(&gw).await;
        answers::look(&gw).await;
        gw.elsewhere.listeners.sweep(&gw);
    }
}

/// Something may have been missed.
async fn look_again(gw: &Gateway) {
    session::learn(gw).await;
    answers::look(gw).await;
    takeover::look(gw).await;
    subscribed::look(gw).await;
}

/// Lets go of what is kept of a session that has ended.
pub(super) async fn forget(gw: &Gateway, session: SessionId) {
    let shelves = [Shelf::Levels, Shelf::Subscriptions, Shelf::Streams];
    let each = shelves.map(|shelf| gw.fleet.remove(shelf, session.as_bytes()));
    // If not now, it ends by itself.
    let _ = futures_util::future::join_all(each).await;
}

/// Does at once what is done at once, and the rest aside.
fn heard(gw: &Arc<Gateway>, news: News) {
    let aside = Arc::clone(gw);
    match news {
        News::Ended(session) => session::ended_elsewhere(gw, session),
        News::Level(session, level) => gw.levels.heard(session, level),
        News::Cancelled(digest) => gw.in_flight.cancelled_elsewhere(&digest),
        News::Next(attempt) => gw.elsewhere.resuming.heard(attempt, Progress::Next),
        News::NotTaken(attempt) => gw.elsewhere.resuming.heard(attempt, Progress::NotTaken),
        News::Told(attempt) => gw.elsewhere.resuming.heard(attempt, Progress::Told),
        News::LetGo(place, attempt) => resume::let_go(gw, place, attempt),
        News::Resume(place, attempt) if place.at == gw.fleet.instance() => {
            tokio::spawn(async move { resume::serve(&aside, place, attempt).await });
        }
        News::Answered(session, id) if gw.waiting.waits(session, &id) => {
            tokio::spawn(async move { answers::fetch(&aside, session, &id).await });
        }
        News::Listens(session) if gw.elsewhere.listeners.has(session) => {
            tokio::spawn(async move { takeover::check(&aside, session).await });
        }
        News::Subscribed(session) if gw.elsewhere.listeners.has(session) => {
            tokio::spawn(async move { subscribed::look_at(&aside, session).await });
        }
        News::Resume(..) | News::Answered(..) | News::Listens(..) | News::Subscribed(..) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_small_and_what_a_later_version_says_is_passed_over() {
        let session = SessionId::new();
        let news = News::Level(session, LogLevel::Error);
        let text = serde_json::to_vec(&news).expect("text");
        let read: News = serde_json::from_slice(&text).expect("news");
        assert!(matches!(read, News::Level(of, LogLevel::Error) if of == session));
        assert!(text.len() < 100);
        assert!(serde_json::from_str::<News>(r#"{"Later":[1]}"#).is_err());
    }
}
