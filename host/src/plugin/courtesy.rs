//! Guests that compute for long let the others go first.
//!
//! Whoever computes for no longer than a few ticks has the processor. Those who go on, however many they
//! are, share a part of it, so that the calls of other plugins find theirs free.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::limits::TICK;

/// Ticks that a call may compute before it counts as long.
pub(super) const SHORT: u64 = 10;
/// The part of all processors that those who compute for long share.
const PART: f64 = 0.25;

/// All who compute for long at the moment.
#[derive(Debug)]
pub(super) struct Courtesy {
    long: AtomicUsize,
    /// In processors.
    shared: f64,
}

impl Courtesy {
    /// For this machine.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::among(processors)
    }

    fn among(processors: usize) -> Self {
        Self {
            long: AtomicUsize::new(0),
            shared: processors as f64 * PART,
        }
    }

    /// One more who computes for long.
    pub(super) fn join(self: &Arc<Self>) -> Long {
        self.long.fetch_add(1, Ordering::Relaxed);
        Long(Arc::clone(self))
    }
}

/// One who computes for long, until dropped.
#[derive(Debug)]
pub(super) struct Long(Arc<Courtesy>);

impl Long {
    /// How long it leaves the processor to others after each tick.
    pub(super) fn pause(&self) -> Duration {
        let crowd = self.0.long.load(Ordering::Relaxed) as f64;
        TICK.mul_f64((crowd / self.0.shared - 1.0).max(0.0))
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        self.0.long.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_compute_for_long_share_one_part() {
        let courtesy = Arc::new(Courtesy::among(8));
        let first = courtesy.join();
        assert_eq!(first.pause(), Duration::ZERO, "there is room for two");
        let others = [courtesy.join(), courtesy.join(), courtesy.join()];
        assert_eq!(first.pause(), TICK, "four take turns in the room of two");
        drop(others);
        assert_eq!(first.pause(), Duration::ZERO);
    }

    #[test]
    fn on_a_small_machine_one_alone_makes_room() {
        let courtesy = Arc::new(Courtesy::among(2));
        assert_eq!(courtesy.join().pause(), TICK);
        assert_eq!(courtesy.long.load(Ordering::Relaxed), 0);
    }
}
