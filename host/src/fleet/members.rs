//! Which instances are alive: each puts its name on a shelf every few seconds, where it ends soon.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use tracing::info;

use super::InstanceId;

/// How often an instance says that it is alive.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// How long that is true, and how long others are taken for alive after the shelf was lost: three beats may
/// be late.
pub(super) const LIVES: Duration = Duration::from_secs(7);

/// The instances that are alive, as far as is known.
#[derive(Debug)]
pub(super) struct Members {
    own: InstanceId,
    /// Others, and until when they are alive even if they are not on the shelf.
    others: RwLock<BTreeMap<InstanceId, Instant>>,
}

impl Members {
    pub(super) fn new(own: InstanceId) -> Self {
        Self {
            own,
            others: RwLock::default(),
        }
    }

    pub(super) fn count(&self) -> usize {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.len() + 1
    }

    pub(super) fn is_alive(&self, instance: InstanceId) -> bool {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        instance == self.own || others.contains_key(&instance)
    }

    /// The shelf may have lost names: who is known is alive for as long as it takes to come back.
    pub(super) fn spare(&self, now: Instant) {
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        for until in others.values_mut() {
            *until = now + LIVES;
        }
    }

    /// These are on the shelf.
    pub(super) fn seen(&self, seen: impl Iterator<Item = InstanceId>, now: Instant) {
        let seen: Vec<_> = seen.filter(|instance| *instance != self.own).collect();
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        others.retain(|instance, until| {
            let stays = *until > now || seen.contains(instance);
            if !stays {
                info!(fleet.instance = %instance, "an instance is gone");
            }
            stays
        });
        for instance in seen {
            if others.insert(instance, now).is_none() {
                info!(fleet.instance = %instance, "an instance has come");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_seen_is_gone_unless_the_shelf_was_lost() {
        let (own, a, b) = (InstanceId::new(), InstanceId::new(), InstanceId::new());
        let (members, now) = (Members::new(own), Instant::now());
        assert_eq!(members.count(), 1);
        members.seen([own, a, b].into_iter(), now);
        assert_eq!(members.count(), 3);
        members.seen([own, a].into_iter(), now);
        assert!(members.is_alive(own) && members.is_alive(a) && !members.is_alive(b));
        members.spare(now);
        members.seen(std::iter::empty(), now + LIVES / 2);
        assert!(members.is_alive(a));
        members.seen(std::iter::empty(), now + LIVES);
        assert!(members.is_alive(own) && !members.is_alive(a));
    }
}
