//! Brings the records of the trail to one exporter, in order, until it has taken them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::cursor::{Cursor, Kept, Lost};
use super::keys::{KeyError, Keys, Named};
use super::line::Line;
use super::positions::Positions;
use super::state::State;
use crate::plugin::{AuditRecord, Directory};
use crate::types::PluginName;

/// Records in one batch at most.
const BATCH: usize = 256;
/// How long is waited for more when something has come: a batch costs the exporter what a record does.
const LINGER: Duration = Duration::from_millis(25);
/// Shortest and longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often a position is kept.
const SAVE: Duration = Duration::from_millis(250);

/// How an exporter is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    /// For as long as it is there.
    On,
    /// Until it has everything, or does not take it.
    ToTheEnd,
    /// Not any further.
    NoFurther,
}

#[derive(Debug, Error)]
enum Unread {
    #[error("the audit trail cannot be read: {0}")]
    Trail(#[from] std::io::Error),
    #[error("the keys of the audit trail cannot be had: {0}")]
    Keys(#[from] KeyError),
}

/// Who brings them.
pub(super) struct Export {
    pub(super) name: PluginName,
    pub(super) dir: PathBuf,
    pub(super) plugins: Arc<Directory>,
    pub(super) keys: Arc<Keys>,
    pub(super) positions: Arc<Positions>,
    pub(super) state: Arc<State>,
    pub(super) going: watch::Receiver<Going>,
}

/// Why it is over.
#[derive(PartialEq)]
enum Over {
    Gone,
    Done,
}

impl Export {
    /// Brings records for as long as the exporter is there.
    pub(super) async fn run(mut self) {
        let mut cursor = Cursor::new(&self.dir, self.positions.next_of(&self.name));
        let mut head = self.state.head.subscribe();
        let mut plugins = self.plugins.changes();
        let (mut saved, mut at) = (cursor.next(), Instant::now());
        loop {
            let newest = *head.borrow_and_update();
            if self.plugins.now().exporter(&self.name).is_none() {
                break;
            }
            if cursor.next() <= newest {
                let over = match self.read(&mut cursor, newest).await {
                    Ok(records) => self.hand_over(&records).await,
                    Err(error) => {
                        error!(plugin.name = %self.name, "audit records wait: {error}");
                        self.pause(BACKOFF.1).await
                    }
                };
                if let Some(over) = over {
                    if over == Over::Gone {
                        self.positions.failing(&self.name, false);
                    }
                    break;
                }
                if at.elapsed() < SAVE {
                    continue;
                }
            } else {
                let going = *self.going.borrow_and_update();
                if going != Going::On {
                    break;
                }
                let unsaved = cursor.next() != saved;
                tokio::select! {
                    _ = head.changed() => tokio::time::sleep(LINGER).await,
                    _ = plugins.changed() => {}
                    _ = self.going.changed() => {}
                    () = tokio::time::sleep(SAVE.saturating_sub(at.elapsed())), if unsaved => {}
                }
            }
            if cursor.next() != saved && at.elapsed() >= SAVE {
                self.save().await;
                (saved, at) = (cursor.next(), Instant::now());
            }
        }
        self.save().await;
    }

    /// Reads what comes next, as exporters get it.
    async fn read(&self, cursor: &mut Cursor, newest: u64) -> Result<Vec<AuditRecord>, Unread> {
        let (kept, lost) = cursor.read(newest, BATCH)?;
        if let Some(Lost { from, to }) = lost {
            let missed = to - from + 1;
            self.positions.move_to(&self.name, to + 1, missed);
            error!(
                plugin.name = %self.name,
                "{missed} audit records, {from} to {to}, are gone from the trail before the exporter has taken them"
            );
        }
        let first = kept.first().map(|kept| kept.sequence);
        let mut records = Vec::with_capacity(kept.len());
        for Kept { sequence, text } in kept {
            let Some(line) = Line::read(&text) else {
                continue;
            };
            let named = match self.keys.named(line.key).await {
                Ok(named) => named,
                Err(error) => {
                    // They were read, and nobody has them yet.
                    let first = first.unwrap_or(sequence);
                    *cursor = Cursor::new(&self.dir, first);
                    return Err(error.into());
                }
            };
            let personal = match named {
                Named::Key(key) => key.open(sequence, line.sealed).ok(),
                Named::Erased | Named::Unknown => None,
            };
            let json = line.flat(personal.as_deref());
            records.push(AuditRecord { sequence, json });
        }
        Ok(records)
    }

    /// Offers a batch until all of it is taken: to whatever runs under this name each time, because an
    /// exporter may be replaced while it takes nothing.
    async fn hand_over(&mut self, records: &[AuditRecord]) -> Option<Over> {
        let mut rest = records;
        let mut backoff = BACKOFF.0;
        let mut failing = false;
        while let Some(first) = rest.first() {
            self.positions.move_to(&self.name, first.sequence, 0);
            let Some(exporter) = self.plugins.now().exporter(&self.name).cloned() else {
                return Some(Over::Gone);
            };
            match exporter.export(rest).await {
                Ok(taken) if taken > 0 => {
                    rest = rest.get(taken..).unwrap_or_default();
                    backoff = BACKOFF.0;
                    if std::mem::take(&mut failing) {
                        self.positions.failing(&self.name, false);
                        info!(plugin.name = %self.name, "audit records are taken again");
                    }
                    continue;
                }
                Ok(_) => {
                    if !std::mem::replace(&mut failing, true) {
                        warn!(plugin.name = %self.name, "audit records are not taken; they are kept and offered again");
                    }
                }
                Err(fault) => {
                    if !std::mem::replace(&mut failing, true) {
                        let hint = fault.cause.hint();
                        warn!("audit records are kept and offered again: {fault}; hint: {hint}");
                    }
                }
            }
            self.positions.failing(&self.name, true);
            if let Some(over) = self.pause(backoff).await {
                return Some(over);
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
        if let Some(last) = records.last() {
            self.positions.move_to(&self.name, last.sequence + 1, 0);
        }
        (*self.going.borrow() == Going::NoFurther).then_some(Over::Done)
    }

    /// Waits until it is time to try again, unless the gateway stops.
    async fn pause(&mut self, time: Duration) -> Option<Over> {
        let stopping = self.going.wait_for(|going| *going != Going::On);
        match tokio::time::timeout(time, stopping).await {
            Ok(_) => Some(Over::Done),
            Err(_) => None,
        }
    }

    async fn save(&self) {
        if let Err(error) = self.positions.save(&self.name).await {
            warn!(plugin.name = %self.name, "the store does not take how far the exporter is: {error}");
        }
    }
}
