//! One caller's share of the gateway (`CORTEX_MAX_CONCURRENT_PER_CALLER`): nobody takes all the
//! places there are for requests at one time.
//!
//! A caller is an issuer and a subject, whichever token they present. A place is given back once
//! the answer has left for the client, not when it is ready: who asks for much and reads nothing
//! holds memory, and it is counted against whom it belongs to. Notification streams have bounds of
//! their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Refusal;
use super::auth::Authenticated;
use super::pool::InPool;
use crate::types::{Issuer, Principal, Subject};

type Key = (Issuer, Subject);

/// Who has how many requests at the moment.
pub struct Shares {
    max: usize,
    callers: Mutex<HashMap<Key, usize>>,
}

/// A place among the requests of one caller. Given back when dropped.
pub struct Place {
    shares: Arc<Shares>,
    caller: Key,
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
        if *taken >= self.max {
            return None;
        }
        *taken += 1;
        drop(callers);
        Some(Place {
            shares: Arc::clone(self),
            caller,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = self.shares.lock();
        if let Some(taken) = callers.get_mut(&self.caller) {
            *taken -= 1;
            if *taken == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

/// Lets a request pass whose caller has a place left, and takes it.
pub(super) fn check(shares: &Arc<Shares>, request: InPool) -> Result<(InShare, Place), Refusal> {
    let request = request.into_inner();
    let place = shares.take(request.caller().principal());
    let place = place.ok_or(Refusal::TooManyAtOnce)?;
    Ok((InShare(request), place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ScopeSet;

    fn principal(issuer: &str, subject: &str) -> Principal {
        Principal {
            subject: Subject::new(subject),
            issuer: Issuer::new(issuer),
            client_id: None,
            email: None,
            name: None,
            role: None,
            pool: None,
            scopes: ScopeSet::default(),
            dev_bypass: false,
        }
    }

    #[test]
    fn one_caller_leaves_room_for_others_and_nothing_is_left_behind() {
        let shares = Arc::new(Shares::new(2));
        let ann = principal("i", "ann");
        let one = shares.take(&ann).expect("a place");
        let two = shares.take(&ann).expect("a place");
        assert!(shares.take(&ann).is_none());
        // Same name, another issuer: somebody else.
        let other = shares.take(&principal("j", "ann")).expect("a place");
        drop(one);
        let three = shares.take(&ann).expect("a place again");
        assert!(shares.take(&ann).is_none());
        drop((two, three, other));
        assert!(shares.lock().is_empty());
    }
}
