//! What plugins use: calls, failures, computing time, exchanges and bytes. Counted for each name, so
//! that the counts go on when a plugin is replaced.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fault::{CODES, Cause};
use super::figures::{Figure, Figures, Told};
use crate::types::PluginName;

/// What policies say of a call. The last: they failed to say.
const DECISIONS: [&str; 4] = ["allow", "deny", "missing_scope", "fault"];

/// What one plugin has used since the start.
#[derive(Debug, Default)]
pub(super) struct Meter {
    calls: AtomicU64,
    faults: [AtomicU64; CODES.len()],
    busy: AtomicU64,
    exchanges: AtomicU64,
    received: AtomicU64,
    instances: AtomicU64,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    decisions: [AtomicU64; DECISIONS.len()],
    figures: Figures,
}

/// One reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Calls of its exports.
    pub calls: u64,
    /// Those that it did not survive, by reason.
    pub faults: Vec<(&'static str, u64)>,
    /// Time that a processor was busy with it.
    pub busy: Duration,
    /// HTTP requests that it had sent.
    pub exchanges: u64,
    /// Bytes of bodies that came back.
    pub received: u64,
    /// Its instances at this moment.
    pub instances: u64,
    /// Bytes of linear memory that they have.
    pub memory: u64,
    /// Most that one of them has had.
    pub memory_peak: u64,
    /// What it said of calls, if it is a policy.
    pub decisions: Vec<(&'static str, u64)>,
    /// What it counts itself, by name.
    pub figures: Vec<(String, Figure)>,
}

impl Meter {
    pub(super) fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, cause: &Cause) {
        let at = CODES.iter().position(|code| *code == cause.code());
        if let Some(count) = at.and_then(|at| self.faults.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn exchanged(&self) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An instance is there, or is gone.
    pub(super) fn lives(&self, is: bool) {
        if is {
            self.instances.fetch_add(1, Ordering::Relaxed);
        } else {
            self.instances.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// An instance has so many bytes of memory, after so many before.
    pub(super) fn remembers(&self, before: usize, now: usize) {
        let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        match now.checked_sub(before) {
            Some(more) => self.memory.fetch_add(count(more), Ordering::Relaxed),
            None => self
                .memory
                .fetch_sub(count(before - now), Ordering::Relaxed),
        };
        self.memory_peak.fetch_max(count(now), Ordering::Relaxed);
    }

    /// A policy has decided: a word of [`DECISIONS`].
    pub(super) fn decided(&self, word: &str) {
        let at = DECISIONS.iter().position(|known| *known == word);
        if let Some(count) = at.and_then(|at| self.decisions.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a figure that the plugin tells.
    pub(super) fn told(&self, name: &str, figure: Figure) -> Told {
        self.figures.tell(name, figure)
    }

    /// Measures for how long something keeps a processor busy: by the time in which it is polled,
    /// which is not the time it waits. Returns it, too.
    pub(super) async fn time<F: Future>(&self, work: F) -> (F::Output, Duration) {
        let mut work = pin!(work);
        let mut busy = 0;
        let output = poll_fn(|cx| {
            let began = Instant::now();
            let polled = work.as_mut().poll(cx);
            let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.busy.fetch_add(nanos, Ordering::Relaxed);
            busy += nanos;
            polled
        })
        .await;
        (output, Duration::from_nanos(busy))
    }

    /// What has been used.
    pub(super) fn read(&self) -> Reading {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Reading {
            calls: count(&self.calls),
            faults: (CODES.into_iter())
                .zip(&self.faults)
                .map(|(code, of)| (code, count(of)))
                .collect(),
            busy: Duration::from_nanos(count(&self.busy)),
            exchanges: count(&self.exchanges),
            received: count(&self.received),
            instances: count(&self.instances),
            memory: count(&self.memory),
            memory_peak: count(&self.memory_peak),
            decisions: (DECISIONS.into_iter())
                .zip(&self.decisions)
                .map(|(word, of)| (word, count(of)))
                .collect(),
            figures: self.figures.read(),
        }
    }
}

/// The meters of all plugins that there were.
#[derive(Debug, Default)]
pub(super) struct Meters(Mutex<BTreeMap<PluginName, Arc<Meter>>>);

impl Meters {
    pub(super) fn of(&self, name: &PluginName) -> Arc<Meter> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(meters.entry(name.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_is_not_computing() {
        let meters = Meters::default();
        let name: PluginName = "x".parse().expect("a name");
        let meter = meters.of(&name);
        let (told, wait) = tokio::sync::oneshot::channel();
        let timed = Arc::clone(&meter);
        let waiting = tokio::spawn(async move { timed.time(wait).await });
        let waited = Duration::from_secs(1);
        tokio::time::sleep(waited).await;
        told.send(()).expect("somebody waits");
        let (told, busy) = waiting.await.expect("it ends");
        told.expect("told");
        meter.called();
        meter.failed(&Cause::Stack);
        let read = meters.of(&name).read();
        assert!(read.busy > Duration::ZERO && read.busy < waited);
        assert_eq!(read.busy, busy);
        assert_eq!(read.calls, 1);
        let failed: Vec<_> = read.faults.into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(failed, [("plugin_trap", 1)]);
    }
}
