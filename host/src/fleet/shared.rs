//! The engine that several gateways share, asked with deadlines, and left alone while it is away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, watch};
use tracing::warn;

use super::engine::{Engine, Holder, Trouble};
use super::figures::{Figures, Operation, no_answer};
use super::lease::Grants;
use super::members::Members;
use super::{Away, InstanceId, MAX_NEWS, Topic};

/// Pieces of news that may wait to be sent.
pub(super) const OUTGOING: usize = 256;
/// When no answer has come in time for so long, the engine is away. Less is a moment in which it, or this machine,
/// has much to do.
const LATE: Duration = Duration::from_secs(1);
/// The most often that the log tells of something that was refused.
const QUIET: Duration = Duration::from_secs(60);

/// The engine, and whether it is there.
pub(super) struct Shared {
    pub(super) engine: Box<dyn Engine>,
    pub(super) instance: InstanceId,
    pub(super) members: Members,
    pub(super) figures: Figures,
    outgoing: mpsc::Sender<(Topic, Vec<u8>)>,
    /// Topics of which something was lost on its way to the others.
    missed: Vec<AtomicBool>,
    /// There is something in `missed`.
    pub(super) lost: Notify,
    /// Which connection it is; odd while there is one.
    connection: watch::Sender<u64>,
    /// Why the last connection is of no use.
    trouble: watch::Sender<Option<String>>,
    /// When the first thing was asked of which the answer is late, and none came in time since, in milliseconds
    /// since `began`; 0: there is none.
    late: AtomicU64,
    began: Instant,
    /// When the log was told of something refused, in milliseconds since `began`; 0: never.
    told: AtomicU64,
    /// This instance is about to end.
    pub(super) leaves: AtomicBool,
}

impl Shared {
    /// With what is to be sent.
    pub(super) fn new(
        engine: Box<dyn Engine>,
        instance: InstanceId,
    ) -> (Self, mpsc::Receiver<(Topic, Vec<u8>)>) {
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let shared = Self {
            engine,
            instance,
            members: Members::new(instance),
            figures: Figures::default(),
            outgoing,
            missed: Topic::ALL.iter().map(|_| AtomicBool::new(false)).collect(),
            lost: Notify::new(),
            connection: watch::Sender::new(0),
            trouble: watch::Sender::new(None),
            late: AtomicU64::new(0),
            began: Instant::now(),
            told: AtomicU64::new(0),
            leaves: AtomicBool::new(false),
        };
        (shared, to_send)
    }

    /// Whether the engine can be used, as far as is known.
    pub(super) fn is_here(&self) -> bool {
        *self.connection.borrow() % 2 == 1
    }

    /// It was connected. Returns what tells of the end of this connection.
    pub(super) fn here(&self) -> watch::Receiver<Option<String>> {
        self.late.store(0, Ordering::Relaxed);
        self.trouble.send_replace(None);
        let ends = self.trouble.subscribe();
        self.connection.send_modify(|connection| *connection += 1);
        ends
    }

    /// The connection that there was is of no use.
    pub(super) fn gone(&self) {
        self.connection
            .send_modify(|connection| *connection += *connection % 2);
        self.engine.disconnect();
    }

    /// Asks the engine something.
    pub(super) async fn ask<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Away> {
        let connection = *self.connection.borrow();
        if connection.is_multiple_of(2) {
            self.figures.failed(operation);
            return Err(Away);
        }
        let (began, patience) = (Instant::now(), operation.patience());
        let answer = tokio::time::timeout(patience, work).await;
        match answer {
            Ok(Ok(answer)) => {
                self.late.store(0, Ordering::Relaxed);
                self.figures.answered(operation, began.elapsed());
                return Ok(answer);
            }
            Ok(Err(Trouble::Lost(why))) => self.broke(connection, why),
            Ok(Err(Trouble::Refused(why))) => self.refused(operation, &why),
            Err(_) => {
                if self.is_late(began) {
                    self.broke(connection, no_answer(patience).to_string());
                }
            }
        }
        self.figures.failed(operation);
        Err(Away)
    }

    /// Notes that what was asked then was not answered in time, and whether that has been so for too long.
    fn is_late(&self, asked: Instant) -> bool {
        let millis = |at: Instant| 1 + at.duration_since(self.began).as_millis() as u64;
        let asked = millis(asked);
        let none = self
            .late
            .compare_exchange(0, asked, Ordering::Relaxed, Ordering::Relaxed);
        let since = none.err().unwrap_or(asked).min(asked);
        millis(Instant::now()) - since >= LATE.as_millis() as u64
    }

    /// Nobody asks any more until there is another connection.
    fn broke(&self, connection: u64, why: String) {
        let broke = self.connection.send_if_modified(|now| {
            let same = *now == connection;
            *now += u64::from(same);
            same
        });
        // Who had asked over an earlier connection knows nothing of this one.
        if broke {
            self.trouble.send_replace(Some(why));
        }
    }

    fn refused(&self, operation: Operation, why: &str) {
        let now = 1 + self.began.elapsed().as_millis() as u64;
        let told = self.told.load(Ordering::Relaxed);
        let due = told == 0 || now - told >= QUIET.as_millis() as u64;
        let first = due
            && self
                .told
                .compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if first {
            warn!(
                fleet.operation = operation.name(),
                "{} refuses what the gateways share: {why}",
                self.engine.name()
            );
        }
    }

    /// Has something sent to the others, or lets them know that they have missed it.
    pub(super) fn tell(&self, topic: Topic, text: Vec<u8>) {
        if text.len() > MAX_NEWS {
            warn!(
                "a piece of news about {} is too large: {} bytes",
                topic.name(),
                text.len()
            );
            return self.miss(topic);
        }
        if !self.is_here() || self.outgoing.try_send((topic, text)).is_err() {
            self.miss(topic);
        }
    }

    /// The others have missed something.
    pub(super) fn miss(&self, topic: Topic) {
        self.missed[topic as usize].store(true, Ordering::Release);
        self.lost.notify_one();
    }

    /// Of what the others have to be told that they missed something; not twice.
    pub(super) fn missed(&self) -> Vec<Topic> {
        let topics = Topic::ALL.iter().copied();
        let missed =
            topics.filter(|topic| self.missed[*topic as usize].swap(false, Ordering::AcqRel));
        missed.collect()
    }
}

#[async_trait]
impl Grants for Shared {
    async fn grant(&self, name: &[u8], holder: Holder, lives: Duration) -> Result<bool, Away> {
        let granted = self.engine.grant(name, holder, lives);
        self.ask(Operation::Lease, granted).await
    }

    async fn release(&self, name: &[u8], holder: Holder) {
        let released = self.engine.release(name, holder);
        if self.ask(Operation::Lease, released).await.is_ok() {
            self.tell(Topic::Leases, name.to_vec());
        }
    }
}
