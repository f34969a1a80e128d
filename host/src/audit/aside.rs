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
use tracing::{error, info};

use super::keys::{KeyError, Keys, Known, SubjectKey};
use super::state::State;
use super::writer::Message;
use crate::vault::Owner;

/// Subjects whose keys are looked up at one time, at most.
const GROUP: usize = 256;
/// How soon keys are looked up again that could not be had.
const RETRY: Duration = Duration::from_millis(200);
/// How long an answer waits for a record that cannot be written.
pub(super) const HELD: Duration = Duration::from_secs(5);
/// How long a record waits for another look at a key that is in memory.
const LOOK: Duration = Duration::from_millis(500);
/// The most often that the log tells that keys cannot be had: one that is damaged is tried again and again.
const QUIET: Duration = Duration::from_secs(60);

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
    /// Since when keys cannot be had.
    away: Option<Instant>,
    /// When the log was told so, and whether it was told of this time.
    told: (Option<Instant>, bool),
    /// Somebody whose key is to be looked up again although it is used on: so that it shows when that can be done.
    probe: Option<Option<Owner>>,
}

impl Aside {
    pub(super) fn new(keys: Arc<Keys>, state: Arc<State>) -> Self {
        Self {
            keys,
            state,
            waiting: VecDeque::new(),
            looking: None,
            began: Instant::now(),
            away: None,
            told: (None, false),
            probe: None,
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
                Known::Now(key) => {
                    ready.push((message, key));
                    continue;
                }
                Known::Once(key) if self.away.is_some() => {
                    self.probe = Some(message.draft.owner.clone());
                    ready.push((message, key));
                    continue;
                }
                Known::Once(key) => Some(key),
                Known::Not => None,
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
                self.failed(&error.to_string())
            }
            Ok(Err(ended)) => {
                self.looking = None;
                self.failed(&ended.to_string())
            }
            Err(_) if self.began.elapsed() >= LOOK => {
                self.let_go();
                self.with_old_keys()
            }
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
        let most = if self.away.is_some() { 1 } else { GROUP };
        for one in &self.waiting {
            if owners.len() == most {
                break;
            }
            if !owners.contains(&one.message.draft.owner) {
                owners.push(one.message.draft.owner.clone());
            }
        }
        if owners.is_empty() {
            owners.extend(self.probe.take());
        }
        if owners.is_empty() {
            return;
        }
        let keys = Arc::clone(&self.keys);
        let pause = if self.away.is_some() {
            RETRY
        } else {
            Duration::ZERO
        };
        self.began = Instant::now() + pause;
        self.looking = Some(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let found = keys.of(owners.iter().cloned()).await?;
            Ok(owners.into_iter().zip(found).collect())
        }));
    }

    fn found(&mut self, found: &Found) -> Vec<Keyed> {
        if let Some(since) = self.away.take()
            && self.told.1
        {
            let seconds = since.elapsed().as_secs();
            info!("keys of audit records can be had again, after {seconds} s");
        }
        self.take(|one| {
            let owner = &one.message.draft.owner;
            let (_, key) = found.iter().find(|(of, _)| of == owner)?;
            Some(Arc::clone(key))
        })
    }

    fn failed(&mut self, why: &str) -> Vec<Keyed> {
        if self.away.is_none() {
            self.away = Some(Instant::now());
            let lately = self.told.0.is_some_and(|at| at.elapsed() < QUIET);
            self.told.1 = !lately;
            if !lately {
                self.told.0 = Some(Instant::now());
                error!(
                    "keys of audit records cannot be had: {why}; records of whom this gateway has not seen lately, \
                     and answers to them, wait; those of others are written"
                );
            }
        }
        self.let_go();
        // Somebody else is next.
        if let Some(first) = self.waiting.pop_front() {
            self.waiting.push_back(first);
        }
        self.with_old_keys()
    }

    fn with_old_keys(&mut self) -> Vec<Keyed> {
        self.take(|one| one.old.clone())
    }

    /// Nobody waits any longer than so for an answer.
    fn let_go(&mut self) {
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
                Some(key) => ready.push((one.message, key)),
                None => left.push_back(one),
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
