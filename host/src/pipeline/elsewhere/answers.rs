//! Answers to questions that another gateway asked: of a legacy client, on the stream of its request.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::{debug, warn};

use super::parcel::{self, NotLeft, Parcel};
use super::{News, tell};
use crate::fleet::{Fleet, InstanceId, Shelf, Topic};
use crate::mcp::jsonrpc::{Id, Response};
use crate::pipeline::Gateway;
use crate::pipeline::rounds::PATIENCE;
use crate::seal::{Purpose, Sealer};
use crate::types::SessionId;

/// How often an answer is left again while the others cannot be reached, and how long between.
const TRIES: u32 = 30;
const BETWEEN: Duration = Duration::from_secs(1);

/// An answer on its way.
#[derive(Serialize, Deserialize)]
enum Answer {
    Result(Box<RawValue>),
    Error(Box<RawValue>),
}

/// The id of a question that any gateway of the fleet knows for one of this session's: nobody can have
/// answers passed on to questions that were not asked.
pub(in crate::pipeline) fn question_id(
    fleet: &Fleet,
    sealer: &Sealer,
    session: SessionId,
) -> Option<String> {
    let asked = serde_json::to_vec(&(fleet.instance(), uuid::Uuid::now_v7())).ok()?;
    sealer
        .seal(Purpose::Question, &[session.as_bytes()], &asked)
        .ok()
}

/// Passes on an answer to a question that was not asked here. One to no question of the fleet's is let go of, as
/// one to no question of this gateway's is.
pub(in crate::pipeline) async fn answered(gw: &Gateway, session: SessionId, response: Response) {
    let Id::Text(id) = response.id else { return };
    if gw.fleet.is_alone() || !was_asked_elsewhere(gw, session, &id) {
        return;
    }
    let answer = match response.outcome {
        Ok(result) => Answer::Result(result),
        Err(error) => Answer::Error(error),
    };
    let key = key(session, &id);
    let parcel = match Parcel::seal(&gw.sealer, Shelf::Answers, &key, &answer) {
        Ok(parcel) => parcel,
        Err(why) => {
            warn!(session.id = %session, "an answer is not passed on to the gateway that asked: {why}");
            return;
        }
    };
    let news = News::Answered(session, id);
    if parcel.leave(&gw.fleet, PATIENCE).await.is_ok() {
        tell(gw, &news);
        return;
    }
    // The client was told that it is accepted.
    let fleet = gw.fleet.clone();
    tokio::spawn(async move {
        for _ in 0..TRIES {
            tokio::time::sleep(BETWEEN).await;
            if parcel.leave(&fleet, PATIENCE).await.is_ok() {
                if let Ok(text) = serde_json::to_vec(&news) {
                    fleet.tell(Topic::Clients, text);
                }
                return;
            }
        }
        warn!(session.id = %session, "an answer is not passed on to the gateway that asked: {}", NotLeft::Away(crate::fleet::Away));
    });
}

fn was_asked_elsewhere(gw: &Gateway, session: SessionId, id: &str) -> bool {
    let opened = gw
        .sealer
        .open(Purpose::Question, &[session.as_bytes()], id)
        .ok();
    let asked = opened.and_then(|asked| {
        let (instance, _): (InstanceId, uuid::Uuid) = serde_json::from_slice(&asked).ok()?;
        Some(instance)
    });
    asked.is_some_and(|instance| instance != gw.fleet.instance())
}

/// Takes an answer off the shelf to who waits for it.
pub(super) async fn fetch(gw: &Gateway, session: SessionId, id: &str) {
    let key = key(session, id);
    let Ok(Some(answer)) = parcel::look(gw, Shelf::Answers, &key).await else {
        return;
    };
    let outcome = match answer {
        Answer::Result(result) => Ok(result),
        Answer::Error(error) => Err(error),
    };
    let response = Response {
        id: Id::Text(id.to_owned()),
        outcome,
    };
    debug!(session.id = %session, "an answer came to another gateway");
    drop(gw.waiting.answered(session, response));
    // It ends by itself if not.
    let _ = gw.fleet.remove(Shelf::Answers, &key).await;
}

/// Looks for all answers that are waited for here.
pub(super) async fn look(gw: &Gateway) {
    for (session, id) in gw.waiting.all() {
        fetch(gw, session, &id).await;
    }
}

fn key(session: SessionId, id: &str) -> Vec<u8> {
    [session.as_bytes(), id.as_bytes()].concat()
}
