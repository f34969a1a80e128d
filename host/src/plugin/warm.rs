//! Instances that are kept between calls of the same subject and backend.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Kept values by owner, bounded in number and idle time. What is kept under one key is only
/// ever given back to that key.
pub(super) struct Warm<T, K> {
    max: usize,
    idle: Duration,
    kept: Mutex<Kept<T, K>>,
}

struct Kept<T, K> {
    by_key: HashMap<K, Vec<(Instant, T)>>,
    count: usize,
}

impl<T, K: Clone + Eq + Hash> Warm<T, K> {
    pub(super) fn new(max: usize, idle: Duration) -> Self {
        Self {
            max,
            idle,
            kept: Mutex::new(Kept {
                by_key: HashMap::new(),
                count: 0,
            }),
        }
    }

    /// Takes one that is kept for this key, the one used last.
    pub(super) fn take(&self, key: &K) -> Option<T> {
        let mut kept = self.lock();
        let stack = kept.by_key.get_mut(key)?;
        let (since, value) = stack.pop()?;
        if stack.is_empty() {
            kept.by_key.remove(key);
        }
        kept.count -= 1;
        (since.elapsed() < self.idle).then_some(value)
    }

    /// Keeps one for this key. What has been idle for too long goes; when there is still no
    /// room, the longest idle one goes.
    pub(super) fn put(&self, key: K, value: T) {
        let mut gone = Vec::new();
        {
            let mut kept = self.lock();
            if kept.count >= self.max {
                kept.drop_idle(self.idle, &mut gone);
            }
            if kept.count >= self.max {
                kept.drop_oldest(&mut gone);
            }
            kept.by_key
                .entry(key)
                .or_default()
                .push((Instant::now(), value));
            kept.count += 1;
        }
        // Freed outside the lock: dropping an instance takes time.
        drop(gone);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept<T, K>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, K: Clone + Eq + Hash> Kept<T, K> {
    fn drop_idle(&mut self, idle: Duration, gone: &mut Vec<T>) {
        for stack in self.by_key.values_mut() {
            let fresh = stack
                .iter()
                .position(|(since, _)| since.elapsed() < idle)
                .unwrap_or(stack.len());
            gone.extend(stack.drain(..fresh).map(|(_, value)| value));
        }
        self.by_key.retain(|_, stack| !stack.is_empty());
        self.count = self.by_key.values().map(Vec::len).sum();
    }

    fn drop_oldest(&mut self, gone: &mut Vec<T>) {
        let oldest = self
            .by_key
            .iter()
            .filter_map(|(k, s)| Some((s.first()?.0, k)))
            .min_by_key(|(since, _)| *since);
        let Some(key) = oldest.map(|(_, key)| key.clone()) else {
            return;
        };
        if let Some(stack) = self.by_key.get_mut(&key) {
            gone.push(stack.remove(0).1);
            if stack.is_empty() {
                self.by_key.remove(&key);
            }
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_kept_value_only_serves_its_own_key_again() {
        let warm = Warm::new(4, LONG);
        warm.put("alice", 1);
        assert_eq!(warm.take(&"bob"), None);
        assert_eq!(warm.take(&"alice"), Some(1));
        assert_eq!(warm.take(&"alice"), None);
    }

    #[test]
    fn the_number_is_bounded_and_the_longest_idle_goes_first() {
        let warm = Warm::new(2, LONG);
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            warm.put(key, value);
        }
        assert_eq!(
            (warm.take(&"a"), warm.take(&"b"), warm.take(&"c")),
            (None, Some(2), Some(3))
        );
        assert_eq!(warm.lock().count, 0);
    }

    #[test]
    fn what_was_idle_for_too_long_is_not_given_out() {
        let warm = Warm::new(2, Duration::ZERO);
        warm.put("a", 1);
        assert_eq!(warm.take(&"a"), None);
        warm.put("a", 2);
        warm.put("b", 3);
        warm.put("c", 4);
        assert_eq!(warm.lock().count, 1);
    }
}
