//! Who wants to hear of changes, and telling them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::{SubscriptionContext, SubscriptionSink};
use rmcp::{Peer, RoleServer};

use crate::resources::WATCHED;

/// A thing that changes when a tool is called for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A tool comes or goes.
    Tools,
    /// A prompt comes or goes.
    Prompts,
    /// The resource [`WATCHED`] has new content.
    Resource,
}

/// Everybody who listens, in both eras.
#[derive(Default)]
pub(crate) struct Watchers {
    next: AtomicU64,
    streams: Mutex<HashMap<u64, SubscriptionSink>>,
    sessions: Mutex<HashMap<u64, Session>>,
    extra_tool: AtomicBool,
    extra_prompt: AtomicBool,
    revision: AtomicU64,
}

struct Session {
    peer: Peer<RoleServer>,
    resources: HashSet<String>,
}

impl Watchers {
    /// Whether the tool that comes and goes is there now.
    pub(crate) fn has_extra_tool(&self) -> bool {
        self.extra_tool.load(Ordering::SeqCst)
    }

    /// Whether the prompt that comes and goes is there now.
    pub(crate) fn has_extra_prompt(&self) -> bool {
        self.extra_prompt.load(Ordering::SeqCst)
    }

    /// How often the watched resource has changed.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// Serves one `subscriptions/listen` until the client goes.
    pub(crate) async fn listen(&self, context: SubscriptionContext) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.streams).insert(id, context.sink().clone());
        context.cancelled().await;
        lock(&self.streams).remove(&id);
    }

    /// Takes in a session of the legacy era; returns what to call it.
    pub(crate) fn join(&self, peer: Peer<RoleServer>) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = Session {
            peer,
            resources: HashSet::new(),
        };
        lock(&self.sessions).insert(id, session);
        id
    }

    /// Forgets a session that has ended.
    pub(crate) fn leave(&self, session: u64) {
        lock(&self.sessions).remove(&session);
    }

    /// `resources/subscribe` of a session.
    pub(crate) fn subscribe(&self, session: u64, uri: String) {
        if let Some(session) = lock(&self.sessions).get_mut(&session) {
            session.resources.insert(uri);
        }
    }

    /// `resources/unsubscribe` of a session.
    pub(crate) fn unsubscribe(&self, session: u64, uri: &str) {
        if let Some(session) = lock(&self.sessions).get_mut(&session) {
            session.resources.remove(uri);
        }
    }

    /// Makes a change and tells everybody who wants to hear of it.
    pub(crate) async fn change(&self, change: Change) {
        match change {
            Change::Tools => drop(self.extra_tool.fetch_not(Ordering::SeqCst)),
            Change::Prompts => drop(self.extra_prompt.fetch_not(Ordering::SeqCst)),
            Change::Resource => drop(self.revision.fetch_add(1, Ordering::SeqCst)),
        }
        let streams: Vec<_> = lock(&self.streams).values().cloned().collect();
        for stream in streams {
            // A stream that did not ask for this says so, one that has gone says that: both
            // need nothing from us.
            drop(match change {
                Change::Tools => stream.notify_tool_list_changed().await,
                Change::Prompts => stream.notify_prompt_list_changed().await,
                Change::Resource => stream.notify_resource_updated(WATCHED).await,
            });
        }
        let sessions: Vec<_> = lock(&self.sessions)
            .values()
            .filter(|session| change != Change::Resource || session.resources.contains(WATCHED))
            .map(|session| session.peer.clone())
            .collect();
        for peer in sessions {
            // As above.
            drop(match change {
                Change::Tools => peer.notify_tool_list_changed().await,
                Change::Prompts => peer.notify_prompt_list_changed().await,
                Change::Resource => {
                    let updated = ResourceUpdatedNotificationParam::new(WATCHED);
                    peer.notify_resource_updated(updated).await
                }
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
