//! The way of audit records from a finished request to the exporters.
//!
//! A request reserves its place in the bounded queue before it is served, so that its record
//! always finds room; when the queue is full, requests are refused rather than left unrecorded.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc::{self, OwnedPermit};
use tracing::{error, info, warn};

use crate::plugin::{AuditRecord, Directory};
use crate::types::PluginName;

/// Records that wait for exporters at most, besides the places of those who listen.
const QUEUE: usize = 10_000;
/// Records in one batch at most.
const BATCH: usize = 256;
/// Longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The queue is full: exporters are slow or down.
#[derive(Debug, Error)]
#[error("the audit queue is full")]
pub struct Full;

/// A place in the queue, held for one record.
pub struct Place(OwnedPermit<String>);

impl Place {
    /// Puts the record (one JSON object) into its place.
    pub fn fill(self, record: String) {
        self.0.send(record);
    }
}

/// The queue in front of the exporters.
pub struct Queue(mpsc::Sender<String>);

impl Queue {
    /// Places that are taken, and all places: of requests that are being served, too.
    pub fn taken(&self) -> (usize, usize) {
        let most = self.0.max_capacity();
        (most.saturating_sub(self.0.capacity()), most)
    }

    /// Reserves a place.
    ///
    /// # Errors
    /// [`Full`].
    pub fn reserve(&self) -> Result<Place, Full> {
        self.0
            .clone()
            .try_reserve_owned()
            .map(Place)
            .map_err(|_| Full)
    }
}

/// The thread that serves the exporters.
pub struct Delivery {
    thread: std::thread::JoinHandle<()>,
    hurry: tokio::sync::watch::Sender<bool>,
}

impl Delivery {
    /// Waits until everything in the queue is delivered. The queue must have been dropped.
    pub async fn finish(self, limit: Duration) {
        // From now on a failing exporter is not waited for any longer than `limit`.
        let hurry = self.hurry;
        let timer = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            hurry.send_replace(true);
            // Dropped only after the delivery has seen it.
            tokio::time::sleep(limit).await;
        });
        if tokio::task::spawn_blocking(move || self.thread.join())
            .await
            .is_err()
        {
            error!("the audit delivery ended badly");
        }
        timer.abort();
    }
}

/// Starts the delivery to these exporters, in order, on a thread of its own: an exporter that
/// blocks on standard output must not hold up requests.
///
/// `streams`: how many may listen. Each holds a place for as long as it does, which must not be
/// at the expense of requests.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(plugins: Arc<Directory>, streams: usize) -> std::io::Result<(Queue, Delivery)> {
    let (sender, receiver) = mpsc::channel(QUEUE + streams);
    let (hurry, hurried) = tokio::sync::watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || runtime.block_on(deliver(receiver, plugins, hurried)))?;
    Ok((Queue(sender), Delivery { thread, hurry }))
}

async fn deliver(
    mut receiver: mpsc::Receiver<String>,
    plugins: Arc<Directory>,
    hurried: tokio::sync::watch::Receiver<bool>,
) {
    let mut sequence = 0;
    let mut waiting = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut waiting, BATCH).await > 0 {
        let records: Vec<AuditRecord> = waiting
            .drain(..)
            .map(|json| {
                sequence += 1;
                AuditRecord { sequence, json }
            })
            .collect();
        let names = plugins.now().exporter_names();
        if names.is_empty() {
            // Without an exporter the log is the last place where a record can be found.
            for record in &records {
                info!(audit.sequence = record.sequence, "audit: {}", record.json);
            }
        }
        for name in &names {
            hand_over(&plugins, name, &records, &hurried).await;
        }
    }
}

/// Offers a batch until all of it is taken: to whatever runs under this name each time, because an
/// exporter may be replaced while it takes nothing.
async fn hand_over(
    plugins: &Directory,
    name: &PluginName,
    records: &[AuditRecord],
    hurried: &tokio::sync::watch::Receiver<bool>,
) {
    let mut rest = records;
    let mut backoff = Duration::from_millis(50);
    let mut failing = false;
    while !rest.is_empty() {
        let Some(exporter) = plugins.now().exporter(name).cloned() else {
            give_up(name, rest, "the exporter was removed");
            return;
        };
        match exporter.export(rest).await {
            Ok(taken) if taken > 0 => {
                rest = rest.get(taken..).unwrap_or_default();
                backoff = Duration::from_millis(50);
                if std::mem::take(&mut failing) {
                    info!(plugin.name = %name, "audit records are taken again");
                }
                continue;
            }
            Ok(_) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(plugin.name = %name, "audit records are not taken; they are kept and offered again");
                }
            }
            Err(fault) => {
                if !std::mem::replace(&mut failing, true) {
                    let hint = fault.cause.hint();
                    warn!("audit records are kept and offered again: {fault}; hint: {hint}");
                }
            }
        }
        if *hurried.borrow() {
            give_up(name, rest, "stopping");
            return;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// The log is the last place where records can be found that nobody takes.
fn give_up(name: &PluginName, records: &[AuditRecord], why: &str) {
    error!(plugin.name = %name, "{why} with {} audit records not taken; they follow", records.len());
    for record in records {
        error!(audit.sequence = record.sequence, "audit: {}", record.json);
    }
}
