//! Calls that go on while their client is away: the owner asked in the middle of an exchange that stays
//! open, and a modern client answers with a request of its own (MCP 2026-07-28, Multi Round-Trip
//! Requests). Until it comes back the call is parked: bound to the caller and the request by the seal
//! of its `requestState`, for ten minutes at most, and a bounded number of them. What it comes back with may reach
//! another gateway: `elsewhere/resume.rs`.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use uuid::Uuid;

use super::adapter::Outcome;
use crate::account::Owner;
use crate::plugin::model::CallError;
use crate::plugin::{Fault, Question, Questions};

/// Longest that a call is parked: as long as the seal of its state is good.
pub(super) const LONGEST: Duration = Duration::from_secs(600);
/// Calls that are parked, of everybody and of one caller. Each keeps an instance of its plugin and a
/// connection to its owner.
const MOST: usize = 64;
const MOST_OF_ONE: usize = 8;

/// How a call ends.
pub(super) type Ended = Result<Result<Outcome, CallError>, Fault>;

/// A call that is under way.
pub(super) struct Running {
    work: Pin<Box<dyn Future<Output = Ended> + Send>>,
    questions: Questions,
}

/// What comes next of a call.
pub(super) enum Next {
    /// Its end.
    Ended(Ended),
    /// A question to the client, for whose answer it waits.
    Asks(Question),
}

impl Running {
    pub(super) fn new(
        work: impl Future<Output = Ended> + Send + 'static,
        questions: Questions,
    ) -> Self {
        Self {
            work: Box::pin(work),
            questions,
        }
    }

    /// A call that has ended already.
    pub(super) fn over(ended: Ended) -> Self {
        Self::new(std::future::ready(ended), Questions::default())
    }

    /// Waits for what comes next. Not to be called after the end.
    pub(super) async fn next(&mut self) -> Next {
        poll_fn(|context| match self.work.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(Next::Ended(ended)),
            Poll::Pending => (self.questions.take())
                .map_or(Poll::Pending, |question| Poll::Ready(Next::Asks(question))),
        })
        .await
    }
}

/// A parked call with the question that it waits with.
pub(super) struct Waiting {
    pub(super) call: Running,
    pub(super) question: Question,
}

struct Entry {
    owner: Owner,
    waiting: Waiting,
}

/// Parked calls.
#[derive(Clone, Default)]
pub struct Parked(Arc<Mutex<HashMap<Uuid, Entry>>>);

impl Parked {
    /// Parks a call. The error gives it back: there is no room.
    pub(super) fn park(&self, owner: Owner, waiting: Waiting) -> Result<Uuid, Waiting> {
        let id = Uuid::now_v7();
        {
            let mut all = self.lock();
            let of_one = all.values().filter(|entry| entry.owner == owner).count();
            if all.len() >= MOST || of_one >= MOST_OF_ONE {
                return Err(waiting);
            }
            all.insert(id, Entry { owner, waiting });
        }
        let parked = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LONGEST).await;
            // Dropping it ends it.
            drop(parked.take(id));
        });
        Ok(id)
    }

    /// Takes a call up again. `None`: it is over, or was taken up before.
    pub(super) fn take(&self, id: Uuid) -> Option<Waiting> {
        let entry = self.lock().remove(&id);
        entry.map(|entry| entry.waiting)
    }

    /// The same, if it is this owner's.
    pub(super) fn take_of(&self, id: Uuid, owner: &Owner) -> Option<Waiting> {
        let mut all = self.lock();
        let is_owners = all.get(&id).is_some_and(|entry| entry.owner == *owner);
        let entry = is_owners.then(|| all.remove(&id)).flatten();
        entry.map(|entry| entry.waiting)
    }

    /// How many are parked.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Issuer, Subject};

    fn owner(subject: &str) -> Owner {
        Owner {
            issuer: Issuer::new("https://login.example"),
            subject: Subject::new(subject),
        }
    }

    fn waiting() -> Waiting {
        let (reply, _) = tokio::sync::oneshot::channel();
        Waiting {
            call: Running::new(std::future::pending(), Questions::default()),
            question: Question {
                method: "roots/list".to_owned(),
                params: "{}".to_owned(),
                reply,
            },
        }
    }

    #[tokio::test]
    async fn a_call_is_taken_up_once_and_leaves_room_for_others() {
        let parked = Parked::default();
        let id = parked.park(owner("ada"), waiting()).ok().expect("room");
        assert!(parked.take(id).is_some() && parked.take(id).is_none());
        for _ in 0..MOST_OF_ONE {
            assert!(parked.park(owner("ada"), waiting()).is_ok());
        }
        assert!(parked.park(owner("ada"), waiting()).is_err());
        assert!(parked.park(owner("bob"), waiting()).is_ok());
        for n in parked.len()..MOST {
            assert!(parked.park(owner(&n.to_string()), waiting()).is_ok());
        }
        assert!(parked.park(owner("one more"), waiting()).is_err());
    }
}
