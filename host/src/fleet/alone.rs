//! The engine of one gateway by itself: everything in memory, with the same meaning as in the engines that
//! are shared.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::gcra::{Rule, Spent};
use super::{Away, Shelf};

/// Most values of one shelf, most claims of one shelf, most allowances at one time.
const MOST: usize = 100_000;
/// How often what has ended is thrown away, if anything is added.
const SWEEP: Duration = Duration::from_secs(30);
/// How often where there is no more room: looking at everything takes a millisecond.
const FULL: Duration = Duration::from_secs(1);

/// Values with an end, of which there is a bounded number.
#[derive(Debug)]
struct Ending<V> {
    kept: HashMap<Vec<u8>, (V, Instant)>,
    swept: Instant,
}

impl<V> Default for Ending<V> {
    fn default() -> Self {
        Self {
            kept: HashMap::new(),
            swept: Instant::now(),
        }
    }
}

impl<V> Ending<V> {
    fn get(&self, key: &[u8], now: Instant) -> Option<&V> {
        let (value, ends) = self.kept.get(key)?;
        (*ends > now).then_some(value)
    }

    /// False: there is no room.
    fn put(&mut self, key: &[u8], value: V, ends: Instant, now: Instant) -> bool {
        let since = now.duration_since(self.swept);
        let full = self.kept.len() >= MOST && since >= FULL;
        if full || since >= SWEEP {
            self.kept.retain(|_, (_, ends)| *ends > now);
            self.kept.shrink_to(2 * self.kept.len());
            self.swept = now;
        }
        if self.kept.len() >= MOST && !self.kept.contains_key(key) {
            return false;
        }
        self.kept.insert(key.to_vec(), (value, ends));
        true
    }

    fn take(&mut self, key: &[u8], now: Instant) -> Option<V> {
        let (value, ends) = self.kept.remove(key)?;
        (ends > now).then_some(value)
    }
}

/// The engine.
#[derive(Debug)]
pub(super) struct Alone {
    values: Vec<Mutex<Ending<Vec<u8>>>>,
    claims: Vec<Mutex<Ending<()>>>,
    allowances: Mutex<Ending<u64>>,
    began: Instant,
}

impl Alone {
    pub(super) fn new() -> Self {
        Self {
            values: Shelf::ALL.iter().map(|_| Mutex::default()).collect(),
            claims: Shelf::ALL.iter().map(|_| Mutex::default()).collect(),
            allowances: Mutex::default(),
            began: Instant::now(),
        }
    }

    fn with<T>(&self, shelf: Shelf, does: impl FnOnce(&mut Ending<Vec<u8>>) -> T) -> T {
        let values = self.values[shelf as usize].lock();
        does(&mut values.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put(
        &self,
        shelf: Shelf,
        key: &[u8],
        value: Vec<u8>,
        lives: Duration,
    ) -> Result<(), Away> {
        let now = Instant::now();
        let kept = self.with(shelf, |values| values.put(key, value, now + lives, now));
        kept.then_some(()).ok_or(Away)
    }

    pub(super) fn get(&self, shelf: Shelf, key: &[u8]) -> Option<Vec<u8>> {
        self.with(shelf, |values| values.get(key, Instant::now()).cloned())
    }

    pub(super) fn take(&self, shelf: Shelf, key: &[u8]) -> Option<Vec<u8>> {
        self.with(shelf, |values| values.take(key, Instant::now()))
    }

    pub(super) fn all(&self, shelf: Shelf, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let now = Instant::now();
        self.with(shelf, |values| {
            let alive = values.kept.iter().filter(|(_, (_, ends))| *ends > now);
            let alive = alive.map(|(key, (value, _))| (key.clone(), value.clone()));
            alive.take(limit).collect()
        })
    }

    pub(super) fn claim(&self, shelf: Shelf, key: &[u8], lives: Duration) -> Result<bool, Away> {
        let now = Instant::now();
        let claims = self.claims[shelf as usize].lock();
        let mut claims = claims.unwrap_or_else(PoisonError::into_inner);
        if claims.get(key, now).is_some() {
            return Ok(false);
        }
        // Without room nobody can be sure to be the first.
        let kept = claims.put(key, (), now + lives, now);
        kept.then_some(true).ok_or(Away)
    }

    pub(super) fn spend(&self, key: &[u8], per_minute: NonZeroU32) -> Result<Spent, Away> {
        let now = Instant::now();
        let micros = |at: Instant| at.duration_since(self.began).as_micros() as u64;
        let allowances = self.allowances.lock();
        let mut allowances = allowances.unwrap_or_else(PoisonError::into_inner);
        let due = allowances.get(key, now).copied();
        let (spent, due) = Rule::per_minute(per_minute).spend(due, micros(now));
        if spent == Spent::Allowed {
            let ends = self.began + Duration::from_micros(due);
            if !allowances.put(key, due, ends, now) {
                return Err(Away);
            }
        }
        Ok(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_what_has_ended_makes_room() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        for n in 0..MOST {
            assert!(ending.put(&n.to_be_bytes(), n, later, now));
        }
        assert!(!ending.put(b"one more", 0, later, now));
        assert!(
            ending.put(&7_usize.to_be_bytes(), 8, later, now),
            "a new value for an old key"
        );
        assert_eq!(ending.get(&7_usize.to_be_bytes(), now), Some(&8));
        assert!(ending.put(b"one more", 0, later + SWEEP, later));
        assert_eq!(ending.kept.len(), 1);
        assert!(ending.kept.capacity() < MOST / 10);
    }

    #[test]
    fn what_has_ended_is_not_there() {
        let (mut ending, now) = (Ending::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        ending.put(b"k", 1, later, now);
        assert_eq!(ending.get(b"k", now), Some(&1));
        assert_eq!(ending.get(b"k", later), None);
        assert_eq!(ending.take(b"k", later), None);
        ending.put(b"k", 2, later, now);
        assert_eq!(ending.take(b"k", now), Some(2));
        assert_eq!(ending.take(b"k", now), None);
    }
}
