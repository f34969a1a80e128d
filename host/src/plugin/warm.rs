//! Instances that are kept between calls of the same subject and backend.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many are kept, of how many in all: one for all adapters, because they share the room for instances.
pub(super) struct Room {
    most: usize,
    taken: AtomicUsize,
}

/// A place of one value in that room.
struct Place(Arc<Room>);

impl Room {
    /// For so many.
    pub(super) fn for_most(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: AtomicUsize::new(0),
        })
    }

    fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.most
    }

    fn place(self: &Arc<Self>) -> Option<Place> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        let taken = (self.taken).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Kept values by owner, bounded in number and idle time. What is kept under one key is only
/// ever given back to that key.
pub(super) struct Warm<T, K> {
    room: Arc<Room>,
    idle: Duration,
    by_key: Mutex<HashMap<K, Vec<Idle<T>>>>,
}

/// One that is kept.
struct Idle<T> {
    since: Instant,
    value: T,
    _place: Place,
}

impl<T, K: Clone + Eq + Hash> Warm<T, K> {
    pub(super) fn new(room: &Arc<Room>, idle: Duration) -> Self {
        Self {
            room: Arc::clone(room),
            idle,
            by_key: Mutex::default(),
        }
    }

    /// Takes one that is kept for this key, the one used last.
    pub(super) fn take(&self, key: &K) -> Option<T> {
        let mut kept = self.lock();
        let stack = kept.get_mut(key)?;
        let last = stack.pop()?;
        if stack.is_empty() {
            kept.remove(key);
        }
        drop(kept);
        (last.since.elapsed() < self.idle).then_some(last.value)
    }

    /// Keeps one for this key. When there is no room, what has been idle for too long goes, else the one that has been
    /// idle for longest; and if all are somebody else's, this one.
    pub(super) fn put(&self, key: K, value: T) {
        if self.room.is_full() {
            let mut gone = Vec::new();
            {
                let mut kept = self.lock();
                take_idle(&mut kept, self.idle, &mut gone);
                if gone.is_empty() {
                    take_oldest(&mut kept, &mut gone);
                }
            }
            // Freed outside the lock: dropping an instance takes time.
            drop(gone);
        }
        if let Some(place) = self.room.place() {
            let idle = Idle {
                since: Instant::now(),
                value,
                _place: place,
            };
            self.lock().entry(key).or_default().push(idle);
        }
    }

    /// Lets go of what has been idle for too long.
    pub(super) fn tidy(&self) {
        let mut gone = Vec::new();
        take_idle(&mut self.lock(), self.idle, &mut gone);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Vec<Idle<T>>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_idle<T, K>(kept: &mut HashMap<K, Vec<Idle<T>>>, idle: Duration, gone: &mut Vec<Idle<T>>) {
    for stack in kept.values_mut() {
        let fresh = (stack.iter()).position(|kept| kept.since.elapsed() < idle);
        gone.extend(stack.drain(..fresh.unwrap_or(stack.len())));
    }
    kept.retain(|_, stack| !stack.is_empty());
}

fn take_oldest<T, K: Clone + Eq + Hash>(
    kept: &mut HashMap<K, Vec<Idle<T>>>,
    gone: &mut Vec<Idle<T>>,
) {
    let oldest = (kept.iter())
        .filter_map(|(key, stack)| Some((stack.first()?.since, key)))
        .min_by_key(|(since, _)| *since);
    let Some(key) = oldest.map(|(_, key)| key.clone()) else {
        return;
    };
    if let Some(stack) = kept.get_mut(&key) {
        gone.push(stack.remove(0));
        if stack.is_empty() {
            kept.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_kept_value_only_serves_its_own_key_again() {
        let warm = Warm::new(&Room::for_most(4), LONG);
        warm.put("alice", 1);
        assert_eq!(warm.take(&"bob"), None);
        assert_eq!(warm.take(&"alice"), Some(1));
        assert_eq!(warm.take(&"alice"), None);
    }

    #[test]
    fn the_number_is_bounded_and_the_longest_idle_goes_first() {
        let room = Room::for_most(2);
        let warm = Warm::new(&room, LONG);
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            warm.put(key, value);
        }
        assert_eq!(
            (warm.take(&"a"), warm.take(&"b"), warm.take(&"c")),
            (None, Some(2), Some(3))
        );
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_share_the_room_and_who_goes_gives_it_back() {
        let room = Room::for_most(2);
        let (one, other) = (Warm::new(&room, LONG), Warm::new(&room, LONG));
        one.put("a", 1);
        one.put("b", 2);
        other.put("c", 3);
        assert_eq!(other.take(&"c"), None, "there was no room");
        assert_eq!(one.take(&"a"), Some(1));
        other.put("c", 4);
        drop(one);
        other.put("d", 5);
        assert_eq!((other.take(&"c"), other.take(&"d")), (Some(4), Some(5)));
    }

    #[test]
    fn what_was_idle_for_too_long_is_not_given_out_and_goes() {
        let room = Room::for_most(2);
        let warm = Warm::new(&room, Duration::ZERO);
        warm.put("a", 1);
        assert_eq!(warm.take(&"a"), None);
        for (key, value) in [("a", 2), ("b", 3), ("c", 4)] {
            warm.put(key, value);
        }
        assert_eq!(room.taken.load(Ordering::Relaxed), 1);
        warm.tidy();
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
        let lasting = Warm::new(&room, LONG);
        lasting.put("a", 5);
        lasting.tidy();
        assert_eq!(lasting.take(&"a"), Some(5));
    }
}
