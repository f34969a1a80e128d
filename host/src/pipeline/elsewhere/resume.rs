//! A parked call is taken up again by a request that came to another gateway.
//!
//! That one leaves what the client has answered on the shelf and tells the gateway that has the call; this
//! one takes it, goes on, and leaves what comes next. Taking is what counts: whoever has left an answer and can
//! take it back knows that nobody went on with it, and may begin the call again. If it was taken and
//! nothing comes of it, nobody knows how far the call came, and only the client can say what is to be done.

mod serving;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{News, parcel, tell};
use crate::account::Owner;
use crate::fleet::{InstanceId, Shelf};
use crate::pipeline::Gateway;
use crate::pipeline::adapter::Outcome;
use crate::pipeline::parked::LONGEST;
use crate::plugin::Cause;
use crate::plugin::model::{AskError, CallError};

pub(super) use serving::{let_go, serve};

/// How soon the gateway that has the call must have taken what was left for it.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);
/// How often is looked, besides when there is news.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two reminders, and those that a gateway that is gone (or not known yet), or an engine that is away,
/// is given.
const REMIND: u32 = 5;
const GONE: u32 = 5;
const AWAY: u32 = 30;

/// Where a call is parked, and under which id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Place {
    /// The gateway.
    pub(in crate::pipeline) at: InstanceId,
    /// The call.
    pub(in crate::pipeline) call: Uuid,
}

/// One attempt to take up a call that is parked at another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::pipeline) struct Attempt(Uuid);

/// What a parked call is told.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::pipeline) enum Told {
    /// The client's `inputResponses`, a JSON object.
    Responses(String),
    /// Why the client is not asked.
    NotAsked(AskError),
}

/// What becomes of a call that is parked at another gateway.
pub(in crate::pipeline) enum Resumed {
    /// It has ended.
    Ended(Shipped),
    /// It asks the client, and is parked there again.
    Asks {
        /// Where.
        place: Place,
        /// MCP method.
        method: String,
        /// Its params, JSON.
        params: String,
    },
    /// It asks the client, and there is no room to wait.
    NoRoom,
    /// Its end is too large to be passed on.
    TooLarge,
    /// It was over before.
    Over,
    /// Nobody went on with it, and nobody will: it can begin again.
    Again,
    /// Somebody went on with it, and nobody knows how far.
    Unknown,
}

/// How a call ends, fit to travel.
#[derive(Serialize, Deserialize)]
pub(in crate::pipeline) enum Shipped {
    /// Well.
    Well(Outcome),
    /// With an error of the owner's.
    Failed(CallError),
    /// The adapter did not survive it.
    Fault {
        /// Which adapter.
        plugin: String,
        /// What happened.
        cause: Cause,
    },
}

/// What is left for the gateway that has the call.
#[derive(Serialize, Deserialize)]
struct Request {
    issuer: String,
    subject: String,
    told: Told,
}

/// What it leaves in return.
#[derive(Serialize, Deserialize)]
enum Came {
    Ended(Shipped),
    Asks {
        call: Uuid,
        method: String,
        params: String,
    },
    NoRoom,
    TooLarge,
    Over,
}

/// What was heard of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// What comes next lies on the shelf.
    Next,
    /// What was left was not there.
    NotTaken,
    /// What came next was told before.
    Told,
}

/// Attempts of this gateway, and those of others at calls that are parked here.
pub(super) struct Resuming {
    asked: Mutex<HashMap<Attempt, Arc<Waiter>>>,
    served: Mutex<HashMap<Attempt, CancellationToken>>,
    /// Those that were served, whatever came of it: nothing is done twice.
    done: moka::sync::Cache<Attempt, ()>,
}

#[derive(Default)]
struct Waiter {
    heard: Mutex<Option<Progress>>,
    wake: Notify,
}

/// An attempt that waits for news. Dropped, it waits no longer.
struct Waiting<'a> {
    resuming: &'a Resuming,
    attempt: Attempt,
    waiter: Arc<Waiter>,
}

/// Lets the other gateway go of the call if nobody waits for it any more.
struct LettingGo<'a> {
    gw: &'a Gateway,
    place: Place,
    attempt: Attempt,
    armed: bool,
}

impl Default for Resuming {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            served: Mutex::default(),
            done: moka::sync::Cache::builder()
                .max_capacity(100_000)
                .time_to_live(2 * LONGEST)
                .build(),
        }
    }
}

impl Resuming {
    /// There is news of an attempt.
    pub(super) fn heard(&self, attempt: Attempt, progress: Progress) {
        if let Some(waiter) = lock(&self.asked).get(&attempt) {
            *lock(&waiter.heard) = Some(progress);
            waiter.wake.notify_one();
        }
    }

    fn wait(&self, attempt: Attempt) -> Waiting<'_> {
        let waiter = Arc::<Waiter>::default();
        lock(&self.asked).insert(attempt, Arc::clone(&waiter));
        Waiting {
            resuming: self,
            attempt,
            waiter,
        }
    }
}

impl Waiting<'_> {
    /// Waits for news, and not long.
    async fn news(&self) -> Option<Progress> {
        let woken = self.waiter.wake.notified();
        // Without any, it is time to look anyway.
        let _ = tokio::time::timeout(LOOK, woken).await;
        lock(&self.waiter.heard).take()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.resuming.asked).remove(&self.attempt);
    }
}

impl Drop for LettingGo<'_> {
    fn drop(&mut self) {
        if self.armed {
            tell(self.gw, &News::LetGo(self.place, self.attempt));
        }
    }
}

/// Has the gateway that has a call go on with it, and waits for what comes next. Dropped: the call is let go of.
pub(in crate::pipeline) async fn resume(
    gw: &Gateway,
    owner: &Owner,
    place: Place,
    told: Told,
) -> Resumed {
    if gw.fleet.is_alone() {
        return Resumed::Again;
    }
    let attempt = Attempt(Uuid::now_v7());
    let request = Request {
        issuer: owner.issuer.as_str().to_owned(),
        subject: owner.subject.as_str().to_owned(),
        told,
    };
    let waiting = gw.elsewhere.resuming.wait(attempt);
    let (there, back) = (attempt.request(), attempt.reply());
    let left = parcel::leave(gw, Shelf::Parked, &there, &request, LONGEST).await;
    if left.is_err() {
        return Resumed::Again;
    }
    let mut letting_go = LettingGo {
        gw,
        place,
        attempt,
        armed: true,
    };
    tell(gw, &News::Resume(place, attempt));
    let begun = Instant::now();
    let (mut taken, mut looks, mut gone, mut away) = (false, 0_u32, 0, 0);
    while begun.elapsed() < LONGEST {
        let progress = waiting.news().await;
        looks += 1;
        let came = parcel::look(gw, Shelf::Parked, &back).await;
        away = if came.is_err() { away + 1 } else { 0 };
        if let Ok(Some(came)) = came {
            letting_go.armed = false;
            // It ends by itself if not.
            let _ = gw.fleet.remove(Shelf::Parked, &back).await;
            return resumed(place, came);
        }
        match progress {
            Some(Progress::NotTaken) => return Resumed::Again,
            Some(Progress::Told) => return Resumed::Unknown,
            Some(Progress::Next) | None => {}
        }
        let alive = gw.fleet.is_alive(place.at);
        if !taken && (!alive || begun.elapsed() >= TAKEN_WITHIN) {
            match gw.fleet.take(Shelf::Parked, &there).await {
                Ok(Some(_)) => return Resumed::Again,
                Ok(None) => taken = true,
                Err(_) => {}
            }
        }
        gone = if taken && !alive { gone + 1 } else { 0 };
        if gone >= GONE || away >= AWAY {
            return Resumed::Unknown;
        }
        if taken && looks.is_multiple_of(REMIND) {
            tell(gw, &News::Resume(place, attempt));
        }
    }
    Resumed::Unknown
}

fn resumed(place: Place, came: Came) -> Resumed {
    match came {
        Came::Ended(shipped) => Resumed::Ended(shipped),
        Came::Asks {
            call,
            method,
            params,
        } => Resumed::Asks {
            place: Place { call, ..place },
            method,
            params,
        },
        Came::NoRoom => Resumed::NoRoom,
        Came::TooLarge => Resumed::TooLarge,
        Came::Over => Resumed::Over,
    }
}

impl Attempt {
    /// Where what is told lies.
    fn request(self) -> Vec<u8> {
        [b"told:", self.0.as_bytes().as_slice()].concat()
    }

    /// Where what comes of it lies.
    fn reply(self) -> Vec<u8> {
        [b"came:", self.0.as_bytes().as_slice()].concat()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
