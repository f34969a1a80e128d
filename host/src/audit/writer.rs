//! The one who writes the trail: takes what waits, numbers it, chains it, seals the personal parts,
//! hands it to the system in one write, and acknowledges.

use std::fs::File;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tracing::{error, info};

use super::anchor::{Anchor, End};
use super::aside::{Aside, HELD, Keyed};
use super::keys::{Keys, Known, SubjectKey};
use super::positions::Positions;
use super::record::Draft;
use super::state::State;
use super::trail::{Next, Trail};
use super::{chain, line};
use crate::config::{AuditConfig, WhenFull};
use crate::store::Store;

/// Records in one write at most.
const GROUP: usize = 256;
/// How often is looked after the trail.
const TICK: Duration = Duration::from_secs(1);
/// How often is tried again when something is wrong.
const RETRY: Duration = Duration::from_millis(200);
/// What is usually enough for one part of a record, in bytes.
const PART: usize = 1_024;
/// Room on the disk that is left to others, the store first of all: it does not bear a full disk.
const SPARE: u64 = 8 * 1024 * 1024;

/// A record and who waits for it.
pub(super) struct Message {
    pub(super) draft: Draft,
    pub(super) ack: Option<oneshot::Sender<()>>,
}

/// What was written up to a moment, to be handed to the disk.
struct Checkpoint {
    file: File,
    head: Option<Anchor>,
}

#[derive(Debug, Error)]
enum Trouble {
    #[error("the audit trail cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

/// The writer.
pub(super) struct Writer {
    pub(super) dir: PathBuf,
    pub(super) trail: Trail,
    pub(super) keys: Arc<Keys>,
    pub(super) positions: Arc<Positions>,
    pub(super) state: Arc<State>,
    pub(super) store: Store,
    pub(super) config: AuditConfig,
    /// Set when the gateway stops and has waited long enough.
    pub(super) hurried: watch::Receiver<bool>,
    /// What is written next, a group at a time.
    pub(super) lines: Vec<u8>,
}

/// Writes until nobody can send any more. Between two groups the writer is free for who has one record only.
pub(super) async fn run(writer: Arc<Mutex<Writer>>, mut receiver: mpsc::Receiver<Message>) {
    let (checkpoints, taken) = mpsc::unbounded_channel();
    let mut saved = 0;
    let mut looked = Instant::now();
    let mut waiting = Vec::with_capacity(GROUP);
    let (state, keeper, mut aside) = {
        let mut writer = writer.lock().await;
        let keeper = tokio::spawn(keep_safe(writer.store.clone(), taken));
        writer.look_after(&checkpoints).await;
        let state = Arc::clone(&writer.state);
        let aside = Aside::new(Arc::clone(&writer.keys), Arc::clone(&state));
        (state, keeper, aside)
    };
    loop {
        let pause = if state.is_refusing() { RETRY } else { TICK };
        let left = pause.saturating_sub(looked.elapsed());
        let ready = tokio::select! {
            // What is ready of what was set aside is older than what comes.
            biased;
            ready = aside.next() => ready,
            got = receiver.recv_many(&mut waiting, GROUP) => {
                if got == 0 {
                    break;
                }
                // A write and a wake-up cost the same for many records as for one: where others are on their way,
                // whoever is ready to run comes first.
                if state.others_under_way() {
                    tokio::task::yield_now().await;
                    while waiting.len() < GROUP
                        && let Ok(message) = receiver.try_recv()
                    {
                        waiting.push(message);
                    }
                }
                aside.sort(&mut waiting)
            }
            () = tokio::time::sleep(left) => Vec::new(),
        };
        let mut writer = writer.lock().await;
        writer.keep(ready).await;
        let newly_full = writer.is_full() && !state.is_refusing();
        if newly_full || looked.elapsed() >= pause || writer.trail.is_due(SystemTime::now()) {
            looked = Instant::now();
            aside.let_go();
            writer.look_after(&checkpoints).await;
            writer.checkpoint(&checkpoints, &mut saved);
        }
    }
    let mut writer = writer.lock().await;
    writer.finish(aside).await;
    writer.checkpoint(&checkpoints, &mut saved);
    drop((writer, checkpoints));
    // It has nothing else to do than what it was given.
    let _ = keeper.await;
}

impl Writer {
    /// Keeps one record without anybody being waked for it. False, and nothing is kept: something has to be done
    /// first that takes time, or is wrong.
    pub(super) fn keep_at_once(&mut self, draft: &mut Draft) -> bool {
        let hindered = self.state.is_refusing() || self.is_full();
        if hindered || self.trail.is_due(SystemTime::now()) {
            return false;
        }
        let Known::Fresh(key) = self.keys.known(&draft.owner) else {
            return false;
        };
        let kept = self.try_keep(slice::from_mut(draft), slice::from_ref(&key));
        if kept.is_ok() {
            self.kept(1);
        }
        // The same goes wrong for who can wait until it does not.
        kept.is_ok()
    }

    /// Whether the files are as long together as they may be.
    fn is_full(&self) -> bool {
        self.state.bytes.load(Ordering::Relaxed) >= self.config.spool_bytes
    }

    /// Keeps what was set aside, until the gateway may wait no longer.
    async fn finish(&mut self, mut aside: Aside) {
        let mut hurried = self.hurried.clone();
        while !aside.is_empty() {
            let ready = tokio::select! {
                ready = aside.next() => ready,
                Ok(_) = hurried.wait_for(|hurried| *hurried) => break,
            };
            aside.let_go();
            self.keep(ready).await;
        }
        let left = aside.give_up();
        if !left.is_empty() {
            let drafts: Vec<Draft> = left.into_iter().map(|message| message.draft).collect();
            give_up(&drafts, &"their keys cannot be had");
        }
    }

    /// Keeps a group, however long it takes.
    async fn keep(&mut self, group: Vec<Keyed>) {
        if group.is_empty() {
            return;
        }
        let since = Instant::now();
        let mut acks = Vec::with_capacity(group.len());
        let mut drafts = Vec::with_capacity(group.len());
        let mut keys = Vec::with_capacity(group.len());
        for (message, key) in group {
            acks.extend(message.ack);
            drafts.push(message.draft);
            keys.push(key);
        }
        let count = drafts.len() as u64;
        loop {
            match self.try_keep(&mut drafts, &keys) {
                Ok(()) => break,
                // Those who wait gain nothing from it.
                Err(trouble) if self.make_room().await => {
                    self.tell(Some(trouble.to_string()));
                }
                Err(trouble) => {
                    self.tell(Some(trouble.to_string()));
                    if *self.hurried.borrow() {
                        give_up(&drafts, &trouble);
                        return;
                    }
                    if since.elapsed() >= HELD {
                        acks.clear();
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        for ack in acks {
            // Whoever waited may be gone.
            let _ = ack.send(());
        }
        self.kept(count);
    }

    /// So many records were kept.
    fn kept(&self, count: u64) {
        State::add(&self.state.written, count);
        self.state
            .bytes
            .store(self.trail.bytes(), Ordering::Relaxed);
        let newest = self.trail.next().sequence - 1;
        self.state.head.send_replace(newest);
    }

    fn try_keep(&mut self, drafts: &mut [Draft], keys: &[Arc<SubjectKey>]) -> Result<(), Trouble> {
        let mut next = self.trail.next().clone();
        self.lines.clear();
        for (draft, key) in drafts.iter_mut().zip(keys) {
            next = write(&mut self.lines, draft, key, next)?;
        }
        self.trail.append(&self.lines, next)?;
        Ok(())
    }

    /// What has to be done from time to time.
    async fn look_after(&mut self, checkpoints: &mpsc::UnboundedSender<Checkpoint>) {
        if self.trail.is_due(SystemTime::now()) {
            match self.trail.roll() {
                Ok(file) => {
                    let _ = checkpoints.send(Checkpoint { file, head: None });
                }
                Err(error) => {
                    self.tell(Some(Trouble::from(error).to_string()));
                    return;
                }
            }
        }
        while self.is_old() || self.short().is_some() {
            if !self.make_room().await {
                break;
            }
        }
        self.tell(self.short());
        self.state
            .bytes
            .store(self.trail.bytes(), Ordering::Relaxed);
        self.state
            .oldest
            .store(self.trail.oldest(), Ordering::Relaxed);
    }

    /// Whether the oldest file is older than is wanted, and everybody has taken it.
    fn is_old(&self) -> bool {
        let Ok(Some((oldest, tail))) = self.trail.oldest_file() else {
            return false;
        };
        let age = oldest.written.elapsed().unwrap_or_default();
        age > self.config.retention && tail.sequence <= self.positions.floor()
    }

    /// Why there is no room, if there is none.
    fn short(&self) -> Option<String> {
        let (bytes, bound) = (self.trail.bytes(), self.config.spool_bytes);
        if bytes >= bound {
            return Some(format!(
                "the audit trail is full: {} MiB wait for exporters (CORTEX_AUDIT_SPOOL_MIB); hint: \
                 `cortex-gateway audit status` says which",
                bytes / 1024 / 1024
            ));
        }
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        (free < SPARE).then(|| {
            format!(
                "the disk of CORTEX_DATA_DIR is full: {} KiB are left",
                free / 1024
            )
        })
    }

    /// Deletes the oldest file, if everybody has taken it or it may be given up.
    async fn make_room(&mut self) -> bool {
        let Ok(Some((oldest, tail))) = self.trail.oldest_file() else {
            return false;
        };
        let floor = self.positions.floor();
        let lost = tail.sequence.saturating_sub(floor.max(oldest.first));
        if lost > 0 && self.config.when_full == WhenFull::Refuse {
            return false;
        }
        // First that the trail begins later, then that the file is gone: a stop between them does
        // not look like a file that somebody took away.
        if let Err(error) = End::Tail.save(&self.store, &tail).await {
            error!("the store does not take where the audit trail begins: {error}");
            return false;
        }
        if let Err(error) = self.trail.remove_oldest() {
            error!("`{}` cannot be deleted: {error}", oldest.path.display());
            return false;
        }
        if lost > 0 {
            State::add(&self.state.dropped, lost);
            error!(
                audit.dropped = lost,
                "the audit trail is full: {lost} audit records are given up, up to {}, that not every exporter has taken",
                tail.sequence - 1
            );
        }
        true
    }

    /// Says why requests are refused, or that they are served again: once.
    fn tell(&self, trouble: Option<String>) {
        let said = trouble.clone();
        if !self.state.set_trouble(trouble) {
            return;
        }
        match said {
            Some(trouble) => error!("requests are refused: {trouble}"),
            None => info!("audit records are kept again; requests are served"),
        }
    }

    /// Has what was written handed to the disk, and kept how far it goes.
    fn checkpoint(&self, to: &mpsc::UnboundedSender<Checkpoint>, saved: &mut u64) {
        let next = self.trail.next();
        // The store must not be written to when the disk is full.
        if next.sequence == 1 || next.sequence == *saved || self.state.is_refusing() {
            return;
        }
        if let Ok(file) = self.trail.file() {
            *saved = next.sequence;
            let head = Anchor {
                sequence: next.sequence - 1,
                hash: next.prev.clone(),
            };
            let _ = to.send(Checkpoint {
                file,
                head: Some(head),
            });
        }
    }
}

/// Appends the line of a record, and says how the chain goes on.
fn write(
    lines: &mut Vec<u8>,
    draft: &mut Draft,
    key: &SubjectKey,
    next: Next,
) -> Result<Next, Trouble> {
    let failed = || Trouble::Write(std::io::Error::other("a record cannot be sealed"));
    let sequence = next.sequence;
    let personal = json(&draft.personal)?;
    let public = &mut draft.public;
    public.sequence = sequence;
    public.prev = next.prev;
    public.personal_mac = key.commit(sequence, &personal).ok_or_else(failed)?;
    let text = json(public)?;
    let hash = chain::hash(&public.prev, &text);
    let sealed = key.seal(sequence, &personal).ok_or_else(failed)?;
    line::write(lines, &text, &hash, &key.id, &sealed);
    Ok(Next {
        sequence: sequence + 1,
        prev: hash,
    })
}

/// A part of a record, canonical.
fn json(part: &impl serde::Serialize) -> std::io::Result<String> {
    let mut text = Vec::with_capacity(PART);
    serde_json::to_writer(&mut text, part)?;
    String::from_utf8(text).map_err(std::io::Error::other)
}

/// The log is the last place where records can be found that could not be written.
fn give_up(drafts: &[Draft], trouble: &dyn std::fmt::Display) {
    error!(
        "stopping with {} audit records not written, because {trouble}; they follow without their personal parts",
        drafts.len()
    );
    for draft in drafts {
        match serde_json::to_string(&draft.public) {
            Ok(json) => error!("audit: {json}"),
            Err(error) => error!("an audit record cannot be written: {error}"),
        }
    }
}

/// Hands files to the disk, and keeps how far the trail goes that is on it.
async fn keep_safe(store: Store, mut taken: mpsc::UnboundedReceiver<Checkpoint>) {
    while let Some(Checkpoint { file, head }) = taken.recv().await {
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        if let Err(error) = synced.map_err(std::io::Error::other).flatten() {
            error!("the audit trail is not on the disk for certain: {error}");
            continue;
        }
        if let Some(head) = head
            && let Err(error) = End::Head.save(&store, &head).await
        {
            error!("the store does not take where the audit trail ends: {error}");
        }
    }
}
