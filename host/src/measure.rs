//! Figures: counters and histograms that cost a few atomic additions, and their text for Prometheus.
//!
//! Whoever counts owns the figures; `server/admin/metrics.rs` reads them. Labels come from lists that
//! are known at start, never from what a caller has sent.

mod exposition;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use exposition::{Exposition, Kind, Labels, Series};

/// Something that happens again and again.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// It has happened.
    pub fn one(&self) {
        self.add(1);
    }

    /// It has happened so often.
    pub fn add(&self, times: u64) {
        self.0.fetch_add(times, Ordering::Relaxed);
    }

    /// How often so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of a [`Histogram`], in microseconds: from what a call takes in memory to
/// what nobody waits for any more.
const BOUNDS: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// How long something takes.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By bucket, not cumulated; the last is for what is above all bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// It took this long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Whether nothing was observed yet.
    pub fn is_empty(&self) -> bool {
        let mut counts = self.counts.iter();
        counts.all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Upper bounds in seconds with how many were below each, the last being all; and the sum in
    /// seconds.
    fn read(&self) -> (Vec<(f64, u64)>, f64) {
        let mut sum = 0;
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
        let below = bounds.chain([f64::INFINITY]).zip(&self.counts);
        let below = below.map(|(bound, count)| {
            sum += count.load(Ordering::Relaxed);
            (bound, sum)
        });
        let below = below.collect();
        (
            below,
            Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64(),
        )
    }
}

/// Figures by labels. What is there is found without a lock; what is not is added once.
#[derive(Debug)]
pub struct Family<K, V> {
    series: ArcSwap<HashMap<K, Arc<V>>>,
    most: usize,
    /// Counts whatever there is no more room for.
    rest: K,
}

impl<K: Copy + Eq + Hash, V: Default> Family<K, V> {
    /// Of so many series at most, besides the one that takes the rest.
    pub fn new(most: usize, rest: K) -> Self {
        Self {
            series: ArcSwap::default(),
            most,
            rest,
        }
    }

    /// Does something to the figure of these labels.
    pub fn with(&self, labels: K, then: impl FnOnce(&V)) {
        if let Some(found) = self.series.load().get(&labels) {
            return then(found);
        }
        self.series.rcu(|series| {
            let full = series.len() >= self.most;
            let key = if full { self.rest } else { labels };
            let mut series = HashMap::clone(series);
            series.entry(key).or_default();
            series
        });
        let series = self.series.load();
        let found = series.get(&labels).or_else(|| series.get(&self.rest));
        if let Some(found) = found {
            then(found);
        }
    }

    /// All series.
    pub fn read(&self) -> Vec<(K, Arc<V>)> {
        let series = self.series.load();
        let all = series
            .iter()
            .map(|(labels, value)| (*labels, Arc::clone(value)));
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_once_in_the_right_place() {
        let histogram = Histogram::default();
        for micros in [0, 250, 251, 999_999, 40_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (below, sum) = histogram.read();
        let at = |bound: f64| below.iter().find(|(b, _)| *b == bound).map(|(_, n)| *n);
        assert_eq!(at(0.00025), Some(2));
        assert_eq!(at(0.0005), Some(3));
        assert_eq!(at(1.0), Some(4));
        assert_eq!(at(30.0), Some(4));
        assert_eq!(at(f64::INFINITY), Some(5));
        assert!((sum - 41.0005).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn a_family_is_bounded_and_loses_nothing() {
        let family: Family<u32, Counter> = Family::new(3, u32::MAX);
        for n in (0..100).chain(0..3) {
            family.with(n, Counter::one);
        }
        let mut read: Vec<_> = family
            .read()
            .into_iter()
            .map(|(n, count)| (n, count.get()))
            .collect();
        read.sort_unstable();
        assert_eq!(read, [(0, 2), (1, 2), (2, 2), (u32::MAX, 97)]);
    }

    #[test]
    fn families_are_counted_by_many_at_once() {
        let family: Family<u32, Counter> = Family::new(100, u32::MAX);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|n| family.with(n % 50, Counter::one)));
            }
        });
        let sum: u64 = family.read().iter().map(|(_, count)| count.get()).sum();
        assert_eq!(sum, 4_000);
    }
}
