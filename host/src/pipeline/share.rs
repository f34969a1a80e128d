//! One caller's share of the gateway (`CORTEX_MAX_CONCURRENT_PER_CALLER`): nobody takes all the
//! places there are for requests at one time.
//!
//! A caller is an issuer and a subject, whichever token they present. A place is given back once
//! the answer has left for the client, not when it is ready: who asks for much and reads nothing
//! holds memory, and it is counted against whom it belongs to. Notification streams have bounds of
//! their own. Messages that ask for nothing get through when all places are taken: they may be
//! the answers that those who hold the places wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Refusal;
use super::auth::{Authenticated, Caller};
use super::pool::InPool;
use crate::types::{Issuer, Principal, Subject};

type Key = (Issuer, Subject);

/// Messages of one caller that may be read beyond the requests being served.
const READING: usize = 16;

/// Who has how many requests at the moment.
pub struct Shares {
    max: usize,
    callers: Mutex<HashMap<Key, Taken>>,
}

#[derive(Default)]
struct Taken {
    reading: usize,
    serving: usize,
}

/// A place among the messages of one caller, first to be read and then, if it is a request, to
/// be served. Given back when dropped.
pub struct Place {
    shares: Arc<Shares>,
    caller: Key,
    serving: bool,
}

/// A request that has a place in its caller's share.
pub(super) struct InShare(Authenticated);

impl InShare {
    pub(super) fn into_inner(self) -> Authenticated {
        self.0
    }
}

impl Shares {
    /// At most so many requests of one caller at one time.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            callers: Mutex::default(),
        }
    }

    fn take(self: &Arc<Self>, principal: &Principal) -> Option<Place> {
        let caller = (principal.issuer.clone(), principal.subject.clone());
        let mut callers = self.lock();
        let taken = callers.entry(caller.clone()).or_default();
        // Whoever is at the bound is there with a number above zero: nothing is left behind.
        if taken.reading + taken.serving >= self.max.saturating_add(READING) {
            return None;
        }
        taken.reading += 1;
        drop(callers);
        Some(Place {
            shares: Arc::clone(self),
            caller,
            serving: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Taken>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What was read is to be served.
    pub(super) fn serve(&mut self) -> Result<(), Refusal> {
        let mut callers = self.shares.lock();
        let taken = callers.entry(self.caller.clone()).or_default();
        if taken.serving >= self.shares.max {
            return Err(Refusal::TooManyAtOnce);
        }
        taken.serving += 1;
        taken.reading -= 1;
        self.serving = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = self.shares.lock();
        if let Some(taken) = callers.get_mut(&self.caller) {
            if self.serving {
                taken.serving -= 1;
            } else {
                taken.reading -= 1;
            }
            if taken.serving + taken.reading == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

/// Takes a place for whatever a caller wants.
pub(super) fn take(shares: &Arc<Shares>, caller: &Caller) -> Result<Place, Refusal> {
    let place = shares.take(caller.principal());
    place.ok_or(Refusal::TooManyAtOnce)
}

/// Lets a message be read whose caller has not too much under way, and takes a place for it.
pub(super) fn check(shares: &Arc<Shares>, request: InPool) -> Result<(InShare, Place), Refusal> {
    let request = request.into_inner();
    let place = take(shares, request.caller())?;
    Ok((InShare(request), place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_leaves_room_for_others_and_nothing_is_left_behind() {
        let shares = Arc::new(Shares::new(2));
        let serve = |principal: &Principal| {
            let mut place = shares.take(principal)?;
            place.serve().ok().map(|()| place)
        };
        let ann = Principal::known_by("i", "ann");
        let one = serve(&ann).expect("a place");
        let two = serve(&ann).expect("a place");
        assert!(serve(&ann).is_none());
        // Same name, another issuer: somebody else.
        let other = serve(&Principal::known_by("j", "ann")).expect("a place");
        drop(one);
        let three = serve(&ann).expect("a place again");
        assert!(serve(&ann).is_none());
        drop((two, three, other));
        assert!(shares.lock().is_empty());
    }

    #[test]
    fn what_asks_for_nothing_is_read_when_all_places_are_taken() {
        let shares = Arc::new(Shares::new(1));
        let ann = Principal::known_by("i", "ann");
        let mut asking = shares.take(&ann).expect("a place");
        asking.serve().expect("the only one");
        let mut read: Vec<_> = (0..READING).map_while(|_| shares.take(&ann)).collect();
        assert_eq!(read.len(), READING);
        assert!(shares.take(&ann).is_none());
        assert!(read[0].serve().is_err());
        drop(asking);
        read[0].serve().expect("its turn");
        drop(read);
        assert!(shares.lock().is_empty());
    }
}
