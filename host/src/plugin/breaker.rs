//! Leaves a plugin alone for a while that does nothing but fail.
//!
//! A run of failures counts only if more than one caller met it: nobody can switch a plugin off for
//! others with arguments that it does not survive.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row after which a plugin is left alone.
pub(super) const ROW: u32 = 5;
/// For how long at first; twice as long each time that it fails again.
const FIRST: Duration = Duration::from_secs(1);
/// At most for this long.
const LONGEST: Duration = Duration::from_secs(60);
/// So long is waited for the call that tries whether it works again.
const TRIAL: Duration = Duration::from_secs(10);

/// Of one loaded plugin.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<Row>);

#[derive(Debug, Default)]
struct Row {
    failures: u32,
    /// Who met the first of them.
    first: Option<u64>,
    /// Somebody else has met one, too.
    several: bool,
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    pause: Duration,
    until: Instant,
    /// Since when one call tries whether it works again.
    trial: Option<Instant>,
}

impl Breaker {
    fn row(&self) -> MutexGuard<'_, Row> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call may be made now. The error is how long it is not, in whole seconds.
    pub(super) fn admit(&self) -> Result<(), u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Result<(), u64> {
        let mut row = self.row();
        let Some(rest) = &mut row.rest else {
            return Ok(());
        };
        // One that never ended was given up.
        let tried = rest.trial.is_some_and(|since| now < since + TRIAL);
        if now < rest.until || tried {
            let left = rest.until.saturating_duration_since(now);
            return Err(left.as_secs_f64().ceil().max(1.0) as u64);
        }
        rest.trial = Some(now);
        Ok(())
    }

    /// A call has ended well. True: for the first time after it was left alone.
    pub(super) fn worked(&self) -> bool {
        let mut row = self.row();
        if row.failures == 0 && row.rest.is_none() {
            return false;
        }
        std::mem::take(&mut *row).rest.is_some()
    }

    /// A call of this caller has not. For how many seconds the plugin is left alone now, if it is.
    pub(super) fn failed(&self, caller: u64) -> Option<u64> {
        self.failed_at(caller, Instant::now())
    }

    fn failed_at(&self, caller: u64, now: Instant) -> Option<u64> {
        let mut row = self.row();
        row.failures = row.failures.saturating_add(1);
        let first = *row.first.get_or_insert(caller);
        row.several |= first != caller;
        let pause = match &row.rest {
            // Of calls that had begun before.
            Some(rest) if now < rest.until => return None,
            Some(rest) => (rest.pause * 2).min(LONGEST),
            None if row.failures >= ROW && row.several => FIRST,
            None => return None,
        };
        row.rest = Some(Rest {
            pause,
            until: now + pause,
            trial: None,
        });
        Some(pause.as_secs())
    }

    /// Whether it is left alone.
    pub(super) fn rests(&self) -> bool {
        self.row().rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_for_several_is_left_alone_for_longer_and_longer() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        for n in 1..ROW {
            assert_eq!(breaker.failed_at(u64::from(n % 2), now), None);
            assert_eq!(breaker.admit_at(now), Ok(()));
        }
        assert_eq!(breaker.failed_at(1, now), Some(1));
        for pause in [1, 2, 4, 8, 16, 32, 60] {
            assert!(breaker.rests());
            assert_eq!(breaker.admit_at(now), Err(pause));
            now += Duration::from_secs(pause);
            assert_eq!(breaker.admit_at(now), Ok(()), "one call tries");
            assert_eq!(breaker.admit_at(now), Err(1), "and only one");
            let next = (pause * 2).min(60);
            assert_eq!(breaker.failed_at(1, now), Some(next));
        }
        // A trial that is given up is not waited for for ever.
        now += LONGEST;
        assert_eq!(breaker.admit_at(now), Ok(()));
        now += TRIAL;
        assert_eq!(breaker.admit_at(now), Ok(()));
        assert!(breaker.worked());
        assert!(!breaker.worked() && !breaker.rests());
        assert_eq!(breaker.failed_at(1, now), None, "it begins anew");
    }

    #[test]
    fn one_caller_alone_switches_nothing_off() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(breaker.failed_at(7, now), None);
        }
        assert_eq!(breaker.failed_at(8, now), Some(1));
    }

    #[test]
    fn a_call_that_works_ends_the_row() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for n in 0..100 {
            assert_eq!(breaker.failed_at(n, now), None);
            if n % 4 == 3 {
                assert!(!breaker.worked());
            }
        }
    }
}
