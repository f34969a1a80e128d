//! How long one call may take. Signs of life begin its time anew, up to a bound.
//!
//! MCP, "Progress": whoever waits may start its clock again with each report, and should never
//! wait for ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// How many times its limit something may take in all, signs of life or not.
const FACTOR: u32 = 30;
/// … and never longer than this, unless the limit itself is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// The clock of one call.
pub(super) struct Patience(Mutex<Clock>);

struct Clock {
    /// The last sign of life.
    last: Instant,
    /// Since when it stands still.
    held: Option<Instant>,
    /// For how long it stood still before.
    stood: Duration,
}

/// For as long as this lives the clock stands still: somebody else is waited for.
pub(super) struct Hold(Arc<Patience>);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut clock = self.0.clock();
        clock.last = Instant::now();
        if let Some(since) = clock.held.take() {
            clock.stood += since.elapsed();
        }
    }
}

impl Patience {
    /// For a call that begins now.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Clock {
            last: Instant::now(),
            held: None,
            stood: Duration::ZERO,
        }))
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the clock.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        self.clock().held = Some(Instant::now());
        Hold(Arc::clone(self))
    }

    /// The call is alive.
    pub(super) fn sign_of_life(&self) {
        self.clock().last = Instant::now();
    }

    /// When something is over that began then and may take this long.
    pub(super) fn deadline(&self, begun: Instant, limit: Duration) -> Instant {
        let clock = self.clock();
        if clock.held.is_some() {
            return Instant::now() + limit;
        }
        let longest = limit.saturating_mul(FACTOR).min(LONGEST).max(limit);
        (clock.last.max(begun) + limit).min(begun + clock.stood + longest)
    }

    /// Runs something that begins now and may take this long.
    pub(super) async fn wait<F: Future>(
        &self,
        limit: Duration,
        running: F,
    ) -> Result<F::Output, Elapsed> {
        let begun = Instant::now();
        let mut running = std::pin::pin!(running);
        loop {
            let deadline = self.deadline(begun, limit);
            match timeout_at(deadline, running.as_mut()).await {
                // A sign of life came meanwhile.
                Err(_) if self.deadline(begun, limit) > deadline => {}
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn signs_of_life_move_the_deadline_and_not_for_ever() {
        let patience = Patience::new();
        let long_ago = Instant::now() - 100 * SECOND;
        let at = |limit| patience.deadline(long_ago, limit).duration_since(long_ago);
        assert!(at(50 * SECOND) >= 149 * SECOND, "from the sign of life on");
        assert_eq!(at(SECOND), 30 * SECOND, "thirty times the limit");
        assert_eq!(at(5000 * SECOND), 5000 * SECOND, "an hour, or the limit");
        let later = Instant::now() + 10 * SECOND;
        assert_eq!(
            patience.deadline(later, SECOND),
            later + SECOND,
            "a sign from before counts for nothing"
        );
    }

    #[tokio::test]
    async fn whoever_shows_no_sign_of_life_is_given_up() {
        let patience = Patience::new();
        let silent = std::future::pending::<()>();
        assert!(
            patience
                .wait(Duration::from_millis(20), silent)
                .await
                .is_err()
        );
        // Far longer than the limit, but never silent for that long.
        let lively = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                patience.sign_of_life();
            }
        };
        let began = Instant::now();
        assert!(patience.wait(SECOND, lively).await.is_ok());
        assert!(began.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn the_clock_stands_still_while_somebody_else_is_waited_for() {
        let patience = Arc::new(Patience::new());
        let asking = async {
            let held = patience.hold();
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(held);
        };
        let limit = Duration::from_millis(20);
        assert!(patience.wait(limit, asking).await.is_ok());
        let silent = std::future::pending::<()>();
        assert!(patience.wait(limit, silent).await.is_err(), "it runs again");
    }
}
