//! The generic cell rate algorithm: how long until the next request fits.
//!
//! All that is kept of a caller is one time, at which everything so far would have been due if it had come
//! evenly. ITU-T I.371, annex A; the same numbers in every engine.

use std::num::NonZeroU32;
use std::time::Duration;

/// What became of a request that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It is within the allowance, and was counted.
    Allowed,
    /// It is too early, and was not counted: the next one fits after this time.
    Wait(Duration),
}

/// An allowance in microseconds, the unit in which engines count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// From one request to the next.
    pub(super) interval: u64,
    /// How early a request may come: all of a minute's at once.
    pub(super) tolerance: u64,
}

impl Rule {
    pub(super) fn per_minute(requests: NonZeroU32) -> Self {
        let interval = (60_000_000 / u64::from(requests.get())).max(1);
        Self {
            interval,
            tolerance: interval * u64::from(requests.get() - 1),
        }
    }

    /// Counts a request at `now`. `due`: what was kept of the caller; nothing is the same as a time that is
    /// over. With the answer, what is kept from here on.
    pub(super) fn spend(self, due: Option<u64>, now: u64) -> (Spent, u64) {
        let due = due.unwrap_or(now).max(now);
        match (due - now).checked_sub(self.tolerance) {
            None | Some(0) => (Spent::Allowed, due + self.interval),
            Some(early) => (Spent::Wait(Duration::from_micros(early)), due),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(per_minute: u32) -> Rule {
        Rule::per_minute(NonZeroU32::new(per_minute).expect("not zero"))
    }

    #[test]
    fn a_minutes_requests_may_come_at_once_and_then_one_by_one() {
        for per_minute in [1, 2, 7, 60, 200, 5_000_000] {
            let rule = rule(per_minute);
            let mut due = None;
            let now = 1_700_000_000_000_000;
            for _ in 0..per_minute {
                let (spent, next) = rule.spend(due, now);
                assert_eq!(spent, Spent::Allowed);
                due = Some(next);
            }
            let (spent, kept) = rule.spend(due, now);
            assert_eq!(Some(kept), due, "what was refused does not count");
            assert_eq!(spent, Spent::Wait(Duration::from_micros(rule.interval)));
            // A moment too early, and in time.
            let fits = now + rule.interval;
            assert!(matches!(rule.spend(due, fits - 1).0, Spent::Wait(_)));
            assert_eq!(rule.spend(due, fits).0, Spent::Allowed);
        }
    }

    #[test]
    fn it_is_what_governor_does() {
        use governor::clock::FakeRelativeClock;
        use governor::{Quota, RateLimiter};

        let clock = FakeRelativeClock::default();
        let theirs = RateLimiter::direct_with_clock(
            Quota::per_minute(NonZeroU32::new(6).expect("not zero")),
            clock.clone(),
        );
        let (ours, mut due, mut now) = (rule(6), None, 0);
        for step in [
            0, 0, 1, 0, 0, 0, 0, 9_999, 1, 30_000, 0, 0, 0, 0, 120_000, 0,
        ] {
            clock.advance(Duration::from_millis(step));
            now += step * 1_000;
            let (spent, next) = ours.spend(due, now);
            due = Some(next);
            assert_eq!(theirs.check().is_ok(), spent == Spent::Allowed, "{now}");
        }
    }
}
