//! The other side: a call that is parked here is taken up by a request at another gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use uuid::Uuid;

use super::{Attempt, Came, Place, Request, Shipped, Told, lock};
use crate::account::Owner;
use crate::fleet::Shelf;
use crate::pipeline::Gateway;
use crate::pipeline::adapter::QUESTION;
use crate::pipeline::elsewhere::parcel::{self, NotLeft, Parcel};
use crate::pipeline::elsewhere::{News, tell};
use crate::pipeline::parked::{Ended, LONGEST, Next, Waiting};
use crate::types::{Issuer, Subject};

/// How often what came of a call is left again while the others cannot be reached, and how long between.
const TRIES: u32 = 30;
const BETWEEN: Duration = Duration::from_secs(1);

/// An attempt that is served. Over when dropped, and not served again.
struct Serving<'a> {
    gw: &'a Gateway,
    attempt: Attempt,
    called_off: CancellationToken,
    taken: bool,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        let resuming = &self.gw.elsewhere.resuming;
        if self.taken {
            resuming.done.insert(self.attempt, ());
        }
        lock(&resuming.served).remove(&self.attempt);
    }
}

/// Goes on with a call that is parked here, and leaves what comes next. However often it is asked to, it does so
/// once.
pub(in crate::pipeline::elsewhere) async fn serve(gw: &Gateway, place: Place, attempt: Attempt) {
    let Some(mut serving) = begin(gw, attempt) else {
        return;
    };
    let request: Request = match parcel::take(gw, Shelf::Parked, &attempt.request()).await {
        Ok(Some(request)) => request,
        Ok(None) => {
            tell(gw, &News::NotTaken(attempt));
            return;
        }
        // Whether it was taken is seen when it is asked for again.
        Err(_) => return,
    };
    serving.taken = true;
    let called_off = serving.called_off.clone();
    let came = tokio::select! {
        biased;
        () = called_off.cancelled() => {
            debug!("nobody waits for a parked call any more that was taken up");
            return;
        }
        came = go_on(gw, place.call, request) => came,
    };
    let key = attempt.reply();
    let sealed = match Parcel::seal(&gw.sealer, Shelf::Parked, &key, &came) {
        Err(NotLeft::TooLarge) => Parcel::seal(&gw.sealer, Shelf::Parked, &key, &Came::TooLarge),
        sealed => sealed,
    };
    let parcel = match sealed {
        Ok(parcel) => parcel,
        Err(why) => {
            error!("what came of a parked call cannot be passed on: {why}");
            return;
        }
    };
    for _ in 0..TRIES {
        if parcel.leave(&gw.fleet, LONGEST).await.is_ok() {
            tell(gw, &News::Next(attempt));
            return;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    warn!(
        "what came of a parked call could not be passed on: the other gateways cannot be reached"
    );
}

/// Nobody waits for a call that is parked here, or that was taken up.
pub(in crate::pipeline::elsewhere) fn let_go(gw: &Gateway, place: Place, attempt: Attempt) {
    if place.at != gw.fleet.instance() {
        return;
    }
    let resuming = &gw.elsewhere.resuming;
    resuming.done.insert(attempt, ());
    match lock(&resuming.served).get(&attempt) {
        Some(serving) => serving.cancel(),
        // Dropping it ends it.
        None => drop(gw.parked.take(place.call)),
    }
}

/// `None`: it is being served, or was.
fn begin(gw: &Gateway, attempt: Attempt) -> Option<Serving<'_>> {
    let resuming = &gw.elsewhere.resuming;
    let mut served = lock(&resuming.served);
    if served.contains_key(&attempt) {
        return None;
    }
    if resuming.done.contains_key(&attempt) {
        tell(gw, &News::Told(attempt));
        return None;
    }
    let called_off = CancellationToken::new();
    served.insert(attempt, called_off.clone());
    Some(Serving {
        gw,
        attempt,
        called_off,
        taken: false,
    })
}

async fn go_on(gw: &Gateway, call: Uuid, request: Request) -> Came {
    let owner = Owner {
        issuer: Issuer::new(request.issuer),
        subject: Subject::new(request.subject),
    };
    let Some(waiting) = gw.parked.take_of(call, &owner) else {
        return Came::Over;
    };
    let Waiting { mut call, question } = waiting;
    let reply = match request.told {
        Told::NotAsked(why) => Err(why),
        Told::Responses(responses) => {
            let responses: BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(&responses).unwrap_or_default();
            match responses.get(QUESTION) {
                Some(answer) => Ok(answer.get().to_owned()),
                // Missing answers are asked for again.
                None => return park(gw, owner, Waiting { call, question }),
            }
        }
    };
    // Who asked may have gone.
    drop(question.reply.send(reply));
    match call.next().await {
        Next::Ended(ended) => Came::Ended(ship(ended)),
        Next::Asks(question) => park(gw, owner, Waiting { call, question }),
    }
}

fn park(gw: &Gateway, owner: Owner, waiting: Waiting) -> Came {
    let question = &waiting.question;
    let (method, params) = (question.method.clone(), question.params.clone());
    match gw.parked.park(owner, waiting) {
        Ok(call) => Came::Asks {
            call,
            method,
            params,
        },
        // Ends with this.
        Err(_) => Came::NoRoom,
    }
}

fn ship(ended: Ended) -> Shipped {
    match ended {
        Ok(Ok(outcome)) => Shipped::Well(outcome),
        Ok(Err(error)) => Shipped::Failed(error),
        Err(fault) => {
            error!("{fault}; hint: {}", fault.cause.hint());
            Shipped::Fault {
                plugin: fault.plugin.as_str().to_owned(),
                cause: fault.cause,
            }
        }
    }
}
