//! The way of audit records from a finished request to the exporters: over a trail on the disk.
//!
//! A request reserves its place in the bounded queue before it is served, so that its record
//! always finds room; when the queue or the trail is full, requests are refused rather than left
//! unrecorded. One task writes the trail, or a request that is alone; a thread for each exporter reads it: an exporter
//! that is slow or down holds up neither requests nor other exporters. See docs/audit.md.

mod anchor;
mod aside;
mod chain;
mod cursor;
mod export;
pub mod keeping;
mod keys;
mod line;
mod positions;
mod query;
mod record;
mod segment;
mod state;
mod supervise;
mod trail;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{Mutex, oneshot, watch};
use tracing::error;

use crate::config::{AuditConfig, Durability};
use crate::plugin::Directory;
use crate::store::{Store, StoreError};
use crate::vault::Owner;
use anchor::{Anchor, End};
use keys::{Keys, Known};
use positions::Positions;
use state::{State, UnderWay};
use supervise::Supervisor;
use trail::Trail;
use writer::{Message, Writer};

pub use keys::{Erased, KeyError};
pub use query::{Extent, Filter, Page, ReadError, Wanted};
pub use record::{Draft, Personal, Public};
pub use state::{ExporterFigures, Figures};
pub use verify::{Finding, Progress, verify_exported};

/// Name of the folder below the data directory.
const FOLDER: &str = "audit";
/// Records that wait to be written at most, besides the places of those who listen.
const QUEUE: usize = 10_000;
/// Longest one file of the trail.
const SEGMENT: u64 = 16 * 1024 * 1024;
/// Files that a trail has at least when it is full: they are deleted one by one.
const SEGMENTS: u64 = 8;

/// There is no place for a record: the queue or the trail is full, or cannot be written.
#[derive(Debug, Error)]
#[error("there is no place for an audit record")]
pub struct Full;

/// A record was not written in time.
#[derive(Debug, Error)]
#[error("the audit record cannot be written")]
pub struct NotKept;

/// Why the trail is not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key of records of nobody cannot be had.
    #[error(transparent)]
    Keys(KeyError),
    /// Its files cannot be used.
    #[error("cannot use the audit trail in `{0}`: {1}")]
    Files(PathBuf, #[source] std::io::Error),
}

/// A place in the queue, held for one record.
pub struct Place {
    permit: OwnedPermit<Message>,
    /// Who writes, if the answer waits for it.
    writer: Option<Arc<Mutex<Writer>>>,
    /// Until the request only waits.
    under_way: Option<UnderWay>,
}

impl Place {
    /// From now on the request waits for something to happen, for hours perhaps.
    pub fn rests(&mut self) {
        self.under_way = None;
    }

    /// Puts the record into its place. Whoever is alone writes it right away: to wake another task for it, and to be
    /// waked by that, takes longer. Several are better written together.
    pub fn fill(self, mut draft: Draft) -> Receipt {
        let others = self.under_way.is_none_or(UnderWay::over);
        if !others
            && let Some(mut writer) = self.writer.as_ref().and_then(|w| w.try_lock().ok())
            && writer.keep_at_once(&mut draft)
        {
            return Receipt::none();
        }
        let (ack, receipt) = self.writer.map(|_| oneshot::channel()).unzip();
        self.permit.send(Message { draft, ack });
        Receipt(receipt)
    }
}

/// Comes when a record is kept; at once, when nobody is to wait for that.
#[must_use = "an answer waits for its record"]
pub struct Receipt(Option<oneshot::Receiver<()>>);

impl Receipt {
    /// One that is there already.
    pub fn none() -> Self {
        Self(None)
    }

    /// Waits until the record survives the end of this process, however it comes.
    ///
    /// # Errors
    /// [`NotKept`] when it cannot be written.
    pub async fn kept(self) -> Result<(), NotKept> {
        match self.0 {
            None => Ok(()),
            Some(receipt) => receipt.await.map_err(|_| NotKept),
        }
    }
}

/// The queue in front of the trail, and what is known of it.
pub struct Queue {
    sender: mpsc::Sender<Message>,
    /// Who writes, if answers wait for it.
    writer: Option<Arc<Mutex<Writer>>>,
    state: Arc<State>,
    reader: Reader,
}

impl Queue {
    /// Places that are taken, and all places: of requests that are being served, too.
    pub fn taken(&self) -> (usize, usize) {
        let most = self.sender.max_capacity();
        (most.saturating_sub(self.left()), most)
    }

    /// Places that are left. What was set aside keeps its place.
    fn left(&self) -> usize {
        let aside = self.state.aside.load(Ordering::Relaxed);
        self.sender.capacity().saturating_sub(aside)
    }

    /// Reserves a place.
    ///
    /// # Errors
    /// [`Full`].
    pub fn reserve(&self) -> Result<Place, Full> {
        let full = |_| {
            State::add(&self.state.refused, 1);
            Full
        };
        if self.state.is_refusing() || self.left() == 0 {
            return Err(full(()));
        }
        let permit = self.sender.clone().try_reserve_owned();
        Ok(Place {
            permit: permit.map_err(|_| full(()))?,
            writer: self.writer.clone(),
            under_way: Some(UnderWay::new(&self.state)),
        })
    }

    /// Waits for the key of a subject whom this gateway has not seen lately. What is done for somebody is told: that
    /// it can be must be known before.
    ///
    /// # Errors
    /// [`NotKept`]: a record of this subject cannot be written now.
    pub async fn can_keep(&self, owner: &Option<Owner>) -> Result<(), NotKept> {
        let keys = &self.reader.keys;
        if !matches!(keys.known(owner), Known::Unknown) {
            return Ok(());
        }
        let looking = keys.of(std::iter::once(owner.clone()));
        match tokio::time::timeout(aside::HELD, looking).await {
            Ok(Ok(_)) => {
                self.state.keys_found();
                Ok(())
            }
            Ok(Err(error)) => {
                self.state.key_failed(&error);
                Err(NotKept)
            }
            Err(_) => {
                let seconds = aside::HELD.as_secs();
                let late = format_args!("the store gives none within {seconds} s");
                self.state.keys_failed(&late);
                Err(NotKept)
            }
        }
    }

    /// Why requests are refused at the moment, if they are.
    pub fn trouble(&self) -> Option<String> {
        let full = || {
            let aside = self.state.aside.load(Ordering::Relaxed);
            let full = aside > 0 && self.left() == 0;
            full.then(|| format!("{aside} audit records wait for the keys of their subjects"))
        };
        self.state.trouble().or_else(full)
    }

    /// Reads the trail.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Figures of the trail.
    pub fn figures(&self) -> Figures {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let newest = *self.state.head.borrow();
        let standings = self.reader.positions.all();
        let exporters = standings.into_iter();
        let exporters = exporters.map(|(name, of)| ExporterFigures::new(name, &of, newest));
        Figures {
            written: count(&self.state.written),
            bytes: count(&self.state.bytes),
            bound: self.reader.bound,
            oldest: count(&self.state.oldest),
            newest,
            dropped: count(&self.state.dropped),
            refused: count(&self.state.refused),
            queued: self.taken().0,
            trouble: self.trouble(),
            exporters: exporters.collect(),
        }
    }
}

/// Reads a trail, whether a gateway writes it or not.
pub struct Reader {
    dir: PathBuf,
    store: Store,
    keys: Arc<Keys>,
    positions: Arc<Positions>,
    bound: u64,
}

impl Reader {
    /// Of a data directory on which no gateway runs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(data_dir: &Path, store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            dir: data_dir.join(FOLDER),
            store: store.clone(),
            keys: Arc::new(Keys::new(store)),
            positions: Arc::new(Positions::load(store).await?),
            bound: 0,
        })
    }

    /// Forgets the keys of a subject, at one issuer or at all: the personal parts of all its records.
    ///
    /// # Errors
    /// [`KeyError`]; then nothing is forgotten.
    pub async fn erase(
        &self,
        subject: &str,
        issuer: Option<&str>,
    ) -> Result<Vec<Erased>, KeyError> {
        self.keys.erase(subject, issuer).await
    }

    /// How each exporter stands that was ever there; `newest`: the last record.
    pub fn exporters(&self, newest: u64) -> Vec<ExporterFigures> {
        let all = self.positions.all().into_iter();
        all.map(|(name, of)| ExporterFigures::new(name, &of, newest))
            .collect()
    }
}

/// Everything that has to end when the gateway does.
pub struct Delivery {
    writer: tokio::task::JoinHandle<()>,
    hurry: watch::Sender<bool>,
    supervisor: Supervisor,
    /// Set when the trail is for this process only.
    temporary: Option<PathBuf>,
}

impl Delivery {
    /// Waits until everything in the queue is written, and then for the exporters, as long as `limit`
    /// allows. The queue must have been dropped. What they have not taken waits for the next start.
    pub async fn finish(self, limit: Duration) {
        let hurry = self.hurry;
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            hurry.send_replace(true);
            // Dropped only after the writer has seen it.
            tokio::time::sleep(limit).await;
        });
        if let Err(error) = self.writer.await {
            error!("the writer of the audit trail ended badly: {error}");
        }
        timer.abort();
        let left = self.supervisor.finish(limit).await;
        if let Some(dir) = self.temporary {
            if left > 0 {
                error!(
                    "{left} audit records of this gateway were not taken by any exporter, and go with it"
                );
            }
            segment::remove_folder(&dir);
        }
    }
}

/// Opens the trail and starts to write it and to serve the exporters, each of those on a thread of its own: one
/// that blocks on standard output must not hold up anybody else.
///
/// `data_dir`: none, when the trail is for this process only. `streams`: how many may listen. Each
/// holds a place for as long as it does, which must not be at the expense of requests.
///
/// # Errors
/// [`OpenError`].
pub async fn start(
    config: &AuditConfig,
    data_dir: Option<&Path>,
    store: &Store,
    plugins: Arc<Directory>,
    streams: usize,
) -> Result<(Queue, Delivery), OpenError> {
    let temporary = data_dir.is_none().then(|| {
        let name = format!("cortex-gateway-audit-{}", uuid::Uuid::now_v7().simple());
        std::env::temp_dir().join(name)
    });
    let dir = match (&temporary, data_dir) {
        (None, Some(data_dir)) => data_dir.join(FOLDER),
        (temporary, _) => temporary.clone().unwrap_or_default(),
    };
    let (tail, head) = (End::Tail.load(store).await?, End::Head.load(store).await?);
    let segment_bytes = SEGMENT.min(config.spool_bytes / SEGMENTS);
    let opened = Trail::open(&dir, tail.as_ref(), head.as_ref(), segment_bytes);
    let trail = opened.map_err(|error| OpenError::Files(dir.clone(), error))?;
    if tail.is_none() {
        End::Tail.save(store, &Anchor::beginning()).await?;
    }
    let newest = trail.next().sequence - 1;
    let state = Arc::new(State::new(newest, trail.oldest(), trail.bytes()));
    let reader = Reader {
        dir: dir.clone(),
        store: store.clone(),
        keys: Arc::new(Keys::new(store)),
        positions: Arc::new(Positions::load(store).await?),
        bound: config.spool_bytes,
    };
    // What nobody is known for is recorded whatever becomes of the store.
    let nobody = reader.keys.of(std::iter::once(None)).await;
    nobody.map_err(OpenError::Keys)?;
    let (hurry, hurried) = watch::channel(false);
    let writer = Writer {
        dir: dir.clone(),
        trail,
        keys: Arc::clone(&reader.keys),
        positions: Arc::clone(&reader.positions),
        state: Arc::clone(&state),
        store: store.clone(),
        config: config.clone(),
        hurried,
        lines: Vec::new(),
    };
    let (sender, receiver) = mpsc::channel(QUEUE + streams);
    let supervisor = Supervisor::start(
        dir,
        plugins,
        Arc::clone(&reader.keys),
        Arc::clone(&reader.positions),
        Arc::clone(&state),
    )
    .await;
    // A write that goes to the system's memory takes less time than to wake another thread for it, and every answer
    // waits for one. What goes to the disk is waited for elsewhere.
    let writer = Arc::new(Mutex::new(writer));
    let is_waited_for = config.durability == Durability::Answered;
    let queue = Queue {
        sender,
        writer: is_waited_for.then(|| Arc::clone(&writer)),
        state,
        reader,
    };
    let delivery = Delivery {
        writer: tokio::spawn(writer::run(writer, receiver)),
        hurry,
        supervisor,
        temporary,
    };
    Ok((queue, delivery))
}

/// Starts a thread that does one thing.
fn on_a_thread<F: Future<Output = ()>>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(work()))
}

#[cfg(test)]
mod tests;
