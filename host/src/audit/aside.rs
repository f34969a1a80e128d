//! Records of subjects whose keys are not in memory, set aside until they are there. The others are
//! written meanwhile: a store that is away holds up nobody whose key is known.
//!
//! Where gateways share a store, a key is looked up again after a while, because another one may have forgotten
//! it. While that cannot be done, the one in memory is used on.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::keys::{KeyError, Keys, Known, SubjectKey};
use super::state::State;
use super::writer::Message;
use crate::vault::Owner;

/// Subjects whose keys are looked up at one time, and records that are written at one time, at most.
const GROUP: usize = 256;
/// How soon keys are looked up again that could not be had.
const RETRY: Duration = Duration::from_millis(200);
/// How long an answer waits for a record that cannot be written.
pub(super) const HELD: Duration = Duration::from_secs(5);
/// How long a record waits for another look at a key that is in memory.
const LOOK: Duration = Duration::from_millis(500);

/// A record and the key that seals it.
pub(super) type Keyed = (Message, Arc<SubjectKey>);

struct Waiting {
    message: Message,
    /// One that was looked up a while ago.
    old: Option<Arc<SubjectKey>>,
    since: Instant,
}

type Found = Vec<(Option<Owner>, Arc<SubjectKey>)>;

/// The records that wait.
pub(super) struct Aside {
    keys: Arc<Keys>,
    state: Arc<State>,
    waiting: VecDeque<Waiting>,
    looking: Option<JoinHandle<Result<Found, KeyError>>>,
    began: Instant,
    /// Whether the last look-up failed: the next one is not made at once, and asks for one subject only.
    failed: bool,
}

impl Aside {
    pub(super) fn new(keys: Arc<Keys>, state: Arc<State>) -> Self {
        Self {
            keys,
            state,
            waiting: VecDeque::new(),
            looking: None,
            began: Instant::now(),
            failed: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What can be written now of these; the others are set aside.
    pub(super) fn sort(&mut self, messages: &mut Vec<Message>) -> Vec<Keyed> {
        let mut ready = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            let old = match self.keys.known(&message.draft.owner) {
                Known::Fresh(key) => {
                    ready.push((message, key));
                    continue;
                }
                Known::Stale(key) if self.state.keys_are_away() => {
                    ready.push((message, key));
                    continue;
                }
                Known::Stale(key) => Some(key),
                Known::Unknown => None,
            };
            self.waiting.push_back(Waiting {
                message,
                old,
                since: Instant::now(),
            });
        }
        self.count();
        ready
    }

    /// Waits until something can be written that was set aside; for ever, if there is nothing. Nothing is lost when
    /// this is dropped before it is done.
    pub(super) async fn next(&mut self) -> Vec<Keyed> {
        if self.looking.is_none() {
            self.look();
        }
        let Some(looking) = &mut self.looking else {
            return pending().await;
        };
        // Records that have a key do not wait long for another look at it; answers wait only so long.
        let patience = match self.waiting.iter().any(|one| one.old.is_some()) {
            true => LOOK.saturating_sub(self.began.elapsed()),
            false => RETRY,
        };
        match tokio::time::timeout(patience, looking).await {
            Ok(Ok(Ok(found))) => {
                self.looking = None;
                self.found(&found)
            }
            Ok(Ok(Err(error))) => {
                self.looking = None;
                self.state.key_failed(&error);
                self.after_failure()
            }
            Ok(Err(ended)) => {
                self.looking = None;
                self.state.keys_failed(&ended);
                self.after_failure()
            }
            Err(_) if self.began.elapsed() >= LOOK => self.with_old_keys(),
            Err(_) => Vec::new(),
        }
    }

    /// What is left, with nobody to wait for it any more.
    pub(super) fn give_up(&mut self) -> Vec<Message> {
        let left = self.waiting.drain(..).map(|one| one.message).collect();
        self.count();
        left
    }

    /// Begins to look up the keys that are wanted.
    fn look(&mut self) {
        let mut owners: Vec<Option<Owner>> = Vec::new();
        // After a failure one by one: a key that is damaged must not hold up those of others.
        let most = if self.failed { 1 } else { GROUP };
        for one in &self.waiting {
            if owners.len() == most {
                break;
            }
            if !owners.contains(&one.message.draft.owner) {
                owners.push(one.message.draft.owner.clone());
            }
        }
        // Nobody waits: that keys can be had again must show all the same.
        if owners.is_empty() && !self.state.keys_are_away() {
            return;
        }
        let keys = Arc::clone(&self.keys);
        let pause = if self.failed { RETRY } else { Duration::ZERO };
        self.began = Instant::now() + pause;
        self.looking = Some(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if owners.is_empty() {
                keys.reach().await?;
            }
            let found = keys.of(owners.iter().cloned()).await?;
            Ok(owners.into_iter().zip(found).collect())
        }));
    }

    fn found(&mut self, found: &Found) -> Vec<Keyed> {
        self.failed = false;
        self.state.keys_found();
        self.take(|one| {
            let owner = &one.message.draft.owner;
            let (_, key) = found.iter().find(|(of, _)| of == owner)?;
            Some(Arc::clone(key))
        })
    }

    fn after_failure(&mut self) -> Vec<Keyed> {
        self.failed = true;
        // Another subject is next; records of one keep their order.
        if let Some(first) = self.waiting.front() {
            let owner = first.message.draft.owner.clone();
            let waiting = self.waiting.drain(..);
            let (theirs, mut others): (VecDeque<_>, VecDeque<_>) =
                waiting.partition(|one| one.message.draft.owner == owner);
            others.extend(theirs);
            self.waiting = others;
        }
        self.with_old_keys()
    }

    fn with_old_keys(&mut self) -> Vec<Keyed> {
        self.take(|one| one.old.clone())
    }

    /// Nobody waits longer than [`HELD`] for an answer.
    pub(super) fn let_go(&mut self) {
        for one in &mut self.waiting {
            if one.since.elapsed() >= HELD {
                one.message.ack = None;
            }
        }
    }

    fn take(&mut self, key: impl Fn(&Waiting) -> Option<Arc<SubjectKey>>) -> Vec<Keyed> {
        let (mut ready, mut left) = (Vec::new(), VecDeque::new());
        for one in self.waiting.drain(..) {
            match key(&one) {
                Some(key) if ready.len() < GROUP => ready.push((one.message, key)),
                _ => left.push_back(one),
            }
        }
        self.waiting = left;
        self.count();
        ready
    }

    fn count(&self) {
        let count = self.waiting.len();
        self.state.aside.store(count, Ordering::Relaxed);
    }
}
