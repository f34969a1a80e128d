//! How the trail is, for whoever wants to know without asking its writer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::positions::Standing;

/// What the writer shares with everybody else.
pub(super) struct State {
    /// The number of the last record that was handed to the system.
    pub(super) head: watch::Sender<u64>,
    pub(super) oldest: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Records that were taken from the queue, and wait for the keys of their subjects.
    pub(super) aside: AtomicUsize,
    /// Why requests are refused.
    trouble: ArcSwapOption<String>,
}

impl State {
    pub(super) fn new(head: u64, oldest: u64, bytes: u64) -> Self {
        Self {
            head: watch::Sender::new(head),
            oldest: AtomicU64::new(oldest),
            bytes: AtomicU64::new(bytes),
            written: AtomicU64::default(),
            dropped: AtomicU64::default(),
            refused: AtomicU64::default(),
            aside: AtomicUsize::default(),
            trouble: ArcSwapOption::empty(),
        }
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.trouble.load().is_some()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.load().as_deref().cloned()
    }

    /// Sets why requests are refused; whether that is another state than before.
    pub(super) fn set_trouble(&self, trouble: Option<String>) -> bool {
        let was = self.is_refusing();
        let is = trouble.is_some();
        self.trouble.store(trouble.map(Into::into));
        was != is
    }

    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// Figures of the trail.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Records that were kept since the start.
    pub written: u64,
    /// How long all files are together, in bytes.
    pub bytes: u64,
    /// How long they may get.
    pub bound: u64,
    /// The number of the oldest record that is kept.
    pub oldest: u64,
    /// The number of the newest record; 0: there was never one.
    pub newest: u64,
    /// Records that were given up for want of room before every exporter had taken them, since the
    /// start.
    pub dropped: u64,
    /// Requests that were refused because their record could not be kept, since the start.
    pub refused: u64,
    /// Places that are taken by requests in flight and by records that are not written yet.
    pub queued: usize,
    /// Why requests are refused at the moment.
    pub trouble: Option<String>,
    /// Each exporter that was ever there.
    pub exporters: Vec<ExporterFigures>,
}

/// Figures of one exporter.
#[derive(Clone, Debug)]
pub struct ExporterFigures {
    /// Its name.
    pub name: String,
    /// The number of the last record that it has taken.
    pub taken: u64,
    /// How many records it has not taken yet.
    pub behind: u64,
    /// Whether it is loaded.
    pub present: bool,
    /// Since when it takes nothing.
    pub failing_since: Option<OffsetDateTime>,
    /// Records that were gone before it could take them.
    pub missed: u64,
}

impl ExporterFigures {
    pub(super) fn new(name: String, of: &Standing, newest: u64) -> Self {
        Self {
            name,
            taken: of.next.saturating_sub(1),
            behind: (newest + 1).saturating_sub(of.next),
            present: of.present,
            failing_since: of.failing_since,
            missed: of.missed,
        }
    }
}
