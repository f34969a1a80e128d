//! How the trail is, for whoever wants to know without asking its writer.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::{error, info};

use super::keys::KeyError;
use super::positions::Standing;

/// The most often that the log tells that keys cannot be had: one that is damaged is tried again and again.
const QUIET: Duration = Duration::from_secs(60);

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
    /// Requests that have a place and are being worked on.
    under_way: AtomicUsize,
    /// Why requests are refused.
    trouble: ArcSwapOption<String>,
    outage: Mutex<Outage>,
}

/// Whether keys of subjects can be had, as far as was noticed.
#[derive(Default)]
struct Outage {
    /// Since when they cannot.
    since: Option<Instant>,
    /// Whether the log says so.
    is_told: bool,
    /// When the log was told last that something is wrong with keys.
    told_at: Option<Instant>,
}

impl Outage {
    fn may_tell(&mut self) -> bool {
        let may = self.told_at.is_none_or(|at| at.elapsed() >= QUIET);
        if may {
            self.told_at = Some(Instant::now());
        }
        may
    }
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
            under_way: AtomicUsize::default(),
            trouble: ArcSwapOption::empty(),
            outage: Mutex::default(),
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether keys of subjects cannot be had at the moment.
    pub(super) fn keys_are_away(&self) -> bool {
        self.outage().since.is_some()
    }

    /// Keys were had.
    pub(super) fn keys_found(&self) {
        let mut outage = self.outage();
        if let Some(since) = outage.since.take()
            && std::mem::take(&mut outage.is_told)
        {
            let seconds = since.elapsed().as_secs();
            info!("keys of audit records can be had again, after {seconds} s");
        }
    }

    /// A key could not be had.
    pub(super) fn key_failed(&self, why: &KeyError) {
        match why {
            KeyError::Damaged(_) => {
                if self.outage().may_tell() {
                    error!(
                        "the key of one subject's audit records is damaged: {why}; requests of this subject are \
                         refused; hint: restore the store from a backup, or have the subject forgotten \
                         (`cortex-gateway audit erase`)"
                    );
                }
            }
            KeyError::Store(_) | KeyError::NoRandom => self.keys_failed(why),
        }
    }

    /// No key could be had.
    pub(super) fn keys_failed(&self, why: &dyn fmt::Display) {
        let mut outage = self.outage();
        outage.since.get_or_insert_with(Instant::now);
        if !outage.is_told && outage.may_tell() {
            outage.is_told = true;
            error!(
                "keys of audit records cannot be had: {why}; requests of whom this gateway has not seen lately are \
                 refused, and what was begun for them is recorded later; those of others are served"
            );
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

    /// Whether requests are being worked on that have not handed in their records yet.
    pub(super) fn others_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }
}

/// One request that is being worked on.
pub(super) struct UnderWay(Arc<State>);

impl UnderWay {
    pub(super) fn new(state: &Arc<State>) -> Self {
        state.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(state))
    }

    /// It is over. Whether others are under way.
    pub(super) fn over(self) -> bool {
        let state = Arc::clone(&self.0);
        drop(self);
        state.others_under_way()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
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
